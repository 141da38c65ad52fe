"""Calibration by agreement: Murphy's identity, planted policies, votes that pick themselves."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import calibration
from healscope.schema import check

SETTINGS = Statistics(resamples=500)
N, SAMPLES = 160, 32


def answers(checkpoint, right, seeds=3, draw=0, wrong_names=40):
    """Samples to N problems: each right with its problem's chance, else one of many wrong names."""
    rng = np.random.default_rng([draw, len(checkpoint)])
    chance = np.resize(np.asarray(right, float), N)
    size = (seeds, N, SAMPLES)
    correct = rng.random(size) < chance[None, :, None]
    names = rng.integers(wrong_names, size=size)
    seed, problem, sample = (a.ravel() for a in np.indices(size))
    solution = [
        "right" if c else f"w{n}" for c, n in zip(correct.ravel(), names.ravel(), strict=True)
    ]
    return pd.DataFrame(
        {
            "track": "t", "seed": seed, "checkpoint": checkpoint, "rule": "id", "draw": problem,
            "problem_id": [f"p{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem],
            "half": np.array(["a", "b"])[problem // 2 % 2], "sample": sample + 1,
            "correct": correct.ravel(), "solution": solution,
        }
    )  # fmt: skip


def test_the_brier_score_is_exactly_its_three_parts():
    rng = np.random.default_rng(0)
    confidence, right = rng.integers(0, 11, 500) / 10, (rng.random(500) < 0.3).astype(float)
    parts = calibration.murphy(confidence, right)
    brier = ((confidence - right) ** 2).mean()
    whole = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    assert whole == pytest.approx(brier, abs=1e-12)
    flat = calibration.murphy(np.full(500, right.mean()), right)
    assert flat["reliability"] == pytest.approx(0.0, abs=1e-12)
    assert flat["resolution"] == pytest.approx(0.0, abs=1e-12)


def test_confidence_is_that_of_samples_that_did_not_pick_the_answer():
    """Where samples are guesses, the picked ones agree with themselves, not with others."""
    rows = answers("sft-9", 0.0, wrong_names=8)
    found = calibration.votes(rows)
    assert not found["correct"].any()
    assert found["confidence"].mean() == pytest.approx(1 / 8, abs=0.01)
    same = rows[rows["sample"] <= SAMPLES // 2]
    own = same.groupby(["seed", "problem_id"])["solution"].agg(
        lambda s: s.value_counts(normalize=True).iloc[0]
    )
    assert own.mean() > 0.2  # what picking alone gives


def test_two_kinds_of_problems_have_their_confidences():
    found = calibration.scored(calibration.votes(answers("sft-9", [0.8, 0.2], wrong_names=1)))
    levels = found.groupby(found["draw"] % 2)["confidence"].mean()
    assert levels.tolist() == pytest.approx(
        [0.8, 0.8], abs=0.02
    )  # the second is sure of a wrong one
    assert found["correct"].mean() == pytest.approx(0.5, abs=0.02)
    assert (found["constant"] - 0.25).abs().max() < 0.02
    assert found["recalibrated"].mean() > 0.2  # equal confidences tell nothing apart


def test_answers_without_a_solution_agree_with_nothing():
    rows = answers("sft-9", 0.0).assign(solution=None)
    found = calibration.votes(rows)
    assert (found["confidence"] == 0).all()
    assert not found["correct"].any()


def claims(before, after, draw=0):
    rows = pd.concat(
        [answers("sft-9", **before, draw=draw), answers("ppo-from-9", **after, draw=draw)]
    )
    found = calibration.scored(calibration.votes(rows))
    made = calibration.claims_of(found, "sft-9", "ppo-from-9", SETTINGS)
    return {c["claim"]: c for c in made}


def test_a_collapse_onto_wrong_answers_is_overconfidence():
    """Half of the problems become sure and wrong."""
    found = claims({"right": [0.6, 0.3]}, {"right": [1.0, 0.0], "wrong_names": 1})
    assert found["rl-makes-samples-agree-too-much"]["verdict"] == "held"
    assert found["rl-worsens-the-brier-score"]["verdict"] == "held"


def test_where_hardly_any_answer_is_right_confidence_decides_nothing():
    found = claims({"right": 0.005}, {"right": 0.0, "wrong_names": 1})
    assert found["rl-makes-samples-agree-too-much"]["effect"] > 0.5
    assert found["rl-makes-samples-agree-too-much"]["verdict"] == "undecided"


def test_being_surer_and_right_is_none():
    found = claims({"right": 0.5}, {"right": 1.0})
    assert found["rl-makes-samples-agree-too-much"]["verdict"] != "held"
    assert found["rl-worsens-the-brier-score"]["effect"] < 0


def test_no_change_is_seldom_seen():
    said = [claims({"right": [0.7, 0.2]}, {"right": [0.7, 0.2]}, draw) for draw in range(8)]
    for claim in ("rl-makes-samples-agree-too-much", "rl-worsens-the-brier-score"):
        assert [c[claim]["verdict"] for c in said].count("held") <= 1


def test_the_table_has_all_measures(monkeypatch):
    rows = pd.concat([answers("sft-9", [0.7, 0.2]), answers("ppo-from-9", [0.9, 0.1])])
    monkeypatch.setattr(calibration, "read", lambda *_: rows)
    table = calibration.measure([], [], {}, SETTINGS)
    check(table, calibration.SCHEMA)
    assert set(table["measure"]) == set(calibration.MEASURES)
    one = table[(table["checkpoint"] == "sft-9") & (table["seed"] == "0")]
    one = one.set_index("measure")["value"]
    whole = one["reliability"] - one["resolution"] + one["uncertainty"]
    assert whole == pytest.approx(one["brier"], abs=1e-12)
    assert "ppo-from-9" in calibration.section(table)


def test_what_could_not_be_fitted_says_nothing():
    rows = pd.concat([answers("sft-9", [0.7, 0.2]), answers("ppo-from-9", [0.9, 0.1])])
    found = calibration.scored(calibration.votes(rows.assign(half="a")))
    made = calibration.claims_of(found, "sft-9", "ppo-from-9", SETTINGS)
    said = {c["claim"]: c["verdict"] for c in made}
    assert said["recalibration-mends-what-rl-changes"] == "undecided"
