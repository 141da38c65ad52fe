"""The learning rate along a run, the same for every recipe."""

import math

from healscope.config import Training


def scale(recipe: Training, iteration: int) -> float:
    """Share of the peak learning rate: warm-up, then constant or a cosine down to 0."""
    warm = min(1.0, (iteration + 1) / max(1, recipe.optimizer.warmup_steps))
    if recipe.schedule == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * iteration / recipe.iterations))
