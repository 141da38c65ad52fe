"""Reads answers as what they consist of: form, solution, choices (`healscope.tasks`)."""

from collections.abc import Callable, Iterable
from functools import cache

import pandas as pd

from healscope import artifacts, provenance
from healscope.config import DEEP, EXHAUSTIVE
from healscope.files import Files
from healscope.findings.finding import Inputs
from healscope.findings.rows import steps
from healscope.tasks import Task, build
from healscope.tasks.posing import Protocol
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


def _sampled(files: Files) -> str:
    """Return the name of the protocol whose samples are looked at."""
    return DEEP if DEEP in files.study.evaluation.protocols else EXHAUSTIVE


def sampled(files: Files) -> Protocol:
    """Return the protocol whose samples are looked at: `deep`, or where there is none the main
    one."""
    return files.study.evaluation.protocols[_sampled(files)]


def sampled_answers(files: Files, checkpoints: Iterable[str]) -> Inputs:
    """Return the inputs of `samples` and of `as_read`: answers of checkpoints, and problems."""
    protocol, names = _sampled(files), list(dict.fromkeys(checkpoints))
    return {
        "evaluations": files.each(artifacts.EVALUATION, protocol=protocol, checkpoint=names),
        "posed": files.each(artifacts.POSED, protocol=protocol),
    }


def as_read(
    rows: pd.DataFrame,
    posed: Iterable[str],
    tasks: dict[str, dict],
    **columns: Callable[[Task, Problem, str], object],
) -> pd.DataFrame:
    """Add columns that are read from each answer; rows have its task, problem_id and text.

    `posed` are files of the problems that protocols pose.
    """
    known = readers(tasks, posed, artifacts.POSED)
    parts = [rows.iloc[:0].assign(**dict.fromkeys(columns))]
    for task, own in rows.groupby("task", sort=False):
        found = {name: known[task].of_each(own, what) for name, what in columns.items()}
        parts.append(own.assign(**found))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def samples(evaluations: Iterable[str]) -> pd.DataFrame:
    """Read the sampled answers of evaluation files to held-out problems, with their text and task;
    greedy first answers are none."""
    rows = steps(evaluations, ["text"])
    return rows[(rows["sample"] > 0) & (rows["split"] == "held_out")].reset_index(drop=True)
