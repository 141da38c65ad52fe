"""Recipes: ways to go on from an SFT checkpoint by RL, or by the controls that RL has to beat.

A branch is a recipe and a start. Every recipe of `BUILT_IN` can be used by its name; a study
changes their values, or adds recipes of its own that start from another one (`like`).

A new algorithm takes two files: here a class, its place in `Recipe` and its values in `BUILT_IN`;
and a trainer, the function that `trainer` names.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from healscope.config.compute import Launch
from healscope.config.recipe_bases import (
    AboveZero,
    BaseRecipe,
    Cost,
    NonNegative,
    PassRate,
    Rewarded,
    Sampling,
    Training,
    added,
)
from healscope.sections import Fraction, OpenFraction, Positive, Rate, Section
from healscope.tasks.problem import Said


class Credit(Section):
    """How responses to one prompt, and their tokens, share the credit."""

    baseline: Literal["value", "group"] = Field(
        "group", description="what a response is compared with: a critic, or its own group (GRPO)"
    )
    spread: bool = Field(
        True, description="of baseline group: over the standard deviation of its rewards"
    )
    tokens: Literal["none", "all", "plan", "execution", "placebo", "entropy"] = Field(
        "none",
        description="tokens whose advantage A becomes A + alpha |A|: of plans, of execution, or as "
        "many as plans have, at random or the least probable",
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="how much more")
    groups: Literal["all", "informative"] = added(
        "all", "all; informative: of baseline group, others in place of those with equal rewards"
    )
    most_draws: Positive = added(
        4, "how often prompts are drawn at most until as many groups are informative"
    )


class OffPolicy(Section):
    """Right second attempts where all responses to a prompt are wrong, learned as first ones."""

    feedback: Said = Field(
        "critique", description="what is said after the first; another: of another problem's answer"
    )
    share: Fraction = Field(0.125, description="of a group, that second attempts can take at most")
    gamma: AboveZero = Field(0.1, description="their tokens have weight p / (p + gamma)")


class Mask(Section):
    """Which entries of the weights are trained."""

    of: str = Field(description="branch whose changes since its start are looked at")
    keep: Literal["changed", "complement", "random"] = Field(
        "changed", description="entries it changes, all others, or as many of each matrix anywhere"
    )
    by: Literal["bf16", "largest"] = Field(
        "largest", description="changed in bf16; or the tenth of each matrix that changes most"
    )


class PPO(Rewarded):
    """Proximal policy optimisation; one action is one whole response.

    The defaults are the correct algorithm; `REFERENCE` sets what the released code does.
    """

    trainer: ClassVar[str] = "healscope.training.ppo:train"

    algorithm: Literal["ppo"]
    attempts: Positive = Field(
        1, description="turns of an episode, with feedback after a wrong one"
    )
    feedback: Literal["none", "outcome", "full"] = Field(
        "full", description="full, outcome or none"
    )
    extra_attempt: bool = Field(
        False, description="true (reference): one more turn, which costs 1 whatever it says"
    )
    counted: Literal["episodes", "turns"] = added(
        "episodes",
        "what `responses` counts: episodes; turns (reference): the last episode is cut",
    )
    epochs: Positive = Field(1, description="passes over the responses")
    minibatches: Positive = Field(
        1, description="optimizer steps per pass; with one step in all, nothing is ever clipped"
    )
    normalise_advantages: bool = Field(True, description="to mean 0 and SD 1")
    value_head: Literal["own", "shared"] = Field(
        "own",
        description="own: own optimizer, no gradient to the policy; shared (reference): the "
        "opposite",
    )
    value_learning_rate: Rate = Field(3e-3, description="of an own value head")
    value_steps: Positive = Field(20, description="steps of an own value head per iteration")
    value_coefficient: NonNegative = Field(0.5, description="weight of a shared head's loss")
    value_clip: AboveZero | None = Field(None, description="limit of the value's change; null: off")
    clip: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="of the probability ratio; to set it, take several steps on a batch"
    )
    ratio: Literal["token", "response"] = Field(
        "token", description="token, or response: the probability ratio of the whole action"
    )
    ratio_limit: AboveZero | None = Field(
        None, description="reference (10): above it the unclipped branch is dropped"
    )
    discount: Fraction = Field(1.0, description="gamma, between the turns of an episode")
    gae_lambda: Fraction = Field(0.95, description="lambda of generalised advantage estimation")
    cut_failures: bool = Field(
        True, description="false (reference): a failed episode's value leaks into the next"
    )
    logprob_precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="float32; reference: bfloat16"
    )
    skip_first_token: bool = Field(
        False, description="true (reference): its log-probability is dropped"
    )
    early_token_weight: Fraction = Field(
        1.0,
        description="of log-probabilities before the formula; reference: 0.5",
    )
    kl: Literal["none", "reward", "loss"] = Field(
        "none",
        description="where KL from a reference is penalised: none, reward (log-ratio), loss (k3, as"
        " in GRPO)",
    )
    kl_coefficient: NonNegative = Field(0.0, description="of that penalty")
    kl_from: Literal["start", "base"] = Field("start", description="the reference: start or base")
    entropy_coefficient: NonNegative = Field(
        0.0, description="of an entropy bonus; the reference leaves its own out"
    )
    mask: Mask | None = added(None, "of, keep and by of the entries that train; null: all do")
    credit: Credit | None = added(
        None, "baseline, spread, tokens and alpha of advantages; null: those of PPO"
    )

    off_policy: OffPolicy | None = added(
        None, "feedback, share and gamma of answers that are learned without it; null: none are"
    )
    prefixes: Literal["expert", "another"] | None = added(
        None,
        "responses are begun with 1, 2, … steps of the reference answer, and rewards of steps "
        "(similar, similar_any, reachable) pay the next one; another: as in another problem's",
    )

    def refusal(self, zero: int) -> str | None:
        if zero and self.mask is not None:
            return "mask keeps gradients to some entries, which DeepSpeed keeps to itself"
        return super().refusal(zero)

    def check_launch(self, launch: Launch, name: str) -> None:
        super().check_launch(launch, name)
        if self.off_policy and launch.processes > 1:
            raise ValueError(f"rl.recipes.{name}.off_policy: trains in one process")

    @model_validator(mode="after")
    def _masked(self):
        if self.mask is not None and self.optimizer.weight_decay:
            raise ValueError("mask: needs optimizer.weight_decay: 0, which moves every entry")
        return self

    @model_validator(mode="after")
    def _credited(self):
        if self.credit is None:
            return self
        if self.credit.baseline == "group" and self.samples_per_prompt < 2:
            raise ValueError("credit.baseline: a group needs samples_per_prompt of 2 or more")
        if self.turns > 1 or self.counted == "turns" or self.value_head == "shared":
            raise ValueError("credit: needs attempts: 1, counted: episodes and value_head: own")
        if self.credit.tokens != "none" and self.ratio != "token":
            raise ValueError("credit.tokens: needs ratio: token")
        if self.credit.groups == "informative" and self.credit.baseline != "group":
            raise ValueError("credit.groups: informative needs baseline: group")
        return self

    @model_validator(mode="after")
    def _refined(self):
        group = self.credit is not None and self.credit.baseline == "group"
        if self.off_policy and (not group or self.prefixes):
            raise ValueError("off_policy: needs credit.baseline: group, and no prefixes")
        return self

    @model_validator(mode="after")
    def _begun(self):
        tokens = self.credit is not None and self.credit.tokens != "none"
        if self.prefixes and (self.turns > 1 or self.keep_answers or tokens):
            raise ValueError("prefixes: needs attempts: 1, no keep_answers and no credit.tokens")
        return self

    @model_validator(mode="after")
    def _divides(self):
        longest = self.attempts + self.extra_attempt
        if self.counted == "turns" and self.responses < longest:
            raise ValueError(f"responses must be at least {longest}, the turns of one episode")
        if (self.kl == "none") != (self.kl_coefficient == 0):
            raise ValueError("kl (reward or loss) and a positive kl_coefficient need each other")
        return self

    @property
    def needs(self) -> Mapping[str, str]:
        found = dict(super().needs)
        if self.prefixes:
            found["prefixes"] = "steps"
        if self.credit is not None and self.credit.tokens not in ("none", "all"):
            found["credit.tokens"] = "decisions"
        return found

    @property
    def turns(self) -> int:
        return self.attempts + self.extra_attempt if self.counted == "episodes" else 1


class Group(Rewarded):
    """Group-relative algorithms of TRL: GRPO, DAPO, Dr. GRPO, GSPO (GRPOTrainer) and RLOO."""

    trainer: ClassVar[str] = "healscope.training.groups:train"

    algorithm: Literal["grpo", "dapo", "dr_grpo", "gspo", "rloo"]
    samples_per_prompt: Annotated[int, Field(ge=2)] = Field(4, description="responses in a group")
    epochs: Positive = Field(1, description="passes over the responses")
    minibatches: Positive = added(
        1, "optimizer steps per pass; with one step in all, nothing is ever clipped"
    )
    clip: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="of the probability ratio; to set it, take several steps on a batch"
    )
    clip_high: AboveZero | None = Field(None, description="upper limit, if it differs (dapo: 0.28)")
    kl_coefficient: NonNegative = Field(
        0.0, description="of KL from the start: k3 in the loss (rloo: the log-ratio in the reward)"
    )
    most_draws: Positive = added(
        1,
        "above 1: prompts are drawn again, at most so often, until enough groups differ",
    )
    overlong: Fraction = added(
        0.0,
        "last share of max_new_tokens over which a reward falls by up to 1",
    )


class DPO(Sampling):
    """Direct preference optimisation on pairs that the verifier makes, in rounds."""

    trainer: ClassVar[str] = "healscope.training.rounds:train"
    one_process: ClassVar[bool] = True

    algorithm: Literal["dpo"]
    samples_per_prompt: Annotated[int, Field(ge=2)] = Field(4, description="responses to pair")
    rounds: Positive = Field(5, description="sample from the current model, pair, train")
    beta: AboveZero = Field(0.1, description="strength of the implied KL term")
    batch_size: Positive = Field(64, description="pairs per step")

    @property
    def passes(self) -> int:
        return 2  # the reference reads each response, too


class RejectionSampling(Sampling):
    """Fine-tuning on the model's own correct responses, in rounds."""

    trainer: ClassVar[str] = "healscope.training.rounds:train"
    one_process: ClassVar[bool] = True

    algorithm: Literal["rft"]
    samples_per_prompt: Positive = Field(4, description="responses to each prompt")
    rounds: Positive = Field(5, description="sample from the current model, filter, train")
    batch_size: Positive = Field(64, description="responses per step")


