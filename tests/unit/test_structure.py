"""Answers of the card game as forms, solutions and choices: against brute force, and planted."""

import json
from itertools import product

import pytest

from healscope.tasks.cards import structure
from healscope.tasks.cards.expressions import evaluate
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.solver import formulas

GAME = GeneralPoints(
    name="g", cards=3, targets=(9, 12, 24), rendering="compact", grade_number_line=True
)
RIGHT = "cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4 = 12"


def problem(*cards: str, target: int = 12, game=GAME):
    return make_problem(game, cards, "id", target)


P = problem("3", "4", "5")


def spelled(values, longest: int = 11, deepest: int = 2) -> list[tuple[str, ...]]:
    """All formulas that use each value once, with brackets anywhere, up to a length."""
    found = []

    def go_on(words, left, level, operand):
        if len(words) > longest:
            return
        if not operand and not left and not level:
            found.append(tuple(words))
        if operand:
            for value in sorted(set(left)):
                rest = list(left)
                rest.remove(value)
                go_on([*words, str(value)], rest, level, False)
            if left and level < deepest:
                go_on([*words, "("], left, level + 1, True)
        else:
            for operator in "+-*/" if left else "":
                go_on([*words, operator], left, level, True)
            if level:
                go_on([*words, ")"], left, level - 1, False)

    go_on([], list(values), 0, True)
    return found


@pytest.mark.parametrize(
    ("cards", "target"), [(("3", "4", "5"), 12), (("8", "8", "A"), 9), (("7", "7", "7"), 12)]
)
def test_alive_is_what_brute_force_finds(cards, target):
    posed = problem(*cards, target=target)
    every = spelled(posed.values)
    values = {words: evaluate(words) for words in every}
    alive = {
        words[:i]
        for words, e in values.items()
        if e.denominator and e.numerator == target * e.denominator
        for i in range(len(words) + 1)
    }
    starts = {words[:i] for words in every for i in range(min(len(words), 6) + 1)}
    assert len(starts) > 300
    wrong = [s for s in starts if structure.alive_after(posed, s) != (s in alive)]
    assert not wrong, wrong[:3]


def test_every_wrong_answer_has_one_first_error():
    """Of all answers that right and wrong words in each place make, by brute force."""
    lines = {"right": "3 4 5", "wrong": "3 4 6"}
    wholes = 0
    for cards, number, words in product(lines, lines, spelled(P.values, 9)[::7]):
        text = f"cards {lines[cards]} number {lines[number]} formula {' '.join(words)} = 12"
        kind = structure.first_error(GAME, P, text)
        right = GAME.verify(P, text).outcome == "correct"
        wholes += 1
        if "wrong" in (cards, number):
            assert kind == "execution"
        else:
            assert kind == ("" if right else "plan"), text
    assert wholes > 200


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (RIGHT, ""),
        ("cards 3 4 5 number 3 4 5 formula ( 3 + ( 5 ) ) + 4 = 12", ""),  # brackets for nothing
        ("", "execution"),
        ("formula ( 3 + 5 ) + 4 = 12", "execution"),  # another layout
        ("cards 3 4 5 number 3 4 5", "execution"),  # stops early
        ("cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4", "execution"),
        ("cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4 = 9", "execution"),
        ("cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4 = 12 again", "execution"),
        ("cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 6 = 12", "execution"),  # no such number
        ("cards 3 4 5 number 3 4 5 formula ( 3 - 5 ) + 4 = 12", "plan"),
        ("cards 3 4 5 number 3 4 5 formula 5 / 3 + 7", "plan"),  # dead before the wrong number
        ("cards 3 4 5 number 3 4 5 formula ( 3 - 5", "plan"),  # dead before it stops
    ],
)
def test_first_errors_of_planted_answers(text, kind):
    assert structure.first_error(GAME, P, text) == kind


def test_an_ungraded_number_line_kills_nothing():
    free = GeneralPoints(name="g", cards=3, targets=(12,), rendering="compact")
    text = "cards 3 4 5 number 3 4 6 formula ( 3 - 5 ) + 4 = 12"
    assert structure.first_error(free, problem("3", "4", "5", game=free), text) == "plan"
    assert structure.first_error(GAME, P, text) == "execution"


