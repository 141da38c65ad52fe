"""Settings of the engines that generate text."""

from typing import Annotated, Literal

from pydantic import Field

from healscope.sections import OpenFraction, Positive, Section

EngineName = Literal["hf", "vllm"]


class Vllm(Section):
    """The process of engine `vllm` (docs/engines.md)."""

    python: str = Field(".venv-vllm/bin/python", description="its interpreter, made by `make vllm`")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="precision of its weights; float32 agrees with hf token for token"
    )
    max_model_len: Positive | None = Field(
        None, description="tokens of a prompt and its answer; null: what the model can attend to"
    )
    gap_limit: Annotated[float, Field(gt=0)] = Field(
        0.05,
        description="nats per token between the engines' log-probabilities, beyond which RL stops",
    )
    memory_share: OpenFraction = Field(0.9, description="of each GPU, in evaluations")
    rl_memory_share: OpenFraction = Field(
        0.3, description="of each GPU, in RL, where training needs the rest"
    )
    tensor_parallel: Positive = Field(1, description="GPUs that share the model")
    cpu_cache_gb: Positive = Field(1, description="key-value cache on a machine without GPUs")
    patience_minutes: Positive = Field(
        30, description="silence of the process after which it counts as hanging"
    )


OF_RESULTS = {"dtype", "max_model_len"}
"""What results depend on; the rest is where and how long the process runs."""
