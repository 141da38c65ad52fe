"""The rank of an integer matrix: trained on 4x5 matrices, out of distribution on 5x4 ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from healscope.sections import Distinct, Natural
from healscope.tasks.matrices.arithmetic import (
    Matrix,
    Size,
    another,
    as_words,
    eliminate,
    largest_minor,
    of_rank,
    rank,
)
from healscope.tasks.matrices.matrix_task import MatrixTask
from healscope.tasks.problem import Side

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Rank(MatrixTask):
    """The rank of a product of two full-rank integer factors.

    All ranks are equally frequent, and all matrices are different. There is only one matrix of
    rank 0, which is posed once unless `repeat_zero`.
    """

    family: ClassVar[str] = "rank"

    id: Size = Size(rows=4, columns=5, low=-4, high=4)
    ood: Size = Size(rows=5, columns=4, low=-5, high=5)
    ranks: Annotated[Distinct[Natural], Field(description="of matrices, in equal shares")] = (
        *(0, 1, 2, 3, 4),
    )
    repeat_zero: Annotated[
        bool,
        Field(
            description="the one matrix of rank 0 is posed once; true (reference): as often as "
            "those of another rank, in training and in the hold-out"
        ),
    ] = False

    noun: ClassVar[str] = "rank"
    work_name: ClassVar[str] = "echelon"
    wordings: ClassVar[tuple[str, ...]] = (
        "Find the rank of the matrix given below: the largest number of its rows that are linearly "
        "independent.",
        "How many rows of this matrix are linearly independent of each other, at most? That number "
        "is its rank.",
        "Here is a matrix of integers. Reduce it to row echelon form and count the rows that are "
        "not zero, which is its rank.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"task {self.name!r}: ranks"
        if not any(self.ranks):
            raise ValueError(f"{where}: give one above 0; there is only one matrix of rank 0")
        for rule, size in (("id", self.id), ("ood", self.ood)):
            if max(self.ranks) > min(size.shape):
                raise ValueError(
                    f"{where}: no {size.rows}x{size.columns} matrix (of {rule}) has rank "
                    f"{max(self.ranks)}"
                )
        if 0 in self.ranks and self.id.shape == self.ood.shape:
            raise ValueError(
                f"{where}: the matrix of rank 0 would be in both id and ood; leave 0 out"
            )

    def matrices_of(self, rule: Side, rng: np.random.Generator, taken: set[Matrix]) -> list[Matrix]:
        size, found = self.size(rule), []
        for wanted in self._ranks():
            draw = partial(of_rank, wanted, size, rng)
            made = another(draw, taken) if wanted else draw()
            if made is None:
                raise ValueError(
                    f"task {self.name!r}: there are no {self.matrices} matrices for {rule}: "
                    f"different ones of rank {wanted} ran out after {len(found)} of all ranks; "
                    "lower matrices, or widen low and high"
                )
            taken.add(made)
            found.append(made)
        return found

    def _ranks(self) -> list[int]:
        """List the ranks of all matrices in order; the wanted ranks take turns."""
        once = [] if self.repeat_zero or 0 not in self.ranks else [0]
        turns = [wanted for wanted in self.ranks if wanted not in once]
        return [*once, *(turns[i % len(turns)] for i in range(self.matrices - len(once)))]

    def fresh(self, rule: Side, rng: np.random.Generator) -> Matrix:
        wanted = self.ranks[int(rng.integers(len(self.ranks)))]
        return of_rank(wanted, self.size(rule), rng)

    def value(self, matrix: Matrix) -> int:
        return rank(matrix)

    def work(self, matrix: Matrix) -> str:
        """Return the row echelon form of elimination without fractions."""
        return as_words(eliminate(matrix).rows)

    def agrees(self, answer: int, value: int) -> bool:
        """Compare exactly, or modulo 1000 as in the released code."""
        return (answer - value) % 1000 == 0 if self.verifier == "reference" else answer == value

    @property
    def largest_number(self) -> int:
        most, factor = max(self.ranks), max(self.id.largest, self.ood.largest)
        entry = most * factor**2
        minors = (largest_minor(order, entry) for order in range(1, most + 1))
        return max(entry, *minors, *self.id.shape, *self.ood.shape)
