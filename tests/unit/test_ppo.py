"""PPO against closed forms, a bandit that it must solve, and a trajectory that must not change."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from targets import later

from healscope.config import BUILT_IN, PPO, RL, Optimizer
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.verifier import Verdict
from healscope.tasks.rewards import Scored
from healscope.tasks.tables import draw
from healscope.training import ppo, references
from healscope.training.health import Diverged
from healscope.training.optimization import scale
from healscope.training.rollouts import rollout
from healscope.training.state import Workspace

TRUE = torch.tensor([True])


def flags(*values):
    return torch.tensor(values, dtype=torch.bool)


def test_gae_by_hand():
    """An episode of two turns, then one of one turn; A worked out from the equations."""
    rewards, values = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 2.0])
    advantages, returns = ppo.gae(rewards, values, flags(0, 1, 1), discount=0.9, lam=0.5)
    last = 2.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.5 * last
    assert torch.allclose(advantages, torch.tensor([first, last, 1.0]))
    assert torch.allclose(returns, torch.tensor([first + 0.5, 2.0, 3.0]))


def test_gae_with_lambda_one_is_the_discounted_return():
    rng = np.random.default_rng(0)
    rewards, values = (torch.tensor(rng.normal(size=5)) for _ in range(2))
    _, returns = ppo.gae(rewards, values, flags(0, 0, 0, 0, 1), 0.8, 1.0)
    for n in range(5):
        expected = sum(0.8 ** (m - n) * rewards[m] for m in range(n, 5))
        assert torch.allclose(returns[n], expected)


def test_the_value_after_the_last_row_counts_where_nothing_ends_there():
    """A batch that is cut within an episode: delta = r + gamma V(following) - V."""
    rewards, values = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0])
    cut, returns = ppo.gae(rewards, values, flags(1, 0), 0.9, 0.5, following=4.0)
    assert cut[1] == pytest.approx(2.0 + 0.9 * 4.0 - 1.0)
    assert returns[1] == pytest.approx(2.0 + 0.9 * 4.0)
    ended, _ = ppo.gae(rewards, values, flags(1, 1), 0.9, 0.5, following=4.0)
    assert ended[1] == pytest.approx(2.0 - 1.0)
    assert cut[0] == ended[0] == 0.5


def test_nothing_flows_over_the_end_of_an_episode_unless_asked():
    rewards = torch.tensor([1.0, 5.0])
    cut, _ = ppo.gae(rewards, torch.zeros(2), flags(1, 1), 1.0, 1.0)
    other, _ = ppo.gae(torch.tensor([1.0, 500.0]), torch.tensor([0.0, 9.0]), flags(1, 1), 1.0, 1.0)
    assert cut[0] == other[0] == 1.0
    leaking, _ = ppo.gae(rewards, torch.zeros(2), flags(0, 1), 1.0, 1.0)  # the first one failed
    assert leaking[0] == 6.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [(1.1, 1.0, True), (1.5, 1.0, False), (0.5, 1.0, True), (1.5, -1.0, True), (0.5, -1.0, False)],
)
def test_clip_regions(ratio, advantage, gradient):
    """The gradient vanishes just where the clipped branch is the smaller one."""
    logprobs = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss, clipped = ppo.policy_loss(
        logprobs, torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([advantage]), 0.2, "token"
    )
    loss.sum().backward()
    expected = -min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    assert loss.item() == pytest.approx(expected)
    assert (logprobs.grad.abs().item() > 0) == gradient
    assert clipped.item() == float(not gradient)


def test_above_the_ratio_limit_only_the_clipped_branch_counts():
    def loss(ratio, limit):
        logprobs = torch.tensor([[math.log(ratio)]])
        return ppo.policy_loss(
            logprobs, torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([-1.0]), 0.1, "token", limit
        )[0].item()

    assert loss(20.0, None) == pytest.approx(20.0)
    assert loss(20.0, 10.0) == pytest.approx(1.1)
    assert loss(5.0, 10.0) == pytest.approx(5.0)


def test_response_ratio_is_the_product_of_token_ratios():
    logprobs = torch.tensor([[0.1, 0.05, 3.0]])
    weights = torch.tensor([[1.0, 1.0, 0.0]])
    loss, _ = ppo.policy_loss(
        logprobs, torch.zeros(1, 3), weights, torch.tensor([2.0]), 0.5, "response"
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


def test_k3_has_the_gradient_of_the_divergence_from_the_reference():
    """Its mean is KL(pi || ref), but what the loss follows is the gradient of KL(ref || pi)."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=rng, dtype=torch.double, requires_grad=True)
    ref = torch.randn(7, generator=rng, dtype=torch.double).log_softmax(0)

    def gradient(of):
        return torch.autograd.grad(of(logits.log_softmax(0)), logits)[0]

    drawn = logits.log_softmax(0).exp().detach()  # the share of samples that each word has
    followed = gradient(lambda now: (drawn * ppo.k3(now, ref)).sum())
    assert torch.allclose(followed, gradient(lambda now: (ref.exp() * (ref - now)).sum()))
    assert not torch.allclose(followed, gradient(lambda now: (now.exp() * (now - ref)).sum()))
    now = logits.log_softmax(0).detach()
    assert torch.allclose((drawn * ppo.k3(now, ref)).sum(), (drawn * (now - ref)).sum())
    assert (ppo.k3(now, ref) > 0).all()


