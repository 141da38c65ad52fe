"""Where base models come from."""

from typing import Annotated

from pydantic import Field, model_validator

from healscope.config import given
from healscope.config.compute import Launch, Need, Needs
from healscope.sections import Positive, Section
from healscope.tasks.pretraining import Pretraining


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


class Scratch(Section):
    architecture: Architecture = Architecture()
    pretraining: Pretraining = Pretraining()


class Model(Section):
    """Where a base model comes from: trained from scratch, a local folder, or a hub id; and its
    checkpoints, where they are taken instead of trained."""

    source: str = Field("scratch", description="'scratch', a Hugging Face folder, or a hub id")
    revision: str | None = Field(None, description="hub revision; pin it for reproducibility")
    check_random: bool = Field(
        True, description="refuse weights that cannot be told from a fresh initialisation"
    )
    scratch: Scratch | None = None
    sft: dict[Positive, str] | None = Field(
        None, description="instead of training: SFT step -> folder, hub id or hub id@revision"
    )
    rl: dict[Positive, str] = Field(
        {}, description="the same after RL, by the SFT step that it started from; beside sft only"
    )
    needs: Needs = Field({}, description="stage -> what its jobs may use; others: one thread")
    launch: Launch = Launch()

    @model_validator(mode="after")
    def _scratch_matches(self):
        if (self.source == "scratch") != (self.scratch is not None):
            raise ValueError("section 'scratch' belongs to source 'scratch', and only to it")
        return self

    @model_validator(mode="after")
    def _given_checkpoints(self):
        if self.sft is None:
            if self.rl:
                raise ValueError("rl: checkpoints of RL are given beside those of SFT; add sft")
            return self
        if self.scratch:
            raise ValueError("sft: checkpoints are given, so source must be the base they started")
        if stray := sorted(set(self.rl) - set(self.sft)):
            raise ValueError(
                f"rl.{stray[0]}: RL cannot have started from step {stray[0]}, which is not in sft "
                f"{sorted(self.sft)}"
            )
        given.distinct_sources(self.sft, self.rl)
        wrong = []
        named = {"source": self.source, **{f"sft.{k}": v for k, v in self.sft.items()}}
        for name, source in (named | {f"rl.{k}": v for k, v in self.rl.items()}).items():
            try:
                given.check(source)
            except ValueError as error:
                wrong.append(f"{name} ({source}): {error}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def need(self, stage: str) -> Need:
        """What a job of this stage may use."""
        return self.needs.get(stage, Need())

    def layers(self) -> int | None:
        """Number of decoder layers, or None where only the hub knows it. Of a base that is made
        from LLaMA-3.2-Vision those of cross-attention do not count: it has none."""
        if self.scratch:
            return self.scratch.architecture.layers
        file = given.folder(self.source) / "config.json"
        about = given.read_json(file) if file.is_file() else {}
        text = about.get("text_config") or about
        crossing = () if self.sft else text.get("cross_attention_layers") or ()
        layers = text.get("num_hidden_layers")
        return layers and layers - len(crossing)
