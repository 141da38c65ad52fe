"""TRL's group-relative algorithms: gradients against closed forms, a bandit, resume, failures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from targets import first, later
from torch import nn
from transformers.utils import logging

from healscope import progress
from healscope.config import BUILT_IN, Group, Optimizer
from healscope.engines.generate import response_logprobs
from healscope.errors import HealscopeError
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.verifier import Verdict
from healscope.tasks.rewards import Scored
from healscope.tasks.tables import draw
from healscope.training import groups
from healscope.training.health import Diverged
from healscope.training.state import Workspace

ALGORITHMS = ("grpo", "dapo", "dr_grpo", "gspo", "rloo")
BANDIT = Group(
    algorithm="grpo", iterations=20, responses=64, samples_per_prompt=8, state_every=5,
    kl_every=None, freeze=["embed_tokens"],
    optimizer=Optimizer(learning_rate=0.01, warmup_steps=0, beta2=0.95),
)  # fmt: skip


def recipe(algorithm, **changes):
    return BANDIT.model_copy(update={"algorithm": algorithm, **changes})


def paid(good, reward):
    said = Verdict("correct" if good else "no_answer", reward, good, good, good, good)
    return Scored(said, reward)


def first_word(problem, text):
    """Pay for answers whose first word is `cards`: a bandit with as many arms as words."""
    good = text.split()[:1] == ["cards"]
    return paid(good, float(good))


def length(problem, text):
    """Pay differently for almost every response."""
    return paid("cards" in text, 0.1 * len(text) - 1)


def run(settings, branch):
    rows = groups.train(settings, branch)
    branch.work._lock.close()  # as when the process ends
    return rows, checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


def timeless(rows):
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]


def advantages(algorithm, rewards_PG):
    centred_PG = rewards_PG - rewards_PG.mean(1, keepdims=True)
    if algorithm == "dr_grpo":
        return centred_PG
    if algorithm == "rloo":
        return centred_PG * rewards_PG.shape[1] / (rewards_PG.shape[1] - 1)
    return centred_PG / (rewards_PG.std(1, ddof=1, keepdims=True) + 1e-4)


def surrogate(algorithm, logps_BT, real_BT, advantages_B, ended_B, most):
    """Its gradient is that of the algorithm's loss at the policy that sampled."""
    gain_BT = advantages_B[:, None] * logps_BT * real_BT
    if algorithm in ("grpo", "gspo"):
        return -(gain_BT.sum(1) / real_BT.sum(1)).mean()
    if algorithm == "dapo":
        return -gain_BT[ended_B].sum() / real_BT[ended_B].sum()
    if algorithm == "dr_grpo":
        return -gain_BT.sum() / (len(gain_BT) * most)
    return -gain_BT.sum(1).mean()