def test_value_clipping_takes_the_worse_error():
    values, old, returns = (torch.tensor([v]) for v in (2.0, 0.0, 3.0))
    assert ppo.value_loss(values, old, returns, None).item() == pytest.approx(0.5)
    assert ppo.value_loss(values, old, returns, 0.5).item() == pytest.approx(0.5 * 2.5**2)


def test_the_schedules():
    warm = PPO(algorithm="ppo", optimizer=Optimizer(warmup_steps=4), iterations=10)
    assert [scale(warm, i) for i in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    cosine = PPO(algorithm="ppo", optimizer=Optimizer(warmup_steps=0), schedule="cosine")
    assert scale(cosine, 0) == 1
    assert scale(cosine, 50) == pytest.approx(0.5)
    assert scale(cosine, 99) < 0.001


BANDIT = PPO(
    algorithm="ppo", iterations=25, responses=64, samples_per_prompt=8, epochs=2, minibatches=2,
    optimizer=Optimizer(learning_rate=0.01, warmup_steps=0), freeze=["embed_tokens"], state_every=5,
)  # fmt: skip


def recipe(**changes):
    return PPO.model_validate({**BANDIT.model_dump(), **changes})


def verdict(good, reward):
    said = Verdict("correct" if good else "no_answer", reward, good, good, good, good)
    return Scored(said, reward)


def first_word(problem, text):
    """Pay for answers whose first word is `cards`: a bandit with as many arms as words."""
    good = text.split()[:1] == ["cards"]
    return verdict(good, float(good))


def any_word(problem, text):
    good = "cards" in text.split()
    return verdict(good, float(good))


def run(settings, branch):
    rows = ppo.train(settings, branch)
    branch.work._lock.close()  # as when the process ends
    return rows, checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


def timeless(rows):
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]


REFERENCE = {
    **{k: v for k, v in BUILT_IN["ppo_reference"].items() if k not in ("optimizer", "attempts")},
    "temperature": 1.0,
    "attempts": 2,
    "optimizer": {"learning_rate": 0.01, "warmup_steps": 0},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        later({"ratio": "response", "value_head": "shared"}),
        later({"kl": "reward", "kl_coefficient": 0.01}),
        later({"entropy_coefficient": 0.001, "value_clip": 0.2}),
        later(REFERENCE),
    ],
    ids=["token", "response", "kl", "entropy", "reference"],
)
def test_ppo_solves_a_bandit(branch_at, changes):
    # the released code does not learn the first token
    score = any_word if changes.get("skip_first_token") else first_word
    rows, _ = run(recipe(**changes), branch_at(score=score))
    assert rows[0]["correct_share"] < 0.2
    assert rows[-1]["correct_share"] > 0.8
    assert rows[-1]["entropy_nats"] < rows[0]["entropy_nats"]


