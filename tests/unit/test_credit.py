"""Credit of groups and tokens: parity with TRL's GRPO, closed forms, what choices favour."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from healscope.config import BUILT_IN, PPO, Credit, Group, Optimizer
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.problem import Verdict
from healscope.tasks.rewards import Scored
from healscope.training import credit, groups, ppo
from healscope.training.kept import token_ends
from healscope.training.rollouts import rollout

GAME = GeneralPoints(name="g", cards=3, targets=(12,), rendering="compact", grade_number_line=True)
SAID = "cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4 = 12"
SMALL = {
    "iterations": 1, "responses": 32, "samples_per_prompt": 4, "kl_every": None,
    "freeze": ["embed_tokens"], "optimizer": Optimizer(learning_rate=0.01, warmup_steps=0),
}  # fmt: skip


def length(problem, text):
    return Scored(Verdict("wrong_value", 0.0, True), 0.1 * len(text) - 1)


def run(trainer, settings, branch):
    trainer(settings, branch)
    branch.work._lock.close()  # as when the process ends
    return checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


def own(**of_credit):
    return PPO.model_validate({"algorithm": "ppo", **SMALL, "credit": of_credit})


def test_a_step_with_a_group_as_baseline_is_that_of_trls_grpo(branch_at):
    """On one frozen batch: prompts and responses have the same streams in both."""
    theirs = run(groups.train, Group(algorithm="grpo", **SMALL), branch_at("trl", length, 12))
    ours = run(ppo.train, own(), branch_at("own", length, 12))
    start = checkpoints.load_weights(branch_at("start").start)
    moved = max(float((ours[k] - start[k]).abs().max()) for k in ours)
    assert moved > 1e-3
    for name, weights in theirs.items():
        assert torch.allclose(ours[name], weights, atol=2e-5 + 1e-3 * moved), name


def test_alpha_changes_a_step_only_where_tokens_are_favoured(branch_at):
    plain = run(ppo.train, own(), branch_at("plain", length, 12))
    everywhere = run(ppo.train, own(tokens="all", alpha=0.5), branch_at("all", length, 12))
    nowhere = run(ppo.train, own(tokens="none", alpha=0.9), branch_at("none", length, 12))
    assert all(torch.equal(plain[k], nowhere[k]) for k in plain)
    assert not all(torch.equal(plain[k], everywhere[k]) for k in plain)


def test_a_lone_success_of_eight_in_closed_form():
    rewards = torch.tensor([1.0] + [0.0] * 7)
    assert credit.group_advantages(rewards, 8)[0] == pytest.approx(7 / 8**0.5, rel=1e-3)  # 2.47
    assert credit.group_advantages(rewards, 8, spread=False)[0] == pytest.approx(0.875)
    equal = credit.group_advantages(torch.ones(8), 4)
    assert torch.equal(equal, torch.zeros(8))


def test_favoured_tokens_count_more_up_and_less_down():
    gains = credit.per_token(
        torch.tensor([1.0, -1.0, 0.0]), torch.tensor([[1.0, 0.0]] * 3), alpha=0.2
    )
    expected = torch.tensor([[1.2, 1.0], [-0.8, -1.0], [0.0, 0.0]])
    assert torch.allclose(gains, expected)


def turn(said=SAID):
    """A turn whose tokens are its words and an end."""
    words = said.split()
    problem = make_problem(GAME, ("3", "4", "5"), "id", 12)
    rng = np.random.default_rng(0)
    return SimpleNamespace(
        problem=problem, text=said, prompt_ids=[], response_ids=list(range(len(words) + 1)),
        logprobs=(-rng.random(len(words) + 1)).tolist(),
    )  # fmt: skip


class Words:
    """Decodes numbers of words, and the end as nothing."""

    chat_template, added_tokens_decoder = None, {}

    def decode(self, ids, **_):
        return " ".join(SAID.split()[i] for i in ids if i < len(SAID.split()))


def chosen(tokens):
    given = Credit(tokens=tokens)
    (found,) = credit.favoured(given, GAME, Words(), [turn()], np.random.default_rng(1))
    return np.array(found)


def test_each_choice_favours_its_tokens():
    words = [*SAID.split(), ""]
    plan, execution = chosen("plan"), chosen("execution")
    assert [w for w, c in zip(words, plan, strict=True) if c] == ["(", "3", "+", "5", ")", "+"]
    assert (plan + execution == 1).all()
    assert chosen("all").all()
    placebo, entropy = chosen("placebo"), chosen("entropy")
    assert placebo.sum() == entropy.sum() == plan.sum()
    assert not np.array_equal(placebo, plan)
    least = np.argsort(turn().logprobs)[: int(plan.sum())]
    assert set(np.flatnonzero(entropy)) == set(least)


class Thinking:
    """Words of which the template has begun the reasoning; the mark that ends it is special."""

    words = ("so", "</think>", *SAID.split())
    chat_template = "… <think>"
    added_tokens_decoder = {1: SimpleNamespace(special=True, content="</think>")}

    def decode(self, ids, skip_special_tokens=False):
        if ids == ["asked"]:
            return "again <think>\n"
        kept = [i for i in ids if i < len(self.words) and not (skip_special_tokens and i == 1)]
        return " ".join(self.words[i] for i in kept)


def test_choices_are_found_behind_reasoning_that_the_template_began():
    words = Thinking.words
    posed = turn(" ".join(words))
    ids = posed.response_ids
    posed.prompt_ids, task = ["asked"], GAME
    posed.text = tokens.response_text(
        Thinking(), ids[:-1], reasoning=task.reasoning, prompt=posed.prompt_ids
    )
    assert posed.text == f"<think>{' '.join(words)}"
    ends = token_ends(Thinking(), posed, task.reasoning)
    assert [posed.text[a:b].strip() for a, b in pairwise([7, *ends])] == [*words, ""]
    rng = np.random.default_rng(1)
    (found,) = credit.favoured(Credit(tokens="plan"), task, Thinking(), [posed], rng)
    chosen = [w for w, c in zip([*words, ""], found, strict=True) if c]
    assert chosen == ["(", "3", "+", "5", ")", "+"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples_per_prompt": 1, "credit": {}}, "a group needs samples_per_prompt"),
        ({"attempts": 2, "credit": {"baseline": "value"}}, "needs attempts: 1"),
        ({"ratio": "response", "credit": {"baseline": "value", "tokens": "plan"}}, "ratio: token"),
    ],
)
def test_what_credit_cannot_be_given_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        PPO.model_validate({"algorithm": "ppo", **changes})


def test_recipes_without_credit_are_known_as_before():
    assert "credit" not in PPO.model_validate(BUILT_IN["ppo"]).model_dump()


# Groups that hold different rewards.


def sampled(branch_at, score, **of_credit):
    settings = own(**of_credit)
    branch = branch_at(score=score, max_new_tokens=6)
    model, tokenizer = checkpoints.load_model(branch.start)
    sampler = branch.sampler(settings, prompt_states=True)
    return rollout(settings, sampler, model, tokenizer, branch.prompts, (0, 0))


def rarely(problem, text):
    good = len(text) % 7 == 0
    return Scored(Verdict("correct" if good else "wrong_value", float(good), True), float(good))


def test_groups_without_a_spread_are_replaced_until_the_batch_is_full(branch_at):
    plain = sampled(branch_at, rarely)
    found = sampled(branch_at, rarely, groups="informative", most_draws=20)

    def spreads(turns):
        rewards = np.array([t.reward for t in turns]).reshape(-1, 4)
        return rewards.max(1) > rewards.min(1)

    assert not spreads(plain.turns).all()
    assert len(found.turns) == len(plain.turns) == 32
    assert spreads(found.turns).all()
    assert found.logged["draws"] > 1
    assert found.logged["filled_share"] == 0
    kept = np.concatenate([t.response_ids for t in plain.turns[:4]])
    first = np.concatenate([t.response_ids for t in found.sampled[:4]])
    assert np.array_equal(kept, first)  # the first draw is that of a batch of all groups
    few = sampled(branch_at, rarely, groups="informative", most_draws=1)
    assert len(few.turns) == 32
    assert few.logged["filled_share"] == np.mean(~spreads(few.turns)) > 0


def test_a_group_without_a_spread_contributes_no_gradient(branch_at):
    """Where no group has one, weights stay as they are."""
    branch = branch_at("equal", lambda *_: Scored(Verdict("correct", 1.0, True), 1.0), 6)
    after = run(ppo.train, own(groups="informative", most_draws=2), branch)
    before = checkpoints.load_weights(branch.start)
    assert all(torch.equal(after[k], before[k]) for k in after)
