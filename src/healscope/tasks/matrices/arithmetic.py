"""Draw small integer matrices, write them, and compute rank and determinant exactly.

Python's integers do not overflow, and nothing is rounded; the released code uses floating-point
routines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import combinations, permutations
from math import isqrt, prod
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field, model_validator

from healscope.sections import Section

if TYPE_CHECKING:
    import numpy as np

Matrix = tuple[tuple[int, ...], ...]
"""Rows."""

_TRIES = 10_000
"""Draws of one matrix; a full-rank factor or a non-singular matrix is found within a few."""


Side = Annotated[int, Field(ge=1, le=9)]
Entry = Annotated[int, Field(ge=-999, le=999)]


class Size(Section):
    """The size of the matrices of one rule, and the range of the integers they are made from."""

    rows: Side
    columns: Side
    low: Entry
    high: Entry

    @model_validator(mode="after")
    def _some_range(self):
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def largest(self) -> int:
        """The largest absolute value from `low` to `high`."""
        return max(abs(self.low), abs(self.high))


class Echelon(NamedTuple):
    """Result of elimination without fractions.

    Attributes:
        rows: the echelon form; every entry is a minor of the matrix, up to its sign.
        pivots: how many rows are not zero: the rank.
        sign: -1 where an odd number of rows changed places, else 1.
    """

    rows: Matrix
    pivots: int
    sign: int


def eliminate(matrix: Sequence[Sequence[int]]) -> Echelon:
    """Bring a matrix to row echelon form by Bareiss' elimination.

    It divides exactly (Math. Comp. 22, 1968).
    """
    rows = [list(row) for row in matrix]
    done, sign, previous = 0, 1, 1
    for column in range(len(rows[0])):
        found = next((i for i in range(done, len(rows)) if rows[i][column]), None)
        if found is None:
            continue
        if found != done:
            rows[done], rows[found] = rows[found], rows[done]
            sign = -sign
        head = rows[done]
        for row in rows[done + 1 :]:
            factor, row[column] = row[column], 0
            for j in range(column + 1, len(row)):
                row[j] = (head[column] * row[j] - factor * head[j]) // previous
        previous = head[column]
        done += 1
        if done == len(rows):
            break
    return Echelon(tuple(tuple(row) for row in rows), done, sign)


def rank(matrix: Sequence[Sequence[int]]) -> int:
    """Return the rank over the rationals."""
    return eliminate(matrix).pivots


def determinant(matrix: Sequence[Sequence[int]]) -> int:
    """Return the determinant. Raises ValueError unless the matrix is square."""
    if len(matrix) != len(matrix[0]):
        raise ValueError(f"a {len(matrix)}x{len(matrix[0])} matrix has no determinant")
    form = eliminate(matrix)
    return form.sign * form.rows[-1][-1] if form.pivots == len(matrix) else 0


def terms(matrix: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the signed products of Leibniz' formula, whose sum is the determinant."""
    return tuple(
        sign * prod(row[j] for row, j in zip(matrix, order, strict=True))
        for order, sign in _signed_orders(len(matrix))
    )


@lru_cache(maxsize=16)
def _signed_orders(n: int) -> tuple[tuple[tuple[int, ...], int], ...]:
    return tuple(
        (order, (-1) ** sum(a > b for a, b in combinations(order, 2)))
        for order in permutations(range(n))
    )


def largest_minor(order: int, entry: int) -> int:
    """Return Hadamard's bound on minors of a matrix with absolute entries up to `entry`."""
    return isqrt(order**order * entry ** (2 * order))


def of_rank(wanted: int, size: Size, rng: np.random.Generator) -> Matrix:
    """Draw a matrix of a given rank: a product of two factors of full rank.

    Factors are uniform among those with entries from `low` to `high`. Raises ValueError if there
    seem to be none.
    """
    if wanted == 0:
        return ((0,) * size.columns,) * size.rows
    left = _full_rank(size.rows, wanted, size, rng)
    columns = _full_rank(size.columns, wanted, size, rng)
    return tuple(
        tuple(sum(a * b for a, b in zip(row, column, strict=True)) for column in columns)
        for row in left
    )


def _full_rank(rows: int, wanted: int, size: Size, rng: np.random.Generator) -> Matrix:
    for _ in range(_TRIES):
        made = entries(rows, wanted, size, rng)
        if rank(made) == wanted:
            return made
    raise ValueError(
        f"no {rows}x{wanted} factor of full rank was found from {size}; widen low, high"
    )


def non_singular(size: Size, symmetric: bool, rng: np.random.Generator) -> Matrix:
    """Draw a matrix uniformly among the (symmetric) ones of that size with determinant not 0.

    Raises ValueError if none is found.
    """
    for _ in range(_TRIES):
        made = entries(size.rows, size.columns, size, rng)
        if symmetric:
            n = range(size.rows)
            made = tuple(tuple(made[min(i, j)][max(i, j)] for j in n) for i in n)
        if determinant(made):
            return made
    raise ValueError(f"no non-singular matrix was found from {size}; widen low, high")


def entries(rows: int, columns: int, size: Size, rng: np.random.Generator) -> Matrix:
    """Draw a matrix of independent entries, uniform from `low` to `high`."""
    drawn = rng.integers(size.low, size.high + 1, (rows, columns)).tolist()
    return tuple(tuple(row) for row in drawn)


def another(draw: Callable[[], Matrix], taken: Collection[Matrix]) -> Matrix | None:
    """Draw a matrix that is not among those taken; None if there seems to be none left."""
    for _ in range(_TRIES):
        made = draw()
        if made not in taken:
            return made
    return None


def as_text(matrix: Sequence[Sequence[int]]) -> str:
    """[[1, -2],\\n [0, 3]]"""
    return "[" + ",\n ".join(str(list(row)) for row in matrix) + "]"


def as_words(matrix: Sequence[Sequence[int]]) -> str:
    """Write the entries of a matrix row by row, as 1 -2 0 3."""
    return " ".join(str(entry) for row in matrix for entry in row)
