"""The error decomposition of verdicts, and hostile text through all that reads responses."""

from itertools import product
from typing import get_args

import pandas as pd
import pytest
from hostile_responses import hostile_responses

from healscope.tasks.cards.feedback import Level, feedback
from healscope.tasks.cards.game import LAYOUTS, RELEASED_REWARDS, compact_vocabulary, make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.verifier import (
    FIRST_ERRORS,
    first_error,
    first_errors,
    read_answer,
    verify,
)

COMPACT = GeneralPoints(
    name="gp3", cards=3, targets=(8, 24), rendering="compact", grade_number_line=True
)
JSON4 = GeneralPoints(name="gp4", cards=4, targets=(24,))
PROBLEM = make_problem(COMPACT, ("K", "A", "2"), "id", 8)
LINES = "cards K A 2 number 10 1 2 formula "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINES + "( 10 - 2 ) * 1 = 8", "none"),
        ("", "format"),
        ("formula ( 10 - 2 ) * 1 = 8", "format"),
        (LINES + "( 10 - 2 ) * 1", "format"),
        (LINES + "( 10 - 2 ) * 1 = 24", "format"),
        ("cards K A 2 number 13 1 2 formula ( 10 - 2 ) * 1 = 8", "number_line"),
        ("cards K A 2 number 1 10 2 formula ( 10 - 2 ) * 1 = 8", "number_line"),
        (LINES + "( 10 - 2 ) = 8", "formula_numbers"),
        (LINES + "( 13 - 2 ) * 1 = 8", "formula_numbers"),
        (LINES + "10 2 1 = 8", "formula_numbers"),
        (LINES + "= 8", "formula_numbers"),
        (LINES + "( 10 + 2 ) * 1 = 8", "arithmetic"),
        (LINES + "10 / ( 2 - 1 - 1 = 8", "formula_numbers"),
        (LINES + "( 10 - 2 * 1 = 8", "arithmetic"),
        (LINES + "10 - 2 * 1 + = 8", "arithmetic"),
    ],
)
def test_first_error_of_compact_answers(text, expected):
    verdict = verify(COMPACT, PROBLEM, text)
    judged = (verdict.parsed, verdict.follows_rule, verdict.uses_numbers, verdict.outcome)
    assert first_error(*judged) == expected


def test_truth_table():
    """Each step decides only if those before it are right."""
    wrong = [outcome for outcome in RELEASED_REWARDS if outcome != "correct"]
    for parsed, follows, uses, outcome in product(*[(True, False)] * 3, RELEASED_REWARDS):
        found = first_error(parsed, follows, uses, outcome)
        assert found in FIRST_ERRORS
        assert (found == "none") == (outcome == "correct")
    for outcome in wrong:
        assert first_error(False, True, True, outcome) == "format"
        assert first_error(True, False, True, outcome) == "number_line"
        assert first_error(True, True, False, outcome) == "formula_numbers"
        assert first_error(True, True, True, outcome) == "arithmetic"


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("( 10 - 2 ) * 1 = 8", "none"),
        ("( 10 + 2 ) * 1 = 8", "arithmetic"),
        ("( 13 - 2 ) * 1 = 8", "formula_numbers"),
        ("10 2 1 = 8", "formula_numbers"),
        ("= 8", "formula_numbers"),
        ("( 10 - 2 ) * 1", "format"),
    ],
)
def test_layouts_without_a_number_line_skip_its_step(formula, expected):
    text = f"formula {formula}"
    assert LAYOUTS["fA"] == ("formula",)
    verdict = verify(COMPACT, PROBLEM, text, "fA")
    answer = read_answer(COMPACT, PROBLEM, text, "fA")
    judged = (verdict.parsed, verdict.follows_rule, verdict.uses_numbers, verdict.outcome)
    assert first_error(*judged, line_asked=answer.line_asked) == expected


def test_read_answer_gives_line_and_formula():
    answer = read_answer(COMPACT, PROBLEM, LINES + "( 10 + 2 ) * 1 = 8")
    assert answer.line == (10, 1, 2)
    assert answer.formula.numbers == (10, 2, 1)
    assert answer.formula.value == 12
    nothing = read_answer(JSON4, make_problem(JSON4, "AAAA", "id", 24), "no")
    assert (nothing.parsed, nothing.line, nothing.formula.numbers) == (False, None, ())


def test_what_a_verdict_says_of_lines_and_targets():
    problem = make_problem(JSON4, ("A", "A", "2", "J"), "ood", 24)
    formula = '"formula": "(1+1)/2*11=24"'
    without = verify(JSON4, problem, f"{{{formula}}}")
    assert (without.outcome, without.follows_rule, without.uses_numbers) == (
        *("wrong_value", False, False),
    )
    there = verify(JSON4, problem, f'{{"number": [1, 1, 2, 11], {formula}}}')
    assert (there.follows_rule, there.uses_numbers) == (True, True)
    booleans = verify(JSON4, problem, f'{{"number": [true, 1, 2, 11], {formula}}}')
    assert (booleans.follows_rule, booleans.uses_numbers) == (False, False)
    thirds = make_problem(JSON4, ("3", "3", "8", "8"), "id", 24)
    unfinished = verify(JSON4, thirds, '{"formula": "8/(3-8/3"}')
    assert (unfinished.outcome, unfinished.reaches_target) == ("partial", False)
    assert verify(JSON4, thirds, '{"formula": "8/(3-8/3)"}').reaches_target


