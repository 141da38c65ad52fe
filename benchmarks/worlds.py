"""Simulated studies in which the truth is known, for `coverage.py` and tests.

Problems are 403 held-out problems of the card game in 58 instances of 3 to 34 problems: fewer and
more unequal ones than those of the default study. A problem is right where
level + instance + seed + seed-by-instance + order > 0, all
drawn from normal distributions (standard deviations 1 for instances, a half for seed-by-instance, 1
for orders). Then the share of right answers over all seeds and instances follows in closed form.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from healscope import stats
from healscope.config import Statistics
from healscope.stats import Estimate, Layout

SIZES = np.repeat([34, 23, 21, 11, 8, 7, 6, 4, 3], [1, 1, 5, 1, 8, 1, 1, 33, 7])
"""Problems of each instance (I): the held-out ones with a face card, of twelve targets."""
SD_INSTANCE, SD_BOTH, SD_ORDER = 1.0, 0.5, 1.0
WITHIN = float(np.sqrt(SD_INSTANCE**2 + SD_BOTH**2 + SD_ORDER**2))
LEVELS = {"share": (-0.3,), "change": (-0.3, 0.1)}
"""Of one checkpoint, or of the two that are compared: 42% right, and 53% after."""
SEEDS = (2, 3, 5, 10)
SPREADS = (0, 0.034, 0.10, 0.20)
"""By how much seeds truly differ (SD); 3.4 points are about one sampling error of one seed."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def truth(levels: tuple[float, ...], spread: float) -> float:
    """Share right over all seeds and instances; of two levels, the change from the first."""
    shares = norm.cdf(np.array(levels) / np.hypot(WITHIN, spread))
    return float(shares[-1] - (shares[0] if len(shares) > 1 else 0))


def spread_for(levels: tuple[float, ...], wanted: float) -> float:
    """The spread of seeds in the model that makes their true values differ by `wanted` (SD)."""

    def excess(spread: float) -> float:
        shares = [norm.cdf((level + spread * _NODES) / WITHIN) for level in levels]
        return sum(_WEIGHTS @ s**2 - (_WEIGHTS @ s) ** 2 for s in shares) - wanted**2

    return brentq(excess, 0, 10) if wanted else 0.0


@dataclass(frozen=True)
class Answers:
    """Right answers of worlds (N), seeds (S) and checkpoints (C) to instances (I)."""

    right_NSCI: np.ndarray
    sizes_I: np.ndarray

    @property
    def shares_NSCI(self) -> np.ndarray:  # noqa: N802
        return self.right_NSCI / self.sizes_I


def answers(rng, level_NSC: np.ndarray, sizes_I: np.ndarray = SIZES) -> Answers:
    """Answers at these levels (a probit scale); what makes an instance hard is there for all."""
    n, seeds, checkpoints = level_NSC.shape
    instance = rng.normal(0, SD_INSTANCE, (n, 1, 1, len(sizes_I)))
    both = rng.normal(0, SD_BOTH, (n, seeds, checkpoints, len(sizes_I)))
    chance = norm.cdf((level_NSC[..., None] + instance + both) / SD_ORDER)
    return Answers(rng.binomial(sizes_I, chance).astype(float), sizes_I)


@dataclass(frozen=True)
class Worlds:
    """Results of `n` independent studies of one number: a share, or a change."""

    after_NSI: np.ndarray
    """Right answers to each instance; of a change those after it."""
    before_NSI: np.ndarray | None
    sizes_I: np.ndarray
    truth_N: np.ndarray
    own_NS: np.ndarray
    """The truth of each seed that was drawn, over all instances."""

    def estimates(self, settings: Statistics) -> list[Estimate]:
        """What `stats.bootstrap` makes of the rows."""
        found = []
        for i, after_SI in enumerate(self.after_NSI):
            before_SI = None if self.before_NSI is None else self.before_NSI[i]
            found.append(estimate(after_SI, before_SI, self.sizes_I, settings))
        return found

    def frame(self, i: int) -> pd.DataFrame:
        """The rows of one study, as `stats.bootstrap` takes them."""
        rows = []
        for seed, after_I in enumerate(self.after_NSI[i]):
            for instance, (right, size) in enumerate(zip(after_I, self.sizes_I, strict=True)):
                problems = np.arange(size)
                values = (problems < right) * 1.0
                column = "correct"
                if self.before_NSI is not None:  # which of them changed is the same to sums
                    values -= problems < self.before_NSI[i, seed, instance]
                    column = "change"
                rows.append(pd.DataFrame({"seed": seed, "instance_id": instance, column: values}))
        return pd.concat(rows, ignore_index=True)


