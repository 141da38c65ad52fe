"""Weights: singular values, principal angles, and where updates live."""

import pandas as pd

from healscope import provenance

_PLACE = ["track", "seed", "pair", "control", "layer", "role"]
UPDATES = ("sigma_change", "chordal", "energy", "drift", "effective_rank", "stable_rank",
            "unchanged")  # fmt: skip
_WITH_CHANCE = ("chordal", "energy")


def _comparisons(files: list[str], *quantities: str) -> pd.DataFrame:
    parts = [provenance.read_table(f) for f in files]
    rows = pd.concat([p[p["quantity"].isin(quantities)] for p in parts], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))


def singular_values(files: list[str]) -> pd.DataFrame:
    """Singular values before and after (fig13)."""
    rows = _comparisons(files, "sigma").rename(columns={"a": "sigma_a", "b": "sigma_b"})
    return rows[[*_PLACE, "index", "sigma_a", "sigma_b"]]


def principal_angles(files: list[str]) -> pd.DataFrame:
    """Principal angles between leading singular subspaces (fig14)."""
    rows = _comparisons(files, "angle").rename(columns={"part": "side", "b": "degrees"})
    return rows[[*_PLACE, "side", "fraction", "index", "degrees"]]


def updates(files: list[str]) -> pd.DataFrame:
    """How large updates are, of what rank, and where in the old spectrum they live (fig_delta)."""
    rows = _comparisons(files, *UPDATES).rename(columns={"b": "value"})
    chance = rows["a"].where(rows["quantity"].isin(_WITH_CHANCE))
    return rows.assign(chance=chance)[[*_PLACE, "quantity", "part", "fraction", "value", "chance"]]
