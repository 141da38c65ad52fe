"""Verdicts a second of the exact verifier, beside a checker built on Python's `eval`.

    python benchmarks/verdicts.py [--responses 50000]

Every response is a distinct text, half of them correct. The comparison does less: it finds the
formula, checks characters and numbers, and compares floats.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from itertools import combinations_with_replacement, permutations
from pathlib import Path
from random import Random
from time import perf_counter

from healscope.tasks.cards import solver
from healscope.tasks.cards.game import (
    FACE_10,
    FACE_11_13,
    RANKS,
    CardProblem,
    make_problem,
    response,
)
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.verifier import verify

LEGAL = re.compile(r"[0-9+\-*/() ]+")


def eval_checker(task: GeneralPoints, problem: CardProblem, text: str) -> bool:
    """What a short script would do; no verdict, no bounds, no exactness."""
    try:
        if task.rendering == "json":
            formula = json.loads(text)["formula"]
        else:
            formula = text.split("formula", 1)[1]
        formula = formula.split("=")[0]
        if not LEGAL.fullmatch(formula):
            return False
        if sorted(map(int, re.findall(r"\d+", formula))) != sorted(problem.values):
            return False
        return abs(eval(formula) - problem.target) < 1e-6
    except (ValueError, KeyError, IndexError, SyntaxError, ZeroDivisionError, TypeError):
        return False


def responses(task: GeneralPoints, n: int, rng: Random) -> list[tuple[CardProblem, str]]:
    """Distinct (problem, response) pairs: formulas of the deal, half of them damaged."""
    found: dict[tuple[str, str], CardProblem] = {}
    deals = [
        (cards, target)
        for target in task.targets
        for cards in combinations_with_replacement(RANKS, task.cards)
        if solver.solvable(task.id_rule.values(cards), target)
    ]
    while len(found) < n:
        cards, target = rng.choice(deals)
        cards = rng.choice(list(permutations(cards)))
        problem = make_problem(task, cards, "id", target)
        formula = list(rng.choice(solver.formulas(problem.values, target)))
        if rng.random() < 0.5:
            at = rng.choice([i for i, token in enumerate(formula) if token not in "()"])
            formula[at] = rng.choice("+-*/") if formula[at] in "+-*/" else str(rng.randint(1, 13))
        found[problem.problem_id, response(task, problem, formula)] = problem
    return [(problem, text) for (_, text), problem in found.items()]


def rate(checker, task: GeneralPoints, pairs: list[tuple[CardProblem, str]]) -> tuple[float, list]:
    """Call a second, best of three passes, and the results."""
    best = float("inf")
    for _ in range(3):
        start = perf_counter()
        results = [checker(task, problem, text) for problem, text in pairs]
        best = min(best, perf_counter() - start)
    return len(pairs) / best, results


def cpu_model() -> str:
    """The CPU's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--responses", type=int, default=50_000)
    n = parser.parse_args().responses
    print(f"cpu {cpu_model()}, python {platform.python_version()}, one thread")

    start = perf_counter()
    counts = [
        sum(
            solver.solvable(rule.values(cards), 24)
            for cards in combinations_with_replacement(RANKS, 4)
        )
        for rule in (
            FACE_10,
            FACE_11_13,
        )
    ]
    seconds = perf_counter() - start
    print(f"solve all 1,820 four-card deals under both rules: {seconds:.2f} s, solvable {counts}")

    tasks = (
        GeneralPoints(name="json, 4 cards", cards=4, targets=(24,)),
        GeneralPoints(
            name="compact, 3 cards", cards=3, targets=(8, 12, 16, 18, 20, 24), rendering="compact"
        ),
    )
    for task in tasks:
        size = n if task.rendering == "json" else min(n, 20_000)
        pairs = responses(task, size, Random(0))
        ours, verdicts = rate(verify, task, pairs)
        theirs, accepted = rate(eval_checker, task, pairs)
        correct = sum(verdict.outcome == "correct" for verdict in verdicts)
        print(
            f"{task.name}: {ours:,.0f} verdicts/s on {len(pairs):,} distinct responses "
            f"({correct / len(pairs):.0%} correct); eval checker {theirs:,.0f}/s "
            f"({sum(accepted) / len(pairs):.0%}); ratio {ours / theirs:.2f}"
        )


if __name__ == "__main__":
    main()
