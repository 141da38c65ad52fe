"""What every recipe has, what those have that train, sample or learn from rewards."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from healscope.config.compute import Launch
from healscope.config.training import Optimizer
from healscope.sections import Fraction, Positive, Section
from healscope.tasks.problem import OFFERS, POOLS
from healscope.tasks.rewards import NEEDS, REWARDS

NonNegative = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
RewardName = Literal[tuple(REWARDS)]


def added(default: Any, description: str) -> Any:
    """Return a field that is dumped only if it differs from its default.

    So runs made before the field existed keep their fingerprint, and are not made again.
    """
    return Field(default, description=description, exclude_if=lambda value: value == default)


class Cost(NamedTuple):
    """Upper bounds of what a run costs: how many responses it samples, trains on and measures KL
    on, and how many states it saves."""

    sampled: int = 0
    trained: int = 0
    measured: float = 0
    states: float = 0


class BaseRecipe(Section):
    """What is known of every recipe.

    A trainer carries the recipe out: a function of recipe and branch
    (`healscope.training.branch.Branch`) that stages a checkpoint and returns the logged rows.
    """

    trainer: ClassVar[str]  # module:function
    kind: ClassVar[Literal["rl", "control", "planted"]] = "control"
    does: ClassVar[str] = ""  # of a control, in the sentence "RL heals more than …"
    one_process: ClassVar[bool] = False  # it cannot be trained with DeepSpeed

    @property
    def reward_words(self) -> str:
        """The reward as tables have it, such as `binary + 0.5 format`; empty without one."""
        return ""

    @property
    def pace(self) -> tuple | None:
        """Optimizer steps, rows of a step, optimizer and schedule; None if nothing is trained."""
        return None

    @property
    def cost(self) -> Cost:
        return Cost()

    @property
    def needs(self) -> Mapping[str, str]:
        """Key of the recipe -> what a task must have for its value (`problem.OFFERS`)."""
        return {}

    @property
    def deals(self) -> bool:
        """Whether the task deals problems for it, beside those in the files of pools."""
        return not set(POOLS).isdisjoint(self.needs.values())

    def misfit(self, task: str, offers: Collection[str]) -> str | None:
        """Why the recipe cannot be trained on a task, which has `offers`, or None."""
        for key, need in self.needs.items():
            if need not in offers:
                return (
                    f"{key}: needs {OFFERS[need]}, and task '{task}' has none; change it, or train "
                    "on another task (one of your own says what it has in `offers`)"
                )
        return None

    def refusal(self, zero: int) -> str | None:
        """Why the recipe cannot be trained at this ZeRO stage (0: without DeepSpeed), or None."""
        if zero and self.one_process:
            return f"'{self.algorithm}' trains in one process only: use no deepspeed"
        return None

    def check_launch(self, launch: Launch, name: str) -> None:
        """Raise ValueError if the recipe, called `name`, cannot be trained with these settings."""
        if reason := self.refusal(launch.zero):
            raise ValueError(f"rl.recipes.{name}: {reason}")


class Training(BaseRecipe):
    """What every recipe that trains has: `rl.defaults` gives it once for all."""

    iterations: Positive = Field(
        100, description="rounds of sampling and updating; of `sft`, steps"
    )
    responses: Positive = Field(256, description="responses sampled (of `sft`, read) per iteration")
    token_budget: Positive | None = Field(
        None, description="stop once so many tokens were generated (of `sft`, read)"
    )
    optimizer: Optimizer = Field(
        Optimizer(learning_rate=1.5e-4, warmup_steps=0, beta2=0.95),
        description="AdamW, of the policy",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="constant, or cosine: down to 0 at the last iteration"
    )
    freeze: list[str] = Field(["embed_tokens", "lm_head", "norm"], description="as in SFT")
    state_every: Positive = Field(20, description="iterations between states to resume from")
    kl_every: Positive | None = Field(
        10, description="iterations between measurements of KL from start and base; null: none"
    )

    @property
    def pace(self) -> tuple | None:
        return self.iterations, self.responses, self.optimizer, self.schedule

    @property
    def cost(self) -> Cost:
        rows = self.iterations * self.responses
        return Cost(trained=rows, states=self.iterations / self.state_every)


class PassRate(Section):
    """Training problems of which a share of the answers is right where training starts."""

    pass_rate: tuple[Fraction, Fraction] = Field(
        description="least and most share of sampled answers that are right at the start (rl.pools)"
    )

    @model_validator(mode="after")
    def _in_order(self):
        if self.pass_rate[0] > self.pass_rate[1]:
            raise ValueError("pass_rate: the least share comes first")
        return self


class Pools(Section):
    """How pass rates of training problems are measured, for `problems: {pass_rate: [...]}`."""

    problems: Positive = Field(600, description="training problems, drawn once")
    samples: Positive = Field(16, description="answers to each, at temperature 1")


class Sampling(Training):
    """Recipes that learn from the model's own responses."""

    kind: ClassVar[Literal["rl", "control", "planted"]] = "rl"

    samples_per_prompt: Positive = Field(1, description="responses to each prompt")
    temperature: AboveZero = Field(1.0, description="temperature of sampling")
    problems: Literal["training", "sft", "unsolvable"] | PassRate = Field(
        "training",
        description="prompts: training: all training deals; sft: those that SFT saw; unsolvable: "
        "deals without a solution; or {pass_rate: [0.2, 0.8]}: so hard where training starts",
    )
    keep_answers: Positive | None = added(
        None, "iterations from one whose responses are kept to the next; null: none are"
    )

    @model_validator(mode="after")
    def _whole_groups(self):
        if self.responses % self.samples_per_prompt:
            raise ValueError(
                f"responses ({self.responses}) must be a multiple of samples_per_prompt "
                f"({self.samples_per_prompt})"
            )
        return self

    @property
    def needs(self) -> Mapping[str, str]:
        return {"problems": "unsolvable"} if self.problems == "unsolvable" else {}

    @property
    def prompts(self) -> int:
        """Number of problems of an iteration."""
        return self.responses // self.samples_per_prompt

    @property
    def reward_words(self) -> str:
        return "verdict"

    @property
    def turns(self) -> int:
        """The most turns of what `responses` counts."""
        return 1

    @property
    def passes(self) -> int:
        """How often each response is trained on, or read by a second model in training."""
        return 1

    @property
    def cost(self) -> Cost:
        sampled = self.iterations * self.responses * self.turns
        measured = self.responses * 2 * (self.iterations / (self.kl_every or 10**9))
        return Cost(sampled, sampled * self.passes, measured, self.iterations / self.state_every)


