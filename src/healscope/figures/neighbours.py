"""Accuracy by distance from the training rule, a panel for each thing that can differ."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    DOTTED,
    LANDMARKS,
    by_seed,
    errors,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    several_seeds,
    styled,
    title,
)  # fmt: skip
from healscope.tasks.cards.neighbours import ANCHOR, KINDS

_POINTS = {"base": "Base", **LANDMARKS}
# kind -> title of its panel, and what its axis counts
_PANELS = {
    "cards": ("cards", "cards more or fewer"),
    "target": ("target", "to a trained one"),
    "card exchanged": ("card exchanged", "in a training hand"),
    "equal rule": ("rule, J = Q = K", "sum of differences"),
    "unequal rule": ("rule, J, Q, K differ", "sum of differences"),
    "rendering": ("rendering", "parts put otherwise"),
}
_COLUMNS = 3


@styled
def neighbours(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """A panel for each kind of neighbour; the training rule is at 0 in all of them."""
    frame = frame[frame["since"] == ""]
    kinds = [kind for kind in _PANELS if kind in set(frame["neighbour"])]
    blocks = list(frame.groupby(["track", "protocol"], sort=False))
    rows = -(-len(kinds) // _COLUMNS)
    figure, axes = panels(style, rows * len(blocks), _COLUMNS, 1.7, sharey=True)
    for block, (names, part) in zip(np.split(axes, len(blocks)), blocks, strict=True):
        told = names if frame["protocol"].nunique() > 1 else names[:1]
        whose = told if len(blocks) > 1 else ()
        for ax in block.flat[len(kinds) :]:
            ax.set_visible(False)
        for ax, kind in zip(block.flat, kinds, strict=False):
            own = part[part["neighbour"].isin([ANCHOR, kind])]
            _panel(ax, own, style, several_seeds(frame))
            named, axis = _PANELS[kind]
            title(ax, *(whose if ax is block[0, 0] else ()), named)
            ax.set_xlabel(axis)
        for ax in block[:, 0]:
            percent_axis(ax, "accuracy (%)")
    from_zero(axes[0, 0])
    missing = [kind for kind in KINDS if kind not in {*frame["neighbour"]}]
    note = intervals(frame, "bars", "dots") + "; distance 0 (dotted): the training rule"
    if missing:
        note += f"; none of kind {', '.join(missing)}"
    legend(figure, 4, note)
    return figure


def _panel(ax: Axes, frame: pd.DataFrame, style: FigureStyle, dots: bool) -> None:
    """Distances stand side by side, whatever lies between them."""
    distances = sorted(frame["distance"].unique())
    place = {distance: i for i, distance in enumerate(distances)}
    points = [name for name in _POINTS if name in set(frame["landmark"])]
    shifts = dict(zip(points, np.linspace(-0.21, 0.21, len(points) + 2)[1:-1], strict=True))
    for name in points:
        whole, seeds = by_seed(frame[frame["landmark"] == name].sort_values("distance"))
        form = look(style, name) | {"markersize": 3.5, "linewidth": 1.1}
        x = whole["distance"].map(place) + shifts[name]
        ax.errorbar(
            x, whole["accuracy"], errors(whole, "accuracy"), label=_POINTS[name],
            elinewidth=0.8, capsize=1.5, **form,
        )  # fmt: skip
        if dots:
            spots = seeds["distance"].map(place) + shifts[name]
            ax.plot(spots, seeds["accuracy"], ".", color=form["color"], markersize=2, alpha=0.7)
    ax.axvline(place[0], color=CONTROL, linewidth=0.7, linestyle=DOTTED, zorder=0)
    labels = [f"{distance:g}".replace("-", "\N{MINUS SIGN}") for distance in distances]
    ax.set_xticks(range(len(distances)), labels)
    ax.set_xlim(-0.4, len(distances) - 0.6)
