"""Hidden states at the landmarks, of all models and seeds."""

import pandas as pd

from healscope import artifacts, provenance
from healscope.findings.columns import ONE_SEED
from healscope.findings.finding import Finding
from healscope.measuring.hidden_states import COLUMNS, KEY
from healscope.schema import TRACK, table


def hidden_states(states: list[str]) -> pd.DataFrame:
    """Return the components of every prompt's states, and numbers about pairs of landmarks
    (fig15)."""
    rows = pd.concat([provenance.read_table(f) for f in states], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))


SCHEMA = table(
    "hidden-states",
    "Last-layer states of prompts at the landmarks: one prompt on the first two principal "
    "components of its model, seed and position (state), or a number about two landmarks.",
    (*COLUMNS, TRACK, ONE_SEED),
    "track", "seed", *KEY,
)  # fmt: skip

FINDING = Finding(
    name="hidden-states",
    schema=SCHEMA,
    make=hidden_states,
    inputs=lambda files: {"states": files.each(artifacts.probe("hidden-states"))},
)