def estimate(
    after_SI: np.ndarray, before_SI: np.ndarray | None, sizes_I: np.ndarray, settings: Statistics
) -> Estimate:
    """`stats.bootstrap` from right answers by seed and instance."""
    total_SI = after_SI - (0 if before_SI is None else before_SI)
    layout = Layout(
        list(range(len(after_SI))), total_SI, np.tile(sizes_I, (len(after_SI), 1)) * 1.0
    )
    mean = total_SI.sum() / layout.counts_SI.sum()
    if before_SI is None:
        variance, bounds = mean * (1 - mean), (0.0, 1.0)
    else:  # answers before and after are independent within an instance
        one, two = after_SI / sizes_I, before_SI / sizes_I
        square = ((one + two - 2 * one * two) * sizes_I).sum() / layout.counts_SI.sum()
        variance, bounds = square - mean**2, (-1.0, 1.0)
    return stats.estimate([layout], float(variance), bounds, settings)


def draw(
    rng, n: int, seeds: int, levels: tuple[float, ...], spread: float, sizes_I: np.ndarray = SIZES
) -> Worlds:
    """Studies of a share, or of the change between two levels.

    A single seed says nothing of others, so there the truth is that of the seed drawn.
    """
    level_NSC = np.array(levels) + rng.normal(0, spread, (n, seeds, len(levels)))
    right_NSCI = answers(rng, level_NSC, sizes_I).right_NSCI
    own_NSC = norm.cdf(level_NSC / WITHIN)
    change = len(levels) > 1
    own_NS = own_NSC[..., -1] - (own_NSC[..., 0] if change else 0)
    known = own_NS[:, 0] if seeds == 1 else np.full(n, truth(levels, spread))
    before = right_NSCI[:, :, 0] if change else None
    return Worlds(right_NSCI[:, :, -1], before, sizes_I, known, own_NS)


def scenario(rng, n: int, what: str, seeds: int, differ: float) -> Worlds:
    """Worlds whose true values differ between seeds by `differ` (SD)."""
    return draw(rng, n, seeds, LEVELS[what], spread_for(LEVELS[what], differ))


def rise(
    rng, n: int, seeds: int, points: float, differ: float, sizes_I: np.ndarray = SIZES
) -> Worlds:
    """Worlds with a true rise, whose true changes differ between seeds by `differ` (SD)."""
    level = LEVELS["change"][0]
    spread = spread_for((level, level), differ)
    scale = np.hypot(WITHIN, spread)
    after = float(norm.ppf(norm.cdf(level / scale) + points) * scale)
    return draw(rng, n, seeds, (level, after), spread, sizes_I)


def slope(level: float) -> float:
    """Change of accuracy for a change of the level."""
    return float(norm.pdf(level / WITHIN) / WITHIN)


def wandering(
    rng, n: int, seeds: int, candidates: int, tau: float, fall: float = 0.0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Studies of SFT whose checkpoints wander by `tau` (SD, share) around a curve: the first half
    of the candidates at one level, the others at `fall` below it.

    Returns, for each study, right answers (S, I) at the peak and at the last checkpoint, the peak
    picked by `stats.picked_elsewhere`.
    """
    level = LEVELS["change"][0]
    curve_C = np.where(np.arange(candidates) < candidates / 2, 0.0, -fall) / slope(level)
    wander = rng.normal(0, tau / slope(level), (n, seeds, candidates))
    found = answers(rng, level + curve_C + wander)
    return [_at_peak(right_SCI, found.sizes_I) for right_SCI in found.right_NSCI]


def _at_peak(right_SCI: np.ndarray, sizes_I: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seeds, candidates, instances = right_SCI.shape
    half_I = np.arange(instances) % 2
    size = {h: sizes_I[half_I == k].sum() for k, h in enumerate("ab")}
    share = {h: right_SCI[:, :, half_I == k].sum(2) / size[h] for k, h in enumerate("ab")}
    picked = stats.picked_elsewhere(
        lambda c, others, half: share[half][others, c].mean(), range(candidates), range(seeds)
    )
    peak_SI = np.empty((seeds, instances))
    for seed, halves in picked.items():
        for k, half in enumerate("ab"):
            peak_SI[seed, half_I == k] = right_SCI[seed, halves[half], half_I == k]
    return peak_SI, right_SCI[:, -1]


def two_kinds(rng, n: int, seeds: int, differ: float, share: float = 0.25) -> Worlds:
    """Studies whose seeds are of two kinds: a `share` of them collapses, the others gain.

    The change is 0 in the mean over all seeds, and changes differ by `differ` (SD).
    """
    level = LEVELS["change"][0]
    gain = differ * np.sqrt(share / (1 - share))
    fallen = rng.random((n, seeds)) < share
    change_NS = np.where(fallen, -gain * (1 - share) / share, gain)
    before = norm.cdf(level / WITHIN)
    after_NS = norm.ppf(np.clip(before + change_NS, 1e-3, 1 - 1e-3)) * WITHIN
    level_NSC = np.stack([np.full((n, seeds), level), after_NS], 2)
    right = answers(rng, level_NSC).right_NSCI
    mean = share * (norm.cdf(after_NS[fallen][:1] / WITHIN) - before).sum() if fallen.any() else 0
    mean += (1 - share) * gain
    return Worlds(right[:, :, 1], right[:, :, 0], SIZES, np.full(n, mean), change_NS)
