"""The fixed lists of GeneralPoints: all deals, the hold-out, and the tables of the workflow.

The deal space is finite, so evaluation is on all of it, ID and OOD paired on the same cards in
the same order. Every random choice comes from the seed; a different `orders` or `held_out` does
not change the orders that are drawn for a deal.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from healscope.tasks.generalpoints import (
    FACES,
    RANKS,
    GeneralPoints,
    Problem,
    make_problem,
    prompt,
    response,
)
from healscope.tasks.solver import distinct_solutions, formulas, solvable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Split = Literal["train", "held_out"]

PROBLEM_COLUMNS = (
    "problem_id",
    "pair_id",
    "deal_id",
    "split",
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
SFT_COLUMNS = (*PROBLEM_COLUMNS, "values_id")
RL_COLUMNS = tuple(column for column in SFT_COLUMNS if column != "response")

MAX_SFT_ORDERS = 6
"""Orders of one deal in the SFT pool: all of them for three cards, a draw for more."""

# Each purpose has its own stream, so that one never shifts another.
_SPLIT_STREAM, _ORDER_STREAM, _SFT_STREAM = 1, 2, 3


class Deal(NamedTuple):
    """A multiset of cards, in ascending rank, and a target."""

    cards: tuple[str, ...]
    target: int


def deals(task: GeneralPoints) -> list[Deal]:
    """Every multiset of cards with every target, solvable or not."""
    return [
        Deal(cards, target)
        for target in task.targets
        for cards in combinations_with_replacement(RANKS, task.n_cards)
    ]


def split_deals(task: GeneralPoints, held_out: float, seed: int) -> dict[Deal, Split]:
    """Assign every deal to "train" or "held_out".

    The unit is the multiset of ID values, whatever the target: J-5-5 and 10-5-5 are one problem
    under the ID rule, and so are on the same side. `held_out` is the share of these multisets.
    Raises ValueError unless 0 <= held_out <= 1.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held_out must be a share from 0 to 1, not {held_out!r}")
    every_deal = deals(task)
    keys = {deal: tuple(sorted(task.id_rule.values(deal.cards))) for deal in every_deal}
    units = sorted(set(keys.values()))
    order = _stream(seed, _SPLIT_STREAM).permutation(len(units))
    hidden = {units[index] for index in order[: round(held_out * len(units))]}
    return {deal: "held_out" if keys[deal] in hidden else "train" for deal in every_deal}


def problem_table(task: GeneralPoints, held_out: float, seed: int, orders: int) -> pd.DataFrame:
    """The evaluation problems of both splits, two rows (ID, OOD) for each order of each deal.

    Deals that both rules solve and that hold a face card, in up to `orders` distinct random
    orders. Columns are PROBLEM_COLUMNS: `rule_values`, `cards` and `values` are lists,
    `n_solutions` counts `solver.distinct_solutions` under the row's rule, and `response` states
    the first of `solver.formulas`. Raises ValueError if orders < 1.
    """
    if orders < 1:
        raise ValueError(f"orders must be at least 1, not {orders}")
    rng = _stream(seed, _ORDER_STREAM)
    rows = []
    for deal, split in split_deals(task, held_out, seed).items():
        if not _faces(deal.cards):
            continue
        if not all(solvable(task.rule(s).values(deal.cards), deal.target) for s in ("id", "ood")):
            continue
        for cards in _random_orders(deal.cards, orders, rng):
            for side in ("id", "ood"):
                rows.append(_row(task, make_problem(task, cards, side, deal.target), split))
    return _frame(rows, PROBLEM_COLUMNS)


def sft_table(task: GeneralPoints, held_out: float, seed: int) -> pd.DataFrame:
    """The pool of SFT examples: ID problems on every ID-solvable training deal.

    With or without faces, in every distinct order (at most MAX_SFT_ORDERS random ones for four or
    more cards). Columns are SFT_COLUMNS; `values_id`, as "3-5-10>24", names the multiset of ID
    values and the target, the unit from which an SFT run samples.
    """
    return _frame(_pool(task, held_out, seed), SFT_COLUMNS)


def rl_table(task: GeneralPoints, held_out: float, seed: int) -> pd.DataFrame:
    """The same pool without responses: the prompts of RL. Columns are RL_COLUMNS."""
    return _frame(_pool(task, held_out, seed), RL_COLUMNS)


def draw(pool: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """n rows of a pool without repeats (all rows, where it holds fewer).

    Every `values_id` weighs the same, however many face cards and orders show it; a
    uniform draw of rows would deal mostly face cards.
    """
    weights = 1.0 / pool.groupby("values_id")["values_id"].transform("count").to_numpy()
    n = min(n, len(pool))
    picked = rng.choice(len(pool), n, replace=False, p=weights / weights.sum())
    return pool.iloc[picked].reset_index(drop=True)


def _pool(task: GeneralPoints, held_out: float, seed: int) -> list[dict[str, Any]]:
    rng = _stream(seed, _SFT_STREAM)
    rows = []
    for deal, split in split_deals(task, held_out, seed).items():
        values = task.id_rule.values(deal.cards)
        if not solvable(values, deal.target):
            continue
        # Drawn for held-out deals too: the orders of a deal must not depend on the split.
        if task.n_cards <= 3:
            orders = _distinct_orders(deal.cards)
        else:
            orders = _random_orders(deal.cards, MAX_SFT_ORDERS, rng)
        if split == "held_out":
            continue
        values_id = f"{'-'.join(map(str, sorted(values)))}>{deal.target}"
        for cards in orders:
            problem = make_problem(task, cards, "id", deal.target)
            rows.append({**_row(task, problem, split), "values_id": values_id})
    return rows


def _row(task: GeneralPoints, problem: Problem, split: Split) -> dict[str, Any]:
    formula = formulas(problem.values, problem.target)[0]
    return {
        "problem_id": problem.problem_id,
        "pair_id": problem.pair_id,
        "deal_id": problem.deal_id,
        "split": split,
        "rule": problem.rule,
        "rule_values": list(problem.rule_values),
        "cards": list(problem.cards),
        "target": problem.target,
        "values": list(problem.values),
        "n_faces": _faces(problem.cards),
        "n_solutions": len(distinct_solutions(problem.values, problem.target)),
        "prompt": prompt(task, problem),
        "response": response(task, problem, formula),
    }


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))


def _faces(cards: tuple[str, ...]) -> int:
    return sum(card in FACES for card in cards)


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
