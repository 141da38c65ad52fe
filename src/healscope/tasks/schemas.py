"""Schemas of the tables of problems: what there is, what SFT and RL draw from, what is posed."""

from typing import get_args

from healscope import artifacts
from healscope.schema import Column, Schema, choice, count, flag, text
from healscope.tasks import tables
from healscope.tasks.cards.deals import PROBLEM_COLUMNS, RL_COLUMNS
from healscope.tasks.cards.game import RANKS
from healscope.tasks.problem import Half, Side, Split

RULE = choice(
    "rule", get_args(Side), "rule that the prompt states: that of training (id) or another (ood)"
)
SPLIT = choice("split", get_args(Split), "side of the hold-out on which the instance is")
PAIR_ID = text(
    "pair_id",
    "one for both rules: the instance and the number of the problem in it; of the card game the "
    "cards in their order and the target",
)
PROTOCOL = text("protocol", "name of the protocol in the config")

PROBLEM = {
    column.name: column
    for column in (
        text(
            "problem_id",
            "the pair and the rule, by its values where they are others; the rendering",
        ),
        PAIR_ID,
        text(
            "instance_id",
            "what the hold-out keeps together and statistics resample, whatever the rule; of the "
            "card game the ID values in ascending order, as 1-5-10, and the target",
        ),
        text("episode_id", "instance and rule, if its problems are steps of one episode", True),
        SPLIT,
        choice("half", get_args(Half), "half of the instances: one picks checkpoints, one judges"),
        RULE,
        text("group", "which set of the rule it is from, of a task that has several", True),
        text("twin", "of a user's own files: the training example that it nearly repeats", True),
        Column("rule_values", "ints", "what J, Q and K count as", low=1, high=999),
        Column("cards", "strings", "the cards, in the order of the prompt", allowed=RANKS),
        Column("target", "int", "what the formula must equal", low=1, high=999),
        Column("values", "ints", "what each card counts as under the rule", low=1, high=999),
        count("n_faces", "how many of the cards are J, Q or K", "cards"),
        count("n_solutions", "distinct solutions under the rule", "solutions", low=1),
        text("data", "what the problem is made of, as JSON"),
        text("prompt", "what the model is asked"),
        text("response", "the reference answer"),
    )
}


def problem_columns(*names) -> tuple[Column, ...]:
    """Return the columns of these names, in the order of PROBLEM."""
    wanted = {name for some in names for name in some}
    return tuple(column for name, column in PROBLEM.items() if name in wanted)


_CARDS = frozenset(PROBLEM_COLUMNS) - set(tables.COLUMNS)
_PLAIN = frozenset(tables.COLUMNS) - set(PROBLEM_COLUMNS)
NEIGHBOUR = (
    text(
        "neighbour",
        "of a neighbour of the training rule, what differs from training; of `contexts`, the text "
        "before the problem",
        True,
    ),
    Column(
        "distance",
        "int",
        "by how much, as table `neighbours` says; of a text, its tokens",
        nullable=True,
    ),
)
_DIFFERS = {column.name for column in NEIGHBOUR}
_KINDS = (_CARDS, _PLAIN, _CARDS | _DIFFERS, _PLAIN | _DIFFERS)
"""Columns that a posed table has: of the card game, of any other task, of neighbours of both."""

POSED_COLUMNS = (
    count("draw", "number of the problem; within its rule, where problems are drawn"),
    flag("retried", "whether it also gets extra samples, and attempts after feedback"),
)

SCHEMAS = (
    Schema(
        "problems",
        artifacts.PROBLEMS,
        "One problem of the evaluation under one rule; of the card game a deal in one order.",
        problem_columns(PROBLEM_COLUMNS, tables.COLUMNS),
        ("problem_id",),
        (_CARDS, _PLAIN),
    ),
    Schema(
        "sft-pool",
        artifacts.SFT_POOL,
        "One example that SFT may draw: an ID problem of a training instance, with its answer.",
        problem_columns(PROBLEM_COLUMNS, tables.COLUMNS),
        ("problem_id",),
        (_CARDS, _PLAIN),
    ),
    Schema(
        "rl-pool",
        artifacts.RL_POOL,
        "One prompt that RL may draw: the examples of SFT, those of the card game without answers.",
        problem_columns(RL_COLUMNS, tables.COLUMNS),
        ("problem_id",),
        (_CARDS, _PLAIN | {"response"}),
    ),
    Schema(
        "posed",
        artifacts.POSED,
        "One problem that a protocol poses; a drawn hand can come up twice.",
        problem_columns(PROBLEM_COLUMNS, tables.COLUMNS) + NEIGHBOUR + POSED_COLUMNS,
        ("rule", "draw"),
        _KINDS,
    ),
)
PROBLEMS, SFT_POOL, RL_POOL, POSED = SCHEMAS
