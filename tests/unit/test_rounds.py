"""DPO and rejection sampling: what a round learns from, its loss, a bandit, resume, failures."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from targets import first
from transformers.utils import logging

from healscope import progress
from healscope.config import DPO, Optimizer, RejectionSampling
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.verifier import Verdict
from healscope.tasks.rewards import Scored
from healscope.tasks.tables import draw
from healscope.training import rounds
from healscope.training.health import Diverged
from healscope.training.state import Workspace
from healscope.training.turns import Turn

COMMON = {
    "iterations": 10, "responses": 64, "samples_per_prompt": 8, "rounds": 5, "batch_size": 32,
    "kl_every": None, "freeze": ["embed_tokens"],
    "optimizer": Optimizer(learning_rate=0.01, warmup_steps=0, beta2=0.95),
}  # fmt: skip
RECIPES = {
    "dpo": DPO(algorithm="dpo", **COMMON),
    "rft": RejectionSampling(algorithm="rft", **COMMON),
}


def recipe(algorithm, **changes):
    return RECIPES[algorithm].model_copy(update=changes)


def paid(good, reward):
    said = Verdict("correct" if good else "no_answer", reward, good, good, good, good)
    return Scored(said, reward)


def first_word(problem, text):
    """Pay for answers whose first word is `cards`: a bandit with as many arms as words."""
    good = text.split()[:1] == ["cards"]
    return paid(good, float(good))


def some(problem, text):
    """Call about half of all responses correct, and pay each differently."""
    return paid(len(text) % 2 == 0, float(len(text) % 2 == 0) + 0.01 * len(text))


def never(problem, text):
    return paid(False, -1.0)


def run(settings, branch):
    found = rounds.train(settings, branch)
    branch.work._lock.close()  # as when the process ends
    return found, checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


def timeless(rows):
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]


def turn(good, reward, response, cards="A23"):
    problem = make_problem(GeneralPoints(name="gp3", cards=3, targets=(6,)), tuple(cards), "id", 6)
    verdict = paid(good, reward).verdict
    return Turn(problem, 0, 1, [1, len(cards)], response, [], "", verdict, reward, True)


@given(
    st.lists(st.integers(0, 4), max_size=5),
    st.lists(st.integers(0, 4), max_size=5),
)
def test_pairs_are_disjoint_ordered_by_reward_and_as_many_as_can_be(good, bad):
    turns = [turn(True, r, [i]) for i, r in enumerate(good)]
    turns += [turn(False, r, [100 + i]) for i, r in enumerate(bad)]
    found = rounds.pairs(turns)
    assert all(c.verdict.outcome == "correct" != r.verdict.outcome for c, r in found)
    assert all(c.reward > r.reward for c, r in found)
    used = [t.response_ids[0] for pair in found for t in pair]
    assert len(set(used)) == len(used)

    def most(good, bad):
        if not good:
            return 0
        skipped = most(good[1:], bad)
        taken = [
            1 + most(good[1:], bad[:i] + bad[i + 1 :]) for i, r in enumerate(bad) if r < good[0]
        ]
        return max([skipped, *taken])

    assert len(found) == most(good, bad)


def test_pairs_are_of_one_problem():
    turns = [turn(True, 1.0, [7], "A23"), turn(False, 0.0, [8], "2A3")]
    assert rounds.pairs(turns) == []
    answered = [*turns, turn(False, 0.0, [9], "A23")]
    ((chosen, rejected),) = rounds.pairs(answered)
    assert (chosen.response_ids, rejected.response_ids) == ([7], [9])
    assert rounds.examples(recipe("dpo"), answered) == [
        {"prompt_ids": [1, 3], "chosen_ids": [7], "rejected_ids": [9]}
    ]


def test_rejection_keeps_distinct_correct_responses():
    turns = [turn(True, 1.0, [7, 2]), turn(False, 1.0, [8]), turn(True, 0.0, [7, 2])]
    turns += [turn(True, 1.0, [9])]
    assert rounds.examples(recipe("rft"), turns) == [
        {"input_ids": [1, 3, 7, 2], "labels": [-100, -100, 7, 2]},
        {"input_ids": [1, 3, 9], "labels": [-100, -100, 9]},
    ]


def first_turns(branch, settings, model, tokenizer):
    problems = draw(branch.prompts, 8, np.random.default_rng([0, 4, 0]))
    return branch.sampler(settings).sample(model, tokenizer, problems, (0, 5, 0))


def test_dpo_compares_with_the_start_of_each_round(branch_at):
    """One step a round: there the policy is its reference, whose loss is log 2."""
    branch = branch_at(score=some)
    settings = recipe("dpo", iterations=3, rounds=3, batch_size=500)
    model, tokenizer = checkpoints.load_model(branch.start)
    learned = rounds.examples(settings, first_turns(branch, settings, model, tokenizer))
    rows, _ = run(settings, branch)
    assert [row["policy_loss"] for row in rows] == pytest.approx([math.log(2)] * 3, abs=1e-5)
    ids = [e["chosen_ids"] + e["rejected_ids"] for e in learned]
    assert rows[0]["trained_tokens"] == sum(map(len, ids)) > 0
    # and its first gradient is beta/2 that of log pi(y-) - log pi(y+), as eq. 7 has it
    checkpoints.freeze(model, settings.freeze)
    total = 0.0
    for sign, column in ((1, "rejected_ids"), (-1, "chosen_ids")):
        encoded = tokens.encode_ids(
            [e["prompt_ids"] for e in learned], [e[column] for e in learned], tokenizer.pad_token_id
        )
        logps_BT, _ = response_logprobs(model, *encoded[:3])
        total = total + sign * (logps_BT * encoded[3]).sum(1).mean()
    (settings.beta / 2 * total).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.requires_grad])
    assert rows[0]["gradient_norm"] == pytest.approx(norm.item(), rel=1e-3)


def test_rejection_sampling_lowers_the_loss_of_correct_responses(branch_at):
    branch = branch_at(score=some)
    settings = recipe("rft", iterations=1, rounds=1, batch_size=500)
    model, tokenizer = checkpoints.load_model(branch.start)
    turns = first_turns(branch, settings, model, tokenizer)
    kept = {tuple(t.prompt_ids + t.response_ids): t for t in turns if len(t.text) % 2 == 0}
    assert 0 < len(kept) < len(turns)
    ids, mask, width, real_BT = tokens.encode_ids(
        [t.prompt_ids for t in kept.values()],
        [t.response_ids for t in kept.values()],
        tokenizer.pad_token_id,
    )
    with torch.no_grad():
        logps_BT, _ = response_logprobs(model, ids, mask, width)
    (row,), _ = run(settings, branch)
    loss = -(logps_BT * real_BT).sum() / real_BT.sum()
    assert row["policy_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert row["trained_tokens"] == real_BT.sum()


@pytest.mark.parametrize("algorithm", first(["dpo"], RECIPES))
def test_a_bandit_is_solved(branch_at, algorithm):
    settings = recipe(algorithm, iterations=20, rounds=10, kl_every=10)
    rows, _ = run(settings, branch_at(score=first_word))
    assert [row["iteration"] for row in rows] == list(range(2, 21, 2))
    assert rows[0]["correct_share"] < 0.2
    assert rows[-1]["correct_share"] > 0.8
    assert rows[-1]["entropy_nats"] < rows[0]["entropy_nats"]
    assert rows[-1]["kl_from_start_nats"] == rows[-1]["kl_from_base_nats"] > 0


@pytest.mark.parametrize("algorithm", RECIPES)
def test_problems_are_those_of_ppo(branch_at, algorithm):
    asked = []

    def noted(problem, text):
        asked.append(problem.problem_id)
        return some(problem, text)

    branch = branch_at(score=noted)
    rows, _ = run(recipe(algorithm, iterations=5, rounds=2), branch)
    assert [row["iteration"] for row in rows] == [3, 5]
    expected = []
    for i in range(5):
        drawn = draw(branch.prompts, 8, np.random.default_rng([0, 4, i]))["problem_id"]
        expected += [p for p in drawn for _ in range(8)]
    assert asked == expected


@pytest.mark.parametrize("algorithm", RECIPES)
def test_two_rounds_move_what_is_not_frozen(branch_at, base_manifest, algorithm):
    frozen = ["embed_tokens", "lm_head", "norm"]
    settings = recipe(algorithm, iterations=2, rounds=2, freeze=frozen)
    _, weights = run(settings, branch_at(score=some))
    before = checkpoints.load_weights(base_manifest)
    moved = {k for k in weights if not torch.equal(weights[k], before[k])}
    assert moved == {k for k in before if "proj" in k}


@pytest.mark.parametrize("algorithm", RECIPES)
def test_a_round_that_finds_nothing_trains_nothing(branch_at, base_manifest, algorithm):
    rows, weights = run(recipe(algorithm, iterations=3, rounds=3), branch_at(score=never))
    assert [row["trained_tokens"] for row in rows] == [0, 0, 0]
    before = checkpoints.load_weights(base_manifest)
    assert all(torch.equal(weights[k], before[k]) for k in weights)


@pytest.mark.parametrize(
    ("algorithm", "killed_in"),
    first([("dpo", "training")], product(RECIPES, ["training", "sampling"])),
)
def test_a_killed_run_resumes_to_the_same_rows_and_weights(
    branch_at, monkeypatch, algorithm, killed_in
):
    settings = recipe(algorithm, iterations=6, rounds=3, batch_size=12, schedule="cosine")
    rows, weights = run(settings, branch_at("whole", some))
    calls = 3 * 64 + 10  # in the second round

    def dies(problem, text):
        nonlocal calls
        calls -= killed_in == "sampling"
        if calls < 0:
            raise KeyboardInterrupt
        return some(problem, text)

    killed = branch_at("killed", dies)
    if killed_in == "training":
        real = rounds._Logs.on_log

        def stops(self, *args, **kwargs):
            real(self, *args, **kwargs)
            if len(self.steps) == 2 and killed.work.latest():
                raise KeyboardInterrupt

        monkeypatch.setattr(rounds._Logs, "on_log", stops)
    with pytest.raises(KeyboardInterrupt):
        rounds.train(settings, killed)
    monkeypatch.undo()
    killed.work._lock.close()
    assert Workspace(killed.work.folder, "x").latest().step == 1
    again, resumed = run(settings, branch_at("killed", some))
    assert timeless(again) == timeless(rows)
    assert all(torch.equal(resumed[k], weights[k]) for k in weights)
    done, _ = run(settings, branch_at("killed", some))  # killed before it was published
    assert done == again


def test_the_learning_rate_is_constant_within_a_round(branch_at):
    rows, _ = run(recipe("rft", schedule="cosine"), branch_at(score=some))
    expected = [0.01 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(0, 10, 2)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


def test_the_token_budget_ends_a_run_within_a_round(branch_at):
    settings = recipe("rft", token_budget=500)
    rows, _ = run(settings, branch_at(score=some))
    assert [row["iteration"] for row in rows] == [2, 3]  # 192 tokens an iteration, at most
    assert sum(row["generated_tokens"] for row in rows) >= 500
    assert run(settings, branch_at(score=some))[0] == rows


@pytest.mark.parametrize("algorithm", RECIPES)
@pytest.mark.parametrize(("kl_every", "reason"), [(None, ""), (1, "kl_from_")])
def test_weights_that_overflow_end_the_run_and_keep_its_log(branch_at, algorithm, kl_every, reason):
    wild = Optimizer(learning_rate=1.0, warmup_steps=0).model_copy(update={"learning_rate": 1e30})
    settings = recipe(algorithm, optimizer=wild, kl_every=kl_every, batch_size=500)
    with pytest.raises(Diverged, match=f"ppo-from-0: .*{reason}.*lower") as error:
        rounds.train(settings, branch_at(score=some))
    assert [row["iteration"] for row in error.value.rows] == [2]
    assert all(math.isfinite(v) for v in error.value.rows[0].values())


@pytest.mark.parametrize("algorithm", RECIPES)
def test_nothing_is_printed(branch_at, capfd, monkeypatch, algorithm):
    logging.disable_progress_bar()  # as jobs do
    monkeypatch.setattr(progress, "SECONDS_BEFORE_LINES", 1e9)  # on a slow machine too
    run(recipe(algorithm, iterations=2, rounds=2), branch_at(score=some))
    assert capfd.readouterr() == ("", "")
