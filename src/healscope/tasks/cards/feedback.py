"""What a model is told after a wrong answer, before it tries again.

How much the message says decides what a second attempt measures: at level "full" it can name
numbers that only the unseen rule gives, and so `leaks` marks it.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from healscope.tasks.cards.expressions import MAX_TOKENS, Expression, render, to_tree
from healscope.tasks.cards.game import (
    FACES,
    CardProblem,
    Game,
    compact_vocabulary,
)
from healscope.tasks.cards.solver import formulas
from healscope.tasks.cards.verifier import read_answer
from healscope.tasks.problem import EVALUATION_FORMAT, Feedback, Level, Verdict, at_level
from healscope.tasks.responses import same_start


class _Fault(NamedTuple):
    """The fault of an answer, in the terms of the published messages.

    Attributes:
        kind: "formula" (missing, illegal or unfinished), "numbers", "line" or "value".
        invalid: numbers in the formula that no card counts as, or that are used too often, each
            once, in the order of the formula.
        unused: what the cards count as that the formula leaves out, in the order of the cards.
    """

    kind: Literal["formula", "numbers", "line", "value"]
    invalid: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()


def feedback(
    task: Game,
    problem: CardProblem,
    verdict: Verdict,
    text: str,
    level: Level,
    format_token: str = EVALUATION_FORMAT,
) -> Feedback:
    """Return the message after a response `text` with this verdict.

    "none" asks to answer again and tells nothing, whatever the verdict. "outcome" says that the
    answer is wrong. "full" has the content of the message of the GeneralPoints environment (arXiv
    2501.17161): there is no legal formula; or which numbers do not belong in it and which are
    missing; or what it evaluates to. Compact messages leave out numbers without a word of their
    own. "critique" says how far a correct formula could begin as this one does, and which word
    leads away from all of them; "leak" shows that beginning alone. A message leaks if it states
    what one of the dealt face cards counts as, a number that stands neither in the response's
    number line nor in its formula; it does not matter whether a plain card of the deal counts as
    the same. No `text` makes it raise.

    Raises ValueError on an unknown level, and on a correct answer unless the level is "none".
    """
    return at_level(
        level,
        verdict,
        task.rendering == "compact",
        lambda: (_hint if level == "full" else partial(_located, level))(
            task, problem, verdict, text, format_token
        ),
    )


def right_beginning(
    task: Game, problem: CardProblem, text: str, format_token: str = EVALUATION_FORMAT
) -> tuple[str, ...]:
    """Return the most words of an answer's formula with which a correct one begins, as the solver
    writes it."""
    words = read_answer(task, problem, text, format_token).words
    known = formulas(problem.values, problem.target)
    if task.rendering == "json":
        known = (render(to_tree(formula), "minimal") for formula in known)
    return words[: max((same_start(words, formula) for formula in known), default=0)]


def _located(
    level: Level, task: Game, problem: CardProblem, verdict: Verdict, text: str, format_token: str
) -> Feedback:
    words = read_answer(task, problem, text, format_token).words
    begun = right_beginning(task, problem, text, format_token)
    bad = words[len(begun) :][:1]
    line = verdict.outcome == "wrong_line"
    if task.rendering == "compact":
        known = _words(task)
        shown = ("formula", *begun) if begun else ()
        error = ("number",) if line else ("invalid", *(w for w in bad if w in known))
        return Feedback(" ".join(shown if level == "leak" else (*shown, *error)))
    shown = f"A correct formula can begin with {' '.join(begun)}." if begun else ""
    fault = _Fault("line" if line else "formula")
    error = _json_details(problem, fault, Expression("unfinished"))
    if bad and not line:
        error = (
            f"What comes after that is wrong: {bad[0]}." if begun else f"It begins with {bad[0]}."
        )
    return Feedback(" ".join(filter(None, (shown, "" if level == "leak" else error))))


def _hint(
    task: Game, problem: CardProblem, verdict: Verdict, text: str, format_token: str
) -> Feedback:
    answer = read_answer(task, problem, text, format_token)
    fault = _fault(problem, verdict, answer.formula)
    if task.rendering == "compact":
        message = " ".join(_compact_details(task, fault, answer.formula))
    else:
        message = _json_details(problem, fault, answer.formula)
    faces = {
        value for card, value in zip(problem.cards, problem.values, strict=True) if card in FACES
    }
    written = {*answer.formula.numbers, *(answer.line or ())}
    return Feedback(message, not faces.isdisjoint(set(fault.unused) - written))


def _fault(problem: CardProblem, verdict: Verdict, formula: Expression) -> _Fault:
    too_many = len(formula.numbers) > MAX_TOKENS  # to be listed in a message
    if verdict.outcome in ("illegal", "no_answer", "partial") or too_many:
        return _Fault("formula")
    dealt, used = Counter(problem.values), Counter(formula.numbers)
    if dealt != used:
        unused = []
        for value, missing in (dealt - used).items():
            unused += [value] * missing
        unused.sort(key=problem.values.index)
        return _Fault("numbers", tuple(used - dealt), tuple(unused))
    if verdict.outcome == "wrong_line":
        return _Fault("line")
    return _Fault("value" if formula.state == "complete" else "formula")


def _json_details(problem: CardProblem, fault: _Fault, formula: Expression) -> str:
    if fault.kind == "formula":
        return "It holds no complete and legal formula."
    if fault.kind == "line":
        return 'The numbers in "number" are not what the cards count as, in their order.'
    if fault.kind == "value":
        if not formula.denominator:
            return "Its formula divides by zero."
        return f"Its formula equals {formula.value}, not {problem.target}."
    said = []
    if fault.invalid:
        said.append(f"No card is left for these numbers of the formula: {_listed(fault.invalid)}.")
    if fault.unused:
        said.append(f"These numbers of the cards are not used: {_listed(fault.unused)}.")
    return " ".join(said)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _compact_details(task: Game, fault: _Fault, formula: Expression) -> tuple[str, ...]:
    words = _words(task)
    if fault.kind == "formula":
        return ("invalid",)
    if fault.kind == "line":
        return ("number",)
    if fault.kind == "value":
        value = str(formula.value)  # a fraction, a negative number and None are no words
        return ("=", value) if value in words else ()
    invalid = [word for word in map(str, fault.invalid) if word in words]
    unused = [word for word in map(str, fault.unused) if word in words]
    details: list[str] = []
    if fault.invalid:
        details += "invalid", *invalid
    if fault.unused:
        details += "unused", *unused
    return tuple(details)


@lru_cache(maxsize=64)
def _words(task: Game) -> frozenset[str]:
    return frozenset(compact_vocabulary(task))
