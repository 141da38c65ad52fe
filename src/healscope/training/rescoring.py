"""Re-scores responses that another engine sampled with the policy that learns from them.

Two programs never compute quite the same probabilities. Training uses the policy's own.
Shape suffixes: B rows, L prompt and response, T response tokens, H hidden.
"""

from collections.abc import Iterator

import torch

from healscope.engines import VLLM
from healscope.engines.generate import Responses, response_logprobs, states_of
from healscope.errors import HealscopeError
from healscope.models import tokens
from healscope.training.turns import Turn, engine_gap

READ_AT_ONCE = 64  # responses that the policy reads together


def weights(model) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, tensor) of the weights that the engine is given; tied ones once."""
    seen = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            yield name, tensor


@torch.no_grad()
def rescore(
    model, tokenizer, prompts: list[list[int]], sampled: Responses, temperature: float
) -> Responses:
    """Return the sampled responses with the model's own log-probabilities and prompt states.

    Log-probabilities are those of the distribution at this temperature.
    """
    ids = sampled.ids()
    logprobs_BT = torch.zeros(sampled.logprobs_BT.shape)
    states: list = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda i: len(prompts[i]) + len(ids[i]))
    for first in range(0, len(order), READ_AT_ONCE):
        rows = order[first : first + READ_AT_ONCE]
        ids_BL, mask_BL, width, real_BT = tokens.encode_ids(
            [prompts[i] for i in rows], [ids[i] for i in rows], tokenizer.pad_token_id, model.device
        )
        hidden_BLH, found_BT, _ = response_logprobs(
            model, ids_BL, mask_BL, width, temperature, hidden=True
        )
        logprobs_BT[torch.tensor(rows), :width] = (found_BT * real_BT).cpu()
        states_B2H = states_of(hidden_BLH[:, :-width], mask_BL[:, :-width])
        for i, state_2H in zip(rows, states_B2H, strict=True):
            states[i] = state_2H
    return Responses(sampled.tokens_BT, logprobs_BT, sampled.mask_BT, torch.stack(states))


def check_gap(turns: list[Turn], engine: VLLM) -> None:
    """Raise HealscopeError if engine and policy differ by more than `vllm.gap_limit`."""
    gap, limit, dtype = engine_gap(turns), engine.settings.gap_limit, engine.settings.dtype
    if not gap["engine_gap_nats"] <= limit:
        raise HealscopeError(
            f"engine vllm ({dtype}) differs from the model that is trained by "
            f"{gap['engine_gap_nats']:.2g} nats a token ({gap['engine_gap_max_nats']:.2g} at "
            f"most), more than vllm.gap_limit: {limit:g}; set vllm.dtype: float32, sample with "
            "rl.engine: hf, or raise the limit"
        )
