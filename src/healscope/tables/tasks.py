"""Training tasks side by side: every track of the study, also those that are not followed.

Columns `model`, `task` and `family` say what each track is; published rows have no track.
"""

from pathlib import Path

import pandas as pd

from healscope import published
from healscope.artifacts import LANDMARK_NAMES
from healscope.config import Statistics
from healscope.tables import accuracy
from healscope.tables.rows import first_attempts, summarise, with_steps

Tracks = dict[str, dict[str, str]]
"""track -> model, task and family, as `config.tracks.track_facts` has them."""


def landmarks(
    evaluations: list[str],
    landmark_files: list[str],
    published_files: list[str],
    tracks: Tracks,
    settings: Statistics,
) -> pd.DataFrame:
    """Accuracy at MaxOOD, End and RL of every track, and what was published of its family (fig9).

    Kind "measured": as table `landmarks`, MaxOOD corrected for having been picked. Kind "published"
    (`model` is one of the paper's, `source` says where a value stands): right in any of several
    attempts at drawn problems, one run each, so changes compare rather than heights.
    """
    rows = accuracy.landmark_rows(evaluations, landmark_files, list(LANDMARK_NAMES))
    table = accuracy.at_landmark(rows, settings)
    table = table.merge(_instances(rows, ["track", "landmark", "rule"]))
    table = _named(table, tracks).assign(kind="measured", source="")
    values = published.counts(published.read(Path(published_files[0]).parent))
    parts = [table]
    for task, family in {(t["task"], t["family"]): None for t in tracks.values()}:
        own = values[values["figure"] == published.LANDMARKS.get(family)]
        own = own[(own["metric"] == "accuracy") & own["stage"].isin(LANDMARK_NAMES)]
        own = own.rename(columns={"stage": "landmark", "split": "rule", "value": "accuracy"})
        own = own.assign(
            track="", task=task, family=family, kind="published", seed="all", instances=own["n"]
        )
        parts.append(own.assign(checkpoint=None)[list(table)])
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def curves(evaluations: list[str], tracks: Tracks, settings: Statistics) -> pd.DataFrame:
    """Held-out accuracy of every track along SFT, and after RL from each start (fig_tasks)."""
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    by = ["track", "stage", "step", "checkpoint", "rule"]
    table = summarise(rows, by, settings).merge(_instances(rows, by))
    return _named(table, tracks).rename(columns={"mean": "accuracy"})


def _instances(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """How many instances stand behind a mean: problems of one are not independent."""
    return rows.groupby(by)["instance_id"].nunique().rename("instances").reset_index()


def _named(table: pd.DataFrame, tracks: Tracks) -> pd.DataFrame:
    order = table["track"].map({track: place for place, track in enumerate(tracks)})
    table = table.iloc[order.argsort(kind="stable")]  # as the config lists them
    said = {c: table["track"].map({t: f[c] for t, f in tracks.items()}) for c in FACTS}
    return table.assign(**said)


FACTS = ("model", "task", "family")
