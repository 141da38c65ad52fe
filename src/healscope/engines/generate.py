"""Engine `hf`: batched sampling with a KV cache and a generator of its own.

transformers' `generate` draws from the global random state; here the caller passes a generator,
so that a resumed run continues with the same draws. Shape suffixes: B rows, P prompt, T response.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.models.tokens import encode_ids


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
    all its samples; with `prompt_states` what was read is kept. Raises ValueError when sampling
    lacks a generator, and NotFinite.
    """
    if temperature > 0 and generator is None:
        raise ValueError("sampling needs a generator")
    ids_BP, mask_BP, _, _ = encode_ids(prompts, [[]] * len(prompts), pad, model.device)
    cache = DynamicCache(config=model.config)
    output = model(
        input_ids=ids_BP,
        attention_mask=mask_BP,
        position_ids=position_ids(mask_BP),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        output_hidden_states=prompt_states,
    )
    read_B2H = None
    if prompt_states:
        read_B2H = states_of(output.hidden_states[-1], mask_BP).repeat_interleave(samples, 0)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
    logits_BV = output.logits[:, -1].repeat_interleave(samples, 0)
    mask_BP = mask_BP.repeat_interleave(samples, 0)
    padded = not bool(mask_BP.all())
    ends = torch.tensor([eos] if isinstance(eos, int) else list(eos), device=model.device)
    alive = torch.ones(len(logits_BV), dtype=torch.bool, device=model.device)
    tokens, logprobs, masks = [], [], []
    for step in range(max_new_tokens):
        logps_BV = torch.log_softmax(logits_BV.float() / (temperature or 1.0), -1)
        if logps_BV[:, 0].isnan().any():  # one bad logit spoils its whole row
            raise NotFinite("the model's probabilities are not finite")
        if temperature == 0:
            token_B = logps_BV.argmax(-1)
        else:
            if top_p < 1:
                logps_BV = _nucleus(logps_BV, top_p)
            shares_BV = logps_BV.exp().to(generator.device)  # the same draws on every device
            token_B = torch.multinomial(shares_BV, 1, generator=generator)[:, 0].to(model.device)
        masks.append(alive)
        logprobs.append(logps_BV.gather(1, token_B[:, None])[:, 0].masked_fill(~alive, 0))
        token_B = token_B.masked_fill(~alive, pad)
        tokens.append(token_B)
        alive = alive & ~torch.isin(token_B, ends)
        if step + 1 == max_new_tokens or not alive.any():
            break
        mask_BP = torch.cat([mask_BP, masks[-1][:, None]], 1)
        logits_BV = model(
            input_ids=token_B[:, None],
            attention_mask=mask_BP if padded else None,
            position_ids=position_ids(mask_BP)[:, -1:],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return Responses(
        torch.stack(tokens, 1), torch.stack(logprobs, 1), torch.stack(masks, 1), read_B2H
    )


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
    logits_BTV = model.get_output_embeddings()(body[:, first - 1 : -1])
    logps_BTV = torch.log_softmax(logits_BTV.float() / temperature, -1)
    logps_BT = logps_BTV.gather(-1, ids_BL[:, first:, None])[..., 0]
    return (body, logps_BT, logps_BTV) if hidden else (logps_BT, logps_BTV)
