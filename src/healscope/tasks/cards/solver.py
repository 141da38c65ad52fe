"""Exact solver: which numbers reach a target with + - * / and brackets, and in which ways.

Values are reduced pairs (numerator, denominator > 0): several times faster than Fraction. The
search works on sub-multisets, and goes backwards from the goal: to reach g as x op y, every x of
one part fixes y, so only the values of proper parts are ever enumerated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from math import gcd

from healscope.tasks.cards.expressions import Tree, render, to_tree

Pair = tuple[int, int]
Formula = tuple[str, ...]


def solvable(values: Iterable[int], target: int) -> bool:
    """Return whether some formula uses every value exactly once and equals the target exactly."""
    return _solvable(tuple(sorted(values)), target)


def formulas(values: Iterable[int], target: int) -> tuple[Formula, ...]:
    """Return every formula that reaches the target: all orders of the values, operators,
    bracketings.

    Return bracketed token tuples (see `expressions.render`), sorted as tuples of strings, each
    once; empty if there is none.
    """
    return _formulas(tuple(sorted(values)), target)


def distinct_solutions(values: Iterable[int], target: int) -> tuple[Formula, ...]:
    """Return the first formula of every class of `canonical`, in the order of `formulas`."""
    return _distinct(tuple(sorted(values)), target)


def canonical(tree: Tree) -> tuple:
    """Return a key that is equal for formulas equal up to commutation, association and signs.

    Sums and products are flattened into signed multisets, so that a - (b - c) and (a + c) - b
    agree, and so do (a - b) * (c - d) and (b - a) * (d - c). On distinct symbols this is equality
    of rational functions for up to four operands: 1, 6, 68, 1170 classes (OEIS A140606). Laws
    that hold only for particular numbers (x * 1 = x / 1, 2 + 2 = 2 * 2) are not applied.
    """
    return _canonical(tree)


@lru_cache(maxsize=1 << 16)
def _solvable(values: tuple[int, ...], target: int) -> bool:
    if len(values) < 2:
        return values == (target,)
    return any(True for _ in _last_steps(values, (target, 1)))


@lru_cache(maxsize=2048)
def _formulas(values: tuple[int, ...], target: int) -> tuple[Formula, ...]:
    return tuple(sorted(render(tree, "bracketed") for tree in _trees(values, (target, 1))))


@lru_cache(maxsize=1 << 14)
def _distinct(values: tuple[int, ...], target: int) -> tuple[Formula, ...]:
    classes: dict[tuple, Formula] = {}
    for formula in _formulas(values, target):
        classes.setdefault(_canonical(to_tree(formula)), formula)
    return tuple(classes.values())


@lru_cache(maxsize=1 << 14)
def _trees(values: tuple[int, ...], goal: Pair) -> tuple[Tree, ...]:
    """Return every tree over the sorted values that equals the goal."""
    if len(values) < 2:
        return values if goal == (*values, 1) else ()
    found: set[Tree] = set()
    for operator, left, x, right, y in _last_steps(values, goal):
        for pair in product(_trees(left, x), _trees(right, y)):
            found.add((operator, *pair))
    return tuple(found)


def _last_steps(
    values: tuple[int, ...], goal: Pair
) -> Iterator[tuple[str, tuple[int, ...], Pair, tuple[int, ...], Pair]]:
    """Yield every (operator, left part, x, right part, y) with x operator y = goal."""
    for left, right in _splits(values):
        xs, ys = reachable(left), reachable(right)
        if len(xs) <= len(ys):
            for x in xs:
                for operator, y in _right_operands(goal, x, ys):
                    yield operator, left, x, right, y
        else:
            for y in ys:
                for operator, x in _left_operands(goal, y, xs):
                    yield operator, left, x, right, y


def _right_operands(goal: Pair, x: Pair, among: frozenset[Pair]) -> Iterator[tuple[str, Pair]]:
    (g, h), (n, d) = goal, x
    if (y := _pair(g * d - n * h, h * d)) in among:
        yield "+", y
    if (y := (-y[0], y[1])) in among:
        yield "-", y
    if n:
        if (y := _pair(g * d, h * n)) in among:
            yield "*", y
        if g and (y := _pair(n * h, d * g)) in among:
            yield "/", y
    elif not g:
        for y in among:
            yield "*", y
            if y[0]:
                yield "/", y


def _left_operands(goal: Pair, y: Pair, among: frozenset[Pair]) -> Iterator[tuple[str, Pair]]:
    (g, h), (n, d) = goal, y
    if (x := _pair(g * d - n * h, h * d)) in among:
        yield "+", x
    if (x := _pair(g * d + n * h, h * d)) in among:
        yield "-", x
    if n:
        if (x := _pair(g * d, h * n)) in among:
            yield "*", x
        if (x := _pair(g * n, h * d)) in among:
            yield "/", x
    elif not g:
        for x in among:
            yield "*", x


@lru_cache(maxsize=1 << 15)
def reachable(values: tuple[int, ...]) -> frozenset[Pair]:
    """Return every exact value of a formula over all the sorted values."""
    if len(values) == 1:
        return frozenset({(values[0], 1)})
    found: set[Pair] = set()
    for left, right in _splits(values):
        # Both orders of a split are listed, so - and / need one direction only.
        for (a, b), (c, d) in product(reachable(left), reachable(right)):
            found.add(_pair(a * d + c * b, b * d))
            found.add(_pair(a * d - c * b, b * d))
            found.add(_pair(a * c, b * d))
            if c:
                found.add(_pair(a * d, b * c))
    return frozenset(found)


@lru_cache(maxsize=1 << 15)
def _splits(values: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Return all ordered ways to part a sorted multiset into two non-empty ones, each once."""
    n = len(values)
    parts = {
        (
            tuple(values[i] for i in range(n) if mask >> i & 1),
            tuple(values[i] for i in range(n) if not mask >> i & 1),
        )
        for mask in range(1, (1 << n) - 1)
    }
    return tuple(sorted(parts, key=lambda part: (len(part[0]), part)))


def _pair(numerator: int, denominator: int) -> Pair:
    shared = gcd(numerator, denominator)
    if denominator < 0:
        shared = -shared
    return numerator // shared, denominator // shared


def _canonical(tree: Tree) -> tuple:
    """(sign, key): `tree` equals sign * key, and -tree has the same key."""
    if isinstance(tree, int):
        return 1, ("number", tree)
    operator, left, right = tree
    (left_sign, left_key), (right_sign, right_key) = _canonical(left), _canonical(right)
    inverted = -1 if operator in "-/" else 1
    if operator in "+-":
        terms = _parts("sum", left_key, left_sign) + _parts("sum", right_key, right_sign * inverted)
        plain = tuple(sorted(terms))
        negated = tuple(sorted((key, -sign) for key, sign in terms))
        return (1, ("sum", plain)) if plain <= negated else (-1, ("sum", negated))
    factors = _parts("product", left_key, 1) + _parts("product", right_key, inverted)
    return left_sign * right_sign, ("product", tuple(sorted(factors)))


def _parts(kind: str, key: tuple, factor: int) -> list[tuple[tuple, int]]:
    """Return the signed members of a sum (or the factors with exponents of a product)."""
    if key[0] == kind:
        return [(member, sign * factor) for member, sign in key[1]]
    return [(key, factor)]
