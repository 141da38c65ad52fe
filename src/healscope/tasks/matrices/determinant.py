"""The determinant of an integer matrix: trained on 2x2, out of distribution on 3x3."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import factorial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from healscope.sections import Fraction
from healscope.tasks.matrices.arithmetic import (
    Matrix,
    Size,
    another,
    determinant,
    non_singular,
    terms,
)
from healscope.tasks.matrices.matrix_task import MatrixTask
from healscope.tasks.problem import Side

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Determinant(MatrixTask):
    """The determinant of a non-singular matrix.

    Matrices are drawn uniformly among the non-singular ones of their size and range, a share of
    them among the symmetric ones. All are different.
    """

    family: ClassVar[str] = "determinant"

    id: Size = Size(rows=2, columns=2, low=-4, high=4)
    ood: Size = Size(rows=3, columns=3, low=-5, high=5)
    symmetric: Annotated[Fraction, Field(description="share of matrices that are symmetric")] = 0.5

    noun: ClassVar[str] = "determinant"
    work_name: ClassVar[str] = "terms"
    wordings: ClassVar[tuple[str, ...]] = (
        "Calculate the determinant of the matrix given below.",
        "What is the determinant of this square matrix? It is an integer.",
        "Here is a square matrix of integers. By what number does it scale areas or volumes, with "
        "the sign that its orientation gives? That number is its determinant.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for rule, size in (("id", self.id), ("ood", self.ood)):
            if size.rows != size.columns:
                raise ValueError(
                    f"task {self.name!r}: {rule}: a determinant needs as many rows as columns"
                )

    def matrices_of(self, rule: Side, rng: np.random.Generator, taken: set[Matrix]) -> list[Matrix]:
        size, found = self.size(rule), []
        for number in range(self.matrices):
            symmetric = int((number + 1) * self.symmetric) > int(number * self.symmetric)
            made = another(partial(non_singular, size, symmetric, rng), taken)
            if made is None:
                kind = "symmetric ones" if symmetric else "ones"
                raise ValueError(
                    f"task {self.name!r}: there are no {self.matrices} matrices for {rule}: "
                    f"different non-singular {kind} ran out after {number} matrices; lower matrices"
                    " or symmetric, or widen low and high"
                )
            taken.add(made)
            found.append(made)
        return found

    def fresh(self, rule: Side, rng: np.random.Generator) -> Matrix:
        return non_singular(self.size(rule), rng.random() < self.symmetric, rng)

    def value(self, matrix: Matrix) -> int:
        return determinant(matrix)

    def work(self, matrix: Matrix) -> str:
        """Return the signed products of Leibniz' formula."""
        return " ".join(map(str, terms(matrix)))

    @property
    def largest_number(self) -> int:
        """Bound the sum of all terms with the largest entries."""
        sizes = (self.id, self.ood)
        return max(
            *(factorial(size.rows) * size.largest**size.rows for size in sizes),
            *(max(size.largest, size.rows) for size in sizes),
        )
