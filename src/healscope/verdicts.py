"""Rules that turn an estimate into a verdict; nothing else writes one."""

from collections.abc import Callable

from healscope.stats import Estimate

MARGIN = 0.05
"""Changes of accuracy smaller than this count as no change."""

HELD, FAILED, OPEN = "held", "did not hold", "undecided"
HERE, NOT_HERE = "held in these seeds", "did not hold in these seeds"
"""HELD and FAILED speak of what other seeds would show; these two only of the models that were
trained: each seed shows it by itself, but they are too few, or too unlike, to speak for others."""

VERDICTS = (HELD, HERE, FAILED, NOT_HERE, OPEN)
YES, NO = (HELD, HERE), (FAILED, NOT_HERE)


def positive(e: Estimate) -> str:
    """Verdict on 'it rises'.

    Held: the interval lies above 0 and every seed agrees in sign. Not: it lies below 0, or so near
    to 0 that nothing changes.
    """
    agree = all(v > 0 for v in e.by_seed.values())
    return _judged(
        e,
        yes=lambda low, _: low > 0 and agree,
        no=lambda low, high: high < 0 or _within_margin(low, high),
    )


def negative(e: Estimate) -> str:
    """Verdict on 'it falls'."""
    values = {seed: -value for seed, value in e.by_seed.items()}
    limits = {seed: (-high, -low) for seed, (low, high) in e.limits.items()}
    return positive(Estimate(-e.value, -e.high, -e.low, values, limits))


def above(e: Estimate) -> str:
    """Verdict on 'it is more than 0', where 0 is a limit to be passed and no absence of change."""
    return _judged(e, yes=lambda low, _: low > 0, no=lambda _, high: high < 0)


def negligible(e: Estimate) -> str:
    """Verdict on 'it does not change': the whole interval lies within MARGIN of 0."""
    return _judged(e, yes=_within_margin, no=lambda low, high: low > MARGIN or high < -MARGIN)


def at_most(e: Estimate) -> str:
    """Verdict on 'it does not rise': by less than MARGIN, if at all."""
    return _judged(e, yes=lambda _, high: high < MARGIN, no=lambda low, _: low > 0)


def moves(e: Estimate) -> str:
    """Verdict on 'it changes', in whichever direction."""
    either = positive(e), negative(e)
    for verdict in YES:
        if verdict in either:
            return verdict
    return {HELD: FAILED, HERE: NOT_HERE}.get(negligible(e), OPEN)


def window(best: Estimate, ends: list[Estimate]) -> str:
    """Verdict on 'inside it rises, at both ends it does not'."""
    inside, outside = positive(best), [at_most(e) for e in ends]
    if inside in YES and all(v in YES for v in outside):
        return HELD if HERE not in (inside, *outside) else HERE
    if at_most(best) in YES:
        return {HELD: FAILED, HERE: NOT_HERE}[at_most(best)]
    for verdict in NO:
        if verdict in outside:
            return verdict
    return OPEN


Limits = Callable[[float, float], bool]


def _judged(e: Estimate, yes: Limits, no: Limits) -> str:
    """By the interval over deals and seeds; else, for these seeds, by those of every single one."""
    for holds, here, there in ((yes, HERE, HELD), (no, NOT_HERE, FAILED)):
        if holds(e.low, e.high):
            # one seed alone says nothing of how others would turn out
            return there if len(e.by_seed) > 1 else here
        if e.limits and all(holds(*limits) for limits in e.limits.values()):
            return here
    return OPEN


def _within_margin(low: float, high: float) -> bool:
    return low > -MARGIN and high < MARGIN


def signed(e: Estimate) -> str:
    """An estimate of a change, in points."""
    return f"{100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
