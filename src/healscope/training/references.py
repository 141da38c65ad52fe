"""The start and the base model beside the one that trains, to measure or limit the distance."""

from collections.abc import Sequence

import numpy as np
import torch

from healscope.config import Training
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints
from healscope.training import processes
from healscope.training.branch import Branch
from healscope.training.compute import ROWS_AT_ONCE
from healscope.training.turns import (
    Pair,
    Turn,
    encode,
    kl_nats,
    micro_batch_count,
    micro_batches,
    pad,
)


def references(recipe: Training, branch: Branch, also: str | None = None) -> dict:
    """Load frozen models, `start` and `base`: those that are measured, and `also` another one."""
    manifests = {"start": branch.start, "base": branch.base}
    needed = set(manifests) if recipe.kl_every else set()
    return {
        name: checkpoints.load_model(manifests[name])[0].requires_grad_(False).eval()
        for name in sorted(needed | ({also} if also else set()))
    }


def distances(
    others: dict, model, tokenizer, turns: Sequence[Turn | Pair], temperature: float
) -> dict[str, float]:
    """Return the KL of the model from each of `references`, in nats a token."""
    return {
        f"kl_from_{name}_nats": kl_nats(model, other, tokenizer, turns, temperature)
        for name, other in others.items()
    }


def due(recipe: Training, iteration: int, last: bool) -> bool:
    """Return whether distances are measured after this iteration (from 0): first, last,
    `kl_every`."""
    every = recipe.kl_every
    return bool(every) and (iteration == 0 or last or (iteration + 1) % every == 0)


@torch.no_grad()
def log_ratios(reference, tokenizer, turns: list[Turn], temperature: float) -> torch.Tensor:
    """Return log pi - log pi_ref of each whole response (B,): the KL penalty of RLHF rewards."""
    turns = processes.own(turns)
    found_B = torch.zeros(len(turns))
    number = micro_batch_count(len(turns), ROWS_AT_ONCE, 1)
    for rows in micro_batches(turns, np.arange(len(turns)), number):
        batch = [turns[i] for i in rows]
        ids_BL, mask_BL, width, real_BT = encode(tokenizer, batch, reference.device)
        old_BT = pad([t.logprobs for t in batch], width, reference.device)
        other_BT = response_logprobs(reference, ids_BL, mask_BL, width, temperature)[0]
        found_B[torch.from_numpy(rows)] = ((old_BT - other_BT) * real_BT).sum(1).cpu()
    return torch.tensor(processes.joined(found_B.tolist()))
