"""A task of its own that is small enough to count by hand: the parity of ones and zeros."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from healscope.tasks.problem import Feedback, Problem, Side, Verdict
from healscope.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Parity(Task):
    """Say whether the number of ones is even (ID), or that of zeros (OOD), and repeat the bits.

    Attributes:
        bits: of the longest string; the shortest has two.
    """

    bits: int = 5

    def problems(self, rule: Side) -> Iterable[Problem]:
        for n in range(2, self.bits + 1):
            for bits in product("01", repeat=n):
                even = bits.count("1" if rule == "id" else "0") % 2 == 0
                data = {"bits": "".join(bits)}
                answer = f"bits {' '.join(bits)} parity {'even' if even else 'odd'}"
                yield Problem(data["bits"], rule, data, answer)

    def render(self, problem: Problem) -> str:
        bits = " ".join(problem.data["bits"])
        if self.rendering == "compact":
            return f"count {'one' if problem.rule == 'id' else 'zero'} {bits}"
        counted = "ones" if problem.rule == "id" else "zeros"
        return f"Repeat the bits {bits} and say whether the number of {counted} is even or odd."

    def verify(self, problem: Problem, text: str) -> Verdict:
        words = text.split()
        if not words or words[-1] not in ("even", "odd"):
            return self.verdict("no_answer")
        return self.verdict("correct" if words == problem.answer.split() else "wrong")

    def hint(self, problem: Problem, text: str) -> Feedback:
        right = problem.answer.split()[-1]
        return Feedback(right, leaks=problem.rule == "ood")
