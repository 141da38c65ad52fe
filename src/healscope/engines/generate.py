"""Engine `hf`: batched sampling with a KV cache and a generator of its own.

transformers' `generate` draws from the global random state; here the caller passes a generator,
so that a resumed run continues with the same draws. Shape suffixes: B rows, A rows still in the
batch, P prompt, T response, L both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.models.tokens import encode_ids

SHARED_FROM = 64
"""What prompts have in common is read apart if that saves the reading of so many tokens or more."""

SELECTABLE = {DynamicLayer, DynamicSlidingWindowLayer}
"""Layers of a cache from which rows can be taken; of others, rows that have ended stay."""


class NotFinite(HealscopeError):  # noqa: N818 (what happened)
    """The model's probabilities are not numbers: its weights have overflowed."""


@dataclass(frozen=True)
class Responses:
    """Generated tokens (B,T), each row ended by an end token and padded; their log-probabilities
    under the sampling distribution, 0 on padding; and a mask that is true on the row's own tokens.
    `prompt_B2H`, if asked for, holds the mean and the last of the prompt's last hidden states."""

    tokens_BT: torch.Tensor
    logprobs_BT: torch.Tensor
    mask_BT: torch.Tensor
    prompt_B2H: torch.Tensor | None = None

    def ids(self) -> list[list[int]]:
        """Token ids of each row, padding removed."""
        return [
            t[m].tolist() for t, m in zip(self.tokens_BT.cpu(), self.mask_BT.cpu(), strict=True)
        ]


def position_ids(mask: torch.Tensor) -> torch.Tensor:
    """Return positions that count from 0 at each row's first real token."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def states_of(hidden_BPH: torch.Tensor, mask_BP: torch.Tensor) -> torch.Tensor:
    """Return mean and last of the hidden states (B,2,H) of left-padded prompts, in float32."""
    hidden_BPH = hidden_BPH.float()
    mean_BH = (hidden_BPH * mask_BP[..., None]).sum(1) / mask_BP.sum(1, keepdim=True)
    return torch.stack([mean_BH, hidden_BPH[:, -1]], 1)


@torch.no_grad()
def generate(
    model,
    prompts: list[list[int]],
    *,
    eos: int | Sequence[int],
    pad: int,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    samples: int = 1,
    generator: torch.Generator | None = None,
    prompt_states: bool = False,
) -> Responses:
    """Generate `samples` responses to each prompt, in rows grouped by prompt; temperature 0 is
    greedy.

    `eos`: the token that ends a response, or several, any of which does.
    `top_p` < 1 samples from the nucleus alone (Holtzman et al. 2020). The prompt is read once for
    all its samples, and what all prompts begin with once for all; with `prompt_states` what was
    read is kept. A row leaves the batch when it ends. Raises ValueError when sampling lacks a
    generator, and NotFinite.
    """
    if temperature > 0 and generator is None:
        raise ValueError("sampling needs a generator")
    cache = DynamicCache(config=model.config)
    logits_BV, mask_BP, hidden_BPH = _read(model, prompts, pad, cache, prompt_states)
    read_B2H = None
    if prompt_states:
        read_B2H = states_of(hidden_BPH, mask_BP).repeat_interleave(samples, 0)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
    logits_AV = logits_BV.repeat_interleave(samples, 0)
    mask_AL = mask_BP.repeat_interleave(samples, 0)
    ends = torch.tensor([eos] if isinstance(eos, int) else list(eos), device=model.device)
    size = len(logits_AV), max_new_tokens
    tokens_BT = torch.full(size, pad, device=model.device)
    logprobs_BT = torch.zeros(size, device=model.device)
    mask_BT = torch.zeros(size, dtype=torch.bool, device=model.device)
    rows_A = torch.arange(size[0], device=model.device)  # rows of the answers that are in the batch
    alive_A = torch.ones_like(rows_A, dtype=torch.bool)
    drops = {type(layer) for layer in cache.layers} <= SELECTABLE
    padded = not bool(mask_AL.all())
    steps = 0
    while True:
        logps_AV = torch.log_softmax(logits_AV.float() / (temperature or 1.0), -1)
        if logps_AV[:, 0].isnan().any():  # one bad logit spoils its whole row
            raise NotFinite("the model's probabilities are not finite")
        if temperature == 0:
            token_A = logps_AV.argmax(-1)
        else:
            if top_p < 1:
                logps_AV = _nucleus(logps_AV, top_p)
            token_A = _draw(logps_AV.exp(), rows_A, size[0], generator).to(model.device)
        logprobs_A = logps_AV.gather(1, token_A[:, None])[:, 0].masked_fill(~alive_A, 0)
        token_A = token_A.masked_fill(~alive_A, pad)
        for held_BT, now_A in (tokens_BT, token_A), (logprobs_BT, logprobs_A), (mask_BT, alive_A):
            held_BT[rows_A, steps] = now_A
        steps += 1
        mask_AL = torch.cat([mask_AL, alive_A[:, None]], 1)
        alive_A = alive_A & ~torch.isin(token_A, ends)
        if steps == max_new_tokens or not alive_A.any():
            break
        if drops and not alive_A.all():  # rows that have ended leave the batch
            cache.batch_select_indices(alive_A.nonzero()[:, 0])
            rows_A, token_A, mask_AL = rows_A[alive_A], token_A[alive_A], mask_AL[alive_A]
            alive_A, padded = alive_A[alive_A], not bool(mask_AL.all())
        logits_AV = model(
            input_ids=token_A[:, None],
            attention_mask=mask_AL if padded else None,
            position_ids=position_ids(mask_AL)[:, -1:],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return Responses(tokens_BT[:, :steps], logprobs_BT[:, :steps], mask_BT[:, :steps], read_B2H)


def _read(
    model, prompts: list[list[int]], pad: int, cache: DynamicCache, hidden: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Read prompts into an empty cache; what all of them begin with is read once.

    Return logits after each (B,V), the mask of the cache (B,P), in which padding stands between
    what is shared and the rest, and with `hidden` the last hidden states (B,P,H).
    """
    first, last = min(prompts), max(prompts)
    shared = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    shared = min(shared, min(map(len, prompts)) - 1)  # each has a last token of its own
    layers = {type(layer) for layer in cache.layers}
    if shared * (len(prompts) - 1) < SHARED_FROM or layers != {DynamicLayer}:
        shared = 0
    rest = [prompt[shared:] for prompt in prompts]
    ids_BP, mask_BP, _, _ = encode_ids(rest, [[]] * len(rest), pad, model.device)
    how = {"past_key_values": cache, "use_cache": True, "logits_to_keep": 1}
    how["output_hidden_states"] = hidden
    before = []
    if shared:
        output = model(input_ids=torch.tensor([first[:shared]], device=model.device), **how)
        cache.batch_repeat_interleave(len(prompts))
        mask_BP = torch.cat([mask_BP.new_ones(len(prompts), shared), mask_BP], 1)
        if hidden:
            before = [output.hidden_states[-1].expand(len(prompts), -1, -1)]
    output = model(
        input_ids=ids_BP,
        attention_mask=mask_BP,
        position_ids=position_ids(mask_BP)[:, shared:],
        **how,
    )
    hidden_BPH = torch.cat([*before, output.hidden_states[-1]], 1) if hidden else None
    return output.logits[:, -1], mask_BP, hidden_BPH


