"""Sort different numbers: upwards in training, downwards out of distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar

from pydantic import Field

from healscope.tasks.problem import Feedback, Problem, Side, Verdict
from healscope.tasks.responses import MAX_RESPONSE, json_object
from healscope.tasks.task import Task

_ORDERS = 100  # stream of random numbers


@dataclass(frozen=True, kw_only=True)
class Upwards(Task):
    """Different numbers in a drawn order, to be sorted upwards (ID) or downwards (OOD)."""

    family: ClassVar[str] = "upwards"

    largest: Annotated[int, Field(ge=2, le=40, description="numbers go from 1 to this one")] = 9
    length: Annotated[int, Field(ge=2, le=6, description="numbers of a problem")] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length > self.largest:
            raise ValueError(
                f"task {self.name!r}: there are no {self.length} different numbers from 1 to "
                f"{self.largest}; lower length, or raise largest"
            )

    def problems(self, rule: Side) -> Iterator[Problem]:
        rng = self.stream(_ORDERS)  # the same for both rules: each problem is a pair
        for chosen in combinations(range(1, self.largest + 1), self.length):
            numbers = rng.permutation(chosen).tolist()
            right = sorted(numbers, reverse=rule == "ood")
            compact = self.rendering == "compact"
            answer = " ".join(map(str, right)) if compact else json.dumps({"sorted": right})
            data = {"numbers": numbers, "sorted": right}
            yield Problem("-".join(map(str, chosen)), rule, data, answer)

    def render(self, problem: Problem) -> str:
        way = "upwards" if problem.rule == "id" else "downwards"
        numbers = " ".join(map(str, problem.data["numbers"]))
        if self.rendering == "compact":
            return f"sort {way} {numbers}"
        return (
            f"Sort these numbers {way}: {numbers}\n"
            'Answer with JSON and nothing else: {"sorted": [1, 2, ...]}'
        )

    def verify(self, problem: Problem, text: str) -> Verdict:
        said = self._said(text)
        if said is None:
            return self.verdict("no_answer")
        follows = said == sorted(said, reverse=problem.rule == "ood")
        right = said == problem.data["sorted"]
        return self.verdict("correct" if right else "wrong", follows_rule=follows)

    def hint(self, problem: Problem, text: str) -> Feedback:
        if self.rendering == "compact":
            return Feedback("sort")
        same = sorted(self._said(text) or []) == sorted(problem.data["numbers"])
        return Feedback("Their order is wrong." if same else "These are not the numbers given.")

    def _said(self, text: str) -> Sequence[int] | None:
        """The numbers of a response; None where it is no answer."""
        if self.rendering == "json":
            said = (json_object(text, "sorted") or {}).get("sorted")
            fine = isinstance(said, list) and said and all(type(n) is int for n in said)
            return said if fine else None
        words = text.split() if len(text) <= MAX_RESPONSE else []
        known = {str(n): n for n in range(1, self.largest + 1)}
        return [known[w] for w in words] if words and set(words) <= set(known) else None
