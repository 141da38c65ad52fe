"""What the jobs of a model may use of a machine; on a laptop nothing needs to be said."""

from typing import Literal, get_args

from pydantic import Field, model_validator

from healscope.sections import Natural, Positive, Section

Stage = Literal["base", "sft", "rl", "evaluation", "edits", "spectra", "probes"]
STAGES: tuple[str, ...] = get_args(Stage)


class Need(Section):
    """What one job of a stage asks for: a scheduler holds it to that, a laptop does not."""

    gpus: Natural = Field(0, description="GPUs; fewer than that at the job end it at once")
    threads: Positive = Field(1, description="CPU threads; sums come out in another order")
    mem_mb: Positive = Field(4000, description="main memory; doubled at each retry")
    runtime: Positive = Field(60, description="minutes; doubled at each retry")


Needs = dict[Stage, Need]


class Launch(Section):
    """How SFT and RL of a model compute (docs/training-at-scale.md).

    Only `precision` changes results by more than the order of sums: it alone retrains.
    """

    processes: Positive = Field(1, description="of a training job, one GPU each")
    deepspeed: str | None = Field(
        None,
        description="zero2, zero3, zero2_offload, zero3_offload (config/deepspeed), or a JSON file",
    )
    micro_batch: Positive | None = Field(
        None, description="rows that a process reads at once; null: all of its share"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the computation; weights and optimizer are float32 in either"
    )
    gradient_checkpointing: bool = Field(
        False, description="read activations anew on the way back: slower, less memory"
    )

    @model_validator(mode="after")
    def _shared(self):
        if self.processes > 1 and self.deepspeed is None:
            raise ValueError(
                f"processes: {self.processes} need deepspeed: zero2, or zero3 where weights and "
                "optimizer do not fit on one GPU"
            )
        return self

    def share(self, rows: int, what: str) -> int:
        """Rows of one process at once; raises ValueError where `rows` cannot be shared evenly."""
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
