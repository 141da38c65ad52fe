"""Rank, determinant and what matrices are drawn from, against independent arithmetic."""

from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import chisquare

from healscope.tasks.matrices.arithmetic import (
    Size,
    another,
    determinant,
    eliminate,
    entries,
    largest_minor,
    non_singular,
    of_rank,
    rank,
    terms,
)


def size(rows, columns, low, high=None):
    low, high = (-low, low) if high is None else (low, high)
    return Size(rows=rows, columns=columns, low=low, high=high)


def by_expansion(matrix):
    """Laplace's expansion along the first row."""
    if len(matrix) == 1:
        return matrix[0][0]
    minors = ([[*row[:j], *row[j + 1 :]] for row in matrix[1:]] for j in range(len(matrix)))
    return sum((-1) ** j * matrix[0][j] * by_expansion(m) for j, m in enumerate(minors))


def minors(matrix, order):
    for rows in combinations(range(len(matrix)), order):
        for columns in combinations(range(len(matrix[0])), order):
            yield by_expansion([[matrix[i][j] for j in columns] for i in rows])


def by_minors(matrix):
    orders = range(min(len(matrix), len(matrix[0])), 0, -1)
    return next((k for k in orders if any(minors(matrix, k))), 0)


def by_fractions(matrix):
    """Gauss-Jordan elimination with fractions, columns last to first."""
    rows, found = [[Fraction(x) for x in row] for row in matrix], 0
    for j in reversed(range(len(rows[0]))):
        at = next((i for i in range(found, len(rows)) if rows[i][j]), None)
        if at is None:
            continue
        rows[found], rows[at] = rows[at], rows[found]
        head = [x / rows[found][j] for x in rows[found]]
        for i in range(len(rows)):
            if i != found:
                rows[i] = [x - rows[i][j] * y for x, y in zip(rows[i], head, strict=True)]
        found += 1
        if found == len(rows):
            break
    return found


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3), (3, 2), (4, 5), (5, 4)])
def test_rank_and_determinant_are_exact(shape):
    rng = np.random.default_rng(shape)
    ranks = Counter()
    for i in range(300):
        matrix = entries(*shape, size(*shape, 1 + i % 5), rng)
        if i % 2:  # mostly singular
            matrix = of_rank(i // 2 % (1 + min(shape)), size(*shape, 2), rng)
        ranks[rank(matrix)] += 1
        assert rank(matrix) == by_fractions(matrix)
        assert rank(matrix) == rank(tuple(zip(*matrix, strict=True)))
        if i < 60:
            assert rank(matrix) == by_minors(matrix)
        if shape[0] == shape[1]:
            assert determinant(matrix) == by_expansion(matrix) == sum(terms(matrix))
            assert (determinant(matrix) != 0) == (rank(matrix) == shape[0])
    assert len(ranks) == 1 + min(shape)


def test_arithmetic_where_floating_point_fails():
    """Rows that differ in the twelfth digit; numpy finds one of them dependent."""
    big = 10**12
    near = ((big, big + 1), (big + 1, big + 2))
    assert determinant(near) == -1
    assert rank(near) == 2
    assert np.linalg.matrix_rank(np.array(near, float)) == 1
    assert rank(((big, 2 * big), (big + 1, 2 * big + 2))) == 1
    many = tuple(tuple((i + j) ** 15 for j in range(7)) for i in range(1, 8))
    assert determinant(many) == by_expansion(many)


def test_terms_are_signed_products():
    assert terms(((2, 3), (5, 7))) == (14, -15)
    assert terms(((1, 2, 3), (4, 5, 6), (7, 8, 10))) == (50, -48, -80, 84, 96, -105)
    with pytest.raises(ValueError, match="a 2x3 matrix has no determinant"):
        determinant(((1, 2, 3), (4, 5, 6)))


def test_elimination_ends_in_echelon_form_without_changing_the_row_space():
    rng = np.random.default_rng(3)
    for i in range(300):
        shape = ((2, 3), (3, 2), (4, 5), (5, 4), (3, 3))[i % 5]
        matrix = entries(*shape, size(*shape, 1 + i % 3), rng)
        form = eliminate(matrix)
        leads = [next((j for j, x in enumerate(row) if x), None) for row in form.rows]
        filled = leads[: form.pivots]
        assert None not in filled
        assert filled == sorted(set(filled))
        assert set(leads[form.pivots :]) <= {None}
        assert rank((*matrix, *form.rows)) == form.pivots
        largest = max(abs(x) for row in matrix for x in row)
        for order, row in enumerate(form.rows[: form.pivots], 1):
            assert max(map(abs, row)) <= largest_minor(order, largest)
            assert set(map(abs, row)) <= {0, *(abs(m) for m in minors(matrix, order))}


def test_bound_on_minors_is_reached():
    for order in (1, 2, 4):  # by Hadamard matrices
        matrix = [[1]]
        while len(matrix) < order:
            matrix = [*[r + r for r in matrix], *[r + [-x for x in r] for r in matrix]]
        assert abs(by_expansion(matrix)) == largest_minor(order, 1)
    assert largest_minor(3, 2) == 41  # the square root of 27 times 8, rounded down


@pytest.mark.parametrize(
    ("shape", "most"), [((4, 5), 4), ((5, 4), 5), ((2, 3), 2), ((3, 3), 1), ((1, 4), 3)]
)
def test_products_have_the_rank_that_was_asked_for(shape, most):
    rng = np.random.default_rng([*shape, most])
    for wanted in range(1 + min(shape)):
        for _ in range(200):
            made = of_rank(wanted, size(*shape, most), rng)
            assert (len(made), len(made[0])) == shape
            assert by_fractions(made) == wanted
            assert max(abs(x) for row in made for x in row) <= wanted * most**2


def test_products_are_those_of_uniform_full_rank_factors():
    """All pairs of factors counted, against what is drawn."""
    box, rng = size(2, 2, 0, 2), np.random.default_rng(0)
    for wanted in (1, 2):
        share = Counter()
        values = range(3)
        factors = [
            [tuple(flat[i * columns : (i + 1) * columns] for i in range(rows))
             for flat in product(values, repeat=rows * columns)]
            for rows, columns in ((2, wanted), (wanted, 2))
        ]  # fmt: skip
        for left, right in product(*([f for f in fs if rank(f) == wanted] for fs in factors)):
            share[
                tuple(
                    tuple(sum(a * b[j] for a, b in zip(row, right, strict=True)) for j in (0, 1))
                    for row in left
                )
            ] += 1
        drawn = Counter(of_rank(wanted, box, rng) for _ in range(6_000))
        assert set(drawn) <= set(share)
        common = [m for m, n in share.items() if n * 6_000 >= 8 * share.total()]
        rare = set(share) - set(common)
        expected = [6_000 * share[m] / share.total() for m in common]
        found = [drawn[m] for m in common]
        if rare:
            expected.append(6_000 * sum(share[m] for m in rare) / share.total())
            found.append(sum(drawn[m] for m in rare))
        assert len(common) > 15
        assert chisquare(found, expected).pvalue > 1e-3


@pytest.mark.parametrize("symmetric", [False, True])
def test_non_singular_matrices_are_uniform(symmetric):
    rng = np.random.default_rng(symmetric)
    box = size(2, 2, -2, 1)
    possible = {
        ((a, b), (c, d))
        for a, b, c, d in product(range(-2, 2), repeat=4)
        if a * d != b * c and (b == c or not symmetric)
    }
    drawn = Counter(non_singular(box, symmetric, rng) for _ in range(150 * len(possible)))
    assert set(drawn) == possible
    assert chisquare(list(drawn.values())).pvalue > 1e-3


def test_large_symmetric_matrices_are_uniform_in_every_entry():
    rng = np.random.default_rng(0)
    drawn = np.array([non_singular(size(3, 3, 5), True, rng) for _ in range(4000)])
    assert (drawn == drawn.transpose(0, 2, 1)).all()
    # 0 is a little rarer among the non-singular ones, so two signs are compared
    counts = Counter(drawn[:, 0, 2].tolist())
    assert set(counts) == set(range(-5, 6))
    assert chisquare([counts[v] for v in (-5, -4, 4, 5)]).pvalue > 1e-3


def test_singular_ranges_are_refused_and_exhausted_ones_are_seen():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no non-singular matrix was found .*widen low, high"):
        non_singular(size(9, 9, 0, 1), False, FewChoices())
    with pytest.raises(ValueError, match="no 4x2 factor of full rank was found .*widen low, high"):
        of_rank(2, size(4, 5, 0, 1), FewChoices())
    seen = set()
    while (made := another(lambda: non_singular(size(2, 2, 0, 1), False, rng), seen)) is not None:
        assert made not in seen
        seen.add(made)
    assert len(seen) == 6


class FewChoices:
    """A generator that only ever draws zeros."""

    def integers(self, low, high, shape):
        return np.zeros(shape, int)
