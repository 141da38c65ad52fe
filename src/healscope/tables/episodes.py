"""Episodes: which succeed as a whole, and how many of their steps are right."""

import pandas as pd

from healscope.config import Statistics
from healscope.tables.protocols import LEVELS
from healscope.tables.rows import steps, summarise, with_steps

WAYS = ("first", *(f"after_{level}" for level in LEVELS))
"""What counts: first tries, or tries within a conversation with this feedback in between."""

MEASURES = ("episode", "step", "step_reached")

_BY = ["track", "protocol", "stage", "step", "checkpoint", "rule", "split", "way", "measure"]
_EPISODE = ["track", "protocol", "seed", "checkpoint", "rule", "episode_id"]


def episodes(evaluations: list[str], drawn: list[str], settings: Statistics) -> pd.DataFrame:
    """Success of episodes and of their steps, for every checkpoint, protocol, rule and split.

    `share` of measure "episode": episodes of which every step is right; "step": steps that are
    right; "step_reached": right tries among all tries, when an episode ends at the first step of
    which every try failed, as the released code counts (arXiv 2501.17161). A way "after_…" knows
    the episodes of which every failed step was tried again. Split "any" takes all episodes of a
    protocol that draws them (named in `drawn`).
    """
    rows = with_steps(steps(evaluations, ["protocol", "feedback", "episode_id", "pair_id"]))
    rows = rows[rows["episode_id"].notna() & (rows["sample"] == 0)]
    rows = rows.assign(part=rows["pair_id"].str.rpartition("/")[2].astype(int))
    told = rows.groupby("protocol")["feedback"].unique()
    whole = rows[rows["protocol"].isin(drawn)].assign(split="any")
    rows = pd.concat([whole, rows], ignore_index=True)
    parts = []
    for way in WAYS:
        level = way.removeprefix("after_")
        if way == "first":
            own = rows[rows["attempt"] == 1]
        else:
            knows = rows["protocol"].map(lambda p, level=level: level in told[p])
            asked = rows.groupby([*_EPISODE, "split"])["retried"].transform("all")
            own = rows[knows & asked & rows["feedback"].isin(["", level])]
        if len(own):
            parts += [frame.assign(way=way) for frame in _measured(own)]
    found = summarise(pd.concat(parts, ignore_index=True), _BY, settings)
    return found.rename(columns={"mean": "share"})


def _measured(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows that each of MEASURES is the mean of, in column `correct`."""
    step = [*_EPISODE, "split", "part"]
    single = rows.groupby(step, as_index=False).agg(
        {"correct": "any", "stage": "first", "step": "first", "instance_id": "first"}
    )
    episode = [*_EPISODE, "split"]
    routes = single.groupby(episode, as_index=False).agg(
        {"correct": "all", "stage": "first", "step": "first", "instance_id": "first"}
    )
    failed = single[~single["correct"]].groupby(episode)["part"].min().rename("end")
    reached = rows.merge(failed, how="left", on=episode)
    reached = reached[reached["end"].isna() | (reached["part"] <= reached["end"])]
    named = zip(MEASURES, (routes, single, reached), strict=True)
    return [frame.assign(measure=measure) for measure, frame in named]