class Weights(Section):
    """Weights of RLAG's terms: [the text, both answers]."""

    agree: tuple[NonNegative, NonNegative] = Field(
        (0.5, 0.0), description="where the answers with the text and without are the same"
    )
    differ: tuple[NonNegative, NonNegative] = Field((0.2, 0.5), description="where they differ")


class Taught(Training):
    """Teaching the OOD rule by a text that tells it: RLAG (arXiv 2509.20162) and its controls.

    The model answers training deals under that rule with the text before them and without, in
    rounds; half of `responses` are each.
    """

    trainer: ClassVar[str] = "healscope.training.taught:train"
    kind: ClassVar[Literal["rl", "control", "planted"]] = "rl"
    one_process: ClassVar[bool] = True

    algorithm: Literal["rlag", "told_sft", "told_dpo", "told_text"]
    told: Literal["knowledge", "false knowledge"] = Field(
        "knowledge", description="what the text says: the rule, or another one by its name"
    )
    rounds: Positive = Field(9, description="answer with the current model, then train")
    epochs: Positive = Field(2, description="passes of rlag over texts and both answers")
    budget: Literal["tokens", "steps"] = Field(
        "tokens", description="in what an algorithm is rlag's equal: tokens read, or steps"
    )
    batch_size: Positive = Field(64, description="problems per step")
    given: Literal["text", "bare"] = Field(
        "text",
        description="rlag: chosen answers are learned after the text (released), or without it",
    )
    weights: Weights = Field(Weights(), description="rlag: of the text, and of both answers")
    gamma: float = Field(0.8, description="rlag: the margin (released: 8 in a config, .8 run)")
    clip_chosen: Annotated[float, Field(le=0)] = Field(
        -0.2, description="rlag: nats a token from which a chosen answer is probable enough"
    )
    clip_rejected: Annotated[float, Field(le=0)] = Field(
        -5.0, description="rlag: nats a token from which a rejected one is improbable enough"
    )
    beta: AboveZero = Field(0.1, description="told_dpo: strength of the implied KL term")

    @model_validator(mode="after")
    def _answered_twice(self):
        if self.responses % 2:
            raise ValueError("responses must be even: each problem is answered twice")
        return self

    @property
    def needs(self) -> Mapping[str, str]:
        return {"algorithm": "ood", "told": "told"}

    @property
    def cost(self) -> Cost:
        sampled = self.iterations * self.responses
        return Cost(sampled, 2 * self.epochs * sampled, 0, self.rounds)


