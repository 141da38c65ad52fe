"""Statistics on a fixed list of problems and a few seeds: intervals, paired changes and detectable
effects.

Accuracies here have two sources of chance: which instances were asked (problems of one instance are
not independent, so instances are the units) and which seed trained the model (all seeds answer the
same instances). The interval of `bootstrap` counts both; `benchmarks/coverage.py` measures how
often it holds the truth.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import permutations as permutations_of
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healscope.config import Statistics
from healscope.schema import IN_SHARES

UNIT = ["seed", "problem_id", "draw", "sample"]
"""What tells one answer of a checkpoint from another."""

CARRIED = ["instance_id", "half", "retried"]
"""Columns of a problem that a paired change keeps."""

POWER = 0.8
"""Chance of detecting an effect as large as `Estimate.detectable`."""

OUTLYING = 3.5
"""Standard deviations from the others beyond which a seed is named as an outlier."""


TAIL = 10
"""Draws beyond a limit that are enough to count them."""


@dataclass(frozen=True)
class Sources:
    """Where the chance in a mean over seeds comes from, as standard deviations.

    The mean of S seeds on I instances has variance `seeds`²/S + `instances`²/I + `both`²/(S·I).

    Attributes:
        seeds: of true values between seeds.
        instances: of what instances are like in all seeds alike, sampling of their sizes included.
        both: of what an instance is like in one seed.
        answers: of single answers, in which the guess `statistics.seed_sd` is given.
    """

    seeds: float
    instances: float
    both: float
    answers: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval, the value in each seed, and the numbers behind them.

    `limits` are the intervals of single seeds, over instances alone. `outliers` names seeds that
    are unlike the others (see `_outliers`). `draws` are the resampled means that the interval is
    made of. `sources` tell seeds and instances apart; None with a single instance, or with a single
    seed, whose interval speaks of that seed alone. `missing` names seeds without a value, as a run
    that failed has no answers.
    """

    value: float
    low: float
    high: float
    by_seed: dict[str, float]
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    instances: int = 0
    confidence: float = 0.95
    outliers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    draws: np.ndarray | None = field(default=None, repr=False, compare=False)
    unit: str = IN_SHARES
    sources: Sources | None = None

    def among(self, seeds: Iterable) -> "Estimate":
        """Return the estimate of a study of these seeds: those without a value are `missing`."""
        lacking = {str(seed) for seed in seeds} - set(self.by_seed)
        return replace(self, missing=tuple(sorted(lacking, key=lambda s: (len(s), s))))

    def p_above(self, limit: float) -> float:
        """One-sided p of "the mean is at most `limit`": small where the mean lies above it.

        The interval at confidence 1 - 2p begins at `limit`. NaN where there are no draws.
        """
        if self.draws is None or math.isnan(self.value):
            return float("nan")
        return max(_tail(-self.draws, -limit), self._chance_of_no_exception(self.value - limit))

    def p_below(self, limit: float) -> float:
        """One-sided p of "the mean is at least `limit`"."""
        if self.draws is None or math.isnan(self.value):
            return float("nan")
        return max(_tail(self.draws, limit), self._chance_of_no_exception(limit - self.value))

    def _chance_of_no_exception(self, distance: float) -> float:
        """Chance that exceptions which are `distance` of all problems show in no instance; 0 of
        what is no share of problems."""
        if self.unit != IN_SHARES:
            return 0.0
        return (1 - min(max(distance, 0.0), 1.0)) ** max(self.instances, 1)

    @property
    def detectable(self) -> float:
        """The smallest effect that an interval of this width would have shown with POWER."""
        z = scipy.stats.norm.ppf([(1 + self.confidence) / 2, POWER])
        return float((self.high - self.low) / 2 * z.sum() / z[0])


