"""TRL's group-relative algorithms: gradients against closed forms, a bandit, resume, failures."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import logging

from healscope.config import Group, Optimizer
from healscope.evaluation.generate import response_logprobs
from healscope.models import checkpoints, tokens
from healscope.tasks.rewards import Scored
from healscope.tasks.tables import draw
from healscope.tasks.verdict import Verdict
from healscope.training import groups
from healscope.training.health import Diverged
from healscope.training.state import Workspace

ALGORITHMS = ("grpo", "dapo", "dr_grpo", "rloo")
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
    """Pays for answers whose first word is `cards`: a bandit with as many arms as words."""
    good = text.split()[:1] == ["cards"]
    return paid(good, float(good))


def length(problem, text):
    """Pays differently for almost every response."""
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
    if algorithm == "grpo":
        return -(gain_BT.sum(1) / real_BT.sum(1)).mean()
    if algorithm == "dapo":
        return -gain_BT[ended_B].sum() / real_BT[ended_B].sum()
    if algorithm == "dr_grpo":
        return -gain_BT.sum() / (len(gain_BT) * most)
    return -gain_BT.sum(1).mean()


@pytest.mark.parametrize(("temperature", "rows_at_once"), [(1.0, 128), (0.7, 16)])
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
        ("grpo", {}),
        ("grpo", {"epochs": 2}),
        ("dapo", {"responses": 128}),
        ("dr_grpo", {}),
        ("rloo", {"epochs": 2}),
        ("rloo", {"kl_coefficient": 1e-3}),
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


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
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
        ("grpo", {"epochs": 2, "schedule": "cosine"}),
        ("dapo", {"kl_every": 2}),
        ("dr_grpo", {"length_neutral": True}),
        ("rloo", {"kl_coefficient": 0.1}),
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


def test_nothing_is_printed(branch_at, capfd):
    logging.disable_progress_bar()  # as jobs do
    run(recipe("grpo", iterations=2, kl_coefficient=0.1), branch_at(score=length))
    assert capfd.readouterr() == ("", "")


def test_reward_without_success_is_told_once(branch_at, capfd):
    def hacked(problem, text):
        return paid(False, float(text.split()[:1] == ["cards"]))

    rows, _ = run(recipe("grpo", iterations=25), branch_at(score=hacked))
    assert not rows[18]["hacking_alarm"]
    assert rows[-1]["hacking_alarm"]
    assert capfd.readouterr().err.count("may be hacking") == 1
