"""Benchmarks of lm-evaluation-harness as a task: some are the ID rule, others the OOD rule.

Nothing is trained on them. The harness says what is asked and what is right; the answers come from
this library's engines, under its protocols.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from healscope.errors import HealscopeError
from healscope.tasks import lm_eval_harness as harness
from healscope.tasks.protocol import MAX_RESPONSE, Option, Problem, Side, Task, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from healscope.config import Protocol
    from healscope.config.tasks import LmEvalTask

NOT_CERTAIN = "(not the likeliest)"
"""The answer where a continuation would have to be the likeliest, and is not."""


@dataclass(frozen=True, kw_only=True)
class LmEval(Task):
    """A task of tasks.

    Attributes:
        id: names of tasks, groups or tags of the harness whose documents are the ID problems.
        ood: those of the OOD problems; they are not paired with ID problems.
        include: folder with the YAML of local tasks.
        limit: documents of each task at most, the first ones.
        fewshot: examples in each prompt; None: as each task says.
        metric: what counts as right, in all tasks or by task; None: each task's first metric that
            is 0 or 1.
        filter: which of a task's filters reads the answer, alike; None: the first.
        chat_template: whether prompts are put by the tokenizer's chat template, if it has one.
        seed: draws the examples of prompts; the harness's own default is 1234.
    """

    id: Sequence[str]
    ood: Sequence[str]
    include: str | None = None
    limit: int | None = None
    fewshot: int | None = None
    metric: harness.ByTask = None
    filter: harness.ByTask = None
    chat_template: bool = True
    held_out: float = 1.0
    seed: int = 1234

    trainable: ClassVar[bool] = False

    @classmethod
    def of(cls, name: str, settings: LmEvalTask) -> LmEval:
        """The task of a section of the config."""
        return cls(name=name, **settings.model_dump(exclude={"family", "code"}))

    def problems(self, rule: Side) -> Iterable[Problem]:
        for name, benchmark in self._benchmarks[rule].items():
            for number, question in enumerate(benchmark.questions(self.limit)):
                self._refuse_empty(name, number, question)
                answer = benchmark.reference(number, question)
                yield Problem(f"{name}:{number}", rule, question, answer)

    def render(self, problem: Problem) -> str:
        return problem.data["prompt"]

    def verify(self, problem: Problem, text: str) -> Verdict:
        benchmark = self._benchmark(problem)
        try:
            value, read = benchmark.judged(
                problem.data["document"], problem.data, text[:MAX_RESPONSE]
            )
        except ImportError as error:
            raise HealscopeError(
                f"task {self.name}: {benchmark.name} needs a package ({error}); install it"
            ) from None
        except Exception:  # the harness's own run would end here: an answer that it cannot read
            return self.verdict("no_answer")
        if value not in (0, 1):
            raise HealscopeError(
                f"task {self.name}: {benchmark.metric} of {benchmark.name} is {value!r}, not 0 or "
                "1: name another metric, or take another task"
            )
        if value == 1:
            return self.verdict("correct")
        unread = isinstance(read, str) and read in benchmark.unread
        return self.verdict("no_answer" if unread else "wrong")

    def options(self, problem: Problem) -> Sequence[Option]:
        return [Option(*request) for request in problem.data.get("requests", ())]

    def chosen(self, problem: Problem, scores: Sequence[tuple[float, bool]]) -> str:
        by, choices = problem.data["by"], problem.data["choices"]
        if by == "certain":
            return choices[0] if scores[0][1] else NOT_CERTAIN
        sums = [total for total, _ in scores]
        if by == "alone":
            given, alone = sums[: len(choices)], sums[len(choices) :]
            sums = [a - b for a, b in zip(given, alone, strict=True)]
        elif by != "sum":
            sizes = [len(c if by == "characters" else c.encode()) for c in choices]
            sums = [total / size for total, size in zip(sums, sizes, strict=True)]
        return choices[sums.index(max(sums))]

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """What is chosen is chosen once: no samples, no retries."""
        table = super().posed(problems, protocol)
        written = table["data"].map(lambda data: "requests" not in json.loads(data))
        return table.assign(retried=table["retried"] & written.astype(bool))

    def _refuse_empty(self, name: str, number: int, question: Mapping[str, Any]) -> None:
        """Raises HealscopeError where a choice is empty: nothing of it has a probability, and by
        its length nothing can be divided."""
        texts = [*question.get("choices", ()), *(r[2] for r in question.get("requests", ()))]
        if "" in texts:
            raise HealscopeError(
                f"task {self.name}: document {number} of {name} has an empty choice, which has no "
                "probability; correct its data, or leave it out with limit or another task"
            )

    @cached_property
    def _benchmarks(self) -> dict[str, dict[str, harness.Benchmark]]:
        """Those of each rule, by name."""
        sides = {"id": self.id, "ood": self.ood}
        try:
            return harness.load(
                sides, self.include, self.fewshot, self.metric, self.filter, self.seed
            )
        except HealscopeError as error:
            raise HealscopeError(f"task {self.name}: {error}") from None

    def _benchmark(self, problem: Problem) -> harness.Benchmark:
        """That of a problem; raises HealscopeError where its document is another one now."""
        data = problem.data
        found = self._benchmarks[problem.rule][data["task"]]
        there = found.documents[data["document"] : data["document"] + 1]
        if [harness.hash_of(document) for document in there] != [data["hash"]]:
            raise HealscopeError(
                f"task {self.name}: document {data['document']} of {found.name} is not what it was "
                "when the problems were listed: its data have changed, or are made by chance. "
                f"Delete results/tasks/{self.name} and rerun, or take another task"
            )
        return found