def test_choices_are_plans_and_what_is_told_is_execution():
    found = structure.decisions(GAME, P, RIGHT)
    assert [RIGHT[d.start : d.end] for d in found] == [*RIGHT.split(), ""]
    assert all(d.legal for d in found)
    plans = "".join(RIGHT[d.start : d.end] for d in found if d.kind == "plan")
    # the last number, its bracket and the end leave no choice: but an operator or a bracket does
    assert plans == "(3+5)+"
    stopped = structure.decisions(GAME, P, "cards 3 4 6 number 3")
    assert [d.legal for d in stopped] == [True, True, True, False]
    assert structure.decisions(GAME, P, "")[0].legal is False


@pytest.mark.parametrize(
    ("text", "form", "right"),
    [
        (RIGHT, "fD", True),
        ("formula ( 3 + 5 ) + 4 = 12", "fA", True),
        ("number 3 4 5 formula ( 3 + 5 ) + 4 = 12", "fB", True),
        ("cards 3 4 5 formula ( 3 + 5 ) - 4 = 12", "fC", False),
        ("number 3 4 5 cards 3 4 5 formula ( 3 + 5 ) + 4 = 12", "other", False),
        ("3 + 5 + 4", "other", False),
        ("", "other", False),
    ],
)
def test_answers_are_judged_by_the_form_that_they_have(text, form, right):
    assert GAME.form(P, text) == form
    assert form in GAME.forms()
    assert (GAME.verify_in_form(P, text).outcome == "correct") == right
    assert (GAME.verify(P, text).outcome == "correct") == (right and form == "fD")


def test_solutions_that_say_the_same_have_one_name():
    texts = ["formula ( 3 + 5 ) + 4 = 12", "formula 4 + ( 5 + 3 ) = 12", RIGHT]
    assert len({GAME.solution(P, t) for t in texts}) == 1
    other = GAME.solution(P, "formula ( 3 - 5 ) + 4 = 12")
    assert other not in {None, GAME.solution(P, RIGHT)}
    assert GAME.solution(P, "formula ( 3 + = 12") is None
    named = {GAME.solution(P, f"formula {' '.join(f)} = 12") for f in formulas(P.values, 12)}
    assert len(named) == len({n for n in named if n})


@pytest.mark.parametrize("verifier", ["tolerant", "reference"])
@pytest.mark.parametrize(
    "said", ["08+2+2", "1234567+1", "+".join("1" * 40), "٣+٤+٥", "(" * 60 + "3" + ")" * 60, "1/0"]
)
def test_a_formula_that_one_verifier_alone_reads_has_no_solution(said, verifier):
    chat = GeneralPoints(name="g", cards=3, targets=(12,), verifier=verifier)
    posed = problem("3", "4", "5", game=chat)
    found = chat.solution(posed, json.dumps({"formula": f"{said}=12"}))
    assert (found is None) == (said != "1/0")


def test_json_answers_have_forms_and_first_errors():
    chat = GeneralPoints(name="g", cards=3, targets=(12,))
    posed = problem("3", "4", "5", game=chat)
    bare = '{"cards": ["3", "4", "5"], "number": [3, 4, 5], "formula": "3+4+5=12"}'
    assert chat.form(posed, bare) == "json"
    assert chat.form(posed, f"```json\n{bare}\n```") == "json in a fence"
    assert chat.form(posed, f"So: {bare}") == "json among words"
    assert chat.form(posed, "no idea") == "other"
    assert chat.first_error(posed, bare) == ""
    assert chat.first_error(posed, bare.replace("3+4+5", "3*4+5")) == "plan"
    assert chat.first_error(posed, bare.replace("3+4+5", "3*4")) == "execution"


@pytest.mark.parametrize(
    "text", ["(" * 5000, "cards " * 5000, "formula = = 12", "\x00 😀 ´", "= 12"]
)
def test_hostile_answers_are_read_too(text):
    for game in (GAME, GeneralPoints(name="g", cards=3, targets=(12,))):
        posed = problem("3", "4", "5", game=game)
        assert game.first_error(posed, text) == "execution"
        assert game.form(posed, text) in game.forms()
        assert game.solution(posed, text) is None
        game.decisions(posed, text)
