"""Paired statistics of two models on the same items: change, items exchanged, what was picked.

Intervals speak of the items: had others of the kind been asked, of these same models. They say
nothing about another training run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt

import numpy as np
import pandas as pd
import scipy  # scipy.stats takes a second to load, and does so where it is used

from healscope import stats
from healscope.config import Statistics
from healscope.outcomes.reading import Benchmark
from healscope.stats import Estimate


@dataclass(frozen=True)
class Pair:
    """One change of every item (I), after minus before, and the instance that each belongs to.

    Items that are simply right or wrong, each an instance of its own, are `plain`: their numbers
    lost and gained say all.
    """

    change_I: np.ndarray
    instances_I: np.ndarray

    @cached_property
    def plain(self) -> bool:
        single = len(np.unique(self.instances_I)) == len(self.instances_I)
        return single and bool(np.isin(self.change_I, (-1.0, 0.0, 1.0)).all())

    def estimate(self, confidence: float) -> Estimate:
        """Return the mean change with its interval.

        Of plain items by Tango's score (Statistics in Medicine 17, 1998), else by redrawing
        instances (`stats.bootstrap`).
        """
        if not self.plain:
            frame = pd.DataFrame(
                {"seed": 0, "instance_id": self.instances_I, "change": self.change_I}
            )
            return stats.bootstrap(frame, "change", Statistics(confidence=confidence))
        n, lost, gained = len(self.change_I), *self._counts
        value = (gained - lost) / n
        low, high = tango(lost, gained, n, confidence)
        return Estimate(value, low, high, {}, instances=n, confidence=confidence)

    @property
    def _counts(self) -> tuple[int, int]:
        return int((self.change_I < 0).sum()), int((self.change_I > 0).sum())

    def p(self) -> float:
        """Return the two-sided p of "nothing changes".

        Of plain items exact (McNemar's test); else Student's t on instances, with as many degrees
        of freedom as there would be of equal size (Kish's effective number) less one, but never
        less than exact signs of those that changed could give.
        """
        if self.plain:
            return stats.mcnemar(pd.Series(self.change_I < 0), pd.Series(self.change_I > 0))
        totals_G = np.bincount(self.instances_I, self.change_I)
        sizes_G = np.bincount(self.instances_I)
        known = sizes_G > 0
        totals_G, sizes_G = totals_G[known], sizes_G[known]
        changed = int((totals_G != 0).sum())
        if not changed or len(totals_G) < 2:
            return 1.0
        residual_G = totals_G - self.change_I.mean() * sizes_G
        groups = max(float(sizes_G.sum() ** 2 / np.square(sizes_G).sum()), 2.0)
        error = sqrt(groups / (groups - 1) * np.square(residual_G).sum())
        t = abs(totals_G.sum()) / error if error else inf
        student = 2 * float(scipy.stats.t.sf(t, groups - 1))
        return float(min(1.0, max(student, 2.0 ** (1 - changed))))


def pair(b: Benchmark, before: str, after: str) -> Pair:
    return Pair(b.correct[after] - b.correct[before], b.instances_I)


def tango(lost: int, gained: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of the change of a share, (gained - lost) / n, paired (Tango 1998).

    It holds all changes that the score test does not reject; at 0 that test is McNemar's. It keeps
    its level with few items and where nothing was lost or gained, and never has width zero.
    """
    z = float(scipy.stats.norm.ppf((1 + confidence) / 2))
    value = (gained - lost) / n
    low = _crossing(lambda d: _score(lost, gained, n, d) - z, -1.0, value)
    high = _crossing(lambda d: _score(lost, gained, n, d) + z, value, 1.0)
    return low, high


def _score(lost: int, gained: int, n: int, change: float) -> float:
    """Return Tango's statistic of a change; it falls as the change rises."""
    b = (2 * n - gained + lost) * change - lost - gained
    c = -lost * change * (1 - change)
    share = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)  # lost, at most likely under `change`
    variance = n * (2 * share + change * (1 - change))
    away = gained - lost - n * change
    if variance <= 1e-12:
        return 0.0 if abs(away) < 1e-9 else away * inf
    return away / sqrt(variance)


def _crossing(f, low: float, high: float) -> float:
    """Return where a falling function passes 0, by bisection; an end if it does not."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return (low + high) / 2


def over_all(parts: Sequence[Estimate]) -> Estimate:
    """Return the mean of the changes of several benchmarks, each of which weighs alike.

    Their intervals are combined by squaring and adding the distances from value to limit (MOVER:
    Zou and Donner, Statistics in Medicine 27, 2008), as independent benchmarks allow.
    """
    n = len(parts)
    value = sum(e.value for e in parts) / n
    below, above = (
        sqrt(sum(distance**2 for distance in distances)) / n
        for distances in ([e.value - e.low for e in parts], [e.high - e.value for e in parts])
    )
    return Estimate(
        value, value - below, value + above, {},
        instances=sum(e.instances for e in parts), confidence=parts[0].confidence,
    )  # fmt: skip


@dataclass(frozen=True)
class Picked:
    """The best of several models, and on each half of the items that which the other half picks."""

    best: str
    by_half: tuple[str, str]

    def correct(self, b: Benchmark) -> np.ndarray:
        """Return right answers (I) where each half is answered by what the other picked."""
        first, second = (b.correct[name] for name in self.by_half)
        return np.where(b.halves_I == 0, first, second)


def pick(benchmarks: Sequence[Benchmark], candidates: list[str]) -> Picked:
    """Pick the candidate with the best mean accuracy, over benchmarks that weigh alike.

    What is picked for being best looks better than it is on the items that picked it. So each half
    is reported at what is best on the other (`stats.picked_elsewhere`).
    """

    def accuracy(name: str, halves: Sequence[int]) -> float:
        parts = [b.correct[name][np.isin(b.halves_I, halves)] for b in benchmarks]
        return float(np.mean([part.mean() for part in parts if len(part)]))

    half = {"a": [0], "b": [1]}
    best = max(candidates, key=lambda name: accuracy(name, [0, 1]))
    chosen = stats.picked_elsewhere(lambda name, _, h: accuracy(name, half[h]), candidates, [0])[0]
    return Picked(best, (chosen["a"], chosen["b"]))


def more_items(e: Estimate, size: float) -> int | None:
    """Return how many items more, like those at hand, would show a change of `size` as often as
    `stats.POWER` says; 0 if these do, None of size 0, which no number shows."""
    if not size:
        return None
    return max(0, int(np.ceil(e.instances * ((e.detectable / size) ** 2 - 1))))
