"""Columns that tables of several findings have."""

from dataclasses import replace

from healscope import edit_kinds, edit_names
from healscope.schema import IN_NATS, IN_SHARES, Column, change, choice, count, share, text

SEED = text("seed", "one seed, or all: the mean over seeds")
ONE_SEED = text("seed", "the seed")
ALL_SEEDS = choice("seed", ("all",), "the mean over seeds")

STAGE = choice("stage", ("sft", "rl"), "what made the checkpoint")
STEP = count("step", "SFT step; where RL started from, in stage rl", "steps")
SFT_STEP = count("step", "SFT step", "steps")
CHECKPOINT = text("checkpoint", "name of the checkpoint")
N = count("n", "rows that the mean is over: one for each problem and seed", "rows")
INSTANCES = count("instances", "instances behind it, which statistics resample", "instances")
ACCURACY = share(
    "accuracy",
    "greedy first attempts where the rules differ: of the card game, deals with a face card",
)


def interval(column=share, nullable: bool = False) -> tuple[Column, Column]:
    """`low` and `high`, shares or differences of shares."""
    return (
        column("low", "lower limit of the interval", nullable=nullable),
        column("high", "upper limit of the interval", nullable=nullable),
    )


EDIT_COLUMNS = (
    choice("axis", ("", *edit_names.AXES), "its one selector; empty: none, or several"),
    Column("amount", "float", "value of the selector; of a range its middle", low=0),
    choice("control", ("", *edit_names.CONTROLS), "which control of the edit, if it is one"),
    choice(
        "matched",
        tuple(dict.fromkeys(map(edit_kinds.matched, ("", *edit_kinds.CONTROLS)))),
        "what a control shares with its edit, to within 1%: the norm of the update, matrix by "
        "matrix or of all together (from_target), the angles of the chosen subspaces "
        "(turned_degrees)",
    ),
)


def by_seed(nullable: bool = False) -> Column:
    return Column(
        "by_seed",
        "floats",
        "the change in each seed",
        "difference of shares",
        low=-1,
        high=1,
        nullable=nullable,
    )


def effect(about: str, nullable: bool = False) -> tuple[Column, ...]:
    """Return a judged change: its value, interval, seeds and instances, as `stats.Estimate` has
    them."""
    return (
        change("effect", about, nullable),
        *interval(change, nullable),
        by_seed(nullable),
        count("seeds", "seeds behind it", "seeds"),
        INSTANCES,
        Column(
            "detectable",
            "float",
            "smallest effect that an interval of this width would have shown, with 80% power",
            "difference of shares",
            low=0,
            nullable=nullable,
        ),
    )


def in_unit(*columns: Column, units: tuple[str, ...] = (IN_SHARES, IN_NATS)) -> tuple[Column, ...]:
    """Return a column `unit`, and these in the one of `units` that it names."""
    found = [choice("unit", units, "what the numbers beside it are in")]
    for column in columns:
        if column.unit in (IN_SHARES, "difference of shares"):
            low = None if column.high is not None else column.low
            column = replace(column, unit="as unit says", low=low, high=None)
        found.append(column)
    return tuple(found)


KINDS = ", ".join(edit_names.KINDS)
"""Kinds of edits, as meanings of columns list them."""

START = count("start", "SFT step where it starts", "steps")
FAILED_RUNS = text("failed", "why the run failed, or those of which seeds; empty where none did")
