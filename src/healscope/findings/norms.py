"""Norms of weight matrices at the landmarks, of all models and seeds."""

import pandas as pd

from healscope import artifacts, provenance
from healscope.findings.columns import ONE_SEED
from healscope.findings.finding import Finding
from healscope.measuring.norms import COLUMNS, KEY
from healscope.schema import TRACK, table


def norms(measured: list[str]) -> pd.DataFrame:
    """How large every matrix is at every landmark."""
    rows = pd.concat([provenance.read_table(f) for f in measured], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))


SCHEMA = table(
    "norms",
    "How large one weight matrix is at a landmark.",
    (*COLUMNS, TRACK, ONE_SEED),
    "track", "seed", *KEY,
)  # fmt: skip

FINDING = Finding(
    name="norms",
    schema=SCHEMA,
    make=norms,
    inputs=lambda files: {"measured": files.each(artifacts.probe("norms"))},
    target=lambda _: True,
)
