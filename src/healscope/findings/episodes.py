"""Episodes: which succeed as a whole, and how many of their steps are right."""

from typing import get_args

import pandas as pd

from healscope.config import Statistics
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, interval
from healscope.findings.finding import Finding
from healscope.findings.protocols import LEVELS
from healscope.findings.rows import sft_first, steps, summarise, with_steps
from healscope.markdown import at, grid
from healscope.schema import TRACK, choice, count, share, table
from healscope.tasks.problem import Split
from healscope.tasks.schemas import PROTOCOL, RULE

WAYS = ("first", *(f"after_{level}" for level in LEVELS))
"""What counts: first tries, or tries within a conversation with this feedback in between."""

MEASURES = ("episode", "step", "step_reached")

_BY = ["track", "protocol", "stage", "step", "checkpoint", "rule", "split", "way", "measure"]

_EPISODE = ["track", "protocol", "seed", "checkpoint", "rule", "episode_id"]


def success(evaluations: list[str], drawn: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return the success of episodes and of their steps, for every checkpoint, protocol, rule and
    split.

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
    found = summarise(pd.concat(parts, ignore_index=True), _BY, statistics)
    return found.rename(columns={"mean": "share"})


def _measured(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows that each of MEASURES is the mean of, in column `correct`."""
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


def section(table: pd.DataFrame) -> str:
    own = table[(table["seed"] == "all") & table["split"].isin(["held_out", "any"])]
    own = own[(own["split"] == "any") == own["protocol"].isin(_drawn(own))]
    own = own.sort_values(["protocol", "stage", "step"], key=sft_first)
    placed = own.set_index(["protocol", "checkpoint", "rule", "way", "measure"])
    measured = list(dict.fromkeys(zip(own["way"], own["measure"], strict=True)))
    rows = [
        (protocol, variant, rule.upper(),
         *(at(placed, (protocol, variant, rule, *m), "share") for m in measured))
        for protocol, variant in dict.fromkeys(zip(own["protocol"], own["checkpoint"], strict=True))
        for rule in ("id", "ood")
    ]  # fmt: skip
    head = [f"{measure}, {way}".replace("_", " ") for way, measure in measured]
    return grid(["protocol", "checkpoint", "rule", *head], rows)


def _drawn(table: pd.DataFrame) -> set[str]:
    """Protocols that draw their problems: these alone have split "any"."""
    return set(table.loc[table["split"] == "any", "protocol"])


SCHEMA = table(
    "episodes",
    "Success in a task of several steps: of one checkpoint under one protocol, rule and split.",
    (
        TRACK, PROTOCOL, STAGE, STEP, CHECKPOINT, RULE,
        choice("split", ("any", *get_args(Split)), "side of the hold-out; any: all drawn"),
        choice(
            "way",
            WAYS,
            "first: first tries; after_…: all tries of a conversation, with that feedback",
        ),
        choice(
            "measure",
            MEASURES,
            "episode: all of its steps are right; step: a step is; step_reached: as the "
            "released code counts, tries that are right until every try at a step failed",
        ),
        SEED,
        count("n", "episodes, steps or tries that the share is of", "rows"),
        share("share", "how many of these are right"),
        *interval(share),
    ),
    "track", "protocol", "checkpoint", "rule", "split", "way", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name="episodes",
    schema=SCHEMA,
    make=success,
    inputs=lambda files: {
        "evaluations": [
            *files.evaluations(files.along, files.episodic),
            *files.under_other_protocols(files.episodic),
        ]
    },
    asked=lambda files: bool(files.episodic),
    order=20,
    title="Whole episodes, and their steps",
    section=section,
)
