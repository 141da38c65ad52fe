"""PPO against closed forms, and a bandit that it must solve."""

import numpy as np
import pytest
import torch

from healscope.config import PPO, Optimizer
from healscope.models import checkpoints
from healscope.tasks.verdict import Verdict
from healscope.training import ppo
from healscope.training.state import Workspace


def test_gae_by_hand():
    """Two episodes of two turns and one turn; delta and A worked out from the equations."""
    rewards = torch.tensor([[1.0, 2.0], [3.0, 9.0]])
    values = torch.tensor([[0.5, 1.0], [2.0, 7.0]])
    real = torch.tensor([[True, True], [True, False]])
    advantages, returns = ppo.gae(rewards, values, real, discount=0.9, lam=0.5)
    last = 2.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.5 * last
    assert torch.allclose(advantages, torch.tensor([[first, last], [1.0, 0.0]]))
    assert torch.allclose(returns, torch.tensor([[first + 0.5, 2.0], [3.0, 0.0]]))


def test_gae_with_lambda_one_is_the_discounted_return():
    rng = np.random.default_rng(0)
    rewards, values = (torch.tensor(rng.normal(size=(3, 5))) for _ in range(2))
    _, returns = ppo.gae(rewards, values, torch.ones(3, 5, dtype=torch.bool), 0.8, 1.0)
    for n in range(5):
        expected = sum(0.8 ** (m - n) * rewards[:, m] for m in range(n, 5))
        assert torch.allclose(returns[:, n], expected)


def test_nothing_flows_over_the_end_of_an_episode():
    rewards = torch.tensor([[1.0, 5.0]])
    real = torch.tensor([[True, False]])
    a, _ = ppo.gae(rewards, torch.zeros(1, 2), real, 1.0, 1.0)
    b, _ = ppo.gae(rewards * torch.tensor([1.0, 100.0]), torch.tensor([[0.0, 9.0]]), real, 1.0, 1.0)
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [(1.1, 1.0, True), (1.5, 1.0, False), (0.5, 1.0, True), (1.5, -1.0, True), (0.5, -1.0, False)],
)
def test_clip_regions(ratio, advantage, gradient):
    """The gradient vanishes just where the clipped branch is the smaller one."""
    logprobs = torch.tensor([[np.log(ratio)]], requires_grad=True)
    real = torch.ones(1, 1, dtype=torch.bool)
    loss, clipped = ppo.policy_loss(
        logprobs, torch.zeros(1, 1), real, torch.tensor([advantage]), 0.2, "token"
    )
    loss.sum().backward()
    expected = -min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    assert loss.item() == pytest.approx(expected)
    assert (logprobs.grad.abs().item() > 0) == gradient
    assert clipped.item() == float(abs(ratio - 1) > 0.2)


def test_response_ratio_is_the_product_of_token_ratios():
    logprobs = torch.tensor([[0.1, 0.05, 3.0]])
    real = torch.tensor([[True, True, False]])
    loss, _ = ppo.policy_loss(
        logprobs, torch.zeros(1, 3), real, torch.tensor([2.0]), 0.5, "response"
    )
    assert loss.item() == pytest.approx(-2 * np.exp(0.15))


def test_at_the_old_policy_both_ratios_give_the_policy_gradient():
    """d/dtheta of the loss is -A grad log pi: of the mean token, or of the whole action."""
    for ratio, weight in (("token", 1 / 4), ("response", 1.0)):
        logprobs = torch.full((1, 4), -1.0, requires_grad=True)
        loss, _ = ppo.policy_loss(
            logprobs, logprobs.detach(), torch.ones(1, 4), torch.tensor([3.0]), 0.2, ratio
        )
        loss.sum().backward()
        assert torch.allclose(logprobs.grad, torch.full((1, 4), -3.0 * weight))