@pytest.mark.parametrize(("temperature", "rows_at_once"), [later(1.0, 128), (0.7, 16)])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_gradient_is_that_of_the_closed_form(
    branch_at, monkeypatch, algorithm, temperature, rows_at_once
):
    """So prompts, responses, rewards and groups reach TRL whole, in whatever micro-batches."""
    monkeypatch.setattr(groups, "ROWS_AT_ONCE", rows_at_once)
    branch = branch_at(score=length, max_new_tokens=30)
    settings = recipe(algorithm, iterations=1, temperature=temperature)
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, settings.freeze)
    problems = draw(branch.prompts, 8, np.random.default_rng([0, 4, 0]))
    turns = branch.sampler(settings).sample(model, tokenizer, problems, (0, 5, 0))
    by_prompt = np.array([t.reward for t in turns]).reshape(8, 8)
    expected_B = advantages(algorithm, by_prompt).ravel()
    ids, mask, width, real_BT = tokens.encode_ids(
        [t.prompt_ids for t in turns], [t.response_ids for t in turns], tokenizer.pad_token_id
    )
    ends = tokenizer.eos_token_id, tokenizer.pad_token_id  # this model draws both
    ended_B = torch.tensor([t.response_ids[-1] in ends for t in turns])
    assert 0 < ended_B.sum() < len(turns)
    logps_BT, logps_BTV = response_logprobs(model, ids, mask, width, temperature)
    surrogate(
        algorithm, logps_BT, real_BT, torch.tensor(expected_B).float(), ended_B, 30
    ).backward()
    norm = nn.utils.get_total_norm([p.grad for p in trained])
    entropy_BT = -(logps_BTV.exp() * logps_BTV).sum(-1)
    counted_BT = real_BT & ended_B[:, None] if algorithm == "dapo" else real_BT

    (row,), _ = run(settings, branch)
    assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-3)
    assert row["advantage_std"] == pytest.approx(expected_B.std(), rel=1e-4)
    assert row["entropy_nats"] == pytest.approx(entropy_BT[counted_BT].mean().item(), rel=1e-2)
    assert row["reward_mean"] == pytest.approx(by_prompt.mean())
    assert row["trained_tokens"] == counted_BT.sum()
    assert row["learning_rate"] == settings.optimizer.learning_rate


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        later("grpo", {}),
        ("grpo", {"epochs": 2}),
        later("dapo", {"responses": 128}),
        later("dr_grpo", {}),
        later("rloo", {"epochs": 2}),
        later("rloo", {"kl_coefficient": 1e-3}),
    ],
)
def test_a_bandit_is_solved(branch_at, algorithm, changes):
    # DAPO learns nothing of responses that are cut off: give them room to end
    branch = branch_at(score=first_word, max_new_tokens=40 if algorithm == "dapo" else 3)
    rows, _ = run(recipe(algorithm, **changes), branch)
    assert len(rows) == 20
    assert rows[0]["correct_share"] < 0.2
    assert rows[-1]["correct_share"] > 0.8
    assert rows[-1]["entropy_nats"] < rows[0]["entropy_nats"]
    assert any(row["clip_share"] > 0 for row in rows) == ("epochs" in changes)


@pytest.mark.parametrize("algorithm", [later("grpo"), "rloo"])
def test_a_kl_penalty_holds_the_policy_near_its_start(branch_at, algorithm):
    short = {"iterations": 10, "kl_every": 3}
    free, _ = run(recipe(algorithm, **short), branch_at("free", first_word))
    held, _ = run(recipe(algorithm, **short, kl_coefficient=5.0), branch_at("held", first_word))
    assert [("kl_from_start_nats" in row) for row in free] == [
        i in (1, 3, 6, 9, 10) for i in range(1, 11)
    ]
    assert held[-1]["kl_from_start_nats"] < 0.2 * free[-1]["kl_from_start_nats"]
    assert "kl_penalty_nats" in held[-1]
    assert "kl_penalty_nats" not in free[-1]
    for row in free[::9]:  # here the start is the base
        assert row["kl_from_base_nats"] == row["kl_from_start_nats"] > 0


@pytest.mark.parametrize("algorithm", first(["rloo"], ALGORITHMS))
def test_with_one_step_a_batch_no_clip_does_anything(branch_at, algorithm):
    """All ratios are 1: the recipes are one on-policy gradient, whatever their clips."""
    rows, weights = run(recipe(algorithm, iterations=2), branch_at("usual", length, 12))
    tight = recipe(algorithm, iterations=2, clip=1e-4, clip_high=2e-4)
    others, same = run(tight, branch_at("tight", length, 12))
    assert timeless(others) == timeless(rows)
    assert [row["clip_share"] for row in rows] == [0, 0]
    assert all(torch.equal(same[k], weights[k]) for k in weights)


