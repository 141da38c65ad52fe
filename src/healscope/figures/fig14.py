"""
Principal angles between the leading left and right singular subspaces of two checkpoints, for
subspaces of three sizes, in the first layer: base to End (SFT) and End to RL; of several models, of
the left vectors alone. There is no interval here: bands are the range of the seeds. Grey: the two
nulls, that is, how far an update of the same size without meaning turns them (noise; the update's
own singular values in random directions); light grey and black: the two floors, that is, what
rounding to bf16 turns and what a second decomposition of the same weights by another route turns
(roundoff; the axis is logarithmic above its lowest tick and ends in 0). Only where the coloured
line leaves the grey ones is there rotation beyond what size alone brings. Subspaces of more than
half of the space must share directions, whose angle is 0. The title has medians of the smallest of
these subspaces. Answers Figure 14 of `arXiv 2509.12235`_, which shows neither nulls nor floors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, messages
from healscope.figures.fig13 import all_roles, compared, with_nulls
from healscope.figures.looks import STAGES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAIRS = {"base--end": ("sft", "base to End"), "end--rl": ("rl", "End to RL")}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw angles in the first layer, of role k if it is there."""
    frame, place = _one_matrix(frame)
    fractions = _spread(sorted(frame["fraction"].unique()))
    several = frame["track"].nunique() > 1
    sides = [side for side in ("left", "right") if side in set(frame["side"])][: 2 - several]
    pairs = compared(frame, _PAIRS)
    models, left_out = layout.fitting(frame["track"], len(pairs) * len(sides))
    rows = [(model, pair, side) for model in models for pair in pairs for side in sides]
    figure, axes = layout.panels(style, len(rows), len(fractions), 1.5, sharex="col", sharey="all")
    for row, (model, pair, side) in zip(axes, rows, strict=True):
        stage, step = _PAIRS[pair]
        part = frame[(frame["track"] == model) & (frame["pair"] == pair) & (frame["side"] == side)]
        for ax, fraction in zip(row, fractions, strict=True):
            _angles(ax, part[part["fraction"] == fraction], style, stage)
        layout.title(row[0], model)
        row[0].set_ylabel(f"{STAGES[stage]}: {step}\n{side} vectors\ndegrees")
    layout.log_to_zero(axes[0, 0], 1e-2, 60)
    for ax, fraction in zip(axes[-1], fractions, strict=True):
        ax.set_xlabel(f"index, leading {100 * fraction:.3g}%")
        layout.integer_axis(ax, 4)
    seeds = "line: mean of the seeds; band: their range" if layout.several_seeds(frame) else ""
    return figure, layout.joined(place, seeds, left_out)


def _one_matrix(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    role = "k" if "k" in set(frame["role"]) else all_roles(frame)[0]
    frame = frame[frame["role"] == role]
    layer = frame["layer"].min()
    return frame[frame["layer"] == layer], f"layer {layer}, {role}"


def _spread(values: list) -> list:
    """First, middle and last, or fewer where there are fewer."""
    return list(dict.fromkeys([values[0], values[len(values) // 2], values[-1]]))


def _angles(ax: Axes, frame: pd.DataFrame, style: FigureStyle, stage: str) -> None:
    for control, (label, form) in with_nulls(style, stage).items():
        lines = frame[frame["control"] == control].groupby("index")["degrees"]
        lines = lines.agg(["mean", "min", "max"])
        if len(lines):
            band = {"color": form["color"], "alpha": 0.2, "linewidth": 0}
            ax.fill_between(lines.index, lines["min"], lines["max"], **band)
            ax.plot(lines.index, lines["mean"], label=label, **form)


def message(frame: pd.DataFrame) -> str:
    """Return how far the leading directions turn, beside noise of the same size."""
    frame, place = _one_matrix(frame)
    frame = frame[frame["fraction"] == frame["fraction"].min()]
    return messages.by_track(frame, lambda own: _said(own, place))


def _said(frame: pd.DataFrame, place: str) -> str:
    said = []
    for pair in compared(frame, _PAIRS):
        middle = frame[frame["pair"] == pair].groupby("control")["degrees"].median()
        middle = middle.where(middle > 1e-6, 0)  # roundoff
        noise = f" (noise {middle['noise']:.2g}°)" if "noise" in middle else ""
        said.append(f"{STAGES[_PAIRS[pair][0]]} turns them by {middle['']:.2g}°{noise}")
    first = f"leading {100 * frame['fraction'].iloc[0]:.3g}% of directions, {place}"
    return f"{first}: {', '.join(said)}"


FIGURES = [
    Figure(
        "fig14",
        "principal-angles",
        "Rotation of the singular subspaces",
        __doc__,
        draw,
        message,
        gate=("sft", "rl"),
    )
]
