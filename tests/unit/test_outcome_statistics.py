"""Paired statistics of outcomes where the truth is known: nothing changes, or a planted change."""

import numpy as np
import pandas as pd
import pytest
from outcome_tables import benchmark
from scipy.stats import binom, norm

from healscope import stats
from healscope.outcomes import gate
from healscope.outcomes.comparing import _change, _judge
from healscope.outcomes.paired import Pair, more_items, over_all, pick, tango
from healscope.stats import exchanged

STUDIES = 200


def surprise(share, n=STUDIES):
    """The least and the most of `n` studies that are no surprise (1 in 1,000) at a true share."""
    return binom.ppf(0.001, n, share) / n, binom.ppf(0.999, n, share) / n


def drawn(rng, n, lost, gained, studies=STUDIES):
    """Numbers lost and gained of studies whose items change with these chances."""
    return rng.multinomial(n, [lost, gained, 1 - lost - gained], studies)[:, :2]


def plain(lost, gained, n):
    return Pair(np.repeat([-1.0, 1.0, 0.0], [lost, gained, n - lost - gained]), np.arange(n))


def test_the_interval_is_the_published_one():
    # airway hyper-responsiveness (Bentur et al. 2009), as in Fagerland, Lydersen and Laake,
    # Statistics in Medicine 33 (2014): Tango's score interval of 7 and 1 of 21
    assert tango(7, 1, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert tango(1, 7, 21) == pytest.approx((0.026, 0.517), abs=5e-4)


def test_limits_are_where_the_score_test_just_rejects():
    """At 0 the score test is McNemar's without correction: z = (gained - lost) / sqrt(both)."""
    for lost, gained in ((30, 12), (9, 25)):
        level = 2 * norm.cdf(abs(gained - lost) / np.sqrt(gained + lost)) - 1
        low, high = tango(lost, gained, 200, level)
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (12, 0), (0, 12), (5, 5)])
def test_the_interval_has_width_and_stays_within_what_is_possible(lost, gained):
    low, high = tango(lost, gained, 12)
    assert -1 <= low < (gained - lost) / 12 + 1e-9
    assert (gained - lost) / 12 - 1e-9 < high <= 1
    assert high - low > 0.05


@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize(
    ("lost", "gained"), [(0.004, 0.004), (0.1, 0.1), (0.12, 0.07), (0.03, 0.11), (0.0, 0.3)],
    ids=["hardly", "churn", "loss", "gain", "only-gain"],
)  # fmt: skip
def test_intervals_hold_the_truth_as_often_as_they_say(n, lost, gained):
    found = drawn(np.random.default_rng([n, int(1000 * lost)]), n, lost, gained)
    limits = [tango(*counts, n) for counts in found]
    held = np.mean([low <= gained - lost <= high for low, high in limits])
    assert held >= surprise(0.94)[0]


def test_instances_are_resampled_whole():
    """Items of an instance change together: an interval that ignores it is far too narrow."""
    rng = np.random.default_rng(0)
    instances = np.repeat(np.arange(60), 5)
    held, held_alone = [], []
    for _ in range(60):
        change = rng.choice([-1.0, 0.0, 1.0], 60, p=[0.2, 0.6, 0.2])[instances]
        for found, groups in ((held, instances), (held_alone, np.arange(300))):
            e = Pair(change, groups).estimate(0.95)
            found.append(e.low <= 0 <= e.high)
    assert np.mean(held) >= surprise(0.94, 60)[0]
    assert np.mean(held_alone) < 0.8


def test_one_instance_each_is_what_single_items_say():
    both = plain(30, 12, 200)
    clustered = Pair(np.r_[both.change_I, 0.5], np.arange(201))  # not plain: redrawn
    e, f = both.estimate(0.95), clustered.estimate(0.95)
    assert not clustered.plain
    assert (e.low, e.high) == pytest.approx((f.low, f.high), abs=0.01)
    assert both.p() == pytest.approx(clustered.p(), rel=1)


@pytest.mark.parametrize("clustered", [False, True])
def test_p_of_nothing_is_seldom_small(clustered):
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 3 if clustered else 1)
    small = []
    for _ in range(STUDIES):
        change = rng.choice([-1.0, 0.0, 1.0], 40, p=[0.15, 0.7, 0.15])[groups]
        small.append(Pair(change, groups).p() < 0.05)
    assert np.mean(small) <= surprise(0.05)[1]


def test_an_instance_with_most_of_the_items_is_one_instance():
    groups = np.repeat(np.arange(21), [100, *[5] * 20])
    small = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        tilt = 0.125 * rng.standard_normal(21)[groups]
        drawn = rng.random(len(groups))
        change = 1.0 * (drawn < 0.25 + tilt) - 1.0 * (drawn > 0.75 + tilt)
        small.append(Pair(change, groups).p() < 0.05)
    assert np.mean(small) < 0.1


def test_few_instances_that_change_can_not_be_significant():
    change = np.r_[np.full(3, 0.5), np.zeros(997)]
    assert Pair(change, np.arange(1000)).p() >= 0.25
    assert Pair(np.zeros(10), np.zeros(10, int)).p() == 1
    assert Pair(-np.ones(12) / 2, np.arange(12)).p() == pytest.approx(2.0**-11)


def verdicts(rng, lost, gained, benchmarks=10, n=500):
    """Verdicts of one model over benchmarks."""
    family = []
    for i, counts in enumerate(drawn(rng, n, lost, gained, benchmarks)):
        both = plain(*counts, n)
        base = (both.change_I < 0).astype(float)
        made = benchmark(f"b{i}", base=base, after=base + both.change_I)
        family.append(_change(made, "base", "after", 0.02))
    _judge(family, 0.02)
    return [c["verdict"] for c in family]


