"""Estimates, intervals and tests against planted truths, published numbers and brute force."""

from math import comb

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, t

from healscope import stats, verdicts
from healscope.config import Statistics

SETTINGS = Statistics(resamples=1000)
PURE = Statistics(resamples=1000, seed_sd=None)


def answers(right_SDO: np.ndarray) -> pd.DataFrame:
    """One row for each card order of each deal in each seed."""
    seeds, deals, orders = np.indices(right_SDO.shape).reshape(3, -1)
    return pd.DataFrame(
        {
            "seed": seeds,
            "instance_id": [f"deal-{d}" for d in deals],
            "problem_id": [f"deal-{d}.{o}" for d, o in zip(deals, orders, strict=True)],
            "half": np.where(deals % 2, "b", "a"),
            "draw": 0,
            "retried": False,
            "sample": 0,
            "correct": right_SDO.ravel().astype(float),
        }
    )


def clustered(rng, seeds=1, deals=80, orders=4, spread=0.0) -> pd.DataFrame:
    """A chance for each deal (so its orders agree, in all seeds), and a shift for each seed."""
    chances = rng.beta(1, 1, (1, deals, 1)) + rng.normal(0, spread, (seeds, 1, 1))
    return answers(rng.random((seeds, deals, orders)) < chances)


def width(estimate: stats.Estimate) -> float:
    return estimate.high - estimate.low


def test_value_is_the_mean_of_seeds_and_not_of_rows():
    frame = answers(np.array([[[1, 1], [1, 0]], [[0, 0], [0, 1]]]))
    unbalanced = frame.drop(frame.index[-1])  # seed 1 answers three problems, none right
    e = stats.bootstrap(unbalanced, "correct", SETTINGS)
    assert e.by_seed == {"0": 0.75, "1": 0.0}
    assert e.value == 0.375
    assert e.instances == 2


def test_interval_narrows_with_deals_and_holds_the_value():
    rng = np.random.default_rng(0)
    few, many = (stats.bootstrap(clustered(rng, deals=d), "correct", SETTINGS) for d in (100, 1600))
    assert width(few) / width(many) == pytest.approx(4, rel=0.25)
    for e in (few, many):
        assert e.low < e.value < e.high
    assert many.low < 0.5 < many.high


def test_one_seed_has_the_standard_error_of_clustered_deals():
    frame = clustered(np.random.default_rng(1), deals=200)
    shares = frame.groupby("instance_id")["correct"].mean()
    error = shares.std() / np.sqrt(len(shares))
    e = stats.bootstrap(frame, "correct", Statistics(resamples=8000))
    assert width(e) / 2 == pytest.approx(1.96 * error, rel=0.03)
    alone = stats.bootstrap(frame.assign(instance_id=range(len(frame))), "correct", SETTINGS)
    assert width(e) > 1.2 * width(alone)  # orders of a deal are not independent


def test_a_single_seed_says_nothing_of_others():
    e = stats.bootstrap(clustered(np.random.default_rng(2)), "correct", SETTINGS)
    assert e.sources is None


def test_identical_seeds_are_one_seed():
    one = clustered(np.random.default_rng(3))
    same = pd.concat([one.assign(seed=s) for s in range(3)])
    e, alone = (stats.bootstrap(f, "correct", PURE) for f in (same, one))
    assert e.sources.seeds == 0
    assert (e.low, e.high) == pytest.approx((alone.low, alone.high))
    # that they happen to be alike does not show that others would be
    guessed = stats.bootstrap(same, "correct", SETTINGS)
    assert guessed.sources.seeds == 0
    assert width(guessed) > width(e)


def shares(*right_S: int) -> pd.DataFrame:
    """Seeds that get as many of ten orders right in every deal: no luck with the deals."""
    right_SO = np.arange(10) < np.array(right_S)[:, None]
    return answers(np.repeat(right_SO[:, None], 30, axis=1))


