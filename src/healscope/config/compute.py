"""What the jobs of a model may use of a machine; on a laptop nothing needs to be said."""

from typing import Literal, get_args

from pydantic import Field

from healscope.config.types import Natural, Positive, Section

Stage = Literal["base", "sft", "rl", "evaluation", "edits", "spectra", "probes"]
STAGES: tuple[str, ...] = get_args(Stage)


class Need(Section):
    """What one job of a stage asks for: a scheduler holds it to that, a laptop does not."""

    gpus: Natural = Field(0, description="GPUs; fewer than that at the job end it at once")
    threads: Positive = Field(1, description="CPU threads; sums come out in another order")
    mem_mb: Positive = Field(4000, description="main memory; doubled at each retry")
    runtime: Positive = Field(60, description="minutes; doubled at each retry")


Needs = dict[Stage, Need]
