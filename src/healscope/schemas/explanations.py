"""What may explain it, under results/tables: factors, errors, signals, weights, states."""

from healscope.measuring import hidden_states, signals
from healscope.schema import TRACK, Column, change, choice, count, share, table, text
from healscope.schemas.shared import (
    ALL_SEEDS,
    CHECKPOINT,
    INSTANCES,
    ONE_SEED,
    SEED,
    SFT_STEP,
    STAGE,
    STEP,
    by_seed,
    interval,
)
from healscope.spectra.schemas import CONTROL, LAYER, PAIR, ROLE, fraction
from healscope.tables import errors, factorial, stopping, weights
from healscope.tasks.cards.verifier import FIRST_ERRORS
from healscope.tasks.schemas import RULE
from healscope.training.schemas import SFT_LOG_COLUMNS

_WHY = (
    table(
        "factorial",
        "One cell of rule by hands (cell), or a difference between two (effect), at one "
        "checkpoint, on held-out deals weighed as the published sampling draws them.",
        (
            TRACK,
            STAGE,
            STEP,
            CHECKPOINT,
            choice("kind", ("cell", "effect"), "which of them"),
            choice(
                "name",
                (
                    *("/".join((r, c)) for r in ("id", "ood") for c in ("any", "face")),
                    *factorial.EFFECTS,
                ),
                "the cell, as rule/hands, or the effect",
            ),
            SEED,
            change("value", "accuracy, or a difference; missing where no deal has weight", True),
            *interval(change, True),
            INSTANCES,
        ),
        "track", "checkpoint", "kind", "name", "seed",
    ),
    table(
        "errors",
        "One share of held-out answers by the step that went wrong, or a loss of one step.",
        (
            TRACK,
            STAGE,
            STEP,
            RULE,
            choice(
                "kind",
                ("first error", "success", "loss"),
                "first error: answers whose first fault is `name`; success: those right in this "
                "step among those right in all before; loss: of the reference answer's step",
            ),
            choice(
                "name", dict.fromkeys((*FIRST_ERRORS, *errors.STEPS)), "the fault or the step"
            ),
            SEED,
            count("n", "answers behind it; 0 for losses", "rows"),
            *(
                Column(
                    name, "float", about, "share, or nats per token", low=0, nullable=True
                )
                for name, about in (
                    ("value", "the share, or the loss"),
                    ("low", "lower limit of the interval; of the seeds' range, for losses"),
                    ("high", "upper limit of it"),
                )
            ),
        ),
        "track", "stage", "step", "rule", "kind", "name", "seed",
    ),
)  # fmt: skip

_SIGNAL_COLUMNS = {
    **{column.name: column for column in signals.COLUMNS},
    "id_train_accuracy": share("id_train_accuracy", "ID accuracy on training deals"),
    "id_test_accuracy": share("id_test_accuracy", "ID accuracy on held-out deals"),
}

_STOPPING = (
    table(
        "signals",
        "One SFT checkpoint of one seed: every signal, and the OOD accuracy it might foretell.",
        (
            TRACK,
            SEED,
            SFT_STEP,
            *(_SIGNAL_COLUMNS[name] for name in stopping.SIGNALS),
            share("ood_test_accuracy", "OOD accuracy on held-out deals"),
        ),
        "track", "seed", "step",
    ),
    table(
        "stopping",
        "Regret of one stopping rule: OOD accuracy lost against the peak.",
        (
            TRACK,
            ALL_SEEDS,
            choice(
                "signal",
                ("last checkpoint", "any checkpoint, picked blindly", stopping.BEST,
                 *stopping.SIGNALS),
                "what is watched",
            ),
            choice(
                "rule",
                ("none", "optimum", "knee", "level", "best"),
                "none; best value; farthest from the chord; mean level at other seeds' peaks; "
                "what did best on other seeds and instances",
            ),
            choice("needs", (stopping.LABELS, stopping.NO_LABELS), "what it takes beside a signal"),
            text("stops_at", "SFT step of each seed; empty for a blind pick"),
            change("regret", "OOD accuracy at the peak minus at the stop"),
            *interval(change),
            by_seed(),
            count("rank", "1: the least regret of this model", low=1),
        ),
        "track", "signal", "rule",
    ),
)  # fmt: skip

_WEIGHTS = (
    table(
        "sft-training",
        "One measurement along SFT of one seed.",
        (*SFT_LOG_COLUMNS, ONE_SEED, text("run", "arm of SFT")),
        "track", "seed", "step",
    ),
    table(
        "singular-values",
        "One singular value of one matrix, at the two landmarks of a pair.",
        (
            TRACK,
            ONE_SEED,
            PAIR,
            CONTROL,
            LAYER,
            ROLE,
            count("index", "0: the largest"),
            Column("sigma_a", "float", "at the first landmark", "weight units", low=0),
            Column("sigma_b", "float", "at the second landmark", "weight units", low=0),
        ),
        "track", "seed", "pair", "control", "layer", "role", "index",
    ),
    table(
        "principal-angles",
        "One principal angle between the leading singular subspaces of one matrix.",
        (
            TRACK,
            ONE_SEED,
            PAIR,
            CONTROL,
            LAYER,
            ROLE,
            choice("side", ("left", "right"), "which singular vectors"),
            fraction(),
            count("index", "0: the smallest angle"),
            Column("degrees", "float", "the angle", "degrees", low=0, high=90),
        ),
        "track", "seed", "pair", "control", "layer", "role", "side", "fraction", "index",
    ),
    table(
        "weight-updates",
        "One number of the update of one matrix between two landmarks: how large it is, of what "
        "rank, where in the old spectrum it lives, what it leaves as it was.",
        (
            TRACK,
            ONE_SEED,
            PAIR,
            CONTROL,
            LAYER,
            ROLE,
            choice("quantity", weights.UPDATES, "as in `comparison`"),
            text("part", "which side, block, norm or precision; empty where there is one only"),
            fraction(nullable=True),
            Column("value", "float", "the quantity", "ratio", low=0),
            Column("chance", "float", "of energy and chordal, what an update without direction, "
                   "or random subspaces, have", "ratio", low=0, nullable=True),
        ),
        "track", "seed", "pair", "control", "layer", "role", "quantity", "part", "fraction",
    ),
    table(
        "hidden-states",
        "Last-layer states of prompts at the landmarks: one prompt on the first two principal "
        "components of its model, seed and position (state), or a number about two landmarks.",
        (*hidden_states.COLUMNS, TRACK, ONE_SEED),
        "track", "seed", *hidden_states.KEY,
    ),
)  # fmt: skip

EXPLANATIONS = (*_WHY, *_STOPPING, *_WEIGHTS)
