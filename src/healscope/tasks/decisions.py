"""Which tokens of a response belong to a plan, and which to execution."""

from __future__ import annotations

from healscope.tasks.problem import Decision, Problem
from healscope.tasks.task import Task


def token_kinds(decided: tuple[Decision, ...], ends: list[int], said: str) -> list[str]:
    """Return the kind of the decision that each token belongs to; empty where it is in none.

    A token belongs to the decision that holds its first character which is no white space; the end
    of a response, to the last one. `ends` are the characters up to the end of each token.
    """
    kinds = []
    start, at = 0, 0
    for end in ends:
        place = next((i for i in range(start, end) if not said[i].isspace()), len(said))
        while at < len(decided) and decided[at].end <= place and decided[at].end < len(said):
            at += 1
        inside = at < len(decided) and decided[at].start <= place
        kinds.append(decided[at].kind if inside else "")
        start = end
    return kinds


def decisions(task: Task, problem: Problem, said: str) -> tuple[Decision, ...]:
    """Return the decisions of a response, with their places in all of it, reasoning included."""
    shift = len(said) - len(task.answer_in(said))
    found = task.decisions(problem, said)
    return tuple(d._replace(start=d.start + shift, end=d.end + shift) for d in found)
