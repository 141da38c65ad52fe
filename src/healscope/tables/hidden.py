"""Hidden states at the landmarks, of all models and seeds."""

import pandas as pd

from healscope import provenance


def hidden_states(files: list[str]) -> pd.DataFrame:
    """Components of every prompt's states, and numbers about pairs of landmarks (fig15)."""
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))
