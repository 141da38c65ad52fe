"""What the jobs of a model ask of a machine, and how its training computes; all optional."""

import json
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from healscope.errors import HealscopeError
from healscope.sections import Natural, Positive, Section

OURS = ("optimizer", "scheduler", "bf16", "fp16", "torch_autocast", "gradient_clipping",
        "train_batch_size", "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps")  # fmt: skip
"""Keys that a DeepSpeed file must not have: the study's own config decides them."""

Stage = Literal["base", "sft", "rl", "evaluation", "edits", "spectra", "probes"]
STAGES: tuple[str, ...] = get_args(Stage)


class Need(Section):
    """What one job of a stage asks for: a limit on a cluster, no limit on a laptop."""

    gpus: Natural = Field(0, description="GPUs; a job that finds fewer ends at once")
    threads: Positive = Field(1, description="CPU threads; they change the order of sums")
    mem_mb: Positive = Field(4000, description="main memory, in MB; doubled at each retry")
    runtime: Positive = Field(60, description="minutes; doubled at each retry")


Needs = dict[Stage, Need]


class Launch(Section):
    """How SFT and RL of a model compute (docs/training-at-scale.md).

    Only `precision` changes results by more than the order of sums: it alone retrains.
    """

    processes: Positive = Field(
        1, description="processes of a training job, one GPU each; more than one need deepspeed"
    )
    deepspeed: str | None = Field(
        None,
        description="zero2, zero3, zero2_offload, zero3_offload (config/deepspeed), or a JSON file",
    )
    micro_batch: Positive | None = Field(
        None, description="rows a process reads at once; null: all of its share of a batch"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: computes in it, with weights and optimizer in float32"
    )
    gradient_checkpointing: bool = Field(
        False, description="true: recomputes activations in the backward pass, for less memory"
    )

    @model_validator(mode="after")
    def _shared(self):
        if self.processes > 1 and self.deepspeed is None:
            raise ValueError(
                f"processes: {self.processes} need deepspeed: zero2, or zero3 where weights and "
                "optimizer do not fit on one GPU"
            )
        return self

    @property
    def zero(self) -> int:
        """ZeRO stage by the name of the DeepSpeed file; 0 without one, 2 at least for others."""
        if self.deepspeed is None:
            return 0
        return 3 if self.deepspeed.startswith("zero3") else 2

    def share(self, rows: int, what: str) -> int:
        """Return the rows of a micro-batch, of which `rows` of all processes are made.

        Raises ValueError, with the name `what`, if they cannot be shared evenly.
        """
        own, rest = divmod(rows, self.processes)
        if rest:
            raise ValueError(f"{what} {rows} is no multiple of launch.processes {self.processes}")
        micro = min(self.micro_batch or own, own)
        if own % micro:
            raise ValueError(
                f"{what} {rows}: the {own} rows of each of {self.processes} process(es) are no "
                f"multiple of launch.micro_batch {micro}"
            )
        return micro


def read_deepspeed(name: str, folder: str | Path) -> dict:
    """Read the DeepSpeed file of this name in `folder`, or at this path.

    Raises HealscopeError if it cannot be read, or holds a key of OURS.
    """
    file = Path(name) if name.endswith(".json") else Path(folder) / f"{name}.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        there = ", ".join(sorted(f.stem for f in Path(folder).glob("*.json")))
        raise HealscopeError(
            f"launch.deepspeed: '{name}' cannot be read ({error}); there are {there}"
        ) from None
    if wrong := [key for key in OURS if key in content]:
        raise HealscopeError(
            f"launch.deepspeed: {file} sets '{wrong[0]}', which the study's own config decides; "
            "take it out (a scheduler there would replace the learning rates of `schedule`)"
        )
    return content
