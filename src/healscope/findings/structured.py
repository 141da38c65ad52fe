"""Reads answers as what they consist of: form, solution, choices (`healscope.tasks`)."""

from collections.abc import Callable, Iterable
from functools import cache

import pandas as pd

from healscope import artifacts, provenance
from healscope.findings.rows import steps
from healscope.tasks import Task, build
from healscope.tasks.problem import Problem


class Reader:
    """Reads the answers to one task: `problem` finds a problem by its id.

    `tables` are files of problems, `section` is the task's section of the config.
    """

    def __init__(self, name: str, section: dict, tables: Iterable[str]):
        self.task: Task = build(name, section)
        frames = (provenance.read_table(file) for file in tables)
        self._rows = {row["problem_id"]: row for f in frames for row in f.to_dict("records")}
        self._problems: dict[str, Problem] = {}

    def problem(self, problem_id: str) -> Problem:
        """Return a problem by its id; raises KeyError on one that no table has."""
        if problem_id not in self._problems:
            self._problems[problem_id] = self.task.read(self._rows[problem_id])
        return self._problems[problem_id]

    def instance(self, problem_id: str) -> str:
        """Return the instance of a problem."""
        return str(self._rows[problem_id]["instance_id"])

    def of_each(self, rows: pd.DataFrame, what: Callable[[Task, Problem, str], object]) -> list:
        """Return `what` of the task, the problem and the text of each row; each pair is read
        once."""

        @cache
        def known(problem_id: str, text: str) -> object:
            return what(self.task, self.problem(problem_id), text)

        return [known(p, t) for p, t in zip(rows["problem_id"], rows["text"], strict=True)]


def readers(tasks: dict[str, dict], tables: Iterable[str], pattern: str) -> dict[str, Reader]:
    """Return task -> reader of its answers, from files of `pattern`."""
    by_task: dict[str, list[str]] = {}
    for file in tables:
        by_task.setdefault(artifacts.parse(pattern, file)["task"], []).append(file)
    return {name: Reader(name, tasks[name], files) for name, files in by_task.items()}


def samples(evaluations: Iterable[str]) -> pd.DataFrame:
    """Read the sampled answers of evaluation files to held-out problems, with their text and task;
    greedy first answers are none."""
    rows = steps(evaluations, ["text"])
    return rows[(rows["sample"] > 0) & (rows["split"] == "held_out")].reset_index(drop=True)
