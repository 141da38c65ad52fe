"""Rules that turn an estimate into a verdict; nothing else writes one."""

from collections.abc import Callable

from healscope.stats import Estimate

MARGIN = 0.05
"""Changes of accuracy smaller than this count as no change."""

HELD, HERE, FAILED, OPEN = "held", "held in these seeds", "did not hold", "undecided"
"""HELD and FAILED speak of what other seeds would show; HERE only of the models that were trained:
each seed shows it by itself, but they are too few, or too unlike, to speak for others."""

VERDICTS = (HELD, HERE, FAILED, OPEN)


def positive(e: Estimate) -> str:
    """Verdict on 'it rises': the interval lies above 0 and every seed agrees in sign."""
    if _speaks_for_others(e) and e.low > 0 and all(v > 0 for v in e.by_seed.values()):
        return HELD
    if e.high < 0 or _each(e, lambda _, high: high < 0):
        return FAILED
    return HERE if _each(e, lambda low, _: low > 0) else OPEN


def _speaks_for_others(e: Estimate) -> bool:
    """One seed alone says nothing of how others would turn out."""
    return len(e.by_seed) > 1


def _each(e: Estimate, holds: Callable[[float, float], bool]) -> bool:
    """Whether the interval of every single seed has a property."""
    return bool(e.limits) and all(holds(*limits) for limits in e.limits.values())


def negative(e: Estimate) -> str:
    """Verdict on 'it falls'."""
    values = {seed: -value for seed, value in e.by_seed.items()}
    limits = {seed: (-high, -low) for seed, (low, high) in e.limits.items()}
    return positive(Estimate(-e.value, -e.high, -e.low, values, limits))


def negligible(e: Estimate) -> str:
    """Verdict on 'it does not change': the whole interval lies within MARGIN of 0."""
    if _speaks_for_others(e) and e.low > -MARGIN and e.high < MARGIN:
        return HELD
    if e.low > MARGIN or e.high < -MARGIN:
        return FAILED
    return HERE if _each(e, lambda low, high: low > -MARGIN and high < MARGIN) else OPEN


def moves(e: Estimate) -> str:
    """Verdict on 'it changes', in whichever direction."""
    either = positive(e), negative(e)
    for verdict in (HELD, HERE):
        if verdict in either:
            return verdict
    return FAILED if negligible(e) in (HELD, HERE) else OPEN


def signed(e: Estimate) -> str:
    """An estimate of a change, in points."""
    return f"{100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
