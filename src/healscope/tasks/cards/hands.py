"""Draw hands of the card game at random, as the published evaluation does.

The deal space is finite, so all of it can be evaluated. The published sampling draws hands with
replacement instead, where hands that training has seen come up as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from healscope.tasks.cards.deals import (
    PROBLEM_COLUMNS,
    Deal,
    count_faces,
    deals,
    halve_deals,
    problem_frame,
    problem_row,
    split_deals,
)
from healscope.tasks.cards.game import FACES, RANKS, Game, make_problem
from healscope.tasks.cards.solver import solvable
from healscope.tasks.problem import SIDES, Side

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_HAND_STREAM = 6  # the streams of the tables are numbered in `deals`


def drawn_hands(task: Game, hands: int, seed: int) -> pd.DataFrame:
    """Draw hands with replacement (arXiv 2509.12235, appendix C.1): `hands` ID rows, then OOD.

    The target is uniform over the task's. An ID hand is uniform ranks; an OOD hand has at least
    one J, Q or K: that card is uniform among the three, the others among all ranks, in random
    order. The cards are redrawn until the side's rule solves them. A hand depends on `seed`, its
    side and its number alone, and the first hands of a longer list are those of a shorter one.

    Columns are those of `posing.all_problems`. `draw` counts from 0 within each side; a problem_id
    repeats where a hand comes up twice. `split` is the side of the hold-out (`split_deals`)
    on which the hand's ID values are: "train" is the overlap
    with what SFT may see. All are `retried`. Raises ValueError if hands < 0, or if a target has
    no solvable hand.
    """
    if hands < 0:
        raise ValueError(f"hands must be at least 0, not {hands}")
    splits = split_deals(task)
    halves = halve_deals(task)
    _require_solvable_hands(task)
    rows = []
    for number, side in enumerate(SIDES):
        for i in range(hands):
            cards, target = _draw_hand(task, side, _stream(seed, number, i))
            deal = Deal(tuple(sorted(cards, key=RANKS.index)), target)
            problem = make_problem(task, cards, side, target)
            row = problem_row(task, problem, splits[deal], halves[deal])
            rows.append({**row, "draw": i})
    table = problem_frame(rows, (*PROBLEM_COLUMNS, "draw"))
    return table.astype({"draw": int}).assign(retried=True)


def _draw_hand(task: Game, side: Side, rng: np.random.Generator) -> tuple[tuple[str, ...], int]:
    target = task.targets[int(rng.integers(len(task.targets)))]
    while True:
        if side == "id":
            cards = [RANKS[rank] for rank in rng.integers(len(RANKS), size=task.cards)]
        else:
            others = [RANKS[rank] for rank in rng.integers(len(RANKS), size=task.cards - 1)]
            dealt = [*others, FACES[int(rng.integers(len(FACES)))]]
            cards = [dealt[position] for position in rng.permutation(task.cards)]
        if solvable(task.rule(side).values(cards), target):
            return tuple(cards), target


def _require_solvable_hands(task: Game) -> None:
    """Raise ValueError on a target that no hand reaches, which would be drawn for ever."""
    every_deal = deals(task)
    for side in SIDES:
        for target in task.targets:
            if not any(
                solvable(task.rule(side).values(deal.cards), target)
                for deal in every_deal
                if deal.target == target and (side == "id" or count_faces(deal.cards))
            ):
                raise ValueError(
                    f"task {task.name!r}: no hand of {task.cards} cards makes {target} under "
                    f"the {side} rule; leave it out of targets"
                )


def _stream(seed: int, *which: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([seed, _HAND_STREAM, *which])
