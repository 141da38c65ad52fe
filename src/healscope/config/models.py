"""Settings of models: where the base comes from, and how it is pretrained if it is made here."""

from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from healscope.config import json_files, own_checkpoints, sources
from healscope.config.compute import Launch, Need, Needs
from healscope.config.recipe_bases import added
from healscope.sections import Positive, Section
from healscope.tasks.pretraining import Pretraining


def _heads_divide(section):
    if section.hidden_size % section.heads:
        raise ValueError(
            f"hidden_size {section.hidden_size} is not a multiple of heads {section.heads}"
        )
    return section


class Vision(Section):
    """The tower of a SmolVLM, whose connector makes one vector of a picture."""

    hidden_size: Positive = Field(32, description="width")
    layers: Positive = Field(2, description="encoder layers")
    heads: Positive = Field(2, description="attention heads")
    ffn_size: Positive = Field(64, description="width of the MLP")
    patch_size: Positive = Field(8, description="pixels along a patch; a card has 32 by 32")

    _heads = model_validator(mode="after")(_heads_divide)


class Architecture(Section):
    """A Llama-style decoder trained from scratch."""

    hidden_size: Positive = Field(128, description="width")
    layers: Positive = Field(2, description="decoder layers")
    heads: Positive = Field(4, description="attention heads")
    ffn_size: Positive = Field(256, description="width of the MLP")
    rope_theta: Annotated[float, Field(gt=0)] = Field(
        100.0, description="base of the rotary positions"
    )
    init_std: Annotated[float, Field(gt=0)] = Field(
        0.05, description="standard deviation of initial weights"
    )
    vision: Vision = added(
        Vision(), "tower for a task that shows pictures (docs/vision.md); not made for others"
    )

    _heads = model_validator(mode="after")(_heads_divide)


class Scratch(Section):
    architecture: Architecture = Field(Architecture(), description="a Llama-style decoder")
    pretraining: Pretraining = Field(
        Pretraining(), description="many rules and layouts, so that there is a skill to forget"
    )


class Model(Section):
    """A base model: trained from scratch, a local folder, or a hub id; and the user's checkpoints
    of it, if the study takes those instead of training."""

    source: str = Field("scratch", description="scratch, a Hugging Face folder, or a hub id")
    revision: str | None = Field(None, description="hub revision; pin it for reproducibility")
    check_random: bool = Field(
        True, description="refuse weights that cannot be told from a fresh initialisation"
    )
    scratch: Scratch | None = Field(
        None, description="required by `source: scratch`, and only by it"
    )
    sft: Annotated[
        dict[Positive, str] | None,
        BeforeValidator(
            partial(own_checkpoints.discovered, "sft"),
            json_schema_input_type=dict[Positive, str] | str | None,
        ),
    ] = Field(
        None,
        description="instead of training: {step: folder or hub id}, or the folder of a run, see "
        "own-checkpoints.example.yaml",
    )
    rl: dict[Positive, str] = Field(
        {}, description="beside sft, after RL: {step that RL started from: folder or hub id}"
    )
    adapters_of: list[str] = Field(
        [], description="other names of source that PEFT adapters may give their base"
    )
    end_token: str | None = Field(
        None, description="token that ends an answer, if the tokenizer names none, or another one"
    )
    pickles: bool = Field(
        False, description="read tensors of pytorch_model.bin, in a process of its own"
    )
    followed: bool = Field(
        True, description="false: only the runs that a finding asks for, no figures or tables"
    )
    needs: Needs = Field(
        {},
        description="stage (base, sft, rl, evaluation, edits, spectra, probes) -> what a job may "
        "use",
    )
    launch: Launch = Field(
        Launch(), description="how its SFT and RL compute (docs/training-at-scale.md)"
    )

    @model_validator(mode="after")
    def _scratch_matches(self):
        if (self.source == "scratch") != (self.scratch is not None):
            raise ValueError("section 'scratch' belongs to source 'scratch', and only to it")
        return self

    @model_validator(mode="after")
    def _given_checkpoints(self):
        if self.sft is None:
            place = sources.folder(self.source)
            if self.source != "scratch" and place.is_dir():
                self._check_source(place)
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
        own_checkpoints.distinct_sources(self.sft, self.rl)
        wrong = []
        named = {"source": self.source, **{f"sft.{k}": v for k, v in self.sft.items()}}
        for name, source in (named | {f"rl.{k}": v for k, v in self.rl.items()}).items():
            try:
                sources.check(source, self.pickles)
            except ValueError as error:
                wrong.append(f"{name} ({source}): {error}")
        if wrong:
            raise ValueError("; ".join(wrong))
        own_checkpoints.bases(self)
        return self

    def _check_source(self, place) -> None:
        """Raise ValueError if a model to be trained is no whole model."""
        try:
            if sources.is_adapter(place):
                raise ValueError(
                    "an adapter; merge it into its base (PeftModel.from_pretrained(MODEL, FOLDER)."
                    "merge_and_unload(), then save_pretrained) and give that folder"
                )
            sources.check(self.source)
        except ValueError as error:
            raise ValueError(f"source ({self.source}): {error}") from None

    def need(self, stage: str) -> Need:
        """Return what a job of this stage may use."""
        return self.needs.get(stage, Need())

    def layers(self) -> int | None:
        """Return the number of decoder layers, or None if only the hub knows it. Layers of cross-
        attention, which a base made from LLaMA-3.2-Vision lacks, do not count."""
        if self.scratch:
            return self.scratch.architecture.layers
        file = sources.folder(self.source) / "config.json"
        about = json_files.read(file) if file.is_file() else {}
        text = about.get("text_config") or about
        crossing = () if self.sft else text.get("cross_attention_layers") or ()
        layers = text.get("num_hidden_layers")
        return layers and layers - len(crossing)
