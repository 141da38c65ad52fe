"""Schemas of answers: those of checkpoints, and those of edited models."""

from typing import get_args

from healscope import artifacts
from healscope.schema import RUN_SEED, TRACK, Column, Schema, choice, count, flag, real, share, text
from healscope.tasks.problem import Said
from healscope.tasks.schemas import NEIGHBOUR, POSED_COLUMNS, PROTOCOL, problem_columns

EDIT_STAGE = text("stage", "stage of the config's edits: what is put back to what")
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
_JUDGED = (
    text("outcome", "the verifier's verdict, one of the task's outcomes"),
    real("reward", "the task's reward for the outcome", "reward"),
    flag("parsed", "the answer format was there"),
    flag(
        "follows_rule",
        "what can be seen of the answer obeys the rule that the prompt states; of the card game: "
        "the number line is the cards' values under it; missing where a task cannot tell",
        nullable=True,
    ),
    flag(
        "uses_numbers",
        "of the card game: the formula uses its own number line's numbers, each once",
        nullable=True,
    ),
    flag(
        "reaches_target",
        "of the card game: the formula is complete and equals the target",
        nullable=True,
    ),
    share(
        "score",
        "how good the answer is, by a verifier that says so beside the outcome (family gym); "
        "missing where a task has none",
        nullable=True,
    ),
    Column(
        "logprob",
        "float",
        "of a passage of a text (family text): the summed log-probability of its tokens",
        "nats",
        high=0,
        nullable=True,
    ),
    count("tokens", "of a passage of a text: its tokens", "tokens", 1, nullable=True),
    flag("correct", "the outcome is correct; never of a passage of a text"),
)
_ATTEMPT = (
    *problem_columns(
        ("problem_id", "pair_id", "instance_id", "episode_id", "split", "half", "rule")
    ),
    *problem_columns(("group", "twin")),
    count("n_faces", "of the card game: how many of the cards are J, Q or K", "cards", 0, True),
    *NEIGHBOUR,
    *POSED_COLUMNS,
    count("sample", "0: the first answer; 1, 2, …: samples beside it"),
    count("attempt", "1: the first; 2, 3, …: after feedback, in one conversation", low=1),
    choice("feedback", ("", *get_args(Said)), "what was said in between; empty at attempt 1"),
    flag(
        "told_rule",
        "the message gave away what only the rule tells; of the card game: it named a value of a "
        "face card that the answer had not used",
    ),
    text("text", "what the model wrote"),
    *_JUDGED,
    TRACK,
    RUN_SEED,
)
_NAMES = (
    PROTOCOL,
    text("checkpoint", "name of the checkpoint or edit"),
    text("task", "name of the task in the config"),
)
_ATTEMPT_KEY = ("rule", "draw", "sample", "attempt", "feedback")

EVALUATION = Schema(
    "evaluation",
    artifacts.EVALUATION,
    "One attempt of a checkpoint at a problem; nothing is averaged.",
    (*_ATTEMPT, *_NAMES),
    _ATTEMPT_KEY,
)
EDIT_EVALUATION = Schema(
    "edit-evaluation",
    artifacts.EDIT,
    "One attempt of an edited model at a problem.",
    (
        *_ATTEMPT,
        *DISTANCES,
        TURNED,
        EDIT_STAGE,
        *_NAMES,
    ),
    _ATTEMPT_KEY,
)
