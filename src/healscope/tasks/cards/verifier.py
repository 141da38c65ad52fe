"""The exact verifier of the card game: one response in, one verdict out.

No response makes it raise, and its work is bounded by MAX_RESPONSE. There is one outcome of a
closed list, and equality is exact. `verifier: reference` reads and pays as the released code does
(`tasks.released`), but for equality: 8/(3-8/3) = 24 fails there, where floats are compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from healscope.tasks.cards import confidence, released
from healscope.tasks.cards.expressions import MAX_DIGITS, Expression, evaluate, parse, tokenise
from healscope.tasks.cards.game import LAYOUTS, CardProblem, Game, asks_confidence
from healscope.tasks.problem import EVALUATION_FORMAT, Verdict
from healscope.tasks.responses import (
    MAX_RESPONSE,
    agreed,
    fields,
    holding,
    read,
    released_field,
    spoken,
)

if TYPE_CHECKING:
    import pandas as pd

_LITERAL = re.compile(rf"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")
_MAX_LINE = 64

_EQUALS = re.compile("[=＝]")
# What no formula has: a word, but for LaTeX's commands.
_WORDS = re.compile(r"(?<![\\a-zA-Z\t\f\r])[a-zA-Z]{2,}")

FIRST_ERRORS = ("none", "format", "number_line", "formula_numbers", "arithmetic")
"""Results of `first_error`, in the order of the steps of an answer."""


class Answer(NamedTuple):
    """The parts of a response, whether right or wrong.

    Attributes:
        parsed: as in `Verdict`.
        formula: the formula before its first "="; "unfinished" without numbers where there is none.
        line: the numbers of the number line, or None where there is none.
        line_asked: the answer format has a number line.
        words: the formula's tokens as they stand, legal or not; empty where there is none.
        text: the formula as it is written, before its first "=".
    """

    parsed: bool
    formula: Expression
    line: tuple[int, ...] | None
    line_asked: bool
    words: tuple[str, ...] = ()
    text: str = ""


_NOTHING = Answer(False, Expression("unfinished"), None, False)


def verify(
    task: Game, problem: CardProblem, text: str, format_token: str = EVALUATION_FORMAT
) -> Verdict:
    """Judge a response. The compact rendering must match the layout of the format token.

    Only what follows a model's reasoning counts (`task.reasoning`). Of several JSON objects the
    last counts, and where two formulas differ there is no answer. Outcomes are decided in this
    order: no_answer, illegal, wrong_line (only if the task grades it), wrong_number, then partial,
    wrong_value or correct. "partial" is an unfinished formula that uses every number once and
    reaches the target when its brackets are closed. `parsed` is a formula field, or the whole
    compact layout; `follows_rule` and `uses_numbers` are False where there is no number line.
    Never raises on any `text`.
    """
    answer = read_answer(task, problem, text, format_token)
    parsed, formula, line, line_asked = answer[:4]
    state, numbers, numerator, denominator = formula
    used = sorted(numbers)
    follows_rule = line == problem.values
    reaches = denominator != 0 and numerator == problem.target * denominator
    complete = state == "complete"
    right_numbers = used == sorted(problem.values)

    reward = None
    if task.as_released and parsed:
        outcome, reward = released.earned(
            answer.text, formula, problem.values, problem.target, task.reward
        )
    elif state == "illegal":
        outcome = "illegal"
    elif state == "oversized" or not numbers:
        outcome = "no_answer"
    elif not parsed:
        # A compact response that stops early, or departs from its layout.
        outcome = "partial" if right_numbers and reaches else "no_answer"
    elif task.grade_number_line and line_asked and not follows_rule:
        outcome = "wrong_line"
    elif not right_numbers:
        outcome = "wrong_number"
    elif reaches:
        outcome = "correct" if complete else "partial"
    else:
        outcome = "wrong_value"
    return Verdict(
        outcome,
        task.reward(outcome) if reward is None else reward,
        parsed,
        follows_rule,
        line is not None and used == sorted(line),
        complete and reaches,
    )


def read_answer(
    task: Game, problem: CardProblem, text: str, format_token: str = EVALUATION_FORMAT
) -> Answer:
    """Read a response as `verify` does. Never raises on any `text`."""
    if not task.as_released:
        text = spoken(text, task.reasoning)
    if len(text) > MAX_RESPONSE:
        return _NOTHING
    if task.as_released:
        return _read_as_released(text)
    if task.rendering == "json":
        return _read_json(text, task.grade_number_line)
    layout = LAYOUTS[format_token]
    return _read_compact(text, problem, layout, asks_confidence(task, layout))


def first_error(
    parsed: bool, follows_rule: bool, uses_numbers: bool, outcome: str, *, line_asked: bool = True
) -> str:
    """Return the first step of an answer that failed, one of FIRST_ERRORS.

    The first four arguments are those of the verdict. "none" is a correct answer; "format" one
    that did not parse; "number_line" has a line that is missing or breaks the rule, and is skipped
    where the layout asks for none; "formula_numbers" does not use the numbers of its own line, or
    is illegal or empty; "arithmetic" is a wrong or unfinished calculation with the right numbers.
    """
    if outcome == "correct":
        return "none"
    if not parsed:
        return "format"
    if line_asked:
        if not follows_rule:
            return "number_line"
        return "arithmetic" if uses_numbers else "formula_numbers"
    return "arithmetic" if outcome in ("wrong_value", "partial") else "formula_numbers"


def first_errors(rows: pd.DataFrame) -> pd.Series:
    """Return `first_error` of every row, with the index of `rows`.

    Needs the columns parsed, follows_rule, uses_numbers and outcome, of answers whose layout asks
    for a number line, as all evaluation does.
    """
    import pandas as pd

    columns = (rows[name] for name in ("parsed", "follows_rule", "uses_numbers", "outcome"))
    errors = [first_error(*judged) for judged in zip(*columns, strict=True)]
    return pd.Series(errors, index=rows.index, name="first_error", dtype=object)


def _read_json(text: str, graded: bool) -> Answer:
    """Return the formula up to its first "=", and the number line beside it.

    Answers differ by their formulas; where the number line is `graded`, by that too.
    """
    objects, rest = read(text)
    found = [
        _answer(formula, members.of("number"))
        for members in holding(objects, "formula")
        for formula in members.of("formula")
    ]
    if not found:  # broken, or cut off
        lines = [raw for raw in fields(rest, "number") if isinstance(raw, list)]
        found = [_answer(formula, lines[-1:]) for formula in fields(rest, "formula")]
    answer = agreed(found, lambda one: (one.parsed, one.words, graded and one.line), _is_template)
    if answer is None:
        lines = [raw for members in objects for raw in members.of("number")]
        return _answer(None, lines or fields(rest, "number"))
    return answer


def _answer(formula: object, lines: Sequence[object]) -> Answer:
    """Read the fields of one object. Number lines that differ count as none."""
    lines = {_number_line(raw) for raw in lines}
    line = lines.pop() if len(lines) == 1 else None
    if type(formula) is not str:  # words without quotes are none
        return Answer(False, Expression("unfinished"), line, True)
    formula = _EQUALS.split(formula, maxsplit=1)[0]
    return Answer(True, parse(formula), line, True, tokenise(formula), formula)


def _is_template(answer: Answer) -> bool:
    """Return whether a formula is a placeholder, or describes one in words."""
    return not answer.words or bool(_WORDS.search(answer.text))


def _read_as_released(text: str) -> Answer:
    formula, line = (released_field(text, key) for key in ("formula", "number"))
    if isinstance(line, str):
        line = [word.strip().strip("\"'") for word in line.strip().rstrip(",").split(",")]
    if not isinstance(formula, str):
        return Answer(False, Expression("unfinished"), _number_line(line), True)
    formula = formula.partition("=")[0]
    expression = released.read_formula(formula)
    return Answer(True, expression, _number_line(line), True, tokenise(formula), formula)


def _number_line(raw: object) -> tuple[int, ...] | None:
    """Return a list of integers, or of strings of ASCII digits, as a tuple; else None."""
    if not isinstance(raw, list) or len(raw) > _MAX_LINE:
        return None
    numbers = []
    for item in raw:
        if type(item) is str and _LITERAL.fullmatch(item):
            item = int(item)
        if type(item) is not int:  # a bool is an int to isinstance
            return None
        numbers.append(item)
    return tuple(numbers)


def _read_compact(
    text: str, problem: CardProblem, layout: tuple[str, ...], confident: bool
) -> Answer:
    """Read the lines in their order, word for word, up to `= T` and nothing after it but, where it
    is asked for, a line of confidence."""
    words = text.split()
    n, at, line = len(problem.cards), 0, None
    for name in layout[:-1]:
        members = words[at + 1 : at + 1 + n]
        if words[at : at + 1] != [name] or len(members) < n:
            return _NOTHING
        if name == "cards":
            if tuple(members) != problem.cards:
                return _NOTHING
        elif (line := _number_line(members)) is None:
            return _NOTHING
        at += 1 + n
    if words[at : at + 1] != ["formula"]:
        return Answer(False, Expression("unfinished"), line, "number" in layout)
    formula, whole = words[at + 1 :], False
    if "=" in formula:
        end = formula.index("=")
        formula, stated = formula[:end], formula[end + 1 :]
        right, after = stated[:1] == [str(problem.target)], stated[1:]
        whole = right and (confidence.is_line(after) if confident else not after)
        if stated and not whole and (after or not right):
            return _NOTHING
    return Answer(whole, evaluate(formula), line, "number" in layout, tuple(formula))
