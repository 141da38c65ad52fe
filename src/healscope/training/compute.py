"""Precision, micro-batches and DeepSpeed settings of a training run.

Weights and AdamW's moments are always float32. With precision "bfloat16" matrices are multiplied in
bfloat16 (torch.autocast), with DeepSpeed too: a checkpoint holds the weights that were trained, not
a rounded copy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from healscope.config import Launch

ROWS_AT_ONCE = 128  # of a micro-batch: its activations stay in a CPU's cache


@dataclass(frozen=True)
class Compute:
    """The settings `models.{name}.launch`, and the content of the DeepSpeed file that they name."""

    launch: Launch = Launch()
    deepspeed: dict | None = None

    @property
    def zero(self) -> int:
        """The ZeRO stage; 0 without DeepSpeed."""
        return (self.deepspeed or {}).get("zero_optimization", {}).get("stage", 0)

    def autocast(self):
        """Return the precision context of computation outside a TRL trainer."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        enabled = self.launch.precision == "bfloat16"
        return torch.autocast(device, torch.bfloat16, enabled=enabled)

    def settings(self, micro_batch: int, accumulation: int, max_grad_norm: float) -> dict | None:
        """Return DeepSpeed's settings: those of its file, and those that the study decides."""
        if self.deepspeed is None:
            return None
        return {
            **self.deepspeed,
            "train_micro_batch_size_per_gpu": micro_batch,
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": max_grad_norm,
            "torch_autocast": {
                "enabled": self.launch.precision == "bfloat16",
                "dtype": "bfloat16",
            },
        }

    def checkpointed(self, model) -> None:
        """Turn gradient checkpointing on if the settings ask for it."""
        if self.launch.gradient_checkpointing:
            # reentrant: with ZeRO-3 the weights are gone again when activations are recomputed
            model.gradient_checkpointing_enable({"use_reentrant": True})
            model.enable_input_require_grads()  # else no gradient passes frozen embeddings


ONE_PROCESS = Compute()


@contextmanager
def whole(engine, model) -> Iterator[None]:
    """Give every process all weights of `model`, within this context.

    `engine` is DeepSpeed's, or None. Only ZeRO-3 has to gather them, which takes 4 more bytes a
    parameter. No weight may change in the context.
    """
    if engine is None or engine.zero_optimization_stage() < 3:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        # DeepSpeed's hooks gather weights too, and expect all processes to do so in step
        hooked = [
            (m, m._forward_pre_hooks.copy(), m._forward_hooks.copy()) for m in model.modules()
        ]
        for module, *_ in hooked:
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
        try:
            yield
        finally:
            for module, before, after in hooked:
                module._forward_pre_hooks.update(before)
                module._forward_hooks.update(after)
