"""Tables of tasks and runs: problems, training logs, attempts, probes, comparisons."""

from typing import get_args

from healscope import artifacts
from healscope.config import LANDMARKS
from healscope.probes import geometry
from healscope.schemas.columns import (
    Column,
    Schema,
    choice,
    count,
    flag,
    nats,
    real,
    share,
    text,
)
from healscope.schemas.shared import (
    CONTROL,
    DISTANCES,
    EDIT_STAGE,
    LAYER,
    PAIR,
    PAIR_ID,
    PROTOCOL,
    ROLE,
    RULE,
    RUN_SEED,
    SFT_LOG,
    SPLIT,
    TRACK,
    TURNED,
    fraction,
)
from healscope.tasks import tables
from healscope.tasks.cards import neighbours as near
from healscope.tasks.cards.deals import PROBLEM_COLUMNS, RL_COLUMNS
from healscope.tasks.cards.generalpoints import RANKS
from healscope.tasks.problem import Half, Level, Side

QUANTITIES = ("sigma", "sigma_change", "angle", "chordal", "energy", "drift", "effective_rank",
              "stable_rank", "unchanged")  # fmt: skip  # of `spectra.compare`

_PROBLEM = {
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


def _problem(*names) -> tuple[Column, ...]:
    """The columns of these names, in the order above."""
    wanted = {name for some in names for name in some}
    return tuple(column for name, column in _PROBLEM.items() if name in wanted)


_CARDS = frozenset(PROBLEM_COLUMNS) - set(tables.COLUMNS)
_PLAIN = frozenset(tables.COLUMNS) - set(PROBLEM_COLUMNS)
_NEIGHBOUR = (
    Column(
        "neighbour",
        "string",
        "of a neighbour of the trained card game, what differs from training",
        allowed=tuple(near.KINDS),
        nullable=True,
    ),
    Column("distance", "int", "by how much, as table `neighbours` says", nullable=True),
)
_NEAR = _CARDS | {column.name for column in _NEIGHBOUR}
"""Columns that a problem table has: of the card game, of any other task, of neighbours of the card
game."""

POSED_COLUMNS = (
    count("draw", "number of the problem; within its rule, where problems are drawn"),
    flag("retried", "whether it also gets extra samples, and attempts after feedback"),
)

TASKS = (
    Schema(
        "problems",
        artifacts.PROBLEMS,
        "One problem of the evaluation under one rule; of the card game a deal in one order.",
        _problem(PROBLEM_COLUMNS, tables.COLUMNS),
        ("problem_id",),
        (_CARDS, _PLAIN),
    ),
    Schema(
        "sft-pool",
        artifacts.SFT_POOL,
        "One example that SFT may draw: an ID problem of a training instance, with its answer.",
        _problem(PROBLEM_COLUMNS, tables.COLUMNS),
        ("problem_id",),
        (_CARDS, _PLAIN),
    ),
    Schema(
        "rl-pool",
        artifacts.RL_POOL,
        "One prompt that RL may draw: the examples of SFT, those of the card game without answers.",
        _problem(RL_COLUMNS, tables.COLUMNS),
        ("problem_id",),
        (_CARDS, _PLAIN | {"response"}),
    ),
    Schema(
        "posed",
        artifacts.POSED,
        "One problem that a protocol poses; a drawn hand can come up twice.",
        _problem(PROBLEM_COLUMNS, tables.COLUMNS) + _NEIGHBOUR + POSED_COLUMNS,
        ("rule", "draw"),
        (_CARDS, _PLAIN, _NEAR),
    ),
)

_RUN = (TRACK, RUN_SEED, text("run", "name of the run: base, an arm of SFT, or an RL branch"))
TRAINING = (
    Schema(
        "base-log",
        artifacts.TRAINING.replace("{run}", "base"),
        "One step of pretraining; a single row without measurements where the base model was "
        "fetched.",
        (
            count("step", "steps done", "steps"),
            nats("loss", "loss on the step's batch, before its update", nullable=True),
            Column("learning_rate", "float", "rate of the step", low=0, nullable=True),
            *_RUN,
        ),
        ("step",),
    ),
    Schema(
        "sft-log",
        artifacts.TRAINING.replace("{run}", "{arm}"),
        "One measurement along SFT, on fixed problems.",
        (
            *SFT_LOG,
            real("penalty", "what a method added to that mean loss", nullable=True),
            *_RUN[1:],
        ),
        ("step",),
    ),
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
    flag("correct", "the outcome is correct"),
)
_ATTEMPT = (
    *_problem(("problem_id", "pair_id", "instance_id", "episode_id")),
    *_problem(("split", "half", "rule")),
    count("n_faces", "of the card game: how many of the cards are J, Q or K", "cards", 0, True),
    *_NEIGHBOUR,
    *POSED_COLUMNS,
    count("sample", "0: the first answer; 1, 2, …: samples beside it"),
    count("attempt", "1: the first; 2, 3, …: after feedback, in one conversation", low=1),
    choice("feedback", ("", *get_args(Level)), "what was said in between; empty at attempt 1"),
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

EVALUATIONS = (
    Schema(
        "evaluation",
        artifacts.EVALUATION,
        "One attempt of a checkpoint at a problem; nothing is averaged.",
        (*_ATTEMPT, *_NAMES),
        _ATTEMPT_KEY,
    ),
    Schema(
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
    ),
)

_ALONG = "along reference answers to held-out ID problems"
SIGNALS = (
    nats("id_train_loss_nats", "loss on SFT examples"),
    nats("id_test_loss_nats", "loss on held-out ID problems"),
    nats("id_entropy_nats", f"entropy of the next token {_ALONG}"),
    nats("id_kl_from_base_nats", "KL(base || now) along the base model's answers to ID problems"),
    nats("neutral_kl_from_base_nats", "the same, along its answers to prompts outside the task"),
    Column(
        "weight_drift", "float", "|W - W_base| / |W_base| over all matrices, Frobenius norms", low=0
    ),
    Column(
        "rotation_degrees",
        "float",
        "mean principal angle between leading singular subspaces of base and now",
        "degrees",
        low=0,
        high=90,
    ),
)

HIDDEN_STATES = (
    choice(
        "kind",
        geometry.KINDS,
        "distance: of the means, in spreads of prompts; cka: linear CKA; way_back: share of the "
        "way from End to MaxOOD that RL went back",
    ),
    choice("position", geometry.POSITIONS, "the prompt's last token, or the mean of its tokens"),
    RULE,
    choice("landmark", LANDMARKS, "which checkpoint"),
    choice("other", ("", *LANDMARKS), "the second one; empty for kind state"),
    text("pair_id", "the problem, for kind state; else empty"),
    real("pc1", "first component", "state units", nullable=True),
    real("pc2", "second component", "state units", nullable=True),
    share("share1", "variance that the first explains", nullable=True),
    share("share2", "variance that the second explains", nullable=True),
    real("value", "the number; missing for kind state", "spreads or ratio", nullable=True),
    real(
        "chance",
        "of way_back: what a step of that length in a random direction stays within",
        "ratio",
        nullable=True,
    ),
)
HIDDEN_STATES_KEY = ("kind", "position", "rule", "landmark", "other", "pair_id")

PROBES = (
    Schema(
        "signals-probe",
        artifacts.SIGNALS,
        "One SFT checkpoint: what could be watched without OOD labels, and losses by step of the "
        "answer.",
        (
            count("step", "SFT step of the checkpoint", "steps"),
            *SIGNALS,
            *(
                nats(
                    f"{rule}_{part}_step_loss_nats",
                    f"loss of the {part} step of the reference answer, {rule.upper()}; missing "
                    "where answers have none",
                    nullable=True,
                )
                for rule in get_args(Side)
                for part in ("number", "formula")
            ),
            TRACK,
            RUN_SEED,
        ),
        ("step",),
    ),
    Schema(
        "hidden-states-probe",
        artifacts.HIDDEN_STATES,
        "Last-layer states of prompts at the landmarks: one prompt on two principal components "
        "(state), or a number about two landmarks, all prompts and all dimensions.",
        (*HIDDEN_STATES, TRACK, RUN_SEED),
        HIDDEN_STATES_KEY,
    ),
    Schema(
        "comparison",
        artifacts.COMPARISON,
        "One number of one weight matrix at two landmarks, measured or of a control. With D the "
        "update between them, by quantity: sigma, singular values; sigma_change, how much they "
        "change; angle and chordal, between leading singular subspaces; energy, shares of |D|^2 in "
        "blocks of the first landmark's singular bases; drift, |D| relative to the weights; "
        "effective_rank and stable_rank of D; unchanged, share of equal entries.",
        (
            PAIR,
            CONTROL,
            LAYER,
            ROLE,
            choice("quantity", QUANTITIES, "what was compared"),
            text("part", "which side, block, norm or precision; empty where there is one only"),
            fraction(nullable=True),
            count("index", "0: the largest singular value, or the smallest angle"),
            real(
                "a",
                "the first landmark's singular value; of chordal and energy what chance has, of "
                "ranks the most possible",
                nullable=True,
            ),
            Column(
                "b",
                "float",
                "the second landmark's singular value, or the quantity itself; degrees for angle",
                "weight units, degrees or ratio",
                low=0,
            ),
            TRACK,
            RUN_SEED,
        ),
        ("pair", "control", "layer", "role", "quantity", "part", "fraction", "index"),
    ),
)  # fmt: skip
