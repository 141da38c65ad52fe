"""Episodes along SFT and after RL: whole ones, and their steps."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import EXHAUSTIVE, FigureStyle
from healscope.figures.style import (
    DOTTED,
    RULES,
    banded,
    by_seed,
    errors,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    step_axis,
    step_label,
    styled,
    title,
)  # fmt: skip

_TOLD = {
    "after_none": "tried again",
    "after_outcome": "told when wrong",
    "after_full": "with full feedback",
}
_PANELS = {"episode": "whole episodes", "step": "steps"}


@styled
def episodes(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Success on held-out episodes, at first and with feedback; RL's at the step it starts from."""
    frame = frame[(frame["protocol"] == EXHAUSTIVE) & (frame["split"] == "held_out")]
    frame = frame[frame["stage"].isin(["sft", "rl"])].rename(columns={"share": "accuracy"})
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 2, 2.9, sharey="row")
    for row, model in zip(axes, models, strict=True):
        own, _ = by_seed(frame[frame["track"] == model])
        for ax, (measure, name) in zip(row, _PANELS.items(), strict=True):
            step_axis(ax, own["step"], columns=2)
            for rule in RULES:
                _rule(ax, own[own["rule"] == rule], measure, rule, style)
            title(ax, model, name)
        from_zero(row[0])  # once both are drawn: they share the axis
        percent_axis(row[0], "right (%)")
    step_label(figure)
    legend(figure, 2, f"held-out episodes; {intervals(frame, 'bands and bars', '')}")
    return figure


def _rule(ax: Axes, frame: pd.DataFrame, measure: str, rule: str, style: FigureStyle) -> None:
    form, label = look(style, rule), RULES[rule]
    first = frame[(frame["way"] == "first") & (frame["measure"] == measure)]
    sft, rl = (first[first["stage"] == stage] for stage in ("sft", "rl"))
    banded(ax, sft, "accuracy", f"{label}, SFT", form | {"markersize": 4})
    thin = form | {"linestyle": DOTTED, "marker": "", "linewidth": 1.2}
    if measure == "step":
        other = frame[(frame["way"] == "first") & (frame["measure"] == "step_reached")]
        what = "steps until the first failure"
    else:
        told = [way for way in reversed(_TOLD) if way in set(frame["way"])][:1]
        other = frame[frame["way"].isin(told) & (frame["measure"] == measure)]
        what = _TOLD[told[0]] if told else ""
    other = other[other["stage"] == "sft"].sort_values("step")
    if len(other):
        ax.plot(other["step"], other["accuracy"], label=f"{label}, {what}", **thin)
    if len(rl):
        ax.errorbar(
            rl["step"], rl["accuracy"], errors(rl, "accuracy"), label=f"{label}, after RL",
            color=form["color"], marker="D", markerfacecolor="white", markersize=6, linestyle="",
        )  # fmt: skip
