"""
Accuracy at three points of training, under the ID rule (left) and the OOD rule (right): MaxOOD, the
SFT checkpoint with the best OOD accuracy; End, where SFT hands over to RL; RL, after reinforcement
learning from End. Bars are means over seeds and dots are single seeds. Intervals count instances
and seeds, see docs/statistics.md; those of the changes in the title take the bars as independent,
so they are wider than the paired ones of the claims.

MaxOOD is chosen for its OOD accuracy, and what is chosen looks better in the answers that chose it.
So the bar is corrected: each seed and half of the instances is reported at the checkpoint that
other seeds pick on the other half (a seed may have two steps). The dotted tick is the accuracy on
the instances that picked it.

Where a published model is drawn over it, in grey and with open marks, its values come from another
protocol, any of five tries with feedback on 234 drawn hands, and one run, and their error bars are
of the draw of hands alone: compare the changes, not the heights. Answers Figure 1 of
`arXiv 2509.12235`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.artifacts import LANDMARK_NAMES
from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK, RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HATCHES = {"maxood": "", "end": "////", "rl": "...."}


def draw(frame: pd.DataFrame, style: FigureStyle, published: pd.DataFrame | None = None) -> Drawn:
    """Draw a row for each model and a panel for each rule."""
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 2, 2.4, sharey="row")
    for row, model in zip(axes, models, strict=True):
        for ax, rule in zip(row, RULES, strict=True):
            if published is not None:
                over = published[published["over"] == model]
                _published(ax, over[over["split"] == rule])
            _bars(ax, frame[(frame["track"] == model) & (frame["rule"] == rule)], style)
            layout.title(ax, model, RULES[rule])
        row[0].set_ylim(bottom=0)  # of both panels, once the higher of them is drawn
        layout.percent_axis(row[0], "accuracy (%)")
    other = "" if published is None else "published: another protocol, compare changes alone"
    return figure, layout.joined(layout.intervals(frame, "error bars", "dots"), other, left_out)


def _bars(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, seeds = layout.by_seed(frame)
    names = [name for name in LANDMARK_NAMES if name in set(whole["landmark"])]
    for place, name in enumerate(names):
        bar = whole[whole["landmark"] == name]
        height = float(bar["accuracy"].iloc[0])
        colour = looks.pale(looks.look(style, name)["color"], 0.6)
        ax.bar(place, height, 0.65, color=colour, edgecolor=INK, hatch=_HATCHES[name])
        ax.errorbar(place, height, layout.errors(bar, "accuracy"), color=INK, capsize=4)
        own = seeds["landmark"] == name
        dots = seeds.loc[own & layout.several_seeds(frame), "accuracy"]
        spread = place + np.linspace(-0.2, 0.2, len(dots) + 2)[1:-1]
        ax.plot(spread, dots, "o", color="white", markeredgecolor=INK, markersize=4)
        top = max(float(bar["high"].iloc[0]), dots.max() if len(dots) else 0)
        for picked in whole.loc[whole["landmark"] == f"{name}_uncorrected", "accuracy"]:
            ax.hlines(
                picked, place - 0.3, place + 0.3, color=INK, linestyle=looks.DOTTED, linewidth=2,
                label=f"{LANDMARK_NAMES[name]} on the instances that picked it",
            )  # fmt: skip
            top = max(top, picked)
        ax.annotate(
            f"{100 * height:.1f}", (place, top), (0, 5), textcoords="offset points",
            ha="center", fontsize="small",
        )  # fmt: skip
    ax.set_xticks(range(len(names)), [landmark_label(seeds, name) for name in names])
    ax.margins(y=0.14)


def landmark_label(seeds: pd.DataFrame, name: str) -> str:
    """Return the landmark and the SFT steps behind it; seeds, and halves of the instances, may
    differ."""
    checkpoints = seeds.loc[seeds["landmark"] == name, "checkpoint"]
    names = [one for checkpoint in checkpoints for one in checkpoint.split(", ")]
    steps = sorted({int(one.rsplit("-", 1)[-1]) for one in names})
    where = "–".join(str(step) for step in (steps[:1] + steps[1:][-1:]))
    return f"{LANDMARK_NAMES[name]}\n{'from' if name == 'rl' else 'step'} {where}"


def _published(ax: Axes, published: pd.DataFrame) -> None:
    """Draw open diamonds beside the bars; a value published twice stands there twice."""
    from healscope.published import counts  # loads scipy

    for place, name in enumerate(LANDMARK_NAMES):
        rows = counts(published[published["stage"] == name])
        places = place + 0.43 + 0.1 * np.arange(len(rows))
        label = f"published: {rows['model'].iloc[0]}" if len(rows) else None
        ax.errorbar(
            places, rows["value"], layout.errors(rows, "value"), label=label, color=looks.GREY,
            marker="D", markersize=4.5, linestyle="", elinewidth=0.9, **looks.OPEN,
        )  # fmt: skip


def message(frame: pd.DataFrame) -> str:
    """Return how OOD accuracy changes from landmark to landmark."""
    ood = frame[frame["rule"] == "ood"]
    return messages.by_track(ood, lambda own: messages.between_landmarks(own, "OOD"))


FIGURES = [
    Figure(
        "fig1", "landmarks", "Accuracy at MaxOOD, End and RL", __doc__, draw, message, overlay=True
    )
]
