"""Where answers go wrong: the steps of an answer along SFT (arXiv 2509.12235, appendix D.1)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    DOTTED,
    INK,
    RULES,
    banded,
    by_seed,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    round_steps,
    step_axis,
    step_label,
    styled,
    title,
)  # fmt: skip

# first error -> what it is called, hatch; from the bottom of the stack to its top
_FAULTS = {
    "none": ("correct", ""),
    "arithmetic": ("wrong value", "...."),
    "formula_numbers": ("formula ignores its numbers", "\\\\\\\\"),
    "number_line": ("number line breaks the rule", "////"),
    "format": ("no answer format", "xxxx"),
}


@styled
def errors(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """First error of every answer, success at each of its steps, and loss of the steps, where it is
    known."""
    frame = frame[frame["stage"] == "sft"]
    rows = [(model, rule) for model in frame["track"].unique() for rule in RULES]
    columns = 3 if "loss" in set(frame["kind"]) else 2
    figure, axes = panels(style, len(rows), columns, 1.95, sharex=True, sharey="col")
    for row, (model, rule) in zip(axes, rows, strict=True):
        for ax in row:
            step_axis(ax, round_steps(int(frame["step"].max())), columns=columns)
        part, _ = by_seed(frame[(frame["track"] == model) & (frame["rule"] == rule)])
        _first_errors(row[0], part[part["kind"] == "first error"], style)
        for ax, kind in zip(row[1:], ("success", "loss"), strict=False):
            _steps(ax, part[part["kind"] == kind], style)
        title(row[0], model, RULES[rule])
        percent_axis(row[0], "answers (%)")
        percent_axis(row[1], "step mastered (%)")
    title(axes[0, 1], "success by step")
    axes[0, 0].set_ylim(0, 1)
    axes[0, 1].set_ylim(-0.03, 1.03)
    place = "middle" if columns == 3 else "right"
    note = (
        f"left: first error of each answer; {place}: mastered among answers that mastered the "
        f"steps before, {intervals(frame, 'band', '')}"
    )
    if columns == 3:
        for ax in axes[:, 2]:
            ax.set_ylabel("nats per token")
        title(axes[0, 2], "loss by step")
        from_zero(axes[0, 2])
        note += "; right: reference answer, band: range of the seeds"
    step_label(figure)
    legend(figure, 2, note)
    return figure


def _first_errors(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    shares = frame.pivot(index="step", columns="name", values="value").reindex(columns=_FAULTS)
    bottom = np.zeros(len(shares))
    colours = _fault_colours(style)
    for name, (label, hatch) in _FAULTS.items():
        top = bottom + shares[name].fillna(0).to_numpy()
        ax.fill_between(
            shares.index, bottom, top, label=label,
            facecolor=colours[name], edgecolor=INK, hatch=hatch, linewidth=0.5,
        )  # fmt: skip
        bottom = top


def _fault_colours(style: FigureStyle) -> dict[str, tuple]:
    """Pale, so that hatches are seen; an error has the colour of the step it is made in."""

    def pale(colour: tuple, strength: float) -> tuple:
        return tuple(1 - strength * (1 - part) for part in colour)

    number, formula = (look(style, step)["color"] for step in ("number", "formula"))
    return {
        "none": pale(formula, 0.9),
        "arithmetic": pale(formula, 0.5),
        "formula_numbers": pale(formula, 0.2),
        "number_line": pale(number, 0.45),
        "format": pale((0.5, 0.5, 0.5), 0.35),
    }


def _steps(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    forms = {
        "format": {"color": CONTROL, "marker": "v", "linestyle": DOTTED},
        "number step": look(style, "number"),
        "formula step": look(style, "formula"),
    }
    for name, form in forms.items():
        part = frame[frame["name"] == name].dropna(subset="value")
        if len(part):
            label = "format step" if name == "format" else name
            banded(ax, part, "value", label, form | {"markersize": 3.5, "linewidth": 1.3})
