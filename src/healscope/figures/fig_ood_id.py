"""
OOD accuracy against ID accuracy on held-out problems, along SFT: a point for each checkpoint,
joined in the order of the steps, with the first and the last step named. Error bars count instances
and seeds, see docs/statistics.md; thin lines are single seeds. A path that bends down to the right
gains on the rule it is trained on and loses on the other; one along the diagonal learns what both
rules share. Shows Figures 3a and 3b of `arXiv 2509.12235`_ as one curve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draws a panel for each track: the path of SFT in the plane of both accuracies."""
    frame = _sft(frame)
    tracks, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(tracks), 1, 2.7)
    for ax, track in zip(axes[:, 0], tracks, strict=True):
        _path(ax, frame[frame["track"] == track], style)
        layout.title(ax, track)
    note = layout.intervals(frame, "error bars")
    return figure, layout.joined(note, "dotted: both alike", left_out)


def _sft(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["stage"] == "sft") & (frame["split"] == "held_out")]


def _path(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, seeds = layout.by_seed(frame.sort_values("step"))
    ends = {rule: whole[whole["rule"] == rule].set_index("step") for rule in ("id", "ood")}
    x, y = (ends[rule]["accuracy"] for rule in ("id", "ood"))
    across, along = (layout.errors(ends[rule], "accuracy") for rule in ("id", "ood"))
    ax.errorbar(x, y, along, across, label="SFT", elinewidth=0.7, **looks.look(style, "sft"))
    if layout.several_seeds(frame):
        for _, one in seeds.groupby("seed"):
            own = one.pivot(index="step", columns="rule", values="accuracy")
            form = looks.look(style, "sft") | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
            ax.plot(own["id"], own["ood"], **form)
    for step, up in ((x.index[0], -9), (x.index[-1], 5)):
        place = {"xytext": (5, up), "textcoords": "offset points", "fontsize": "small"}
        ax.annotate(f"step {step}", (x[step], y[step]), **place)
    top = max(x.max(), y.max())
    ax.plot([0, top], [0, top], color=looks.GREY, linestyle=looks.DOTTED, linewidth=0.8, zorder=0)
    ax.margins(0.1)
    layout.percent_axis(ax, "OOD accuracy (%)")
    ax.xaxis.set_major_formatter(layout.as_percent)
    ax.set_xlabel("ID accuracy (%)")


def message(frame: pd.DataFrame) -> str:
    """Returns how both accuracies change after the step where OOD accuracy is best."""
    return messages.by_track(_sft(frame), _after_best)


def _after_best(frame: pd.DataFrame) -> str:
    return messages.after_best(frame[frame["rule"] == "ood"], "OOD") + "; " + _rise(frame)


def _rise(frame: pd.DataFrame) -> str:
    whole = layout.by_seed(frame[frame["rule"] == "id"])[0].sort_values("step")
    first, last = (messages.of_row(whole.iloc[place]) for place in (0, -1))
    return messages.effect("ID", messages.difference(last, first), "from first to last step")


FIGURES = [Figure("fig_ood_id", "curves", "OOD against ID accuracy", __doc__, draw, message)]
