"""Rules that turn an estimate into a verdict, and families of verdicts into corrected ones.

Nothing else decides. A rule asks whether the whole interval lies where the claim says ("yes") or
where it excludes the claim ("no"); "no" needs evidence of its own, and what shows neither is
undecided. Every verdict carries the p that it rests on, so that many of them can be corrected for
being many.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy  # scipy.stats takes a second to load, and does so where it is used

from healscope.stats import Estimate

MARGIN = 0.02
"""Changes of accuracy smaller than this count as no change, however small the gap: the floor of
`margin`."""

SHARE_OF_GAP = 0.25
"""What is less than this share of the gap to be explained counts as no change."""

SEEDS = 3
"""So many seeds at least have to be trained before a verdict speaks for others: how much seeds
differ would else be guessed more than measured."""

DISSENT = 6
"""One seed in so many may have the other sign where a change is said to hold."""

HELD, FAILED, OPEN = "held", "did not hold", "undecided"
HERE, NOT_HERE = "seen in each of these seeds", "seen in none of these seeds"
"""HELD and FAILED speak of what other seeds would show; these two only of the models that were
trained: each seed shows it by itself, but they are too few, or too unlike, to speak for others."""

VERDICTS = (HELD, HERE, FAILED, NOT_HERE, OPEN)
YES, NO = (HELD, HERE), (FAILED, NOT_HERE)


class Verdict(str):
    """One of VERDICTS, with the evidence that it rests on.

    `p` is two-sided: twice the chance of such an estimate, or a clearer one, where the claim is
    just not so (or, of "did not hold", just so). `weaker` is what is left of the verdict when `p`
    is too large for a family of claims. NaN where an estimate has no draws. `rule` is the key in
    RULES of what was judged, with `margin`; empty where several estimates were judged together.
    """

    p: float
    weaker: str
    rule: str
    margin: float

    def __new__(
        cls,
        word: str,
        p: float = math.nan,
        weaker: str | None = None,
        rule: str = "",
        margin: float = math.nan,
    ):
        made = super().__new__(cls, word)
        made.p = p
        made.weaker = word if weaker is None else weaker
        made.rule, made.margin = rule, margin
        return made

    def only_if(self, there: bool, p: float = math.nan) -> "Verdict":
        """Return the verdict, or "undecided" with this `p` where what it is about is not there."""
        return self if there else Verdict(OPEN, p, None, self.rule, self.margin)


Region = tuple[float, float]
"""Where a change may lie, without the two ends."""


def margin(gap: Estimate | None) -> float:
    """Return the largest change that counts as none: a share of the gap to be explained, or the
    floor."""
    known = gap is not None and not math.isnan(gap.value)
    return max(MARGIN, SHARE_OF_GAP * abs(gap.value)) if known else MARGIN


def positive(e: Estimate, margin: float = MARGIN) -> Verdict:
    """Judge 'it rises'.

    Held: there are SEEDS seeds, their interval lies above 0, and of every DISSENT of them at most
    one falls or is missing. Not: the interval lies below `margin`, and no more are missing.
    """
    return _judged(e, ("rises", margin), yes=[(0, math.inf)], no=[(-math.inf, margin)], sign=1)


def negative(e: Estimate, margin: float = MARGIN) -> Verdict:
    """Judge 'it falls'."""
    return _judged(e, ("falls", margin), yes=[(-math.inf, 0)], no=[(-margin, math.inf)], sign=-1)


def above(e: Estimate, margin: float = 0.0) -> Verdict:
    """Judge 'it is more than `margin`', a limit to be passed and no absence of change."""
    return _judged(e, ("is above", margin), yes=[(margin, math.inf)], no=[(-math.inf, margin)])


def negligible(e: Estimate, margin: float = MARGIN) -> Verdict:
    """Judge 'it does not change': the whole interval lies within `margin` of 0."""
    beyond = [(margin, math.inf), (-math.inf, -margin)]
    return _judged(e, ("does not change", margin), yes=[(-margin, margin)], no=beyond)


def at_most(e: Estimate, margin: float = MARGIN) -> Verdict:
    """Judge 'it does not rise': by less than `margin`, if at all."""
    return _judged(e, ("does not rise", margin), yes=[(-math.inf, margin)], no=[(0, math.inf)])


def moves(e: Estimate, margin: float = MARGIN) -> Verdict:
    """Judge 'it changes', in whichever direction; not, where 'it does not change' holds."""
    either = positive(e, margin), negative(e, margin)
    for word in YES:
        for verdict in either:
            if verdict == word:
                return Verdict(word, verdict.p, verdict.weaker, "changes", margin)
    still = negligible(e, margin)
    word = {HELD: FAILED, HERE: NOT_HERE}.get(still, OPEN)
    weaker = {HERE: NOT_HERE}.get(still.weaker, OPEN)
    inside = [(-margin, margin)]
    against = inside if word in NO else [*inside, (0, math.inf), (-math.inf, 0)]
    return Verdict(word, _p(e, against), weaker, "changes", margin)


RULES = {
    "rises": positive,
    "falls": negative,
    "is above": above,
    "does not change": negligible,
    "does not rise": at_most,
    "changes": moves,
}
"""What a claim about one estimate says -> how it is judged, by the estimate and a margin."""


def window(best: Estimate, ends: list[Estimate], margin: float = MARGIN) -> Verdict:
    """Judge 'inside it rises, at both ends it does not'.

    Held where all three hold; not, where nothing rises inside or an end rises.
    """
    inside, outside = positive(best, margin), [at_most(e, margin) for e in ends]
    together = every(inside, *outside)
    if together in YES:
        return together
    still = at_most(best, margin)
    if still in YES:
        return Verdict({HELD: FAILED, HERE: NOT_HERE}[still], still.p, _denied(still.weaker))
    for word in NO:
        against = [v for v in outside if v == word]
        if against:  # either end could have been the one
            least = min(against, key=lambda v: v.p)
            return Verdict(word, min(1.0, len(ends) * least.p), least.weaker)
    return Verdict(OPEN, float(np.max([inside.p, *(v.p for v in outside)])))  # NaN: unmeasured


def every(*verdicts: Verdict) -> Verdict:
    """Judge that several claims hold together: held where all are; not, where one does not."""
    for word in NO:
        against = [v for v in verdicts if v == word]
        if against:  # any of them could have been the one
            least = min(against, key=lambda v: v.p)
            return Verdict(word, min(1.0, len(verdicts) * least.p), least.weaker)
    p = float(np.max([v.p for v in verdicts]))
    if all(v in YES for v in verdicts):
        weaker = HERE if all(HERE in (v, v.weaker) for v in verdicts) else OPEN
        return Verdict(HERE if HERE in verdicts else HELD, p, weaker)
    return Verdict(OPEN, p)


def _denied(word: str) -> str:
    return {HELD: FAILED, HERE: NOT_HERE}.get(word, OPEN)


def _judged(
    e: Estimate, rule: tuple[str, float], yes: list[Region], no: list[Region], sign: int = 0
) -> Verdict:
    """Judge by the interval over instances and seeds; else, for these seeds, by those of each.

    Of one seed the two are the same interval, and speak of that seed alone. Seeds that are missing
    count as not agreeing: a run that failed is one that the claim may have been about.

    `rule` is the key in RULES, and its margin. `sign`: what most seeds have to agree in before the
    claim holds; 0: nothing.
    """
    against = sum(sign * v <= 0 for v in e.by_seed.values()) if sign else 0
    lost = len(e.missing)
    few = (len(e.by_seed) + lost) // DISSENT
    here = OPEN
    for regions, word in ((yes, HERE), (no, NOT_HERE)):
        if e.limits and not lost and all(_inside(*limits, regions) for limits in e.limits.values()):
            here = word
            break
    p_yes, p_no = _p(e, yes), _p(e, no)
    for regions, word, lone, p, allowed in (
        (yes, HELD, HERE, p_yes, against + lost <= few),
        (no, FAILED, NOT_HERE, p_no, lost <= few),
    ):
        if allowed and _inside(e.low, e.high, regions):
            if len(e.by_seed) >= SEEDS:
                return Verdict(word, p, here, *rule)
            if len(e.by_seed) == 1:
                return Verdict(lone, p, here, *rule)
    return Verdict(here, _least([p_yes, p_no]), here, *rule)


def _inside(low: float, high: float, regions: list[Region]) -> bool:
    """Return whether an interval lies within one of the regions."""
    return any(low > start and high < end for start, end in regions)


def _p(e: Estimate, regions: list[Region]) -> float:
    """Two-sided p of "the mean lies in none of the regions"."""
    found = []
    for start, end in regions:
        sides = []
        if start > -math.inf:
            sides.append(e.p_above(start))
        if end < math.inf:
            sides.append(e.p_below(end))
        found.append(float(np.minimum(1.0, 2 * np.max(sides))))  # NaN stays NaN
    return _least(found)


def _least(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return min(known, default=math.nan)


def corrected(claims: pd.DataFrame, primary: Iterable[str], confidence: float) -> pd.DataFrame:
    """Correct a table of claims for their number.

    `claims` has a row for each claim of each model, with columns claim, verdict, p and weaker.
    Claims named in `primary` are corrected by Holm's method (1979), which bounds the chance that
    any of them is wrongly judged; all others by that of Benjamini and Hochberg (1995), which bounds
    the share of wrong ones among those that are judged. A claim without a p (nothing to measure)
    counts in its family with p = 1, and so do a declared one that the table lacks, and one that is
    undecided however small its p.

    Return the table with column weaker replaced by family ("primary" or "other"), p_adjusted,
    verdict_alone (as before the correction) and verdict (weaker, where p_adjusted is too large).
    """
    first = claims["claim"].isin(set(primary)).to_numpy()
    unmade = np.ones(len(set(primary) - set(claims["claim"])))
    decided = claims["verdict"].isin([HELD, FAILED])
    p = claims["p"].where(decided | (claims["p"] > 1 - confidence), 1.0).to_numpy(float)
    adjusted = np.ones(len(p))
    adjusted[first] = holm(np.append(p[first], unmade))[: first.sum()]
    if (~first).any():
        adjusted[~first] = scipy.stats.false_discovery_control(p[~first])
    lost = (decided & (adjusted > 1 - confidence + 1e-12)).to_numpy()
    return claims.drop(columns="weaker").assign(
        family=np.where(first, "primary", "other"),
        p_adjusted=np.where(claims["p"].isna(), np.nan, adjusted),
        verdict_alone=claims["verdict"],
        verdict=np.where(lost, claims["weaker"], claims["verdict"]),
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values by Holm's step-down method (1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def signed(e: Estimate) -> str:
    """Return an estimate of a change, in points."""
    return f"{100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
