"""Truth tables of the rules that turn an estimate into a verdict."""

import pytest

from healscope.stats import Estimate
from healscope.verdicts import (
    FAILED,
    HELD,
    HERE,
    NO,
    NOT_HERE,
    OPEN,
    VERDICTS,
    YES,
    at_most,
    moves,
    negative,
    negligible,
    positive,
    signed,
    window,
)

NAN = float("nan")
M = 0.05
"""The margin in these tables of truth."""


def estimate(low, high, *seeds):
    """An estimate with an interval, and one for each seed around its middle."""
    values = {str(i): (a + b) / 2 for i, (a, b) in enumerate(seeds)}
    return Estimate((low + high) / 2, low, high, values, {str(i): s for i, s in enumerate(seeds)})


def mirrored(e):
    return estimate(-e.high, -e.low, *((-high, -low) for low, high in e.limits.values()))


UP, DOWN, UNSURE = (0.1, 0.3), (-0.3, -0.1), (-0.1, 0.2)
SMALL, LEANS = (-0.04, 0.03), (0.01, 0.04)

RISES = {
    "above 0, seeds agree": (estimate(0.1, 0.3, UP, UP), HELD),
    "above 0, a seed is unsure": (estimate(0.01, 0.3, UP, UNSURE), HELD),
    "above 0, a seed falls": (estimate(0.01, 0.3, UP, (-0.05, 0.01)), OPEN),
    "above 0, a seed stays": (estimate(0.01, 0.3, UP, (-0.01, 0.01)), OPEN),
    "touches 0": (estimate(0.0, 0.3, UNSURE, UNSURE), OPEN),
    "too few seeds, each rises": (estimate(-0.5, 0.9, UP, UP), HERE),
    "too few seeds, one is unsure": (estimate(-0.5, 0.9, UP, UNSURE), OPEN),
    "too few seeds, one touches 0": (estimate(-0.5, 0.9, UP, (0.0, 0.2)), OPEN),
    "seeds of both kinds": (estimate(-0.5, 0.5, UP, DOWN), OPEN),
    "below 0": (estimate(-0.3, -0.1, DOWN, UNSURE), FAILED),
    "too few seeds, each falls": (estimate(-0.9, 0.5, DOWN, DOWN), NOT_HERE),
    "too few seeds, one falls, one stays": (estimate(-0.9, 0.5, DOWN, SMALL), NOT_HERE),
    "around 0, within the margin": (estimate(-0.04, 0.03, SMALL, SMALL), FAILED),
    "around 0, ends at the margin": (estimate(-0.04, M, UNSURE, SMALL), OPEN),
    "too few seeds, each within the margin": (estimate(-0.5, 0.5, SMALL, SMALL), NOT_HERE),
    "too few seeds, one within the margin": (estimate(-0.5, 0.5, SMALL, UNSURE), OPEN),
    "above 0, within the margin, seeds agree": (estimate(0.01, 0.04, LEANS, LEANS), HELD),
    "above 0, within the margin, a seed falls": (estimate(0.01, 0.04, LEANS, (-0.1, 0)), FAILED),
    "nothing known of single seeds": (estimate(-0.1, 0.3), OPEN),
}


@pytest.mark.parametrize(("e", "verdict"), RISES.values(), ids=RISES)
def test_rises_and_falls_are_mirror_images(e, verdict):
    assert positive(e, M) == verdict
    assert negative(mirrored(e), M) == verdict


SAME = {
    "within the margin": (estimate(-0.04, 0.03, SMALL, SMALL), HELD),
    "off 0, but within the margin": (estimate(0.01, 0.04, LEANS, LEANS), HELD),
    "ends at the margin": (estimate(-0.04, M, SMALL, SMALL[:1] + (M,)), OPEN),
    "too few seeds, each within": (estimate(-0.5, 0.5, SMALL, LEANS), HERE),
    "too few seeds, one reaches out": (estimate(-0.5, 0.5, SMALL, UNSURE), OPEN),
    "above the margin": (estimate(0.1, 0.3, UP, UP), FAILED),
    "below the margin": (estimate(-0.3, -0.1, DOWN, DOWN), FAILED),
    "surely above 0, perhaps within": (estimate(0.01, 0.2, UP, LEANS), OPEN),
    "too few seeds, each beyond": (estimate(-0.5, 0.9, UP, UP), NOT_HERE),
    "too few seeds, one beyond": (estimate(-0.5, 0.9, UP, SMALL), OPEN),
    "seeds beyond on either side": (estimate(-0.9, 0.9, UP, DOWN), NOT_HERE),
    "nothing known of single seeds": (estimate(-0.1, 0.3), OPEN),
}


@pytest.mark.parametrize(("e", "verdict"), SAME.values(), ids=SAME)
def test_no_change_has_no_direction(e, verdict):
    assert negligible(e, M) == verdict
    assert negligible(mirrored(e), M) == verdict


MOVES = {
    "rises": (estimate(0.1, 0.3, UP, UP), HELD),
    "rises, but less than the margin": (estimate(0.01, 0.04, LEANS, LEANS), HELD),
    "each seed rises": (estimate(-0.5, 0.9, UP, UP), HERE),
    "seeds of both kinds": (estimate(-0.5, 0.5, UP, DOWN), OPEN),
    "unsure": (estimate(-0.1, 0.2, UNSURE, UNSURE), OPEN),
    "stays": (estimate(-0.04, 0.03, SMALL, SMALL), FAILED),
    "each seed stays": (estimate(-0.5, 0.5, SMALL, SMALL), NOT_HERE),
}


