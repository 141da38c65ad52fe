"""Teacher-forced losses, entropies and divergences along given responses.

Shape suffixes: B rows, T response tokens, V vocabulary.
"""

from collections.abc import Iterator

import torch

from healscope.engines.generate import response_logprobs
from healscope.models import tokens

Pairs = list[tuple[str, str]]
"""(prompt, response)."""

BATCH = 64  # rows whose distributions are held at once


def response_loss(model, ids_BL, mask_BL, width: int, real_BT) -> torch.Tensor:
    """Return the mean cross-entropy in nats per response token; `real_BT` is false on padding."""
    logps_BT, _ = response_logprobs(model, ids_BL, mask_BL, width)
    return -(logps_BT * real_BT).sum() / real_BT.sum()


def _batches(tokenizer, pairs: Pairs, device, size: int = BATCH) -> Iterator[tuple]:
    for i in range(0, len(pairs), size):
        yield tokens.encode_pairs(tokenizer, pairs[i : i + size], device)


@torch.no_grad()
def cross_entropy(model, tokenizer, pairs: Pairs, batch_size: int = 128) -> float:
    """Return the mean cross-entropy in nats per token of all reference responses."""
    total, count = 0.0, 0
    for ids, mask, width, real_BT in _batches(tokenizer, pairs, model.device, batch_size):
        logps_BT, _ = response_logprobs(model, ids, mask, width)
        total -= float((logps_BT * real_BT).sum())
        count += int(real_BT.sum())
    return total / count


@torch.no_grad()
def entropy(model, tokenizer, pairs: Pairs) -> float:
    """Return the mean entropy of next-token distributions along responses, in nats per token."""
    total, count = 0.0, 0
    for ids, mask, width, real_BT in _batches(tokenizer, pairs, model.device):
        _, logps_BTV = response_logprobs(model, ids, mask, width)
        entropy_BT = -(logps_BTV.exp() * logps_BTV).sum(-1)
        total += float((entropy_BT * real_BT).sum())
        count += int(real_BT.sum())
    return total / count


@torch.no_grad()
def distributions(model, tokenizer, pairs: Pairs) -> list[torch.Tensor]:
    """Return the log-distributions (B,T,V) along the responses, batch by batch, on the CPU."""
    batches = _batches(tokenizer, pairs, model.device)
    return [response_logprobs(model, ids, mask, width)[1].cpu() for ids, mask, width, _ in batches]


@torch.no_grad()
def kl(base: list[torch.Tensor], model, tokenizer, pairs: Pairs) -> float:
    """Return the mean KL(base || model) of next-token distributions along responses, in nats per
    token.

    `base`: its `distributions`.
    """
    total, count = 0.0, 0
    batches = _batches(tokenizer, pairs, model.device)
    for before_BTV, (ids, mask, width, real_BT) in zip(base, batches, strict=True):
        _, after_BTV = response_logprobs(model, ids, mask, width)
        before_BTV = before_BTV.to(after_BTV.device)
        kl_BT = (before_BTV.exp() * (before_BTV - after_BTV)).sum(-1)
        total += float((kl_BT * real_BT).sum())
        count += int(real_BT.sum())
    return total / max(count, 1)


@torch.no_grad()
def by_step(model, tokenizer, pairs: Pairs) -> dict[str, float]:
    """Return the cross-entropy, in nats per token, of the steps `number` and `formula` of answers.

    The steps are the stretches of the reference response from the word "number" to the word
    "formula", and from there to its end (arXiv 2509.12235, appendix D.1). NaN without any.
    """
    sums = {"number": [0.0, 0], "formula": [0.0, 0]}
    for i in range(0, len(pairs), BATCH):
        chosen = pairs[i : i + BATCH]
        ids, mask, width, _ = tokens.encode_pairs(tokenizer, chosen, model.device)
        logps_BT, _ = response_logprobs(model, ids, mask, width)
        for logps_T, (_, response) in zip(logps_BT.cpu(), chosen, strict=True):
            offsets = tokenizer(
                response, add_special_tokens=False, return_offsets_mapping=True
            ).offset_mapping
            number, formula = response.find("number"), response.find("formula")
            for t, (begin, _) in enumerate(offsets):
                if 0 <= formula <= begin:
                    step = "formula"
                elif 0 <= number <= begin:
                    step = "number"
                else:
                    continue
                sums[step][0] -= float(logps_T[t])
                sums[step][1] += 1
    return {k: total / n if n else float("nan") for k, (total, n) in sums.items()}
