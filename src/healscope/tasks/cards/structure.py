"""What an answer of the card game consists of: its form, its solution, and the choices in it.

An answer is read word by word. A word is *legal* if grammar, rule and arithmetic allow it where it
stands, and an answer is *alive* while some correct answer begins as it does. Where a single word is
legal, writing it is *execution*: copying cards, converting them by the rule, closing a formula.
Where at least two are, it is a *plan*; a word of confidence, which solves nothing, is none. So
every wrong answer has one first error: its first word after which the answer is dead, a plan error
if the word was legal, else an error of execution. This is the exact counterpart of the split
between planning and execution in arXiv 2509.03646, which takes common phrases for planning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from math import gcd
from typing import NamedTuple

from healscope.tasks.cards import confidence
from healscope.tasks.cards.expressions import evaluate, to_tree
from healscope.tasks.cards.game import LAYOUTS, CardProblem, Game
from healscope.tasks.cards.solver import Pair, canonical, reachable
from healscope.tasks.cards.verifier import read_answer, verify
from healscope.tasks.problem import EVALUATION_FORMAT, Decision, Verdict
from healscope.tasks.responses import MAX_RESPONSE

MOST_WORDS = 96
"""Words of a compact answer that are looked at; the longest correct one has fewer."""

_WORD = re.compile(r"\S+")
_ANY = "any word of confidence"
_OPERATORS = ("+", "-", "*", "/")
_FENCE = re.compile(r"\s*```.*```\s*", re.DOTALL)


# Form and solution.


def form(task: Game, problem: CardProblem, text: str) -> str:
    """Return the form that an answer has.

    compact: the format token of pretraining whose lines it begins with (fD for fG, which has the
    same), or "other". json: "json", "json in a fence", "json among words", or "other" where no
    formula can be read.
    """
    if task.rendering == "json":
        if not read_answer(task, problem, text).parsed:
            return "other"
        bare = text.strip()
        if bare.startswith("{") and bare.endswith("}"):
            return "json"
        return "json in a fence" if _FENCE.fullmatch(text) else "json among words"
    heads = _heads(text, len(problem.cards))
    return next((token for token, lines in LAYOUTS.items() if lines == heads), "other")


def forms(task: Game) -> tuple[str, ...]:
    """Return every form that an answer can have."""
    if task.rendering == "json":
        return ("json", "json in a fence", "json among words", "other")
    return (*(token for token in LAYOUTS if token != "fG"), "other")


def verify_in_form(task: Game, problem: CardProblem, text: str) -> Verdict:
    """Judge an answer by the layout that it has, as if the prompt had asked for that one."""
    token = form(task, problem, text) if task.rendering == "compact" else EVALUATION_FORMAT
    return verify(task, problem, text, token if token in LAYOUTS else EVALUATION_FORMAT)


def solution(task: Game, problem: CardProblem, text: str) -> str | None:
    """Name the class of `solver.canonical` that an answer's formula is in; None without a formula.

    The formula counts whatever is written before it, right or wrong. One that verifier reference
    alone reads, as with numbers that begin with zeros, has no class.
    """
    if task.rendering == "json":
        answer = read_answer(task, problem, text)
        formula, words = answer.formula, answer.words
    else:
        words = formula_words(text)
        formula = evaluate(words)
    if formula.state != "complete" or evaluate(words).state != "complete":
        return None
    sign, key = canonical(to_tree(words))
    return f"{'-' if sign < 0 else ''}{key}"


def formula_words(text: str) -> tuple[str, ...]:
    """Return the words of a compact answer's formula, up to its "="; whatever stands before it."""
    words = tuple(text[:MAX_RESPONSE].split()[:MOST_WORDS])
    words = words[words.index("formula") + 1 :] if "formula" in words else ()
    return words[: words.index("=")] if "=" in words else words


