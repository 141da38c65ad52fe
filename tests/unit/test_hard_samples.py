"""RL on hard problems: pools that other seeds choose, planted harm and its null."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import hard_samples
from healscope.schema import check

SETTINGS = Statistics(resamples=500)
POOLS = {
    "grpo_medium": {"problems": [0.3, 0.7], "reward": "binary", "algorithm": "grpo"},
    "grpo_hard": {"problems": [0.0, 0.1], "reward": "binary", "algorithm": "grpo"},
    "grpo_leaky": {"problems": [0.0, 0.1], "reward": "value_only", "algorithm": "grpo"},
    "dr_hard": {"problems": [0.0, 0.1], "reward": "binary", "algorithm": "ppo", "spread": False},
    "grpo_none": {"problems": "unsolvable", "reward": "binary", "algorithm": "grpo"},
}
POOLS = {name: {"spread": True, **facts} for name, facts in POOLS.items()}
N = 160


def answers(checkpoint, right, rng, rule="id", pool="easy", solution=None):
    """Greedy answers as `read` returns them, each right with a chance `right`."""
    seeds = 3
    seed, problem = (a.ravel() for a in np.indices((seeds, N)))
    correct = rng.random(seeds * N) < right
    solutions = [solution or f"s{p}" for p in problem]
    return pd.DataFrame(
        {
            "track": "t", "seed": seed, "problem_id": [f"{rule}{pool}{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem], "draw": problem, "sample": 0,
            "half": np.array(["a", "b"])[problem % 2], "retried": True, "rule": rule,
            "checkpoint": checkpoint, "correct": correct, "pool": pool, "accuracy": 1.0 * correct,
            "solution": solutions, "one formula": 1.0 * (solution is not None),
            "no number line": 0.0,
        }
    )  # fmt: skip


def rows(hard, leaky, draw=0, medium=0.8, start=0.85):
    rng = np.random.default_rng(draw)
    parts = [answers("sft-9", start, rng), answers("sft-9", 0.4, rng, "ood", "ood")]
    for recipe, right in (
        ("grpo_medium", medium), ("grpo_hard", hard), ("grpo_leaky", leaky), ("dr_hard", hard),
    ):  # fmt: skip
        parts.append(answers(f"{recipe}-from-9", right, rng))
        parts.append(answers(f"{recipe}-from-9", 0.4, rng, "ood", "ood"))
    return pd.concat(parts, ignore_index=True)


def verdicts(found):
    return {c["claim"]: c["verdict"] for c in hard_samples.claims_of(found, POOLS, SETTINGS)}


def test_roles_are_read_from_the_recipes():
    assert hard_samples.arms(POOLS, POOLS) == {
        "medium": "grpo_medium", "hard": "grpo_hard", "hard leaky": "grpo_leaky",
        "hard without spread": "dr_hard",
    }  # fmt: skip


def test_planted_harm_is_found_where_it_is():
    said = verdicts(rows(hard=0.55, leaky=0.55))
    assert said["hard-samples-harm"] == "held"
    assert said["a-leaky-verifier-harms"] != "held"
    said = verdicts(rows(hard=0.8, leaky=0.5))
    assert said["hard-samples-harm"] != "held"
    assert said["a-leaky-verifier-harms"] == "held"


def test_arms_that_are_alike_are_seldom_told_apart():
    """Also where all of them lose what was easy: it was easy to the start alone."""
    said = [verdicts(rows(0.6, 0.6, draw, medium=0.6)) for draw in range(10)]
    for claim in said[0]:
        assert [v[claim] for v in said].count("held") <= 1, claim


def test_an_arm_that_gains_less_harms_nothing():
    said = verdicts(rows(hard=0.6, leaky=0.6, medium=0.95, start=0.5))
    assert said["hard-samples-harm"] != "held"


def test_pools_are_those_of_the_other_seeds():
    """A problem that one seed alone is always right on is no easy one to that seed."""
    sampled = pd.DataFrame(
        [
            ("t", seed, problem, sample, correct)
            for seed in range(3)
            for problem, right in {"known": (0, 1, 2), "lucky": (0,), "never": ()}.items()
            for sample in range(1, 9)
            for correct in [seed in right]
        ],
        columns=["track", "seed", "problem_id", "sample", "correct"],
    )
    found = hard_samples.pool_of(sampled).set_index(["seed", "problem_id"])["pool"]
    assert [found[s, "known"] for s in range(3)] == ["easy"] * 3
    assert [found[s, "never"] for s in range(3)] == ["hard"] * 3
    assert [found[s, "lucky"] for s in range(3)] == ["hard", "medium", "medium"]
    alone = hard_samples.pool_of(sampled[sampled["seed"] == 0]).set_index("problem_id")["pool"]
    assert alone["lucky"] == "easy"


def test_the_table_has_all_measures_and_pools(monkeypatch):
    found = rows(0.55, 0.55)
    one = found["checkpoint"] == "grpo_leaky-from-9"
    found.loc[one, "one formula"] = 1.0
    monkeypatch.setattr(hard_samples, "read", lambda *_: found)
    table = hard_samples.measure([], [], {}, POOLS, SETTINGS)
    check(table, hard_samples.SCHEMA)
    assert set(table["measure"]) == set(hard_samples.MEASURES)
    whole = table[table["seed"] == "all"].set_index(["recipe", "pool", "measure"])["change"]
    assert whole["grpo_hard", "easy", "accuracy"] == pytest.approx(-0.3, abs=0.08)
    assert whole["grpo_leaky", "easy", "one formula"] == 1.0
    assert "pass rate 0 to 10%" in hard_samples.section(table)
