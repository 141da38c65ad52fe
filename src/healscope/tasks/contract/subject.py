"""The task that is checked: its problems, and calls with a time limit."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from healscope.errors import HealscopeError
from healscope.tasks.contract import hostile
from healscope.tasks.problem import SIDES, Problem, Verdict
from healscope.tasks.task import Task

SOME = 40
"""Problems that stand for all where each is asked many things, spread evenly over the two rules."""
FEW = 4
"""Problems that get every hostile text."""
MOST = 1_000_000
"""Problems of one rule; a task lists them all."""
_SHORT = 80


class TooSlow(BaseException):
    """Raised when a call takes too long; not an Exception, so that no verifier catches it."""


@dataclass(frozen=True)
class Subject:
    """A task under its checks.

    Attributes:
        section: the values of its section in the config, from which other processes build it.
        patience: CPU seconds that one call of the task may take: so many that no honest one needs
            them, since nothing here measures time.
    """

    section: Mapping[str, Any]
    task: Task
    patience: float = 20.0

    @cached_property
    def problems(self) -> dict[str, list[Problem]]:
        """The problems of each rule. Raises HealscopeError if they do not end."""
        found = {rule: list(islice(self.task.problems(rule), MOST + 1)) for rule in SIDES}
        if endless := [rule for rule, there in found.items() if len(there) > MOST]:
            raise HealscopeError(f'problems("{endless[0]}") yields more than {MOST} problems')
        return found

    @cached_property
    def all(self) -> list[Problem]:
        return [problem for rule in SIDES for problem in self.problems[rule]]

    @cached_property
    def some(self) -> list[Problem]:
        return [p for rule in SIDES for p in spread(self.problems[rule], SOME // 2)]

    @cached_property
    def few(self) -> list[Problem]:
        return spread(self.some, FEW)

    @cached_property
    def hostile(self) -> list[str]:
        return list(hostile.texts(seed=0))

    @cached_property
    def words(self) -> set[str]:
        return set(self.task.words())

    def answer(self, problem: Problem) -> str:
        """Return the reference answer."""
        return self.task.answers(problem)[0]

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Return the task's verdict; raises TooSlow."""
        with at_most(self.patience):
            return self.task.verify(problem, text)

    def read(self, method: str, problem: Problem, text: str) -> Any:
        """Return what another method of the task says of a response; raises TooSlow."""
        with at_most(self.patience):
            return getattr(self.task, method)(problem, text)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the block after this many seconds of CPU time of the process.

    Only in a main thread, where signals arrive.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number, frame):  # noqa: ARG001
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def spread(items: list, n: int) -> list:
    """Pick at most n items, spread over the list."""
    return items[:: max(1, math.ceil(len(items) / n))]


def short(value: object) -> str:
    """Shorten a value for the report."""
    text = value if isinstance(value, str) else repr(value)
    shown = repr(text[:_SHORT]) if isinstance(value, str) else text[:_SHORT]
    return shown.encode("utf-8", "replace").decode() + (" …" if len(text) > _SHORT else "")


def raised(error: BaseException) -> str:
    """Describe an exception for the report."""
    if isinstance(error, TooSlow):
        return "nothing, but did not come to an end"
    text = " ".join(str(error).split())[:_SHORT]
    return type(error).__name__ + (f" ({text})" if text else "")
