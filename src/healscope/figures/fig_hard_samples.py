"""
What RL on problems of one hardness changes on held-out problems: those that were easy, medium or
hard before, by samples at the starts of other seeds, and OOD problems. Left: accuracy after RL
minus accuracy before. Right: the share of answers that state the commonest formula of their
checkpoint whatever the cards are, after minus before. Arms differ in the problems that they train
on, in what is paid (`value_only` is a verifier that leaks: it pays the target made of any numbers),
and in whether advantages are divided by the spread of their group (not in `dr_grpo`). Intervals
count instances and seeds, see docs/statistics.md. Asks the question of `arXiv 2605.28388`_: do
overly hard problems harm what a model could do, or does the verifier?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POOLS = {"easy": "easy before", "medium": "medium", "hard": "hard", "ood": "OOD"}
_MEASURES = {"accuracy": "accuracy", "one formula": "one formula for all"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw the change by each arm, of each pool of problems."""
    models, left_out = layout.fitting(frame["track"])
    arms = list(dict.fromkeys(frame["recipe"]))
    height = 0.8 + 0.34 * len(arms)
    figure, axes = layout.panels(style, len(models), 2, height, sharey=True)
    for row, model in zip(axes, models, strict=True):
        for ax, (measure, named) in zip(row, _MEASURES.items(), strict=True):
            own = frame[(frame["track"] == model) & (frame["measure"] == measure)]
            _changes(ax, layout.by_seed(own)[0], arms, style)
            layout.title(ax, *((model,) if ax is row[0] else ()), named)
        row[0].set_yticks(range(len(arms)), arms)
        row[0].set_ylim(len(arms) - 0.4, -0.6)
    layout.step_label(axes, "after − before (percentage points)")
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _changes(ax: Axes, whole: pd.DataFrame, arms: list[str], style: FigureStyle) -> None:
    forms = looks.ordered_looks(style, len(_POOLS))
    for i, ((pool, label), form) in enumerate(zip(_POOLS.items(), forms, strict=True)):
        own = whole[whole["pool"] == pool]
        layout.marks(ax, own, "change", "recipe", arms, 0.16 * (i - 1.5), label, form)
    ax.axvline(0, color=looks.INK, linewidth=0.9, zorder=1)
    ax.xaxis.set_major_formatter(layout.as_percent)


def message(frame: pd.DataFrame) -> str:
    """Return for how many arms accuracy on what was easy falls, and where most."""
    own = frame[(frame["measure"] == "accuracy") & (frame["pool"] == "easy")]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    changes = {r.recipe: messages.of_row(r._asdict(), "change") for r in frame.itertuples()}
    return messages.counted("accuracy on what was easy", "arm", changes, "by RL")


FIGURES = [
    Figure("fig_hard_samples", "hard-samples", "RL on hard problems", __doc__, draw, message)
]
