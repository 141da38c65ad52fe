"""What is measured, and how it is drawn."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from healscope.config.types import Chosen, Natural, OpenFraction, Positive, Section

MATRIX_ROLES = ("q", "k", "v", "o", "gate", "up", "down")
PALETTES = ("colorblind", "deep", "muted", "viridis", "Greys")


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
