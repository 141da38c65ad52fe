"""Refinements: right second attempts that are learned as first ones."""

import math

import pandas as pd
import pytest
import torch

from healscope.config import PPO, Optimizer, Protocol
from healscope.evaluation.attempts import attempts
from healscope.models import checkpoints
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.messages import messages
from healscope.tasks.problem import Verdict
from healscope.tasks.rewards import Scored
from healscope.training import ppo
from healscope.training.off_policy import shaped_loss
from healscope.training.references import log_ratios
from healscope.training.rollouts import rollout

GAME = GeneralPoints(name="g", cards=3, targets=(12,), rendering="compact", grade_number_line=True)
LINES = "cards 3 4 5 number 3 4 5 formula"
SMALL = {
    "iterations": 1, "responses": 16, "samples_per_prompt": 8, "kl_every": None, "credit": {},
    "freeze": ["embed_tokens"], "optimizer": Optimizer(learning_rate=0.01, warmup_steps=0),
}  # fmt: skip


def recipe(**off_policy):
    more = {"off_policy": off_policy} if off_policy else {}
    return PPO.model_validate({"algorithm": "ppo", **SMALL, **more})


@pytest.mark.parametrize(("p", "weight", "factor"), [(0.1, 0.5, 0.25), (1.0, 1 / 1.1, 0.0826)])
def test_the_weight_of_a_token_in_closed_form(p, weight, factor):
    """Weight p/(p + gamma), gradient factor gamma p/(p + gamma)^2, of an advantage of 1."""
    logprobs = torch.tensor([[math.log(p)]], requires_grad=True)
    loss = shaped_loss(logprobs, torch.ones(1, 1), torch.tensor([1.0]), gamma=0.1)
    loss.sum().backward()
    assert -loss.item() == pytest.approx(weight)
    assert -logprobs.grad.item() == pytest.approx(factor, rel=1e-3)


def test_padding_has_no_weight():
    logprobs = torch.log(torch.tensor([[0.1, 0.9], [0.1, 0.9]]))
    real = torch.tensor([[True, False], [True, True]])
    loss = shaped_loss(logprobs, real, torch.tensor([2.0, 2.0]), gamma=0.1)
    assert loss.tolist() == pytest.approx([-1.0, -(0.5 + 0.9)])


class Judge:
    """Finds all answers wrong until `seen` of them have come."""

    def __init__(self, first):
        self.first, self.seen = first, 0

    def __call__(self, problem, text):
        self.seen += 1
        good = self.seen > self.first
        return Scored(Verdict("correct" if good else "wrong_value", float(good), True), float(good))


def sampled(branch_at, settings, score):
    branch = branch_at(score=score, max_new_tokens=6)
    model, tokenizer = checkpoints.load_model(branch.start)
    sampler = branch.sampler(settings, prompt_states=True)
    return rollout(settings, sampler, model, tokenizer, branch.prompts, (0, 0)), tokenizer


def test_a_refinement_takes_one_place_of_eight_under_the_bare_prompt(branch_at):
    found, tokenizer = sampled(branch_at, recipe(feedback="outcome"), Judge(16))
    plain, _ = sampled(branch_at, recipe(), Judge(16))
    assert [t.off_policy for t in found.turns] == ([False] * 7 + [True]) * 2
    assert found.logged == {"repaired_share": 1.0, "off_policy_share": 1 / 8}
    assert len(found.unused) == 16
    for new, old in zip(found.turns, plain.turns, strict=True):
        assert new.prompt_ids == old.prompt_ids
        assert new.off_policy or new.response_ids == old.response_ids
    asked = tokenizer.decode(found.unused[0].prompt_ids, skip_special_tokens=True)
    assert "wrong again" in asked
    assert found.turns[7].reward == 1.0
    assert not any(t.success for t in found.sampled)  # the log is of first answers


def test_a_refinement_has_the_probability_that_it_has_after_the_bare_prompt(branch_at):
    """So that a policy which is its reference pays no KL penalty in the reward."""
    settings = recipe(feedback="outcome")
    found, tokenizer = sampled(branch_at, settings, Judge(16))
    reference, _ = checkpoints.load_model(branch_at("again").start)
    ratios = log_ratios(reference.eval(), tokenizer, found.turns, settings.temperature)
    assert any(t.off_policy for t in found.turns)
    assert ratios.abs().max() < 1e-3
    assert all(len(t.logprobs) == len(t.response_ids) for t in found.turns)


def test_groups_with_a_success_are_left_alone(branch_at):
    found, _ = sampled(branch_at, recipe(feedback="outcome"), Judge(7))
    assert not any(t.off_policy for t in found.turns)
    assert found.unused == []