@pytest.mark.parametrize(("right", "freedom"), [((4, 5), 2), ((4, 5, 6), 3)])
def test_guess_counts_as_one_more_seed(right, freedom):
    """Without luck of deals the interval is that of Student's t, of the pooled variance."""
    seeds = len(right)
    accuracy = np.mean(right) / 10
    guess = 0.2**2 * accuracy * (1 - accuracy)  # in standard deviations of one answer
    pooled = ((seeds - 1) * np.var(right, ddof=1) / 100 + guess) / seeds
    settings = Statistics(resamples=20_000, seed_sd=0.2)
    e = stats.bootstrap(shares(*right), "correct", settings)
    expected = t.ppf(0.975, freedom) * np.sqrt(pooled / seeds)
    assert width(e) / 2 == pytest.approx(expected, rel=0.04)
    assert e.sources.seeds == pytest.approx(np.std(right, ddof=1) / 10)  # measured, not guessed


def test_without_guess_two_seeds_leave_everything_open():
    e = stats.bootstrap(shares(4, 5), "correct", PURE)
    assert (e.low, e.high) == (0, 1)
    three = stats.bootstrap(
        shares(4, 5, 6), "correct", PURE.model_copy(update={"resamples": 20_000})
    )
    assert width(three) / 2 == pytest.approx(t.ppf(0.975, 2) * 0.1 / np.sqrt(3), rel=0.04)


def test_guess_matters_less_the_more_seeds_there_are():
    frame = clustered(np.random.default_rng(18), 12, spread=0.1)
    wide, narrow = (
        width(stats.bootstrap(frame, "correct", Statistics(seed_sd=sd))) for sd in (0.1, 0.04)
    )
    assert wide == pytest.approx(narrow, rel=0.05)


def test_limits_are_what_each_seed_shows_alone():
    frame = clustered(np.random.default_rng(15), 3, spread=0.2)
    frame["w"] = np.random.default_rng(16).integers(0, 3, len(frame))
    frame["all"] = 1.0
    for weights in ({}, {"weight": "w"}, {"weight": "w", "minus": "all"}):
        e = stats.bootstrap(frame, "correct", SETTINGS, **weights)
        assert e.limits.keys() == e.by_seed.keys()
        for seed, rows in frame.groupby("seed"):
            alone = stats.bootstrap(rows, "correct", SETTINGS, **weights)
            assert e.limits[str(seed)] == pytest.approx((alone.low, alone.high))
            assert alone.limits == {str(seed): (alone.low, alone.high)}
    # however unlike the seeds are, of itself each says what it did
    near = clustered(np.random.default_rng(19), 3)
    moved = near.assign(correct=near["correct"].where(near["seed"] < 2, 0.0))
    apart, near = (stats.bootstrap(f, "correct", SETTINGS) for f in (moved, near))
    assert width(apart) > 3 * width(near)
    assert apart.limits["0"] == near.limits["0"]


def test_a_seed_with_one_answer_says_as_little_beside_others():
    whole = clustered(np.random.default_rng(5), 1)
    one = whole.head(1).assign(seed=1)
    e = stats.bootstrap(pd.concat([whole, one]), "correct", SETTINGS)
    alone = stats.bootstrap(one, "correct", SETTINGS)
    assert e.limits["1"] == pytest.approx((alone.low, alone.high))
    assert e.limits["1"][1] - e.limits["1"][0] > 0.9


@pytest.mark.parametrize(("freedom", "chance"), [(9, 1e-4), (4, 1e-4), (1000, 1e-3)])
def test_a_p_may_be_smaller_than_one_over_the_draws(freedom, chance):
    """Of draws from a known distribution the tail is found, and not far too small a one."""
    rng, limit = np.random.default_rng(0), t.isf(chance, freedom)
    found = [stats._tail(t.rvs(freedom, size=2000, random_state=rng), limit) for _ in range(40)]
    assert chance / 3 < np.median(found) < 4 * chance
    assert min(found) >= 1 / 20 / 2001
    assert stats._tail(np.zeros(2000), 1.0) == 1 / 2001  # what never varies has no tail


