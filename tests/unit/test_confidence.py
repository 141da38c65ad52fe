"""Confidence that an answer states: the line, the verifier, and what a Brier reward pays."""

import numpy as np
import pytest

from healscope.errors import HealscopeError
from healscope.tasks.cards import confidence, structure
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.rewards import scorer

SETTINGS = {"name": "sure", "cards": 3, "targets": (24,), "rendering": "compact"}


@pytest.fixture
def task():
    return GeneralPoints(**SETTINGS, confidence=True, grade_number_line=True)


@pytest.fixture
def problem(task):
    return make_problem(task, ("2", "3", "4"), "id", 24)


def test_a_reference_answer_ends_with_a_confidence_and_is_correct(task, problem):
    plain = GeneralPoints(**SETTINGS)
    for with_line, without in zip(task.answers(problem), plain.answers(problem), strict=True):
        assert with_line.startswith(f"{without} sure c")
        assert task.verify(problem, with_line).outcome == "correct"
        assert plain.verify(problem, with_line).outcome != "correct"
    assert set(confidence.WORDS) < set(task.words()) - set(plain.words())
    assert plain.confidence_in(problem, with_line) is None


def test_drawn_confidences_are_spread_evenly_and_stay():
    said = [confidence.drawn(str(i))[1] for i in range(2200)]
    assert said == [confidence.drawn(str(i))[1] for i in range(2200)]
    counts = np.unique(said, return_counts=True)[1]
    assert len(counts) == 11
    assert ((counts - 200) ** 2 / 200).sum() < 29.6  # chi square with 10 degrees, p > .001


@pytest.mark.parametrize("end", ["", "sure", "sure 7", "sure c11", "sure c7 c7", "sure c07", "c7"])
def test_an_answer_without_its_confidence_is_none(task, problem, end):
    answer = task.answers(problem)[0].rpartition(" sure")[0]
    said = task.verify(problem, f"{answer} {end}".strip())
    assert not said.parsed
    assert said.outcome in ("no_answer", "partial")
    assert scorer(task, {"brier": 1.0})(problem, f"{answer} {end}").reward == 0.0


@pytest.mark.parametrize("said", ["sure c0", "cards sure c0", "cards 2 3 4 number 2 3 4 sure c0"])
def test_a_confidence_alone_is_paid_nothing(task, problem, said):
    assert task.confidence_in(problem, said) == 0.0
    assert scorer(task, {"brier": 1.0})(problem, said).reward == 0.0


def test_decisions_go_through_the_line_and_count_its_word_as_no_plan(task, problem):
    answer = task.answers(problem)[0]
    decided = structure.decisions(task, problem, answer)
    assert all(d.legal for d in decided)
    assert [d.kind for d in decided[-3:]] == ["execution"] * 3  # sure, c?, the end
    assert decided[-3].start == answer.index("sure")
    broken = answer.replace("sure c", "sure d")
    assert task.first_error(problem, broken) == "execution"


@pytest.mark.parametrize(
    ("tenths", "right", "paid"),
    [(0, 1, 0), (10, 1, 1), (7, 1, 0.91), (0, 0, 1), (10, 0, 0), (3, 0, 0.91)],
)
def test_the_brier_reward_pays_by_the_square(task, problem, tenths, right, paid):
    answer = task.answers(problem)[0].rpartition(" ")[0]
    answer = answer if right else answer.replace("formula (", "formula 2 + (", 1)
    answer = f"{answer} c{tenths}"
    assert (task.verify(problem, answer).outcome == "correct") == bool(right)
    assert scorer(task, {"brier": 1.0})(problem, answer).reward == pytest.approx(paid)


@pytest.mark.parametrize("chance", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_the_best_confidence_is_the_chance_of_being_right(chance):
    q = np.arange(11) / 10
    expected = chance * (1 - (1 - q) ** 2) + (1 - chance) * (1 - q**2)
    assert q[expected.argmax()] == pytest.approx(chance)
    # with a bonus for being right the likeliest answer is best; a logarithmic score would have a
    # likely answer lose to one that is surely wrong
    worth = chance + expected.max()
    assert worth == pytest.approx(chance + 1 - chance * (1 - chance))
    assert worth >= 1.0  # what a surely wrong answer earns


def test_only_compact_answers_have_the_line():
    with pytest.raises(ValueError, match="confidence is a line of compact answers"):
        GeneralPoints(**SETTINGS | {"rendering": "json"}, confidence=True)


def test_a_task_without_it_is_written_as_before(study):
    assert "confidence" not in study.tasks["gp3"].model_dump(mode="json")
    with pytest.raises((HealscopeError, ValueError), match="confidence"):
        type(study.tasks["gp3"])(family="generalpoints", rendering="json", confidence=True)
