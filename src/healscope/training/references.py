"""The start and the base as models beside the one that trains: to measure how far it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from healscope.config import Training
from healscope.models import checkpoints
from healscope.training.sampling import Pair, Turn, kl_nats

if TYPE_CHECKING:
    from healscope.training.branch import Branch


def references(recipe: Training, branch: Branch, also: str | None = None) -> dict:
    """`start` and `base` as frozen models: those measured, and `also` one for a penalty."""
    manifests = {"start": branch.start, "base": branch.base}
    needed = set(manifests) if recipe.kl_every else set()
    return {
        name: checkpoints.load_model(manifests[name])[0].requires_grad_(False).eval()
        for name in sorted(needed | ({also} if also else set()))
    }


def distances(
    others: dict, model, tokenizer, turns: Sequence[Turn | Pair], temperature: float
) -> dict[str, float]:
    """KL of the model from each of `references`, in nats a token."""
    return {
        f"kl_from_{name}_nats": kl_nats(model, other, tokenizer, turns, temperature)
        for name, other in others.items()
    }


def due(recipe: Training, iteration: int, last: bool) -> bool:
    """Whether distances are measured after this iteration, from 0: `kl_every`, first and last."""
    every = recipe.kl_every
    return bool(every) and (iteration == 0 or last or (iteration + 1) % every == 0)
