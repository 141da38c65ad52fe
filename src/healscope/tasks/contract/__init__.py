"""Check a task against the contract (docs/own-task.md); `healscope check-task` prints the report.

The tests run the same checks for every family that is built in, in every rendering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from healscope.errors import HealscopeError
from healscope.tasks import build, families, task_settings
from healscope.tasks.contract.checks import CHECKS
from healscope.tasks.contract.subject import Subject, TooSlow, raised
from healscope.tasks.section import COMMON

SHOWN = 3
"""Failures that a report shows of one check before it counts the rest."""


class Found(NamedTuple):
    """The result of a check: its name, what it demands, and the violations that it found."""

    name: str
    holds: str
    wrong: list[str]


def section(family: str, options: Mapping[str, Any], rendering: str | None) -> dict[str, Any]:
    """Make the config section of a family with these options."""
    own = family not in families()
    beside = {key: value for key, value in options.items() if key in COMMON or not own}
    given = {"options": {k: v for k, v in options.items() if k not in beside}} if own else {}
    return {"family": family, **beside, **given, **({"rendering": rendering} if rendering else {})}


def opened(values: Mapping[str, Any], patience: float = 20.0) -> Subject:
    """Build the task of a config section for its checks. Raises HealscopeError."""
    settings = task_settings(dict(values))
    return Subject(settings.model_dump(mode="json"), build("checked", settings), patience)


def findings(
    checked: Subject, checks: Iterable[Callable[[Subject], Iterable[str]]] = CHECKS
) -> Iterator[Found]:
    """Run the checks; an exception of the task, or its ending the program, counts as a failure."""
    for check in checks:
        wrong: list[str] = []
        try:
            wrong.extend(check(checked))
        except TooSlow:
            wrong.append(f"a call is still at work after {checked.patience:g} s of CPU time")
        except HealscopeError as error:
            wrong.append(str(error))
        except (Exception, SystemExit) as error:  # of the task: it is what is checked
            wrong.append(f"the task raised {raised(error)}")
        yield Found(check.__name__.replace("_", " "), (check.__doc__ or "").strip(), wrong)


def report(checked: Subject) -> Iterator[str]:
    """Yield the lines of the report; the last one counts the failed checks."""
    named = f"{checked.section['family']}, {checked.task.rendering}"
    try:
        yield from [f"{named}: {sizes(checked)}", *shown(checked)]
    except (Exception, SystemExit):  # a check says so
        yield f"{named}: no problems that can be shown"
    done = []
    for found in findings(checked):
        done.append(found)
        yield from lines(found)
    failed = sum(bool(found.wrong) for found in done)
    yield f"{len(done)} checks, " + (f"{failed} of them failed" if failed else "all of them hold")


def shown(checked: Subject) -> Iterator[str]:
    """Yield what the task notes, and an example."""
    yield from checked.task.notes()
    if example := checked.task.example():
        prompt, response = example
        yield from ("an example of SFT, which trains on the answer alone:", prompt)
        yield f"answer: {response}"


def lines(found: Found) -> Iterator[str]:
    """Yield the lines of one check."""
    if not found.wrong:
        yield f"ok    {found.name}: {found.holds}"
        return
    yield f"FAIL  {found.name}"
    yield from (f"        {sentence}" for sentence in found.wrong[:SHOWN])
    if (more := len(found.wrong) - SHOWN) > 0:
        yield f"        and {more} more"


def sizes(checked: Subject) -> str:
    """Describe how many problems there are, and the lengths of prompts and answers in words."""
    task = checked.task
    n = {rule: len(there) for rule, there in checked.problems.items()}
    prompts = [len(task.prompt(problem).split()) for problem in checked.all] or [0]
    answers = [len(checked.answer(problem).split()) for problem in checked.all] or [0]
    said = (
        f"{n['id']} ID and {n['ood']} OOD problems, prompts of {_range(prompts)} words, answers of "
        f"{_range(answers)}"
    )
    if task.rendering == "compact":  # where a word is a token; one more ends the answer
        said += f" (evaluation.max_new_tokens: {max(answers) + 1} or more)"
    return said


def _range(lengths: list[int]) -> str:
    low, high = min(lengths), max(lengths)
    return f"{low}" if low == high else f"{low} to {high}"