def _tail(draws: np.ndarray, limit: float) -> float:
    """Return the chance of a draw at `limit` or above.

    Where fewer than TAIL draws get there, from a generalised Pareto distribution of the largest,
    with a tail no shorter than an exponential one (Knijnenburg et al. 2009), as a p could else not
    be below one over the number of draws. A twentieth of that is the least that a fit may say.
    """
    beyond = int(np.sum(draws >= limit))
    share = (1 + beyond) / (1 + len(draws))
    if beyond >= TAIL or len(draws) < 100 * TAIL:
        return float(share)
    largest = np.sort(draws)[-len(draws) // 20 :]
    above = largest - largest[0]
    if not above.any():
        return float(share)
    shape, _, scale = scipy.stats.genpareto.fit(above, floc=0)
    if shape < 0:
        shape, scale = 0.0, above.mean()
    found = len(above) / len(draws) * scipy.stats.genpareto.sf(limit - largest[0], shape, 0, scale)
    return float(min(max(found, share / 20), share))


def bootstrap(
    frame: pd.DataFrame,
    column: str,
    settings: Statistics,
    weight: str | None = None,
    minus: str | None = None,
    unit: str = IN_SHARES,
) -> Estimate:
    """Return mean of `column` over seeds, each seed the mean over its rows, with a hierarchical
    interval.

    `frame` needs columns seed, instance_id and `column` (a share, or a paired difference; or of
    another `unit`, which has no bounds, and of which no interval is kept wide for problems that
    might be exceptions). Rows
    (problems) weigh alike, or as column `weight` says; with `minus`, the mean under those other
    weights is taken away, on the same redrawn instances. Instances are redrawn whole and alike in
    all seeds, without strata. Redrawing two or three seeds would know too little of how seeds
    differ (it never leaves their range), so the seed level is parametric: the variance between
    seeds that instances do not explain (two-way random effects), drawn from what so few seeds can
    tell of it (fiducial distribution), with `settings.seed_sd`, in standard deviations of `column`,
    as the guess of one seed more: what hardly ever changes cannot differ much between seeds.
    """
    if frame.empty:  # nothing reached this step: report that instead of failing
        nothing = float("nan")
        return Estimate(nothing, nothing, nothing, {}, confidence=settings.confidence, unit=unit)
    weights = [frame[w].astype(float) if w else 1.0 for w in (weight, *([minus] if minus else []))]
    bounds = (-1.0, 1.0) if minus or column == "change" else (0.0, 1.0)
    variance = _variance(frame[column].astype(float), sum(weights))
    if unit != IN_SHARES:
        bounds = -math.inf, math.inf
    parts = [_layout(frame, column, w) for w in weights]
    return replace(estimate(parts, variance, bounds, settings), unit=unit)


def estimate(
    parts: list["Layout"], variance: float, bounds: tuple[float, float], settings: Statistics
) -> Estimate:
    """Return the interval of `bootstrap`, from sums over instances.

    `parts` has one layout, or two of which the second is taken away; `variance` is that of single
    answers, the unit of `settings.seed_sd`; `bounds` are the least and the most that the mean of a
    seed can be, infinite of what is no share.
    """
    seeds, instances = parts[0].totals_SI.shape
    drawn_RI = _redrawn(instances, settings.resamples, settings.seed)
    signs = (1, -1)[: len(parts)]
    means_S = sum(sign * p.means_S for sign, p in zip(signs, parts, strict=True))
    means_RS = sum(sign * p.redrawn(drawn_RI) for sign, p in zip(signs, parts, strict=True))
    residual_SI = sum(sign * p.residual_SI for sign, p in zip(signs, parts, strict=True))
    tail = (1 - settings.confidence) / 2
    counts_SI = sum(p.counts_SI for p in parts)
    resampled_R = means_S.mean() + (means_RS - means_S).mean(1) * _few(counts_SI.sum(0), tail)
    between, outliers = None, []
    if seeds > 1:
        # the seeds' true variance is what they vary by less the instances' part; of the former a
        # few seeds say as little as chi-squared does (fiducial draws; without noise, Student's t)
        spread, noise = means_S.var(ddof=1), _instance_noise(residual_SI)
        between = float(np.sqrt(max(spread - noise, 0.0)))
        guess = (settings.seed_sd or 0.0) ** 2 * variance
        outliers = _outliers(means_S, guess + noise)
        known = seeds - 1
        if settings.seed_sd is not None:
            spread = (known * spread + guess + noise) / (known + 1)
            known += 1
        rng = np.random.default_rng([settings.seed, 1])
        told_R = rng.chisquare(known, settings.resamples) / known
        true_R = np.maximum(spread / told_R - noise, 0.0)
        resampled_R += np.sqrt(true_R / seeds) * rng.standard_normal(settings.resamples)
    asked = int(counts_SI.sum(0).astype(bool).sum())

    def interval(draws: np.ndarray, value: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Never narrower than what as many instances without a single exception allow (Clopper and
        Pearson 1934): resamples of what never varies would show no width at all."""
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        reach = 1 - tail ** (1 / np.maximum(asked, 1)) if math.isfinite(bounds[1]) else 0.0
        return np.clip([np.minimum(low, value - reach), np.maximum(high, value + reach)], *bounds)

    low, high = interval(resampled_R, means_S.mean(), asked)
    few_S = np.array([_few(counts_I, tail) for counts_I in counts_SI])
    asked_S = counts_SI.astype(bool).sum(1)
    limits_2S = interval(means_S + (means_RS - means_S) * few_S, means_S, asked_S)
    names = [str(seed) for seed in parts[0].seeds]
    return Estimate(
        value=float(means_S.mean()),
        low=float(low),
        high=float(high),
        by_seed=dict(zip(names, map(float, means_S), strict=True)),
        limits=dict(zip(names, map(tuple, limits_2S.T.tolist()), strict=True)),
        instances=asked,
        confidence=settings.confidence,
        outliers=tuple(names[i] for i in outliers),
        draws=resampled_R,
        sources=_sources(residual_SI, between, variance) if between is not None else None,
    )


def _sources(residual_SI: np.ndarray, between: float, variance: float) -> Sources | None:
    """Return the variances of a two-way layout by the method of moments, none below 0."""
    seeds, instances = residual_SI.shape
    if instances < 2:
        return None
    both = _instance_noise(residual_SI) * instances
    shared = residual_SI.mean(0).var(ddof=1) - both / seeds
    return Sources(between, *np.sqrt(np.maximum([shared, both, variance], 0.0)).tolist())


def _few(counts_I: np.ndarray, tail: float) -> float:
    """Return how much wider than redraws of so many instances the interval has to be.

    Redraws know the variance no better than the data do: Student's t instead of the normal
    quantile, with as many degrees of freedom as there would be instances of equal size (Kish's
    effective number), less one; and n / (n - 1) for the variance of a redraw.
    """
    if not counts_I.any():
        return 1.0
    effective = max(float(counts_I.sum() ** 2 / np.square(counts_I).sum()), 2.0)
    quantiles = scipy.stats.t.ppf(tail, effective - 1) / scipy.stats.norm.ppf(tail)
    return float(quantiles * np.sqrt(effective / (effective - 1)))


def _outliers(means_S: np.ndarray, least: float) -> list[int]:
    """Return the indices of seeds that are unlike all the others.

    A seed is, where it lies more than OUTLYING standard deviations from the median of the others:
    theirs, or what `least` (a variance) is expected of seeds. Two seeds cannot say which is odd.
    """
    found = []
    for i in range(len(means_S) if len(means_S) > 2 else 0):
        others = np.delete(means_S, i)
        scale = np.sqrt(max(others.var(ddof=1), least))
        if abs(means_S[i] - np.median(others)) > OUTLYING * scale:
            found.append(i)
    return found


@dataclass(frozen=True)
class Layout:
    """Weighted sums and weights of seeds (S) by instances (I)."""

    seeds: list
    totals_SI: np.ndarray
    counts_SI: np.ndarray

    @property
    def means_S(self) -> np.ndarray:  # noqa: N802
        with np.errstate(invalid="ignore"):  # a seed without rows has no mean
            return self.totals_SI.sum(1) / self.counts_SI.sum(1)

    @property
    def residual_SI(self) -> np.ndarray:  # noqa: N802
        """What each instance adds to its seed's mean (linearised: instances may differ in size)."""
        size_S1 = self.counts_SI.mean(1, keepdims=True)
        return (self.totals_SI - self.means_S[:, None] * self.counts_SI) / size_S1

    def redrawn(self, drawn_RI: np.ndarray) -> np.ndarray:
        counts_RS = drawn_RI @ self.counts_SI.T
        totals_RS = drawn_RI @ self.totals_SI.T
        # A redraw can miss all instances that carry weight: it says nothing, and least of all 0.
        known_RS = np.tile(self.means_S, (len(drawn_RI), 1))
        return np.divide(totals_RS, counts_RS, out=known_RS, where=counts_RS > 0)


def _layout(frame: pd.DataFrame, column: str, weight: pd.Series | float) -> Layout:
    weighed = pd.DataFrame(
        {
            "seed": frame["seed"],
            "instance_id": frame["instance_id"],
            "total": frame[column].astype(float) * weight,
            "count": weight,
        }
    )
    groups = weighed.groupby(["seed", "instance_id"])[["total", "count"]].sum()
    tables = [groups[name].unstack("instance_id", fill_value=0.0) for name in ("total", "count")]
    return Layout(list(tables[0].index), *(t.to_numpy(float) for t in tables))


@lru_cache(maxsize=32)
def _redrawn(instances: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each instance is drawn in each resample (R, I)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(instances, np.full(instances, 1 / instances), resamples).astype(float)


def _variance(values: pd.Series, weights: pd.Series | float) -> float:
    """Variance of single answers; those without weight are not asked about."""
    weights = weights * pd.Series(1.0, values.index)
    with np.errstate(invalid="ignore"):  # without weight, nothing varies and nothing is known
        mean = (weights * values).sum() / weights.sum()
        return float((weights * (values - mean) ** 2).sum() / weights.sum())


def _instance_noise(residual_SI: np.ndarray) -> float:
    """Variance of a seed's mean that comes from its own luck with the instances.

    Two-way layout of seeds and instances, method of moments: what is left when the effects of
    instances that all seeds share are taken out.
    """
    seeds, instances = residual_SI.shape
    interaction_SI = residual_SI - residual_SI.mean(0)
    return float(
        np.square(interaction_SI).sum() / ((seeds - 1) * max(instances - 1, 1)) / instances
    )


def paired(
    before: pd.DataFrame, after: pd.DataFrame, column: str = "correct", carried: tuple = ()
) -> pd.DataFrame:
    """Return change of `column` for each problem answered in both; columns UNIT, CARRIED, those
    `carried` besides, and change."""
    kept = [*UNIT, *CARRIED, *carried]
    both = before[[*kept, column]].merge(
        after[[*UNIT, column]], on=UNIT, suffixes=("_before", "_after"), validate="one_to_one"
    )
    change = both[f"{column}_after"].astype(float) - both[f"{column}_before"].astype(float)
    return both.assign(change=change)[[*kept, "change"]]


def change(
    before: pd.DataFrame,
    after: pd.DataFrame,
    settings: Statistics,
    column: str = "correct",
    seeds: Iterable[int] = (),
) -> Estimate:
    """Return the mean change of `column`, paired by problem.

    Seeds that have answers on one side only, and those of `seeds` that have none on either, are
    `missing`: as runs fail for what they do, those that are left do not speak for them.
    """
    e = bootstrap(paired(before, after, column), "change", settings)
    return e.among((*before["seed"].unique(), *after["seed"].unique(), *seeds))


def rank_correlation(
    frame: pd.DataFrame, x: str, y: str, within: str, unit: str, permutations: int = 10_000
) -> tuple[float, float]:
    """Spearman's rho of columns `x` and `y` within the groups `within`, and its p.

    Ranks are taken inside each group, so that what groups differ by does not count. The p is
    two-sided, of permutations that exchange the values of `unit` in all groups alike: what happens
    at one start is much the same in all seeds, and seeds would else count as starts. All orders are
    tried where there are at most `permutations`, else that many. Only units of which all groups
    have both values count; NaN, NaN where nothing varies.
    """
    known = frame.dropna(subset=[x, y])
    groups = known.groupby(unit)[within].transform("nunique")
    known = known[groups == known[within].nunique()]
    tables = []
    for column in (x, y):
        ranks = known.groupby(within)[column].rank()
        centred = ranks - ranks.groupby(known[within]).transform("mean")
        table = known.assign(rank=centred).pivot(index=within, columns=unit, values="rank")
        tables.append(table.to_numpy(float))
    x_GU, y_GU = tables
    scale = np.sqrt((x_GU**2).sum() * (y_GU**2).sum())
    if not scale:
        return float("nan"), float("nan")
    orders_PU = _orders(x_GU.shape[1], permutations)
    rho_P = (x_GU[:, None] * y_GU[:, orders_PU]).sum((0, 2)) / scale
    rho = float((x_GU * y_GU).sum() / scale)
    return rho, float((np.abs(rho_P) >= abs(rho) - 1e-9).mean())


def _orders(n: int, most: int) -> np.ndarray:
    """Return all orders of n things (P, n) where they are at most `most`; else the first and random
    ones.

    With the order at hand among them, a p is never 0.
    """
    if math.factorial(n) <= most:
        return np.array(list(permutations_of(range(n))))
    rng = np.random.default_rng(0)
    return np.stack([np.arange(n), *(rng.permutation(n) for _ in range(most - 1))])


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson interval of a share of independent problems (Wilson 1927)."""
    interval = scipy.stats.binomtest(int(correct), int(n)).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


def mcnemar(before: pd.Series, after: pd.Series) -> float:
    """Exact p of McNemar's test: do as many problems turn right as turn wrong? (binomial)

    `before` and `after` are boolean and aligned, one entry for each independent problem.
    """
    better, worse = int((after & ~before).sum()), int((before & ~after).sum())
    return float(scipy.stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


Choice = dict[int, dict[str, str]]
"""seed -> half of the instances -> what is chosen for it."""


def exchanged(before_I: np.ndarray, after_I: np.ndarray) -> dict[str, float]:
    """Return how much was lost and gained, in items, and how much chance alone would exchange.

    By chance is expected of two sets of answers that are as often right and have nothing else in
    common: of n items with accuracies a and b, n·a·(1-b) are lost and n·(1-a)·b gained. Of repeated
    samples, what is lost of an item is by how much the share of right ones falls.
    """
    change = after_I - before_I
    was, was_n = np.unique(before_I, return_counts=True)
    now, now_n = np.unique(after_I, return_counts=True)
    apart = now - was[:, None]
    pairs = was_n[:, None] * now_n / len(before_I)
    return {
        "lost": float((before_I - after_I)[change < 0].sum()),  # none is 0, not -0
        "gained": float(change[change > 0].sum()),
        "chance_lost": float((pairs * np.maximum(-apart, 0)).sum()),
        "chance_gained": float((pairs * np.maximum(apart, 0)).sum()),
    }


def picked_elsewhere(
    score: Callable[[str, list[int], str], Any],
    candidates: list[str],
    seeds: Iterable[int],
    has: Callable[[int, str], bool] | None = None,
) -> Choice:
    """Pick the best candidate for each seed and half by what the others show.

    What is picked for being best looks better than it is, on the instances and in the training
    runs that picked it (winner's curse). So rows of one seed and half "a" are reported at the
    candidate that is best on half "b" for all other seeds together, and the other way round. With a
    single seed its own other half picks: luck in training then flatters what was picked.

    `score(candidate, seeds, half)` is the larger the better; of equals the first is picked. NaN,
    of what was not measured, is never picked before a number. `has(seed, candidate)`: whether a
    candidate can be picked for a seed, if not all can.
    """
    other, every = {"a": "b", "b": "a"}, list(seeds)

    def known_score(candidate: str, seeds: list[int], half: str) -> tuple:
        value = score(candidate, seeds, half)
        return value == value, value  # NaN is unlike itself

    def best(seed: int, half: str) -> str:
        known = [s for s in every if s != seed] or [seed]
        offered = (c for c in candidates if has is None or has(seed, c))
        return max(offered, key=lambda c: known_score(c, known, other[half]))

    return {seed: {half: best(seed, half) for half in other} for seed in every}


def of_part(rows: pd.DataFrame, seeds: list[int], half: str) -> pd.DataFrame:
    """Return rows of some seeds on one half of the instances."""
    return rows[rows["seed"].isin(seeds) & (rows["half"] == half)]


def mean_of_seeds(rows: pd.DataFrame, column: str) -> float:
    """Return mean of the seeds' means of a column, as scores for `picked_elsewhere`; -inf of no
    rows."""
    return float(rows.groupby("seed")[column].mean().mean()) if len(rows) else -math.inf


def at_picked(frames: dict[str, pd.DataFrame], picked: Choice) -> pd.DataFrame:
    """Return rows of each seed and half from the frame of what was picked for them."""
    parts = []
    for seed, halves in picked.items():
        for half, name in halves.items():
            parts.append(of_part(frames[name], [seed], half))
    return pd.concat(parts, ignore_index=True)
