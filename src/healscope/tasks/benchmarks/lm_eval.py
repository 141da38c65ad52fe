"""Benchmarks of lm-evaluation-harness as a task: some are the ID rule, others the OOD rule.

Nothing is trained on them. The harness provides questions and judges answers; the answers come from
this library's engines, under its protocols.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from healscope.errors import HealscopeError
from healscope.sections import Distinct, Natural, Positive
from healscope.tasks.benchmarks import files, loading
from healscope.tasks.benchmarks.harness import Benchmark, hash_of
from healscope.tasks.posing import Protocol
from healscope.tasks.problem import Option, Problem, Rendering, Score, Side, Verdict
from healscope.tasks.responses import MAX_RESPONSE
from healscope.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

NOT_CERTAIN = "(not the likeliest)"
"""The answer where a continuation would have to be the likeliest, and is not."""


@dataclass(frozen=True, kw_only=True)
class LmEval(Task):
    """Benchmarks of lm-evaluation-harness (docs/benchmarks-as-tasks.md); nothing is trained.

    OOD problems are not paired with ID problems.
    """

    family: ClassVar[str] = "lm_eval"

    id: Annotated[
        Distinct[str], Field(description="tasks, groups or tags of the harness: the ID problems")
    ]
    ood: Annotated[
        Distinct[str] | None, Field(description="the same of the OOD problems; null: for a keeper")
    ] = None
    include: Annotated[
        str | None, Field(description="folder with the YAML files of local tasks")
    ] = None
    limit: Annotated[
        Positive | None,
        Field(description="documents of each task at most, the first ones; null: all"),
    ] = None
    fewshot: Annotated[
        Natural | None, Field(description="examples in each prompt; null: as each task says")
    ] = None
    metric: Annotated[
        str | dict[str, str] | None,
        Field(
            description="what counts as right, in all tasks or by task; null: each task's first "
            "metric that is 0 or 1"
        ),
    ] = None
    filter: Annotated[
        str | dict[str, str] | None,
        Field(description="which of a task's filters reads an answer, alike; null: the first"),
    ] = None
    chat_template: Annotated[
        bool,
        Field(description="prompts are put by the tokenizer's chat template, where it has one"),
    ] = True
    seed: Annotated[
        Natural, Field(description="draws examples, as the harness's own default does")
    ] = 1234
    code: Annotated[
        str | None,
        Field(description="version and hash of what is asked; filled in, or given to insist on it"),
    ] = None

    rendering: ClassVar[Rendering] = "json"
    held_out: ClassVar[float] = 1.0
    rewards: ClassVar[Mapping[str, float]] = MappingProxyType({})
    mixture: ClassVar[Mapping[str, float]] = MappingProxyType({})
    trainable: ClassVar[bool] = False
    grouped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if both := set(self.id) & set(self.ood or ()):
            raise ValueError(
                f"task {self.name!r}: ood: '{min(both)}' is in id too; the rules need tasks of "
                "their own"
            )

    @property
    def one_sided(self) -> bool:
        """Whether there are no OOD problems."""
        return not self.ood

    @classmethod
    def completed(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Fill in `code`, if the section is valid enough to find its files."""
        sides = [section.get("id"), section.get("ood") or []]
        if not isinstance(section.get("include"), str | None) or not all(
            isinstance(side, list | tuple) and all(isinstance(name, str) for name in side)
            for side in sides
        ):
            return section
        return files.completed(section)

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

    def group_of(self, problem: Problem) -> str:
        return problem.data["task"]

    def options(self, problem: Problem) -> Sequence[Option]:
        return [Option(*request) for request in problem.data.get("requests", ())]

    def chosen(self, problem: Problem, scores: Sequence[Score]) -> str:
        by, choices = problem.data["by"], problem.data["choices"]
        if by == "certain":
            return choices[0] if scores[0][1] else NOT_CERTAIN
        sums = [score[0] for score in scores]
        if by == "alone":
            given, alone = sums[: len(choices)], sums[len(choices) :]
            sums = [a - b for a, b in zip(given, alone, strict=True)]
        elif by != "sum":
            sizes = [len(c if by == "characters" else c.encode()) for c in choices]
            sums = [total / size for total, size in zip(sums, sizes, strict=True)]
        return choices[sums.index(max(sums))]

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """Pose problems; those with choices are asked once, without samples or retries."""
        table = super().posed(problems, protocol)
        written = table["data"].map(lambda data: "requests" not in json.loads(data))
        return table.assign(retried=table["retried"] & written.astype(bool))

    def _refuse_empty(self, name: str, number: int, question: Mapping[str, Any]) -> None:
        """Raise HealscopeError if a choice is empty: it has no probability and no length."""
        texts = [*question.get("choices", ()), *(r[2] for r in question.get("requests", ()))]
        if "" in texts:
            raise HealscopeError(
                f"task {self.name}: document {number} of {name} has an empty choice, which has no "
                "probability; correct its data, or leave it out with limit or another task"
            )

    @cached_property
    def _benchmarks(self) -> dict[str, dict[str, Benchmark]]:
        """The benchmarks of each rule, by name."""
        sides = {"id": self.id, "ood": self.ood or ()}
        try:
            return loading.load(
                sides, self.include, self.fewshot, self.metric, self.filter, self.seed
            )
        except HealscopeError as error:
            raise HealscopeError(f"task {self.name}: {error}") from None

    def _benchmark(self, problem: Problem) -> Benchmark:
        """Return the benchmark of a problem; raises HealscopeError if its document has changed."""
        data = problem.data
        found = self._benchmarks[problem.rule][data["task"]]
        there = found.documents[data["document"] : data["document"] + 1]
        if [hash_of(document) for document in there] != [data["hash"]]:
            raise HealscopeError(
                f"task {self.name}: document {data['document']} of {found.name} is not what it was "
                "when the problems were listed: its data have changed, or are random. "
                f"Delete results/tasks/{self.name} and rerun, or take another task"
            )
        return found
