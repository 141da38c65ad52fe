"""Accuracy on each set of problems that a rule has: of a user's own files, or of benchmarks; with
and without problems that are nearly the same as a training example.
"""

import pandas as pd

from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import ACCURACY, CHECKPOINT, SEED, STAGE, STEP, N, interval
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, sft_first, summarise, with_steps
from healscope.markdown import at, grid
from healscope.schema import TRACK, choice, table, text
from healscope.tasks.schemas import RULE

ALL = "all"
"""The group that is all problems of a rule."""

TWINS = ("kept", "left_out")

_BY = ["track", "stage", "step", "checkpoint", "rule", "group", "twins"]


def by_group(evaluations: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return accuracy of every checkpoint on held-out problems, for each rule and each of its
    groups.

    Group "all" is the rule as a whole; a rule with one group has no other row. Where a problem has
    a near twin in training, every row is there once more without such problems (twins "left_out").
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    several = rows.groupby(["track", "rule"])["group"].transform("nunique") > 1
    parts = [rows.assign(group=ALL), rows[several]]
    whole = pd.concat(parts, ignore_index=True).assign(twins="kept")
    if rows["twin"].notna().any():
        without = whole[whole["twin"].isna()].assign(twins="left_out")
        whole = pd.concat([whole, without], ignore_index=True)
    return summarise(whole, _BY, statistics).rename(columns={"mean": "accuracy"})


def section(table: pd.DataFrame) -> str:
    own = table[table["seed"] == "all"].sort_values(["stage", "step"], key=sft_first)
    placed = own.set_index(["checkpoint", "rule", "group", "twins"])
    shown = own[(own["twins"] == "kept") | (own["group"] == ALL)]
    kinds = shown.drop_duplicates(["rule", "group", "twins"])
    columns = list(kinds[["rule", "group", "twins"]].itertuples(index=False, name=None))
    columns.sort(key=lambda c: (c[0], c[1] != ALL, c[1], c[2]))
    head = [_named(*column) for column in columns]
    rows = [
        (name, *(at(placed, (name, *column)) for column in columns))
        for name in dict.fromkeys(own["checkpoint"])
    ]
    return "\n\n".join(filter(None, [_near_twins(table), grid(["checkpoint", *head], rows)]))


def _named(rule: str, group: str, twins: str) -> str:
    name = f"{rule.upper()}" if group == ALL else f"{rule.upper()}, {group}"
    return name + (" without near twins" if twins == "left_out" else "")


def _near_twins(table: pd.DataFrame) -> str:
    """Count the evaluated problems that are nearly the same as a training example."""
    counted = table[(table["seed"] != "all") & (table["group"] == ALL)]
    counted = counted.groupby(["rule", "twins"])["n"].first()
    if "left_out" not in counted.index.get_level_values("twins"):
        return ""
    said = []
    for rule in counted.index.get_level_values("rule").unique():
        n, left = counted[(rule, "kept")], counted.get((rule, "left_out"), 0)
        said.append(f"{n - left} of {n} {rule.upper()} problems")
    return (
        f"{' and '.join(said)} have a near twin among the training examples (column `twin` of the "
        "problems names it)."
    )


def _tracks(files: Files) -> list[str]:
    """Tracks whose problems have groups: those followed, or where none is, all."""
    tasks = files.study.tasks
    own = [t for t in files.study.tracks if tasks[files.study.task_of(t)].task_class.grouped]
    return [t for t in own if t in files.followed] or own


SCHEMA = table(
    "groups",
    "Accuracy of one checkpoint on one group of the held-out problems of a rule.",
    (
        TRACK, STAGE, STEP, CHECKPOINT, RULE,
        text("group", "set of the problems, with the value of the field `group`; all: the rule"),
        choice(
            "twins",
            TWINS,
            "problems that nearly repeat a training example: kept, or left out",
        ),
        SEED, N, ACCURACY, *interval(),
    ),
    "track", "checkpoint", "rule", "group", "twins", "seed",
)  # fmt: skip

FINDING = Finding(
    name="groups",
    schema=SCHEMA,
    make=by_group,
    inputs=lambda files: {"evaluations": files.evaluations(files.along, _tracks(files))},
    asked=lambda files: bool(_tracks(files)),
    target=lambda files: bool(set(_tracks(files)) & set(files.followed)),
    order=3,
    title="Each set of problems",
    section=section,
)
