"""The study: one validated config. These models are the single source of keys, types and limits.

`workflow/schemas/study.schema.json` is generated from them (`make schema`), and a test holds the
annotated `config/config.yaml` against them. Every number that a result depends on is here.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from healscope.errors import HealscopeError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._]*$")]  # no "-": it separates path parts
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
CardValue = Annotated[int, Field(ge=1, le=999)]
Rate = Annotated[float, Field(gt=0, le=1)]

MATRIX_ROLES = ("q", "k", "v", "o", "gate", "up", "down")
PALETTES = ("colorblind", "deep", "muted", "viridis", "Greys")


def _distinct(items: list) -> list:
    if len(set(items)) < len(items):
        raise ValueError(f"{items} holds the same value twice")
    return items


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


T = TypeVar("T")
Chosen = Annotated[list[T], Field(min_length=1), AfterValidator(_distinct)]


# ---- tasks ----------------------------------------------------------------------------------


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


# ---- models ---------------------------------------------------------------------------------


class Architecture(Section):
    """A Llama-style decoder trained from scratch."""

    hidden_size: Positive = 128
    layers: Positive = 2
    heads: Positive = 4
    ffn_size: Positive = 256
    rope_theta: Annotated[float, Field(gt=0)] = 100.0
    init_std: Annotated[float, Field(gt=0)] = 0.05

    @model_validator(mode="after")
    def _heads_divide(self):
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        return self


class Mixture(Section):
    """Shares; only their ratios count."""

    @model_validator(mode="after")
    def _not_empty(self):
        if sum(self.model_dump().values()) <= 0:
            raise ValueError("at least one share must be positive")
        return self


class RuleMixture(Mixture):
    """Shares of the face-card rules stated in pretraining prompts."""

    random: Fraction = 0.45
    id: Fraction = 0.07
    ood: Fraction = 0.20
    same: Fraction = 0.13
    consecutive: Fraction = 0.15


class FormatMixture(Mixture):
    """Shares of the answer layouts in pretraining (fG has the layout of evaluation)."""

    fA: Fraction = 0.10
    fB: Fraction = 0.30
    fC: Fraction = 0.15
    fG: Fraction = 0.45


class Pretraining(Section):
    """The from-scratch base model: many rules, many layouts, next-token loss on the response."""

    steps: Positive = 650
    batch_size: Positive = 128
    learning_rate: Rate = 2e-3
    warmup_steps: Natural = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    rules: RuleMixture = RuleMixture()
    rule_noise: Fraction = Field(
        0.15, description="share that ignores its rule and uses the OOD rule"
    )
    formula_noise: Fraction = Field(0.10, description="share whose formula is random")
    formats: FormatMixture = FormatMixture()
    eval_format_share: Fraction = Field(0.08, description="share that carries the evaluation token")
    eval_format_layouts: FormatMixture = Field(
        FormatMixture(fA=0.4, fB=0.3, fC=0.3, fG=0.0),
        description="layouts shown under the evaluation token: never the evaluation layout",
    )
    state_every: Positive = Field(50, description="steps between states to resume from")


class Scratch(Section):
    architecture: Architecture = Architecture()
    pretraining: Pretraining = Pretraining()


class Model(Section):
    """Where a base model comes from: trained from scratch, a local folder, or a hub id."""

    source: str = Field("scratch", description="'scratch', a Hugging Face folder, or a hub id")
    revision: str | None = Field(None, description="hub revision; pin it for reproducibility")
    scratch: Scratch | None = None

    @model_validator(mode="after")
    def _scratch_matches(self):
        if (self.source == "scratch") != (self.scratch is not None):
            raise ValueError("section 'scratch' belongs to source 'scratch', and only to it")
        return self

    def layers(self) -> int | None:
        """Number of decoder layers, or None where only the hub knows it."""
        if self.scratch:
            return self.scratch.architecture.layers
        file = Path(self.source) / "config.json"
        return json.loads(file.read_text())["num_hidden_layers"] if file.is_file() else None


# ---- training -------------------------------------------------------------------------------


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
        merge = [_merged(defaults, b) if isinstance(b, dict) else b for b in data["branches"]]
        return {**data, "branches": merge}

    @model_validator(mode="after")
    def _unique(self):
        names = [b.name for b in self.branches]
        if len(set(names)) < len(names):
            raise ValueError("branches: two branches have the same algorithm and start")
        return self


# ---- measurement ----------------------------------------------------------------------------


class Evaluation(Section):
    """How every variant is evaluated: greedy first attempt on a fixed list of problems."""

    engine: Literal["hf"] = "hf"
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 is greedy")
    samples: Positive = Field(
        1, description="responses a problem; more than 1 needs temperature > 0"
    )
    seed: Natural = Field(0, description="seeds the sampling, where temperature > 0")
    batch_size: Positive = 512
    max_new_tokens: Positive = 24
    variants_per_job: Positive = Field(
        20, description="checkpoints or edits evaluated in one process"
    )

    @model_validator(mode="after")
    def _greedy_once(self):
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples: more than 1 greedy response is the same response again")
        return self


class Landmarks(Section):
    maxood: Literal["auto"] | Natural = Field(
        "auto", description="SFT step with the best OOD accuracy"
    )
    end: Literal["last"] | Natural = Field("last", description="SFT step where RL takes over")
    rl: Literal["auto"] | str = Field("auto", description="auto: the branch that starts at `end`")


class Spectra(Section):
    matrices: Chosen[Literal["q", "k", "v", "o", "gate", "up", "down"]] = list(MATRIX_ROLES)
    angle_fractions: Chosen[OpenFraction] = Field(
        [0.0625, 0.125, 0.25, 0.5, 0.75], description="subspace sizes, as shares of the rank"
    )


class Edits(Section):
    """Reversion ablations: End towards MaxOOD (stage sft), RL towards End (stage rl)."""

    leading_layers: Chosen[Positive] = Field([1, 2], description="revert the first n layers")
    leading_ranks: Chosen[Annotated[float, Field(ge=0.0001, le=1)]] = Field(
        [0.0625, 0.125, 0.25, 0.5, 0.75, 1.0], description="revert the leading share of directions"
    )


class HiddenStates(Section):
    problems: Positive = Field(300, description="prompts of each rule (arXiv 2509.12235, D.8)")


class Statistics(Section):
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Positive = 2000
    seed: Natural = 0


class FigureStyle(Section):
    palette: Literal[PALETTES] = "colorblind"
    context: Literal["paper", "notebook", "talk"] = "paper"
    width_inches: Annotated[float, Field(gt=1, lt=20)] = 5.5
    dpi: Annotated[int, Field(ge=50, le=600)] = 160


class Study(Section):
    """models × seeds × what to do and measure, on one training task."""

    study: Name
    seeds: list[Natural] = Field(min_length=1)
    tasks: dict[Name, GeneralPointsTask] = Field(min_length=1)
    train_on: Name = Field(description="the task of SFT and RL; all tasks are evaluated")
    models: dict[Name, Model] = Field(min_length=1)
    sft: SFT = SFT()
    rl: RL
    evaluation: Evaluation = Evaluation()
    landmarks: Landmarks = Landmarks()
    spectra: Spectra = Spectra()
    edits: Edits = Edits()
    hidden_states: HiddenStates = HiddenStates()
    statistics: Statistics = Statistics()
    figures: FigureStyle = FigureStyle()

    @model_validator(mode="after")
    def _consistent(self):
        grid = self.sft.checkpoints
        if self.train_on not in self.tasks:
            raise ValueError(
                f"train_on: '{self.train_on}' is not in tasks: {', '.join(self.tasks)}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed twice")
        for i, branch in enumerate(self.rl.branches):
            if branch.start not in grid:
                raise ValueError(
                    f"rl.branches[{i}].start: step {branch.start} is not in sft.checkpoints {grid}"
                )
        for name in ("maxood", "end"):
            step = getattr(self.landmarks, name)
            if isinstance(step, int) and step not in grid:
                raise ValueError(f"landmarks.{name}: step {step} is not in sft.checkpoints {grid}")
        names = [b.name for b in self.rl.branches]
        if self.rl_landmark not in names:
            raise ValueError(
                f"landmarks.rl: no branch '{self.rl_landmark}'; there are {', '.join(names)}"
            )
        for name, model in self.models.items():
            self._check_model(name, model)
        return self

    def _check_model(self, name: str, model: Model) -> None:
        layers = model.layers()
        for n in self.edits.leading_layers:
            if layers is not None and n > layers:
                raise ValueError(
                    f"edits.leading_layers: {n}, but model '{name}' has {layers} layers"
                )
        if model.scratch:
            for task, spec in self.tasks.items():
                if spec.rendering != "compact":
                    raise ValueError(
                        f"tasks.{task}.rendering: model '{name}' is trained from scratch and "
                        "reads only 'compact'"
                    )
                known = _numbers(self.tasks[self.train_on])
                if unknown := sorted(_numbers(spec) - known):
                    raise ValueError(
                        f"tasks.{task}: model '{name}' has no word for {unknown}, which "
                        f"'{self.train_on}' does not use"
                    )

    @property
    def end_step(self) -> int:
        return self.sft.checkpoints[-1] if self.landmarks.end == "last" else self.landmarks.end

    @property
    def rl_landmark(self) -> str:
        """Name of the branch behind the landmark `rl`."""
        if self.landmarks.rl != "auto":
            return self.landmarks.rl
        return f"{self.rl.defaults.algorithm}-from-{self.end_step}"


def _numbers(task: GeneralPointsTask) -> set[int]:
    """Numbers that a compact task writes."""
    faces = {*task.id_rule.model_dump().values(), *task.ood_rule.model_dump().values()}
    return {*range(1, 14), *faces, *task.targets}


def _merged(base: dict, over: dict) -> dict:
    """`base` updated by `over`, section by section."""
    both = {k: _merged(base[k], v) for k, v in over.items() if _nested(base.get(k), v)}
    return {**base, **over, **both}


def _nested(a: Any, b: Any) -> bool:
    return isinstance(a, dict) and isinstance(b, dict)


def load(data: dict) -> Study:
    """Validates a config; raises HealscopeError with one line for each wrong key."""
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        lines = _explain(error.errors())
        raise HealscopeError("the config is not valid:\n" + "\n".join(lines)) from None


def _explain(errors: list[dict]) -> list[str]:
    """One line for each key: what is wrong, all alternatives of a union together, and the value."""
    messages: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for error in errors:
        # a union adds parts such as "literal['last']" or "constrained-int" to the path
        path = [
            str(p) for p in error["loc"] if not re.match(r"literal\[|constrained-|str$", str(p))
        ]
        where = ".".join(path) or "study"
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = "unknown key (a typo, or a key of another section?)"
        messages.setdefault(where, []).append(message)
        value = error.get("input")
        if not isinstance(value, (dict, list)) and error["type"] != "missing":
            given[where] = f", got {value!r}"
    return [f"  {w}: {'; or '.join(m)}{given.get(w, '')}" for w, m in messages.items()]


def schema() -> dict:
    """JSON schema of a study (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
