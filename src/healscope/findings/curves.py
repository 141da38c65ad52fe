"""Accuracy along SFT and after RL, and what the paper claims of it (section 3.2): OOD accuracy
peaks early and falls, while ID accuracy rises.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.findings.columns import ACCURACY, SEED, STAGE, STEP, N, interval
from healscope.findings.contrasts import Data, names_of, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, trained_on, with_steps
from healscope.schema import TRACK, table, text
from healscope.tasks.schemas import RULE, SPLIT
from healscope.verdicts import margin, negative, positive


def curves(
    evaluations: list[str], pools: list[str], sft: dict, statistics: Statistics
) -> pd.DataFrame:
    """Return accuracy along SFT and after RL from each start, by rule and split (fig3a, fig3b).

    Split "train" holds deals that the seed's SFT was trained on.
    """
    rows = with_steps(trained_on(first_attempts(evaluations), pools, sft))
    by = ["track", "stage", "step", "checkpoint", "split", "rule"]
    return summarise(rows, by, statistics).rename(columns={"mean": "accuracy"})


def forgetting(d: Data) -> list[dict]:
    """Section 3.2: OOD accuracy peaks early and falls, while ID accuracy rises."""
    last, peaks = d.everywhere(artifacts.sft(d.steps[-1])), d.landmark("maxood")
    where = ", ".join(map(str, d.peak_steps()))
    found = [
        row(
            "ood-falls-after-its-peak",
            "OOD accuracy falls from its peak along SFT to the end (section 3.2)",
            d.fall,
            negative(d.fall),
            f"from {names_of(peaks)} as picked by other seeds and instances (the seeds' own "
            f"peaks: step {where}) to {d.steps[-1]}" + d.picked_by_itself,
        ),
        *_between_fixed_steps(d),
        *_peaks_early(d),
    ]
    for rows, which in ((d.train_rows, "train"), (d.rows, "held-out")):
        rise = d.change(d.at("id", peaks, rows), d.at("id", last, rows))
        problems = "problems it was trained on" if which == "train" else "held-out problems"
        found.append(
            row(
                f"id-rises-meanwhile-{which}",
                f"ID accuracy on {problems} rises while OOD falls (section 3.2)",
                rise,
                positive(rise, margin(d.fall)),
                "change of ID accuracy from the OOD peak to the end",
            )
        )
    return found


def _between_fixed_steps(d: Data) -> list[dict]:
    """Return the same fall between two steps that the config fixes: nothing is picked."""
    if d.contrast is None or not set(d.contrast) <= set(d.steps):
        return []
    first, second = (d.at("ood", d.everywhere(artifacts.sft(step))) for step in d.contrast)
    fall = d.change(first, second)
    return [
        row(
            "ood-falls-between-fixed-steps",
            f"OOD accuracy falls from step {d.contrast[0]} to step {d.contrast[1]} of SFT, which "
            "the config names (claims.contrast)",
            fall,
            negative(fall, margin(d.fall)),
            "nothing is picked, so nothing flatters it",
        )
    ]


def _peaks_early(d: Data) -> list[dict]:
    """Return whether the best step of the first third of SFT is better than the best of the
    others."""
    third = d.steps[-1] / 3
    early, late = ([s for s in d.steps if s > 0 and (s <= third) == side] for side in (True, False))
    if not early or not late:
        return []
    best = [
        d.everywhere(artifacts.sft(steps[0]))
        if len(steps) == 1
        else d.pick([artifacts.sft(s) for s in steps], _ood, d.sft)
        for steps in (late, early)
    ]
    more = d.change(*(d.at("ood", choice) for choice in best))
    return [
        row(
            "ood-peaks-early",
            "OOD accuracy is better at the best step of the first third of SFT than at the best of "
            "the rest (section 3.2)",
            more,
            positive(more, margin(d.fall)),
            f"{len(early)} of the steps looked at lie in the first third ({names_of(best[1])} is "
            f"picked), {len(late)} later ({names_of(best[0])})" + d.picked_by_itself,
        )
    ]


def _ood(rows: pd.DataFrame, checkpoint: str) -> float:
    own = rows[(rows["rule"] == "ood") & (rows["checkpoint"] == checkpoint)]
    return stats.mean_of_seeds(own, "correct")


SCHEMA = table(
    "curves",
    "Accuracy of one checkpoint on one split under one rule.",
    (
        TRACK, STAGE, STEP,
        text("checkpoint", "its name"),
        SPLIT, RULE, SEED, N, ACCURACY, *interval(),
    ),
    "track", "checkpoint", "split", "rule", "seed",
)  # fmt: skip

FINDING = Finding(
    name="curves",
    schema=SCHEMA,
    make=curves,
    inputs=lambda files: {"evaluations": files.evaluations(files.along), "pools": files.pools()},
    order=2,
    claims=(forgetting,),
    claim_names=(
        "ood-falls-after-its-peak",
        "ood-falls-between-fixed-steps",
        "ood-peaks-early",
        "id-rises-meanwhile-(train|held-out)",
    ),
)