def weights(branch_at, name, settings, score):
    branch = branch_at(name, score, 6)
    ppo.train(settings, branch)
    branch.work._lock.close()
    return checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


def test_share_0_is_grpo_bit_for_bit_and_another_share_is_not(branch_at):
    def rarely(problem, text):
        good = len(text) % 23 == 0
        return Scored(Verdict("correct" if good else "wrong_value", float(good), True), float(good))

    plain = weights(branch_at, "plain", recipe(), rarely)
    none = weights(branch_at, "none", recipe(share=0.0), rarely)
    assert all(torch.equal(plain[k], none[k]) for k in plain)
    some = weights(branch_at, "some", recipe(share=0.125), Judge(16))
    nothing = weights(branch_at, "nothing", recipe(), Judge(16))
    start = checkpoints.load_weights(branch_at("start").start)
    assert all(torch.equal(nothing[k], start[k]) for k in start)  # no reward, no step
    assert not all(torch.equal(some[k], start[k]) for k in start)


@pytest.mark.parametrize("changes", [{"credit": None}, {"prefixes": "expert"}])
def test_what_refinements_need_is_said(changes):
    with pytest.raises(ValueError, match="off_policy: needs"):
        PPO.model_validate({"algorithm": "ppo", **SMALL, "off_policy": {}, **changes})


def test_recipes_without_refinements_are_known_as_before():
    dumped = PPO.model_validate({"algorithm": "ppo", **SMALL}).model_dump()
    assert not {"off_policy", "prefixes"} & set(dumped)
    assert set(dumped["credit"]) == {"baseline", "spread", "tokens", "alpha"}


# What is said.


def hand(*cards):
    return make_problem(GAME, cards, "id", 12)


def said(level, text, problem=None):
    problem = problem or hand("3", "4", "5")
    return GAME.feedback(problem, GAME.verify(problem, text), text, level).message


def test_a_critique_and_its_leak_show_the_same_beginning():
    wrong = f"{LINES} ( 3 + 5 ) * 4 = 12"
    assert said("critique", wrong) == "wrong formula ( 3 + 5 ) invalid * again"
    assert said("leak", wrong) == "formula ( 3 + 5 ) again"
    assert said("none", wrong) == "again"
    number = f"{LINES} ( 3 + 9 ) * 4 = 12"
    assert said("critique", number) == "wrong formula ( 3 + invalid 9 again"
    line = f"{LINES.replace('number 3', 'number 2')} ( 3 + 5 ) + 4 = 12"
    assert said("critique", line).endswith("number again")
    assert said("leak", "") == "again"
    assert said("critique", "") == "wrong invalid again"


def test_a_critique_of_another_problem_is_that_of_the_next_group():
    one, two = hand("3", "4", "5"), hand("2", "4", "6")
    texts = [f"{LINES} ( 3 + 5 ) * 4 = 12", "cards 2 4 6 number 2 4 6 formula 2 - ( 4 + 6 ) = 12"]
    asked = [(p, GAME.verify(p, t), t) for p, t in zip((one, two), texts, strict=True)]
    own = [m.message for m in messages(GAME, asked, "critique")]
    assert [m.message for m in messages(GAME, asked, "another")] == own[::-1]
    assert own[0] != own[1]


class Obedient:
    """Errs in the last operator, and then writes what was shown and another operator than the one
    that it was told is invalid."""

    def __call__(self, conversations, purpose, temperature):
        return [self.answer(turns) for turns in conversations]

    def answer(self, turns):
        if len(turns) == 1:
            return f"{LINES} ( 3 + 5 ) * 4 = 12"
        words = turns[2].split(" J ")[0].split()
        wrong = turns[1].split("formula ")[1].split(" = ")[0].split()
        if "invalid" not in words or "formula" not in words:
            return turns[1]
        shown = words[words.index("formula") + 1 : words.index("invalid")]
        bad = words[words.index("invalid") + 1]
        if wrong[: len(shown)] != shown or wrong[len(shown)] != bad:
            return turns[1]
        return f"{LINES} {' '.join([*shown, '+', *wrong[len(shown) + 1 :]])} = 12"


def test_a_reader_that_obeys_repairs_all_by_critique_and_nothing_otherwise():
    row = GAME.problem_table().iloc[0].copy()
    row["cards"], row["values"], row["target"] = ["3", "4", "5"], [3, 4, 5], 12
    one = pd.DataFrame([row]).assign(draw=0, retried=True, rule="id")
    levels = ["none", "outcome", "leak", "critique"]
    found = attempts(Obedient(), GAME, one, Protocol(attempts=2, feedback=levels))
    right = found[found["attempt"] == 2].groupby("feedback")["correct"].mean()
    assert right.to_dict() == {"none": 0.0, "outcome": 0.0, "leak": 0.0, "critique": 1.0}
