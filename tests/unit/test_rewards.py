"""Reward functions, one by one and added up."""

from typing import get_args

import numpy as np
import pytest

from healscope.config.recipe_bases import RewardName
from healscope.tasks.cards.game import make_problem, response
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.solver import formulas
from healscope.tasks.rewards import REWARDS, length_neutral, scorer

RENDERINGS = ("compact", "json")


@pytest.fixture(params=RENDERINGS)
def game(request):
    return GeneralPoints(name="gp3", cards=3, rendering=request.param)


@pytest.fixture
def problem(game):
    return make_problem(game, ("2", "3", "4"), "id", 24)


def paid(name, game, problem, text):
    return scorer(game, {name: 1.0})(problem, text).reward


def answers(game, problem):
    """Correct answers, the reference one first."""
    return [response(game, problem, f) for f in formulas(problem.values, problem.target)]


def test_the_config_names_exactly_the_functions_there_are():
    assert set(get_args(RewardName)) == set(REWARDS)


def test_published_table(game, problem):
    assert paid("verdict", game, problem, answers(game, problem)[0]) == 5
    assert paid("verdict", game, problem, "") == -3


def test_binary_pays_for_correct_answers_alone(game, problem):
    assert {paid("binary", game, problem, a) for a in answers(game, problem)} == {1.0}
    assert paid("binary", game, problem, "nonsense") == 0.0


def test_format_pays_whatever_parses(game, problem):
    wrong = response(game, problem, ("2", "+", "3", "+", "4"))
    assert paid("format", game, problem, wrong) == 1.0
    assert paid("format", game, problem, "nonsense") == 0.0


def test_canonical_punishes_other_solutions(game, problem):
    reference = answers(game, problem)[0]
    others = [a for a in answers(game, problem) if a != reference]  # 2*(3*4) may be written 2*3*4
    assert others
    assert paid("canonical", game, problem, reference) == 5
    assert {paid("canonical", game, problem, a) for a in others} == {-1}
    assert paid("canonical", game, problem, "") == -3


def test_prefix_pays_the_share_of_a_solution(game, problem):
    reference = formulas(problem.values, problem.target)[0]
    shares = []
    for at in range(len(reference) + 1):
        text = response(game, problem, reference).replace("=24", "").replace("= 24", "")
        if game.rendering == "compact":
            text = text.split("formula")[0] + "formula " + " ".join(reference[:at])
        else:
            text = '{"formula": "' + "".join(reference[:at]) + '"}'
        shares.append(paid("prefix", game, problem, text))
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    # JSON needs no "= target" after a formula, compact answers do
    assert (shares[-1] == 1.0) == (game.rendering == "json")
    assert 0.5 < shares[-2] < 1.0
    assert paid("prefix", game, problem, answers(game, problem)[-1]) == 1.0


def test_weights_add_up(game, problem):
    text = answers(game, problem)[0]
    score = scorer(game, {"verdict": 1.0, "format": 0.5, "binary": -2.0})
    assert score(problem, text).reward == 5 + 0.5 - 2
    assert score(problem, text).verdict.outcome == "correct"


@pytest.mark.parametrize("text", ["", "formula", '{"formula": 3}', "((((" * 5000, "9" * 20_000])
def test_no_response_makes_a_reward_raise(game, problem, text):
    for name in REWARDS:
        assert np.isfinite(paid(name, game, problem, text))


def test_length_neutral_takes_out_what_length_explains():
    lengths = np.array([5, 10, 15, 5, 10, 15])
    outcomes = ["correct"] * 3 + ["illegal"] * 3
    base = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    found = length_neutral(base - 0.1 * lengths, lengths, outcomes)
    np.testing.assert_allclose(found, base - 1.0)  # the mean cost stays
    np.testing.assert_allclose(length_neutral(base, lengths, outcomes), base)
    np.testing.assert_allclose(length_neutral(base, np.full(6, 7), outcomes), base)


def test_length_that_goes_with_the_verdict_keeps_its_pay():
    lengths, rewards = np.array([5, 5, 15, 15]), np.array([-1.0, -1.0, 1.0, 1.0])
    outcomes = ["illegal", "illegal", "correct", "correct"]
    np.testing.assert_allclose(length_neutral(rewards, lengths, outcomes), rewards)