def test_with_one_step_a_batch_gspo_is_grpo(branch_at):
    _, token = run(recipe("grpo", iterations=1), branch_at("token", length, 12))
    _, sequence = run(recipe("gspo", iterations=1), branch_at("sequence", length, 12))
    for k in token:
        torch.testing.assert_close(sequence[k], token[k], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", first(["gspo"], ["grpo_multi", "dapo_multi", "gspo"]))
def test_with_several_steps_a_batch_the_clip_changes_the_weights(branch_at, name):
    several = recipe(**BUILT_IN[name] | {"kl_coefficient": 0.0}, iterations=1)
    assert several.steps >= 4
    wide = several.model_copy(update={"clip": 0.3, "clip_high": 0.3})
    narrow = several.model_copy(update={"clip": 1e-3, "clip_high": 1e-3})
    (loose,), moved = run(wide, branch_at("wide", length, 12))
    (held,), less = run(narrow, branch_at("narrow", length, 12))
    assert loose["clip_share"] < held["clip_share"] < 1
    assert held["clip_share"] > 0.1
    assert any(not torch.equal(moved[k], less[k]) for k in moved)
    higher = narrow.model_copy(update={"clip_high": 0.3})
    (one_sided,), other = run(higher, branch_at("higher", length, 12))
    assert 0 < one_sided["clip_share"] < held["clip_share"]
    assert any(not torch.equal(other[k], less[k]) for k in less)


@pytest.mark.parametrize(("epochs", "minibatches"), [later(1, 4), (2, 2)])
def test_an_iteration_takes_its_steps(branch_at, epochs, minibatches):
    """One row an iteration, at one rate; every token is learned once in each pass."""
    several = {"epochs": epochs, "minibatches": minibatches, "schedule": "cosine"}
    rows, _ = run(recipe("grpo", iterations=2, **several), branch_at(score=length))
    assert [row["iteration"] for row in rows] == [1, 2]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.01, 0.005])
    for row in rows:
        assert row["trained_tokens"] == epochs * row["generated_tokens"]


def test_a_minibatch_is_a_step_of_its_own(branch_at, monkeypatch):
    """Four minibatches at a vanishing rate: the mean norm is that of quarters, not of the whole."""
    slow = Optimizer(learning_rate=1e-12, warmup_steps=0)
    still = {"iterations": 1, "optimizer": slow}
    monkeypatch.setattr(groups, "ROWS_AT_ONCE", 8)
    (whole,), _ = run(recipe("grpo", **still), branch_at("whole", length))
    (parted,), _ = run(recipe("grpo", **still, minibatches=4), branch_at("parted", length))
    assert parted["gradient_norm"] > 1.2 * whole["gradient_norm"]
    assert parted["policy_loss"] == pytest.approx(whole["policy_loss"], abs=1e-6)


def test_the_kl_term_is_k3_from_the_start(branch_at):
    """2402.03300, eq. 4: its value and its gradient, at the second iteration of one recipe."""
    held = recipe("grpo", iterations=2, kl_coefficient=0.5)
    (_, row), _ = run(held, branch_at("two", length, 12))
    branch = branch_at("one", length, 12)
    _, stepped = run(held.model_copy(update={"iterations": 1}), branch)
    reference, tokenizer = checkpoints.load_model(branch.start)
    model, _ = checkpoints.load_model(branch.start)
    model.load_state_dict(stepped)
    trained = checkpoints.freeze(model, held.freeze)
    problems = draw(branch.prompts, 8, np.random.default_rng([0, 4, 1]))
    turns = branch.sampler(held).sample(model, tokenizer, problems, (0, 5, 1))
    ids, mask, width, real_BT = tokens.encode_ids(
        [t.prompt_ids for t in turns], [t.response_ids for t in turns], tokenizer.pad_token_id
    )
    now_BT, _ = response_logprobs(model, ids, mask, width)
    with torch.no_grad():
        ref_BT, _ = response_logprobs(reference, ids, mask, width)
    gap_BT = (ref_BT - now_BT) * real_BT
    k3_BT = gap_BT.exp() - 1 - gap_BT
    rewards = np.array([t.reward for t in turns]).reshape(8, 8)
    gains_B = torch.tensor(advantages("grpo", rewards).ravel()).float()
    loss = surrogate("grpo", now_BT, real_BT, gains_B, None, 12)
    (loss + 0.5 * (k3_BT.sum(1) / real_BT.sum(1)).mean()).backward()
    norm = nn.utils.get_total_norm([p.grad for p in trained])
    assert row["kl_penalty_nats"] == pytest.approx(k3_BT[real_BT].mean().item(), rel=1e-2)
    assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-2)


def test_the_soft_overlong_penalty(branch_at):
    """2503.14476, eq. 13, at 20 tokens of which the last 5 are the cache."""
    branch = branch_at(score=length, max_new_tokens=20)
    problems = draw(branch.prompts, 2, np.random.default_rng(0))
    model, tokenizer = checkpoints.load_model(branch.start)
    turn = branch.sampler(recipe("dapo")).sample(model, tokenizer, problems, (0, 1))[0]
    turns = [replace(turn, reward=1.0, response_ids=[5] * n) for n in (1, 15, 16, 19, 20)]
    paid = [t.reward for t in groups.not_overlong(turns, 20, 0.25)]
    assert paid == pytest.approx([1.0, 1.0, 0.8, 0.2, 0.0])
    assert groups.not_overlong(turns, 20, 0.0) == turns
    (row,), _ = run(recipe("dapo", iterations=1), branch_at("free", length, 20))
    (less,), _ = run(recipe("dapo", iterations=1, overlong=0.25), branch_at("paid", length, 20))
    assert less["generated_tokens"] == row["generated_tokens"]
    assert less["reward_mean"] < row["reward_mean"]


