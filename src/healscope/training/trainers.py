"""Settings and logs that the recipes with a TRL trainer have in common.

TRL trains; the optimizer, the learning rate, saved states and logged rows are ours.
"""

import math
import warnings

import numpy as np
import torch
from transformers import PrinterCallback, ProgressCallback

from healscope.config import Training
from healscope.models import checkpoints
from healscope.training.branch import Branch
from healscope.training.optimization import scale

LOGGED = {
    "loss": "policy_loss",  # with the KL term, where it is part of the loss
    "entropy": "entropy_nats",
    "clip_ratio/region_mean": "clip_share",
    "kl": "kl_penalty_nats",
    "grad_norm": "gradient_norm",
    "learning_rate": "learning_rate",
}
"""TRL's name of a number -> the column of schema `rl-log`."""


def scheduled(recipe: Training, optimizer, iteration) -> tuple:
    """Return (optimizer, schedule) for a Trainer; `iteration`: step -> iteration, from 0."""
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: scale(recipe, iteration(step))
    )


def arguments(recipe: Training, branch: Branch) -> dict:
    """Return settings of every trainer of TRL; states are saved by us, not by TRL."""
    cpu = checkpoints.device() == "cpu"
    return {
        "output_dir": str(branch.work.folder / "trainer"),
        "seed": branch.seed,
        "max_grad_norm": recipe.optimizer.max_grad_norm,
        "use_cpu": cpu,
        "bf16": False,  # float32 masters: spectra of bf16 checkpoints show rounding, not training
        "gradient_checkpointing": False,
        "dataloader_pin_memory": not cpu,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a NaN loss has to be seen
        "save_strategy": "no",
        "disable_tqdm": True,
        "report_to": "none",
    }


def fit(trainer) -> None:
    """Train without printing."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of determinism, pin_memory and such, not of results
        trainer.train()


def at_once(rows: int, most: int) -> int:
    """Return the largest divisor of `rows` up to `most`, so that micro-batches are equal."""
    return next(n for n in range(min(rows, most), 0, -1) if rows % n == 0)


def means(logs: list[dict]) -> dict[str, float]:
    """Return means over the steps that TRL logged, by the columns of schema `rl-log`.

    TRL logs None for a number that is not finite.
    """
    found = {}
    for key, column in LOGGED.items():
        values = [math.nan if log[key] is None else log[key] for log in logs if key in log]
        if values:
            found[column] = float(np.mean(values))
    return found
