"""Episodes: who is asked again, what is said, and what is logged of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from healscope.config import PPO
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints, tokens
from healscope.tasks.cards.verifier import Verdict
from healscope.tasks.rewards import Scored
from healscope.tasks.tables import draw
from healscope.training.released import tokens_before_formula
from healscope.training.turns import advantage_statistics, by_length, kl_nats, summary


def judged(good: bool) -> Scored:
    reward = 1.0 if good else -0.5
    return Scored(
        Verdict("correct" if good else "no_answer", reward, good, good, good, good), reward
    )


def even(problem, text):
    """A verdict that a random model gets right now and then."""
    return judged(len(text) % 3 == 0)


@pytest.fixture
def sampler(branch_at):
    recipe = PPO(algorithm="ppo", samples_per_prompt=2)
    return branch_at(score=even, max_new_tokens=6).sampler(recipe, attempts=3, feedback="outcome")


@pytest.fixture
def problems(tables):
    return draw(tables[2], 8, np.random.default_rng(0))


def test_episodes_stand_in_order_and_end_with_a_success_or_the_last_attempt(
    sampler, problems, model_and_tokenizer
):
    turns = sampler.sample(*model_and_tokenizer, problems, (0, 1))
    asked = [pid for pid in problems["problem_id"] for _ in range(2)]
    assert [t.problem.problem_id for t in turns if t.attempt == 1] == asked
    for e in range(16):
        own = [t for t in turns if t.episode == e]
        assert [t.attempt for t in own] == list(range(1, len(own) + 1))
        assert [t.last for t in own] == [False] * (len(own) - 1) + [True]
        assert all(t.verdict.outcome != "correct" for t in own[:-1])
        assert own[-1].verdict.outcome == "correct" or len(own) == 3
    assert {t.attempt for t in turns} == {1, 2, 3}


def test_later_turns_read_the_whole_conversation(sampler, problems, model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    turns = sampler.sample(model, tokenizer, problems, (0, 1))
    by_place = {(t.episode, t.attempt): t for t in turns}
    second = [t for t in turns if t.attempt == 2]
    assert second
    for turn in second:
        before = by_place[turn.episode, 1]
        talk = tokens.response_text(tokenizer, turn.prompt_ids)
        assert talk.startswith(tokens.response_text(tokenizer, before.prompt_ids))
        assert before.text in talk
        assert "wrong again" in talk


def test_log_probabilities_are_those_of_the_policy(sampler, problems, model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    for turn in sampler.sample(model, tokenizer, problems, (0, 1)):
        ids, mask, width, _ = tokens.encode_ids([turn.prompt_ids], [turn.response_ids], 0)
        with torch.no_grad():
            logprobs, _ = response_logprobs(model, ids, mask, width)
        np.testing.assert_allclose(logprobs[0], turn.logprobs, atol=1e-4)


def test_the_stream_decides(sampler, problems, model_and_tokenizer):
    first = [t.text for t in sampler.sample(*model_and_tokenizer, problems, (0, 1))]
    assert [t.text for t in sampler.sample(*model_and_tokenizer, problems, (0, 1))] == first
    assert [t.text for t in sampler.sample(*model_and_tokenizer, problems, (0, 2))] != first


def test_an_extra_attempt_costs_one_whatever_it_says(sampler, problems, model_and_tokenizer):
    turns = replace(sampler, extra_attempt=True).sample(*model_and_tokenizer, problems, (0, 1))
    extra = [t for t in turns if t.attempt == 4]
    assert extra
    assert {t.reward for t in extra} == {-1.0}
    assert any(t.verdict.outcome == "correct" for t in extra)  # and still it costs
    assert not any(t.success for t in extra)
    assert all(t.last for t in extra)


def test_summary_by_hand(sampler, problems, model_and_tokenizer):
    turns = sampler.sample(*model_and_tokenizer, problems, (0, 1))
    row = summary(turns, 2)
    first = [t for t in turns if t.attempt == 1]
    assert row["generated_tokens"] == sum(len(t.response_ids) for t in turns)
    assert row["turns_per_episode"] == len(turns) / 16
    assert row["correct_share"] == np.mean([t.reward > 0 for t in first])
    ends = [t for t in turns if t.last]
    assert row["episode_success_share"] == np.mean([t.reward > 0 for t in ends])
    assert row["episode_success_share"] > row["correct_share"]
    groups = [{t.reward for t in first[i : i + 2]} for i in range(0, 16, 2)]
    assert row["zero_variance_share"] == np.mean([len(g) == 1 for g in groups])
    assert row["reward_success_correlation"] == pytest.approx(1.0)  # two rewards, two verdicts
    assert "zero_variance_share" not in summary(turns, 1)


def test_advantage_statistics():
    two = advantage_statistics(np.array([1.0, -1.0, 1.0, -1.0]))
    assert two["advantage_std"] == 1.0
    assert two["advantage_entropy_nats"] == pytest.approx(np.log(2))
    assert advantage_statistics(np.zeros(5))["advantage_entropy_nats"] == 0.0
    even = advantage_statistics(np.linspace(0, 1, 2000))
    assert even["advantage_entropy_nats"] == pytest.approx(np.log(20), abs=1e-3)


def test_kl_is_zero_against_oneself_and_else_positive(sampler, problems, base_manifest):
    model, tokenizer = checkpoints.load_model(base_manifest)
    other, _ = checkpoints.load_model(base_manifest)
    turns = sampler.sample(model, tokenizer, problems, (0, 1))
    assert kl_nats(model, other, tokenizer, turns, 1.0) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        other.lm_head.weight.mul_(2)
    assert kl_nats(model, other, tokenizer, turns, 1.0) > 0.01


def test_the_formula_begins_where_its_word_does(problems, model_and_tokenizer, sampler):
    model, tokenizer = model_and_tokenizer
    turn = sampler.sample(model, tokenizer, problems, (0, 1))[0]
    for text, before in (
        ("cards 3 4 formula 3 + 4", 3),
        ("formula 3", 0),
        ("cards 3 4", 0),
        ("cards 3 4 5 6 7", 3),
    ):
        ids = tokens.response_ids(tokenizer, text)
        said = replace(turn, text=text, response_ids=ids)
        assert tokens_before_formula(tokenizer, said) == before


def test_batches_by_length_hold_every_turn_once(sampler, problems, model_and_tokenizer):
    turns = sampler.sample(*model_and_tokenizer, problems, (0, 1))
    batches = by_length(turns, 5)
    assert sorted(id(t) for b in batches for t in b) == sorted(map(id, turns))
    lengths = [len(t.prompt_ids) + len(t.response_ids) for b in batches for t in b]
    assert lengths == sorted(lengths)
