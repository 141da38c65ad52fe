"""Begins answers of the card game otherwise: what would the formula then be?

An answer states cards, then what they count as, then a formula: a chain and its conclusion. The
tests of arXiv 2411.15382 end the chain early, put it otherwise, or replace it by filler. A chain
that the conclusion rests on should not be missed without effect. Their counterpart is a number line
by the other rule: a conclusion that rests on it should follow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from healscope.tasks.cards.expressions import MAX_DIGITS, evaluate, tokenise
from healscope.tasks.cards.game import CardProblem, Game
from healscope.tasks.cards.structure import MOST_WORDS, formula_words
from healscope.tasks.problem import SIDES
from healscope.tasks.responses import MAX_RESPONSE

if TYPE_CHECKING:
    import numpy as np

KINDS = {
    "identity": "nothing is changed: the floor of all tests, and what a formula then is",
    "early": "the number line is left out",
    "paraphrase": "cards and numbers are put in another order",
    "filler": "the numbers are replaced by words that say nothing",
    "counterfactual": "the numbers are those of the other rule",
}
"""Kind of intervention -> what is done to the lines before the formula."""

FILLER = {"compact": "again", "json": "..."}

_JSON = re.compile(
    r'(?P<start>\A.*?"cards"\s*:\s*)\[(?P<cards>[^\[\]]*)\](?P<to_number>\s*,\s*"number"\s*:\s*)'
    r'\[(?P<number>[^\[\]]*)\](?P<to_formula>\s*,\s*"formula"\s*:\s*")',
    re.DOTALL,
)


class _Lines(NamedTuple):
    """The lines of an answer before its formula, as written."""

    cards: tuple[str, ...]
    number: tuple[str, ...]
    found: re.Match | None = None


def intervene(
    task: Game, problem: CardProblem, text: str, kind: str, rng: np.random.Generator
) -> str | None:
    """Return how an answer begins, up to its formula, after an intervention of one of KINDS.

    None where it cannot be made: the answer lacks a line, cards in another order are the same, or
    the other rule counts them alike. Raises KeyError on another kind.
    """
    _ = KINDS[kind]
    lines = _read(task, problem, text[:MAX_RESPONSE])
    if lines is None:
        return None
    cards, number = lines.cards, lines.number
    if kind == "early":
        number = ()
    elif kind == "paraphrase":
        order = rng.permutation(len(cards)).tolist()
        order = order if order != sorted(order) else order[::-1]
        cards, number = (tuple(line[i] for i in order) for line in (cards, number))
        if cards == lines.cards:
            return None
    elif kind == "filler":
        number = (FILLER[task.rendering],) * len(number)
    elif kind == "counterfactual":
        other = next(side for side in SIDES if side != problem.rule)
        values = tuple(map(str, task.rule(other).values(problem.cards)))
        if values == tuple(map(str, problem.values)):
            return None
        number = values
    return _written(lines, cards, number)


def numbers_of_formula(task: Game, text: str) -> tuple[int, ...]:
    """Return the numbers that an answer's formula uses, ascending; empty where there is none."""
    if task.rendering == "json":
        found = _JSON.match(text[:MAX_RESPONSE])
        formula = text[found.end() :] if found else text.rpartition('"formula"')[2]
        words: Sequence[str] = tokenise(re.split('[="＝]', formula.lstrip(' :"'), maxsplit=1)[0])
    else:
        words = formula_words(text)
    return tuple(sorted(evaluate(words).numbers))


def numbers_of_line(task: Game, problem: CardProblem, text: str) -> tuple[int, ...]:
    """Return the numbers in an answer's number line, ascending; empty where they are none."""
    lines = _read(task, problem, text[:MAX_RESPONSE])
    if lines is None or not all(
        word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS for word in lines.number
    ):
        return ()
    return tuple(sorted(map(int, lines.number)))


def _read(task: Game, problem: CardProblem, text: str) -> _Lines | None:
    n = len(problem.cards)
    if task.rendering == "json":
        found = _JSON.match(text)
        if found is None:
            return None
        lists = (_members(found[name]) for name in ("cards", "number"))
        cards, number = lists
        whole = len(cards) == len(number) == n
        return _Lines(cards, number, found) if whole else None
    words = text.split()[:MOST_WORDS]
    places = {0: "cards", 1 + n: "number", 2 + 2 * n: "formula"}
    if any(words[at : at + 1] != [name] for at, name in places.items()):
        return None
    return _Lines(tuple(words[1 : 1 + n]), tuple(words[2 + n : 2 + 2 * n]))


def _members(inside: str) -> tuple[str, ...]:
    """Return the members of a JSON list of strings and integers, as text; empty where broken."""
    try:
        found = json.loads(f"[{inside}]")
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, found)) if all(type(x) in (str, int) for x in found) else ()


def _written(lines: _Lines, cards: Sequence[str], number: Sequence[str]) -> str:
    if lines.found is None:
        line = ["number", *number] if number else []
        return " ".join(["cards", *cards, *line, "formula"])
    start, between, after = (lines.found[name] for name in ("start", "to_number", "to_formula"))
    if (tuple(cards), tuple(number)) == (lines.cards, lines.number):
        return lines.found[0]
    listed = ", ".join(n if n.isdigit() else json.dumps(n) for n in number)
    middle = f"{between}[{listed}]" if number else ""
    return f"{start}{json.dumps(list(cards))}{middle}{after}"
