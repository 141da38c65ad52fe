"""Tasks: one section for each family, chosen by its key `family`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from healscope.config.types import CardValue, Chosen, Natural, Positive, Section


class FaceRule(Section):
    """What the face cards are worth."""

    J: CardValue
    Q: CardValue
    K: CardValue


class Rewards(Section):
    """Reward of each verdict. The defaults are the table of the released code (reference)."""

    correct: float = 5
    partial: float = 1
    wrong_value: float = -1
    wrong_number: float = -2
    wrong_line: float = -2
    illegal: float = -3
    no_answer: float = -3


class GeneralPointsTask(Section):
    """The card game (arXiv 2509.12235, section 3.1 and appendix C.1)."""

    problems_of: ClassVar[tuple[str, ...]] = ("neighbours",)  # protocols that no other task has
    family: Literal["generalpoints"] = "generalpoints"
    cards: Annotated[int, Field(ge=2, le=4)] = Field(4, description="cards in a deal")
    targets: Chosen[CardValue] = [24]
    id_rule: FaceRule = FaceRule(J=10, Q=10, K=10)
    ood_rule: FaceRule = FaceRule(J=11, Q=12, K=13)
    rendering: Literal["json", "compact"] = "json"
    verifier: Literal["tolerant", "reference"] = Field(
        "tolerant", description="reference: spaces and × ÷ − are illegal, as in the released code"
    )
    grade_number_line: bool = Field(
        False, description="false (reference): only the formula counts; true: the number line too"
    )
    rewards: Rewards = Rewards()
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="share of deals (by their ID values) kept from SFT and RL"
    )
    orders: Positive = Field(2, description="card orders evaluated for each deal")
    seed: Natural = Field(0, description="draws the hold-out and the card orders")

    @model_validator(mode="after")
    def _reference_ignores_the_line(self):
        if self.verifier == "reference" and self.grade_number_line:
            raise ValueError(
                "verifier 'reference' grades the formula alone: set grade_number_line: false"
            )
        return self


def _family(value) -> str:
    """By which of the alternatives below a section is read."""
    if isinstance(value, dict):
        return value.get("family", "generalpoints")
    return value.family


AnyTask = Annotated[
    Annotated[GeneralPointsTask, Tag("generalpoints")],
    Discriminator(_family),
]


def task_settings(section: dict) -> AnyTask:
    """The settings in the plain values of a task section; raises pydantic's ValidationError."""
    return TypeAdapter(AnyTask).validate_python(section)
