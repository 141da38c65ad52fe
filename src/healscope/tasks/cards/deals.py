"""List all deals of the card game, split them, and make the tables of its problems.

The deal space is finite, so evaluation is on all of it, ID and OOD paired on the same cards in
the same order. Every random choice comes from the seed; a different `orders` or `held_out` does
not change the orders that are drawn for a deal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement, permutations
from math import factorial, prod
from typing import TYPE_CHECKING, Any, NamedTuple

from healscope.tasks.cards.game import (
    FACES,
    RANKS,
    CardProblem,
    Game,
    make_problem,
    prompt,
    response,
)
from healscope.tasks.cards.solver import distinct_solutions, formulas, solvable
from healscope.tasks.problem import SIDES, Half, Side, Split
from healscope.tasks.tables import in_halves

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PROBLEM_COLUMNS = (
    "problem_id",
    "pair_id",
    "instance_id",
    "split",
    "half",
    "rule",
    "rule_values",
    "cards",
    "target",
    "values",
    "n_faces",
    "n_solutions",
    "prompt",
    "response",
)
SFT_COLUMNS = PROBLEM_COLUMNS
RL_COLUMNS = tuple(column for column in SFT_COLUMNS if column != "response")

MAX_SFT_ORDERS = 6
"""Orders of one deal in the SFT pool: all of them for three cards, a draw for more."""

# Each purpose has its own stream, so that one never shifts another.
_SPLIT_STREAM, _ORDER_STREAM, _SFT_STREAM, _HALF_STREAM, _FACELESS_STREAM = 1, 2, 3, 4, 5
_UNSOLVABLE_STREAM = 9  # 6 to 8 are of `posing`, `hands` and `neighbours`


class Deal(NamedTuple):
    """A multiset of cards, in ascending rank, and a target."""

    cards: tuple[str, ...]
    target: int


def deals(task: Game) -> list[Deal]:
    """Return every multiset of cards with every target, solvable or not."""
    return [
        Deal(cards, target)
        for target in task.targets
        for cards in combinations_with_replacement(RANKS, task.cards)
    ]


def split_deals(task: Game) -> dict[Deal, Split]:
    """Assign every deal to "train" or "held_out".

    The unit is the multiset of ID values, whatever the target: J-5-5 and 10-5-5 are one problem
    under the ID rule, and so are on the same side. `held_out` is the share of these multisets.
    """
    keys = _id_multisets(task)
    shuffled = _shuffled(keys.values(), _stream(task.seed, _SPLIT_STREAM))
    hidden = set(shuffled[: round(task.held_out * len(shuffled))])
    return {deal: "held_out" if key in hidden else "train" for deal, key in keys.items()}


def halve_deals(task: Game) -> dict[Deal, Half]:
    """Assign every deal to half "a" or "b": choose checkpoints on one, report on the other.

    The unit is that of `split_deals`. In each split the halves differ by at most one multiset, and
    so they do among those with equally many values that a face card can have.
    """
    keys = _id_multisets(task)
    sides = {keys[deal]: side for deal, side in split_deals(task).items()}
    shuffled = _shuffled(keys.values(), _stream(task.seed, _HALF_STREAM))
    faces = task.id_rule.face_values  # a multiset with more of these is dealt in more ways
    halves = in_halves(shuffled, sides.__getitem__, lambda values: sum(v in faces for v in values))
    return {deal: halves[key] for deal, key in keys.items()}


def trained_values(task: Game) -> frozenset[tuple[int, ...]]:
    """Return the multisets of ID values on the training side, ascending.

    A hand under another rule with one of them is a problem of training in other cards: the numbers
    to compute with, the formulas and, for some target, the answer are the same.
    """
    keys = _id_multisets(task)
    return frozenset(keys[deal] for deal, side in split_deals(task).items() if side == "train")


def _leaks(task: Game, deal: Deal, split: Split, trained: frozenset) -> bool:
    """Return whether a held-out deal with face cards is one of training under the OOD rule."""
    stated = tuple(sorted(task.ood_rule.values(deal.cards)))
    return split == "held_out" and count_faces(deal.cards) > 0 and stated in trained


def problem_table(task: Game) -> pd.DataFrame:
    """Make the table of evaluation problems: two rows (ID, OOD) for each order of each deal.

    First the deals of both splits that hold a face card and that both rules solve, in up to
    `orders` distinct random orders. Left out are held-out deals whose values under the OOD rule are
    those of a training deal (`trained_values`), which a rule with values of 11 and more never has.
    Then the solvable held-out deals without a face card, in one
    random order: there the two rules differ in the prompt alone.

    Columns are PROBLEM_COLUMNS: `rule_values`, `cards` and `values` are lists, `instance_id`, as
    "3-5-10>24", names the multiset of ID values and the target whatever the row's rule, `half` is
    that of `halve_deals`, `n_solutions` counts `solver.distinct_solutions` under the row's rule,
    and `response` states the first of `solver.formulas`.
    """
    halves = halve_deals(task)
    rng, faceless_rng = _stream(task.seed, _ORDER_STREAM), _stream(task.seed, _FACELESS_STREAM)
    with_faces, faceless, trained = [], [], trained_values(task)
    for deal, split in split_deals(task).items():
        if not all(solvable(task.rule(s).values(deal.cards), deal.target) for s in SIDES):
            continue
        if count_faces(deal.cards):
            rows, dealt = with_faces, _random_orders(deal.cards, task.orders, rng)
        else:
            # Drawn for training deals too: the order of a deal must not depend on the split.
            rows, dealt = faceless, _random_orders(deal.cards, 1, faceless_rng)
            if split == "train":
                continue
        if _leaks(task, deal, split, trained):
            continue
        for cards in dealt:
            for side in SIDES:
                problem = make_problem(task, cards, side, deal.target)
                rows.append(problem_row(task, problem, split, halves[deal]))
    return problem_frame(with_faces + faceless)


def count_problems(task: Game) -> tuple[int, int]:
    """Count (rows of `problem_table`, those that are held out and hold a face card).

    The table itself is not made, as this would need the solver for every row.
    """
    every = faced = 0
    trained = trained_values(task)
    for deal, split in split_deals(task).items():
        if not all(solvable(task.rule(s).values(deal.cards), deal.target) for s in SIDES):
            continue
        if _leaks(task, deal, split, trained):
            continue
        hidden = split == "held_out"
        if not count_faces(deal.cards):
            every += 2 * hidden
            continue
        repeats = prod(factorial(deal.cards.count(card)) for card in set(deal.cards))
        rows = 2 * min(task.orders, factorial(len(deal.cards)) // repeats)
        every, faced = every + rows, faced + rows * hidden
    return every, faced


def sft_table(task: Game) -> pd.DataFrame:
    """Make the pool of SFT examples: ID problems on every ID-solvable training deal.

    With or without faces, in every distinct order (at most MAX_SFT_ORDERS random ones for four or
    more cards). Columns are SFT_COLUMNS, as in `problem_table`; `instance_id` is the unit from
    which an SFT run samples.
    """
    return problem_frame(_pool(task), SFT_COLUMNS)


def rl_table(task: Game) -> pd.DataFrame:
    """Make the same pool without responses: the prompts of RL. Columns are RL_COLUMNS."""
    return problem_frame(_pool(task), RL_COLUMNS)


def unsolvable_table(task: Game) -> pd.DataFrame:
    """Make a pool of RL prompts without a solution: training deals that the ID rule cannot solve.

    Each in one random order. Columns are RL_COLUMNS.
    """
    halves, rng, rows = halve_deals(task), _stream(task.seed, _UNSOLVABLE_STREAM), []
    for deal, split in split_deals(task).items():
        cards = _random_orders(deal.cards, 1, rng)[0]
        if split == "train" and not solvable(task.id_rule.values(deal.cards), deal.target):
            problem = make_problem(task, cards, "id", deal.target)
            rows.append(problem_row(task, problem, split, halves[deal]))
    return problem_frame(rows, RL_COLUMNS)


def ood_table(task: Game) -> pd.DataFrame:
    """Make a pool of RL prompts under the OOD rule: training deals with a face card.

    Each in every distinct order, as in `rl_table`, whether the ID rule solves it or not. Columns
    are RL_COLUMNS.
    """
    rows = [row for row in _pool(task, "ood") if row["n_faces"]]
    return problem_frame(rows, RL_COLUMNS)


def _pool(task: Game, side: Side = "id") -> list[dict[str, Any]]:
    halves = halve_deals(task)
    rng = _stream(task.seed, _SFT_STREAM)
    rows = []
    for deal, split in split_deals(task).items():
        if not solvable(task.rule(side).values(deal.cards), deal.target):
            continue
        # Drawn for held-out deals too: the orders of a deal must not depend on the split.
        if task.cards <= 3:
            orders = _distinct_orders(deal.cards)
        else:
            orders = _random_orders(deal.cards, MAX_SFT_ORDERS, rng)
        if split == "held_out":
            continue
        for cards in orders:
            problem = make_problem(task, cards, side, deal.target)
            rows.append(problem_row(task, problem, split, halves[deal]))
    return rows


def instance_id(task: Game, deal: Deal) -> str:
    """Name the unit of the hold-out that a deal belongs to, as "3-5-10>24".

    These are its ID values, ascending, and the target.
    """
    return f"{'-'.join(map(str, sorted(task.id_rule.values(deal.cards))))}>{deal.target}"


def problem_row(task: Game, problem: CardProblem, split: Split, half: Half) -> dict[str, Any]:
    """Make one row of PROBLEM_COLUMNS; without a response where the problem has no solution."""
    found = formulas(problem.values, problem.target)
    return {
        "problem_id": problem.problem_id,
        "pair_id": problem.pair_id,
        "instance_id": instance_id(task, Deal(problem.cards, problem.target)),
        "split": split,
        "half": half,
        "rule": problem.rule,
        "rule_values": list(problem.rule_values),
        "cards": list(problem.cards),
        "target": problem.target,
        "values": list(problem.values),
        "n_faces": count_faces(problem.cards),
        "n_solutions": len(distinct_solutions(problem.values, problem.target)),
        "prompt": prompt(task, problem),
        "response": response(task, problem, found[0]) if found else None,
    }


def problem_frame(
    rows: list[dict[str, Any]], columns: tuple[str, ...] = PROBLEM_COLUMNS
) -> pd.DataFrame:
    """Make a table of these rows; without rows it still has the columns."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))


def count_faces(cards: Sequence[str]) -> int:
    """Count the J, Q and K among the cards."""
    return sum(card in FACES for card in cards)


def _id_multisets(task: Game) -> dict[Deal, tuple[int, ...]]:
    """Return the values of every deal under the ID rule, ascending."""
    return {deal: tuple(sorted(task.id_rule.values(deal.cards))) for deal in deals(task)}


def _shuffled(
    multisets: Iterable[tuple[int, ...]], rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Return the distinct multisets in random order."""
    units = sorted(set(multisets))
    return [units[index] for index in rng.permutation(len(units))]


def _distinct_orders(cards: tuple[str, ...]) -> list[tuple[str, ...]]:
    return sorted(set(permutations(cards)))


def _random_orders(
    cards: tuple[str, ...], at_most: int, rng: np.random.Generator
) -> list[tuple[str, ...]]:
    # All are permuted, then cut: the draw costs the same whatever `at_most` is.
    every_order = _distinct_orders(cards)
    return [every_order[index] for index in rng.permutation(len(every_order))[:at_most]]


def _stream(seed: int, purpose: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([seed, purpose])
