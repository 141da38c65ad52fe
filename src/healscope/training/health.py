"""Tells when a run has failed, and when its reward no longer means success.

All rules read only the logged rows, so that a resumed run is judged as an unbroken one.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from healscope.config import Training
from healscope.engines.generate import NotFinite
from healscope.errors import HealscopeError
from healscope.training.schemas import WINDOW

COLLAPSED = 0.1
"""A run has collapsed once it succeeds less often than this share of its best."""

_LEARNED = 0.05  # a success rate below it has not risen, so it cannot collapse
_HACKING = 0.1  # growth of the mean reward, in SDs of single ones, that success should show too


class Diverged(HealscopeError):  # noqa: N818 (what happened to a run)
    """A run that cannot go on; `rows` are those logged so far."""

    def __init__(self, reason: str, rows: list[dict]):
        super().__init__(reason)
        self.rows = rows


def log(rows: list[dict], row: dict, name: str) -> None:
    """Append a row, with the alarm of reward hacking, and check the run. Raises Diverged."""
    rows.append(row)
    if "reward_mean" in row:
        row["hacking_alarm"] = reward_hacking(rows)
        if row["hacking_alarm"] and not any(r.get("hacking_alarm") for r in rows[:-1]):
            print(
                f"healscope: {name}: by iteration {row['iteration']} the reward has risen and "
                "success has not; the policy may be hacking the reward",
                file=sys.stderr,
            )
    check(rows, name)


@contextmanager
def finite_sampling(rows: list[dict], name: str) -> Iterator[None]:
    """Raise Diverged, with the rows of the run, where sampling raises NotFinite."""
    try:
        yield
    except NotFinite as error:
        raise Diverged(
            f"{name}: {error} after iteration {rows[-1]['iteration'] if rows else 0}; lower the "
            "recipe's optimizer.learning_rate",
            rows,
        ) from None


def spent(rows: list[dict], recipe: Training) -> bool:
    """Return whether the run has generated all tokens of its budget (read, where it generates
    none)."""
    if recipe.token_budget is None:
        return False
    used = (row.get("generated_tokens", row.get("trained_tokens", 0)) for row in rows)
    return sum(used) >= recipe.token_budget


def check(rows: list[dict], name: str) -> None:
    """Raise Diverged if the latest row holds a number that is not finite, or the run collapsed.

    A run has collapsed if over the last WINDOW iterations the success rate is under COLLAPSED of
    the best earlier one, and the reward is lower than in the first iterations. If only success is
    lost, the policy has found another way to be rewarded: that is what `reward_hacking` is for.
    """
    latest = rows[-1]
    for key, value in latest.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Diverged(
                f"{name}: {key} is {value} in iteration {latest['iteration']}; lower the recipe's "
                "optimizer.learning_rate",
                _finite(rows),
            )
    rates = [row["correct_share"] for row in rows if "correct_share" in row]
    if len(rates) < 2 * WINDOW:
        return
    means = [sum(rates[i : i + WINDOW]) / WINDOW for i in range(len(rates) - WINDOW + 1)]
    rewards = [row["reward_mean"] for row in rows if "reward_mean" in row]
    lost = max(means) >= _LEARNED and means[-1] < COLLAPSED * max(means)
    if lost and _late(rewards) < _early(rewards):
        raise Diverged(
            f"{name}: success collapsed from {max(means):.0%} to {means[-1]:.0%} by iteration "
            f"{latest['iteration']}; lower the recipe's optimizer.learning_rate, or hold the "
            "policy by a KL term",
            rows,
        )


def _finite(rows: list[dict]) -> list[dict]:
    """Return the rows without numbers that are not finite, which a table cannot hold."""
    return [
        {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        for row in rows
    ]


def reward_hacking(rows: list[dict]) -> bool:
    """Return whether the reward has risen without success (the alarm of Fig 12).

    Compares the last WINDOW iterations with the first: the mean reward grew by more than a tenth of
    the standard deviation that single rewards have had, while the success rate did not grow.
    """
    if len(rows) < 2 * WINDOW:
        return False
    rewards = [row["reward_mean"] for row in rows]
    rates = [row["correct_share"] for row in rows]
    growth = _late(rewards) - _early(rewards)
    scale = max(row["reward_std"] for row in rows)
    return growth > max(_HACKING * scale, 0.0) and _late(rates) <= _early(rates)


def _early(values: list[float]) -> float:
    return sum(values[:WINDOW]) / WINDOW


def _late(values: list[float]) -> float:
    return sum(values[-WINDOW:]) / WINDOW