def rarely(problem, text):
    """Pay so seldom that most groups have equal rewards."""
    good = text.split()[:1] in (["cards"], ["formula"])
    return paid(good, float(good))


def test_dynamic_sampling_goes_on_until_enough_groups_differ(branch_at):
    plain, dynamic = recipe("dapo", iterations=2), recipe("dapo", iterations=2, most_draws=50)
    (once, _), _ = run(plain, branch_at("plain", rarely))
    branch = branch_at("dynamic", rarely)
    rows, _ = run(dynamic, branch)
    assert once["zero_variance_share"] > 0.3
    assert "draws" not in once
    for row in rows:
        assert 1 < row["draws"] < 50
        assert row["filled_share"] == 0
        assert row["generated_tokens"] > row["trained_tokens"]
    assert rows[0]["advantage_std"] > once["advantage_std"]  # no group of zeros is left
    rate = rows[0]["zero_variance_share"]  # of all that were sampled
    assert 8 / (1 - rate) <= 8 * rows[0]["draws"] + 1e-6


def test_dynamic_sampling_is_bounded_and_fills_up(branch_at):
    branch = branch_at(score=first_word)
    settings = recipe("dapo", iterations=1, most_draws=2)
    (row,), _ = run(settings, branch)
    assert row["draws"] == 2
    found = round(16 * (1 - row["zero_variance_share"]))
    assert 0 < found < 8
    assert row["filled_share"] == pytest.approx(1 - found / 8)
    nothing = branch_at("nothing", lambda *_: paid(False, -1.0))
    (row,), weights = run(settings, nothing)
    assert (row["draws"], row["filled_share"]) == (2, 1)
    before = checkpoints.load_weights(nothing.start)
    assert all(torch.equal(weights[k], before[k]) for k in before)


def test_minibatches_that_a_small_pool_cannot_fill_are_named(branch_at):
    branch = branch_at(score=length)
    object.__setattr__(branch, "prompts", branch.prompts.head(3))
    with pytest.raises(HealscopeError, match=r"3 problems.* 24 responses.*minibatches \(16\)"):
        groups.train(recipe("grpo", iterations=1, minibatches=16), branch)


@pytest.mark.parametrize("algorithm", first(["dapo"], ALGORITHMS))
def test_two_updates_move_what_is_not_frozen(branch_at, base_manifest, algorithm):
    settings = recipe(algorithm, iterations=2, freeze=["embed_tokens", "lm_head", "norm"])
    rows, weights = run(settings, branch_at(score=length, max_new_tokens=40))
    before = checkpoints.load_weights(base_manifest)
    moved = {k for k in weights if not torch.equal(weights[k], before[k])}
    assert moved == {k for k in before if "proj" in k}
    assert [row["iteration"] for row in rows] == [1, 2]


def test_problems_are_those_of_ppo(branch_at):
    asked = []

    def noted(problem, text):
        asked.append(problem.problem_id)
        return length(problem, text)

    branch = branch_at(score=noted)
    run(recipe("grpo", iterations=2), branch)
    for i in range(2):
        drawn = draw(branch.prompts, 8, np.random.default_rng([0, 4, i]))["problem_id"]
        assert asked[i * 64 : (i + 1) * 64] == [p for p in drawn for _ in range(8)]


