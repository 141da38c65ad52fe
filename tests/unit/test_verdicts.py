"""Truth tables of the rules that turn an estimate into a verdict."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from healscope.stats import Estimate
from healscope.verdicts import (
    FAILED,
    HELD,
    HERE,
    MARGIN,
    NO,
    NOT_HERE,
    OPEN,
    SEEDS,
    VERDICTS,
    YES,
    Verdict,
    above,
    at_most,
    corrected,
    every,
    holm,
    margin,
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
    "above 0, seeds agree": (estimate(0.1, 0.3, UP, UP, UP), HELD),
    "above 0, a seed is unsure": (estimate(0.01, 0.3, UP, UP, UNSURE), HELD),
    "above 0, a seed falls": (estimate(0.01, 0.3, UP, UP, (-0.05, 0.01)), OPEN),
    "above 0, a seed stays": (estimate(0.01, 0.3, UP, UP, (-0.01, 0.01)), OPEN),
    "touches 0": (estimate(0.0, 0.3, UNSURE, UNSURE, UNSURE), OPEN),
    "too few seeds, each rises": (estimate(-0.5, 0.9, UP, UP, UP), HERE),
    "too few seeds, one is unsure": (estimate(-0.5, 0.9, UP, UP, UNSURE), OPEN),
    "too few seeds, one touches 0": (estimate(-0.5, 0.9, UP, UP, (0.0, 0.2)), OPEN),
    "seeds of both kinds": (estimate(-0.5, 0.5, UP, UP, DOWN), OPEN),
    "below 0": (estimate(-0.3, -0.1, DOWN, DOWN, UNSURE), FAILED),
    "too few seeds, each falls": (estimate(-0.9, 0.5, DOWN, DOWN, DOWN), NOT_HERE),
    "too few seeds, one falls, one stays": (estimate(-0.9, 0.5, DOWN, DOWN, SMALL), NOT_HERE),
    "around 0, within the margin": (estimate(-0.04, 0.03, SMALL, SMALL, SMALL), FAILED),
    "around 0, ends at the margin": (estimate(-0.04, M, UNSURE, UNSURE, SMALL), OPEN),
    "too few seeds, each within the margin": (estimate(-0.5, 0.5, SMALL, SMALL, SMALL), NOT_HERE),
    "too few seeds, one within the margin": (estimate(-0.5, 0.5, SMALL, SMALL, UNSURE), OPEN),
    "above 0, within the margin, seeds agree": (estimate(0.01, 0.04, LEANS, LEANS, LEANS), HELD),
    "above 0, within the margin, a seed falls": (
        estimate(0.01, 0.04, LEANS, LEANS, (-0.1, 0)),
        FAILED,
    ),
    "nothing known of single seeds": (estimate(-0.1, 0.3), OPEN),
}


@pytest.mark.parametrize(("e", "verdict"), RISES.values(), ids=RISES)
def test_rises_and_falls_are_mirror_images(e, verdict):
    assert positive(e, M) == verdict
    assert negative(mirrored(e), M) == verdict


SAME = {
    "within the margin": (estimate(-0.04, 0.03, SMALL, SMALL, SMALL), HELD),
    "off 0, but within the margin": (estimate(0.01, 0.04, LEANS, LEANS, LEANS), HELD),
    "ends at the margin": (estimate(-0.04, M, SMALL, SMALL, SMALL[:1] + (M,)), OPEN),
    "too few seeds, each within": (estimate(-0.5, 0.5, SMALL, SMALL, LEANS), HERE),
    "too few seeds, one reaches out": (estimate(-0.5, 0.5, SMALL, SMALL, UNSURE), OPEN),
    "above the margin": (estimate(0.1, 0.3, UP, UP, UP), FAILED),
    "below the margin": (estimate(-0.3, -0.1, DOWN, DOWN, DOWN), FAILED),
    "surely above 0, perhaps within": (estimate(0.01, 0.2, UP, UP, LEANS), OPEN),
    "too few seeds, each beyond": (estimate(-0.5, 0.9, UP, UP, UP), NOT_HERE),
    "too few seeds, one beyond": (estimate(-0.5, 0.9, UP, UP, SMALL), OPEN),
    "seeds beyond on either side": (estimate(-0.9, 0.9, UP, UP, DOWN), NOT_HERE),
    "nothing known of single seeds": (estimate(-0.1, 0.3), OPEN),
}


@pytest.mark.parametrize(("e", "verdict"), SAME.values(), ids=SAME)
def test_no_change_has_no_direction(e, verdict):
    assert negligible(e, M) == verdict
    assert negligible(mirrored(e), M) == verdict


MOVES = {
    "rises": (estimate(0.1, 0.3, UP, UP, UP), HELD),
    "rises, but less than the margin": (estimate(0.01, 0.04, LEANS, LEANS, LEANS), HELD),
    "each seed rises": (estimate(-0.5, 0.9, UP, UP, UP), HERE),
    "seeds of both kinds": (estimate(-0.5, 0.5, UP, UP, DOWN), OPEN),
    "unsure": (estimate(-0.1, 0.2, UNSURE, UNSURE, UNSURE), OPEN),
    "stays": (estimate(-0.04, 0.03, SMALL, SMALL, SMALL), FAILED),
    "each seed stays": (estimate(-0.5, 0.5, SMALL, SMALL, SMALL), NOT_HERE),
}


@pytest.mark.parametrize(("e", "verdict"), MOVES.values(), ids=MOVES)
def test_a_change_in_whichever_direction(e, verdict):
    assert moves(e, M) == verdict
    assert moves(mirrored(e), M) == verdict


AT_MOST = {
    "falls": (estimate(-0.3, -0.1, DOWN, DOWN, DOWN), HELD),
    "stays": (estimate(-0.04, 0.03, SMALL, SMALL, SMALL), HELD),
    "rises, by less than the margin": (estimate(0.01, 0.04, LEANS, LEANS, LEANS), HELD),
    "ends at the margin": (estimate(-0.1, M, UNSURE, UNSURE, UNSURE), OPEN),
    "unsure": (estimate(-0.1, 0.2, UNSURE, UNSURE, UNSURE), OPEN),
    "too few seeds, each falls or stays": (estimate(-0.9, 0.5, DOWN, DOWN, SMALL), HERE),
    "too few seeds, one is unsure": (estimate(-0.9, 0.5, DOWN, DOWN, UNSURE), OPEN),
    "rises": (estimate(0.1, 0.3, UP, UP, UP), FAILED),
    "rises, perhaps by less than the margin": (estimate(0.01, 0.2, UNSURE, UNSURE, UNSURE), FAILED),
    "too few seeds, each rises": (estimate(-0.5, 0.9, UP, UP, UP), NOT_HERE),
    "seeds of both kinds": (estimate(-0.5, 0.5, UP, UP, DOWN), OPEN),
    "nothing known of single seeds": (estimate(-0.1, 0.3), OPEN),
}


@pytest.mark.parametrize(("e", "verdict"), AT_MOST.values(), ids=AT_MOST)
def test_at_most_the_margin(e, verdict):
    assert at_most(e, M) == verdict


ABOVE = {
    "above 0": (estimate(0.01, 0.3, UP, UP, UP), HELD),
    "above 0, a seed below": (estimate(0.01, 0.3, UP, UP, DOWN), HELD),
    "begins at 0": (estimate(0.0, 0.3, UP, UP, UNSURE), OPEN),
    "begins below 0 by less than any margin": (estimate(-0.01, 0.3, UP, UP, UNSURE), OPEN),
    "below 0": (estimate(-0.3, -0.1, DOWN, DOWN, DOWN), FAILED),
    "ends above 0 by less than any margin": (estimate(-0.3, 0.01, DOWN, DOWN, UNSURE), OPEN),
    "each seed above 0": (estimate(-0.1, 0.3, UP, UP, LEANS), HERE),
    "a seed begins below 0 by less than any margin": (
        estimate(-0.1, 0.3, UP, UP, (-0.01, 0.04)),
        OPEN,
    ),
}


@pytest.mark.parametrize(("e", "verdict"), ABOVE.values(), ids=ABOVE)
def test_a_limit_to_be_passed_has_no_margin(e, verdict):
    assert above(e) == verdict


RISING, STAYING, FALLING = (estimate(*x, x, x, x) for x in (UP, SMALL, DOWN))
UNKNOWN = estimate(*UNSURE, UNSURE, UNSURE, UNSURE)
RISES_HERE, STAYS_HERE = (estimate(-0.9, 0.9, x, x, x) for x in (UP, SMALL))

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


@pytest.mark.parametrize("rule", [positive, negative, negligible, at_most, moves, above])
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


def without(e, lost):
    """The estimate of a study of which `lost` runs failed."""
    return e.among([*e.by_seed, *(str(100 + i) for i in range(lost))])


@pytest.mark.parametrize("rule", [positive, negligible, at_most, moves])
@pytest.mark.parametrize(("seeds", "lost", "decided"), [(9, 1, True), (8, 2, False), (4, 6, False)])
def test_runs_that_failed_count_against_any_verdict(rule, seeds, lost, decided):
    for low, high in ((0.1, 0.2), (-0.2, -0.1), (-0.005, 0.005)):
        middle = (low + high) / 2
        e = estimate(low, high, *[(middle, middle)] * seeds)
        e = replace(e, limits={}, draws=np.linspace(low, high, 2000))
        whole, lacking = rule(e), rule(without(e, lost))
        if whole in (HELD, FAILED):
            assert lacking == (whole if decided else OPEN)


def test_what_seeds_disagree_on_is_no_discovery():
    """A small p of an undecided claim does not make room for others."""
    judged = corrected(
        claims_of(("a", HELD, 0.03, OPEN), *[("b", OPEN, 0.001, OPEN)] * 9), [], 0.95
    )
    assert list(judged["verdict"]) == [OPEN] * 10
    assert list(judged["p_adjusted"][1:]) == [1.0] * 9


def test_each_of_these_seeds_is_each_that_was_trained():
    e = estimate(0.1, 0.3, UP, UP)
    assert (positive(e), positive(without(e, 1))) == (HERE, OPEN)


def test_changes_are_written_in_points():
    assert signed(Estimate(0.123, -0.04, 0.3, {})) == "+12.3 [-4.0, +30.0]"


def of_seeds(*values, low=0.05, high=0.15):
    """A clear rise on the whole, in seeds with these values that say little alone."""
    by_seed = {str(i): v for i, v in enumerate(values)}
    limits = {seed: (v - 0.5, v + 0.5) for seed, v in by_seed.items()}
    return Estimate((low + high) / 2, low, high, by_seed, limits)


@pytest.mark.parametrize(
    ("seeds", "falling", "verdict"),
    [(3, 0, HELD), (5, 1, OPEN), (6, 1, HELD), (6, 2, OPEN), (11, 2, OPEN), (12, 2, HELD)],
)
def test_one_seed_in_six_may_have_the_other_sign(seeds, falling, verdict):
    e = of_seeds(*[-0.1] * falling, *[0.2] * (seeds - falling))
    assert positive(e) == verdict
    assert negative(mirrored(e)) == verdict


@pytest.mark.parametrize("rule", [positive, negative, negligible, at_most, moves, above])
@pytest.mark.parametrize("interval", [UP, DOWN, (-0.01, 0.01)])
def test_two_seeds_never_speak_for_others(rule, interval):
    enough, few = (estimate(*interval, *[interval] * n) for n in (SEEDS, 2))
    assert SEEDS == 3
    assert {rule(enough): rule(few)}.items() <= {HELD: HERE, FAILED: NOT_HERE, OPEN: OPEN}.items()
    assert (rule(enough) == OPEN) == (rule is above and interval not in (UP, DOWN))
    # even where the seeds' own intervals say nothing
    assert rule(of_seeds(0.1, 0.1)) == OPEN


def test_the_margin_is_a_share_of_the_gap_with_a_floor():
    assert MARGIN == 0.02
    assert margin(estimate(0.3, 0.5)) == margin(estimate(-0.5, -0.3)) == pytest.approx(0.1)
    assert margin(estimate(0.03, 0.05)) == MARGIN
    assert margin(None) == margin(Estimate(NAN, NAN, NAN, {})) == MARGIN
    small = estimate(-0.04, 0.03, SMALL, SMALL, SMALL)
    assert (positive(small), positive(small, 0.1)) == (OPEN, FAILED)
    assert (negligible(small), negligible(small, 0.1)) == (OPEN, HELD)
    assert (at_most(small), at_most(small, 0.1)) == (OPEN, HELD)


def drawn(mean, sd=0.05, seeds=SEEDS):
    """An estimate whose draws are normal, from more instances than leave exceptions unseen."""
    draws = mean + sd * norm.ppf((np.arange(4000) + 0.5) / 4000)
    low, high = np.quantile(draws, [0.025, 0.975])
    by_seed = dict.fromkeys(map(str, range(seeds)), mean)
    limits = dict.fromkeys(by_seed, (mean - 0.5, mean + 0.5))
    return Estimate(mean, low, high, by_seed, limits, instances=10_000, draws=draws)


def test_p_is_twice_the_tail_beyond_the_limit():
    assert positive(drawn(0.1)).p == pytest.approx(2 * norm.sf(2), rel=0.02)
    assert positive(drawn(-0.1), M).p == pytest.approx(2 * norm.sf(3), rel=0.2)  # did not hold
    assert negative(drawn(-0.1)).p == pytest.approx(2 * norm.sf(2), rel=0.02)
    assert above(drawn(0.05)).p == pytest.approx(2 * norm.sf(1), rel=0.02)
    assert negligible(drawn(0.02), 0.15).p == pytest.approx(2 * norm.sf(2.6), rel=0.1)
    assert at_most(drawn(0.0), 0.1).p == pytest.approx(2 * norm.sf(2), rel=0.02)
    assert moves(drawn(0.1), M).p == moves(drawn(-0.1), M).p == positive(drawn(0.1)).p
    # neither still nor moved: that it falls short of the margin above is no evidence of either
    assert moves(drawn(0.01, 0.03), 0.06).p == pytest.approx(2 * norm.sf(5 / 3), rel=0.02)


RULES = {
    "positive": positive, "negative": negative, "negligible": negligible, "at most": at_most,
    "moves": moves, "above": lambda e, margin: above(e),
    "window": lambda e, margin: window(e, [drawn(-0.5)] * 2, margin),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("wide", [0.004, 0.03, 0.1])
def test_a_verdict_is_reached_where_its_p_is_small(rule, wide):
    reached = set()
    for mean in np.linspace(-0.25, 0.25, 51) + 0.00037:  # no interval ends right at a limit
        verdict = rule(drawn(mean, wide), M)
        assert (verdict.p < 0.05) == (verdict in (HELD, FAILED)), (mean, verdict, verdict.p)
        reached.add(str(verdict))
    assert wide > 0.01 or reached >= {HELD, FAILED}


def test_an_end_that_rises_counts_for_both():
    """Either end of a window could have been the one that rises."""
    rises = drawn(0.12)
    found = window(drawn(0.5), [drawn(-0.5), rises], M)
    assert found == FAILED
    assert found.p == pytest.approx(2 * at_most(rises, M).p)


def test_a_window_that_was_not_measured_at_an_end_has_no_p():
    nothing = Estimate(NAN, NAN, NAN, {})
    for ends in ([drawn(-0.5), nothing], [nothing, drawn(-0.5)]):
        assert np.isnan(window(drawn(0.5), ends).p)


def test_what_is_left_of_a_verdict_is_what_each_seed_shows():
    assert positive(estimate(0.1, 0.3, UP, UP, UP)).weaker == HERE
    assert positive(estimate(0.1, 0.3, UP, UP, UNSURE)).weaker == OPEN
    assert positive(estimate(-0.3, -0.1, DOWN, DOWN, DOWN)).weaker == NOT_HERE
    assert moves(estimate(*SMALL, SMALL, SMALL, SMALL), M).weaker == NOT_HERE
    assert window(RISING, [STAYING, FALLING], M).weaker == HERE
    assert window(STAYING, [STAYING, FALLING], M).weaker == NOT_HERE
    assert Verdict(OPEN).weaker == OPEN


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, 0.4])) == pytest.approx([0.8, 0.8])
    assert holm(np.array([0.9, 0.8, 0.7])) == pytest.approx([1, 1, 1])
    assert len(holm(np.array([]))) == 0


def test_holm_is_the_closed_test_of_bonferroni():
    """A claim stands if every set of claims that it is in can be told from chance."""
    p = np.random.default_rng(0).beta(0.3, 1, 7)
    p[3] = p[5]
    sets = [s for n in range(1, 8) for s in combinations(range(7), n)]
    for i, adjusted in enumerate(holm(p)):
        worst = max(min(1, len(s) * p[list(s)].min()) for s in sets if i in s)
        assert adjusted == pytest.approx(worst)


def claims_of(*rows):
    table = pd.DataFrame(rows, columns=["claim", "verdict", "p", "weaker"])
    return table.assign(track="m")


def test_the_rest_is_corrected_by_benjamini_and_hochberg():
    p = np.random.default_rng(1).beta(0.3, 1, 9)
    rows = [(f"c{i}", HELD, x, OPEN) for i, x in enumerate(p)]
    found = corrected(claims_of(*rows), ["other-study"], 0.95)
    assert set(found["family"]) == {"other"}
    rank = {x: sum(p <= x) for x in p}
    expected = [min(1, *(9 * y / rank[y] for y in p if y >= x)) for x in p]
    assert found["p_adjusted"].tolist() == pytest.approx(expected)
    by_hand = [("a", HELD, 0.01, OPEN), ("b", HELD, 0.04, OPEN), ("c", HELD, 0.03, OPEN)]
    found = corrected(claims_of(*by_hand), [], 0.95)
    assert found["p_adjusted"].tolist() == pytest.approx([0.03, 0.04, 0.04])


def test_families_do_not_pay_for_each_other():
    rows = [("mine", HELD, 0.04, HERE), *(("x", OPEN, 0.9, OPEN) for _ in range(20))]
    found = corrected(claims_of(*rows), ["mine"], 0.95)
    assert found["family"].tolist() == ["primary"] + ["other"] * 20
    assert found.loc[0, ["p_adjusted", "verdict"]].tolist() == [0.04, HELD]
    found = corrected(claims_of(*rows), [], 0.95)
    assert found.loc[0, ["p_adjusted", "verdict"]].tolist() == [pytest.approx(0.84), HERE]


@pytest.mark.parametrize("primary", [["a", "b", "c"], []])
def test_what_was_not_measured_counts_with_p_1(primary):
    rows = [("a", HELD, 0.02, HERE), ("b", OPEN, NAN, OPEN), ("c", OPEN, 0.9, OPEN)]
    found = corrected(claims_of(*rows), primary, 0.95)
    assert found["p_adjusted"].tolist()[:1] == [pytest.approx(0.06)]
    assert np.isnan(found.loc[1, "p_adjusted"])
    assert found["verdict"].tolist() == [HERE, OPEN, OPEN]
    assert found["verdict_alone"].tolist() == [HELD, OPEN, OPEN]
    assert "weaker" not in found
    alone = corrected(claims_of(*rows[::2]), [name for name in primary if name != "b"], 0.95)
    assert alone["verdict"].tolist() == [HELD, OPEN]


def test_a_declared_claim_that_was_not_made_still_counts():
    found = corrected(claims_of(("a", HELD, 0.02, HERE)), ["a", "b", "c"], 0.95)
    assert found["p_adjusted"].tolist() == [pytest.approx(0.06)]
    assert found["verdict"].tolist() == [HERE]


def test_a_correction_takes_back_what_speaks_for_others_and_nothing_else():
    rows = [("a", FAILED, 0.04, NOT_HERE), ("b", HERE, 0.3, HERE), ("c", HELD, 0.001, OPEN)]
    found = corrected(claims_of(*rows), ["a", "b", "c"], 0.95)
    assert found["verdict"].tolist() == [NOT_HERE, HERE, HELD]
    level = corrected(claims_of(("a", HELD, 0.05, OPEN)), ["a"], 0.95)
    assert level["verdict"].tolist() == [HELD]  # as far as the interval goes
    strict = corrected(claims_of(("a", HELD, 0.05, OPEN)), ["a"], 0.99)
    assert strict["verdict"].tolist() == [OPEN]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((HELD, HELD), HELD),
        ((HELD, HERE), HERE),
        ((HELD, OPEN), OPEN),
        ((HELD, FAILED), FAILED),
        ((OPEN, NOT_HERE), NOT_HERE),
        ((FAILED, NOT_HERE), FAILED),
    ],
)
def test_several_claims_hold_together_only_where_each_does(words, said):
    given = [Verdict(word, 0.01 * (i + 1)) for i, word in enumerate(words)]
    found = every(*given)
    assert found == said
    assert every(*given[::-1]) == said
    if said in (HELD, HERE):
        assert found.p == 0.02  # the least certain of them decides
    elif said in NO:
        assert found.p == 2 * next(v.p for v in given if v == said)
