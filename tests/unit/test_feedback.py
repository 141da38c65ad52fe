"""What a model is told after a wrong answer, and when that gives the rule away."""

import json
from dataclasses import replace

import pytest

from healscope.tasks.cards.feedback import feedback
from healscope.tasks.cards.game import make_problem, prompt
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.verifier import verify

JSON4 = GeneralPoints(name="gp4", cards=4, targets=(24,))
COMPACT = GeneralPoints(name="gp3", cards=3, targets=(8, 24), rendering="compact")
GRADED = replace(COMPACT, grade_number_line=True)
OOD = make_problem(JSON4, ("J", "Q", "A", "2"), "ood", 24)
ID = make_problem(JSON4, ("J", "10", "A", "2"), "id", 24)
QA5 = make_problem(COMPACT, ("Q", "A", "5"), "ood", 8)


def said(task, problem, text, level="full"):
    return feedback(task, problem, verify(task, problem, text), text, level)


def written(formula, number=None):
    answer = {"number": number, "formula": formula} if number else {"formula": formula}
    return json.dumps(answer)


def compact(formula, line="12 1 5"):
    return f"cards Q A 5 number {line} formula {formula} = 8"


def test_full_names_numbers_of_the_formula_and_of_the_cards():
    found = said(JSON4, OOD, written("10+10+2+2", [10, 10, 1, 2]))
    assert "formula: 10, 2." in found.message
    assert "not used: 11, 12, 1." in found.message
    assert found.leaks


@pytest.mark.parametrize(
    ("formula", "number", "leaks"),
    [
        ("10+10+1+2", None, True),
        ("11+10+1+2", None, True),  # 12 is news
        ("11+10+1+2", [11, 12, 1, 2], False),  # the line had it
        ("11+12+1", None, False),  # only the plain 2 is unused
        ("11+12+1+2", None, False),  # right numbers, wrong value
        ("11+12+", None, False),
        ("11+12+(1+2", None, False),  # unfinished
        ("10+x", None, False),  # illegal: no number is named
        ("", None, False),
    ],
)
def test_leaks(formula, number, leaks):
    assert said(JSON4, OOD, written(formula, number)).leaks is leaks


def test_a_value_that_a_plain_card_has_too():
    """10 stands for the J and for the 10: news only if the response has no 10 at all."""
    assert said(JSON4, ID, written("1+2")).leaks
    one = said(JSON4, ID, written("10+1+2"))
    assert "not used: 10." in one.message
    assert not one.leaks
    plain = make_problem(JSON4, ("10", "10", "A", "2"), "id", 24)
    assert not said(JSON4, plain, written("1+2")).leaks


def test_the_other_levels_do_not_depend_on_what_is_wrong():
    texts = [written("1+2"), written("11+12+1+2"), "nonsense", ""]
    for level in ("none", "outcome"):
        found = {said(JSON4, OOD, text, level) for text in texts}
        assert len(found) == 1
        message, leaks = found.pop()
        assert not leaks
        assert ("wrong" in message) == (level == "outcome")
        assert not any(letter.isdigit() for letter in message)


def test_json_messages():
    assert "equals 26, not 24" in said(JSON4, OOD, written("11+12+1+2")).message
    assert "equals 265/2, not 24" in said(JSON4, OOD, written("11*12+1/2")).message
    zero = make_problem(JSON4, ("A", "A", "2", "3"), "id", 24)
    assert "divides by zero" in said(JSON4, zero, written("2*3/(1-1)")).message
    for text in ("", "nonsense", written("11++12"), written("11+12+(1+2")):
        assert "no complete and legal formula" in said(JSON4, OOD, text).message
    graded = replace(JSON4, grade_number_line=True)
    line = said(graded, OOD, written("11+12+1+2", [12, 11, 1, 2]))
    assert '"number"' in line.message
    assert not line.leaks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (compact("11 + 1"), "wrong invalid 11 unused 12 5 again"),
        (compact("11 * 1 + 1"), "wrong invalid 11 1 unused 12 5 again"),
        (compact("99 * 1 + 5"), "wrong invalid unused 12 again"),
        (compact("1 + 5"), "wrong unused 12 again"),
        (compact("1 + 5 + 12 + 12"), "wrong invalid 12 again"),
        (compact("12 - 1 * 5"), "wrong = 7 again"),
        (compact("12 + 1 + 5"), "wrong again"),  # 18 is no word
        (compact("12 / 5 + 1"), "wrong again"),  # a fraction
        (compact("1 - 5 * 12"), "wrong again"),  # negative
        (compact("( 12 + 1 + 5"), "wrong invalid again"),
        (compact("12 12"), "wrong invalid again"),
        ("", "wrong invalid again"),
    ],
)
def test_compact_messages(text, expected):
    assert said(COMPACT, QA5, text).message == expected


def test_compact_levels_and_a_wrong_line():
    assert said(COMPACT, QA5, "", "none").message == "again"
    assert said(COMPACT, QA5, "", "outcome").message == "wrong again"
    found = said(GRADED, QA5, compact("12 + 1 - 5", line="10 1 5"))
    assert found == ("wrong number again", False)
    both = said(GRADED, QA5, compact("10 + 1 - 5", line="10 1 5"))
    assert both == ("wrong invalid 10 unused 12 again", True)


def test_what_feedback_refuses():
    with pytest.raises(ValueError, match="level must be"):
        said(COMPACT, QA5, "", "some")
    for level in ("outcome", "full"):
        with pytest.raises(ValueError, match="a correct answer"):
            said(COMPACT, QA5, compact("12 + 1 - 5"), level)
    assert said(COMPACT, QA5, compact("12 + 1 - 5"), "none").message == "again"


def test_follow_up():
    assert JSON4.follow_up(OOD, "Again.") == "Again."
    assert COMPACT.follow_up(QA5, "wrong again") == "wrong again J 11 Q 12 K 13 8 Q A 5 fD"
    assert COMPACT.follow_up(QA5, "again", "fG").endswith(prompt(COMPACT, QA5, "fG"))
