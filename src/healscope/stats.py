"""Intervals for accuracies and their differences on a fixed list of problems, over few seeds.

Card orders of one deal are not independent, so deals are resampled whole, the same deals in every
seed. With several seeds the seeds are resampled too. Of two or three seeds no method learns much
about how seeds differ: where that is what matters, such an interval is too narrow (with two seeds
it can hold the truth half of the time), so the value of each seed is always reported beside it.
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

    `frame` needs columns seed, deal_id and `column` (a share, or a paired difference). Percentile
    bootstrap over two crossed factors: seeds are redrawn, and deals, whole and alike in all seeds.
    """
    rng = np.random.default_rng(settings.seed)
    groups = frame.groupby(["seed", "deal_id"])[column].agg(["sum", "count"])
    totals_SD, counts_SD = (
        groups[name].unstack("deal_id", fill_value=0).to_numpy(float) for name in ("sum", "count")
    )
    seeds, deals = totals_SD.shape
    drawn_RD = rng.multinomial(deals, np.full(deals, 1 / deals), settings.resamples)
    means_RS = (drawn_RD @ totals_SD.T) / np.maximum(drawn_RD @ counts_SD.T, 1)
    chosen_RS = rng.integers(seeds, size=means_RS.shape)
    resampled_R = np.take_along_axis(means_RS, chosen_RS, axis=1).mean(1)
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(resampled_R, [tail, 1 - tail])
    names = groups.index.get_level_values("seed").unique()
    by_seed = {
        str(seed): float(t.sum() / c.sum())
        for seed, t, c in zip(names, totals_SD, counts_SD, strict=True)
    }
    return Estimate(float(np.mean(list(by_seed.values()))), float(low), float(high), by_seed)


def paired(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Change of `correct` for each problem answered in both; columns seed, deal_id, change."""
    keys = ["seed", "problem_id", "sample"]
    both = before[[*keys, "deal_id", "correct"]].merge(
        after[[*keys, "correct"]], on=keys, suffixes=("_before", "_after"), validate="one_to_one"
    )
    change = both["correct_after"].astype(float) - both["correct_before"].astype(float)
    return both.assign(change=change)[["seed", "deal_id", "change"]]
