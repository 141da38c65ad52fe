"""The rank of an integer matrix: 4x5 ones are trained on, 5x4 ones are out of distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from healscope.config.matrices import RankTask, Size, check_ranks
from healscope.tasks.matrices import (
    Matrix,
    another,
    as_words,
    eliminate,
    largest_minor,
    of_rank,
    rank,
)
from healscope.tasks.matrix_task import MatrixTask
from healscope.tasks.protocol import Side

if TYPE_CHECKING:
    import numpy as np

_DEFAULTS = RankTask(family="rank")


@dataclass(frozen=True, kw_only=True)
class Rank(MatrixTask):
    """The rank of a product of two full-rank integer factors.

    Ranks are equally frequent, by how matrices are made, and matrices different. But there is one
    matrix of rank 0: it is posed once, unless it is repeated.

    Attributes:
        ranks: those that matrices are made with.
        repeat_zero: as released, the matrix of rank 0 is as frequent as the other ranks. So it is
            both trained on and held out.
    """

    id: Size = _DEFAULTS.id
    ood: Size = _DEFAULTS.ood
    ranks: tuple[int, ...] = tuple(_DEFAULTS.ranks)
    repeat_zero: bool = False

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
        check_ranks(self.ranks, self.id, self.ood)

    def matrices_of(self, rule: Side, rng: np.random.Generator, taken: set[Matrix]) -> list[Matrix]:
        size, found = self._size(rule), []
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
        """Those of all matrices, in their order: each in its turn."""
        once = [] if self.repeat_zero or 0 not in self.ranks else [0]
        turns = [wanted for wanted in self.ranks if wanted not in once]
        return [*once, *(turns[i % len(turns)] for i in range(self.matrices - len(once)))]

    def fresh(self, rule: Side, rng: np.random.Generator) -> Matrix:
        wanted = self.ranks[int(rng.integers(len(self.ranks)))]
        return of_rank(wanted, self._size(rule), rng)

    def value(self, matrix: Matrix) -> int:
        return rank(matrix)

    def work(self, matrix: Matrix) -> str:
        """The row echelon form that elimination without fractions ends with."""
        return as_words(eliminate(matrix).rows)

    def agrees(self, answer: int, value: int) -> bool:
        """Exactly; as released, modulo 1000."""
        return (answer - value) % 1000 == 0 if self.verifier == "reference" else answer == value

    @property
    def largest_number(self) -> int:
        most, factor = max(self.ranks), max(self.id.largest, self.ood.largest)
        entry = most * factor**2
        minors = (largest_minor(order, entry) for order in range(1, most + 1))
        return max(entry, *minors, *self.id.shape, *self.ood.shape)

    def _size(self, rule: Side) -> Size:
        return self.id if rule == "id" else self.ood
