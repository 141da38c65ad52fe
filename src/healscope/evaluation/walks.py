"""Walks that a model makes itself: each answer moves the walker, and he is asked again.

A walk is one row, right if it ends at its destination. Every round asks all that still walk.
"""

from collections.abc import Callable

from healscope.tasks.posing import Protocol
from healscope.tasks.problem import Problem, Verdict
from healscope.tasks.task import Task


def walked(
    ask: Callable, task: Task, problems: list[Problem], protocol: Protocol
) -> list[tuple[str, Verdict]]:
    """Return for each walk its answers, a line each, and its verdict.

    A walk that does not succeed has the outcome of a wrong action, or where its last answer cannot
    be read, or the record has outgrown the model's context, "no_answer".
    """
    here, said = list(problems), [[] for _ in problems]
    found = [task.verdict("no_answer")] * len(problems)
    on, number = list(range(len(problems))), 0
    while on:
        number += 1
        texts = ask([[task.prompt(here[i])] for i in on], f"step {number}", protocol.temperature)
        further = []
        for i, text in zip(on, texts, strict=True):
            if text is None:
                continue
            said[i].append(text)
            last = task.verify(here[i], text)
            here[i], done, success = task.step(here[i], text)
            if not done:
                further.append(i)
            elif last.parsed:
                found[i] = task.verdict("correct" if success else task.wrong)
        on = further
    return [("\n".join(lines), verdict) for lines, verdict in zip(said, found, strict=True)]
