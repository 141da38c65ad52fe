"""The phenomenon gate: is there anything to explain, before weights are taken to explain it?

An independent attempt to repeat the published curves found no clear peak and decline in eight runs,
so a study has to show forgetting and recovery before its spectra and edits are interpreted. Figures
of those stages carry the gate's answer.
"""

from collections.abc import Callable, Iterator

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.artifacts import LANDMARK_NAMES
from healscope.config import Statistics
from healscope.errors import HealscopeError
from healscope.findings.columns import effect
from healscope.findings.contrasts import Data, effect_of, row
from healscope.findings.finding import Finding
from healscope.findings.rows import answers_at_landmarks, at_landmarks, first_attempts
from healscope.markdown import limits, points
from healscope.schema import TRACK, choice, table
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


def measure(
    evaluations: list[str], landmark_files: list[str], statistics: Statistics
) -> pd.DataFrame:
    """Return one row for each model and phenomenon: the change of held-out OOD accuracy and the
    answer.

    Forgetting is the change from MaxOOD to End, recovery that from End to RL. "present": the
    interval lies on the claimed side of 0 and most seeds agree; "absent": it excludes a change as
    large as `verdicts.margin` (of recovery, of the gap that forgetting left); either "in these
    seeds": each seed shows it, but too few to speak for others; else "undecided". Recovery is
    judged where there is a landmark of RL. Raises HealscopeError where no RL run came to its end.
    """
    there = set().union(*(provenance.read_json(f)["landmarks"] for f in landmark_files))
    rows = first_attempts(evaluations)
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "ood")]
    rows = at_landmarks(rows, landmark_files, ["maxood", "end", "rl"])
    out = []
    for model, own in rows.groupby("track"):

        def change(first: str, second: str, model=model, own=own) -> Estimate | None:
            if not {first, second} <= there:
                return None
            before, after = (own[own["landmark"] == name] for name in (first, second))
            if after.empty:
                raise HealscopeError(
                    f"{model}: the branch behind landmark 'rl' failed in every seed: change its "
                    "recipe, or set landmarks.rl to another branch"
                )
            return stats.bootstrap(stats.paired(before, after), "change", statistics)

        for phenomenon, stage, e, verdict in _judged(change):
            answer = {"phenomenon": phenomenon, "stage": stage, "answer": ANSWERS[verdict]}
            out.append({"track": model, **answer, **effect_of(e)})
    return pd.DataFrame(out)


def _judged(
    change: Callable[[str, str], Estimate | None],
) -> Iterator[tuple[str, str, Estimate, Verdict]]:
    """Yield phenomenon, stage, change and verdict. `change` takes two landmarks, and returns None
    where there is no such change.

    What counts as no recovery is a share of the gap that forgetting left.
    """
    gap = None
    for phenomenon, (stage, judge) in PHENOMENA.items():
        e = change(*artifacts.STAGES[stage])
        if e is not None:
            yield phenomenon, stage, e, judge(e, margin(gap))
            gap = gap or e


def _between(stage: str) -> str:
    return " and ".join(LANDMARK_NAMES[name] for name in artifacts.STAGES[stage])


def sentences(table: pd.DataFrame, stages: tuple[str, ...] = ("sft", "rl")) -> list[str]:
    """Return the gate's answers in words, one line for each model and phenomenon of `stages`."""
    lines = []
    for r in table[table["stage"].isin(stages)].to_dict("records"):
        first, second = (LANDMARK_NAMES[name] for name in artifacts.STAGES[r["stage"]])
        lines.append(
            f"{r['track']}: OOD {r['phenomenon']} {r['answer']} ({first} to {second} "
            f"{points(r['effect'])} points {limits(r)}, {r['seeds']} "
            f"seed{'s' if r['seeds'] > 1 else ''}, {r['instances']} instances; by itself, not "
            "corrected for the number of claims)"
        )
    return lines


def phenomena(d: Data) -> list[dict]:
    """Claims that there is anything which the weights of a stage could explain."""

    def change(first: str, second: str) -> Estimate:
        return d.change(d.at("ood", d.landmark(first)), d.at("ood", d.landmark(second)))

    return [
        row(
            f"gate-{phenomenon}",
            f"Gate: there is OOD {phenomenon} between {_between(stage)}",
            e,
            verdict,
            f"what is said of the weights in the {stage.upper()} stage explains something only "
            "where this held" + d.picked_by_itself,
        )
        for phenomenon, stage, e, verdict in _judged(change)
    ]


SCHEMA = table(
    "gate",
    "One phenomenon in one model: how far held-out OOD accuracy changes, and what it says.",
    (
        TRACK,
        choice("phenomenon", PHENOMENA, "what has to be there to be explained"),
        choice("stage", artifacts.STAGES, "stage that brings it about"),
        choice("answer", ANSWERS.values(), "whether it is there"),
        *effect("OOD accuracy after minus before"),
    ),
    "track", "phenomenon",
)  # fmt: skip

FINDING = Finding(
    name="gate",
    schema=SCHEMA,
    make=measure,
    inputs=answers_at_landmarks,
    order=1.5,
    claims=(phenomena,),
    claim_names=("gate-(forgetting|recovery)",),
)
