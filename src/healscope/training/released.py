"""What the released PPO (arXiv 2509.12235) does to log-probabilities before it takes a ratio.

It rounds them, and weights tokens before the formula half as much. With the default settings all of
this does nothing. Shape suffixes: B turns, T response tokens.
"""

from bisect import bisect_right

import torch

from healscope.config import PPO
from healscope.models import tokens
from healscope.training.turns import Turn


def ratio_terms(
    recipe: PPO,
    tokenizer,
    turns: list[Turn],
    now_BT: torch.Tensor,
    old_BT: torch.Tensor,
    real_BT: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log-probabilities now and before, and weights, from which ratios are computed.

    They are rounded and weighted where the recipe says so, as in the released code.
    """
    weights_BT = token_weights(recipe, tokenizer, turns, real_BT)
    if recipe.logprob_precision == "float32":
        return now_BT, old_BT, weights_BT
    now_BT, old_BT = now_BT.bfloat16().float(), old_BT.bfloat16().float()
    if recipe.ratio == "response":  # the sum is rounded too, to steps of 0.03 to 0.06
        now_BT, old_BT = (
            (x * weights_BT).sum(1, keepdim=True).bfloat16().float() for x in (now_BT, old_BT)
        )
        weights_BT = torch.ones_like(now_BT)
    return now_BT, old_BT, weights_BT


def token_weights(recipe: PPO, tokenizer, turns: list[Turn], real_BT: torch.Tensor) -> torch.Tensor:
    """Return the weight of each token's log-probability (B, T): 1, except in the released code."""
    weights_BT = real_BT.float()
    if recipe.early_token_weight < 1:
        for b, turn in enumerate(turns):
            early = tokens_before_formula(tokenizer, turn)
            weights_BT[b, :early] *= recipe.early_token_weight
    if recipe.skip_first_token:
        weights_BT[:, 0] = 0
    return weights_BT


def tokens_before_formula(tokenizer, turn: Turn) -> int:
    """Count response tokens before the one in which the word "formula" begins.

    Without that word it counts all but the last four, as the released code does.
    """
    start = tokens.response_text(tokenizer, turn.response_ids).find("formula")
    if start < 0:
        return max(0, len(turn.response_ids) - 4)
    ends = range(1, len(turn.response_ids) + 1)
    written = bisect_right(
        ends, start, key=lambda k: len(tokens.response_text(tokenizer, turn.response_ids[:k]))
    )
    return min(written, len(turn.response_ids) - 1)