class Supervised(Training):
    """Control: go on with SFT."""

    trainer: ClassVar[str] = "healscope.training.supervised:train"
    does: ClassVar[str] = "going on with SFT"
    one_process: ClassVar[bool] = True

    algorithm: Literal["sft"]
    examples: Literal["same", "fresh", "less"] = Field(
        "same",
        description="same: those of SFT; fresh: new ones on all training deals; less: those with "
        "a part less",
    )
    answers: Literal["canonical", "any"] = Field(
        "canonical", description="canonical; any: a correct one, drawn each time"
    )
    kl_coefficient: NonNegative = Field(0.0, description="of KL(reference || model)")
    kl_from: Literal["start", "base"] = Field("base", description="the reference: base or start")

    problems: PassRate | None = added(
        None, "of prefixes: {pass_rate: [0.0, 0.1]}: so hard where training starts; null: all"
    )
    prefixes: bool = added(
        False, "true: examples are single steps of reference answers, after those before them"
    )

    @model_validator(mode="after")
    def _of_prefixes(self):
        if self.problems and not self.prefixes:
            raise ValueError("problems: only with prefixes: true")
        return self

    @property
    def needs(self) -> Mapping[str, str]:
        if self.prefixes:  # of the problems of RL, whatever `examples` says
            return {"prefixes": "steps"}
        return {"examples": "less"} if self.examples == "less" else {}


