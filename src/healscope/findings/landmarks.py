"""Accuracy at the landmarks: MaxOOD, End and RL."""

import pandas as pd

from healscope import artifacts
from healscope.config import Statistics
from healscope.findings.columns import ACCURACY, SEED, N, interval
from healscope.findings.finding import Finding
from healscope.findings.rows import answers_at_landmarks, at_landmarks, first_attempts, summarise
from healscope.markdown import grid, level
from healscope.schema import TRACK, choice, table, text
from healscope.tasks.schemas import RULE


def landmarks(
    evaluations: list[str], landmark_files: list[str], statistics: Statistics
) -> pd.DataFrame:
    """Return accuracy at MaxOOD, End and RL, by rule (fig1).

    Landmark "maxood" is corrected for having been picked; "maxood_uncorrected" is the accuracy on
    the answers that picked it.
    """
    names = ["maxood", "maxood_uncorrected", "end", "rl"]
    return at_landmark(landmark_rows(evaluations, landmark_files, names), statistics)


def landmark_rows(
    evaluations: list[str], landmark_files: list[str], names: list[str]
) -> pd.DataFrame:
    """Return held-out first attempts at the landmarks of these names."""
    rows = first_attempts(evaluations)
    return at_landmarks(rows[rows["split"] == "held_out"], landmark_files, names)


def at_landmark(rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """Return means of such rows, with the checkpoints behind them."""
    table = summarise(rows, ["track", "landmark", "rule"], statistics)
    found = rows.assign(seed=rows["seed"].astype(str)).groupby(["track", "seed", "landmark"])
    checkpoints = found["checkpoint"].agg(lambda v: ", ".join(sorted(set(v), key=_step)))
    table = table.merge(
        checkpoints.rename("checkpoint"), on=["track", "seed", "landmark"], how="left"
    )
    return table.rename(columns={"mean": "accuracy"})


def _step(checkpoint: str) -> int:
    return artifacts.stage_and_step(checkpoint)[1]


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["landmark", "rule"])
    names = {
        **artifacts.LANDMARK_NAMES,
        "maxood_uncorrected": "MaxOOD on the instances that picked it",
    }
    rows = [
        (label, *(level(whole.loc[(name, rule)]) for rule in ("id", "ood")))
        for name, label in names.items()
    ]
    return grid(["landmark", "ID", "OOD"], rows)


SCHEMA = table(
    "landmarks",
    "Held-out accuracy at one landmark under one rule.",
    (
        TRACK,
        choice(
            "landmark",
            ("maxood", "maxood_uncorrected", "end", "rl"),
            "maxood as picked by other seeds and instances; maxood_uncorrected on the answers "
            "that picked it",
        ),
        RULE, SEED, N, ACCURACY, *interval(),
        text("checkpoint", "behind the landmark; missing for all seeds", nullable=True),
    ),
    "track", "landmark", "rule", "seed",
)  # fmt: skip

FINDING = Finding(
    name="landmarks",
    schema=SCHEMA,
    make=landmarks,
    inputs=answers_at_landmarks,
    order=1,
    title="Accuracy at the landmarks",
    section=section,
)