def test_value_clipping_takes_the_worse_error():
    values, old, returns = (torch.tensor([v]) for v in (2.0, 0.0, 3.0))
    assert ppo.value_loss(values, old, returns, None).item() == pytest.approx(0.5)
    assert ppo.value_loss(values, old, returns, 0.5).item() == pytest.approx(0.5 * 2.5**2)


BANDIT = PPO(
    iterations=25, prompts=8, samples_per_prompt=8, epochs=2, minibatches=2,
    optimizer=Optimizer(learning_rate=0.01, warmup_steps=0), freeze=["embed_tokens"], state_every=5,
)  # fmt: skip


def first_word(problem, text):
    """Pays for answers whose first word is `cards`: a bandit with as many arms as words."""
    good = text.split()[:1] == ["cards"]
    return Verdict("correct" if good else "no_answer", float(good), good, good, good, good)


def run(settings, manifest, pool, folder, reward=first_word):
    work = Workspace(folder, "x")
    rows = ppo.train(settings, manifest, pool, reward, 3, 0, work, "ppo", "bandit")
    weights = checkpoints.load_file(work.staged("ppo") / checkpoints.WEIGHTS)
    return rows, weights


def test_ppo_solves_a_bandit(base_manifest, tables, tmp_path):
    rows, _ = run(BANDIT, base_manifest, tables[2], tmp_path)
    assert rows[0]["reward_mean"] < 0.2
    assert rows[-1]["reward_mean"] > 0.9
    entropies = [r["entropy_nats"] for r in rows if "entropy_nats" in r]
    assert entropies[-1] < entropies[0]


def test_equal_rewards_leave_the_policy_alone(base_manifest, tables, tmp_path):
    """Nothing to prefer: normalised, the critic's errors would be followed as if they were news."""

    def same(problem, text):
        return Verdict("no_answer", -1.0, False, False, False, False)

    short = BANDIT.model_copy(update={"iterations": 3})
    _, weights = run(short, base_manifest, tables[2], tmp_path, same)
    before = checkpoints.load_weights(base_manifest)
    assert all(torch.equal(weights[k], before[k]) for k in weights)


def test_a_killed_run_resumes_to_the_same_rows_and_weights(base_manifest, tables, tmp_path):
    short = BANDIT.model_copy(update={"iterations": 6, "state_every": 2})
    rows, weights = run(short, base_manifest, tables[2], tmp_path / "whole")

    calls = 0

    def dies(problem, text):
        nonlocal calls
        calls += 1
        if calls > 64 * 3 + 10:  # in the fourth iteration
            raise KeyboardInterrupt
        return first_word(problem, text)

    with pytest.raises(KeyboardInterrupt):
        run(short, base_manifest, tables[2], tmp_path / "killed", dies)
    assert Workspace(tmp_path / "killed", "x").latest().step == 2
    again, resumed = run(short, base_manifest, tables[2], tmp_path / "killed")
    assert again == rows
    assert all(torch.equal(resumed[k], weights[k]) for k in weights)


def test_kl_penalty_holds_the_policy_near_its_start(base_manifest, tables, tmp_path):
    once = BANDIT.model_copy(update={"epochs": 1, "minibatches": 1, "iterations": 50})
    free, _ = run(once, base_manifest, tables[2], tmp_path / "free")
    rows, _ = run(
        once.model_copy(update={"kl_coefficient": 5.0}), base_manifest, tables[2], tmp_path / "held"
    )
    assert rows[0]["kl_from_start_nats"] == pytest.approx(0, abs=1e-3)
    assert rows[-1]["reward_mean"] < free[-1]["reward_mean"] - 0.2


def test_frozen_parameters_do_not_move(base_manifest, tables, tmp_path):
    short = BANDIT.model_copy(update={"iterations": 2, "freeze": ["lm_head", "norm"]})
    _, weights = run(short, base_manifest, tables[2], tmp_path)
    before = checkpoints.load_weights(base_manifest)
    moved = {k for k in weights if not torch.equal(weights[k], before[k])}
    assert "lm_head.weight" not in moved
    assert "model.layers.0.self_attn.q_proj.weight" in moved
