"""What a handful of checkpoints shows: numbers (`measure`) and the page that says them (`page`)."""

from healscope import artifacts, verdicts
from healscope.evaluation.schemas import DISTANCES
from healscope.files import Files
from healscope.findings.columns import effect
from healscope.findings.diagnosis.measure import PARTS, measure
from healscope.findings.diagnosis.page import write
from healscope.findings.finding import Finding, Page
from healscope.schema import TRACK, choice, share, table, text
from healscope.tasks.schemas import RULE

SCHEMA = table(
    "diagnosis",
    "One number of the page `diagnosis.md`, about one model.",
    (
        TRACK,
        share("margin", "a change within it counts as none"),
        choice("part", PARTS, "section of the page"),
        text("name", "what is measured; of rotation, kind, control and which of them"),
        RULE,
        text("before", "where it starts from: a checkpoint, or edits; or empty"),
        text("after", "checkpoint or edit that it is measured at"),
        choice("verdict", ("", *verdicts.VERDICTS), "by `verdicts`; empty: nothing is judged"),
        *effect("change of held-out accuracy; `accuracy` and `maxood`: the accuracy itself"),
        *DISTANCES,
    ),
    "track", "part", "name", "rule", "after",
)  # fmt: skip


def _inputs(files: Files) -> dict[str, list[str]]:
    return {
        "evaluations": files.evaluations(files.along),
        "edits": files.edits("sft") if "sft" in files.study.edits.stages else [],
        "landmark_files": files.landmarks(),
        "manifests": [
            artifacts.path(artifacts.CHECKPOINT, track=name, seed=0, checkpoint=checkpoint)
            for name, checkpoints in files.given.items()
            for checkpoint in checkpoints
            if checkpoint != artifacts.sft(0)  # which is the base
        ],
    }


FINDING = Finding(
    name="diagnosis",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    target=lambda files: not files.trained,
    page=Page(artifacts.DIAGNOSIS, write, "Diagnosis", "diagnosis.rst"),
)