class Average(BaseRecipe):
    """Control: no training; weights between start and base (arXiv 2109.01903)."""

    trainer: ClassVar[str] = "healscope.training.average:train"
    does: ClassVar[str] = "averaging the weights with those of the base model"

    algorithm: Literal["average"]
    base_share: OpenFraction = Field(0.5, description="share of the base; 1 is the base")


class Planted(BaseRecipe):
    """No training: weights whose loss is known to lie in singular values, or in vectors.

    Edits that put such a target back to its start show what the same edits of a trained target can
    be expected to tell (docs/is-it-rotation.md).
    """

    trainer: ClassVar[str] = "healscope.training.planted:train"
    kind: ClassVar[Literal["rl", "control", "planted"]] = "planted"

    algorithm: Literal["planted"]
    spread: NonNegative = Field(
        0.0, description="s becomes s^(1 + spread) of every singular value s, at equal norm"
    )
    turn: NonNegative = Field(
        0.0, description="size of a random rotation of the singular vectors, in radians"
    )

    @model_validator(mode="after")
    def _moves_something(self):
        if not self.spread and not self.turn:
            raise ValueError("spread or turn: one of them has to be above 0")
        return self


_Recipe = PPO | Group | DPO | RejectionSampling | Taught | Supervised | Average | Planted
Recipe = Annotated[_Recipe, Field(discriminator="algorithm")]
ALGORITHMS: dict[str, type[BaseRecipe]] = {
    name: settings
    for settings in get_args(_Recipe)
    for name in get_args(settings.model_fields["algorithm"].annotation)
}
"""algorithm -> the class of its settings."""

