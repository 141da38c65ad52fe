"""SFT and its methods, and the optimizer that all training shares.

A new method takes two files: here a class, its place in `SFTMethod` and its values in `METHODS`;
and how it trains, in `healscope.training.methods`.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from healscope.config.compute import Launch
from healscope.sections import (
    Fraction,
    Name,
    Natural,
    OpenFraction,
    Positive,
    Rate,
    Section,
    distinct,
    inherited,
)
from healscope.tasks.posing import WALKS

AboveZero = Annotated[float, Field(gt=0)]


class Optimizer(Section):
    learning_rate: Rate = Field(8e-4, description="peak")
    warmup_steps: Natural = Field(20, description="steps of warm-up")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.0, description="0: weights move only by the loss"
    )
    beta2: Annotated[float, Field(gt=0, lt=1)] = Field(0.98, description="second-moment decay")
    epsilon: Annotated[float, Field(gt=0)] = Field(1e-8, description="in the denominator of a step")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="gradient clipping")


class Method(Section):
    """What every method of SFT has."""

    labels: ClassVar[dict[str, str]]  # in figures, by the value of `method`

    learning_rate: Rate | None = Field(
        None, description="instead of the optimizer's; null: the same"
    )

    def refusal(self, _zero: int) -> str | None:
        """Why the method cannot be trained at this ZeRO stage (0: without DeepSpeed), or None."""
        return None

    def misfit(self, _task: str, _problems_of: Collection[str]) -> str | None:
        """Why the method cannot be trained on a task, which has these kinds of problems
        (`Task.problems_of`), or None."""
        return None


class Penalised(Method):
    """Methods that add a penalty to the loss; each has a `strength`."""

    def refusal(self, zero: int) -> str | None:
        if zero < 3:
            return None
        return f"the penalty '{self.method}' needs whole matrices, which ZeRO-3 parts: use zero2"


Directions = Annotated[
    Literal["leading", "trailing", "random"],
    Field(description="which singular directions of W0; random: any, as a control"),
]
Share = Annotated[float, Field(gt=0, lt=1, description="share of the directions of a matrix")]


class Penalty(Penalised):
    """A penalty that is added to the loss: KL(base || model) on the answers, or |W - W0|^2."""

    labels: ClassVar[dict[str, str]] = {"kl": "KL to the base", "l2": "L2 to the base"}

    method: Literal["kl", "l2"]
    strength: AboveZero = Field(description="what the penalty is multiplied by")


class BlockDrift(Penalised):
    """Penalty on U'(W - W0)V, the leading singular directions of W0 (RPSFT, arXiv 2605.10973)."""

    labels: ClassVar[dict[str, str]] = {
        "rpsft": "RPSFT, as published",
        "rpsft_normalised": "RPSFT, normalised",
    }

    method: Literal["rpsft", "rpsft_normalised"]
    strength: AboveZero = Field(
        description="weight of the penalty in the loss; it depends on the model, a 7B one was given"
        " 1"
    )
    share: OpenFraction = Field(
        description="share of the singular directions of a matrix; 1: the drift of the whole matrix"
    )
    directions: Directions = "leading"


class Rotation(Penalised):
    """Penalty on what turns the leading singular subspaces of W0, to first order."""

    labels: ClassVar[dict[str, str]] = {"rotation": "rotation penalty"}

    method: Literal["rotation"]
    strength: AboveZero = Field(description="what the penalty is multiplied by")
    share: Share
    directions: Directions = "leading"


class Protected(Method):
    """Updates are kept out of the leading singular subspaces of W0, both left and right."""

    labels: ClassVar[dict[str, str]] = {"protected": "protected directions"}

    method: Literal["protected"]
    share: Share
    directions: Directions = "leading"

    def refusal(self, zero: int) -> str | None:
        if not zero:
            return None
        return "'protected' projects gradients, which DeepSpeed keeps to itself: use no deepspeed"


class LoRA(Method):
    """Low-rank updates (arXiv 2106.09685) of the matrices that SFT trains, merged when saved."""

    labels: ClassVar[dict[str, str]] = {"lora": "LoRA"}

    method: Literal["lora"]
    rank: Positive = Field(description="of the update of a matrix")
    alpha: AboveZero = Field(description="the update is scaled by alpha / rank")


class DFT(Method):
    """Dynamic fine-tuning: tokens weigh as their probability (arXiv 2508.05629)."""

    labels: ClassVar[dict[str, str]] = {"dft": "DFT"}

    method: Literal["dft"]


class Replay(Method):
    """Part of every batch are answers that the base itself gave to everyday requests.

    A model that reads words is needed: the compact tiny world replays problems under other rules.
    """

    labels: ClassVar[dict[str, str]] = {"replay": "replay of the base's answers"}

    method: Literal["replay"]
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="share of the rows that replay the base's answers"
    )
    prompts: Positive = Field(40, description="requests, at most")
    answers: Positive = Field(
        80, description="answers of the base to them, sampled before training"
    )
    max_new_tokens: Positive = Field(64, description="longest answer; longer ones are not replayed")


