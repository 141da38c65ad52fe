"""Teacher-forced cross-entropy of reference answers (arXiv 2509.12235, Fig 2a and Fig 8)."""

import torch

from healscope.engines.generate import response_logprobs
from healscope.models import tokens


def response_loss(model, ids_BL, mask_BL, width: int, real_BT) -> torch.Tensor:
    """Mean cross-entropy in nats a response token; `real_BT` is false on padding."""
    logps_BT, _ = response_logprobs(model, ids_BL, mask_BL, width)
    return -(logps_BT * real_BT).sum() / real_BT.sum()


@torch.no_grad()
def cross_entropy(model, tokenizer, pairs: list[tuple[str, str]], batch_size: int = 128) -> float:
    """Mean nats a response token over all (prompt, reference response) pairs."""
    total, count = 0.0, 0
    for i in range(0, len(pairs), batch_size):
        ids, mask, width, real = tokens.encode_pairs(
            tokenizer, pairs[i : i + batch_size], model.device
        )
        logps, _ = response_logprobs(model, ids, mask, width)
        total -= float((logps * real).sum())
        count += int(real.sum())
    return total / count
