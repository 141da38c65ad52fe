"""Intervals for accuracies and their differences on a fixed list of problems, over few seeds.

Card orders of one deal are not independent, so deals are resampled whole. With several seeds the
seeds are resampled too: with two or three of them such an interval is wide, and honest.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healscope.config import Statistics


@dataclass(frozen=True)
class Estimate:
    """A mean with its percentile bootstrap interval, and the value in each seed."""

    value: float
    low: float
    high: float
    by_seed: dict[str, float]


def bootstrap(frame: pd.DataFrame, column: str, settings: Statistics) -> Estimate:
    """Mean of `column` over seeds, each seed the mean over its rows.

    `frame` needs columns seed, deal_id and `column` (a share, or a paired difference). Hierarchical
    percentile bootstrap: seeds, then whole deals inside each seed drawn.
    """
    rng = np.random.default_rng(settings.seed)
    seeds = sorted(frame["seed"].unique())
    means, draws = {}, []
    for seed in seeds:
        deals = frame[frame["seed"] == seed].groupby("deal_id")[column].agg(["sum", "count"])
        totals, counts = deals["sum"].to_numpy(float), deals["count"].to_numpy(float)
        means[str(seed)] = totals.sum() / counts.sum()
        weights = rng.multinomial(
            len(deals), np.full(len(deals), 1 / len(deals)), settings.resamples
        )
        draws.append(weights @ totals / (weights @ counts))
    by_seed = np.stack(draws)  # (seeds, resamples)
    chosen = rng.integers(len(seeds), size=by_seed.shape)
    resampled = np.take_along_axis(by_seed, chosen, axis=0).mean(0)
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(float(np.mean(list(means.values()))), float(low), float(high), means)


def paired(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Change of `correct` for each problem answered in both; columns seed, deal_id, change."""
    keys = ["seed", "problem_id", "sample"]
    both = before[[*keys, "deal_id", "correct"]].merge(
        after[[*keys, "correct"]], on=keys, suffixes=("_before", "_after"), validate="one_to_one"
    )
    change = both["correct_after"].astype(float) - both["correct_before"].astype(float)
    return both.assign(change=change)[["seed", "deal_id", "change"]]
