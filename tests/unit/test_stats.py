"""Intervals cover what they claim to, and follow their equations."""

import numpy as np
import pandas as pd

from healscope import stats
from healscope.config import Statistics

SETTINGS = Statistics(resamples=500)


def world(rng, seeds, deals, orders=4, between_seeds=0.0):
    """Correctness with a chance per deal (so orders of a deal agree) and a shift per seed."""
    rows = []
    for seed in range(seeds):
        shift = rng.normal(0, between_seeds)
        for deal in range(deals):
            chance = np.clip(rng.beta(1, 1) + shift, 0, 1)
            rows += [
                {"seed": seed, "deal_id": deal, "problem_id": f"{deal}.{o}", "sample": 0,
                 "correct": float(rng.random() < chance)}
                for o in range(orders)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_coverage_with_clustered_deals():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        e = stats.bootstrap(world(rng, 1, 60), "correct", SETTINGS)
        hits += e.low <= 0.5 <= e.high
    assert 0.90 <= hits / 200 <= 0.99


def test_coverage_with_two_seeds_on_the_same_deals():
    """Deals are crossed with seeds: a hard deal is hard in both."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        chances = rng.beta(1, 1, 60)
        rows = [
            {"seed": s, "deal_id": d, "correct": float(rng.random() < chances[d])}
            for s in (0, 1) for d in range(60) for _ in range(4)
        ]  # fmt: skip
        e = stats.bootstrap(pd.DataFrame(rows), "correct", SETTINGS)
        hits += e.low <= 0.5 <= e.high
    assert hits / 200 >= 0.90


def test_ignoring_clusters_would_be_too_narrow():
    """The interval is wider than one that takes the orders of a deal for independent."""
    frame = world(np.random.default_rng(1), 1, 80)
    alone = frame.assign(deal_id=range(len(frame)))
    e, naive = (stats.bootstrap(f, "correct", SETTINGS) for f in (frame, alone))
    assert e.high - e.low > 1.2 * (naive.high - naive.low)


def test_seeds_widen_the_interval():
    frame = world(np.random.default_rng(2), 3, 80, between_seeds=0.2)
    pooled = frame.assign(seed=0)
    e, one = (stats.bootstrap(f, "correct", SETTINGS) for f in (frame, pooled))
    assert e.high - e.low > 1.5 * (one.high - one.low)
    assert np.isclose(e.value, np.mean(list(e.by_seed.values())))


def test_paired_change_matches_problems():
    before = pd.DataFrame(
        {"seed": 0, "problem_id": ["a", "b"], "sample": 0, "deal_id": ["x", "y"],
         "correct": [True, False]}
    )  # fmt: skip
    after = before.iloc[::-1].assign(correct=[True, True])
    change = stats.paired(before, after)
    assert dict(zip(change["deal_id"], change["change"], strict=True)) == {"x": 0.0, "y": 1.0}


def test_same_seed_same_interval():
    frame = world(np.random.default_rng(3), 2, 30)
    assert stats.bootstrap(frame, "correct", SETTINGS) == stats.bootstrap(
        frame, "correct", SETTINGS
    )