def test_a_large_effect_is_seen_among_many_claims_of_nothing():
    large = clustered(np.random.default_rng(1), 10, 100).assign(change=0.6)
    e = stats.bootstrap(
        large.assign(change=large["change"] + large["correct"] / 10), "change", SETTINGS
    )
    rows = [
        {"claim": "large", "verdict": "held", "p": verdicts.positive(e).p, "weaker": "undecided"}
    ]
    rows += [{"claim": f"c{i}", "verdict": "undecided", "p": 1.0, "weaker": "undecided"}
             for i in range(200)]  # fmt: skip
    judged = verdicts.corrected(pd.DataFrame(rows), [], 0.95)
    assert judged["verdict"][0] == "held"


def test_two_seeds_that_seem_alike_still_leave_others_open():
    """Each is right on other deals: luck that hides a difference as well as it makes one."""
    right = np.zeros((2, 80, 1))
    right[0, :40], right[1, 20:62] = 1, 1
    frame = answers(right)
    e = stats.bootstrap(frame, "correct", SETTINGS)
    assert e.by_seed == {"0": 0.5, "1": 0.525}
    assert e.sources.seeds == 0
    assert width(e) > 1.8 * width(stats.bootstrap(frame.assign(seed=0), "correct", SETTINGS))


def test_nothing_measured_is_no_number():
    e = stats.bootstrap(clustered(np.random.default_rng(17)).head(0), "correct", SETTINGS)
    assert np.isnan([e.value, e.low, e.high]).all()
    assert (e.by_seed, e.limits, e.sources) == ({}, {}, None)


def test_between_seeds_finds_the_planted_spread():
    rng = np.random.default_rng(4)
    planted = [
        stats.bootstrap(clustered(rng, 5, 100, spread=0.1), "correct", SETTINGS).sources.seeds
        for _ in range(100)
    ]
    nothing = [
        stats.bootstrap(clustered(rng, 5, 100), "correct", SETTINGS).sources.seeds
        for _ in range(100)
    ]
    # Chances end at 0 and 1, where a shift is lost: the planted 0.1 shows a little smaller.
    assert np.sqrt(np.mean(np.square(planted))) == pytest.approx(0.1, abs=0.015)
    assert np.sqrt(np.mean(np.square(nothing))) < 0.02


def test_seeds_that_differ_widen_the_interval():
    frame = clustered(np.random.default_rng(5), 3, spread=0.2)
    e = stats.bootstrap(frame, "correct", SETTINGS)
    one = stats.bootstrap(frame.assign(seed=0), "correct", SETTINGS)
    assert width(e) > 1.5 * width(one)
    assert e.low >= 0
    assert e.high <= 1


def test_same_settings_same_interval():
    frame = clustered(np.random.default_rng(6), 2, 30, spread=0.2)
    first, again = (stats.bootstrap(frame, "correct", SETTINGS) for _ in range(2))
    assert first == again
    other = stats.bootstrap(frame, "correct", Statistics(resamples=1000, seed=1))
    assert (first.low, first.high) != (other.low, other.high)


def test_confidence_is_that_of_the_settings():
    frame = clustered(np.random.default_rng(7))
    wide = stats.bootstrap(frame, "correct", Statistics(resamples=4000, confidence=0.95))
    narrow = stats.bootstrap(frame, "correct", Statistics(resamples=4000, confidence=0.68))
    assert width(wide) / width(narrow) == pytest.approx(1.96, rel=0.1)
    assert narrow.confidence == 0.68


def test_weights_make_a_ratio():
    frame = clustered(np.random.default_rng(8), 2)
    frame["w"] = np.random.default_rng(9).integers(0, 4, len(frame))
    e = stats.bootstrap(frame, "correct", SETTINGS, weight="w")
    for seed, rows in frame.groupby("seed"):
        expected = np.average(rows["correct"], weights=rows["w"])
        assert e.by_seed[str(seed)] == pytest.approx(expected)
    repeated = frame.loc[frame.index.repeat(frame["w"])]
    same = stats.bootstrap(repeated, "correct", SETTINGS)
    assert (e.low, e.high) == pytest.approx((same.low, same.high))


