"""SFT and RL."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from healscope.config.types import Fraction, Natural, Positive, Rate, Section, merged


class Optimizer(Section):
    learning_rate: Rate = 8e-4
    warmup_steps: Natural = 20
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.98
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
    prompt_diversity: bool = Field(
        False, description="also fine-tunes a second arm whose prompts are paraphrased"
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


class PPO(Section):
    """Proximal policy optimisation; one action is one whole response."""

    algorithm: Literal["ppo"] = "ppo"
    iterations: Positive = 100
    prompts: Positive = Field(128, description="fresh training problems for each iteration")
    samples_per_prompt: Positive = 4
    epochs: Positive = 1
    minibatches: Positive = 1
    optimizer: Optimizer = Optimizer(learning_rate=1.5e-4, warmup_steps=0, beta2=0.95)
    value_learning_rate: Rate = 3e-3
    value_steps: Positive = Field(20, description="steps of the value head an iteration")
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    value_clip: Annotated[float, Field(gt=0)] | None = None
    discount: Fraction = Field(1.0, description="gamma, between the turns of one episode")
    gae_lambda: Fraction = 0.95
    ratio: Literal["token", "response"] = "token"
    kl_coefficient: Annotated[float, Field(ge=0)] = Field(
        0.0, description="KL to the start, in the loss"
    )
    entropy_coefficient: Annotated[float, Field(ge=0)] = 0.0
    temperature: Annotated[float, Field(gt=0)] = 1.0
    freeze: list[str] = ["embed_tokens", "lm_head", "norm"]
    state_every: Positive = Field(20, description="iterations between states to resume from")

    @model_validator(mode="after")
    def _divides(self):
        if (self.prompts * self.samples_per_prompt) % self.minibatches:
            raise ValueError("prompts * samples_per_prompt must be a multiple of minibatches")
        return self


class Branch(PPO):
    """One RL run from one SFT checkpoint; every key of `rl.defaults` can be overridden here."""

    start: Natural = Field(description="SFT step to start from; must be in sft.checkpoints")

    @property
    def name(self) -> str:
        return f"{self.algorithm}-from-{self.start}"


class RL(Section):
    defaults: PPO = PPO()
    branches: list[Branch] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("branches"), list):
            return data
        defaults = data.get("defaults") or {}
        if not isinstance(defaults, dict):
            return data
        merge = [merged(defaults, b) if isinstance(b, dict) else b for b in data["branches"]]
        return {**data, "branches": merge}

    @model_validator(mode="after")
    def _unique(self):
        names = [b.name for b in self.branches]
        if len(set(names)) < len(names):
            raise ValueError("branches: two branches have the same algorithm and start")
        return self
