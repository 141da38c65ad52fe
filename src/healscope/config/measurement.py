"""What is measured, and how it is drawn."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from healscope.config.engines import EngineName
from healscope.edit_names import AXES, CONTROLS, KINDS, along, names_along, parse
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
from healscope.tasks.posing import Protocol

MATRIX_ROLES = ("q", "k", "v", "o", "gate", "up", "down", "embeddings", "head")
SPECTRAL_CONTROLS = ("again", "bf16", "noise", "spectrum")  # as in `spectra.nulls`
PALETTES = ("colorblind", "deep", "muted", "viridis", "Greys")

EXHAUSTIVE = "exhaustive"
"""Name of the protocol from which curves, landmarks, edits and claims are made."""

_PROTOCOLS = {
    EXHAUSTIVE: Protocol(samples=8, attempts=2, feedback=["none", "outcome", "full"]),
    "paper": Protocol(
        problems="drawn", seed=42, temperature=0.6, top_p=0.9, attempts=5, feedback=["full"]
    ),
}


class Evaluation(Section):
    """How every variant is evaluated."""

    engine: EngineName = "hf"
    batch_size: Positive = Field(512, description="responses at once")
    max_new_tokens: Positive = 24
    variants_per_job: Positive = Field(
        100, description="checkpoints or edits evaluated in one process"
    )
    protocols: dict[Name, Protocol] = Field(
        _PROTOCOLS, description="name -> protocol; every checkpoint is evaluated under each"
    )

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
    """What stays on disk once the study has read it."""

    keep: Literal["all", "landmarks"] = Field(
        "all",
        description="landmarks: weights of other checkpoints are deleted once all that the study "
        "makes of them is there; what was measured stays",
    )


class Landmarks(Section):
    maxood: Literal["auto"] | Natural = Field(
        "auto", description="SFT step with the best OOD accuracy"
    )
    end: Literal["last"] | Natural = Field("last", description="SFT step where RL takes over")
    rl: Literal["auto"] | str = Field("auto", description="auto: the branch that starts at `end`")


class Spectra(Section):
    """Singular values and vectors of a pair of checkpoints, and what they are held against."""

    matrices: Chosen[Literal[MATRIX_ROLES]] = Field(
        list(MATRIX_ROLES[:7]), description="roles of the matrices decomposed, compared and edited"
    )
    angle_fractions: Chosen[OpenFraction] = Field(
        [0.0625, 0.125, 0.25, 0.5, 0.75], description="subspace sizes, as shares of the rank"
    )
    head_and_tail: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.2, description="share of the rank that the head of a spectrum has, and its tail"
    )
    controls: Annotated[list[Literal[SPECTRAL_CONTROLS]], AfterValidator(distinct)] = Field(
        list(SPECTRAL_CONTROLS),
        description="floors (again, bf16) and nulls (noise, spectrum); each costs an SVD a matrix",
    )


LANDMARKS = ("base", "maxood", "end", "rl")  # as `evaluation.landmarks.choose` names them


class EditStage(Section):
    """Edits of `target` put parts of it back to `parent`: landmarks, or names of checkpoints."""

    target: str
    parent: str

    @model_validator(mode="after")
    def _two(self):
        if self.target == self.parent:
            raise ValueError(f"'{self.target}' cannot be put back to itself")
        return self


Axes = dict[Literal[AXES], Chosen[float | str]]


class Edits(Section):
    """What is put back, and what each edit is held against (`healscope.edit_names`)."""

    stages: dict[Name, EditStage] = Field(
        {
            "sft": EditStage(target="end", parent="maxood"),
            "rl": EditStage(target="rl", parent="end"),
        },
        description="what is edited: End towards MaxOOD (figures 4, 6), RL towards End (5, 7), …",
    )
    kinds: Chosen[Literal[tuple(KINDS)]] = Field(
        ["values", "directions", "pinned", "swap"],
        description="ways of putting back that are made along the axes",
    )
    axes: Axes = Field(
        {"rank": [0.0625, 0.2, 0.4, 0.7, 1.0], "layers": [1.0, 2.0]},
        description="selector -> its values; each of `kinds` is made at each",
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
        description="kind -> controls matched to it; the kind itself is made beside them",
    )
    controlled: Axes = Field(
        {"rank": [0.2, 1.0]}, description="as axes: where controls are made, and their edits"
    )

    @model_validator(mode="after")
    def _has_names(self):
        try:
            for axes in (self.axes, self.controlled):
                for axis, amounts in axes.items():
                    if "" in {parse(along("swap", axis, a)).axis[0] for a in amounts}:
                        raise ValueError("strength: 1 is the whole edit, as rank 1 is")
            self.names()
        except HealscopeError as error:
            raise ValueError(str(error)) from None
        return self

    def names(self) -> list[str]:
        """All edits of a stage, controls included, in the order in which a sweep makes them."""
        return names_along(self.kinds, self.axes, self.controls, self.controlled)


class Signals(Section):
    """What a practitioner without OOD labels could watch along SFT."""

    problems: Positive = Field(200, description="ID prompts, and neutral prompts, at most")
    rotation_fraction: OpenFraction = Field(
        0.25, description="leading share of the singular directions whose rotation is followed"
    )


class HiddenStates(Section):
    problems: Positive = Field(300, description="prompts of each rule (arXiv 2509.12235, D.8)")


class Statistics(Section):
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed_sd: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.1,
        description="guess of how much seeds differ, in standard deviations of a single answer "
        "(0.1 of 0.5: 5 points of accuracy); counts as one more seed",
    )
    resamples: Positive = Field(
        2000, description="redraws of the instances, to which what seeds differ by is added"
    )
    seed: Natural = 0


CLAIMS = (
    "ood-falls-after-its-peak",
    "ood-falls-between-fixed-steps",
    "ood-peaks-early",
    "id-rises-meanwhile-(train|held-out)",
    "gate-(forgetting|recovery)",
    "the-gap-is-the-rule",
    "(number|formula)-step",
    "(test|training)-loss-misses-the-peak",
    "rl-heals-inside-a-window",
    "rl-does-not-exceed-the-peak",
    "ood-falls-under-protocol-.+",
    "[a-z]+-reversion-.+-(id|ood)",
    "(top-directions|first-layers)-restore-.+",
    "[a-z]+-beat-.+",
    "(orthonormal|exact)-directions-do-the-same-.+",
    "values-add-nothing-.+",
    "rl-beats-the-best-edit",
    "healing-needs-(balanced-rewards|entropy)",
    "rl-heals-more-than-.+",
    "alternative-solutions-heal",
    "verified-success-heals-more-than-.+",
    "fresh-any-answers-explain",
)
"""Patterns of the names of claims, as the modules of `healscope.claims` give them."""


class Claims(Section):
    """What is claimed before the study is run."""

    primary: list[str] = Field(
        [
            "ood-falls-after-its-peak",
            "gate-recovery",
            "rl-does-not-exceed-the-peak",
            "pinned-beat-interpolation-sft",
        ],
        description="claims that the study was made for, corrected by Holm's method; all others "
        "are corrected as exploration, by that of Benjamini and Hochberg",
    )
    contrast: tuple[Natural, Natural] | None = Field(
        None, description="two SFT steps between which OOD accuracy is compared, nothing picked"
    )

    @model_validator(mode="after")
    def _known(self):
        for name in self.primary:
            if not any(re.fullmatch(pattern, name) for pattern in CLAIMS):
                raise ValueError(
                    f"primary: no claim is called '{name}'; results/tables/claims.parquet of a "
                    "finished study has the names in column claim"
                )
        if len(set(self.primary)) < len(self.primary):
            raise ValueError("primary: the same claim twice")
        return self


class FigureStyle(Section):
    published: Literal["llama-3.2-11b", "qwen-2.5-7b"] | None = Field(
        None, description="published model drawn over figures 1, 2a, 2b and 3a"
    )
    palette: Literal[PALETTES] = "colorblind"
    context: Literal["paper", "notebook", "talk"] = "paper"
    width_inches: Annotated[float, Field(gt=1, lt=20)] = 5.5
    dpi: Annotated[int, Field(ge=50, le=600)] = 160
