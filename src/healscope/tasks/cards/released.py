"""The verifier of the released code: how formulas of the card game are read and paid.

That of arXiv 2501.17161, which arXiv 2509.12235 uses. Faults add up there: each break of the order
of numbers, operators and brackets, numbers that no card has, cards that are left out. What is
different here by intent is listed in docs/protocols.md: values are exact, work is bounded, and
nothing that a model writes is run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from healscope.tasks.cards.expressions import Expression, evaluate

MAX_BRACKETS = 200
"""Nested brackets that Python itself reads."""
_LONGEST = 18
"""Digits of a number; a longer one is no card's, whichever it is."""

_TOKEN = re.compile(r"\d+|[+\-*/()]")
_START, _NUMBER, _OPERATOR = "", "number", "operator"
_AFTER = {
    _NUMBER: {_START, _OPERATOR, "("},
    _OPERATOR: {_NUMBER, ")"},
    "(": {_START, _OPERATOR, "("},
    ")": {_NUMBER, ")"},
}
"""Kind of a token -> what may stand before it."""


def read_formula(text: str) -> Expression:
    """Read a formula without its "="; where the order of tokens is broken it is "illegal".

    Numbers may begin with zeros, and be of any digits that Python knows; then there is no value.
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        return Expression("illegal")
    numbers = tuple(_integer(token) for token in tokens if _kind(token) == _NUMBER)
    if breaks(tokens):
        return Expression("illegal", numbers)
    value = evaluate(tokens, most=len(tokens), deepest=MAX_BRACKETS)
    return value._replace(
        numbers=numbers,
        state="complete" if value.state in ("illegal", "oversized") else value.state,
    )


def breaks(tokens: Sequence[str]) -> int:
    """Count breaks in the order of numbers, operators and brackets; brackets may stay open."""
    before, opened, found = _START, 0, 0
    for token in tokens:
        kind = _kind(token)
        if before not in _AFTER[kind] or (kind == ")" and not opened):
            found += 1
        elif kind in "()":
            opened += 1 if kind == "(" else -1
        before = kind
    return found


def earned(
    text: str,
    formula: Expression,
    values: Sequence[int],
    target: int,
    reward: Callable[[str], float],
) -> tuple[str, float]:
    """Return (outcome, reward) of a formula without its "=", where cards count as `values`.

    `formula` is what `read_formula` makes of it. "illegal" and "wrong_number" earn the sum of what
    their faults do. "partial" is a formula that lacks the last bracket of a solution in one of the
    forms which the released solver writes (`_forms`).
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        return "illegal", reward("illegal")
    dealt, used = Counter(values), Counter(formula.numbers)
    numbers = bool(used - dealt) + bool(dealt - used)
    wrong = breaks(tokens)
    if wrong or numbers:
        paid = wrong * reward("illegal") + numbers * reward("wrong_number")
        return "illegal" if wrong else "wrong_number", paid
    reaches = formula.denominator != 0 and formula.numerator == target * formula.denominator
    outcome = "wrong_value"
    if reaches and formula.state == "complete":
        outcome = "correct"
    elif reaches and _form([*tokens, ")"]) in _forms(len(values)):
        outcome = "partial"
    return outcome, reward(outcome)


def _kind(token: str) -> str:
    return token if token in "()" else _OPERATOR if token in "+-*/" else _NUMBER


def _integer(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _LONGEST else 10**_LONGEST


def _form(tokens: Sequence[str]) -> str:
    """Abbreviate numbers and operators to one letter each, and keep brackets."""
    return "".join(kind if kind in "()" else kind[0] for kind in map(_kind, tokens))


@lru_cache
def _forms(n: int) -> frozenset[str]:
    """Return formulas of n numbers as the released solver brackets them: one pair of brackets
    around two numbers or more that stand in a row, or the first two and what comes after them."""
    plain = [_NUMBER[0], *[_OPERATOR[0], _NUMBER[0]] * (n - 1)]
    found = {"".join(plain)}
    for first in range(n):
        for last in range(first + 1, n):
            if last - first < n - 1:
                inside = ["(", *plain[2 * first : 2 * last + 1], ")"]
                found.add("".join([*plain[: 2 * first], *inside, *plain[2 * last + 1 :]]))
    if n >= 3:
        both = ["(", *plain[:3], ")", plain[3], "(", *plain[4:7], ")", *plain[7:]]
        found.add("".join(both))
    return frozenset(found)
