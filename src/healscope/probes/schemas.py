"""Schemas of what probes measure: signals along SFT, and hidden states at the landmarks."""

from typing import get_args

from healscope import artifacts
from healscope.config import LANDMARKS
from healscope.probes import geometry
from healscope.schema import RUN_SEED, TRACK, Column, Schema, choice, count, nats, real, share, text
from healscope.tasks.protocol import Side
from healscope.tasks.schemas import RULE

_ALONG = "along reference answers to held-out ID problems"
SIGNAL_COLUMNS = (
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

HIDDEN_STATES_COLUMNS = (
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

SIGNALS = Schema(
    "signals-probe",
    artifacts.SIGNALS,
    "One SFT checkpoint: what could be watched without OOD labels, and losses by step of the "
    "answer.",
    (
        count("step", "SFT step of the checkpoint", "steps"),
        *SIGNAL_COLUMNS,
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
)
HIDDEN_STATES = Schema(
    "hidden-states-probe",
    artifacts.HIDDEN_STATES,
    "Last-layer states of prompts at the landmarks: one prompt on two principal components "
    "(state), or a number about two landmarks, all prompts and all dimensions.",
    (*HIDDEN_STATES_COLUMNS, TRACK, RUN_SEED),
    HIDDEN_STATES_KEY,
)