RELEASED = GeneralPoints(name="gp4", cards=4, targets=(24,), verifier="reference")
DEALT = make_problem(RELEASED, ("3", "3", "8", "8"), "id", 24)


@pytest.mark.parametrize(
    ("formula", "outcome", "faults"),
    [
        ("8/(3-8/3)=24", "correct", ()),  # floats miss the target there
        ("3*8+3-8", "wrong_value", ()),
        ("8/(3-3)+8", "wrong_value", ()),
        ("08+3+8+3", "wrong_value", ()),  # legal, and no Python
        ("3+8+3+8+", "wrong_value", ()),
        ("8+(3+8+3", "wrong_value", ()),
        ("8/(3-8/3", "partial", ()),
        ("(8/(3-8/3)", "wrong_value", ()),  # the released solver has no such form
        ("", "wrong_number", ("missing",)),
        ("(", "wrong_number", ("missing",)),
        ("8*3", "wrong_number", ("missing",)),
        ("8*3+8-3+1", "wrong_number", ("other",)),
        ("8*3*8*8", "wrong_number", ("other", "missing")),
        ("5*7", "wrong_number", ("other", "missing")),
        ("3+3+8+8+3", "wrong_number", ("other",)),
        ("9" * 5_000, "wrong_number", ("other", "missing")),
        ("-8+3+3+8", "illegal", ("break",)),
        ("8**3+3+8", "illegal", ("break",)),
        ("8+3+3+8)", "illegal", ("break",)),
        ("8(3)+3+8", "illegal", ("break", "break")),  # the bracket counts as never opened
        ("()", "illegal", ("break", "missing")),
        ("+", "illegal", ("break", "missing")),
        ("++", "illegal", ("break", "break", "missing")),
        ("8**5", "illegal", ("break", "other", "missing")),
        ("8 / (3-8/3)", "illegal", ("characters",)),
        ("8\u00d73", "illegal", ("characters",)),
        ("no formula", "illegal", ("characters",)),
        ("(" * 100 + "8/(3-8/3)" + ")" * 100, "correct", ()),
    ],
)
def test_released_rewards_are_the_sum_of_what_faults_cost(formula, outcome, faults):
    cost = {"break": "illegal", "characters": "illegal"}
    paid = [RELEASED.reward(cost.get(fault, "wrong_number")) for fault in faults]
    verdict = verify(RELEASED, DEALT, f'{{"formula": "{formula}"}}')
    assert (verdict.outcome, verdict.parsed) == (outcome, True)
    assert verdict.reward == (sum(paid) if faults else RELEASED.reward(outcome))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ('{"formula": "8/(3-8/3)"}', "correct"),
        ('{"formula":"8/(3-8/3)"}', "correct"),  # JSON
        ('```json\n{"formula": "8/(3-8/3)"}\n```', "correct"),
        ('```json\n{"formula":"8/(3-8/3)"}\n```', "no_answer"),  # one space after the colon
        ('```json\n{"formula":  "8/(3-8/3)"}\n```', "no_answer"),
        ('```json\n{"formula": "8\\/(3-8/3)"}\n```', "illegal"),  # escapes are not decoded
        ("{'formula': '8/(3-8/3)'}", "no_answer"),
        ('{"answer": {"formula": "8/(3-8/3)"}}', "correct"),
        ('{"formula": "8/(3-8/3)"} {"formula": "3+3+8+8"}', "correct"),  # the first one
        ('{"formula": "3+3+8+8", "formula": "8/(3-8/3)"}', "correct"),  # as Python has it
        ('<think>{"formula": "8/(3-8/3)"}</think> {"formula": "3+3+8+8"}', "correct"),
        ('{"formula": "8/(3-8/3)', "no_answer"),
        ('{"formula": 24}', "no_answer"),
        ("8/(3-8/3)", "no_answer"),
    ],
)
def test_released_reading(text, outcome):
    verdict = verify(RELEASED, DEALT, text)
    assert verdict.outcome == outcome
    assert verdict.reward == RELEASED.reward(outcome)


def test_first_errors_of_a_table():
    rows = pd.DataFrame(
        {
            "parsed": [True, False, True],
            "follows_rule": [False, False, True],
            "uses_numbers": [True, False, True],
            "outcome": ["correct", "no_answer", "wrong_value"],
        },
        index=[3, 1, 2],
    )
    found = first_errors(rows)
    assert found.to_dict() == {3: "none", 1: "format", 2: "arithmetic"}
    assert list(first_errors(rows.iloc[:0])) == []


def test_hostile_responses_get_a_verdict_an_error_and_feedback():
    outcomes, errors, vocabulary = set(), set(), {}
    for task, problem, text in hostile_responses(12_000, seed=0):
        verdict = verify(task, problem, text)
        judged = (verdict.parsed, verdict.follows_rule, verdict.uses_numbers, verdict.outcome)
        error = first_error(*judged)
        outcomes.add(verdict.outcome)
        errors.add(error)
        assert (error == "none") == (verdict.outcome == "correct")
        for level in get_args(Level):
            if verdict.outcome == "correct" and level != "none":
                continue
            said = feedback(task, problem, verdict, text, level)
            assert level == "full" or not said.leaks
            assert len(said.message) < 1_000
            if task.rendering == "compact":
                words = vocabulary.setdefault(task.name, set(compact_vocabulary(task)))
                assert set(task.follow_up(problem, said.message).split()) <= words
    assert outcomes == set(RELEASED_REWARDS)
    assert errors == set(FIRST_ERRORS)