def _heads(text: str, n: int) -> tuple[str, ...]:
    """Return the lines that a compact answer begins with, as `game.LAYOUTS` names them."""
    words = text[:MAX_RESPONSE].split()[:MOST_WORDS]
    found, at = [], 0
    while words[at : at + 1] and words[at] in ("cards", "number", "formula"):
        found.append(words[at])
        if words[at] == "formula":
            return tuple(found)
        at += 1 + n
    return ()


# Choices.


def decisions(task: Game, problem: CardProblem, text: str) -> tuple[Decision, ...]:
    """Return the words of a compact answer, as long as each is legal, and the first that is not.

    The end of an answer that stops is a decision of no characters. Empty in rendering json, whose
    words are not those that a model chooses.
    """
    if task.rendering == "json":
        return ()
    return tuple(decision for decision, _ in walk(task, problem, text))


def first_error(task: Game, problem: CardProblem, text: str) -> str:
    """Return the kind of an answer's first error, "plan" or "execution".

    Empty if no word makes it fail, as in a correct answer. In rendering json, where words between
    those of the answer are free, an answer that holds a formula of the right numbers errs by its
    plan, and any other wrong answer in execution.
    """
    outcome = verify(task, problem, text).outcome
    if outcome == "correct":
        return ""
    if task.rendering == "json":
        return "plan" if outcome in ("wrong_value", "partial") else "execution"
    formulas = [so_far for _, so_far in walk(task, problem, text) if so_far]
    # what an illegal word would spoil may be dead already, by a choice before it
    dead = bool(formulas) and not alive_after(problem, formulas[-1])
    return "plan" if dead else "execution"


def alive_after(problem: CardProblem, formula: Sequence[str]) -> bool:
    """Return whether some correct formula begins with these words, which are all legal.

    Exact: all ways to go on with the numbers that are left, however they are bracketed.
    """
    return _alive(tuple(formula), tuple(sorted(problem.values)), problem.target)


def alive_words(problem: CardProblem, formula: Sequence[str]) -> int:
    """Return how many words of a formula stand before the first after which none is correct."""
    left, level, operand = Counter(problem.values), 0, True
    for n, word in enumerate(formula):
        legal = word in _options(left, level, operand) or (word == "(" and operand)
        if not legal or word == "=" or not alive_after(problem, formula[: n + 1]):
            return n
        level += (word == "(") - (word == ")")
        left[int(word) if word.isdigit() else 0] -= word.isdigit()
        operand = word in (*_OPERATORS, "(")
    return len(formula)


def walk(
    task: Game, problem: CardProblem, text: str
) -> Iterator[tuple[Decision, tuple[str, ...] | None]]:
    """Yield the decisions of a compact answer, each with the legal words of the formula so far.

    These are None before the formula, and after it.
    """
    found = list(_WORD.finditer(text[:MAX_RESPONSE]))[:MOST_WORDS]
    told = _told(problem)
    sure = (confidence.LINE, _ANY) if task.confidence else ()
    line = range(2 + len(problem.cards), 2 + 2 * len(problem.cards))  # places of the number line
    left, formula, level, operand = Counter(problem.values), [], 0, True
    place, done = 0, False
    for match in [*found, None]:
        word = match[0] if match else ""
        start, end = match.span() if match else (len(text), len(text))
        free, so_far = False, None
        if place < len(told):
            legal, choices = word == told[place], 1
            legal |= told[place] == _ANY and word in confidence.WORDS
            free = place in line and word.isdigit() and not task.grade_number_line
            place += 1
        else:
            options = _options(left, level, operand)
            # brackets around a single number are allowed, but nothing to choose
            legal, choices = word in options or (word == "(" and operand), len(options)
            if legal and word == "=":
                done, place = True, place + 1
                told = (*told, "=", str(problem.target), *sure, "")
            elif legal:
                formula.append(word)
                level += (word == "(") - (word == ")")
                left[int(word) if word.isdigit() else 0] -= word.isdigit()
                operand = word in (*_OPERATORS, "(")
            so_far = None if done else tuple(formula)
        yield Decision(start, end, "plan" if choices > 1 else "execution", legal), so_far
        if not (legal or free):
            return


