"""One benchmark of lm-evaluation-harness: documents, prompts, filters, and the metric.

The harness provides these and never runs a model.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

WRITTEN, CHOSEN, CERTAIN = "generate_until", "multiple_choice", "loglikelihood"
"""Kinds of questions, as the harness calls them: the answer is written, chosen among several, or
counts where each of its tokens is the likeliest."""

SCORES = {"acc": "sum", "acc_norm": "characters", "acc_bytes": "bytes", "acc_mutual_info": "alone"}
"""Metric of a multiple choice -> what it compares: summed log-probabilities, these by length, or
less those that the choices have without the question."""

COUNTED = {WRITTEN: {"exact_match"}, CHOSEN: set(SCORES), CERTAIN: {"acc"}}
"""Kind of questions -> metrics that are surely 0 or 1."""
INVALID = "[invalid]"
"""What a filter of the harness makes of an answer that it cannot read."""


@dataclass(frozen=True)
class Benchmark:
    """One task of the harness, by one metric and one filter.

    Attributes:
        task: the harness's own object.
        kind: WRITTEN, CHOSEN or CERTAIN.
        seed: draws the examples of prompts.
        unread: what its filters make of an answer that they cannot read.
    """

    name: str
    task: Any
    kind: str
    metric: str
    filter: str
    seed: int
    unread: frozenset[str]

    @cached_property
    def documents(self) -> list[dict]:
        return list(self.task.task_docs)

    @property
    def by(self) -> str:
        """What decides between choices; "certain" if there is one, which is taken or not."""
        return SCORES.get(self.metric, "sum") if self.kind == CHOSEN else "certain"

    def questions(self, limit: int | None) -> Iterator[dict[str, Any]]:
        """Yield the question on each document, the first `limit` of them, as plain JSON values.

        `prompt`, and where nothing is written `choices` and `requests`: the prompt, delimiter and
        continuation of each choice, and with `by` "alone" once more of each without the prompt.
        """
        self.task.set_fewshot_seed(self.seed)  # examples are drawn for one prompt after the other
        for number, document in enumerate(itertools.islice(self.documents, limit)):
            about = {"task": self.name, "document": number, "hash": hash_of(document)}
            prompt = self.task.fewshot_context(
                document,
                num_fewshot=self.task.config.num_fewshot or 0,
                gen_prefix=self.task.doc_to_prefix(document),
            )
            if self.kind == WRITTEN:
                until = self.task.config.generation_kwargs.get("until") or []
                about["until"] = [until] if isinstance(until, str) else list(until)
                yield {**about, "prompt": prompt}
                continue
            asked = self.task.construct_requests(document, prompt, metadata=(self.name, number, 1))
            pairs = [one.args[:2] for one in (asked if isinstance(asked, list) else [asked])]
            before = self.task.config.target_delimiter if self.kind == CHOSEN else ""
            requests = [[given, before, after.removeprefix(before)] for given, after in pairs]
            choices = [after for _, _, after in requests]
            if self.task.multiple_input:  # they differ in what is asked, not in what follows
                choices = self.task.doc_to_choice(document)
            elif self.by == "alone":
                choices = choices[: len(choices) // 2]
            yield {
                **about,
                "prompt": "\n".join(dict.fromkeys(given for given, _ in pairs if given)),
                "requests": requests,
                "choices": list(choices),
                "by": self.by,
            }

    def reference(self, number: int, question: Mapping[str, Any]) -> str:
        """Return a right answer; "" for a multiple choice that has none."""
        document = self.documents[number]
        if self.kind == CHOSEN:
            right = (c for c in question["choices"] if self.judged(number, question, c)[0] == 1)
            return next(right, "")
        target = self.task.doc_to_target(document)
        if self.task.config.doc_to_choice is not None and isinstance(target, int):
            target = self.task.doc_to_choice(document)[target]
        if isinstance(target, list):
            target = target[0] if target else ""
        return str(target)

    def judged(self, number: int, question: Mapping[str, Any], text: str) -> tuple[Any, Any]:
        """Return the metric's value, and what the filter made of the answer.

        Where equal choices stand there more than once, any right one counts. Raises
        whatever the benchmark's own code raises.
        """
        if self.kind == WRITTEN:
            return self._counted(number, [cut(text, question["until"])])
        same = [i for i, choice in enumerate(question["choices"]) if choice == text]
        if not same and self.kind == CHOSEN:
            return 0, INVALID
        requests = range(len(question["requests"]))
        judged = [
            self._counted(number, [(0.0, True) if i == taken else (-1.0, False) for i in requests])
            for taken in same or [None]
        ]
        return next((found for found in judged if found[0] == 1), judged[0])

    def _counted(self, number: int, answers: Sequence[Any]) -> tuple[Any, Any]:
        from lm_eval.api.instance import Instance

        document = self.documents[number]
        asked = [
            Instance(self.kind, document, (), i, (self.name, number, 1), resps=[answer])
            for i, answer in enumerate(answers)
        ]
        (ensemble,) = (f for f in self.task._filters if f.name == self.filter)
        ensemble.apply(asked)
        filtered = [one.filtered_resps[self.filter] for one in asked]
        return self.task.process_results(document, filtered)[self.metric], filtered[0]

    def refusal(self) -> str | None:
        """Say why the metric does not tell right from wrong, by trials; None if it does."""
        for number, question in enumerate(list(self.questions(5))):
            if self.kind == WRITTEN:
                right = self.reference(number, question)
                texts = ["", right, f"{right} or so", right[: len(right) // 2], "no such answer"]
                values = [[self.judged(number, question, text)[0]] for text in texts]
            else:
                values = self._by_probabilities(number, len(question["choices"]))
            if said := {repr(v) for same in values for v in same if v not in (0, 1)}:
                return f"gives {min(said)}, not 0 or 1"
            if any(len(set(same)) > 1 for same in values):
                return "hangs on the probabilities themselves, not on which choice is the likeliest"
        return None

    def _by_probabilities(self, number: int, choices: int) -> list[list[Any]]:
        """Compute the metric with random probabilities, grouped by which choice is the likeliest;
        in each group the values should be the same."""
        rng = random.Random(0)
        found = []
        for best in range(choices) if self.kind == CHOSEN else (0, None):
            found.append([])
            for _ in range(8):
                top = -math.exp(rng.uniform(-4, 4))
                below = [(top - math.exp(rng.uniform(-4, 4)), False) for _ in range(choices)]
                answers = [(top, True) if i == best else x for i, x in enumerate(below)]
                found[-1].append(self._counted(number, answers)[0])
        return found


def cut(text: str, until: Sequence[str]) -> str:
    """Cut a text at the first of the strings that end an answer."""
    for end in until:
        text = text.split(end)[0] if end else text
    return text


def hash_of(document: Mapping[str, Any]) -> str:
    """Hash a document, to recognise it later."""
    content = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