def test_with_one_step_a_batch_no_setting_of_the_ratio_does_anything(branch_at):
    """All ratios are 1: PPO is one on-policy gradient, whatever its clip."""
    once = {"epochs": 1, "minibatches": 1, "iterations": 2}
    rows, weights = run(recipe(**once), branch_at("usual", first_word))
    tight = {"clip": 1e-4, "ratio_limit": 1.001}
    others, same = run(recipe(**once, **tight), branch_at("tight", first_word))
    assert timeless(others) == timeless(rows)
    assert [row["clip_share"] for row in rows] == [0, 0]
    assert all(torch.equal(same[k], weights[k]) for k in weights)


def test_fewer_turns_than_minibatches_are_a_step_each(branch_at):
    def with_minibatches(n):
        branch = branch_at(str(n), lambda problem, text: verdict(False, 0.1 * len(text)))
        branch = replace(branch, prompts=branch.prompts.head(1))
        few = {"iterations": 1, "samples_per_prompt": 2, "responses": 32, "epochs": 2}
        return run(recipe(**few, minibatches=n), branch)

    (rows, weights), (expected, same) = with_minibatches(8), with_minibatches(2)
    start = checkpoints.load_weights(branch_at("start").start)
    assert any(not torch.equal(weights[k], start[k]) for k in weights)
    assert all(torch.equal(weights[k], same[k]) for k in weights)
    assert timeless(rows) == timeless(expected)


@pytest.mark.parametrize("ratio", [later("token"), "response"])
def test_with_several_steps_a_batch_the_clip_changes_the_weights(branch_at, ratio):
    multi = {k: v for k, v in BUILT_IN["ppo_multi"].items() if k != "algorithm"}
    several = {"minibatches": 1, **multi, "ratio": ratio, "iterations": 1}
    assert recipe(**several).steps >= 4
    found = {
        clip: run(recipe(**several, clip=clip), branch_at(f"clip {clip}", first_word))
        for clip in (0.2, 0.01)
    }
    ((loose,), wide), ((held,), narrow) = found.values()
    assert 0 < loose["clip_share"] < held["clip_share"] < 1
    assert any(not torch.equal(wide[k], narrow[k]) for k in wide)


def test_equal_rewards_leave_the_policy_alone(branch_at, base_manifest):
    """Nothing to prefer: normalised, the critic's errors would be followed as if they were news."""
    _, weights = run(recipe(iterations=3), branch_at(score=lambda *_: verdict(False, -1.0)))
    before = checkpoints.load_weights(base_manifest)
    assert all(torch.equal(weights[k], before[k]) for k in weights)


@pytest.mark.parametrize("changes", [{"attempts": 2}, later(REFERENCE)], ids=["turns", "reference"])
def test_a_killed_run_resumes_to_the_same_rows_and_weights(branch_at, changes):
    short = recipe(iterations=6, state_every=2, **changes)
    calls = []

    def counted(problem, text):
        calls.append(text)
        return first_word(problem, text)

    rows, weights = run(short, branch_at("whole", counted))
    left = len(calls) // 2  # in the third or the fourth iteration

    def dies(problem, text):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return first_word(problem, text)

    killed = branch_at("killed", dies)
    with pytest.raises(KeyboardInterrupt):
        ppo.train(short, killed)
    killed.work._lock.close()
    assert Workspace(killed.work.folder, "x").latest().step == 2
    again, resumed = run(short, branch_at("killed", first_word))
    assert timeless(again) == timeless(rows)
    assert all(torch.equal(resumed[k], weights[k]) for k in weights)


def test_kl_penalties_hold_the_policy_near_its_start(branch_at):
    once = {"epochs": 1, "minibatches": 1, "iterations": 20, "kl_every": 10}
    free, _ = run(recipe(**once), branch_at("free", first_word))
    for where in ("loss", "reward"):
        held, _ = run(
            recipe(**once, kl=where, kl_coefficient=5.0), branch_at(f"held in {where}", first_word)
        )
        assert held[-1]["kl_from_start_nats"] < 0.2 * free[-1]["kl_from_start_nats"]
        assert held[-1]["correct_share"] < free[-1]["correct_share"] - 0.2


