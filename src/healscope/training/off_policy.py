"""Refinements: right answers after feedback, learned without it (Critique-GRPO, arXiv 2506.03106).

Where all responses to a prompt are wrong, each is answered to, as in a conversation, and the model
tries again. The first right second attempts take the place of the last responses of their group;
so a group keeps its size, and its baseline counts them (released code: one of eight). They are
learned after the bare prompt, by which they are unlikely: their tokens have weight p/(p + gamma)
instead of a ratio, p their probability there. So gradients have a factor gamma p/(p + gamma)^2,
greatest at p = gamma. Nothing is clipped, and nothing is divided by the probability of sampling.
A KL penalty and credit by probability are of p too.
"""

from dataclasses import replace

import torch

from healscope.config import OffPolicy
from healscope.engines.generate import response_logprobs
from healscope.tasks.messages import messages
from healscope.training.compute import ROWS_AT_ONCE
from healscope.training.sampling import Sampler
from healscope.training.turns import Turn, encode, groups


def refined(
    settings: OffPolicy, sampler: Sampler, model, tokenizer, turns: list[Turn], stream: tuple
) -> tuple[list[Turn], list[Turn], dict[str, float]]:
    """Return turns with the refinements in their places, all second attempts, and what is logged.

    `turns` are groups of responses in a row; `stream` names the random numbers.
    """
    size = sampler.samples_per_prompt
    wanted = int(settings.share * size + 1e-9)
    known = groups(turns, size)
    failed = [group for group in known if not any(t.success for t in group)] if wanted else []
    asked = [turn for group in failed for turn in group]
    if not asked:
        return turns, [], {"off_policy_share": 0.0}
    answers = [(t.problem, t.verdict, t.text) for t in asked]
    said = messages(sampler.task, answers, settings.feedback, apart=size)
    tried = sampler.retry(model, tokenizer, asked, [s.message for s in said], stream)
    places = {id(group): k for k, group in enumerate(known)}
    learned, repaired, taken = [list(group) for group in known], 0, 0
    for n, group in enumerate(failed):
        right = [t for t in tried[n * size : (n + 1) * size] if t.success][:wanted]
        repaired += bool(right)
        taken += len(right)
        for k, turn in enumerate(right, 1):
            bare = group[-k]
            learned[places[id(group)]][-k] = replace(
                turn, episode=bare.episode, prompt_ids=bare.prompt_ids, attempt=1,
                state_2H=bare.state_2H, off_policy=True,
            )  # fmt: skip
    for group in learned:
        new = [k for k, turn in enumerate(group) if turn.off_policy]
        read = _read_again(model, tokenizer, [group[k] for k in new], sampler.temperature)
        for k, turn in zip(new, read, strict=True):
            group[k] = turn
    logged = {"repaired_share": repaired / len(failed), "off_policy_share": taken / len(turns)}
    return [t for group in learned for t in group], tried, logged


@torch.no_grad()
def _read_again(model, tokenizer, turns: list[Turn], temperature: float) -> list[Turn]:
    """Return turns with the log-probabilities that their tokens have after their own prompts."""
    found = []
    for first in range(0, len(turns), ROWS_AT_ONCE):
        batch = turns[first : first + ROWS_AT_ONCE]
        ids_BL, mask_BL, width, real_BT = encode(tokenizer, batch, model.device)
        logps_BT, _ = response_logprobs(model, ids_BL, mask_BL, width, temperature)
        for turn, own_T, real_T in zip(batch, logps_BT, real_BT, strict=True):
            found.append(replace(turn, logprobs=own_T[real_T].tolist()))
    return found


def shaped_loss(
    logprobs_BT: torch.Tensor, real_BT: torch.Tensor, advantages_B: torch.Tensor, gamma: float
) -> torch.Tensor:
    """Return -A times the mean of p/(p + gamma) over the tokens of each row (B,)."""
    p_BT = logprobs_BT.exp()
    share_BT = real_BT / real_BT.sum(1, keepdim=True).clamp(min=1)
    return -advantages_B * (p_BT / (p_BT + gamma) * share_BT).sum(1)
