"""Training tasks side by side: every track of the study, also those that are not followed.

Columns `model`, `task` and `family` say what each track is; published rows have no track.
"""

from pathlib import Path

import pandas as pd

from healscope import artifacts
from healscope import published as paper_values
from healscope.artifacts import LANDMARK_NAMES
from healscope.config import Statistics
from healscope.findings.columns import ACCURACY, INSTANCES, SEED, STAGE, STEP, N, interval
from healscope.findings.finding import Finding
from healscope.findings.landmarks import at_landmark, landmark_rows
from healscope.findings.rows import first_attempts, sft_first, summarise, with_steps
from healscope.markdown import at, grid
from healscope.schema import choice, table, text
from healscope.tasks.registry import published
from healscope.tasks.schemas import RULE

Tracks = dict[str, dict[str, str]]
"""track -> model, task and family, as `config.tracks.track_facts` has them."""


def landmarks(
    evaluations: list[str],
    landmark_files: list[str],
    published_files: list[str],
    tracks: Tracks,
    statistics: Statistics,
) -> pd.DataFrame:
    """Return accuracy at MaxOOD, End and RL of every track, and what was published of its family
    (fig9).

    Kind "measured": as table `landmarks`, MaxOOD corrected for having been picked. Kind "published"
    (`model` is one of the paper's, `source` says where a value stands): right in any of several
    attempts at drawn problems, one run each, so that changes can be compared, and levels cannot.
    """
    rows = landmark_rows(evaluations, landmark_files, list(LANDMARK_NAMES))
    table = at_landmark(rows, statistics)
    table = table.merge(_instances(rows, ["track", "landmark", "rule"]))
    table = _named(table, tracks).assign(kind="measured", source="")
    values = paper_values.counts(paper_values.read(Path(published_files[0]).parent))
    parts = [table]
    for task, family in {(t["task"], t["family"]): None for t in tracks.values()}:
        own = values[values["figure"].isin(published(family)[:1])]
        own = own[(own["metric"] == "accuracy") & own["stage"].isin(LANDMARK_NAMES)]
        own = own.rename(columns={"stage": "landmark", "split": "rule", "value": "accuracy"})
        own = own.assign(
            track="", task=task, family=family, kind="published", seed="all", instances=own["n"]
        )
        parts.append(own.assign(checkpoint=None)[list(table)])
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def curves(evaluations: list[str], tracks: Tracks, statistics: Statistics) -> pd.DataFrame:
    """Return held-out accuracy of every track along SFT, and after RL from each start
    (fig_tasks)."""
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    by = ["track", "stage", "step", "checkpoint", "rule"]
    table = summarise(rows, by, statistics).merge(_instances(rows, by))
    return _named(table, tracks).rename(columns={"mean": "accuracy"})


def _instances(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return how many instances stand behind a mean: problems of one are not independent."""
    return rows.groupby(by)["instance_id"].nunique().rename("instances").reset_index()


def _named(table: pd.DataFrame, tracks: Tracks) -> pd.DataFrame:
    order = table["track"].map({track: place for place, track in enumerate(tracks)})
    table = table.iloc[order.argsort(kind="stable")]  # as the config lists them
    said = {c: table["track"].map({t: f[c] for t, f in tracks.items()}) for c in FACTS}
    return table.assign(**said)


FACTS = ("model", "task", "family")


def landmarks_section(table: pd.DataFrame) -> str:
    own = table[table["seed"] == "all"]
    placed = own.set_index(["task", "rule", "landmark"])
    rows = [
        (task, rule.upper(), *(at(placed, (task, rule, name)) for name in artifacts.LANDMARK_NAMES),
         int(own.loc[(own["task"] == task) & (own["rule"] == rule), "instances"].max()))
        for task in own["task"].unique()
        for rule in ("id", "ood")
    ]  # fmt: skip
    names = artifacts.LANDMARK_NAMES.values()
    return grid(["task", "rule", *names, "instances"], rows)


def curves_section(table: pd.DataFrame) -> str:
    """Return a column for each checkpoint: SFT by its step, RL by the step it starts from."""
    own = table[table["seed"] == "all"].sort_values(["stage", "step"], key=sft_first)
    placed = own.set_index(["task", "rule", "checkpoint"])
    checkpoints = list(dict.fromkeys(own["checkpoint"]))
    rows = [
        (task, rule.upper(), *(at(placed, (task, rule, name)) for name in checkpoints))
        for task in table["task"].unique()
        for rule in ("id", "ood")
    ]
    return grid(["task", "rule", *checkpoints], rows)


TASK_COLUMNS = (
    text("track", "its name in the config; empty for published values"),
    text("model", "name of the model"),
    text("task", "name of the task that it was trained on, and is asked"),
    text("family", "family of the task"),
)

LANDMARKS_SCHEMA = table(
    "task-landmarks",
    "Accuracy at one landmark under one rule, of one model on one training task; or what was "
    "published of a model on a task of that family.",
    (
        *TASK_COLUMNS,
        choice("kind", ("measured", "published"), "which of them"),
        choice(
            "landmark",
            LANDMARK_NAMES,
            "maxood as picked by other seeds and instances",
        ),
        RULE, SEED, N, INSTANCES, ACCURACY, *interval(),
        text("checkpoint", "behind the landmark; missing for all seeds", nullable=True),
        text("source", "of a published value; else empty"),
    ),
    "track", "model", "task", "kind", "landmark", "rule", "seed", "source",
)  # fmt: skip

CURVES_SCHEMA = table(
    "task-curves",
    "Held-out accuracy of one checkpoint under one rule, of one model on one training task.",
    (
        *TASK_COLUMNS, STAGE, STEP,
        text("checkpoint", "its name"),
        RULE, SEED, N, INSTANCES, ACCURACY, *interval(),
    ),
    "track", "task", "checkpoint", "rule", "seed",
)  # fmt: skip

LANDMARKS = Finding(
    name="task-landmarks",
    schema=LANDMARKS_SCHEMA,
    make=landmarks,
    inputs=lambda files: {
        "evaluations": files.evaluations(files.at_landmarks, files.study.tracks),
        "landmark_files": files.landmarks(files.study.tracks),
        "published_files": list(files.published),
    },
    order=17,
    title="Accuracy at the landmarks, task by task",
    section=landmarks_section,
)
CURVES = Finding(
    name="task-curves",
    schema=CURVES_SCHEMA,
    make=curves,
    inputs=lambda files: {"evaluations": files.evaluations(files.along, files.study.tracks)},
    order=18,
    title="Accuracy along training, task by task",
    section=curves_section,
)
