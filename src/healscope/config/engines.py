"""What generates text, and how the process of engine `vllm` is run."""

from typing import Annotated, Literal

from pydantic import Field

from healscope.sections import OpenFraction, Positive, Section

EngineName = Literal["hf", "vllm"]


class Vllm(Section):
    """The process of engine `vllm` (docs/engines.md)."""

    python: str = Field(".venv-vllm/bin/python", description="its interpreter (`make vllm`)")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="precision of its weights; float32 agrees with hf"
    )
    max_model_len: Positive | None = Field(
        None, description="tokens of a prompt and its answer; null: what the model can attend to"
    )
    gap_limit: Annotated[float, Field(gt=0)] = Field(
        0.05,
        description="nats: RL stops where log-probabilities of the two engines differ by more, in "
        "the mean over an iteration's tokens",
    )
    memory_share: OpenFraction = Field(0.9, description="of each GPU, in evaluations")
    rl_memory_share: OpenFraction = Field(0.3, description="of each GPU, beside training")
    tensor_parallel: Positive = Field(1, description="GPUs that share the model")
    cpu_cache_gb: Positive = Field(1, description="key-value cache, where there is no GPU")
    patience_minutes: Positive = Field(
        30, description="without a word from the process, after which it counts as hanging"
    )


OF_RESULTS = {"dtype", "max_model_len"}
"""What results depend on; the rest is where and how long the process runs."""
