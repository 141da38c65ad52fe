"""Attempts at problems: first answers, additional samples, and retries after feedback.

One row for each attempt; nothing is averaged or merged here. The first attempt has sample 0 and
attempt 1; samples for pass@k have sample 1, 2, …; attempts 2, 3, … follow on the first one in a
conversation, and their column `feedback` names what the model was told in between.
"""

from collections.abc import Sequence
from typing import Protocol as Interface

import pandas as pd

from healscope.config import Evaluation, Protocol
from healscope.draws import seeded
from healscope.engines import HF, Engine
from healscope.errors import HealscopeError
from healscope.evaluation.walks import walked
from healscope.models import tokens
from healscope.tasks.messages import messages
from healscope.tasks.posing import WALKS
from healscope.tasks.problem import Option, Problem, Score, Verdict
from healscope.tasks.responses import REASONING, Marks
from healscope.tasks.task import Task

CARRIED = [
    "problem_id", "pair_id", "instance_id", "split", "half", "rule", "draw", "retried",
]  # fmt: skip
OPTIONAL = ["episode_id", "group", "twin", "n_faces", "neighbour", "distance"]  # of some tasks
JUDGED = [
    "outcome", "reward", "parsed", "follows_rule", "uses_numbers", "reaches_target", "score",
    "logprob", "tokens",
]  # fmt: skip


class Ask(Interface):
    """A function that answers conversations. `scores` is needed only by tasks with options."""

    def __call__(
        self, conversations: list[list[str]], purpose: str, temperature: float
    ) -> list[str | None]:
        """Return an answer to each, None where one is too long."""

    def scores(self, options: list[Sequence[Option]]) -> list[list[Score] | None]:
        """Return how probable the options of each problem are, as `Task.chosen` takes it."""


