"""Settings of evaluation, measurements, edits, statistics, claims and figures."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from healscope import artifacts, comparison_controls
from healscope.config.engines import EngineName
from healscope.edit_names import AXES, CONTROLS, KINDS, along, format_edit, names_along, parse
from healscope.errors import HealscopeError
from healscope.sections import (
    Chosen,
    Name,
    Natural,
    OpenFraction,
    Positive,
    Section,
    distinct,
)
from healscope.tasks.posing import ONCE, Protocol

MATRIX_ROLES = ("q", "k", "v", "o", "gate", "up", "down", "embeddings", "head")
PALETTES = ("colorblind", "deep", "muted", "viridis", "Greys")

EXHAUSTIVE = "exhaustive"
"""Name of the protocol from which curves, landmarks, edits and claims are made."""

DEEP = "deep"
"""Name of the protocol whose samples tell forms and solutions of answers (docs/what-breaks.md)."""
CRITIC = "critic"
"""Name of the protocol whose second attempts say what each message repairs."""

_PROTOCOLS = {
    EXHAUSTIVE: Protocol(samples=8, attempts=2, feedback=["none", "outcome", "full"]),
    "paper": Protocol(
        problems="drawn", seed=42, temperature=0.6, top_p=0.9, attempts=5, feedback=["full"]
    ),
}


class Evaluation(Section):
    """How checkpoints and edits are evaluated."""

    engine: EngineName = Field(
        "hf",
        description="hf (transformers); or vllm, in an environment of its own (docs/engines.md)",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of engine hf; bfloat16 takes half the memory and moves some answers",
    )
    batch_size: Positive = Field(512, description="responses at once")
    max_new_tokens: Positive = Field(24, description="tokens of the longest answer")
    keepers: Annotated[list[str], AfterValidator(distinct)] = Field(
        [],
        description="sets evaluated too and never trained on (docs/keepers.md): facts, "
        "ifeval_like, a file, text:FILE, lm_eval:NAME, a task",
    )
    keeper_tokens: Positive = Field(64, description="tokens of the longest answer to a keeper")
    variants_per_job: Positive = Field(
        100,
        description="SFT checkpoints or edits evaluated in one process; each has a file of its own",
    )
    protocols: dict[Name, Protocol] = Field(
        _PROTOCOLS,
        description="name -> which problems, how answers are decoded, what follows a wrong one",
    )

    @property
    def compared(self) -> list[str]:
        """Names of the protocols that ask the problems of the study in other ways than the main
        one."""
        return [
            name
            for name, protocol in self.protocols.items()
            if name not in (EXHAUSTIVE, DEEP, CRITIC) and protocol.problems not in ONCE
        ]

    @model_validator(mode="after")
    def _precision_of_hf(self):
        if self.precision != "float32" and self.engine != "hf":
            raise ValueError(
                f"precision: {self.precision} is of engine hf; that of {self.engine} is its dtype, "
                f"in section {self.engine}"
            )
        return self

    @model_validator(mode="after")
    def _has_the_main_one(self):
        main = self.protocols.get(EXHAUSTIVE)
        if main is None or main.problems != "all" or main.temperature > 0:
            raise ValueError(
                f"protocols: '{EXHAUSTIVE}' must be there, greedy and with `problems: all`; "
                "curves, landmarks, edits and claims are made from it"
            )
        return self


class Checkpoints(Section):
    """Which weights stay on disk."""

    keep: Literal["all", "landmarks"] = Field(
        "all",
        description="all; landmarks: other weights are deleted once nothing in the study "
        "needs them",
    )


class Landmarks(Section):
    maxood: Literal["auto"] | Natural = Field(
        "auto", description="auto: best held-out OOD accuracy along SFT; or an SFT step"
    )
    end: Literal["last"] | Natural = Field(
        "last", description="where SFT hands over to RL: an SFT step, or `last`"
    )
    rl: Literal["auto"] | str = Field(
        "auto", description="auto: the main recipe from `end`; or a branch such as ppo-from-21"
    )


class Spectra(Section):
    """Singular values and vectors of checkpoints, and the controls of their comparison."""

    matrices: Chosen[Literal[MATRIX_ROLES]] = Field(
        list(MATRIX_ROLES[:7]),
        description="matrices decomposed, compared and edited; also embeddings, head",
    )
    precision: Literal["float64", "float32"] = Field(
        "float64",
        exclude_if=lambda value: value == "float64",
        description="of the SVDs; float32 for large models: half the time and a third of the disk "
        "space or less, for edits as exact (docs/spectra.md)",
    )
    angle_fractions: Chosen[OpenFraction] = Field(
        [0.0625, 0.125, 0.25, 0.5, 0.75],
        description="subspaces compared: leading shares of the rank",
    )
    head_and_tail: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.2, description="share of the rank that the head of a spectrum has, and its tail"
    )
    controls: Annotated[list[Literal[comparison_controls.NAMES]], AfterValidator(distinct)] = Field(
        list(comparison_controls.NAMES),
        description="floors and nulls of every comparison: an SVD of every matrix each",
    )


LANDMARKS = tuple(artifacts.POINT_NAMES)


class EditStage(Section):
    """A stage of edits, which put parts of `target` back to `parent`: landmarks, or names of
    checkpoints."""

    target: str = Field(description="the checkpoint that is edited")
    parent: str = Field(description="the checkpoint whose parts it gets")

    @model_validator(mode="after")
    def _two(self):
        if self.target == self.parent:
            raise ValueError(f"'{self.target}' cannot be put back to itself")
        return self


Axes = dict[Literal[AXES], Chosen[float | str]]


class Edits(Section):
    """Which edits are made, and their controls (names: `healscope.edit_names`)."""

    stages: dict[Name, EditStage] = Field(
        {
            "sft": EditStage(target="end", parent="maxood"),
            "rl": EditStage(target="rl", parent="end"),
        },
        description="name -> what is edited; landmarks (base, maxood, end, rl) or names of "
        "checkpoints",
    )
    kinds: Chosen[Literal[tuple(KINDS)]] = Field(
        ["values", "directions", "pinned", "swap"],
        description="what is put back along the axes; swap: values and directions",
    )
    axes: Axes = Field(
        {"rank": [0.0625, 0.2, 0.4, 0.7, 1.0], "layers": [1.0, 2.0]},
        description="selector -> its values, for each kind; also tail, band (0.2..0.6), k, last, "
        "layer, strength, …",
    )
    controls: dict[Literal[tuple(KINDS)], Chosen[Literal[tuple(CONTROLS)]]] = Field(
        {
            "values": ["interpolation", "noise"],
            "directions": ["interpolation", "noise", "rotation", "shuffle"],
            "pinned": ["interpolation", "rotation"],
            "diagonal": ["rest"],
            "offdiagonal": ["noise", "rotation"],
            "block": ["rest"],
        },
        description="kind -> controls made beside it, each as far from the target, matrix by "
        "matrix",
    )
    controlled: Axes = Field(
        {"rank": [0.2, 1.0]}, description="where controls are made, and their edits; as `axes`"
    )
    also: dict[str, list[Literal[tuple(CONTROLS)]]] = Field(
        {},
        description="name of an edit beside those -> controls made of it, as "
        "{trim-tail-0.8: [interpolation]}",
    )

    @model_validator(mode="after")
    def _has_names(self):
        try:
            for axes in (self.axes, self.controlled):
                for axis, amounts in axes.items():
                    if "" in {parse(along(next(iter(KINDS)), axis, a)).axis[0] for a in amounts}:
                        raise ValueError("strength: 1 is the whole edit, as rank 1 is")
            names = self.names()
        except HealscopeError as error:
            raise ValueError(str(error)) from None
        if unplaced := set(self.kinds) - {parse(name).kind for name in names}:
            raise ValueError(
                f"{min(unplaced)} has no parts to choose along {', '.join(self.axes)}; name it "
                "under edits.also, or make it along strength"
            )
        return self

    def names(self) -> list[str]:
        """Return all edits of a stage, controls included, in the order in which a sweep makes
        them."""
        for name, controls in self.also.items():
            if controls and parse(name).control:
                raise HealscopeError(f"edits.also: '{name}' is a control and has no controls")
        along_axes = names_along(self.kinds, self.axes, self.controls, self.controlled)
        also = [
            name if not control else f"{name}-as-{control}"
            for name, controls in self.also.items()
            for control in ("", *controls)
        ]
        return list(dict.fromkeys([*along_axes, *(format_edit(parse(name)) for name in also)]))


class Signals(Section):
    """What can be watched along SFT without OOD labels."""

    problems: Positive = Field(200, description="ID prompts, and neutral prompts, at most")
    rotation_fraction: OpenFraction = Field(
        0.25, description="leading share of the singular directions whose rotation is followed"
    )


class HiddenStates(Section):
    problems: Positive = Field(300, description="prompts of each rule, at most")


class Statistics(Section):
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="of every interval")
    seed_sd: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.1,
        description="assumed SD between seeds, in SDs of one answer; counts as one more seed; or "
        "null",
    )
    resamples: Positive = Field(
        2000,
        description="bootstrap redraws of the instances; what seeds differ by is added to each",
    )
    seed: Natural = Field(0, description="of the bootstrap")


class Claims(Section):
    """Claims that are declared before the study is run."""

    primary: list[str] = Field(
        [
            "ood-falls-after-its-peak",
            "gate-recovery",
            "rl-does-not-exceed-the-peak",
            "pinned-beat-interpolation-sft",
        ],
        description="corrected by Holm's method; all other claims are exploration, by Benjamini and"
        " Hochberg",
    )
    systems: Annotated[list[str], AfterValidator(distinct)] = Field(
        [],
        description="findings about RL after SFT that are asked as well, as sparsity: "
        "config/what-breaks.yaml has all (docs/what-breaks.md)",
        exclude_if=lambda value: not value,
    )
    compare: list[tuple[str, str]] = Field(
        [],
        description="pairs of branches or checkpoints of SFT and its arms of which the first is "
        "claimed to end above the second, as [[ppo-from-59, sft-400], [rpsft-400, sft-400]]",
        exclude_if=lambda value: not value,
    )
    contrast: tuple[Natural, Natural] | None = Field(
        None,
        description="two SFT steps between which OOD accuracy is compared, nothing picked; or null",
    )

    @model_validator(mode="after")
    def _distinct(self):
        if len(set(self.primary)) < len(self.primary):
            raise ValueError("primary: the same claim twice")
        return self


class FigureStyle(Section):
    published: Literal["llama-3.2-11b", "qwen-2.5-7b"] | None = Field(
        None,
        description="llama-3.2-11b or qwen-2.5-7b: its published values in figures 1, 2a, 2b "
        "and 3a",
    )
    palette: Literal[PALETTES] = Field(
        "colorblind", description="colorblind, deep, muted, viridis or Greys"
    )
    context: Literal["paper", "notebook", "talk"] = Field(
        "paper", description="text size: paper, notebook or talk"
    )
    width_inches: Annotated[float, Field(gt=1, lt=20)] = Field(5.5, description="width of a figure")
    dpi: Annotated[int, Field(ge=50, le=600)] = Field(160, description="resolution of PNG files")
