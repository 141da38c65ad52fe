"""Schemas of comparisons of weights, and of the entries that several seeds change."""

from healscope import artifacts, comparison_controls
from healscope.config import MATRIX_ROLES
from healscope.schema import (
    RUN_SEED,
    TRACK,
    Column,
    Schema,
    choice,
    count,
    real,
    share,
    table,
    text,
)

QUANTITIES = ("sigma", "sigma_change", "angle", "chordal", "energy", "drift", "effective_rank",
              "stable_rank", "unchanged")  # fmt: skip  # of `spectra.compare`

LAYER = count("layer", "decoder layer, from 0; -1 for embeddings and head", low=-1)
ROLE = choice("role", MATRIX_ROLES, "which matrix of the layer")
PAIR = text("pair", "the two landmarks compared, as base--end")
CONTROL = choice(
    "control",
    ("", *comparison_controls.NAMES),
    "empty: measured; else the first landmark against itself: "
    + "; ".join(
        f"{name}, {comparison_controls.CONTROLS[name].does}" for name in comparison_controls.NAMES
    ),
)


def fraction(nullable: bool = False) -> Column:
    return Column(
        "fraction", "float", "subspace size, of the rank", "share", low=0, high=1, nullable=nullable
    )


COMPARISON = Schema(
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
)

MASKS = ("bf16", "1e-5", "largest")  # of `spectra.masks`
MASK_OVERLAP = table(
    "mask-overlap",
    "Which entries of a role's matrices two seeds change: of those that the first changes, the "
    "share that the second changes too, beside its chance.",
    (
        TRACK, PAIR,
        choice("role", ("all", *MATRIX_ROLES), "which matrices; all: together"),
        choice("changed", MASKS, "changed in bf16; by more than 1e-5; or the largest changes, "
               "a tenth of the entries of each matrix"),
        text("seed_a", "first seed"),
        text("seed_b", "second seed"),
        share("changed_a", "entries that the first seed changes"),
        share("changed_b", "entries that the second seed changes"),
        share("overlap", "of the first's, also changed by the second", nullable=True),
        share("chance", "the same if each matrix's changes lay anywhere in it", nullable=True),
        share("chance_in_lines", "the same if only how many changes each row and column of a "
              "matrix has were given", nullable=True),
    ),
    "track", "pair", "role", "changed", "seed_a", "seed_b",
)  # fmt: skip
