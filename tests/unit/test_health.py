"""When a run has failed, and when its reward no longer means success."""

import math

import pytest

from healscope.config import Training
from healscope.engines.generate import NotFinite
from healscope.training import health
from healscope.training.health import Diverged


def rows(rewards, rates, std=0.5):
    return [
        {"iteration": i + 1, "reward_mean": r, "correct_share": c, "reward_std": std}
        for i, (r, c) in enumerate(zip(rewards, rates, strict=True))
    ]


def test_what_is_not_finite_is_named_and_not_kept():
    log = rows([0.1, 0.2], [0.3, 0.3])
    log[-1] |= {"policy_loss": math.nan, "entropy_nats": 1.0}
    with pytest.raises(Diverged, match="ppo-from-9: policy_loss is nan in iteration 2") as error:
        health.check(log, "ppo-from-9")
    assert "policy_loss" not in error.value.rows[-1]
    assert error.value.rows[-1]["entropy_nats"] == 1.0


def test_lost_success_is_a_collapse_and_success_never_had_is_not():
    good, gone = [0.5] * 20, [0.0] * 10
    with pytest.raises(Diverged, match="success collapsed from 50% to 0% by iteration 30"):
        health.check(rows([0.0] * 20 + [-1.0] * 10, good + gone), "x")
    health.check(rows([0.0] * 20 + [-1.0] * 10, good + [0.2] * 10), "x")
    health.check(rows([0.0] * 20 + [1.0] * 10, good + gone), "x")  # a hacked reward, no failure
    health.check(rows([-1.0] * 40, [0.0] * 40), "x")  # the base that never learns
    health.check(rows([-1.0] * 15, [0.5] * 5 + [0.0] * 10), "x")  # too early to tell


def test_the_alarm_rings_when_reward_rises_without_success():
    rising = [i / 30 for i in range(30)]
    assert health.reward_hacking(rows(rising, [0.2] * 30))
    assert health.reward_hacking(rows(rising, [0.2 - i / 300 for i in range(30)]))
    assert not health.reward_hacking(rows(rising, [0.2 + i / 300 for i in range(30)]))
    assert not health.reward_hacking(rows([0.0] * 30, [0.2] * 30))
    assert not health.reward_hacking(rows(rising[:15], [0.2] * 15))
    hundredth_of_an_sd = [r / 100 for r in rising]
    assert not health.reward_hacking(rows(hundredth_of_an_sd, [0.2] * 30))


def test_a_reward_that_hardly_varies_rings_no_alarm():
    flat = rows([-1.0] * 10 + [-0.999] * 20, [0.0] * 30)
    for i, row in enumerate(flat):
        row["reward_std"] = 0.0 if i < 10 else 0.05
    assert not health.reward_hacking(flat)


def test_the_first_alarm_is_said_once(capsys):
    log: list[dict] = []
    for row in rows([i / 30 for i in range(40)], [0.2] * 40):
        health.log(log, row, "x")
    assert log[-1]["hacking_alarm"]
    assert capsys.readouterr().err.count("may be hacking the reward") == 1


def test_a_model_of_nan_ends_as_diverged():
    log = rows([0.0], [0.1])
    with (
        pytest.raises(Diverged, match="after iteration 1") as error,
        health.finite_sampling(log, "x"),
    ):
        raise NotFinite("no numbers")
    assert error.value.rows == log


def test_the_token_budget():
    log = [{"generated_tokens": 40, "trained_tokens": 400}] * 2
    assert not health.spent(log, Training())
    assert health.spent(log, Training(token_budget=80))
    assert not health.spent(log, Training(token_budget=81))
    assert health.spent([{"trained_tokens": 90}], Training(token_budget=81))
