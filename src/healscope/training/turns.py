"""The responses that training learns from, one at a time (`Turn`) and in padded batches.

Shape suffixes: B rows, L prompt and response, T response tokens, H hidden, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from healscope.engines.generate import response_logprobs
from healscope.models import tokens
from healscope.tasks.problem import Problem, Verdict
from healscope.training import processes

KL_ROWS = 64  # responses on which the KL from a reference is measured
HISTOGRAM_BINS = 20  # of the advantages


@dataclass(frozen=True)
class Turn:
    """One response: the action of one turn of an episode.

    Attributes:
        problem: the problem that was posed.
        episode: number of its episode; `Sampler.sample` returns episodes one after another.
        attempt: 1 for the first response of an episode.
        prompt_ids: token ids of the whole conversation before the response.
        response_ids: token ids of the response, with its end-of-sequence token if it has one.
        logprobs: log-probability of each response token after `prompt_ids` under the policy, at
            the temperature of sampling.
        text: the decoded response.
        verdict: the verifier's judgement.
        reward: the reward of training.
        last: whether the episode ends here.
        extra: whether it comes after the last attempt (released code): it never counts as success.
        engine_gaps: of each token, how far the policy's log-probability is from that of the engine
            that sampled it; None if the policy sampled it itself.
        left_out: tokens that were sampled after these and are not learned from.
        off_policy: it was sampled after another prompt than `prompt_ids`.
        state_2H: mean of the last hidden states of `prompt_ids`, and the last of them, if the
            sampler keeps them: what a critic reads.
    """

    problem: Problem
    episode: int
    attempt: int
    prompt_ids: list[int]
    response_ids: list[int]
    logprobs: list[float]
    text: str
    verdict: Verdict
    reward: float
    last: bool
    extra: bool = False
    engine_gaps: list[float] | None = None
    left_out: int = 0
    off_policy: bool = False
    state_2H: torch.Tensor | None = None

    @property
    def success(self) -> bool:
        return self.verdict.outcome == "correct" and not self.extra


class Pair(NamedTuple):
    """A prompt and a response that was not sampled, as token ids; batched as a Turn is."""

    prompt_ids: list[int]
    response_ids: list[int]


Row = TypeVar("Row", Turn, Pair)


def groups(turns: list[Turn], size: int) -> list[list[Turn]]:
    """Return the responses to each prompt: `size` turns in a row."""
    return [turns[k : k + size] for k in range(0, len(turns), size)]


def by_length(turns: list[Row], rows: int) -> list[list[Row]]:
    """Split turns into batches of `rows` with similar lengths, so that there is little padding."""
    ordered = sorted(turns, key=lambda t: len(t.prompt_ids) + len(t.response_ids))
    return [ordered[i : i + rows] for i in range(0, len(ordered), rows)]


def micro_batches(turns: list[Turn], rows: np.ndarray, number: int) -> list[np.ndarray]:
    """Split row numbers of `turns` into `number` micro-batches of similar lengths."""
    lengths = [len(turns[i].prompt_ids) + len(turns[i].response_ids) for i in rows]
    ordered = np.sort(rows)[np.argsort(np.array(lengths)[np.argsort(rows)], kind="stable")]
    return np.array_split(ordered, number)


def micro_batch_count(rows: int, at_once: int, among: int | None = None) -> int:
    """Return number of micro-batches of each process, for `rows` of all processes together.

    It is the same in every process, and none of them is empty.
    """
    among = among or processes.size()
    return max(1, min(math.ceil(math.ceil(rows / among) / at_once), rows // among))


def encode(tokenizer, turns: Sequence[Row], device):
    """Return ids and mask (B, L), the width T, and which of (B, T) are response tokens."""
    prompts, responses = [t.prompt_ids for t in turns], [t.response_ids for t in turns]
    return tokens.encode_ids(prompts, responses, tokenizer.pad_token_id, device)


def pad(rows: list[list[float]], width: int, device) -> torch.Tensor:
    """Return one number for each token (B, T), with zeros after the last token."""
    return torch.tensor([row + [0.0] * (width - len(row)) for row in rows], device=device)


def summary(
    turns: list[Turn], samples_per_prompt: int, unused: Sequence[Turn] = ()
) -> dict[str, float]:
    """Return what is logged of a batch of episodes, in the columns of schema `rl-log`.

    Shares are over first attempts, rewards over all turns. `unused` turns were sampled but are not
    learned from: only their tokens count.
    """
    first = [t for t in turns if t.attempt == 1]
    rewards = np.array([t.reward for t in turns])
    correct = np.array([t.success for t in turns], dtype=float)
    row = {
        "reward_mean": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "positive_share": float((rewards > 0).mean()),
        "correct_share": float(np.mean([t.verdict.outcome == "correct" for t in first])),
        "parsed_share": float(np.mean([t.verdict.parsed for t in first])),
        "episode_success_share": float(np.mean([t.success for t in turns if t.last])),
        "turns_per_episode": len(turns) / len(first),
        "response_tokens_mean": float(np.mean([len(t.response_ids) for t in turns])),
        "generated_tokens": sum(len(t.response_ids) + t.left_out for t in [*turns, *unused]),
        **engine_gap(turns),
    }
    if rewards.std() > 0 and correct.std() > 0:
        row["reward_success_correlation"] = float(np.corrcoef(rewards, correct)[0, 1])
    if samples_per_prompt > 1 and len(first) % samples_per_prompt == 0:  # no group was cut
        groups = np.array([t.reward for t in first]).reshape(-1, samples_per_prompt)
        row["zero_variance_share"] = float((groups.max(1) == groups.min(1)).mean())
    return row


def engine_gap(turns: list[Turn]) -> dict[str, float]:
    """Return mean and maximum of the engine's gap in log-probability, in nats a token.

    Return an empty dictionary if the policy sampled the turns itself.
    """
    gaps = [g for t in turns for g in t.engine_gaps or ()]
    if not gaps:
        return {}
    return {"engine_gap_nats": float(np.mean(gaps)), "engine_gap_max_nats": float(max(gaps))}


def advantage_statistics(advantages: np.ndarray) -> dict[str, float]:
    """Return the standard deviation of advantages, and the entropy of their histogram in nats."""
    if not np.isfinite(np.ptp(advantages)):
        return {"advantage_std": float("nan")}
    counts, _ = np.histogram(advantages, bins=HISTOGRAM_BINS)
    shares = counts[counts > 0] / counts.sum()
    return {
        "advantage_std": float(advantages.std()),
        "advantage_entropy_nats": float(max(0.0, -(shares * np.log(shares)).sum())),
    }


@torch.no_grad()
def entropy_nats(model, tokenizer, turns: Sequence[Row], temperature: float) -> float:
    """Return the mean entropy of the policy along these responses, in nats a token."""
    ids_BL, mask_BL, width, real_BT = encode(tokenizer, turns, model.device)
    _, logprobs_BTV = response_logprobs(model, ids_BL, mask_BL, width, temperature)
    entropy_BT = -(logprobs_BTV.exp() * logprobs_BTV).sum(-1)
    return float((entropy_BT * real_BT).sum() / real_BT.sum())


@torch.no_grad()
def kl_nats(model, reference, tokenizer, turns: Sequence[Row], temperature: float) -> float:
    """Return KL(model || reference) in nats a token.

    It is exact over the vocabulary at each prefix of the first KL_ROWS responses.
    """
    model.eval()
    total, count = 0.0, 0
    for batch in by_length(turns[:KL_ROWS], 32):
        ids_BL, mask_BL, width, real_BT = encode(tokenizer, batch, model.device)
        _, own_BTV = response_logprobs(model, ids_BL, mask_BL, width, temperature)
        _, other_BTV = response_logprobs(reference, ids_BL, mask_BL, width, temperature)
        kl_BT = (own_BTV.exp() * (own_BTV - other_BTV)).sum(-1)
        total += float((kl_BT * real_BT).sum())
        count += int(real_BT.sum())
    return max(total / count, 0.0)  # in this order NaN stays NaN, and is noticed
