"""A module and its optimizer: torch's in one process, DeepSpeed's in several."""

import torch
from torch import nn

from healscope.training import processes
from healscope.training.compute import Compute, whole


class Learner:
    """Forward, backward and step, the same for one process and for several.

    `engine` is DeepSpeed's, or None. The sum of losses over micro-batches and processes is
    minimised: each has to be its rows' part of the mean over all rows.
    """

    def __init__(self, compute: Compute, module: nn.Module, optimizer, max_grad_norm: float):
        self.compute, self.module, self.max_grad_norm = compute, module, max_grad_norm
        self.engine, self.optimizer = None, optimizer
        self.trained = [p for group in optimizer.param_groups for p in group["params"]]
        if compute.deepspeed is not None:
            import deepspeed

            self.engine, self.optimizer, *_ = deepspeed.initialize(
                model=module,
                optimizer=optimizer,
                config={
                    **compute.settings(1, 1, max_grad_norm),
                    "zero_allow_untested_optimizer": True,
                },
            )

    def __call__(self, *inputs):
        return (self.engine or self.module)(*inputs)

    def rate(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def start(self) -> None:
        """Clear gradients, before the first micro-batch of a step."""
        if self.engine is None:
            self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add the gradient of a micro-batch; `last` marks the last one of a step.

        All processes have the same number of micro-batches.
        """
        if self.engine is None:
            loss.backward()
            return
        self.engine.set_gradient_accumulation_boundary(last)
        # DeepSpeed takes the mean over processes
        self.engine.backward(loss * processes.size(), scale_wrt_gas=False)

    def step(self) -> float:
        """Take one step; return the norm of the gradient before it was clipped."""
        if self.engine is None:
            norm = nn.utils.clip_grad_norm_(self.trained, self.max_grad_norm)
            self.optimizer.step()
            return float(norm)
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def whole(self):
        """Return a context in which every process can read all weights."""
        return whole(self.engine, self.module)