def _draw(
    shares_AV: torch.Tensor, rows_A: torch.Tensor, rows: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw a token for each row of the batch, with the random numbers that it would have if none
    of all `rows` had left, and the same ones on every device."""
    place = generator.device
    shares_BV = torch.ones(rows, shares_AV.shape[1], device=place)
    shares_BV[rows_A.to(place)] = shares_AV.to(place)
    return torch.multinomial(shares_BV, 1, generator=generator)[rows_A.to(place), 0]


def _nucleus(logps_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Renormalise log-probabilities over the smallest set of tokens with probability `top_p`."""
    ordered_BV, index_BV = logps_BV.sort(-1, descending=True)
    before_BV = ordered_BV.exp().cumsum(-1) - ordered_BV.exp()  # mass of the likelier ones
    outside_BV = torch.zeros_like(before_BV, dtype=torch.bool).scatter(
        -1, index_BV, before_BV >= top_p
    )
    return torch.log_softmax(logps_BV.masked_fill(outside_BV, -torch.inf), -1)


def hidden_states(model, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
    """Read padded rows, and return the last hidden states (B,L,H), from which logits are made."""
    return checkpoints.decoder(model)(
        input_ids=ids_BL,
        attention_mask=None if bool(mask_BL.all()) else mask_BL,
        position_ids=position_ids(mask_BL),
        use_cache=False,
    ).last_hidden_state


def response_logprobs(
    model,
    ids_BL: torch.Tensor,
    mask_BL: torch.Tensor,
    width: int,
    temperature: float = 1.0,
    hidden: bool = False,
) -> tuple[torch.Tensor, ...]:
    """Read padded prompt+response rows, teacher-forced; the last `width` columns are responses.

    Return log-probabilities of those tokens (B,T) and the full log-distribution (B,T,V); with
    `hidden`, the last hidden states (B,L,H) before them.
    """
    body = hidden_states(model, ids_BL, mask_BL)
    first = ids_BL.shape[1] - width
    logits_BTV = checkpoints.logits(model, body[:, first - 1 : -1])
    logps_BTV = torch.log_softmax(logits_BTV.float() / temperature, -1)
    logps_BT = logps_BTV.gather(-1, ids_BL[:, first:, None])[..., 0]
    return (body, logps_BT, logps_BTV) if hidden else (logps_BT, logps_BTV)
