"""What is measured of answers: how many are right, or of a text how probable its tokens are.

Of passages of a text it is the mean log-probability of a token, in nats, in which every token
counts once; perplexity is exp of minus that. Both measures fall where something is lost.
"""

from __future__ import annotations

import pandas as pd

from healscope import stats
from healscope.config import Statistics
from healscope.schema import IN_ENTRIES, IN_ITERATIONS, IN_NATS, IN_SHARES
from healscope.stats import Estimate
from healscope.verdicts import MARGIN

CALLED = {
    IN_SHARES: "points",
    IN_NATS: IN_NATS,
    IN_ENTRIES: "points of entries",
    IN_ITERATIONS: IN_ITERATIONS,
}
"""Unit of a table -> how texts call it."""

LOSS = f"{100 * MARGIN:.0f} points, of a text {MARGIN:g} nats per token,"
"""The least loss that counts as one, in words."""

_COUNTED = ("tokens",)


def unit_of(rows: pd.DataFrame) -> str:
    """Return the unit of what is measured of these answers."""
    return IN_NATS if "logprob" in rows and rows["logprob"].notna().any() else IN_SHARES


def level(rows: pd.DataFrame, statistics: Statistics) -> Estimate:
    """Return accuracy, or the mean log-probability of a token."""
    if unit_of(rows) == IN_SHARES:
        return stats.bootstrap(rows, "correct", statistics)
    return stats.bootstrap(_by_token(rows), "a_token", statistics, "tokens", unit=IN_NATS)


def paired(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the change of each problem or passage that is in both, as `change` takes it."""
    if IN_NATS not in (unit_of(before), unit_of(after)):
        return stats.paired(before, after)
    return stats.paired(_by_token(before), _by_token(after), "a_token", _COUNTED)


def change(pairs: pd.DataFrame, statistics: Statistics) -> Estimate:
    """Return the mean change of what `paired` returns."""
    if "tokens" not in pairs:
        return stats.bootstrap(pairs, "change", statistics)
    return stats.bootstrap(pairs, "change", statistics, "tokens", unit=IN_NATS)


def can_lose(rows: pd.DataFrame) -> bool:
    """Return whether there is something to lose: who knows nothing loses nothing."""
    return unit_of(rows) == IN_NATS or stats.mean_of_seeds(rows, "correct") >= MARGIN


def _by_token(rows: pd.DataFrame) -> pd.DataFrame:
    tokens = rows["tokens"].astype(float)
    return rows.assign(tokens=tokens, a_token=rows["logprob"].astype(float) / tokens)
