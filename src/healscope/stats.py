"""Intervals, paired changes and their limits, on a fixed list of problems and a few seeds.

Accuracies here have two sources of chance: which deals were asked (card orders of one deal are not
independent, so deals are the units) and which seed trained the model (all seeds answer the same
deals). The interval of `bootstrap` counts both; `tests/unit/test_coverage.py` shows by simulation
how often it holds the truth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations as permutations_of

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from healscope.config import Statistics

UNIT = ["seed", "problem_id", "draw", "sample"]
"""What tells one answer of a checkpoint from another."""

CARRIED = ["deal_id", "half", "retried"]
"""Columns of a problem that a paired change keeps."""

POWER = 0.8
"""Chance of detecting an effect as large as `Estimate.detectable`."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval, the value in each seed, and the numbers behind them.

    `limits` are the intervals of single seeds, over deals alone. `between_seeds` is the standard
    deviation of true values between seeds, beyond what the deals explain; None with a single seed,
    whose interval speaks of that seed alone.
    """

    value: float
    low: float
    high: float
    by_seed: dict[str, float]
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    deals: int = 0
    between_seeds: float | None = None
    confidence: float = 0.95

    @property
    def detectable(self) -> float:
        """The smallest effect that an interval of this width would have shown with POWER."""
        z = scipy_stats.norm.ppf([(1 + self.confidence) / 2, POWER])
        return float((self.high - self.low) / 2 * z.sum() / z[0])


def bootstrap(
    frame: pd.DataFrame,
    column: str,
    settings: Statistics,
    weight: str | None = None,
    minus: str | None = None,
) -> Estimate:
    """Mean of `column` over seeds, each seed the mean over its rows, with a hierarchical interval.

    `frame` needs columns seed, deal_id and `column` (a share, or a paired difference). Rows weigh
    alike, or as column `weight` says; with `minus`, the mean under those other weights is taken
    away, on the same redrawn deals. Deals are redrawn whole and alike in all seeds. Redrawing two
    or three seeds would know too little of how seeds differ (it never leaves their range), so the
    seed level is parametric: the variance between seeds that deals do not explain (two-way random
    effects), drawn from what so few seeds can tell of it (fiducial distribution), with
    `settings.seed_sd`, in standard deviations of `column`, as the guess of one seed more: what
    hardly ever changes cannot differ much between seeds.
    """
    if frame.empty:  # nothing reached this step: say so instead of failing
        nothing = float("nan")
        return Estimate(nothing, nothing, nothing, {}, confidence=settings.confidence)
    weights = [frame[w].astype(float) if w else 1.0 for w in (weight, *([minus] if minus else []))]
    parts = [_layout(frame, column, w) for w in weights]
    seeds, deals = parts[0].totals_SD.shape
    drawn_RD = _redrawn(deals, settings.resamples, settings.seed)
    signs = (1, -1)[: len(parts)]
    means_S = sum(sign * p.means_S for sign, p in zip(signs, parts, strict=True))
    means_RS = sum(sign * p.redrawn(drawn_RD) for sign, p in zip(signs, parts, strict=True))
    residual_SD = sum(sign * p.residual_SD for sign, p in zip(signs, parts, strict=True))
    resampled_R = means_RS.mean(1)
    between = None
    if seeds > 1:
        # the seeds' true variance is what they vary by less the deals' part; of the former a few
        # seeds say as little as chi-squared does (fiducial draws; without noise, Student's t)
        spread, noise = means_S.var(ddof=1), _deal_noise(residual_SD)
        between = float(np.sqrt(max(spread - noise, 0.0)))
        known = seeds - 1
        if settings.seed_sd is not None:
            guess = settings.seed_sd**2 * _variance(frame[column].astype(float), sum(weights))
            spread = (known * spread + guess + noise) / (known + 1)
            known += 1
        rng = np.random.default_rng([settings.seed, 1])
        told_R = rng.chisquare(known, settings.resamples) / known
        true_R = np.maximum(spread / told_R - noise, 0.0)
        resampled_R += np.sqrt(true_R / seeds) * rng.standard_normal(settings.resamples)
    tail = (1 - settings.confidence) / 2
    asked = int(sum(p.counts_SD.sum(0) for p in parts).astype(bool).sum())
    bounds = (-1.0, 1.0) if minus or column == "change" else (0.0, 1.0)

    def interval(draws: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Never narrower than what as many deals without a single exception allow (Clopper and
        Pearson 1934): resamples of what never varies would show no width at all."""
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        reach = 1 - tail ** (1 / max(asked, 1))
        return np.clip([np.minimum(low, value - reach), np.maximum(high, value + reach)], *bounds)

    low, high = interval(resampled_R, means_S.mean())
    limits_2S = interval(means_RS, means_S)
    names = [str(seed) for seed in parts[0].seeds]
    return Estimate(
        value=float(means_S.mean()),
        low=float(low),
        high=float(high),
        by_seed=dict(zip(names, map(float, means_S), strict=True)),
        limits=dict(zip(names, map(tuple, limits_2S.T.tolist()), strict=True)),
        deals=asked,
        between_seeds=between,
        confidence=settings.confidence,
    )


