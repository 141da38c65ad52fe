"""
Whether answers rest on what the model says before them, along SFT and after RL (open marks). Lines
are shares of the answers that were right by themselves. The three tests: how many stay the same
when the number line is left out, when cards and numbers are put in another order, and when the
numbers are filler; unchanged, all stay (identity, the floor of the tests). A number line by the
other rule: how many use the numbers that are written there. Held-out ID problems; intervals count
instances and seeds, see docs/statistics.md. Asks the question of `arXiv 2411.15382`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = ("follows", "early", "paraphrase", "filler")
_LABELS = {
    "follows": "other numbers: follows them",
    "early": "no number line: stays",
    "paraphrase": "other order: stays",
    "filler": "filler: stays",
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw each test along SFT, and after RL."""

    def lines(ax: Axes, whole: pd.DataFrame) -> None:
        for name, form in zip(_SHOWN, looks.ordered_looks(style, len(_SHOWN)), strict=True):
            own = whole[whole["measure"] == name]
            layout.stages(ax, own, _LABELS[name], form | {"markersize": 4}, value="share")
        floor = whole[(whole["measure"] == "identity") & (whole["stage"] == "sft")]
        floor = floor.sort_values("step")
        line = {"color": looks.GREY, "linestyle": looks.DOTTED}
        ax.plot(floor["step"], floor["share"], label="unchanged: stays", **line)

    return layout.along_steps(frame[frame["rule"] == "id"], style, 2.8, "right answers (%)", lines)


def message(frame: pd.DataFrame) -> str:
    """Return how far following other numbers changes from the best SFT step to the last."""
    own = frame[(frame["rule"] == "id") & (frame["measure"] == "follows")]
    sft = own[own["stage"] == "sft"]
    return messages.by_track(
        sft, lambda rows: messages.after_best(rows, "following other numbers", "share")
    )


FIGURES = [
    Figure("fig_faithfulness", "faithfulness", "Answers and their chains", __doc__, draw, message)
]