def _told(problem: CardProblem) -> tuple[str, ...]:
    """Return the words of an answer before its formula, which leave no choice."""
    values = map(str, problem.values)
    return ("cards", *problem.cards, "number", *values, "formula")


def _options(left: Counter, level: int, operand: bool) -> list[str]:
    """Return the words that may follow in a formula: `left` are the numbers still to be used,
    `level` the brackets still open, `operand` whether a number or a bracket has to come."""
    numbers = [str(n) for n, times in left.items() if times > 0]
    if operand:
        return [*numbers, "("] if sum(left.values()) > 1 else numbers
    closing = [")"] if level else []
    if numbers:
        return [*_OPERATORS, *closing]
    return closing or ["="]


class _Level(NamedTuple):
    """A bracket level while it is read: the sum of its finished terms, the term being read, and the
    operator before the next operand. Pairs are numerator and denominator."""

    total: Pair = (0, 1)
    term: Pair = (1, 1)
    divides: bool = False

    def with_operand(self, value: Pair) -> _Level | None:
        """Return the level after an operand; None where it divides by zero."""
        n, d = value
        if self.divides:
            n, d = d, n
        if not d:
            return None
        return self._replace(term=_reduced(self.term[0] * n, self.term[1] * d))

    def with_operator(self, operator: str) -> _Level:
        if operator in "*/":
            return self._replace(divides=operator == "/")
        return _Level(self.value, (1 if operator == "+" else -1, 1))

    @property
    def value(self) -> Pair:
        (a, b), (c, d) = self.total, self.term
        return _reduced(a * d + c * b, b * d)


def _reduced(n: int, d: int) -> Pair:
    shared = gcd(n, d) or 1
    shared = -shared if d < 0 else shared
    return n // shared, d // shared


@lru_cache(maxsize=1 << 16)
def _alive(formula: tuple[str, ...], values: tuple[int, ...], target: int) -> bool:
    stack, operand, left = [_Level()], True, list(values)
    for word in formula:
        if word == "(":
            stack.append(_Level())
            operand = True
        elif word in _OPERATORS:
            stack[-1] = stack[-1].with_operator(word)
            operand = True
        else:
            if word == ")":
                value = stack.pop().value
            else:
                left.remove(int(word))
                value = int(word), 1
            level = stack[-1].with_operand(value)
            if level is None:
                return False
            stack[-1], operand = level, False
    return _ends(tuple(stack), operand, tuple(left), (target, 1))


def _ends(stack: tuple[_Level, ...], operand: bool, left: tuple[int, ...], goal: Pair) -> bool:
    """Return whether a formula can go on from open levels so that it uses all numbers left and
    equals the goal."""
    *outer, inner = stack
    if not outer:
        return goal in _closings(inner, operand, left)
    for used in _parts(left):
        for value in _closings(inner, operand, used):
            level = outer[-1].with_operand(value)
            if level is None:
                continue
            if _ends((*outer[:-1], level), False, _without(left, used), goal):
                return True
    return False


@lru_cache(maxsize=1 << 16)
def _closings(level: _Level, operand: bool, left: tuple[int, ...]) -> frozenset[Pair]:
    """Return every value that a level can close with, if exactly these numbers follow in it."""
    if not operand:
        if not left:
            return frozenset([level.value])
        return frozenset().union(
            *(_closings(level.with_operator(o), True, left) for o in _OPERATORS)
        )
    found: set[Pair] = set()
    for used in _parts(left):
        for value in reachable(used) if used else ():
            after = level.with_operand(value)
            if after is not None:
                found |= _closings(after, False, _without(left, used))
    return frozenset(found)


@lru_cache(maxsize=1 << 12)
def _parts(left: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return every sub-multiset of sorted numbers, each once."""
    sizes = range(len(left) + 1)
    return tuple(dict.fromkeys(part for n in sizes for part in combinations(left, n)))


def _without(left: tuple[int, ...], used: tuple[int, ...]) -> tuple[int, ...]:
    rest = Counter(left) - Counter(used)
    return tuple(sorted(rest.elements()))
