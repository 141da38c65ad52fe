"""
Accuracy on held-out hands, whole and with one card less, along SFT and after RL from each of its
starts (open marks). With a card less a hand is the same but for that card, and still makes the
target. RL's gain carries over where both rise alike; it collapses where the hands with a card less
fall. The dotted line is what SFT on such hands reaches. Under the ID rule; intervals count
instances and seeds, see docs/statistics.md. Asks the question of `arXiv 2603.23004`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {"whole": "id", "a card less": "number"}
_TAUGHT = "a card less, taught"


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy on both kinds of hands along SFT, and after RL."""

    def lines(ax: Axes, whole: pd.DataFrame) -> None:
        for hand, key in _LOOKS.items():
            form = looks.look(style, key)
            layout.stages(ax, whole[whole["hand"] == hand], hand, form)
        taught = whole[whole["hand"] == _TAUGHT]
        if len(taught):
            height, form = taught["accuracy"].max(), looks.look(style, _LOOKS["a card less"])
            ax.axhline(height, label=_TAUGHT, color=form["color"], linestyle=":", linewidth=1.2)

    return layout.along_steps(frame, style, 2.6, "accuracy (%)", lines)


def message(frame: pd.DataFrame) -> str:
    """Return for how many starts RL changes accuracy with a card less, and where most."""
    return messages.by_track(layout.by_seed(frame)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    less = frame[frame["hand"] == "a card less"]
    before = less[less["stage"] == "sft"].set_index("step")
    changes = {
        f"step {r.step}": messages.difference(
            messages.of_row(r._asdict()), messages.of_row(before.loc[r.step])
        )
        for r in less[less["stage"] == "rl"].itertuples()
        if r.step in before.index
    }
    return messages.counted("accuracy with a card less", "start", changes, "by RL")


FIGURES = [
    Figure(
        "fig_without_one", "without-one", "The same hands with a card less", __doc__, draw, message
    )
]
