"""How a training run computes: precision, micro-batches, and weights that lie in several processes.

Weights and AdamW's moments are float32 masters, always: with precision "bfloat16" matrices are
multiplied in bfloat16 (torch.autocast), with DeepSpeed too, so that a checkpoint is what was
trained and no copy of it was rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from healscope.config import Launch

ROWS_AT_ONCE = 128  # of a micro-batch: its activations stay in a CPU's cache


@dataclass(frozen=True)
class Compute:
    """What `models.{name}.launch` says; `deepspeed` is the content of the file that it names."""

    launch: Launch = Launch()
    deepspeed: dict | None = None

    @property
    def zero(self) -> int:
        """Stage of ZeRO; 0 without DeepSpeed."""
        return (self.deepspeed or {}).get("zero_optimization", {}).get("stage", 0)

    def autocast(self):
        """Context of every computation outside a trainer's own: measuring, sampling, updating."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        enabled = self.launch.precision == "bfloat16"
        return torch.autocast(device, torch.bfloat16, enabled=enabled)

    def settings(self, micro_batch: int, accumulation: int, max_grad_norm: float) -> dict | None:
        """What DeepSpeed is given: its file, and of the study what it has to know."""
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
        """Turns gradient checkpointing on where it is asked for."""
        if self.launch.gradient_checkpointing:
            # reentrant: with ZeRO-3 the weights have gone again when activations are read anew
            model.gradient_checkpointing_enable({"use_reentrant": True})
            model.enable_input_require_grads()  # else nothing flows back where embeddings are held


ONE_PROCESS = Compute()


@contextmanager
def whole(engine, model) -> Iterator[None]:
    """Within it every process has all weights of `model`, and can read them as in one process.

    `engine` is DeepSpeed's, or None. Only ZeRO-3 has to gather them: 4 bytes a parameter more, for
    as long. No weight may change within.
    """
    if engine is None or engine.zero_optimization_stage() < 3:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        # DeepSpeed's hooks gather weights too, and want all processes to read them in step
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
