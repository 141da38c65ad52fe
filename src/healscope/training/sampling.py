"""Episodes: problems answered by the model at hand, judged, and asked again after feedback.

Every algorithm learns from what `sample` returns. Generation is batched and sorted by length.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch

from healscope.config import PPO
from healscope.draws import seeded
from healscope.engines import VLLM
from healscope.engines.generate import NotFinite, Responses, generate, response_logprobs
from healscope.models import tokens
from healscope.tasks.problem import Problem, Verdict
from healscope.tasks.rewards import Score, length_neutral
from healscope.tasks.tables import draw
from healscope.tasks.task import Task
from healscope.training import drawn_elsewhere, processes

ROWS_AT_ONCE = 256  # prompts generated together
KL_ROWS = 64  # responses on which KL from a reference is measured
_BINS = 20  # of the advantage histogram


@dataclass(frozen=True)
class Turn:
    """One response: the action of one turn of an episode.

    Attributes:
        problem: what was asked.
        episode: number of its episode; `sample` returns episodes one after another.
        attempt: 1 for the first response of an episode.
        prompt_ids: the whole conversation before the response.
        response_ids: the response, with its end-of-sequence token where the model wrote one.
        logprobs: of the response's tokens, under the distribution they were drawn from, as the
            trained model has it.
        gaps: by how much each differs from what another engine drew it by; None without one.
        text: the response, decoded.
        verdict: what the verifier says.
        reward: what training pays.
        last: nothing follows in this episode.
        extra: asked after the last attempt; it counts for nothing, whatever it says.
        state_2H: mean and last of the last hidden states of `prompt_ids`, where the sampler keeps
            them: what a critic reads.
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
    gaps: list[float] | None = None
    state_2H: torch.Tensor | None = None

    @property
    def success(self) -> bool:
        return self.verdict.outcome == "correct" and not self.extra


class Pair(NamedTuple):
    """A prompt and a response that nobody sampled, in token ids: read as a Turn is."""

    prompt_ids: list[int]
    response_ids: list[int]


Read = TypeVar("Read", Turn, Pair)


