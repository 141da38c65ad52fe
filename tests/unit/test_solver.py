from fractions import Fraction
from itertools import combinations_with_replacement, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healscope.tasks.cards.expressions import evaluate, to_tree
from healscope.tasks.cards.solver import canonical, distinct_solutions, formulas, solvable

TARGETS_3 = (8, 12, 16, 18, 20, 24)


def hands(highest, n):
    return combinations_with_replacement(range(1, highest + 1), n)


def brute_force(numbers, target):
    """Combine any two numbers until one is left."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, j in permutations(range(len(numbers)), 2):
        rest = [x for k, x in enumerate(numbers) if k not in (i, j)]
        x, y = numbers[i], numbers[j]
        results = [x + y, x - y, x * y] + ([x / y] if y else [])
        if any(brute_force([*rest, result], target) for result in results):
            return True
    return False


def all_trees(operands):
    """Every binary tree over a sequence in every order."""

    def shapes(sequence):
        if len(sequence) == 1:
            yield sequence[0]
        for cut in range(1, len(sequence)):
            for left in shapes(sequence[:cut]):
                for right in shapes(sequence[cut:]):
                    for operator in "+-*/":
                        yield operator, left, right

    for order in permutations(operands):
        yield from shapes(order)


def value_modulo(tree, prime):
    if isinstance(tree, int):
        return tree
    operator, left, right = tree
    x, y = value_modulo(left, prime), value_modulo(right, prime)
    if operator == "/":
        return x * pow(y, -1, prime) % prime
    return {"+": x + y, "-": x - y, "*": x * y}[operator] % prime


def test_solvable_four_card_deals():
    deals = list(hands(13, 4))
    assert len(deals) == 1820
    assert sum(solvable([min(rank, 10) for rank in deal], 24) for deal in deals) == 1236
    assert sum(solvable(deal, 24) for deal in deals) == 1362
    values = list(hands(10, 4))
    assert len(values) == 715
    assert sum(solvable(deal, 24) for deal in values) == 566


def test_solvable_three_card_problems():
    assert sum(solvable(deal, t) for deal in hands(13, 3) for t in TARGETS_3) == 795
    assert sum(solvable(deal, t) for deal in hands(10, 3) for t in TARGETS_3) == 444


def test_a_deal_that_only_fractions_solve():
    assert formulas((3, 3, 8, 8), 24) == (tuple("8/(3-(8/3))"),)
    assert solvable((8, 3, 8, 3), 24)


def test_small_cases():
    assert formulas((24,), 24) == (("24",),)
    assert formulas((2, 3), 5) == (("2", "+", "3"), ("3", "+", "2"))
    assert formulas((2, 3), 7) == ()
    assert distinct_solutions((2, 3), 5) == (("2", "+", "3"),)
    assert distinct_solutions((1, 1, 1), 24) == ()
    assert formulas((0, 5), 0) == (("0", "*", "5"), ("0", "/", "5"), ("5", "*", "0"))


@pytest.mark.parametrize(
    ("values", "target"), [((1, 1, 5, 7), 7), ((1, 1, 5), 0), ((0, 3, 5), 0), ((0, 0, 2), 0)]
)
def test_products_of_nothing_are_listed(values, target):
    """A goal of 0 is reached by 0 times anything, and by 0 divided by it."""
    reached = {tree for tree in all_trees(values) if _value(tree) == target}
    assert {to_tree(formula) for formula in formulas(values, target)} == reached


def _value(tree):
    """Exactly; None where something is divided by zero."""
    if isinstance(tree, int):
        return Fraction(tree)
    operator, left, right = tree
    x, y = _value(left), _value(right)
    if x is None or y is None or (operator == "/" and not y):
        return None
    return {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else None}[operator]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 13), min_size=1, max_size=4), st.integers(0, 30))
def test_agrees_with_brute_force(values, target):
    expected = brute_force([Fraction(value) for value in values], target)
    assert solvable(values, target) == expected
    assert bool(formulas(values, target)) == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(0, 12))
def test_formulas_are_all_ordered_formulas(values, target):
    def is_solution(tree):
        try:
            return value(tree) == target
        except ZeroDivisionError:
            return False

    def value(tree):
        if isinstance(tree, int):
            return Fraction(tree)
        x, y = value(tree[1]), value(tree[2])
        return x / y if tree[0] == "/" else {"+": x + y, "-": x - y, "*": x * y}[tree[0]]

    expected = {tree for tree in all_trees(values) if is_solution(tree)}
    found = formulas(values, target)
    assert {to_tree(formula) for formula in found} == expected
    assert len(found) == len(expected)
    assert list(found) == sorted(found)


def test_every_formula_of_a_sample_is_exact():
    for deal in list(hands(13, 4))[::97]:
        for formula in formulas(deal, 24):
            read = evaluate(formula)
            assert (read.state, read.value) == ("complete", 24)
            assert sorted(read.numbers) == list(deal)


@pytest.mark.parametrize(("n", "classes"), [(1, 1), (2, 6), (3, 68), (4, 1170)])
def test_canonical_counts_inequivalent_expressions(n, classes):
    """OEIS A140606, and equality as rational functions at a random point of a prime field."""
    prime = 2**61 - 1
    operands = [123456789123, 98765432111177, 5555555577, 31415926535897][:n]
    trees = list(all_trees(operands))
    keys = {tree: canonical(tree) for tree in trees}
    values = {tree: value_modulo(tree, prime) for tree in trees}
    assert len(set(keys.values())) == classes
    assert len(set(values.values())) == classes
    assert len({(keys[tree], values[tree]) for tree in trees}) == classes


def test_distinct_solutions_are_among_the_formulas():
    chosen, every = distinct_solutions((2, 4, 6, 10), 24), formulas((2, 4, 6, 10), 24)
    assert set(chosen) <= set(every)
    keys = [canonical(to_tree(formula)) for formula in chosen]
    assert len(set(keys)) == len(keys)
    assert {canonical(to_tree(formula)) for formula in every} == set(keys)