def test_redraws_that_miss_all_weighted_deals_are_not_taken_for_zero():
    frame = answers(np.ones((1, 100, 1))).assign(w=[1.0] * 3 + [0.0] * 97)
    e = stats.bootstrap(frame, "correct", SETTINGS, weight="w")
    assert e.instances == 3  # the others are not asked about
    assert (e.low, e.high) == (pytest.approx(0.025 ** (1 / 3)), 1)


def test_minus_takes_the_other_mean_away_on_the_same_deals():
    rng = np.random.default_rng(10)
    frame = clustered(rng, deals=200)
    hard = frame["instance_id"].str.removeprefix("deal-").astype(int) % 3 > 0
    frame["all"], frame["some"] = 1.0, hard.astype(float)
    overlapping = stats.bootstrap(frame, "correct", SETTINGS, weight="all", minus="some")
    expected = frame["correct"].mean() - frame.loc[hard, "correct"].mean()
    assert overlapping.value == pytest.approx(expected)
    assert overlapping.low < overlapping.value < overlapping.high
    # Two sets of deals that share none, as large as these, leave much more to chance.
    other = clustered(rng, deals=200).assign(all=0.0, some=hard.astype(float))
    other["instance_id"] = "other-" + other["instance_id"]
    both = pd.concat([frame.assign(some=0.0), other])
    independent = stats.bootstrap(both, "correct", SETTINGS, weight="all", minus="some")
    assert width(overlapping) < 0.6 * width(independent)
    nothing = stats.bootstrap(frame, "correct", SETTINGS, weight="all", minus="all")
    assert nothing.value == 0
    assert (nothing.low, nothing.high) == pytest.approx((-reach(200), reach(200)))


def reach(deals: int, tail: float = 0.025) -> float:
    """The greatest chance of an exception that leaves `deals` without one in a share `tail`."""
    return 1 - tail ** (1 / deals)


@pytest.mark.parametrize(("deals", "seeds"), [(111, 1), (111, 3), (5, 1), (5, 3)])
def test_what_never_varies_still_leaves_exceptions_open(deals, seeds):
    right = answers(np.ones((seeds, deals, 4)))
    e = stats.bootstrap(right, "correct", SETTINGS)
    exact = binomtest(deals, deals).proportion_ci(0.95, "exact")
    assert (e.low, e.high) == (pytest.approx(exact.low), 1)
    still = right.assign(change=0.0)
    e = stats.bootstrap(still, "change", SETTINGS)
    assert (e.low, e.high) == pytest.approx((-reach(deals), reach(deals)))
    for low, high in e.limits.values():
        assert (low, high) == pytest.approx((e.low, e.high))
    enough = {1: verdicts.HERE, 3: verdicts.HELD}[seeds]
    assert verdicts.negligible(e, 0.05) == (enough if deals > 100 else verdicts.OPEN)
    assert verdicts.positive(e, 0.05) == (
        {1: verdicts.NOT_HERE, 3: verdicts.FAILED}[seeds] if deals > 100 else verdicts.OPEN
    )
    assert verdicts.negligible(e) == verdicts.OPEN  # 2 points are less than 111 instances show


def test_least_width_is_about_three_points_on_111_deals():
    still = answers(np.zeros((2, 111, 1))).assign(change=0.0)
    wide = stats.bootstrap(still, "change", SETTINGS)
    assert wide.high == pytest.approx(0.033, abs=0.0005)
    narrow = stats.bootstrap(still, "change", Statistics(resamples=1000, confidence=0.68))
    assert narrow.high == pytest.approx(reach(111, 0.16))


def test_least_width_is_seldom_what_decides():
    """Where answers vary, so do resamples."""
    e = stats.bootstrap(clustered(np.random.default_rng(20), deals=111), "correct", SETTINGS)
    assert width(e) > 3 * reach(111)


