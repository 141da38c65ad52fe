"""Accuracy near the training rule: by what differs from training, and by how much."""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.tables.rows import at_landmarks, first_attempts, summarise

BY = ["track", "protocol", "neighbour", "distance", "landmark", "since"]
POINTS = ("base", *artifacts.LANDMARK_NAMES)


def neighbours(
    evaluations: list[str], landmark_files: list[str], settings: Statistics
) -> pd.DataFrame:
    """Accuracy at the landmarks for each kind of neighbour and distance (`tasks.neighbours`).

    Where `since` names an earlier landmark, it is the change since then, paired by problem. MaxOOD
    is corrected for having been picked, as everywhere: a neighbour in one half of the instances is
    reported at the checkpoint that others pick (`landmarks.picked`). Base is there with a step 0.
    """
    extra = ["protocol", "neighbour", "distance"]
    found = first_attempts(evaluations, extra, faceless=True)
    rows = at_landmarks(found, landmark_files, list(POINTS))
    parts = [summarise(rows.assign(since=""), BY, settings)]
    for key, group in rows.groupby(BY[:-2]):
        place = dict(zip(BY, key, strict=False))
        at = dict(list(group.groupby("landmark")))
        for before, after in artifacts.STAGES.values():
            if before in at and after in at:
                change = stats.paired(at[before], at[after])
                change = change.assign(**place, landmark=after, since=before)
                parts.append(summarise(change, BY, settings, "change"))
    return pd.concat(parts, ignore_index=True).rename(columns={"mean": "accuracy"})
