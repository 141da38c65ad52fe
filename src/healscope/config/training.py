"""SFT, and the optimizer that all training shares."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from healscope.config.types import Natural, Positive, Rate, Section, distinct


class Optimizer(Section):
    learning_rate: Rate = 8e-4
    warmup_steps: Natural = 20
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.98
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0


class SFT(Section):
    """Supervised fine-tuning on the ID rule, one canonical answer for each problem."""

    steps: Positive = 400
    checkpoints: list[Natural] = Field([0, 9, 21, 59, 116, 192, 286, 400], min_length=2)
    deals: Positive = Field(
        200, description="distinct ID value multisets (with target) to draw from"
    )
    examples: Positive = Field(700, description="rows, drawn once from those deals")
    batch_size: Positive = 64
    optimizer: Optimizer = Optimizer()
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    freeze: list[str] = Field(
        ["embed_tokens", "lm_head", "norm"], description="parameters whose name holds one of these"
    )
    arms: Annotated[list[Literal["diverse", "solutions"]], AfterValidator(distinct)] = Field(
        [],
        description="control arms beside the main one: diverse, on paraphrased prompts; "
        "solutions, any correct answer drawn anew each epoch",
    )
    log_every: Positive = Field(10, description="steps between loss and format measurements")
    log_problems: Positive = Field(128, description="problems of each kind in such a measurement")
    state_every: Positive = Field(50, description="steps between states to resume from")

    @model_validator(mode="after")
    def _grid(self):
        if list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError("checkpoints must increase without repeats")
        if self.checkpoints[-1] > self.steps:
            raise ValueError(
                f"checkpoints: step {self.checkpoints[-1]} is beyond steps={self.steps}"
            )
        if self.state_every % self.log_every:
            raise ValueError(
                "state_every must be a multiple of log_every, or a resume would split a row"
            )
        return self