def test_bounds_are_those_of_shares_and_of_changes():
    few = answers(np.array([[[0]], [[1]]])).assign(all=1.0, none=0.0)
    assert bounds(stats.bootstrap(few, "correct", PURE)) == (0, 1)
    change = few.assign(change=few["correct"])
    assert bounds(stats.bootstrap(change, "change", PURE)) == (-1, 1)
    taken = stats.bootstrap(few, "correct", PURE, weight="all", minus="all")
    assert bounds(taken) == pytest.approx((-reach(1), reach(1)))


def bounds(e: stats.Estimate) -> tuple[float, float]:
    return e.low, e.high


def test_paired_change_matches_problems():
    before = answers(np.array([[[1], [0]]]))
    after = answers(np.array([[[1], [1]]])).iloc[::-1]
    change = stats.paired(before, after)
    assert {"seed", "instance_id", "half", "change"} <= set(change.columns)
    assert dict(zip(change["instance_id"], change["change"], strict=True)) == {
        "deal-0": 0.0,
        "deal-1": 1.0,
    }


def test_paired_tells_repeated_problems_apart_by_draw():
    """Hands drawn with replacement repeat problems."""
    before = answers(np.array([[[0, 1, 0]]])).assign(problem_id="twice", draw=[0, 1, 2])
    after = answers(np.array([[[1, 0, 0]]])).assign(problem_id="twice", draw=[0, 1, 2])
    change = stats.paired(before, after.iloc[[2, 0, 1]])
    assert change["change"].tolist() == [1.0, -1.0, 0.0]
    with pytest.raises(pd.errors.MergeError):
        stats.paired(before.assign(draw=0), after.assign(draw=0))


def test_paired_drops_what_only_one_side_answered():
    before = answers(np.array([[[1], [0]], [[1], [1]]]))
    after = before[before["seed"] == 0].iloc[:1]
    assert len(stats.paired(before, after)) == 1


def test_pairing_narrows_the_interval():
    """What makes a deal hard does so before and after."""
    before = clustered(np.random.default_rng(11), deals=200, orders=1)
    flipped = np.random.default_rng(12).random(len(before)) < 0.1
    after = before.assign(correct=np.where(flipped, 1.0, before["correct"]))
    change = stats.bootstrap(stats.paired(before, after), "change", SETTINGS)
    assert change.value == pytest.approx(after["correct"].mean() - before["correct"].mean())
    assert width(change) < 0.7 * width(stats.bootstrap(before, "correct", SETTINGS))


def test_detectable_effects_are_shown_in_four_of_five_studies():
    rng = np.random.default_rng(13)
    deals, moved = 111, 0.4  # the share of deals whose answer changes, in either direction
    effect = 0.16
    sizes, shown = [], []
    for _ in range(800):
        up, down = (moved + effect) / 2, (moved - effect) / 2
        change = rng.choice([1.0, -1.0, 0.0], deals, p=[up, down, 1 - moved])
        frame = pd.DataFrame({"seed": 0, "instance_id": range(deals), "change": change})
        e = stats.bootstrap(frame, "change", SETTINGS)
        sizes.append(e.detectable)
        shown.append(e.low > 0)
    assert np.mean(sizes) == pytest.approx(effect, rel=0.03)
    assert np.mean(shown) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"), [(41, 234, 0.132, 0.229), (16, 234, 0.043, 0.108)]
)
def test_wilson_against_published_intervals(correct, n, low, high):
    assert stats.wilson(correct, n) == pytest.approx((low, high), abs=5e-4)


def test_wilson_against_its_equation():
    z, n, p = 1.959964, 20, 0.3
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert stats.wilson(6, 20) == pytest.approx((middle - reach, middle + reach), abs=1e-6)
    assert stats.wilson(0, 20)[0] == 0
    assert stats.wilson(20, 20)[1] == 1


def turned(better: int, worse: int, same: int = 5) -> tuple[pd.Series, pd.Series]:
    before = [False] * better + [True] * worse + [True, False] * same
    after = [True] * better + [False] * worse + [True, False] * same
    return pd.Series(before), pd.Series(after)


