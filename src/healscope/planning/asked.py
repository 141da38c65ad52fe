"""Counts the problems and answers of a track."""

from __future__ import annotations

from dataclasses import dataclass

from healscope.config import Model, Protocol, Study
from healscope.planning import constants as c
from healscope.tasks import Task
from healscope.tasks.cards.contexts import KINDS


@dataclass(frozen=True)
class Asked:
    """What a track is asked. `tasks` and `problems` hold, by name, at least the tasks that it is
    evaluated on, and their numbers of problems under `exhaustive`: all, and those that may be
    retried."""

    study: Study
    track: str
    tasks: dict[str, Task]
    problems: dict[str, tuple[int, int]]

    @property
    def model(self) -> Model:
        return self.study.model_of(self.track)

    @property
    def task(self) -> Task:
        """The task that the track is trained on."""
        return self.tasks[self.study.task_of(self.track)]

    @property
    def retried(self) -> int:
        """Number of problems that may be retried, of all tasks."""
        return sum(self.problems[name][1] for name in self.study.evaluated(self.track))

    def answers(self, protocol: str) -> float:
        """Return the number of answers of one checkpoint to all tasks under a protocol, at most."""
        asked = self.study.evaluation.protocols[protocol]
        return sum(
            answers_of(
                asked,
                self.problems[name],
                self.tasks[name].parts,
                self.tasks[name].episodes,
                self.tasks[name].neighbour_lists,
            )
            for name in self.study.evaluated(self.track)
            if self.study.poses(name, protocol)
        )


def answers_of(
    protocol: Protocol,
    problems: tuple[int, int],
    parts: int,
    episodes: bool = False,
    neighbour_lists: int = 0,
) -> float:
    """Return the number of answers of one checkpoint to a task, at most.

    `parts`: problems of an instance; `episodes`: they are its steps, which are asked, and asked
    again, all together; `neighbour_lists`: kinds and distances of neighbours.
    """
    together = parts if episodes else 1
    again = min(protocol.retried_orders * together, parts) / parts
    every, retried = problems[0], problems[1] * again
    if protocol.problems == "drawn":
        every = retried = 2 * protocol.hands * together
    if protocol.problems == "neighbours":
        every, retried = neighbour_lists * protocol.per_kind, 0
    if protocol.problems == "without_one":
        every, retried = 2 * protocol.per_kind, 0
    if protocol.problems == "walks":  # from two starts under two rules, an answer a step
        every, retried = 4 * protocol.per_kind * parts, 0
    if protocol.problems == "contexts":
        every, retried = len(KINDS) * protocol.per_kind, 0
    more = len(protocol.feedback) * (protocol.attempts - 1) * c.WRONG.value
    return every + retried * (protocol.samples + more)