@dataclass(frozen=True)
class _Layout:
    """Weighted sums and weights of seeds (S) by deals (D)."""

    seeds: list
    totals_SD: np.ndarray
    counts_SD: np.ndarray

    @property
    def means_S(self) -> np.ndarray:  # noqa: N802
        with np.errstate(invalid="ignore"):  # a seed without rows has no mean
            return self.totals_SD.sum(1) / self.counts_SD.sum(1)

    @property
    def residual_SD(self) -> np.ndarray:  # noqa: N802
        """What each deal adds to its seed's mean (linearised: deals may differ in size)."""
        size_S1 = self.counts_SD.mean(1, keepdims=True)
        return (self.totals_SD - self.means_S[:, None] * self.counts_SD) / size_S1

    def redrawn(self, drawn_RD: np.ndarray) -> np.ndarray:
        counts_RS = drawn_RD @ self.counts_SD.T
        totals_RS = drawn_RD @ self.totals_SD.T
        # A redraw can miss all deals that carry weight: it says nothing, and least of all 0.
        known_RS = np.tile(self.means_S, (len(drawn_RD), 1))
        return np.divide(totals_RS, counts_RS, out=known_RS, where=counts_RS > 0)


def _layout(frame: pd.DataFrame, column: str, weight: pd.Series | float) -> _Layout:
    weighed = pd.DataFrame(
        {
            "seed": frame["seed"],
            "deal_id": frame["deal_id"],
            "total": frame[column].astype(float) * weight,
            "count": weight,
        }
    )
    groups = weighed.groupby(["seed", "deal_id"])[["total", "count"]].sum()
    tables = [groups[name].unstack("deal_id", fill_value=0.0) for name in ("total", "count")]
    return _Layout(list(tables[0].index), *(t.to_numpy(float) for t in tables))


@lru_cache(maxsize=32)
def _redrawn(deals: int, resamples: int, seed: int) -> np.ndarray:
    """How often each deal is drawn in each resample (R, D)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(deals, np.full(deals, 1 / deals), resamples).astype(float)


def _variance(values: pd.Series, weights: pd.Series | float) -> float:
    """Variance of single answers; those without weight are not asked about."""
    weights = weights * pd.Series(1.0, values.index)
    with np.errstate(invalid="ignore"):  # without weight, nothing varies and nothing is known
        mean = (weights * values).sum() / weights.sum()
        return float((weights * (values - mean) ** 2).sum() / weights.sum())


def _deal_noise(residual_SD: np.ndarray) -> float:
    """Variance of a seed's mean that comes from its own luck with the deals.

    Two-way layout of seeds and deals, method of moments: what is left when the effects of deals
    that all seeds share are taken out.
    """
    seeds, deals = residual_SD.shape
    interaction_SD = residual_SD - residual_SD.mean(0)
    return float(np.square(interaction_SD).sum() / ((seeds - 1) * max(deals - 1, 1)) / deals)


def paired(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Change of `correct` for each problem answered in both; columns UNIT, CARRIED and change."""
    both = before[[*UNIT, *CARRIED, "correct"]].merge(
        after[[*UNIT, "correct"]], on=UNIT, suffixes=("_before", "_after"), validate="one_to_one"
    )
    change = both["correct_after"].astype(float) - both["correct_before"].astype(float)
    return both.assign(change=change)[[*UNIT, *CARRIED, "change"]]


def rank_correlation(
    frame: pd.DataFrame, x: str, y: str, within: str, unit: str, permutations: int = 10_000
) -> tuple[float, float]:
    """Spearman's rho of columns `x` and `y` within the groups `within`, and its p.

    Ranks are taken inside each group, so that what groups differ by does not count. The p is
    two-sided, of permutations that exchange the values of `unit` in all groups alike: what happens
    at one start is much the same in all seeds, and seeds would else count as starts. All orders are
    tried where there are at most `permutations`, else that many. Rows with a missing value do not
    count; NaN, NaN where nothing varies.
    """
    known = frame.dropna(subset=[x, y])
    tables = []
    for column in (x, y):
        ranks = known.groupby(within)[column].rank()
        centred = ranks - ranks.groupby(known[within]).transform("mean")
        table = known.assign(rank=centred).pivot(index=within, columns=unit, values="rank")
        tables.append(table.fillna(0.0).to_numpy(float))
    x_GU, y_GU = tables
    scale = np.sqrt((x_GU**2).sum() * (y_GU**2).sum())
    if not scale:
        return float("nan"), float("nan")
    orders_PU = _orders(x_GU.shape[1], permutations)
    rho_P = (x_GU[:, None] * y_GU[:, orders_PU]).sum((0, 2)) / scale
    rho = float((x_GU * y_GU).sum() / scale)
    return rho, float((np.abs(rho_P) >= abs(rho) - 1e-9).mean())


def _orders(n: int, most: int) -> np.ndarray:
    """All orders of n things (P, n) where they are at most `most`; else the first and random ones.

    With the order at hand among them, a p is never 0.
    """
    if math.factorial(n) <= most:
        return np.array(list(permutations_of(range(n))))
    rng = np.random.default_rng(0)
    return np.stack([np.arange(n), *(rng.permutation(n) for _ in range(most - 1))])


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson interval of a share of independent problems (Wilson 1927)."""
    interval = scipy_stats.binomtest(int(correct), int(n)).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


def mcnemar(before: pd.Series, after: pd.Series) -> float:
    """Exact p of McNemar's test: do as many problems turn right as turn wrong? (binomial)

    `before` and `after` are boolean and aligned, one entry for each independent problem.
    """
    better, worse = int((after & ~before).sum()), int((before & ~after).sum())
    return float(scipy_stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def from_other_half(score: Callable[[str, str], float], candidates: list[str]) -> dict[str, str]:
    """half -> the best candidate by `score(candidate, other half)`, the first of equals.

    What is picked for being best looks better on the problems that picked it (winner's curse). So
    rows of half "a" are reported at the candidate that half "b" picks, and the other way round.
    """
    other = {"a": "b", "b": "a"}
    return {half: max(candidates, key=lambda c: score(c, other[half])) for half in other}
