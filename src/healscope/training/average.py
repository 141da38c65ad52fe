"""Weight averaging, the control of RL that trains nothing (WiSE-FT, arXiv 2109.01903, eq. 1)."""

import torch

from healscope.config import Average
from healscope.models import checkpoints
from healscope.training.branch import Branch


def train(recipe: Average, branch: Branch) -> list[dict]:
    """Stages weights between `branch.start` and `branch.base` as checkpoint `branch.name`."""
    model, tokenizer = checkpoints.load_model(branch.start)
    base = checkpoints.load_weights(branch.base)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in base:
                tensor.lerp_(base[name].to(tensor), recipe.base_share)
    with branch.work.stage(branch.name) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return [{"iteration": 1}]