def test_the_kl_penalty_of_a_reward_has_the_sign_of_the_log_ratio(branch_at):
    """Responses that the policy likes more than its reference are paid less for it."""
    branch = branch_at(score=first_word)
    settings = recipe(kl="reward", kl_coefficient=0.5)
    model, tokenizer = checkpoints.load_model(branch.start)
    problems = draw(branch.prompts, 4, np.random.default_rng(0))
    sampler = branch.sampler(settings, prompt_states=True)
    turns = sampler.sample(model, tokenizer, problems, (0, 1))
    others = references.references(settings, branch, "start")
    with torch.no_grad():
        others["start"].lm_head.weight.mul_(3)
    other_BT, real_BT = logprobs(others["start"], tokenizer, turns)
    expected_B = torch.tensor([sum(t.logprobs) for t in turns]) - (other_BT * real_BT).sum(1)
    assert expected_B.min() < -0.1 < 0.1 < expected_B.max()
    found_B = references.log_ratios(others["start"], tokenizer, turns, settings.temperature)
    torch.testing.assert_close(found_B, expected_B, rtol=1e-3, atol=1e-4)
    head = ppo.value_head("own", model.config.hidden_size)
    paid_B = torch.tensor([t.reward for t in turns])
    judged = ppo.judge(settings, head, tokenizer, turns, others)
    torch.testing.assert_close(judged.rewards_B, paid_B - 0.5 * found_B)


def test_the_logged_drift_and_penalty_are_those_after_the_first_step(branch_at):
    """From the answers to the policy after one step: mean log pi_old - log pi, and mean k3."""
    settings = recipe(iterations=1, minibatches=1, kl="loss", kl_coefficient=0.1)
    (row,), _ = run(settings, branch_at("two steps", first_word))  # epochs: 2
    branch = branch_at("one step", first_word)
    _, stepped = run(settings.model_copy(update={"epochs": 1}), branch)
    model, tokenizer = checkpoints.load_model(branch.start)
    problems = draw(branch.prompts, 8, np.random.default_rng([0, 4, 0]))
    turns = branch.sampler(settings).sample(model, tokenizer, problems, (0, 5, 0))
    old_BT, real_BT = logprobs(model, tokenizer, turns)
    model.load_state_dict(stepped)
    now_BT, _ = logprobs(model, tokenizer, turns)
    gap_BT = (old_BT - now_BT) * real_BT
    drift = (gap_BT.sum(1) / real_BT.sum(1)).mean().item()
    k3 = (((gap_BT.exp() - 1 - gap_BT) * real_BT).sum(1) / real_BT.sum(1)).mean().item()
    assert abs(drift) > 0.01  # at the first step both are 0, so the mean of two steps is half
    assert row["kl_from_rollout_nats"] == pytest.approx(drift / 2, rel=1e-2)
    assert row["kl_penalty_nats"] == pytest.approx(k3 / 2, rel=1e-2)


@torch.no_grad()
def logprobs(model, tokenizer, turns):
    """Of response tokens (B, T) under a model, and which of them are real."""
    ids, mask, width, real_BT = tokens.encode_ids(
        [t.prompt_ids for t in turns], [t.response_ids for t in turns], tokenizer.pad_token_id
    )
    return response_logprobs(model, ids, mask, width)[0], real_BT


@pytest.mark.parametrize("good", [first_word, lambda *_: verdict(True, 1.0)], ids=["rare", "all"])
def test_a_batch_counted_in_turns_is_cut_after_as_many(branch_at, good):
    branch = branch_at(score=good)
    settings = recipe(counted="turns", attempts=3, responses=50, samples_per_prompt=1)
    model, tokenizer = checkpoints.load_model(branch.start)
    sampler = branch.sampler(settings, attempts=3, prompt_states=True)
    found = rollout(settings, sampler, model, tokenizer, branch.prompts, (0, 0))
    turns, beyond = found.turns, found.unused
    assert len(turns) == 50
    assert 1 <= len(beyond) <= 3
    for before, after in zip(turns, [*turns[1:], beyond[0]], strict=True):
        if before.last:
            assert (after.attempt, after.episode) == (1, before.episode + 1)
        else:
            assert (after.attempt, after.episode) == (before.attempt + 1, before.episode)
    (row,) = ppo.train(settings.model_copy(update={"iterations": 1}), branch)
    branch.work._lock.close()
    assert row["generated_tokens"] == sum(len(t.response_ids) for t in [*turns, *beyond])
    assert row["reward_mean"] == pytest.approx(np.mean([t.reward for t in turns]))


