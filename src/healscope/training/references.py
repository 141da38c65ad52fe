"""The start and the base as models beside the one that trains: to measure how far it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from healscope.config import PPO, Training
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints
from healscope.training import processes
from healscope.training.sampling import Pair, Turn, chunks, encoded, kl_nats, padded, parts

if TYPE_CHECKING:
    from healscope.training.branch import Branch


ROWS_AT_ONCE = 128  # responses that a reference reads together


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


class Penalty:
    """The reference model of PPO's KL term, and others that are kept to measure distances from."""

    def __init__(self, recipe: PPO, branch: Branch):
        self.recipe = recipe
        self.models = references(recipe, branch, recipe.kl_from if recipe.kl != "none" else None)

    @torch.no_grad()
    def logprobs(self, ids_BL, mask_BL, width: int) -> torch.Tensor:
        """Of response tokens, under the reference of the KL term."""
        model = self.models[self.recipe.kl_from]
        return response_logprobs(model, ids_BL, mask_BL, width, self.recipe.temperature)[0]

    def of_responses(self, tokenizer, turns: list[Turn]) -> torch.Tensor:
        """log pi - log pi_ref of each whole response (B,): the KL of RLHF rewards."""
        device = self.models[self.recipe.kl_from].device
        turns = processes.own(turns)
        found_B = torch.zeros(len(turns))
        for chunk in chunks(turns, np.arange(len(turns)), parts(len(turns), ROWS_AT_ONCE, 1)):
            some = [turns[i] for i in chunk]
            ids_BL, mask_BL, width, real_BT = encoded(tokenizer, some, device)
            old_BT = padded([t.logprobs for t in some], width, device)
            gap_B = ((old_BT - self.logprobs(ids_BL, mask_BL, width)) * real_BT).sum(1)
            found_B[torch.from_numpy(chunk)] = gap_B.cpu()
        return torch.tensor(processes.joined(found_B.tolist()))
