"""The exact verifier of GeneralPoints: one response in, one verdict out.

No response makes it raise, and its work is bounded by MAX_RESPONSE. The released verifier adds
penalties, compares floats (8/(3-8/3) = 24 fails there) and gives +1 to an unfinished formula;
here there is one outcome of a closed list, and equality is exact.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from healscope.tasks.expressions import MAX_DIGITS, Expression, evaluate, parse, tokenise
from healscope.tasks.generalpoints import LAYOUTS, GeneralPoints, Problem
from healscope.tasks.protocol import EVALUATION_FORMAT, MAX_RESPONSE, Verdict

if TYPE_CHECKING:
    import pandas as pd

# Counted repeats keep every search linear in the response. `\Z` admits a truncated formula.
_FORMULA = re.compile(
    r"""["']formula["']\s{0,32}:\s{0,32}(?:"([^"]{0,256})(?:"|\Z)|'([^']{0,256})(?:'|\Z))"""
)
_CLOSED_FORMULA = re.compile(
    r"""["']formula["']\s{0,32}:\s{0,32}(?:"([^"]{0,256})"|'([^']{0,256})')"""
)
_NUMBER_LINE = re.compile(r"""["']number["']\s{0,32}:\s{0,32}\[([^\]]{0,256})\]""")
_LITERAL = re.compile(rf"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")
_MAX_LINE = 64

FIRST_ERRORS = ("none", "format", "number_line", "formula_numbers", "arithmetic")
"""Results of `first_error`, in the order of the steps of an answer."""


class Answer(NamedTuple):
    """What a response says, whether right or wrong.

    Attributes:
        parsed: as in `Verdict`.
        formula: the formula before its first "="; "unfinished" without numbers where there is none.
        line: the numbers of the number line, or None where there is none.
        line_asked: the answer format has a number line.
        words: the formula's tokens as they stand, legal or not; empty where there is none.
    """

    parsed: bool
    formula: Expression
    line: tuple[int, ...] | None
    line_asked: bool
    words: tuple[str, ...] = ()


_NOTHING = Answer(False, Expression("unfinished"), None, False)


def verify(
    task: GeneralPoints, problem: Problem, text: str, format_token: str = EVALUATION_FORMAT
) -> Verdict:
    """Judge a response. The compact rendering must match the layout of the format token.

    Outcomes are decided in this order: no_answer, illegal, wrong_line (only if the task grades
    it), wrong_number, then partial, wrong_value or correct. "partial" is an unfinished formula that
    uses every number once and reaches the target when its brackets are closed. `parsed` is a
    formula field, or the whole compact layout; `follows_rule` and `uses_numbers` are False where
    there is no number line. Never raises on any `text`.
    """
    parsed, formula, line, line_asked, _ = read_answer(task, problem, text, format_token)
    state, numbers, numerator, denominator = formula
    used = sorted(numbers)
    follows_rule = line == problem.values
    reaches = denominator != 0 and numerator == problem.target * denominator
    complete = state == "complete"
    right_numbers = used == sorted(problem.values)

    if state == "illegal":
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
        task.rewards[outcome],
        parsed,
        follows_rule,
        line is not None and used == sorted(line),
        complete and reaches,
    )


def read_answer(
    task: GeneralPoints, problem: Problem, text: str, format_token: str = EVALUATION_FORMAT
) -> Answer:
    """Read a response as `verify` does. Never raises on any `text`."""
    if len(text) > MAX_RESPONSE:
        return _NOTHING
    if task.rendering == "json":
        return _read_json(text, task.verifier)
    return _read_compact(text, problem, LAYOUTS[format_token])


def first_error(
    parsed: bool, follows_rule: bool, uses_numbers: bool, outcome: str, *, line_asked: bool = True
) -> str:
    """The first step of an answer that failed, one of FIRST_ERRORS.

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
    """`first_error` of every row, indexed as they are.

    Needs the columns parsed, follows_rule, uses_numbers and outcome, of answers whose layout asks
    for a number line, as all evaluation does.
    """
    import pandas as pd

    columns = (rows[name] for name in ("parsed", "follows_rule", "uses_numbers", "outcome"))
    errors = [first_error(*judged) for judged in zip(*columns, strict=True)]
    return pd.Series(errors, index=rows.index, name="first_error", dtype=object)


def _read_json(text: str, mode: str) -> Answer:
    """The formula field up to its first "=", and the number line.

    Text that is not one JSON object (a trailing comma, single quotes, a code fence, a truncated
    end) is searched for the two fields; the first of each counts.
    """
    formula: Any = None
    line: tuple[int, ...] | None = None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        formula, line = answer.get("formula"), _number_line(answer.get("number"))
    else:
        pattern = _FORMULA if mode == "tolerant" else _CLOSED_FORMULA
        if field := pattern.search(text):
            formula = field[1] if field[1] is not None else field[2]
        if field := _NUMBER_LINE.search(text):
            words = field[1].strip().rstrip(",").split(",")
            line = _number_line([word.strip().strip("\"'") for word in words])
    if not isinstance(formula, str):
        return Answer(False, Expression("unfinished"), line, True)
    formula = formula.partition("=")[0]
    return Answer(True, parse(formula, mode), line, True, tokenise(formula))


def _number_line(raw: object) -> tuple[int, ...] | None:
    """A list of integers, or of strings of ASCII digits, as a tuple; anything else is None."""
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


def _read_compact(text: str, problem: Problem, layout: tuple[str, ...]) -> Answer:
    """The lines in their order, word for word, up to `= T` and nothing after it."""
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
        whole = stated == [str(problem.target)]
        if stated and not whole:
            return _NOTHING
    return Answer(whole, evaluate(formula), line, "number" in layout, tuple(formula))
