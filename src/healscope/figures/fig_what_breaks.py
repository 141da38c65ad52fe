"""
What RL changes under each reward, where nothing but the reward differs: recipe, start and seeds are
the same. A cell is the outcome after RL minus before, in percentage points; red is worse and blue
better, and bold numbers have an interval without 0. Pale cells with a dash were not measured, and
cells in brackets have less than 10% before RL: what was never there cannot be lost. All answers are
greedy, and given to held-out problems. `verdict` pays the degrees of wrongness that the verifier
tells apart, the others what docs/rl.md says. Intervals count instances and seeds, see
docs/statistics.md; each holds by itself, so in a full grid some are bold by chance. Asks of each
reward what papers ask of one, such as `arXiv 2507.16806`_ and `arXiv 2605.28388`_: what does RL
break?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMES = {
    "id": "ID accuracy",
    "ood": "OOD accuracy",
    "a card less": "accuracy, a card less",
    "easy": "accuracy, easy before",
    "follows": "formula follows its line",
    "one formula": "one formula for all",
    "miscalibration": "miscalibration",
}
_STRONGEST = 0.4
"""The change that has the strongest colour."""


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a grid of changes, outcomes by rewards."""
    from healscope.findings.what_breaks import OUTCOMES

    models, left_out = layout.fitting(frame["track"])
    paid = frame.drop_duplicates("recipe").set_index("recipe")["reward"]
    shown = [name for name in OUTCOMES if name in set(frame["outcome"])]
    figure, axes = layout.panels(style, len(models), 1, 1.2 + 0.3 * len(shown))
    for (ax,), model in zip(axes, models, strict=True):
        whole, _ = layout.by_seed(frame[frame["track"] == model])
        _cells(ax, whole, shown, paid)
        layout.title(ax, model)
    return figure, layout.joined("bold: the interval leaves 0 out", left_out)


def _cells(ax: Axes, whole: pd.DataFrame, shown: list[str], paid: pd.Series) -> None:
    import numpy as np

    from healscope.findings.contrasts import FLOOR
    from healscope.findings.what_breaks import WORSE_UP

    worse = np.full((len(shown), len(paid)), np.nan)
    for cell in whole.itertuples():
        row, column = shown.index(cell.outcome), list(paid.index).index(cell.recipe)
        sign = 1 if cell.outcome in WORSE_UP else -1
        never = cell.outcome not in WORSE_UP and cell.before < FLOOR
        worse[row, column] = 0.0 if never else sign * cell.change
        clear = cell.low > 0 or cell.high < 0
        text = f"{100 * cell.change:+.0f}"
        text, weight = (f"({text})", "normal") if never else (text, "bold" if clear else "normal")
        ax.text(column, row, text, ha="center", va="center", fontsize="small", fontweight=weight)
    ax.imshow(worse, cmap="RdBu_r", vmin=-_STRONGEST, vmax=_STRONGEST, aspect="auto", alpha=0.75)
    for row, column in zip(*np.nonzero(np.isnan(worse)), strict=True):
        ax.text(column, row, "–", ha="center", va="center", fontsize="small")
    ax.set_xticks(range(len(paid)), [name.replace(" + ", "\n+ ") for name in paid], rotation=30,
                  ha="right")  # fmt: skip
    ax.set_yticks(range(len(shown)), [_NAMES[name] for name in shown])
    ax.tick_params(length=0)
    ax.grid(visible=False)


def message(frame: pd.DataFrame) -> str:
    """Return under how many rewards OOD accuracy falls, and under which most."""
    own = frame[frame["outcome"] == "ood"]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    from healscope.findings.contrasts import FLOOR

    if (frame["before"] < FLOOR).all():
        return f"OOD accuracy was below {100 * FLOOR:.0f}% before RL"
    changes = {r.reward: messages.of_row(r._asdict(), "change") for r in frame.itertuples()}
    return messages.counted("OOD accuracy", "reward", changes, "by RL")


FIGURES = [
    Figure(
        "fig_what_breaks", "what-breaks", "What RL breaks under each reward", __doc__, draw, message
    )
]
