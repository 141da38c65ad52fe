"""Rewards as plain functions of a problem, a response and its verdict; a recipe adds them up.

Shape suffix: B responses of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from healscope.tasks.expressions import render, to_tree
from healscope.tasks.generalpoints import GeneralPoints, Problem
from healscope.tasks.solver import formulas
from healscope.tasks.verdict import Verdict, read_answer, verify

if TYPE_CHECKING:
    import numpy as np

Reward = Callable[[GeneralPoints, Problem, str, Verdict], float]


class Scored(NamedTuple):
    """What the verifier says of one response, and what training pays for it."""

    verdict: Verdict
    reward: float


Score = Callable[[Problem, str], Scored]


def verdict(task: GeneralPoints, problem: Problem, text: str, said: Verdict) -> float:
    """The task's own table, outcome by outcome (`tasks.*.rewards`; its defaults are published)."""
    return said.reward


def binary(task: GeneralPoints, problem: Problem, text: str, said: Verdict) -> float:
    """1 for a correct answer, else 0."""
    return float(said.outcome == "correct")


def format_only(task: GeneralPoints, problem: Problem, text: str, said: Verdict) -> float:
    """1 for whatever parses, else 0: it asks for reward hacking."""
    return float(said.parsed)


def canonical(task: GeneralPoints, problem: Problem, text: str, said: Verdict) -> float:
    """As `verdict`, but only the reference answer's formula counts as correct.

    Other correct formulas are paid as a wrong value: so cross-entropy on one answer treats them
    (arXiv 2509.12235, section 3.2).
    """
    if said.outcome != "correct":
        return said.reward
    reference = formulas(problem.values, problem.target)[0]
    same = read_answer(task, problem, text).words in _spellings(reference)
    return said.reward if same else task.rewards["wrong_value"]


def prefix(task: GeneralPoints, problem: Problem, text: str, said: Verdict) -> float:
    """Partial credit: the share of a solution that the formula begins with, for the best one.

    From 0 to 1; 1 only for a correct answer.
    """
    if said.outcome == "correct":
        return 1.0
    written = read_answer(task, problem, text).words
    shares = [
        _common(written, spelling) / (len(spelling) + 1)
        for spelling in _solutions(problem.values, problem.target)
    ]
    return max(shares, default=0.0)


REWARDS: Mapping[str, Reward] = {
    "verdict": verdict,
    "binary": binary,
    "canonical": canonical,
    "format": format_only,
    "prefix": prefix,
}


def scorer(task: GeneralPoints, weights: Mapping[str, float]) -> Score:
    """The weighted sum of named rewards, with the verdict beside it."""
    parts = [(REWARDS[name], weight) for name, weight in weights.items()]

    def score(problem: Problem, text: str) -> Scored:
        said = verify(task, problem, text)
        return Scored(said, sum(w * reward(task, problem, text, said) for reward, w in parts))

    return score


def length_neutral(rewards_B: np.ndarray, lengths_B: np.ndarray, outcomes: list[str]) -> np.ndarray:
    """Rewards less what length explains among responses with the same outcome.

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


def _common(written: tuple[str, ...], wanted: tuple[str, ...]) -> int:
    same = 0
    while same < min(len(written), len(wanted)) and written[same] == wanted[same]:
        same += 1
    return same


@lru_cache(maxsize=1 << 14)
def _solutions(values: tuple[int, ...], target: int) -> tuple[tuple[str, ...], ...]:
    return tuple({s for formula in formulas(values, target) for s in _spellings(formula)})


def _spellings(formula: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """With brackets around every step, as compact answers have it, and with the fewest."""
    return tuple(render(to_tree(formula), style) for style in ("bracketed", "minimal"))