def test_a_cut_batch_is_judged_by_the_value_of_what_follows(branch_at):
    branch = branch_at(score=first_word)
    settings = recipe(counted="turns", attempts=2, responses=10, samples_per_prompt=1)
    settings = settings.model_copy(update={"discount": 0.5, "gae_lambda": 1.0})
    model, tokenizer = checkpoints.load_model(branch.start)
    sampler = branch.sampler(settings, attempts=2, prompt_states=True)
    found = rollout(settings, sampler, model, tokenizer, branch.prompts, (0, 0))
    turns, beyond = found.turns, found.unused
    assert not turns[-1].last
    head = ppo.value_head("own", model.config.hidden_size)
    judged = ppo.judge(settings, head, tokenizer, turns, {}, beyond[0])
    after = head(beyond[0].state_2H[:1])[0, 0]
    torch.testing.assert_close(judged.returns_B[-1], turns[-1].reward + 0.5 * after)
    alone = ppo.judge(settings, head, tokenizer, turns, {})
    assert alone.returns_B[-1] == pytest.approx(turns[-1].reward)


def test_an_entropy_bonus_keeps_entropy_up(branch_at):
    short = {"iterations": 15}
    free, _ = run(recipe(**short), branch_at("free", first_word))
    held, _ = run(recipe(**short, entropy_coefficient=1.0), branch_at("held", first_word))
    assert held[-1]["entropy_nats"] > 1.5 * free[-1]["entropy_nats"]


def test_frozen_parameters_do_not_move(branch_at, base_manifest):
    _, weights = run(recipe(iterations=2, freeze=["lm_head", "norm"]), branch_at(score=first_word))
    before = checkpoints.load_weights(base_manifest)
    moved = {k for k in weights if not torch.equal(weights[k], before[k])}
    assert "lm_head.weight" not in moved
    assert "model.layers.0.self_attn.q_proj.weight" in moved


def test_the_policy_does_not_feel_how_its_own_value_head_trains(branch_at):
    """A shared head trains through the policy; an own one reads states and gives nothing back."""

    def weights(folder, **changes):
        one = recipe(iterations=1, **changes)
        return run(one, branch_at(folder, first_word))[1]

    once, often = weights("once", value_steps=1), weights("often", value_steps=50)
    assert all(torch.equal(once[k], often[k]) for k in once)
    shared = weights("shared", value_head="shared")
    alone = weights("alone", value_head="shared", value_coefficient=0.0)
    assert any(not torch.equal(shared[k], alone[k]) for k in shared)


def test_bfloat16_ratios_move_in_steps(branch_at, monkeypatch):
    """The released ratio compares two rounded sums: its logarithm is a multiple of their step."""
    seen = []
    plain = ppo.policy_loss

    def watch(now, old, weights, *rest):
        seen.append(((now - old) * weights).sum(1).detach())
        return plain(now, old, weights, *rest)

    monkeypatch.setattr(ppo, "policy_loss", watch)
    changes = {"ratio": "response", "iterations": 2}
    run(recipe(**changes, logprob_precision="bfloat16"), branch_at("rounded", first_word))
    rounded = torch.cat(seen)
    seen.clear()
    run(recipe(**changes), branch_at("exact", first_word))
    exact = torch.cat(seen)
    step = 2.0**-7  # of bfloat16 between 1 and 2; sums here are larger, their steps multiples of it
    assert rounded.abs().max() > 0
    assert torch.equal(rounded, (rounded / step).round() * step)
    assert not torch.equal(exact, (exact / step).round() * step)