# What the released code does (arXiv 2509.12235, its PPO): each line is one difference from the
# defaults above, and what it does to training. Its learning rate is that of an 11B model.
REFERENCE: Mapping[str, Any] = {
    "counted": "turns",  # 256 responses in all; the last hand of a batch is cut wherever it is
    "attempts": 5,  # tries in one episode: late ones are paid for reading feedback
    "feedback": "full",  # it names numbers that only the rule gives
    "extra_attempt": True,  # a sixth response is sampled and punished, whatever it says
    "epochs": 4,  # so that clipping has something to do
    "minibatches": 2,  # 256 rows, 128 of them a step
    "temperature": 0.2,  # hardly any exploration
    "value_head": "shared",  # fresh, at the policy's rate, and through the policy
    "value_coefficient": 0.5,  # so that the critic's error pulls on the policy
    "value_clip": 0.1,  # at rewards of up to 5, values can hardly move
    "clip": 0.1,  # half the usual
    "ratio": "response",  # one ratio of the whole response leaves 10% at once
    "ratio_limit": 10.0,  # the unclipped branch is dropped above it
    "discount": 0.9,  # a success at the fifth try is worth less
    "gae_lambda": 0.95,
    "cut_failures": False,  # only success ends an episode: values leak into the next hand
    "logprob_precision": "bfloat16",  # tokens and their sum are rounded: ratios move in steps
    "skip_first_token": True,  # it is sampled, but not learned
    "early_token_weight": 0.5,  # tokens before "formula", or before the last four, count half
    "kl": "none",  # nothing holds the policy
    "entropy_coefficient": 0.0,  # its config says 0.01, its loss leaves the term out
    "optimizer": {
        "learning_rate": 1e-6,
        "epsilon": 1e-7,  # as large as the clipped gradient's elements: steps are damped
        "beta2": 0.999,
        "max_grad_norm": 0.01,
    },
    "schedule": "cosine",
}

# With one step on each batch of responses all of ppo, grpo, dapo, dr_grpo and rloo follow the
# same on-policy gradient; they differ in baseline and length normalisation. Clipping acts in
# `_multi` and in gspo, which take several steps, as their papers describe.
BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "ppo": {"algorithm": "ppo"},
    "ppo_multi": {"algorithm": "ppo", "epochs": 4},  # K epochs (1707.06347, algorithm 1)
    "ppo_reference": {"algorithm": "ppo", **REFERENCE},
    "grpo": {"algorithm": "grpo"},
    # mu steps and the KL term, beta = 0.04 (2402.03300, algorithm 1 and section 4.2)
    "grpo_multi": {"algorithm": "grpo", "epochs": 4, "kl_coefficient": 0.04},
    "dapo": {"algorithm": "dapo", "clip_high": 0.28},
    # several steps on each batch, dynamic sampling, a cache of 4,096 of 20,480 tokens (2503.14476,
    # section 4.1); as many draws at most as its code makes
    "dapo_multi": {
        "algorithm": "dapo",
        "clip_high": 0.28,
        "minibatches": 4,
        "most_draws": 10,
        "overlong": 0.2,
    },
    "dr_grpo": {"algorithm": "dr_grpo"},
    # four minibatches, clips of the length-normalised ratio (2507.18071, section 5.1)
    "gspo": {"algorithm": "gspo", "minibatches": 4, "clip": 3e-4, "clip_high": 4e-4},
    "rloo": {"algorithm": "rloo"},
    "dpo": {"algorithm": "dpo"},
    "rft": {"algorithm": "rft"},
    "rlag": {"algorithm": "rlag"},
    "told_sft": {"algorithm": "told_sft"},
    "told_dpo": {"algorithm": "told_dpo"},
    "told_text": {"algorithm": "told_text"},
    "sft_more": {"algorithm": "sft"},
    "sft_matched": {"algorithm": "sft"},  # steps, rows and rate of `rl.defaults`: those of RL
    "average": {"algorithm": "average"},
    # either costs the tiny world some OOD accuracy, and shakes the other part
    "planted_values": {"algorithm": "planted", "spread": 0.25, "turn": 0.02},
    "planted_vectors": {"algorithm": "planted", "spread": 0.02, "turn": 0.15},
}
