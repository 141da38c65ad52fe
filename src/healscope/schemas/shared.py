"""Columns that several tables have."""

from typing import get_args

from healscope import edit_kinds, edit_names
from healscope.config import MATRIX_ROLES, SPECTRAL_CONTROLS
from healscope.schemas.columns import Column, change, choice, count, nats, share, text
from healscope.tasks.problem import Side, Split

TRACK = text("track", "a model trained on a task, by its name in the config")
RULE = choice(
    "rule", get_args(Side), "rule that the prompt states: that of training (id) or another (ood)"
)
SPLIT = choice("split", get_args(Split), "side of the hold-out on which the instance is")
PAIR_ID = text(
    "pair_id",
    "one for both rules: the instance and the number of the problem in it; of the card game the "
    "cards in their order and the target",
)

RUN_SEED = count("seed", "seed of the run: it repeats everything")
SEED = text("seed", "one seed, or all: the mean over seeds")
ONE_SEED = text("seed", "the seed")
ALL_SEEDS = choice("seed", ("all",), "the mean over seeds")

STAGE = choice("stage", ("sft", "rl"), "what made the checkpoint")
EDIT_STAGE = text("stage", "stage of the config's edits: what is put back to what")
STEP = count("step", "SFT step; where RL started from, in stage rl", "steps")
SFT_STEP = count("step", "SFT step", "steps")
CHECKPOINT = text("checkpoint", "name of the checkpoint")
PROTOCOL = text("protocol", "name of the protocol in the config")

LAYER = count("layer", "decoder layer, from 0; -1 for embeddings and head", low=-1)
ROLE = choice("role", MATRIX_ROLES, "which matrix of the layer")
PAIR = text("pair", "the two landmarks compared, as base--end")
CONTROL = choice(
    "control",
    ("", *SPECTRAL_CONTROLS),
    "empty: measured; else the first landmark against itself, decomposed again or rounded to "
    "bf16, or against itself plus an update as large as the measured one: Gaussian noise, or the "
    "update's own singular values in random directions (spectrum)",
)

N = count("n", "rows that the mean is over: one for each problem and seed", "rows")
INSTANCES = count("instances", "instances behind it, which statistics resample", "instances")
ACCURACY = share(
    "accuracy",
    "greedy first attempts where the rules differ: of the card game, deals with a face card",
)

SFT_LOG = (
    count("step", "SFT step after which it was measured", "steps"),
    nats("id_train_loss_nats", "loss on training examples"),
    nats("id_test_loss_nats", "loss on held-out ID problems where the rules differ"),
    share("id_test_format_error_share", "greedy answers to these that do not parse"),
    nats("ood_test_loss_nats", "loss on the same kind of problems under the OOD rule"),
    share("ood_test_format_error_share", "greedy answers to these that do not parse"),
    nats("train_loss_nats", "mean loss of the batches since the row before", nullable=True),
    Column("learning_rate", "float", "rate of the latest step", low=0, nullable=True),
    Column(
        "gradient_norm",
        "float",
        "norm of the latest gradient, before clipping",
        low=0,
        nullable=True,
    ),
    TRACK,
)


def interval(column=share, nullable: bool = False) -> tuple[Column, Column]:
    """`low` and `high`, shares or differences of shares."""
    return (
        column("low", "lower limit of the interval", nullable=nullable),
        column("high", "upper limit of the interval", nullable=nullable),
    )


DISTANCES = (
    Column(
        "from_target",
        "float",
        "Frobenius distance from the unedited target, over all decomposed matrices, in units of "
        "that between target and parent; missing where the two are the same",
        "ratio",
        low=0,
        nullable=True,
    ),
    Column("from_parent", "float", "the same from the parent", "ratio", low=0, nullable=True),
)
TURNED = Column(
    "turned_degrees",
    "float",
    "root mean square of the principal angles between the chosen singular subspaces of the target "
    "and of the edited weights, left and right; of the leading half where all directions are "
    "chosen; of at most 16 matrices",
    "degrees",
    low=0,
    nullable=True,
)
EDIT = (
    choice("axis", ("", *edit_names.AXES), "its one selector; empty: none, or several"),
    Column("amount", "float", "value of the selector; of a range its middle", low=0),
    choice("control", ("", *edit_names.CONTROLS), "which control of the edit, if it is one"),
    choice(
        "matched",
        tuple(dict.fromkeys(map(edit_kinds.matched, ("", *edit_kinds.CONTROLS)))),
        "what a control shares with its edit, matrix by matrix, to within 1%: the norm of the "
        "update (from_target), the angles of the chosen subspaces (turned_degrees)",
    ),
)


def fraction(nullable: bool = False) -> Column:
    return Column(
        "fraction", "float", "subspace size, of the rank", "share", low=0, high=1, nullable=nullable
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
    """A judged change: its value, interval, seeds and instances, as `stats.Estimate` has them."""
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