class Rewarded(Sampling):
    """Recipes that learn from rewards; the others learn from what the verifier calls correct.

    They take `epochs` passes over the responses of an iteration, in `minibatches` steps each:
    fields of a recipe, or class variables where its algorithm leaves no choice.
    """

    reward: Annotated[dict[RewardName, float], Field(min_length=1)] = Field(
        {"verdict": 1.0},
        description="weighted sum: verdict (tasks.*.rewards), " + ", ".join([*REWARDS][1:]),
    )
    length_neutral: bool = Field(
        False, description="true: remove from rewards what length explains among equal verdicts"
    )

    @model_validator(mode="after")
    def _pays(self):
        if not any(self.reward.values()):
            raise ValueError(
                "reward: every weight is 0, so that nothing is ever paid; give a reward another "
                "weight"
            )
        return self

    @model_validator(mode="after")
    def _whole_minibatches(self):
        if self.responses % self.minibatches:
            raise ValueError("responses must be a multiple of minibatches")
        return self

    @property
    def needs(self) -> Mapping[str, str]:
        paid = {f"reward.{name}": NEEDS[name] for name in self.reward if name in NEEDS}
        return {**super().needs, **paid}

    @property
    def steps(self) -> int:
        """Number of optimizer steps on the responses of an iteration."""
        return self.epochs * self.minibatches

    @property
    def passes(self) -> int:
        return self.epochs

    @property
    def reward_words(self) -> str:
        terms = (name if w == 1 else f"{w:g} {name}" for name, w in self.reward.items())
        return " + ".join(terms)

    @property
    def pace(self) -> tuple | None:
        rows = self.responses // self.minibatches
        return self.iterations * self.steps, rows, self.optimizer, self.schedule

    def check_launch(self, launch: Launch, name: str) -> None:
        super().check_launch(launch, name)
        where = f"rl.recipes.{name}"
        if self.prompts % launch.processes:
            raise ValueError(
                f"{where}: {self.prompts} prompts an iteration (responses / samples_per_prompt) "
                f"are no multiple of launch.processes {launch.processes}"
            )
        launch.share(self.responses // self.minibatches, f"{where}: responses of a minibatch")
