"""What reverting part of the spectrum does: figures 4 to 7 of arXiv 2509.12235."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from healscope.artifacts import EDIT_STAGES
from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASHED,
    INK,
    LANDMARKS,
    RULES,
    as_percent,
    by_seed,
    errors,
    from_zero,
    legend,
    look,
    panels,
    percent_axis,
    styled,
    title,
)  # fmt: skip

_AXES = {"layers": "first layers reverted", "rank": "leading share reverted (%)"}
_KINDS = {
    "values": "singular values reverted",
    "directions": "singular directions reverted",
    "swap": "control: both reverted",
}


@styled
def reversion(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Figs 4 to 7: accuracy of the edited target, by how much of it is reverted."""
    models = list(frame["model"].unique())
    axes_drawn = [axis for axis in _AXES if axis in set(frame["axis"])]
    rows = [(model, rule) for model in models for rule in RULES]
    figure, axes = panels(style, len(rows), len(axes_drawn), 1.95, sharex="col", sharey="row")
    for row, (model, rule) in zip(axes, rows, strict=True):
        part = frame[(frame["model"] == model) & (frame["rule"] == rule)]
        for ax, axis in zip(row, axes_drawn, strict=True):
            _panel(ax, part, axis, style)
        title(row[0], model, RULES[rule])
        percent_axis(row[0], "accuracy (%)")
        from_zero(row[0])
    for ax, axis in zip(axes[-1], axes_drawn, strict=True):
        _amount_axis(ax, axis)
    legend(figure, 2, "band, error bars: interval over all seeds; thin lines: single seeds")
    return figure


def _panel(ax: Axes, frame: pd.DataFrame, axis: str, style: FigureStyle) -> None:
    whole, seeds = by_seed(frame)
    _references(ax, whole, style)
    for kind, label in _KINDS.items():
        if kind in set(frame["kind"]):
            _edited(ax, _curve(whole, kind, axis), kind, label)
    main = next(kind for kind in _KINDS if kind in set(frame["kind"]))
    for _, one in seeds.groupby("seed"):
        curve = _curve(one, main, axis)
        ax.plot(curve["amount"], curve["accuracy"], color=INK, linewidth=0.6, alpha=0.45)


def _references(ax: Axes, whole: pd.DataFrame, style: FigureStyle) -> None:
    parent, target = EDIT_STAGES[whole["stage"].iloc[0]]
    for kind, landmark, what in (("none", target, "not edited"), ("parent", parent, "reverted to")):
        height = whole.loc[whole["kind"] == kind, "accuracy"].iloc[0]
        form = look(style, landmark) | {"marker": "", "linewidth": 1.8}
        ax.axhline(height, label=f"{LANDMARKS[landmark]} ({what})", zorder=1, **form)


def _curve(frame: pd.DataFrame, kind: str, axis: str) -> pd.DataFrame:
    """The unedited target at amount 0, then the edits of one kind along one axis."""
    edits = (frame["kind"] == kind) & (frame["axis"] == axis)
    return frame[edits | (frame["kind"] == "none")].sort_values("amount")


def _edited(ax: Axes, curve: pd.DataFrame, kind: str, label: str) -> None:
    if kind == "swap":
        ax.errorbar(
            curve["amount"], curve["accuracy"], errors(curve, "accuracy"), label=label,
            color=CONTROL, marker="X", markersize=6, markerfacecolor="white", linestyle=DASHED,
        )  # fmt: skip
        return
    band = {"color": INK, "alpha": 0.13, "linewidth": 0}
    ax.fill_between(curve["amount"], curve["low"], curve["high"], **band)
    ax.plot(curve["amount"], curve["accuracy"], label=label, color=INK, marker="o")


def _amount_axis(ax: Axes, axis: str) -> None:
    ax.set_xlabel(_AXES[axis])
    if axis == "rank":
        ax.xaxis.set_major_formatter(as_percent)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
