"""
Accuracy on held-out hands along SFT and after RL from its starts (open marks): under the training
rule, and under other rules at the same distances from it, whose face cards have values that cards
have in answers of SFT, or that they never have there. If SFT forgets to follow other rules, both
fall; if it forgets to compute with other numbers, only the latter does. Intervals count instances
and seeds, see docs/statistics.md. A control that `arXiv 2509.12235`_ lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {"training rule": "id", "numbers seen": "composition", "numbers unseen": "ood"}
_LABELS = {
    "training rule": "training rule",
    "numbers seen": "other rules, card values of SFT",
    "numbers unseen": "other rules, other card values",
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy along SFT, and after RL, for each kind of rule."""

    def lines(ax: Axes, whole: pd.DataFrame) -> None:
        for numbers, key in _LOOKS.items():
            own = whole[whole["numbers"] == numbers]
            layout.stages(ax, own, _LABELS[numbers], looks.look(style, key))

    together = frame[frame["neighbour"] == "all"]
    return layout.along_steps(together, style, 2.6, "accuracy (%)", lines)


def message(frame: pd.DataFrame) -> str:
    """Return how far the two kinds of rules are apart at the last step of SFT."""
    frame = frame[frame["neighbour"] == "all"]
    return messages.by_track(layout.by_seed(frame)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    last = frame[(frame["stage"] == "sft") & (frame["step"] == frame["step"].max())]
    other = last.set_index("numbers")
    if not {"numbers unseen", "numbers seen"} <= set(other.index):
        return "there are no rules at one distance with numbers seen and unseen"
    ends = (messages.of_row(other.loc[f"numbers {name}"]) for name in ("unseen", "seen"))
    step = int(last["step"].iloc[0])
    about = f"at step {step}, of card values that SFT never has against others"
    return messages.effect("accuracy", messages.difference(*ends), about)


FIGURES = [
    Figure(
        "fig_numbers",
        "numbers",
        "Is it the rule, or its numbers?",
        __doc__,
        draw,
        message,
    )
]
