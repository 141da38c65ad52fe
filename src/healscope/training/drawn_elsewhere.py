"""Responses that another engine has drawn, and how far it is from the model that learns from them.

Two programs never compute quite the same probabilities. What training uses is the model's own view.
Shape suffixes: B rows, L prompt and response, P prompt, T response, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from healscope.engines import VLLM
from healscope.engines.generate import Responses, response_logprobs, states_of
from healscope.errors import HealscopeError
from healscope.models import tokens

if TYPE_CHECKING:
    from healscope.training.sampling import Turn

READ_AT_ONCE = 64  # responses that the model reads again together


def weights(model) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of all weights, tied ones once: what the engine is given."""
    seen = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            yield name, tensor


@torch.no_grad()
def read_again(
    model, tokenizer, prompts: list[list[int]], drawn: Responses, temperature: float
) -> Responses:
    """What another engine drew, as the model itself sees it: log-probabilities under the
    distribution at this temperature, and the states of the prompts (`Responses`)."""
    ids = drawn.ids()
    logprobs_BT = torch.zeros(drawn.logprobs_BT.shape)
    states: list = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda i: len(prompts[i]) + len(ids[i]))
    for first in range(0, len(order), READ_AT_ONCE):
        rows = order[first : first + READ_AT_ONCE]
        ids_BL, mask_BL, width, real_BT = tokens.encode_ids(
            [prompts[i] for i in rows], [ids[i] for i in rows], tokenizer.pad_token_id, model.device
        )
        body_BLH, found_BT, _ = response_logprobs(
            model, ids_BL, mask_BL, width, temperature, hidden=True
        )
        logprobs_BT[torch.tensor(rows), :width] = (found_BT * real_BT).cpu()
        states_B2H = states_of(body_BLH[:, :-width], mask_BL[:, :-width])
        for i, state_2H in zip(rows, states_B2H, strict=True):
            states[i] = state_2H
    return Responses(drawn.tokens_BT, logprobs_BT, drawn.mask_BT, torch.stack(states))


def gap(turns: list[Turn]) -> dict[str, float]:
    """How far the log-probabilities of the engine that drew the tokens are from the model's own,
    in nats a token; nothing, where the model drew them itself."""
    gaps = [g for t in turns for g in t.gaps or ()]
    if not gaps:
        return {}
    return {"engine_gap_nats": float(np.mean(gaps)), "engine_gap_max_nats": float(max(gaps))}


def refuse(found: dict[str, float], engine: VLLM) -> None:
    """Raises HealscopeError where the gap is larger than `vllm.gap_limit`."""
    limit, dtype = engine.settings.gap_limit, engine.settings.dtype
    if not found["engine_gap_nats"] <= limit:
        raise HealscopeError(
            f"engine vllm ({dtype}) differs from the model that is trained by "
            f"{found['engine_gap_nats']:.2g} nats a token ({found['engine_gap_max_nats']:.2g} at "
            f"most), more than vllm.gap_limit: {limit:g}; set vllm.dtype: float32, sample with "
            "rl.engine: hf, or raise the limit"
        )