class Early(Method):
    """Early experience (arXiv 2510.08558): what other actions than the expert's would lead to.

    `shuffled_world` has the same tokens and no dynamics, `more_expert` other examples instead.
    """

    labels: ClassVar[dict[str, str]] = {
        "world_model": "world model first",
        "shuffled_world": "shuffled world first",
        "more_expert": "more of the expert first",
        "reflection": "with reflections",
    }

    method: Literal["world_model", "shuffled_world", "more_expert", "reflection"]
    alternatives: Positive = Field(3, description="other actions that are tried at each example")
    error_share: Fraction = Field(
        0.5, description="share of them that lead nowhere, or end the walk, as far as there are any"
    )
    epochs: Positive = Field(1, description="how often each is read before imitation")

    def refusal(self, zero: int) -> str | None:
        if not zero:
            return None
        return f"'{self.method}' has batches of its own size: use no deepspeed"

    def misfit(self, task: str, problems_of: Collection[str]) -> str | None:
        if WALKS in problems_of:
            return None
        return (
            f"'{self.method}' needs actions that could be tried, and task '{task}' has none; take "
            "navigation with moved_by: own"
        )


_SFTMethod = Penalty | BlockDrift | Rotation | Protected | LoRA | DFT | Replay | Early
SFTMethod = Annotated[_SFTMethod, Field(discriminator="method")]

# Strengths have a unit: they depend on the scale and the number of a model's weights, on the length
# of training and on the loss. These are for the tiny world (docs/log.md: how they were found).
METHODS: Mapping[str, Mapping[str, Any]] = {
    "rpsft": {"method": "rpsft", "strength": 30.0, "share": 0.25},
    "rpsft_normalised": {"method": "rpsft_normalised", "strength": 1000.0, "share": 0.25},
    "rotation": {"method": "rotation", "strength": 10.0, "share": 0.25},
    "protected": {"method": "protected", "share": 0.25},
    "kl": {"method": "kl", "strength": 0.3},
    "l2": {"method": "l2", "strength": 0.01},
    "lora": {"method": "lora", "rank": 8, "alpha": 16.0, "learning_rate": 1e-3},
    "dft": {"method": "dft"},
    "replay": {"method": "replay", "share": 0.25},
    **{name: {"method": name} for name in Early.labels},
}
"""Methods that can be used by their name."""

CONTROLS = {"diverse": "paraphrased prompts", "solutions": "any correct answer"}
"""Arms that differ from plain SFT in what they read, with their labels in figures. The answers of
`solutions` are drawn anew each time a problem comes up."""

_LABELS = {name: label for m in get_args(_SFTMethod) for name, label in m.labels.items()}
ARM_LABELS = {**CONTROLS, **{arm: _LABELS[values["method"]] for arm, values in METHODS.items()}}
"""Label of an arm in figures, by its name; other arms are shown by their names."""

_RESERVED = ("base", "sft", "rl", *CONTROLS)


class SFT(Section):
    """Supervised fine-tuning on the ID rule, one canonical answer for each problem."""

    steps: Positive = Field(400, description="optimizer steps")
    checkpoints: list[Natural] = Field(
        [0, 9, 21, 59, 116, 192, 286, 400],
        min_length=2,
        description="steps that are saved and evaluated",
    )
    deals: Positive = Field(
        200, description="distinct ID value multisets (with target) that examples come from"
    )
    examples: Positive = Field(
        700, description="training rows, drawn once; one canonical answer each"
    )
    batch_size: Positive = Field(64, description="rows per step")
    optimizer: Optimizer = Field(Optimizer(), description="AdamW")
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = Field(
        "constant_with_warmup",
        description="constant_with_warmup, linear or cosine; explicit, never a trainer's default",
    )
    freeze: list[str] = Field(
        ["embed_tokens", "lm_head", "norm"],
        description="parameters that are not trained, by part of their name",
    )
    arms: Annotated[list[Name], AfterValidator(distinct)] = Field(
        [],
        description="runs beside it: diverse (paraphrased prompts), solutions (any correct answer),"
        " any method",
    )
    methods: dict[Name, SFTMethod] = Field(
        {},
        description="arm -> how it trains; a new name starts from another one: {like: rpsft, "
        "strength: 3.0}",
    )
    log_every: Positive = Field(
        10, description="steps between measurements of losses and format errors"
    )
    log_problems: Positive = Field(128, description="problems of each kind in such a measurement")
    state_every: Positive = Field(50, description="steps between states to resume from")

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, data: Any) -> Any:
        """Complete every method: what it is `like` or its built-in values, then its own keys."""
        given = (data.get("methods") or {}) if isinstance(data, dict) else None
        if not isinstance(given, dict):
            return data
        names = [*METHODS, *(name for name in given if name not in METHODS)]

        def start(name: str, _own: dict) -> dict:
            return dict(METHODS.get(name, {}))

        try:
            methods = {name: inherited(name, given, METHODS, start) for name in names}
        except ValueError as error:
            raise ValueError(f"methods.{error}") from None
        return {**data, "methods": methods}

    @model_validator(mode="after")
    def _known(self):
        if reserved := [name for name in self.methods if name in _RESERVED]:
            raise ValueError(f"methods: '{reserved[0]}' means something else; take another name")
        there = (*CONTROLS, *self.methods)
        if unknown := [arm for arm in self.arms if arm not in there]:
            raise ValueError(
                f"arms: no arm '{unknown[0]}'; there are {', '.join(there)}, and a new one is an "
                "entry of sft.methods"
            )
        return self

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

    def check_launch(self, launch: Launch) -> None:
        """Raise ValueError if SFT cannot be trained with these settings."""
        launch.share(self.batch_size, "sft.batch_size")
        last = self.examples % self.batch_size
        if last % launch.processes:
            raise ValueError(
                f"sft.examples {self.examples} leave {last} rows for the last batch of an epoch "
                f"(sft.batch_size {self.batch_size}), which launch.processes {launch.processes} "
                "cannot share evenly"
            )
        for arm in self.arms:
            method = self.methods.get(arm)
            if method and (reason := method.refusal(launch.zero)):
                raise ValueError(f"sft.arms '{arm}': {reason}")