def test_mcnemar_by_hand():
    # 1 of 6 changes is for the worse: (1 + 6) / 64 in each tail.
    assert stats.mcnemar(*turned(5, 1)) == pytest.approx(14 / 64)
    assert stats.mcnemar(*turned(0, 0)) == 1


@pytest.mark.parametrize(("better", "worse"), [(12, 3), (3, 12), (7, 7), (1, 0), (40, 22)])
def test_mcnemar_is_a_binomial_test_of_changes(better, worse):
    n, fewer = better + worse, min(better, worse)
    tail = sum(comb(n, k) for k in range(fewer + 1)) / 2**n
    assert stats.mcnemar(*turned(better, worse)) == pytest.approx(min(1, 2 * tail))


def test_seeds_and_halves_are_reported_at_what_others_pick():
    """Each seed and half likes a candidate of its own: only one that others like is picked."""
    likes = {(0, "a"): "p", (0, "b"): "q", (1, "a"): "r", (1, "b"): "s", (2, "a"): "r",
             (2, "b"): "s"}  # fmt: skip
    asked = []

    def score(name, seeds, half):
        asked.append((tuple(seeds), half))
        return sum(likes[seed, half] == name for seed in seeds)

    picked = stats.picked_elsewhere(score, list("pqrs"), [0, 1, 2])
    assert picked == {
        0: {"a": "s", "b": "r"},
        1: {"a": "q", "b": "p"},  # seeds 0 and 2 like one each: the first is picked
        2: {"a": "q", "b": "p"},
    }
    assert set(asked) == {(s, h) for s in [(1, 2), (0, 2), (0, 1)] for h in "ab"}


def test_a_single_seed_is_picked_for_by_its_other_half():
    scores = {("x", "a"): 0.9, ("y", "a"): 0.1, ("x", "b"): 0.3, ("y", "b"): 0.4}
    picked = stats.picked_elsewhere(lambda c, seeds, half: scores[c, half], ["x", "y"], [7])
    assert picked == {7: {"a": "y", "b": "x"}}
    level = stats.picked_elsewhere(lambda c, seeds, half: 0.5, ["first", "second"], [7])
    assert level == {7: {"a": "first", "b": "first"}}


