"""Credit: which responses are better than expected, and which of their tokens get more of it.

A group of responses to one prompt can be its own baseline, as in GRPO, in the project's own loop:
there tokens can have advantages of their own, which TRL's trainers do not take. Where none has, a
step is that of TRL's GRPO.
"""

import numpy as np
import torch

from healscope.config import Credit
from healscope.tasks.decisions import decisions, token_kinds
from healscope.tasks.task import Task
from healscope.training.kept import token_ends
from healscope.training.turns import Turn

SPREAD = 1e-4
"""What TRL adds to the standard deviation of a group's rewards."""


def group_advantages(rewards_B: torch.Tensor, size: int, spread: bool = True) -> torch.Tensor:
    """Return r - mean of its group, and with `spread` over the group's standard deviation (B,).

    Groups of `size` stand in a row. With a single success in 8 its advantage is 2.47 with spread,
    0.875 without (arXiv 2402.03300, section 4.1; 2503.20783, section 3.2).
    """
    rewards_PG = rewards_B.view(-1, size)
    advantages_PG = rewards_PG - rewards_PG.mean(1, keepdim=True)
    if spread:
        advantages_PG = advantages_PG / (rewards_PG.std(1, keepdim=True) + SPREAD)
    return advantages_PG.reshape(-1)


def favoured(
    credit: Credit, task: Task, tokenizer, turns: list[Turn], rng: np.random.Generator
) -> list[list[float]]:
    """Return for each turn which of its tokens get more credit, as ones and zeros.

    "plan" and "execution" are those of such decisions (arXiv 2509.03646 takes common phrases);
    "placebo" are as many tokens as plans have in the response, drawn evenly, and "entropy" as many
    with the least probable choices; "all" are all.
    """
    found = []
    for turn in turns:
        n = len(turn.response_ids)
        decided = decisions(task, turn.problem, turn.text)
        kinds = token_kinds(decided, token_ends(tokenizer, turn, task.reasoning), turn.text)
        chosen = np.array([kind == credit.tokens for kind in kinds], dtype=float)
        plans = sum(kind == "plan" for kind in kinds)
        if credit.tokens == "all":
            chosen = np.ones(n)
        elif credit.tokens in ("placebo", "entropy"):
            order = rng.permutation(n) if credit.tokens == "placebo" else np.argsort(turn.logprobs)
            chosen = np.zeros(n)
            chosen[order[:plans]] = 1.0
        found.append(chosen.tolist())
    return found


def per_token(advantages_B: torch.Tensor, favoured_BT: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return A + alpha |A| on favoured tokens, A on others (B, T): a right plan counts (1 + alpha)
    times, a wrong one (1 - alpha) times (arXiv 2509.03646; from secondary sources)."""
    gain_B1 = advantages_B[:, None]
    return gain_B1 + alpha * gain_B1.abs() * favoured_BT