@pytest.mark.parametrize(("e", "verdict"), MOVES.values(), ids=MOVES)
def test_a_change_in_whichever_direction(e, verdict):
    assert moves(e, M) == verdict
    assert moves(mirrored(e), M) == verdict


AT_MOST = {
    "falls": (estimate(-0.3, -0.1, DOWN, DOWN), HELD),
    "stays": (estimate(-0.04, 0.03, SMALL, SMALL), HELD),
    "rises, by less than the margin": (estimate(0.01, 0.04, LEANS, LEANS), HELD),
    "ends at the margin": (estimate(-0.1, M, UNSURE, UNSURE), OPEN),
    "unsure": (estimate(-0.1, 0.2, UNSURE, UNSURE), OPEN),
    "too few seeds, each falls or stays": (estimate(-0.9, 0.5, DOWN, SMALL), HERE),
    "too few seeds, one is unsure": (estimate(-0.9, 0.5, DOWN, UNSURE), OPEN),
    "rises": (estimate(0.1, 0.3, UP, UP), FAILED),
    "rises, perhaps by less than the margin": (estimate(0.01, 0.2, UNSURE, UNSURE), FAILED),
    "too few seeds, each rises": (estimate(-0.5, 0.9, UP, UP), NOT_HERE),
    "seeds of both kinds": (estimate(-0.5, 0.5, UP, DOWN), OPEN),
    "nothing known of single seeds": (estimate(-0.1, 0.3), OPEN),
}


@pytest.mark.parametrize(("e", "verdict"), AT_MOST.values(), ids=AT_MOST)
def test_at_most_the_margin(e, verdict):
    assert at_most(e, M) == verdict


RISING, STAYING, FALLING = (estimate(*x, x, x) for x in (UP, SMALL, DOWN))
UNKNOWN = estimate(*UNSURE, UNSURE, UNSURE)
RISES_HERE, STAYS_HERE = (estimate(-0.9, 0.9, x, x) for x in (UP, SMALL))

WINDOW = {
    "rises inside, not at the ends": (RISING, [STAYING, FALLING], HELD),
    "inside in these seeds alone": (RISES_HERE, [STAYING, FALLING], HERE),
    "an end in these seeds alone": (RISING, [FALLING, STAYS_HERE], HERE),
    "all in these seeds alone": (RISES_HERE, [STAYS_HERE, STAYS_HERE], HERE),
    "an end rises": (RISING, [FALLING, RISING], FAILED),
    "an end rises in these seeds": (RISING, [FALLING, RISES_HERE], NOT_HERE),
    "one end rises, the other in these seeds": (RISING, [RISES_HERE, RISING], FAILED),
    "an end rises, inside is unsure": (UNKNOWN, [RISING, STAYING], FAILED),
    "nothing rises inside": (STAYING, [STAYING, FALLING], FAILED),
    "it falls inside": (FALLING, [FALLING, FALLING], FAILED),
    "nothing rises inside in these seeds": (STAYS_HERE, [STAYING, STAYING], NOT_HERE),
    "nothing rises inside, ends are unsure": (STAYING, [UNKNOWN, UNKNOWN], FAILED),
    "inside is unsure": (UNKNOWN, [STAYING, STAYING], OPEN),
    "an end is unsure": (RISING, [UNKNOWN, STAYING], OPEN),
    "nothing measured": (Estimate(NAN, NAN, NAN, {}), [Estimate(NAN, NAN, NAN, {})] * 2, OPEN),
    "no end was measured": (RISING, [Estimate(NAN, NAN, NAN, {})] * 2, OPEN),
}


@pytest.mark.parametrize(("best", "ends", "verdict"), WINDOW.values(), ids=WINDOW)
def test_a_window_has_an_inside_and_two_ends(best, ends, verdict):
    assert window(best, ends, M) == verdict
    assert window(best, ends[::-1], M) == verdict


def test_every_verdict_is_a_yes_a_no_or_open():
    assert {*YES, *NO, OPEN} == set(VERDICTS)
    assert len(VERDICTS) == 5


@pytest.mark.parametrize("rule", [positive, negative, negligible, at_most, moves])
@pytest.mark.parametrize(
    "e",
    [
        Estimate(NAN, NAN, NAN, {}),
        Estimate(NAN, NAN, NAN, {"0": NAN}, {"0": (NAN, NAN)}),
        # one seed never got this far, so the mean over seeds is unknown as well
        Estimate(NAN, NAN, NAN, {"0": 0.2, "1": NAN}, {"0": UP, "1": (NAN, NAN)}),
    ],
    ids=["no rows", "no value", "a seed without value"],
)
def test_what_was_not_measured_is_undecided(rule, e):
    assert rule(e) == OPEN


def test_one_seed_speaks_for_itself_alone():
    rises, still = (0.1, 0.3), (-0.01, 0.01)
    assert positive(Estimate(0.2, *rises, {"0": 0.2}, {"0": rises})) == HERE
    assert negative(Estimate(0.2, *rises, {"0": 0.2}, {"0": rises})) == NOT_HERE
    assert moves(Estimate(0.2, *rises, {"0": 0.2}, {"0": rises})) == HERE
    assert negligible(Estimate(0.0, *still, {"0": 0.0}, {"0": still})) == HERE
    assert moves(Estimate(0.0, *still, {"0": 0.0}, {"0": still})) == NOT_HERE


def test_changes_are_written_in_points():
    assert signed(Estimate(0.123, -0.04, 0.3, {})) == "+12.3 [-4.0, +30.0]"
