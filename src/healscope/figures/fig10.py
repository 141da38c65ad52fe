"""
Accuracy after RL minus accuracy before it, on the same held-out deals, by the SFT step where RL
starts. Intervals count instances and seeds, see docs/statistics.md; they are of the paired
difference, and a filled mark means that the interval leaves out zero. The title counts starts by
intervals that hold for all starts at once, so it may count fewer starts than there are filled
marks. The paper's question is inside which window of starting points RL restores OOD accuracy.
Answers Figure 10 of `arXiv 2509.12235`_, and the recovery window of its section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw what RL changes under both rules, by the SFT step where it starts."""
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 1, 2.5)
    for ax, model in zip(axes[:, 0], models, strict=True):
        part = frame[frame["track"] == model].sort_values("start")
        starts = sorted(part["start"].unique())
        for offset, rule in ((-0.14, "id"), (0.14, "ood")):
            _changes(ax, part[part["rule"] == rule], starts, offset, style)
        layout.zero_line(ax)
        ax.set_xticks(range(len(starts)), [str(start) for start in starts])
        ax.set_xlabel("SFT step where RL starts")
        layout.percent_axis(ax, "after − before RL\n(percentage points)")
        layout.title(ax, model)
    note = layout.intervals(frame, "error bars", "small dots")
    return figure, layout.joined(note, layout.FILLED, left_out)


def _changes(
    ax: Axes, frame: pd.DataFrame, starts: list, offset: float, style: FigureStyle
) -> None:
    rule = frame["rule"].iloc[0]
    form = looks.look(style, rule)
    line = {"linestyle": form.pop("linestyle"), "color": form["color"], "linewidth": 0.8}
    whole, seeds = layout.by_seed(frame)
    clear = (whole["low"] > 0) | (whole["high"] < 0)
    for part, face in ((whole[clear], form["color"]), (whole[~clear], "white")):
        places = [starts.index(start) + offset for start in part["start"]]
        ax.errorbar(
            places, part["change"], layout.errors(part, "change"), label=RULES[rule],
            markerfacecolor=face, markersize=6, linestyle="", **form,
        )  # fmt: skip
    places = [starts.index(start) + offset * 1.6 for start in seeds["start"]]
    if layout.several_seeds(frame):
        ax.plot(places, seeds["change"], ".", color=form["color"], markersize=4, alpha=0.7)
    ends = [starts.index(start) + offset for start in whole["start"]]
    ax.plot(ends, whole["change"], zorder=1, **line)


def message(frame: pd.DataFrame) -> str:
    """Return from how many starts RL changes OOD accuracy, and where it does most."""
    ood = layout.by_seed(frame[frame["rule"] == "ood"])[0]
    return messages.by_track(ood, _counted)


def _counted(frame: pd.DataFrame) -> str:
    changes = {row.start: messages.of_row(row._asdict(), "change") for row in frame.itertuples()}
    return messages.counted("OOD", "start", {f"step {s}": c for s, c in changes.items()}, "by RL")


FIGURES = [Figure("fig10", "rl-window", "What RL changes, by its start", __doc__, draw, message)]
