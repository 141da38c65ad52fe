"""Trains only some entries of the weights: those that another run has changed, or controls.

arXiv 2505.11711 trains only the entries that RL changes, and comes to nearly the same weights. The
control is as many entries of every matrix, anywhere: if these do as well, any part would.
"""

import torch

from healscope.config import Mask
from healscope.draws import seeded
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.spectra.masks import changed
from healscope.training.health import Diverged


def masks(settings: Mask, start: str, other: str, seed: int) -> dict[str, torch.Tensor]:
    """Return name of a parameter -> which of its entries are trained, as booleans.

    `start` and `other` are manifests: where training starts, and what the other run made of it.
    Raises HealscopeError where the two have other parameters, and Diverged where the other run
    failed: the study goes on without this one, too.
    """
    if why := checkpoints.failure(other):
        raise Diverged(f"the run whose changes would be trained failed: {why}", [])
    before, after = (checkpoints.load_weights(manifest) for manifest in (start, other))
    if before.keys() != after.keys():
        raise HealscopeError(f"mask.of: {other} is no checkpoint of the same model as {start}")
    found = {}
    for name, old in before.items():
        mask = changed(old, after[name])[settings.by]
        if settings.keep == "complement":
            mask = ~mask
        elif settings.keep == "random":
            order = torch.randperm(mask.numel(), generator=seeded(seed, "mask", name))
            anywhere = torch.zeros(mask.numel(), dtype=torch.bool)
            anywhere[order[: int(mask.sum())]] = True
            mask = anywhere.view_as(mask)
        found[name] = mask
    return found


def train_only(model, of_entries: dict[str, torch.Tensor]) -> float:
    """Let gradients pass only where a parameter's mask is true; return the share that is trained.

    Without weight decay AdamW then leaves all other entries as they are, bit by bit: their
    gradients and moments are zero.
    """
    kept = whole = 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        mask = of_entries[name].to(parameter.device)
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask)
        kept, whole = kept + int(mask.sum()), whole + mask.numel()
    return kept / whole
