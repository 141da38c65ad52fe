"""Tasks on matrices: rank and determinant (added to the released code of arXiv 2509.12235)."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from healscope.config.types import (
    Chosen,
    Fraction,
    Natural,
    Positive,
    RuleShares,
    Section,
    TaskSection,
)

Side = Annotated[int, Field(ge=1, le=9)]
Entry = Annotated[int, Field(ge=-999, le=999)]
LARGEST_WORD = 999
"""A model of the compact rendering has a word for every number up to its largest."""


class Size(Section):
    """Matrices of one rule: how large, and from which integers their entries are made."""

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


def check_rules(id: Size, ood: Size) -> None:
    """Raises ValueError where the two rules are the same, as in two released configs."""
    if id == ood:
        raise ValueError(
            f"ood is the same as id ({id}): nothing would be out of distribution; change its rows, "
            "columns, low or high"
        )


def check_ranks(ranks: Sequence[int], id: Size, ood: Size) -> None:
    """Raises ValueError on ranks that matrices of these sizes cannot have."""
    if not any(ranks):
        raise ValueError("ranks: give one above 0; of rank 0 there is one matrix")
    for rule, size in (("id", id), ("ood", ood)):
        if max(ranks) > min(size.shape):
            raise ValueError(
                f"ranks: no {size.rows}x{size.columns} matrix (of {rule}) has rank {max(ranks)}"
            )
    if 0 in ranks and id.shape == ood.shape:
        raise ValueError("ranks: the matrix of rank 0 would be that of id and of ood; leave 0 out")


class MatrixRewards(Section):
    """Reward of each verdict. The defaults are the table of the released code (reference)."""

    correct: float = 5
    wrong_value: float = -1
    wrong_work: float = -1
    no_answer: float = -1


class MatrixSettings(TaskSection):
    """What the two tasks share."""

    judging_only: ClassVar = ("rewards", "mixture", "verifier", "reasoning")
    dealing_only: ClassVar = ("held_out",)

    matrices: Positive = Field(1000, description="of each rule, all different")
    rendering: Literal["json", "compact"] = "json"
    verifier: Literal["corrected", "reference"] = Field(
        "corrected",
        description="reference: without an answer field the first integer anywhere is the answer, "
        "and ranks are compared modulo 1000, as in the released code",
    )
    grade_work: bool = Field(
        False, description="of rendering compact: true grades the line of working too"
    )
    rewards: MatrixRewards = MatrixRewards()
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="share of ID matrices kept from SFT and RL"
    )
    mixture: RuleShares = RuleShares()
    seed: Natural = Field(0, description="draws the matrices and the hold-out")

    @model_validator(mode="after")
    def _rules_differ(self):
        check_rules(self.id, self.ood)
        return self

    @model_validator(mode="after")
    def _rendering_fits(self):
        if self.rendering == "compact" and self.verifier == "reference":
            raise ValueError("verifier 'reference' reads JSON: set rendering: json, or corrected")
        if self.rendering == "json" and self.grade_work:
            raise ValueError("grade_work: answers of rendering json have no working: set false")
        return self


class RankTask(MatrixSettings):
    """The rank of a product of integer factors."""

    family: Literal["rank"]
    id: Size = Size(rows=4, columns=5, low=-4, high=4)
    ood: Size = Size(rows=5, columns=4, low=-5, high=5)
    ranks: Chosen[Natural] = Field([0, 1, 2, 3, 4], description="of matrices, in equal shares")
    repeat_zero: bool = Field(
        False,
        description="the one matrix of rank 0 is posed once; true (reference): as often as those "
        "of another rank, in training and in the hold-out",
    )

    @model_validator(mode="after")
    def _ranks_fit(self):
        check_ranks(self.ranks, self.id, self.ood)
        return self


class DeterminantTask(MatrixSettings):
    """The determinant of a non-singular integer matrix."""

    family: Literal["determinant"]
    id: Size = Size(rows=2, columns=2, low=-4, high=4)
    ood: Size = Size(rows=3, columns=3, low=-5, high=5)
    symmetric: Fraction = Field(0.5, description="share of matrices that are symmetric")

    @model_validator(mode="after")
    def _square(self):
        for rule, size in (("id", self.id), ("ood", self.ood)):
            if size.rows != size.columns:
                raise ValueError(f"{rule}: a determinant needs as many rows as columns")
        return self