def test_over_benchmarks_nothing_is_seldom_called_a_change():
    rng = np.random.default_rng(2)
    wrong = [bool({"lost", "gained"} & set(verdicts(rng, 0.1, 0.1))) for _ in range(30)]
    assert np.mean(wrong) <= surprise(0.05, 30)[1]


def test_planted_changes_are_found_on_their_side():
    rng = np.random.default_rng(3)
    assert verdicts(rng, 0.2, 0.05).count("lost") >= 9
    assert verdicts(rng, 0.05, 0.2).count("gained") >= 9
    assert verdicts(rng, 0.0, 0.0) == ["no change"] * 10
    assert verdicts(rng, 0.1, 0.1, n=50).count("undecided") >= 9


def test_exchange_by_chance_is_what_answers_drawn_anew_exchange():
    rng = np.random.default_rng(4)
    before, after = (rng.random(600) < share for share in (0.7, 0.4))
    found = exchanged(before.astype(float), after.astype(float))
    a, b = before.mean(), after.mean()
    assert found["lost"] == (before & ~after).sum()
    assert found["chance_lost"] == pytest.approx(600 * a * (1 - b))
    assert found["chance_gained"] == pytest.approx(600 * (1 - a) * b)
    shares = rng.integers(0, 5, (2, 600)) / 4  # four samples of each item
    shuffled = [np.maximum(shares[0] - rng.permutation(shares[1]), 0).sum() for _ in range(300)]
    assert exchanged(*shares)["chance_lost"] == pytest.approx(np.mean(shuffled), rel=0.02)


def test_no_item_lost_is_said_as_zero():
    """Not as "-0", which the sum of no falls would be with its sign turned."""
    assert str(exchanged(np.zeros(3), np.ones(3))["lost"]) == "0.0"


def test_the_mean_of_benchmarks_weighs_them_alike_and_holds_the_truth():
    rng = np.random.default_rng(5)
    sizes, held = (40, 200, 1000), []
    for _ in range(STUDIES):
        parts = [plain(*drawn(rng, n, 0.12, 0.06, 1)[0], n).estimate(0.95) for n in sizes]
        e = over_all(parts)
        held.append(e.low <= -0.06 <= e.high)
    assert e.value == pytest.approx(np.mean([p.value for p in parts]))
    assert np.mean(held) >= surprise(0.94)[0]


def test_more_items_would_show_what_they_are_said_to():
    e = plain(12, 8, 100).estimate(0.95)
    n = 100 + more_items(e, 0.1)
    rng = np.random.default_rng(6)
    shown = [tango(*counts, n)[1] < 0 for counts in drawn(rng, n, 0.15, 0.05)]
    assert 0.7 < np.mean(shown) < 0.9
    assert more_items(e, 0.5) == 0


def candidates(rng, gain, n=300, count=8):
    """A base and models that exchange items with it; the first gains besides."""
    base = rng.random(n) < 0.5
    made = {"base": base}
    for i in range(count):
        up = 0.2 + 2 * (gain if i == 0 else 0)
        made[f"sft-{i}"] = np.where(base, rng.random(n) < 0.8, rng.random(n) < up)
    return benchmark(**made)


@pytest.mark.parametrize("gain", [0.0, 0.15])
def test_what_is_picked_is_worth_what_it_is_on_items_that_did_not_pick_it(gain):
    """Nulls and a planted best. On the items that pick it, the best of eight equal models looks
    two standard errors better than it is."""
    rng = np.random.default_rng(7)
    naive, fair, held = [], [], []
    for _ in range(120):
        b = candidates(rng, gain)
        picked = pick([b], list(b.correct)[1:])
        e = Pair(picked.correct(b) - b.correct["base"], b.instances_I).estimate(0.95)
        naive.append((b.correct[picked.best] - b.correct["base"]).mean())
        fair.append(e.value)
        held.append(e.low <= gain <= e.high)
    error = np.std(fair) / np.sqrt(120)
    assert abs(np.mean(fair) - gain) < 4 * error
    assert np.mean(held) >= surprise(0.92, 120)[0]
    if gain == 0:
        assert np.mean(naive) > 0.02


def test_a_gate_errs_seldom_at_its_limit_and_sees_what_is_far_from_it():
    rng = np.random.default_rng(8)

    def codes(lost, gained, n=1500):
        found = []
        for counts in drawn(rng, n, lost, gained, 300):
            both = plain(*counts, n)
            base = (both.change_I < 0).astype(float)
            made = [benchmark("gsm8k", base=base, after=base + both.change_I)]
            condition = gate.condition("gsm8k < -3", ["base", "after"], ["gsm8k"])
            found.append(gate.judge([condition], made, "base", 0.95)[0]["code"])
        return [np.mean(np.array(found) == code) for code in (0, 1, 2)]

    fine, worse, _ = codes(0.08, 0.05)  # at the limit
    assert max(fine, worse) <= surprise(0.025, 100)[1]
    assert codes(0.05, 0.05)[0] > 0.85
    assert codes(0.15, 0.02)[1] > 0.9


def test_mcnemar_is_the_librarys():
    lost = pd.Series(plain(3, 9, 50).change_I < 0)
    gained = pd.Series(plain(3, 9, 50).change_I > 0)
    assert plain(3, 9, 50).p() == stats.mcnemar(lost, gained) == pytest.approx(0.146, abs=1e-3)