@dataclass(frozen=True)
class Sampler:
    """How episodes are sampled; the same for all iterations of a run."""

    task: Task
    score: Score
    max_new_tokens: int
    temperature: float = 1.0
    samples_per_prompt: int = 1
    attempts: int = 1
    feedback: str = "full"
    extra_attempt: bool = False
    length_neutral: bool = False
    prompt_states: bool = False
    engine: VLLM | None = None

    def sample(self, model, tokenizer, problems: pd.DataFrame, stream: Sequence[int]) -> list[Turn]:
        """Episodes on `problems` (rows of an RL pool), `samples_per_prompt` of each in a row.

        `stream` names the random numbers. An episode ends with a correct response or with its last
        attempt; between attempts the model reads what `feedback` says. With `extra_attempt` one
        more response follows the last failure, and costs 1 whatever it says (released code). Of
        several processes each samples its share, and has the turns of all.
        With an `engine`, it answers at the model's weights; raises HealscopeError where the two
        differ by more than it may (`vllm.gap_limit`).
        """
        sampled = self._shared if processes.size() > 1 else self._episodes
        turns = self._neutral(sampled(model, tokenizer, problems, stream))
        if self.engine is not None:
            drawn_elsewhere.refuse(drawn_elsewhere.gap(turns), self.engine)
        return turns

    def _shared(self, model, tokenizer, problems: pd.DataFrame, stream) -> list[Turn]:
        failed, turns, own = "", [], processes.own(problems)
        try:
            turns = self._episodes(model, tokenizer, own, (*stream, processes.rank()))
        except NotFinite as error:  # all have to know, or they would wait for this one
            failed = str(error)
        if reasons := [reason for reason in processes.joined([failed]) if reason]:
            raise NotFinite(reasons[0])
        before = processes.rank() * len(own) * self.samples_per_prompt
        return processes.joined(
            [
                replace(
                    t,
                    episode=before + t.episode,
                    state_2H=None if t.state_2H is None else t.state_2H.cpu(),
                )
                for t in turns
            ]
        )

    def _episodes(self, model, tokenizer, problems: pd.DataFrame, stream) -> list[Turn]:
        if self.engine is not None:
            self.engine.take(drawn_elsewhere.weights(model), "the policy")
        ends = tokens.end_ids(tokenizer, tokens.model_ends(model))
        rows = [r for r in problems.to_dict("records") for _ in range(self.samples_per_prompt)]
        posed = [self.task.read(row) for row in rows]
        talks = [[row["prompt"]] for row in rows]
        episodes: list[list[Turn]] = [[] for _ in rows]
        asked = list(range(len(rows)))
        for attempt in range(1, self.attempts + self.extra_attempt + 1):
            extra = attempt > self.attempts
            answers = self._answers(model, tokenizer, [talks[e] for e in asked], stream, attempt)
            failed = []
            for e, (prompt_ids, ids, logprobs, gaps, state_2H) in zip(asked, answers, strict=True):
                marks = self.task.reasoning
                text = tokens.response_text(
                    tokenizer, ids, ends, reasoning=marks, prompt=prompt_ids
                )
                verdict, reward = self.score(posed[e], text)
                over = extra or verdict.outcome == "correct"
                over = over or attempt == self.attempts + self.extra_attempt
                episodes[e].append(
                    Turn(posed[e], e, attempt, prompt_ids, ids, logprobs, text, verdict,
                         -1.0 if extra else reward, over, extra, gaps, state_2H)
                )  # fmt: skip
                if not over:
                    said = self.task.feedback(posed[e], verdict, text, self.feedback)
                    talks[e] = [*talks[e], text, self.task.follow_up(posed[e], said.message)]
                    failed.append(e)
            asked = failed
            if not asked:
                break
        return [turn for episode in episodes for turn in episode]

    def _answers(self, model, tokenizer, talks, stream, attempt):
        """(prompt ids, response ids, log-probabilities, gaps, states) of each conversation."""
        ids = [tokens.conversation_ids(tokenizer, talk) for talk in talks]
        # samples of one prompt stand in a row at the first attempt: read the prompt once for all
        n = self.samples_per_prompt if attempt == 1 else 1
        prompts = ids[::n]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        size = max(1, ROWS_AT_ONCE // n) if self.engine is None else len(order)
        answers: list = [None] * len(ids)
        model.eval()
        for first in range(0, len(order), size):
            batch = order[first : first + size]
            asked = [prompts[i] for i in batch]
            found = self._generate(
                model,
                asked,
                eos=tokens.end_ids(tokenizer, tokens.model_ends(model)),
                pad=tokenizer.pad_token_id,
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                samples=n,
                generator=seeded(*stream, attempt, first),
            )
            drawn = found
            if self.engine is not None:
                found = drawn_elsewhere.read_again(
                    model, tokenizer, [a for a in asked for _ in range(n)], drawn, self.temperature
                )
            logprobs, masks, read = found.logprobs_BT.cpu(), found.mask_BT.cpu(), found.prompt_B2H
            gaps = (drawn.logprobs_BT.cpu() - logprobs).abs()
            for j, response in enumerate(found.ids()):
                row = batch[j // n] * n + j % n
                state_2H = None if read is None else read[j]
                own = logprobs[j][masks[j]].tolist()
                apart = None if self.engine is None else gaps[j][masks[j]].tolist()
                answers[row] = (ids[row], response, own, apart, state_2H)
        return answers

    def _generate(self, model, prompts, **settings) -> Responses:
        if self.engine is not None:
            return self.engine.generate(prompts, **settings)
        return generate(model, prompts, **settings, prompt_states=self.prompt_states)

    def _neutral(self, turns: list[Turn]) -> list[Turn]:
        if not self.length_neutral:
            return turns
        rewards = length_neutral(
            np.array([t.reward for t in turns]),
            np.array([len(t.response_ids) for t in turns]),
            [t.verdict.outcome for t in turns],
        )
        return [
            Turn(**{**vars(t), "reward": float(r)}) for t, r in zip(turns, rewards, strict=True)
        ]


def rollout(
    recipe: PPO, sampler: Sampler, model, tokenizer, pool: pd.DataFrame, at: tuple[int, int]
) -> tuple[list[Turn], list[Turn]]:
    """The turns of one iteration of PPO, `at` (seed, iteration), and those sampled beyond them.

    Counted in turns, episodes are sampled until there is at least one turn more than `responses`:
    the batch ends after that many, also within an episode, and the first turn beyond it is the
    state that follows.
    """
    seed, i = at
    rng, stream = np.random.default_rng([seed, 4, i]), (seed, 5, i)
    if recipe.counted == "episodes":
        return sampler.sample(model, tokenizer, draw(pool, recipe.prompts, rng), stream), []
    turns: list[Turn] = []
    of_a_prompt = (recipe.attempts + recipe.extra_attempt) * recipe.samples_per_prompt
    while (missing := recipe.responses + 1 - len(turns)) > 0:
        shares = math.ceil(missing / of_a_prompt / processes.size())
        problems = draw(pool, shares * processes.size(), rng)
        found = sampler.sample(model, tokenizer, problems, (*stream, len(turns)))
        before = turns[-1].episode + 1 if turns else 0
        turns += [replace(t, episode=before + t.episode) for t in found]
        of_a_prompt = len(found) / len(problems)
    return turns[: recipe.responses], turns[recipe.responses :]


def tokens_before_formula(tokenizer, turn: Turn) -> int:
    """Response tokens before the one in which the word "formula" begins.

    All but the last four, where it is not there: so the released code counts.
    """
    at = tokens.response_text(tokenizer, turn.response_ids).find("formula")
    if at < 0:
        return max(0, len(turn.response_ids) - 4)
    ends = range(1, len(turn.response_ids) + 1)
    written = bisect_right(
        ends, at, key=lambda k: len(tokens.response_text(tokenizer, turn.response_ids[:k]))
    )
    return min(written, len(turn.response_ids) - 1)


def token_weights(recipe: PPO, tokenizer, turns: list[Turn], real_BT: torch.Tensor) -> torch.Tensor:
    """What each token's log-probability counts: 1, but for the released code's oddities."""
    weights_BT = real_BT.float()
    if recipe.early_token_weight < 1:
        for b, turn in enumerate(turns):
            early = tokens_before_formula(tokenizer, turn)
            weights_BT[b, :early] *= recipe.early_token_weight
    if recipe.skip_first_token:
        weights_BT[:, 0] = 0
    return weights_BT


def summary(
    turns: list[Turn], samples_per_prompt: int, beyond: Sequence[Turn] = ()
) -> dict[str, float]:
    """What is logged of a batch of episodes; columns as in schema `rl-log`.

    Shares are of first attempts; rewards are of all turns. `beyond`: turns that were sampled and
    are not learned from, whose tokens count.
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
        "generated_tokens": sum(len(t.response_ids) for t in [*turns, *beyond]),
        **drawn_elsewhere.gap(turns),
    }
    if rewards.std() > 0 and correct.std() > 0:
        row["reward_success_correlation"] = float(np.corrcoef(rewards, correct)[0, 1])
    if samples_per_prompt > 1 and len(first) % samples_per_prompt == 0:  # no group was cut
        groups = np.array([t.reward for t in first]).reshape(-1, samples_per_prompt)
        row["zero_variance_share"] = float((groups.max(1) == groups.min(1)).mean())
    return row


def advantage_statistics(advantages: np.ndarray) -> dict[str, float]:
    """Standard deviation of advantages, and the entropy of their histogram (20 bins, in nats)."""
    if not np.isfinite(np.ptp(advantages)):
        return {"advantage_std": float("nan")}
    counts, _ = np.histogram(advantages, bins=_BINS)
    shares = counts[counts > 0] / counts.sum()
    return {
        "advantage_std": float(advantages.std()),
        "advantage_entropy_nats": float(max(0.0, -(shares * np.log(shares)).sum())),
    }


@torch.no_grad()
def entropy_nats(model, tokenizer, turns: list[Read], temperature: float) -> float:
    """Mean entropy of the policy along these responses, in nats a token."""
    ids_BL, mask_BL, width, real_BT = encoded(tokenizer, turns, model.device)
    _, all_BTV = response_logprobs(model, ids_BL, mask_BL, width, temperature)
    entropy_BT = -(all_BTV.exp() * all_BTV).sum(-1)
    return float((entropy_BT * real_BT).sum() / real_BT.sum())


@torch.no_grad()
def kl_nats(model, reference, tokenizer, turns: list[Read], temperature: float) -> float:
    """KL(model || reference) a token, exact at each prefix of at most KL_ROWS of the responses."""
    model.eval()
    total, count = 0.0, 0
    for batch in by_length(turns[:KL_ROWS], 32):
        ids, mask, width, real_BT = encoded(tokenizer, batch, model.device)
        _, own_BTV = response_logprobs(model, ids, mask, width, temperature)
        _, other_BTV = response_logprobs(reference, ids, mask, width, temperature)
        kl_BT = (own_BTV.exp() * (own_BTV - other_BTV)).sum(-1)
        total += float((kl_BT * real_BT).sum())
        count += int(real_BT.sum())
    return max(total / count, 0.0)  # in this order: not a number stays so, and is noticed


def by_length(turns: list[Read], rows: int) -> list[list[Read]]:
    """Batches of turns of similar length, so that little is padding."""
    ordered = sorted(turns, key=lambda t: len(t.prompt_ids) + len(t.response_ids))
    return [ordered[i : i + rows] for i in range(0, len(ordered), rows)]


def parts(rows: int, at_once: int, among: int | None = None) -> int:
    """Micro-batches of each process for `rows` of all: as many in every one, and none is empty."""
    among = among or processes.size()
    return max(1, min(math.ceil(math.ceil(rows / among) / at_once), rows // among))


def chunks(turns: list[Turn], rows: np.ndarray, parts: int) -> list[np.ndarray]:
    """Row numbers in micro-batches of similar length, so that little is padding."""
    lengths = [len(turns[i].prompt_ids) + len(turns[i].response_ids) for i in rows]
    ordered = np.sort(rows)[np.argsort(np.array(lengths)[np.argsort(rows)], kind="stable")]
    return np.array_split(ordered, parts)


def encoded(tokenizer, turns: Sequence[Read], device):
    """Ids and mask (B, L), width T, and which of (B, T) are response tokens."""
    prompts, responses = [t.prompt_ids for t in turns], [t.response_ids for t in turns]
    return tokens.encode_ids(prompts, responses, tokenizer.pad_token_id, device)


def padded(rows: list[list[float]], width: int, device) -> torch.Tensor:
    """Numbers of each token (B, T), with 0 after the last one."""
    return torch.tensor([row + [0.0] * (width - len(row)) for row in rows], device=device)
