"""Weights: singular values and principal angles."""

import pandas as pd

from healscope import provenance


def _comparisons(files: list[str], quantity: str) -> pd.DataFrame:
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    return rows[rows["quantity"] == quantity].assign(seed=lambda r: r["seed"].astype(str))


def singular_values(files: list[str]) -> pd.DataFrame:
    """Singular values before and after (fig13)."""
    keep = ["model", "seed", "pair", "layer", "role", "index", "sigma_a", "sigma_b"]
    return _comparisons(files, "sigma").rename(columns={"a": "sigma_a", "b": "sigma_b"})[keep]


def principal_angles(files: list[str]) -> pd.DataFrame:
    """Principal angles between leading singular subspaces (fig14)."""
    keep = ["model", "seed", "pair", "layer", "role", "side", "fraction", "index", "degrees"]
    return _comparisons(files, "angle").rename(columns={"b": "degrees"})[keep]
