"""Weights: singular values, principal angles, and where updates live."""

import pandas as pd

from healscope import artifacts, provenance
from healscope.files import Files
from healscope.findings.columns import ONE_SEED
from healscope.findings.finding import Finding
from healscope.markdown import cell, grid
from healscope.schema import TRACK, Column, choice, count, table, text
from healscope.spectra.schemas import CONTROL, LAYER, PAIR, ROLE, fraction

_OF_MATRIX = (TRACK, ONE_SEED, PAIR, CONTROL, LAYER, ROLE)
_PLACE = [column.name for column in _OF_MATRIX]

UPDATES = ("sigma_change", "chordal", "energy", "drift", "effective_rank", "stable_rank",
            "unchanged")  # fmt: skip

_WITH_CHANCE = ("chordal", "energy")


def _rows(files: list[str], *quantities: str) -> pd.DataFrame:
    parts = [provenance.read_table(f) for f in files]
    rows = pd.concat([p[p["quantity"].isin(quantities)] for p in parts], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))


def singular_values(comparisons: list[str]) -> pd.DataFrame:
    """Singular values before and after (fig13)."""
    rows = _rows(comparisons, "sigma").rename(columns={"a": "sigma_a", "b": "sigma_b"})
    return rows[[*_PLACE, "index", "sigma_a", "sigma_b"]]


def principal_angles(comparisons: list[str]) -> pd.DataFrame:
    """Principal angles between leading singular subspaces (fig14)."""
    rows = _rows(comparisons, "angle").rename(columns={"part": "side", "b": "degrees"})
    return rows[[*_PLACE, "side", "fraction", "index", "degrees"]]


def updates(comparisons: list[str]) -> pd.DataFrame:
    """Return how large updates are, of what rank, and where in the old spectrum they live
    (fig_delta)."""
    rows = _rows(comparisons, *UPDATES).rename(columns={"b": "value"})
    chance = rows["a"].where(rows["quantity"].isin(_WITH_CHANCE))
    return rows.assign(chance=chance)[[*_PLACE, "quantity", "part", "fraction", "value", "chance"]]


_COMPARED = {"": "measured", "noise": "noise", "spectrum": "spectrum", "bf16": "bf16"}


def values_section(table: pd.DataFrame) -> str:
    """Relative change of the spectrum by pair, beside that of the controls."""
    squares = table.assign(
        change=(table["sigma_b"] - table["sigma_a"]) ** 2, size=table["sigma_a"] ** 2
    )
    keys = ["pair", "control", "seed", "layer", "role"]
    sums = squares.groupby(keys)[["change", "size"]].sum()
    relative = 100 * (sums["change"] / sums["size"]) ** 0.5
    note = "‖Δσ‖/‖σ‖ in percent, median of seeds, layers and roles.\n\n"
    return note + _by_control(relative.groupby(["pair", "control"]).median(), ["pair"], ".2g")


def angles_section(table: pd.DataFrame) -> str:
    """Median angle by pair and share of the directions, beside that of the controls."""
    middle = table.groupby(["pair", "fraction", "control"])["degrees"].median()
    note = "Degrees, median of angles, sides, seeds, layers and roles.\n\n"
    return note + _by_control(middle, ["pair", "leading share"], ".2f")


def updates_section(table: pd.DataFrame) -> str:
    """Size, rank and place of updates by pair, beside those of the controls."""
    keys = ["pair", "control", "seed", "layer", "role"]
    energy = table[table["quantity"] == "energy"]
    values = energy[energy["part"].str.startswith("diagonal")].groupby(keys)["value"].sum()
    head = energy[energy["part"].isin(["diagonal-head", "head-head"])]
    head = head.groupby(keys)[["value", "chance"]].sum()

    def of(quantity: str, part: str = "") -> pd.Series:
        rows = table[(table["quantity"] == quantity) & (table["part"] == part)]
        return rows.set_index(keys)["value"]

    shown = {
        "‖ΔW‖/‖W‖, percent": 100 * of("drift"),
        "effective rank of ΔW": of("effective_rank"),
        "stable rank of ΔW": of("stable_rank"),
        "entries equal in bf16, percent": 100 * of("unchanged", "bf16"),
        "entries equal in float32, percent": 100 * of("unchanged", "float32"),
        "energy of ΔW that changes singular values, percent": 100 * values,
        "energy of ΔW within the head, relative to chance": head["value"] / head["chance"],
    }
    middle = {name: found.groupby(["pair", "control"]).median() for name, found in shown.items()}
    note = "Medians of seeds, layers and roles. Head: the leading share of the directions.\n\n"
    return note + _by_control(pd.concat(middle), ["quantity", "pair"], ".2f")


def _by_control(values: pd.Series, names: list[str], form: str) -> str:
    """Return a row for each place, a column for each control (the last index level)."""
    wide = values.unstack("control")
    wide = wide[[c for c in _COMPARED if c in wide]]
    rows = [
        (*(place if isinstance(place, tuple) else (place,)), *(cell(v, form) for v in row))
        for place, row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return grid([*names, *(_COMPARED[c] for c in wide)], rows)


VALUES_SCHEMA = table(
    "singular-values",
    "One singular value of one matrix, at the two landmarks of a pair.",
    (
        *_OF_MATRIX,
        count("index", "0: the largest"),
        Column("sigma_a", "float", "at the first landmark", "weight units", low=0),
        Column("sigma_b", "float", "at the second landmark", "weight units", low=0),
    ),
    *_PLACE, "index",
)  # fmt: skip

ANGLES_SCHEMA = table(
    "principal-angles",
    "One principal angle between the leading singular subspaces of one matrix.",
    (
        *_OF_MATRIX,
        choice("side", ("left", "right"), "which singular vectors"),
        fraction(),
        count("index", "0: the smallest angle"),
        Column("degrees", "float", "the angle", "degrees", low=0, high=90),
    ),
    *_PLACE, "side", "fraction", "index",
)  # fmt: skip

UPDATES_SCHEMA = table(
    "weight-updates",
    "One number of the update of one matrix between two landmarks: how large it is, of what "
    "rank, where in the old spectrum it lives, what it leaves as it was.",
    (
        *_OF_MATRIX,
        choice("quantity", UPDATES, "as in `comparison`"),
        text("part", "which side, block, norm or precision; empty where there is one only"),
        fraction(nullable=True),
        Column("value", "float", "the quantity", "ratio", low=0),
        Column("chance", "float", "of energy and chordal, what an update without direction, "
               "or random subspaces, have", "ratio", low=0, nullable=True),
    ),
    *_PLACE, "quantity", "part", "fraction",
)  # fmt: skip


def _compared(files: Files) -> dict[str, list[str]]:
    return {"comparisons": files.each(artifacts.COMPARISON)}


SINGULAR_VALUES = Finding(
    name="singular-values",
    schema=VALUES_SCHEMA,
    make=singular_values,
    inputs=_compared,
    order=14,
    title="How much singular values change",
    section=values_section,
)
PRINCIPAL_ANGLES = Finding(
    name="principal-angles",
    schema=ANGLES_SCHEMA,
    make=principal_angles,
    inputs=_compared,
    order=15,
    title="How far singular subspaces turn",
    section=angles_section,
)
WEIGHT_UPDATES = Finding(
    name="weight-updates",
    schema=UPDATES_SCHEMA,
    make=updates,
    inputs=_compared,
    order=16,
    title="How large updates are, and where they live",
    section=updates_section,
)
