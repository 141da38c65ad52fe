"""The phenomenon gate: is there anything to explain, before weights are taken to explain it?

An independent attempt to repeat the published curves found no clear peak and decline in eight runs,
so a study has to show forgetting and recovery before its spectra and edits are interpreted. Figures
of those stages carry the gate's answer.
"""

from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.artifacts import LANDMARK_NAMES, POINT_NAMES
from healscope.config import Statistics
from healscope.errors import HealscopeError
from healscope.files import Files
from healscope.findings.columns import effect
from healscope.findings.contrasts import Data, effect_of, row
from healscope.findings.finding import Finding, Inputs
from healscope.findings.rows import at_landmarks, first_attempts
from healscope.markdown import limits, points
from healscope.schema import TRACK, choice, flag, table, text
from healscope.stats import Estimate
from healscope.verdicts import (
    FAILED,
    HELD,
    HERE,
    NOT_HERE,
    OPEN,
    Verdict,
    margin,
    negative,
    positive,
)

# phenomenon -> (stage of the edits that explain it, the rule that judges it)
PHENOMENA = {"forgetting": ("sft", negative), "recovery": ("rl", positive)}

ANSWERS = {
    HELD: "present",
    HERE: "present in each of these seeds",
    FAILED: "absent",
    NOT_HERE: "absent in each of these seeds",
    OPEN: "undecided",
}


class _Asked(NamedTuple):
    """A phenomenon, between two landmarks or checkpoints."""

    phenomenon: str
    stage: str
    first: str
    second: str
    edited: bool  # whether edits of the stage are made between the two


def _asked(stages: dict[str, dict[str, str]], there: Container[str]) -> list[_Asked]:
    """Return what is asked of a study whose stages of edits are `stages`, and which has the
    landmarks `there`."""
    found = []
    for phenomenon, (stage, _) in PHENOMENA.items():
        usual = artifacts.STAGES[stage]
        points = stages.get(stage)
        own = (points["parent"], points["target"]) if points else None
        found.append(_Asked(phenomenon, stage, *usual, own == usual))
        if own and own != usual:
            found.append(_Asked(phenomenon, stage, *own, True))
    return [
        about
        for about in found
        if all(end in there or end not in LANDMARK_NAMES for end in (about.first, about.second))
    ]


def measure(
    evaluations: list[str],
    landmark_files: list[str],
    stages: dict[str, dict[str, str]],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return the change of held-out OOD accuracy and the answer, for each model and phenomenon.

    Forgetting is the change from MaxOOD to End, recovery that from End to RL. Where edits of a
    stage (`stages`: its target and parent) are made between other checkpoints, there is a second
    row about these, which says what the edits can explain. "present": the interval lies on the
    claimed side of 0 and most seeds agree; "absent": it excludes a change as large as
    `verdicts.margin` (of recovery, of the gap that forgetting left); either "in these seeds": each
    seed shows it, but too few to speak for others; else "undecided". Recovery is judged where there
    is a landmark of RL. Raises HealscopeError where no RL run came to its end.
    """
    there = set().union(*(provenance.read_json(f)["landmarks"] for f in landmark_files))
    asked = _asked(stages, there)
    rows = first_attempts(evaluations)
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "ood")]
    rows = at_landmarks(rows, landmark_files, sorted({n for a in asked for n in a[2:4]}))
    out = []
    for model, own in rows.groupby("track"):

        def change(first: str, second: str, model=model, own=own) -> Estimate:
            before, after = (own[own["landmark"] == name] for name in (first, second))
            if after.empty:
                key = "landmarks.rl" if second == "rl" else "edits.stages"
                raise HealscopeError(
                    f"{model}: the branch behind '{second}' failed in every seed: change its "
                    f"recipe, or set {key} to another branch"
                )
            return stats.change(before, after, statistics, seeds=own["seed"].unique())

        for about, e, verdict in _judged(asked, change):
            out.append(
                {"track": model, **about._asdict(), "answer": ANSWERS[verdict], **effect_of(e)}
            )
    return pd.DataFrame(out)


def _judged(
    asked: list[_Asked], change: Callable[[str, str], Estimate]
) -> Iterator[tuple[_Asked, Estimate, Verdict]]:
    """Yield what is asked, the change and the verdict. `change` takes two landmarks or checkpoints.

    What counts as no recovery is a share of the gap that forgetting left.
    """
    gap = None
    for about in asked:
        _, judge = PHENOMENA[about.phenomenon]
        e = change(about.first, about.second)
        yield about, e, judge(e, margin(gap if about.phenomenon == "recovery" else None))
        gap = gap or e


def _named(name: str) -> str:
    return POINT_NAMES.get(name, name)


def sentences(table: pd.DataFrame, stages: tuple[str, ...] = ("sft", "rl")) -> list[str]:
    """Return the gate's answers in words, one line for each row of `stages`."""
    return [
        f"{r['track']}: OOD {r['phenomenon']} {r['answer']} ({_named(r['first'])} to "
        f"{_named(r['second'])} {points(r['effect'])} points {limits(r)}, {r['seeds']} "
        f"seed{'s' if r['seeds'] > 1 else ''}, {r['instances']} instances; by itself, not "
        "corrected for the number of claims)"
        for r in table[table["stage"].isin(stages)].to_dict("records")
    ]


def phenomena(d: Data) -> list[dict]:
    """Claims that there is anything which the weights of a stage could explain."""

    there = next(iter(d.landmarks.values()))
    asked = _asked(d.stages, there)

    def change(first: str, second: str) -> Estimate:
        return d.change(*(d.at("ood", d.fair_point(name)) for name in (first, second)))

    usual = artifacts.STAGES.values()
    return [
        row(
            f"gate-{about.phenomenon}" + ("" if about[2:4] in usual else "-edited"),
            f"Gate: there is OOD {about.phenomenon} between {_named(about.first)} and "
            f"{_named(about.second)}",
            e,
            verdict,
            f"what {'edits' if about.edited else 'the weights'} of the {about.stage.upper()} stage "
            f"show explains something only where this held{d.picked_by_itself}",
        )
        for about, e, verdict in _judged(asked, change)
    ]


SCHEMA = table(
    "gate",
    "One phenomenon in one model: how far held-out OOD accuracy changes, and what it says.",
    (
        TRACK,
        choice("phenomenon", PHENOMENA, "what has to be there to be explained"),
        choice("stage", artifacts.STAGES, "stage that brings it about"),
        text("first", "landmark or checkpoint before it"),
        text("second", "landmark or checkpoint after it"),
        flag("edited", "whether edits of the stage are made between the two"),
        choice("answer", ANSWERS.values(), "whether it is there"),
        *effect("OOD accuracy after minus before"),
    ),
    "track", "phenomenon", "first", "second",
)  # fmt: skip


def _inputs(files: Files) -> Inputs:
    edited = [
        name
        for stage, _ in PHENOMENA.values()
        if stage in files.study.edits.stages
        for name in files.checkpoints_around(stage)
    ]
    names = dict.fromkeys([*files.at_landmarks, *edited])
    return {"evaluations": files.evaluations(names), "landmark_files": files.landmarks()}


FINDING = Finding(
    name="gate",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    order=1.5,
    claims=(phenomena,),
    claim_names=("gate-(forgetting|recovery)(-edited)?",),
)
