"""The optimizer and the learning rate of every recipe."""

import math

import torch

from healscope.config import Training


def adamw(recipe: Training, parameters: list) -> torch.optim.AdamW:
    """Return AdamW on these parameters, at the peak learning rate."""
    o = recipe.optimizer
    return torch.optim.AdamW(
        parameters,
        lr=o.learning_rate,
        betas=(0.9, o.beta2),
        eps=o.epsilon,
        weight_decay=o.weight_decay,
    )


def scale(recipe: Training, iteration: int) -> float:
    """Return the share of the peak learning rate: warm-up, then constant or a cosine to 0."""
    warm = min(1.0, (iteration + 1) / max(1, recipe.optimizer.warmup_steps))
    if recipe.schedule == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * iteration / recipe.iterations))
