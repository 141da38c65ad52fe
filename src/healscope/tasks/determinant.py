"""The determinant of an integer matrix: 2x2 ones are trained on, 3x3 ones are out of
distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import factorial
from typing import TYPE_CHECKING, ClassVar

from healscope.config.matrices import DeterminantTask, Size
from healscope.tasks.matrices import Matrix, another, determinant, non_singular, terms
from healscope.tasks.matrix_task import MatrixTask
from healscope.tasks.protocol import Side

if TYPE_CHECKING:
    import numpy as np

_DEFAULTS = DeterminantTask(family="determinant")


@dataclass(frozen=True, kw_only=True)
class Determinant(MatrixTask):
    """The determinant of a non-singular matrix.

    Matrices are uniform among the non-singular ones of their size and range, and the symmetric
    share among the symmetric of those; all are different.

    Attributes:
        symmetric: share of the matrices that are symmetric.
    """

    id: Size = _DEFAULTS.id
    ood: Size = _DEFAULTS.ood
    symmetric: float = _DEFAULTS.symmetric

    noun: ClassVar[str] = "determinant"
    work_name: ClassVar[str] = "terms"
    wordings: ClassVar[tuple[str, ...]] = (
        "Calculate the determinant of the matrix given below.",
        "What is the determinant of this square matrix? It is an integer.",
        "Here is a square matrix of integers. By what number does it scale areas or volumes, with "
        "the sign that its orientation gives? That number is its determinant.",
    )

    def matrices_of(self, rule: Side, rng: np.random.Generator, taken: set[Matrix]) -> list[Matrix]:
        size, found = self._size(rule), []
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
        return non_singular(self._size(rule), rng.random() < self.symmetric, rng)

    def value(self, matrix: Matrix) -> int:
        return determinant(matrix)

    def work(self, matrix: Matrix) -> str:
        """The signed products of Leibniz' formula."""
        return " ".join(map(str, terms(matrix)))

    @property
    def largest_number(self) -> int:
        """As the sum of all terms, with the largest entries."""
        sizes = (self.id, self.ood)
        return max(
            *(factorial(size.rows) * size.largest**size.rows for size in sizes),
            *(max(size.largest, size.rows) for size in sizes),
        )

    def _size(self, rule: Side) -> Size:
        return self.id if rule == "id" else self.ood
