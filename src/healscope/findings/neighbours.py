"""Accuracy near the training rule: by what differs from training, and by how much."""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.findings.columns import SEED, N, interval
from healscope.findings.finding import Finding
from healscope.findings.rows import at_landmarks, first_attempts, summarise
from healscope.markdown import at, grid
from healscope.schema import TRACK, Column, change, choice, table, text
from healscope.tasks.cards import neighbours as near
from healscope.tasks.schemas import PROTOCOL

BY = ["track", "protocol", "neighbour", "distance", "landmark", "since"]


def neighbours(
    evaluations: list[str], landmark_files: list[str], statistics: Statistics
) -> pd.DataFrame:
    """Return accuracy at the landmarks for each kind of neighbour and distance
    (`tasks.neighbours`).

    Where `since` names an earlier landmark, it is the change since then, paired by problem. MaxOOD
    is corrected for having been picked, as everywhere: a neighbour in one half of the instances is
    reported at the checkpoint that others pick (`landmarks.picked`). Base is there with a step 0.
    """
    extra = ["protocol", "neighbour", "distance"]
    found = first_attempts(evaluations, extra, faceless=True)
    rows = at_landmarks(found, landmark_files, list(artifacts.POINT_NAMES))
    parts = [summarise(rows.assign(since=""), BY, statistics)]
    for key, group in rows.groupby(BY[:-2]):
        place = dict(zip(BY, key, strict=False))
        at = dict(list(group.groupby("landmark")))
        for before, after in artifacts.STAGES.values():
            if before in at and after in at:
                change = stats.paired(at[before], at[after])
                change = change.assign(**place, landmark=after, since=before)
                parts.append(summarise(change, BY, statistics, "change"))
    return pd.concat(parts, ignore_index=True).rename(columns={"mean": "accuracy"})


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    levels = whole[whole["since"] == ""]
    keys = ["neighbour", "distance"]
    placed = whole.set_index([*keys, "landmark", "since"])
    kinds = sorted(set(levels[keys].itertuples(index=False, name=None)), key=_place)
    points = [p for p in artifacts.POINT_NAMES if p in set(levels["landmark"])]
    changes = [
        (before, after) for before, after in artifacts.STAGES.values()
        if ((whole["since"] == before) & (whole["landmark"] == after)).any()
    ]  # fmt: skip
    rows = [
        (kind, distance, *(at(placed, (kind, distance, p, "")) for p in points),
         *(at(placed, (kind, distance, after, before), form="+.1f") for before, after in changes))
        for kind, distance in kinds
    ]  # fmt: skip
    names = artifacts.POINT_NAMES
    head = [*(names[p] for p in points), *(f"{names[b]} to {names[a]}" for b, a in changes)]
    return grid(["differs in", "distance", *head], rows)


def _place(neighbour: tuple[str, int]) -> tuple[int, str, int]:
    kind, distance = neighbour
    return near.order(kind), kind, distance


SCHEMA = table(
    "neighbours",
    "Held-out accuracy at one landmark on problems that differ from training in one thing, by "
    "so much; or its change since an earlier landmark, paired by problem.",
    (
        TRACK, PROTOCOL,
        text("neighbour", "kind of neighbour: what differs from training"),
        Column(
            "distance",
            "int",
            "by how much, of the card game: "
            + "; ".join(f"{kind}: {about}" for kind, about in near.KINDS.items())
            + ". Of reasoning-gym: levels of the curriculum",
        ),
        choice("landmark", artifacts.POINT_NAMES, "maxood as picked by other seeds and instances"),
        choice(
            "since", ("", *artifacts.POINT_NAMES),
            "the earlier landmark; empty: the accuracy itself",
        ),
        SEED, N,
        change("accuracy", "greedy first attempts; below 0 only as a change"),
        *interval(change),
    ),
    "track", "protocol", "neighbour", "distance", "landmark", "since", "seed",
)  # fmt: skip

FINDING = Finding(
    name="neighbours",
    schema=SCHEMA,
    make=neighbours,
    inputs=lambda files: {
        "evaluations": files.each(
            artifacts.EVALUATION,
            files.near,
            protocol=files.neighbours,
            checkpoint=files.at_landmarks,
        ),
        "landmark_files": files.landmarks(files.near),
    },
    asked=lambda files: bool(files.near and files.neighbours),
    order=21,
    title="Near the training rule",
    section=section,
)