def test_a_pool_smaller_than_an_iteration_is_asked_as_a_whole(branch_at):
    branch = branch_at(score=length)
    object.__setattr__(branch, "prompts", branch.prompts.head(3))
    rows, _ = run(recipe("grpo", iterations=2), branch)
    assert rows[0]["generated_tokens"] <= 3 * 8 * 3


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        later("grpo", {"epochs": 2, "schedule": "cosine"}),
        ("dapo", {"kl_every": 2, "minibatches": 4, "most_draws": 3, "overlong": 0.5}),
        later("gspo", {"minibatches": 2, "epochs": 2}),
        later("dr_grpo", {"length_neutral": True}),
        later("rloo", {"kl_coefficient": 0.1}),
    ],
)
def test_a_killed_run_resumes_to_the_same_rows_and_weights(
    branch_at, monkeypatch, algorithm, changes
):
    monkeypatch.setattr(groups, "ROWS_AT_ONCE", 24)  # TRL shuffles rows into several micro-batches
    settings = recipe(algorithm, iterations=6, state_every=2, **changes)
    rows, weights = run(settings, branch_at("whole", length, 12))
    calls = 3 * 64 + 10  # in the fourth iteration

    def dies(problem, text):
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise KeyboardInterrupt
        return length(problem, text)

    killed = branch_at("killed", dies, 12)
    with pytest.raises(KeyboardInterrupt):
        groups.train(settings, killed)
    killed.work._lock.close()
    assert Workspace(killed.work.folder, "x").latest().step == 2
    again, resumed = run(settings, branch_at("killed", length, 12))
    assert timeless(again) == timeless(rows)
    assert all(torch.equal(resumed[k], weights[k]) for k in weights)
    done, same = run(settings, branch_at("killed", length, 12))  # killed before it was published
    assert done == again
    assert all(torch.equal(same[k], weights[k]) for k in weights)


def test_the_learning_rate_follows_the_schedule(branch_at):
    warm = Optimizer(learning_rate=0.01, warmup_steps=2)
    settings = recipe("grpo", iterations=4, epochs=3, schedule="cosine", optimizer=warm)
    rows, _ = run(settings, branch_at(score=length))
    expected = [0.01 * min(1, (i + 1) / 2) * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


def test_the_token_budget_ends_a_run_and_a_resumed_one(branch_at):
    settings = recipe("rloo", token_budget=500)
    rows, _ = run(settings, branch_at(score=length))
    used = [r["generated_tokens"] for r in rows]
    assert sum(used[:-1]) < 500 <= sum(used)
    again, _ = run(settings, branch_at(score=length))
    assert again == rows


@pytest.mark.parametrize(("kl_every", "reason"), [(None, "probabilities"), (1, "kl_from_")])
def test_weights_that_overflow_end_the_run_and_keep_its_log(branch_at, kl_every, reason):
    wild = Optimizer(learning_rate=1.0, warmup_steps=0).model_copy(update={"learning_rate": 1e30})
    branch = branch_at(score=length)
    with pytest.raises(Diverged, match=f"ppo-from-0: .*{reason}.*lower") as error:
        groups.train(recipe("grpo", optimizer=wild, kl_every=kl_every), branch)
    assert [row["iteration"] for row in error.value.rows] == [1]
    assert all(math.isfinite(v) for v in error.value.rows[0].values())


@pytest.mark.parametrize("algorithm", ["dr_grpo", "rloo"])
def test_a_loss_that_is_no_number_ends_the_run(branch_at, algorithm):
    def huge(problem, text):
        return paid(False, 3e38 * (len(text) % 3 - 1))

    branch = branch_at(score=huge)
    with pytest.raises(Diverged, match=r"is (nan|inf|-inf) in iteration 1; lower") as error:
        groups.train(recipe(algorithm), branch)
    assert error.value.rows[0]["generated_tokens"] > 0
    assert branch.work.latest() is None  # nothing that is not finite was kept


def test_nothing_is_printed(branch_at, capfd, monkeypatch):
    logging.disable_progress_bar()  # as jobs do
    monkeypatch.setattr(progress, "SECONDS_BEFORE_LINES", 1e9)  # on a slow machine too
    run(recipe("grpo", iterations=2, kl_coefficient=0.1), branch_at(score=length))
    assert capfd.readouterr() == ("", "")


@pytest.mark.long
def test_reward_without_success_is_told_once(branch_at, capfd):
    def hacked(problem, text):
        return paid(False, float(text.split()[:1] == ["cards"]))

    rows, _ = run(recipe("grpo", iterations=25), branch_at(score=hacked))
    assert not rows[18]["hacking_alarm"]
    assert rows[-1]["hacking_alarm"]
    assert capfd.readouterr().err.count("may be hacking") == 1
