"""
OOD accuracy lost by stopping SFT at a rule instead of at the OOD peak, ranked, the smallest loss on
top. Rules: the optimum of a signal; its knee, where its curve over the square root of the step is
farthest from its chord; and its level at the OOD peak of the other seeds, with open marks, since
that needs OOD labels of other runs. The baselines (diamonds, dotted lines) are the last checkpoint
and one picked blindly. Intervals count instances and seeds, see docs/statistics.md; small dots are
single seeds. The peak of each seed and half of the instances is the one that other seeds pick on
the other half (with one run, its own other half), so a rule may beat it and its regret be negative.

A rule is of use if its interval lies left of both baselines. The ranking alone says little: with
this many rules the best of them looks good by chance too. So the title has the rule without OOD
labels that did best on other runs and instances (of tables without it, the best one). Goes beyond
section 3.2 of `arXiv 2509.12235`_, which leaves open what could show the peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.fig_signals import SIGNALS
from healscope.figures.looks import INK
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw the regret of each stopping rule, the best on top."""
    models, left_out = layout.fitting(frame["track"])
    most = int(frame.groupby("track").size().max())
    figure, axes = layout.panels(style, len(models), 1, 0.6 + 0.165 * most, sharex=True)
    for ax, model in zip(axes[:, 0], models, strict=True):
        _ranking(ax, frame[frame["track"] == model].sort_values("rank"), style)
        layout.title(ax, model)
    axes[-1, 0].set_xlabel("regret: OOD accuracy lost against\nthe peak (percentage points)")
    several = frame["by_seed"].map(len).max() > 1
    over = "over all seeds; dots: single seeds" if several else "over instances, of one run"
    return figure, layout.joined(f"bars: interval {over}", left_out)


def _ranking(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    frame = frame.assign(place=range(len(frame)))
    baseline, labels = frame["rule"] == "none", frame["needs"] != "nothing"
    form = looks.look(style, "free")
    groups = (
        ("needs no OOD labels", frame[~baseline & ~labels], form),
        ("needs OOD labels of other seeds", frame[labels], form | looks.OPEN),
        ("baseline (and dotted line)", frame[baseline], form | {"color": INK, "marker": "D"}),
    )
    for label, rows, shape in groups:
        if rows.empty:
            continue
        ax.errorbar(
            rows["regret"], rows["place"], xerr=layout.errors(rows, "regret"), label=label,
            markersize=5, elinewidth=1, **shape,
        )  # fmt: skip
        for place, values in zip(rows["place"], rows["by_seed"], strict=True):
            if len(values) > 1:
                spots = np.full(len(values), place + 0.32)
                ax.plot(values, spots, ".", color=shape["color"], markersize=3, alpha=0.7)
    for value in frame.loc[baseline, "regret"]:
        ax.axvline(value, color=INK, linewidth=0.7, linestyle=looks.DOTTED, zorder=0)
    ax.axvline(0, color=looks.GREY, linewidth=0.9, zorder=0)
    ax.set_yticks(frame["place"], [_named(row) for row in frame.itertuples()])
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(layout.as_percent)


def _named(row) -> str:
    """Return a stopping rule in words: the signal, and what of it is taken for the peak."""
    name = SIGNALS.get(row.signal, (row.signal,))[0].replace("\n", " ")
    return name if row.rule in ("none", "best") else f"{name} \N{MIDDLE DOT} {row.rule}"


def message(frame: pd.DataFrame) -> str:
    """Return the regret of the rule that did best on other runs, beside the last checkpoint's."""
    return messages.by_track(frame, _said)


def _said(frame: pd.DataFrame) -> str:
    frame = frame.sort_values("rank")
    picked = frame[frame["rule"] == "best"]
    free = (
        picked if len(picked) else frame[(frame["needs"] == "nothing") & (frame["rule"] != "none")]
    )
    said = []
    for rows in (free, frame[frame["signal"] == "last checkpoint"]):
        for _, row in rows.head(1).iterrows():
            said.append(f"{_named(row)} {messages.points(messages.of_row(row, 'regret'))}")
    return f"regret: {'; '.join(said)}"


FIGURES = [Figure("fig_stopping", "stopping", "Regret of stopping rules", __doc__, draw, message)]
