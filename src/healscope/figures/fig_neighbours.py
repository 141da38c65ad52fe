"""
Accuracy on problems that differ from training in one thing, by how much they differ, at the base,
at MaxOOD (the SFT checkpoint with the best OOD accuracy), at End (where SFT hands over to RL) and
after RL. Panels: another number of cards; another target; a hand of the training side with one card
exchanged; another rule for J, Q and K, under which they all count alike, or not (the OOD rule is
among them); the same problems with their prompts put otherwise. Of a task of reasoning-gym: each
OOD group, and each attribute of the curriculum. The point at distance 0 is the training rule on
held-out instances, the same in all panels. Distances stand side by side, whatever lies between
them; docs/neighbours.md and docs/reasoning-gym.md say what each counts. All problems are on the
held-out side; those of the card game hold a face card and have a solution. Intervals count
instances and seeds, see docs/statistics.md. MaxOOD is reported, for each seed and half of the
instances, as picked by other seeds on the other half; with one run, by its own other half.

If SFT forgets the OOD rule of `arXiv 2509.12235`_ in particular, End falls below MaxOOD in the
panels of rules alone. If it forgets whatever is not what it trains, End falls the further below
MaxOOD the larger the distance is, in all panels. The title counts the changes from MaxOOD to End,
paired by problem, by intervals that hold for all neighbours at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.artifacts import POINT_NAMES
from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure
from healscope.tasks.cards.neighbours import ANCHOR, KINDS, order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each kind of neighbour; the training rule is at 0 in all of them."""
    frame = frame[frame["since"] == ""]
    kinds = sorted(set(frame["neighbour"]) - {ANCHOR}, key=lambda kind: (order(kind), kind))
    rows = -(-len(kinds) // _COLUMNS)
    places = list(frame[["track", "protocol"]].drop_duplicates().itertuples(index=False, name=None))
    places, left_out = layout.fitting(places, rows)
    figure, axes = layout.panels(style, rows * len(places), _COLUMNS, 1.7, sharey=True)
    for block, names in zip(np.split(axes, len(places)), places, strict=True):
        part = frame[(frame["track"] == names[0]) & (frame["protocol"] == names[1])]
        told = names if frame["protocol"].nunique() > 1 else names[:1]
        whose = told if len(places) > 1 else ()
        for ax in block.flat[len(kinds) :]:
            ax.set_visible(False)
        for ax, kind in zip(block.flat, kinds, strict=False):
            ax.set_visible(kind in set(part["neighbour"]))
            own = part[part["neighbour"].isin([ANCHOR, kind])]
            _panel(ax, own, style, layout.several_seeds(frame))
            named, axis = _PANELS.get(kind, (kind, "levels of the curriculum"))
            layout.title(ax, *(whose if ax is block[0, 0] else ()), named)
            ax.set_xlabel(axis)
        for ax in block[:, 0]:
            layout.percent_axis(ax, "accuracy (%)")
    layout.from_zero(axes[0, 0])
    there = {*frame["neighbour"]}
    missing = [kind for kind in KINDS if kind not in there] if there & {*_PANELS} else []
    none = f"none of kind {', '.join(missing)}" if missing else ""
    return figure, layout.joined(layout.intervals(frame, "bars", "dots"), none, left_out)


def _panel(ax: Axes, frame: pd.DataFrame, style: FigureStyle, dots: bool) -> None:
    """Draw distances side by side, whatever lies between them."""
    distances = sorted(frame["distance"].unique())
    place = {distance: i for i, distance in enumerate(distances)}
    points = [name for name in POINT_NAMES if name in set(frame["landmark"])]
    shifts = dict(zip(points, np.linspace(-0.21, 0.21, len(points) + 2)[1:-1], strict=True))
    for name in points:
        whole, seeds = layout.by_seed(frame[frame["landmark"] == name].sort_values("distance"))
        form = looks.look(style, name) | {"markersize": 3.5, "linewidth": 1.1}
        x = whole["distance"].map(place) + shifts[name]
        ax.errorbar(
            x, whole["accuracy"], layout.errors(whole, "accuracy"), label=POINT_NAMES[name],
            elinewidth=0.8, capsize=1.5, **form,
        )  # fmt: skip
        if dots:
            spots = seeds["distance"].map(place) + shifts[name]
            ax.plot(spots, seeds["accuracy"], ".", color=form["color"], markersize=2, alpha=0.7)
    ax.axvline(place[0], color=looks.GREY, linewidth=0.7, linestyle=looks.DOTTED, zorder=0)
    labels = [f"{distance:g}".replace("-", "\N{MINUS SIGN}") for distance in distances]
    ax.set_xticks(range(len(distances)), labels)
    ax.set_xlim(-0.4, len(distances) - 0.6)


def message(frame: pd.DataFrame) -> str:
    """Return at how many neighbours accuracy changes from MaxOOD to End, and where most."""
    own = (frame["landmark"] == "end") & (frame["since"] == "maxood")
    if not own.any():
        return "Accuracy by distance from the training rule"
    return messages.by_track(layout.by_seed(frame[own])[0], _said)


def _said(frame: pd.DataFrame) -> str:
    several = frame["protocol"].nunique() > 1
    changes = {
        f"{row.neighbour}{f', distance {row.distance:g}' if row.distance else ''}"
        + (f" ({row.protocol})" if several else ""): messages.of_row(row._asdict())
        for row in frame.itertuples()
    }
    return messages.counted("accuracy", "neighbour", changes, "from MaxOOD to End")


FIGURES = [
    Figure(
        "fig_neighbours",
        "neighbours",
        "Accuracy by distance from the training rule",
        __doc__,
        draw,
        message,
    )
]
