"""Samples episodes: the policy answers problems, is judged, and is asked again after feedback.

Every recipe of RL learns from what `Sampler.sample` returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from healscope.draws import seeded
from healscope.engines import VLLM
from healscope.engines.generate import NotFinite, Responses, generate
from healscope.models import tokens
from healscope.tasks.rewards import Score, length_neutral
from healscope.tasks.task import Task
from healscope.training import processes, rescoring
from healscope.training.begun import cut, step_of
from healscope.training.kept import Keeper
from healscope.training.turns import Turn

PROMPTS_AT_ONCE = 256  # responses generated together


@dataclass(frozen=True)
class Sampler:
    """The settings of sampling; the same for all iterations of a run."""

    task: Task
    score: Score
    max_new_tokens: int
    temperature: float = 1.0
    samples_per_prompt: int = 1
    attempts: int = 1
    feedback: str = "full"
    extra_attempt: bool = False
    length_neutral: bool = False
    one_step: bool = False
    prompt_states: bool = False
    engine: VLLM | None = None
    keeper: Keeper | None = None

    def sample(self, model, tokenizer, problems: pd.DataFrame, stream: Sequence[int]) -> list[Turn]:
        """Sample `samples_per_prompt` episodes of each problem (a row of an RL pool), in a row.

        An episode ends with a correct response or with its last attempt; between attempts the
        model reads the task's feedback. With `extra_attempt`, one more response follows the last
        failure and is rewarded -1 whatever it says (released code). `stream` names the random
        numbers: seed, purpose, iteration, and what else tells them apart. Of several processes,
        each samples its share and returns the turns of all. An `engine` samples with the model's
        weights. Where a row has columns `begun` and `expert` (`begun.instances`), responses go on
        from there; with `one_step` they are cut after their next step. A `keeper` writes down the
        turns of some iterations.

        Raises HealscopeError if engine and model differ by more than `vllm.gap_limit`.
        """
        sample = self._in_shares if processes.size() > 1 else self._episodes
        turns = sample(model, tokenizer, problems, stream)
        if self.length_neutral:
            turns = _length_neutral(turns)
        if self.engine is not None:
            rescoring.check_gap(turns, self.engine)
        if self.keeper is not None:
            self.keeper.add(tokenizer, turns, stream[2], stream[3:], self.task.reasoning)
        return turns

    def _in_shares(self, model, tokenizer, problems: pd.DataFrame, stream) -> list[Turn]:
        """Sample this process's share, and return the turns of all processes."""
        failure, turns, own = "", [], processes.own(problems)
        try:
            turns = self._episodes(model, tokenizer, own, (*stream, processes.rank()))
        except NotFinite as error:  # all processes have to know, or they would wait for this one
            failure = str(error)
        if failures := [text for text in processes.joined([failure]) if text]:
            raise NotFinite(failures[0])
        first = processes.rank() * len(own) * self.samples_per_prompt
        return processes.joined(
            [
                replace(
                    t,
                    episode=first + t.episode,
                    state_2H=None if t.state_2H is None else t.state_2H.cpu(),
                )
                for t in turns
            ]
        )

    def _episodes(self, model, tokenizer, problems: pd.DataFrame, stream) -> list[Turn]:
        if self.engine is not None:
            self.engine.take(rescoring.weights(model), "the policy")
        ends = tokens.end_ids(tokenizer, tokens.model_ends(model))
        rows = [r for r in problems.to_dict("records") for _ in range(self.samples_per_prompt)]
        posed = [self.task.read(row) for row in rows]
        conversations = [[row["prompt"]] for row in rows]
        steps = [step_of(row) for row in rows]
        starts = [tokens.response_ids(tokenizer, s.begun)[:-1] if s else [] for s in steps]
        episodes: list[list[Turn]] = [[] for _ in rows]
        open_episodes = list(range(len(rows)))
        last_attempt = self.attempts + self.extra_attempt
        for attempt in range(1, last_attempt + 1):
            extra = attempt > self.attempts
            answers = self._answers(
                model, tokenizer, [conversations[e] for e in open_episodes], stream, attempt,
                [starts[e] for e in open_episodes],
            )  # fmt: skip
            failed = []
            for e, (prompt_ids, ids, logprobs, gaps, state_2H) in zip(
                open_episodes, answers, strict=True
            ):
                text = tokens.response_text(
                    tokenizer,
                    [*starts[e], *ids],
                    ends,
                    reasoning=self.task.reasoning,
                    prompt=prompt_ids,
                )
                step = steps[e]
                verdict, reward = self.score(posed[e], text, *([step] if step else []))
                last = verdict.outcome == "correct" or attempt == last_attempt or extra
                paid = -1.0 if extra else reward
                turn = Turn(
                    posed[e], e, attempt, prompt_ids, ids, logprobs, text, verdict, paid, last,
                    extra, gaps, state_2H=state_2H,
                )  # fmt: skip
                if step and self.one_step:
                    turn = cut(self.task, tokenizer, turn, step)
                episodes[e].append(turn)
                if not last:
                    feedback = self.task.feedback(posed[e], verdict, text, self.feedback)
                    follow_up = self.task.follow_up(posed[e], feedback.message)
                    conversations[e] = [*conversations[e], text, follow_up]
                    failed.append(e)
            open_episodes = failed
            if not open_episodes:
                break
        return [turn for episode in episodes for turn in episode]

    def retry(
        self, model, tokenizer, turns: list[Turn], messages: list[str], stream: Sequence[int]
    ) -> list[Turn]:
        """Return a second attempt after each of these turns and a message on it, in one process."""
        ends = tokens.end_ids(tokenizer, tokens.model_ends(model))
        asked = [
            [self.task.prompt(t.problem), t.text, self.task.follow_up(t.problem, message)]
            for t, message in zip(turns, messages, strict=True)
        ]
        found = []
        answers = self._answers(model, tokenizer, asked, stream, 2, [[]] * len(asked))
        for turn, (prompt_ids, ids, logprobs, gaps, state_2H) in zip(turns, answers, strict=True):
            text = tokens.response_text(
                tokenizer, ids, ends, reasoning=self.task.reasoning, prompt=prompt_ids
            )
            scored = self.score(turn.problem, text)
            found.append(
                Turn(turn.problem, turn.episode, 2, prompt_ids, ids, logprobs, text, *scored, True,
                     engine_gaps=gaps, state_2H=state_2H)
            )  # fmt: skip
        return found

    def _answers(self, model, tokenizer, conversations, stream, attempt, starts) -> list[tuple]:
        """Return (prompt ids, response ids, log-probabilities, engine gaps, state) of each.

        `starts` are the ids that responses are begun with, for the model a part of the prompt.
        """
        ids = [tokens.conversation_ids(tokenizer, turns) for turns in conversations]
        ids = [asked + start for asked, start in zip(ids, starts, strict=True)]
        # samples of one prompt stand in a row at the first attempt: read the prompt once for all
        n = self.samples_per_prompt if attempt == 1 else 1
        prompts = ids[::n]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        size = max(1, PROMPTS_AT_ONCE // n) if self.engine is None else len(order)
        answers: list = [None] * len(ids)
        model.eval()
        for first in range(0, len(order), size):
            batch = order[first : first + size]
            batch_prompts = [prompts[i] for i in batch]
            sampled = self._generate(
                model,
                batch_prompts,
                eos=tokens.end_ids(tokenizer, tokens.model_ends(model)),
                pad=tokenizer.pad_token_id,
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                samples=n,
                generator=seeded(*stream, attempt, first),
            )
            scored = sampled
            if self.engine is not None:
                repeated = [p for p in batch_prompts for _ in range(n)]
                scored = rescoring.rescore(model, tokenizer, repeated, sampled, self.temperature)
            logprobs_BT, mask_BT = scored.logprobs_BT.cpu(), scored.mask_BT.cpu()
            gaps_BT = (sampled.logprobs_BT.cpu() - logprobs_BT).abs()
            for j, response in enumerate(scored.ids()):
                row = batch[j // n] * n + j % n
                state_2H = None if scored.prompt_B2H is None else scored.prompt_B2H[j]
                logprobs = logprobs_BT[j][mask_BT[j]].tolist()
                gaps = None if self.engine is None else gaps_BT[j][mask_BT[j]].tolist()
                answers[row] = (ids[row], response, logprobs, gaps, state_2H)
        return answers

    def _generate(self, model, prompts, **settings) -> Responses:
        if self.engine is not None:
            return self.engine.generate(prompts, **settings)
        return generate(model, prompts, **settings, prompt_states=self.prompt_states)


def _length_neutral(turns: list[Turn]) -> list[Turn]:
    """Take out of the rewards what length explains among equal verdicts."""
    rewards = length_neutral(
        np.array([t.reward for t in turns]),
        np.array([len(t.response_ids) for t in turns]),
        [t.verdict.outcome for t in turns],
    )
    return [replace(t, reward=float(r)) for t, r in zip(turns, rewards, strict=True)]