def test_an_iteration_that_learned_nothing_trained_on_no_tokens(branch_at):
    rows, _ = run(recipe(iterations=1), branch_at(score=lambda *_: verdict(False, -1.0)))
    assert rows[0]["trained_tokens"] == 0
    assert rows[0]["advantage_entropy_nats"] == 0
    rows, _ = run(recipe(iterations=1), branch_at("other", first_word))
    assert rows[0]["trained_tokens"] == 2 * rows[0]["generated_tokens"]  # two epochs


def test_the_token_budget_ends_a_run(branch_at):
    rows, _ = run(recipe(token_budget=500), branch_at(score=first_word))
    used = [r["generated_tokens"] for r in rows]
    assert sum(used[:-1]) < 500 <= sum(used)


def test_a_number_that_is_not_finite_ends_the_run_and_keeps_its_log(branch_at):
    def huge(problem, text):
        return verdict(False, 3e38 * (len(text) % 3 - 1))

    branch = branch_at(score=huge)
    with pytest.raises(Diverged, match=r"ppo-from-0: .* is (nan|inf) in iteration 1; lower") as e:
        ppo.train(recipe(), branch)
    assert len(e.value.rows) == 1
    assert e.value.rows[0]["generated_tokens"] > 0
    assert all(math.isfinite(v) for v in e.value.rows[0].values())
    assert branch.work.latest() is None  # nothing that is not finite was kept


# What this seed and model did when the loss was last meant to change: (policy_loss, value_loss,
# gradient_norm) of two iterations. A change here changes every published RL run.
TRAJECTORIES = {
    "corrected": (
        {"attempts": 2},
        [[-6.949e-03, 2.7165e-02, 5.0144e-01], [4.89e-05, 2.6145e-02, 7.1138e-01]],
    ),
    "reference": (
        REFERENCE,
        [[-2.1837e-02, 1.82194, 9.4582e-01], [-2.6900e-02, 1.63928, 1.08229]],
    ),
}


@pytest.mark.parametrize("rows_at_once", [later(128), 48, later(7)])
@pytest.mark.parametrize("name", TRAJECTORIES)
def test_the_trajectory_does_not_depend_on_micro_batches(
    branch_at, monkeypatch, name, rows_at_once
):
    """Fixed seed and model: stored loss and gradient norms, however gradients are accumulated."""
    changes, stored = TRAJECTORIES[name]
    monkeypatch.setattr(ppo, "ROWS_AT_ONCE", rows_at_once)
    rows, _ = run(recipe(iterations=2, **changes), branch_at(score=first_word))
    columns = ("policy_loss", "value_loss", "gradient_norm")
    found = [[row[c] for c in columns] for row in rows]
    np.testing.assert_allclose(found, stored, rtol=2e-3, atol=2e-5)


def test_the_reference_is_what_the_released_code_does():
    """Spelled out from its config and its loss, not from ours."""
    reference = RL(branches={"ppo": [0]}).recipes["ppo_reference"]
    released = {
        "attempts": 5, "extra_attempt": True, "epochs": 4, "temperature": 0.2, "clip": 0.1,
        "value_clip": 0.1, "value_head": "shared", "value_coefficient": 0.5, "discount": 0.9,
        "gae_lambda": 0.95, "cut_failures": False, "ratio": "response", "ratio_limit": 10,
        "logprob_precision": "bfloat16", "skip_first_token": True, "early_token_weight": 0.5,
        "entropy_coefficient": 0, "kl": "none", "schedule": "cosine", "responses": 256,
        "counted": "turns",
    }  # fmt: skip
    assert {key: getattr(reference, key) for key in released} == released
    optimizer = reference.optimizer
    assert (optimizer.learning_rate, optimizer.epsilon, optimizer.max_grad_norm) == (
        1e-6,
        1e-7,
        0.01,
    )
    corrected = RL(branches={"ppo": [0]}).recipes["ppo"]
    assert corrected.cut_failures
    assert not corrected.skip_first_token
    assert (corrected.value_head, corrected.logprob_precision) == ("own", "float32")
