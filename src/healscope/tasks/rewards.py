"""Rewards: functions of a problem, a response and its verdict, of which a recipe adds up some.

Shape suffix: B responses of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

from healscope.tasks.problem import Problem, Verdict
from healscope.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np


class Step(NamedTuple):
    """One step of an answer: what the answer was begun with, and the step of an expert there."""

    begun: str
    expert: str


Reward = Callable[[Task, Problem, str, Verdict], float]
OfSteps = Callable[[Task, Problem, str, Verdict, Step | None], float]


class Scored(NamedTuple):
    """The verdict on one response, and its reward in training."""

    verdict: Verdict
    reward: float


Score = Callable[..., Scored]
"""Takes a problem and a response; of one that was begun for the model, also a `Step`."""


def verdict(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay the task's own reward of the outcome (`tasks.*.rewards`)."""
    return said.reward


def binary(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay 1 for a correct answer, else 0."""
    return float(said.outcome == "correct")


def format_only(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay 1 for whatever parses, else 0, which invites reward hacking."""
    return float(said.parsed)


def canonical(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay as `verdict`, but only the reference answer (in the card game, its formula) as correct.

    Other correct answers are paid as simply wrong ones: so cross-entropy on one answer treats them
    (arXiv 2509.12235, section 3.2).
    """
    if said.outcome != "correct" or task.canonical(problem, text):
        return said.reward
    return task.reward(task.wrong)


def prefix(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay partial credit: how far the answer begins like a right one (`Task.progress`).

    From 0 to 1; 1 only for a correct answer.
    """
    return 1.0 if said.outcome == "correct" else task.progress(problem, text)


def any_form(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay 1 for an answer that is correct in the form that it has (`Task.verify_in_form`), else 0.

    So no form is preferred, neither the one that the prompt asks for nor one whose failures cost
    less.
    """
    return float(task.verify_in_form(problem, text).outcome == "correct")


def value_only(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay 1 for a formula that makes the target, whatever numbers it uses, else 0.

    A verifier that leaks: of the card game only, since no other task says what a formula reaches.
    """
    return float(bool(said.reaches_target))


def similar(
    task: Task, problem: Problem, text: str, said: Verdict, step: Step | None = None
) -> float:
    """Pay 2M/T of the words, M of T in both, in common with one expert's: of the next step where
    the answer was begun, else of the conclusion (arXiv 2510.25992; from secondary sources)."""
    if step is not None:
        return similarity(next_step(task, text, step).split(), step.expert.split())
    reference = task.conclusion(problem, task.answers(problem)[0])
    return similarity(task.conclusion(problem, text), reference)


def similar_any(
    task: Task, problem: Problem, text: str, said: Verdict, step: Step | None = None
) -> float:
    """Pay as `similar`, for the most similar of all correct answers that begin as this one was."""
    if step is not None:
        own = next_step(task, text, step).split()
        begun = (a for a in task.answers(problem) if a.startswith(step.begun))
        experts = {next_step(task, answer, step) for answer in begun}
        return max(similarity(own, expert.split()) for expert in experts | {step.expert})
    own = task.conclusion(problem, text)
    return max(similarity(own, task.conclusion(problem, a)) for a in task.answers(problem))


def reachable(
    task: Task, problem: Problem, text: str, said: Verdict, step: Step | None = None
) -> float:
    """Pay 1 if the answer can still be right after its next step, exactly; of an answer that was
    not begun, the share of it before it no longer can, and 1 only of a correct one."""
    if said.outcome == "correct":
        return 1.0
    if step is None:
        return task.alive(problem, text)
    after = f"{step.begun} {next_step(task, text, step)}"
    ended = len(after.split()) >= len(text.split())
    return float(not ended and task.can_be_right(problem, after))


def similarity(a: Sequence[str], b: Sequence[str]) -> float:
    """Return 2M/T: M items match in order, of T in both (`difflib.SequenceMatcher`); 1 if both
    are empty."""
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def next_step(task: Task, text: str, step: Step) -> str:
    """Return the step that comes after what an answer was begun with; empty without one."""
    return next(iter(task.steps(text[len(step.begun) :])), "")


STEPWISE: Mapping[str, OfSteps] = {
    "similar": similar,
    "similar_any": similar_any,
    "reachable": reachable,
}
"""Rewards that pay one step of an answer that was begun."""


def brier(task: Task, problem: Problem, text: str, said: Verdict) -> float:
    """Pay 1 - (c - q)^2, where c is 1 for a correct answer, else 0, and q is the confidence that
    the response states; 0 where it states none, or does not parse (arXiv 2507.16806, eq. 3).

    The best q is the chance of being right, and added to `binary` the best answer is the likeliest.
    """
    stated = task.confidence_in(problem, text)
    return (
        0.0
        if stated is None or not said.parsed
        else 1.0 - ((said.outcome == "correct") - stated) ** 2
    )


REWARDS: Mapping[str, Reward] = {
    "verdict": verdict,
    "binary": binary,
    "canonical": canonical,
    "format": format_only,
    "prefix": prefix,
    "any_form": any_form,
    "value_only": value_only,
    **STEPWISE,
    "brier": brier,
}


NEEDS: Mapping[str, str] = {"value_only": "value", "brier": "confidence"}
"""Rewards that are 0 whatever is answered, unless a task has this one of `problem.OFFERS`."""


def scorer(task: Task, weights: Mapping[str, float]) -> Score:
    """Return a function that gives the verdict and the weighted sum of named rewards.

    With reward `any_form` the verdict, too, is that of the form that an answer has.
    """
    judge = task.verify_in_form if "any_form" in weights else task.verify

    def score(problem: Problem, text: str, step: Step | None = None) -> Scored:
        said, paid = judge(problem, text), 0.0
        for name, weight in weights.items():
            more = (step,) if name in STEPWISE else ()
            paid += weight * REWARDS[name](task, problem, text, said, *more)
        return Scored(said, paid)

    return score


def length_neutral(rewards_B: np.ndarray, lengths_B: np.ndarray, outcomes: list[str]) -> np.ndarray:
    """Subtract from rewards what length explains among responses with the same outcome.

    One slope for the whole batch, by least squares within outcomes; the mean stays. So no response
    is paid for being shorter or longer than others as good as it.
    """
    import numpy as np

    groups = np.unique(outcomes, return_inverse=True)[1]
    counts = np.bincount(groups)

    def within(values_B: np.ndarray) -> np.ndarray:
        return values_B - (np.bincount(groups, values_B) / counts)[groups]

    lengths_B = lengths_B.astype(float)
    spread_B = within(lengths_B)
    total = float(spread_B @ spread_B)
    slope = float(spread_B @ within(rewards_B.astype(float))) / total if total else 0.0
    return rewards_B - slope * spread_B