def test_picking_the_best_flatters_it_but_not_where_others_pick():
    """Nine checkpoints that chance alone tells apart, in training and in the instances asked."""
    rng = np.random.default_rng(14)
    true, luck, deals, seeds = 0.4, 0.05, 112, (0, 1, 2)
    checkpoints = list(range(9))
    own, halves, elsewhere = [], [], []
    for _ in range(300):
        chance_SC = true + luck * rng.standard_normal((len(seeds), len(checkpoints)))
        share_SCH = rng.binomial(deals // 2, chance_SC[..., None].repeat(2, 2)) / (deals // 2)

        def score(c, known, half, share_SCH=share_SCH):
            return share_SCH[known, c, "ab".index(half)].mean()

        def reported(picked, share_SCH=share_SCH):
            found = [share_SCH[s, c, "ab".index(h)] for s in picked for h, c in picked[s].items()]
            return np.mean(found)

        own.append(share_SCH.mean(2).max(1).mean())
        crossed = {s: stats.picked_elsewhere(score, checkpoints, [s])[s] for s in seeds}
        halves.append(reported(crossed))
        elsewhere.append(reported(stats.picked_elsewhere(score, checkpoints, seeds)))
    assert np.mean(own) - true > 0.08
    assert np.mean(halves) - true > 0.03  # luck in training still flatters
    assert np.mean(elsewhere) == pytest.approx(true, abs=0.006)


def test_rows_are_taken_from_what_was_picked_for_them():
    frames = {
        name: pd.DataFrame({"seed": [0, 0, 1, 1], "half": list("abab"), "value": value})
        for name, value in (("x", [1.0, 2, 3, 4]), ("y", [10.0, 20, 30, 40]))
    }
    chosen = {0: {"a": "x", "b": "y"}, 1: {"a": "y", "b": "x"}}
    assert sorted(stats.at_picked(frames, chosen)["value"]) == [1, 4, 20, 30]
    assert stats.of_part(frames["x"], [1], "b")["value"].tolist() == [4]
    assert stats.mean_of_seeds(frames["x"].head(3), "value") == (1.5 + 3) / 2  # not of rows
    assert stats.mean_of_seeds(frames["x"].head(0), "value") == -np.inf


def test_deals_of_one_instance_are_one_unit():
    """Three deals that one rule cannot tell apart are one question asked three times."""
    chance = np.random.default_rng(21).random((1, 60, 1)) < 0.5
    frame = answers(np.repeat(chance, 3, axis=2))
    e = stats.bootstrap(frame, "correct", SETTINGS)
    once = stats.bootstrap(answers(chance), "correct", SETTINGS)
    assert e.instances == 60
    assert (e.low, e.high) == pytest.approx((once.low, once.high))
    as_deals = stats.bootstrap(frame.assign(instance_id=frame["problem_id"]), "correct", SETTINGS)
    assert as_deals.instances == 180
    assert width(e) > 1.6 * width(as_deals)  # the root of 3


@pytest.mark.parametrize("limit_at", [0.1, 0.3, 0.7, 1.2])
@pytest.mark.parametrize("seeds", [1, 3])
def test_p_is_where_an_interval_touches_the_limit(seeds, limit_at):
    settings = Statistics(resamples=20_000)
    frame = clustered(np.random.default_rng(22), seeds).assign(change=lambda f: f["correct"] - 0.5)
    e = stats.bootstrap(frame, "change", settings)
    for limit, p, end in (
        (e.value - limit_at * (e.value - e.low), e.p_above, "low"),
        (e.value + limit_at * (e.high - e.value), e.p_below, "high"),
    ):
        again = settings.model_copy(update={"confidence": 1 - 2 * p(limit)})
        touches = getattr(stats.bootstrap(frame, "change", again), end)
        assert touches == pytest.approx(limit, abs=1 / 300)  # shares of 320 answers
        assert (p(limit) < 0.025) == (limit_at > 1)


def test_p_of_what_never_varies_is_that_of_no_exception():
    still = answers(np.zeros((3, 111, 2))).assign(change=0.0)
    e = stats.bootstrap(still, "change", SETTINGS)
    assert e.p_above(-reach(111, 0.01)) == e.p_below(reach(111, 0.01)) == pytest.approx(0.01)
    assert e.p_above(0.0) == e.p_below(0.0) == 1
    nothing = stats.bootstrap(still.head(0), "change", SETTINGS)
    assert np.isnan([nothing.p_above(0), nothing.p_below(0)]).all()


def test_luck_with_instances_is_not_taken_for_a_difference_of_seeds():
    """Seeds that get independent instances right vary by that alone: no true spread is left."""
    rng = np.random.default_rng(23)
    frames = [answers(rng.random((4, 100, 1)) < 0.5) for _ in range(60)]
    pure = Statistics(resamples=200, seed_sd=None)
    found = [stats.bootstrap(frame, "correct", pure) for frame in frames]
    between = [e.sources.seeds for e in found]
    spread = [np.std(list(e.by_seed.values()), ddof=1) for e in found]
    assert np.sqrt(np.mean(np.square(spread))) == pytest.approx(0.05, abs=0.007)
    assert np.mean(np.equal(between, 0)) > 0.4
    assert np.sqrt(np.mean(np.square(between))) < 0.035


def kinds(*right_S: int) -> stats.Estimate:
    """Seeds that get so many of ten orders right in every instance."""
    return stats.bootstrap(shares(*right_S), "correct", SETTINGS)


def test_a_seed_unlike_the_others_is_named():
    assert kinds(8, 8, 0).outliers == ("2",)
    assert kinds(8, 1, 8, 7).outliers == ("1",)
    assert kinds(8, 8, 7).outliers == ()
    assert kinds(2, 5, 8).outliers == ()  # all unlike each other
    assert kinds(8, 0).outliers == ()  # which of two is odd?
    assert kinds(8).outliers == ()