def attempts(ask: Ask, task: Task, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return all attempts at a protocol's problems (`Task.posed`), answered by `ask`.

    A conversation is a list of turns: the user's, the model's, the user's, …
    """
    chosen = problems.to_dict("records")
    posed = [task.read(row) for row in chosen]
    if protocol.problems == WALKS:
        walks = zip(posed, chosen, walked(ask, task, posed, protocol), strict=True)
        return pd.DataFrame(
            [
                _row(task, problem, row, text, sample=0, attempt=1, verdict=verdict)
                for problem, row, (text, verdict) in walks
            ]
        )
    texts = _first_answers(ask, task, posed, chosen, protocol.temperature)
    if None in texts:
        raise HealscopeError(
            f"task {task.name}: a prompt is longer than the model's context less "
            "evaluation.max_new_tokens; take a model with a longer context (or, where it is set, a "
            "larger vllm.max_model_len), or, of a text, fewer characters a passage"
        )
    rows = [
        _row(task, problem, row, text, sample=0, attempt=1)
        for problem, row, text in zip(posed, chosen, texts, strict=True)
    ]
    again = [i for i, row in enumerate(chosen) if row["retried"]]
    for sample in range(1, protocol.samples + 1):
        prompts = [[chosen[i]["prompt"]] for i in again]
        texts = ask(prompts, f"sample {sample}", protocol.sample_temperature)
        rows += [
            _row(task, posed[i], chosen[i], text, sample=sample, attempt=1)
            for i, text in zip(again, texts, strict=True)
        ]
    for level in protocol.feedback:
        first = {i: rows[i] for i in again}
        rows += _retries(ask, task, posed, chosen, first, protocol, level)
    return pd.DataFrame(rows)


def require_room(tokenizer, task: Task, problems: pd.DataFrame, settings: Evaluation) -> None:
    """Raise HealscopeError if a reference answer has more tokens than a model may write."""
    lengths = [len(tokens.response_ids(tokenizer, r)) - 1 for r in problems["response"]]
    if max(lengths, default=0) > settings.max_new_tokens:
        longest = problems["response"].iloc[lengths.index(max(lengths))]
        raise HealscopeError(
            f"task {task.name}: evaluation.max_new_tokens is {settings.max_new_tokens}, but a "
            f"correct answer has {max(lengths)} tokens ({longest!r}); raise it"
        )


def _first_answers(
    ask: Ask, task: Task, posed: list[Problem], chosen: list[dict], temperature: float
) -> list[str | None]:
    """Return first answers: written ones, and chosen options, which have no temperature."""
    options = [task.options(problem) for problem in posed]
    written = [i for i, given in enumerate(options) if not given]
    texts = ask([[chosen[i]["prompt"]] for i in written], "first", temperature)
    answers = dict(zip(written, texts, strict=True))
    rest = [i for i, given in enumerate(options) if given]
    scores = ask.scores([options[i] for i in rest]) if rest else []
    for i, known in zip(rest, scores, strict=True):
        answers[i] = None if known is None else task.chosen(posed[i], known)
    return [answers[i] for i in range(len(posed))]


def _retries(
    ask: Ask,
    task: Task,
    posed: list[Problem],
    chosen: list[dict],
    first: dict[int, dict],
    protocol: Protocol,
    level: str,
) -> list[dict]:
    """Retry problems whose first attempt failed, up to attempt n; a success ends a conversation."""
    found: list[dict] = []
    last = first
    turns = {i: [chosen[i]["prompt"]] for i in first}
    for attempt in range(2, protocol.attempts + 1):
        failed = [i for i, row in last.items() if row["outcome"] != "correct"]
        if not failed:
            break
        answers = [(posed[i], last[i]["text"]) for i in failed]
        judged = [(problem, task.verify(problem, text), text) for problem, text in answers]
        said = dict(zip(failed, messages(task, judged, level), strict=True))
        for i in failed:
            again = task.follow_up(posed[i], said[i].message)
            turns[i] = [*turns[i], last[i]["text"], again]
        texts = ask([turns[i] for i in failed], f"{level} {attempt}", protocol.temperature)
        last = {
            i: _row(
                task, posed[i], chosen[i], text,
                sample=0, attempt=attempt, feedback=level, told_rule=said[i].leaks,
            )
            for i, text in zip(failed, texts, strict=True)
            if text is not None
        }  # fmt: skip
        found += last.values()
    return found


def _row(
    task: Task,
    problem: Problem,
    row: dict,
    text: str,
    *,
    sample: int,
    attempt: int,
    feedback: str = "",
    told_rule: bool = False,
    verdict: Verdict | None = None,
) -> dict:
    verdict = verdict or task.verify(problem, text)
    if verdict.outcome not in task.outcomes:
        raise HealscopeError(
            f"task {task.name}: verify says '{verdict.outcome}' of {row['problem_id']}, which is "
            f"none of its outcomes ({', '.join(task.outcomes)})"
        )
    return {
        **{c: row[c] for c in CARRIED},
        **{c: row.get(c) for c in OPTIONAL},
        "sample": sample,
        "attempt": attempt,
        "feedback": feedback,
        "told_rule": told_rule,
        "text": text,
        **{c: getattr(verdict, c) for c in JUDGED},
        "correct": verdict.outcome == "correct",
    }


class Asker:
    """Answers conversations with an engine, in batches of similar length.

    `stream` names the random numbers, used only where something is sampled; `templated`: a chat
    template is used where there is one; `reasoning`: marks that answers keep, as `Task.reasoning`.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer,
        settings: Evaluation,
        protocol: Protocol,
        stream: str,
        templated: bool = True,
        reasoning: Sequence[Marks] = REASONING,
    ):
        self.reasoning = reasoning
        self.engine, self.tokenizer, self.templated = engine, tokenizer, templated
        self.settings, self.protocol, self.stream = settings, protocol, stream
        self.ends = tokens.end_ids(tokenizer, engine.ends)

    def __call__(
        self,
        conversations: list[list[str]],
        purpose: str,
        temperature: float,
        begun: Sequence[str] | None = None,
    ) -> list[str | None]:
        """One answer to each; None where a conversation has outgrown the model's context.

        `begun` are texts that the answers begin with, which the model goes on from.
        """
        ids = [
            tokens.conversation_ids(self.tokenizer, turns, self.templated)
            for turns in conversations
        ]
        starts = [tokens.response_ids(self.tokenizer, text)[:-1] for text in begun or ()]
        if begun is not None:
            ids = [asked + start for asked, start in zip(ids, starts, strict=True)]
        room = self.engine.context - self.settings.max_new_tokens
        fits = sorted(
            (i for i in range(len(ids)) if len(ids[i]) <= room), key=lambda i: len(ids[i])
        )
        answers: list[str | None] = [None] * len(ids)
        size = self.settings.batch_size if self.engine.batches else max(1, len(fits))
        for start in range(0, len(fits), size):
            batch = fits[start : start + size]
            sampled = temperature > 0
            responses = self.engine.generate(
                [ids[i] for i in batch],
                eos=self.ends,
                pad=self.tokenizer.pad_token_id,
                max_new_tokens=self.settings.max_new_tokens,
                temperature=temperature,
                top_p=self.protocol.top_p if sampled else 1.0,
                generator=seeded(self.protocol.seed, self.stream, purpose, start)
                if sampled
                else None,
            )
            for i, found in zip(batch, responses.ids(), strict=True):
                whole = [*starts[i], *found] if starts else found
                answers[i] = tokens.response_text(
                    self.tokenizer, whole, self.ends, reasoning=self.reasoning, prompt=ids[i]
                )
        return answers

    def scores(self, options: list[Sequence[Option]]) -> list[list[Score] | None]:
        """Of every problem's options; None where one of them exceeds the model's context."""
        pairs = [
            [tokens.option_ids(self.tokenizer, *option, self.templated) for option in given]
            for given in options
        ]
        room = self.engine.context - 1
        fits = [all(len(a) + len(b) <= room for a, b in given) for given in pairs]
        found = iter(
            self.engine.scores(
                [pair for given, fit in zip(pairs, fits, strict=True) if fit for pair in given],
                pad=self.tokenizer.pad_token_id,
                batch_size=self.settings.batch_size,
            )
        )
        return [
            [Score(*next(found), len(text)) for _, text in given] if fit else None
            for given, fit in zip(pairs, fits, strict=True)
        ]


def greedy_answers(
    model,
    tokenizer,
    prompts: list[str],
    settings: Evaluation,
    reasoning: Sequence[Marks] = REASONING,
) -> list[str | None]:
    """Return the greedy first answer to each prompt; None if it exceeds the model's context."""
    ask = Asker(HF(model), tokenizer, settings, Protocol(), "", reasoning=reasoning)
    return ask([[p] for p in prompts], "", 0.0)


def format_error_rate(
    model, tokenizer, task: Task, problems: pd.DataFrame, max_new_tokens: int
) -> float:
    """Return the share of greedy answers that cannot be parsed (arXiv 2509.12235, Fig 2b)."""
    settings = Evaluation(max_new_tokens=max_new_tokens)
    prompts = list(problems["prompt"])
    texts = greedy_answers(model, tokenizer, prompts, settings, task.reasoning)
    posed = (task.read(row) for row in problems.to_dict("records"))
    parsed = [task.verify(p, text or "").parsed for p, text in zip(posed, texts, strict=True)]
    return 1 - sum(parsed) / len(parsed)
