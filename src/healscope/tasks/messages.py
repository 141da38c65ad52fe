"""What models are told after wrong answers, to several problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from healscope.tasks.problem import Feedback, Level, Problem, Said, Verdict

if TYPE_CHECKING:
    from healscope.tasks.task import Task


def messages(
    task: Task, answers: Sequence[tuple[Problem, Verdict, str]], level: Said, apart: int = 1
) -> list[Feedback]:
    """Return the message after each of these wrong answers (problem, verdict, text).

    With level "another" each gets the critique of the answer `apart` places after it, or where
    there is no other one only the request to answer again.
    """
    if level == "another" and apart % max(len(answers), 1) == 0:
        level = "none"
    known: Level = "critique" if level == "another" else level
    said = [task.feedback(problem, verdict, text, known) for problem, verdict, text in answers]
    first = apart % max(len(said), 1) if level == "another" else 0
    return said[first:] + said[:first]
