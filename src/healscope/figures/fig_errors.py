"""
Where answers go wrong along SFT, on held-out deals with a face card, a row for each rule. Left:
every answer by the step of its first error: no answer format; a number line that breaks the rule; a
formula that is wrong or ignores its numbers. Middle: how often a step of the answer is mastered
among the answers that mastered the steps before it. Right: loss of the number step and of the
formula step of the reference answer. Intervals count instances and seeds, see docs/statistics.md;
the bands of the losses are the range of the seeds. The table tells wrong formulas from those that
ignore their numbers. Appendix D.1 of `arXiv 2509.12235`_ explains why OOD loss and OOD accuracy
part by a number step that forgets the rule and a formula step that still improves.

If that holds here, the row of the OOD rule shows the number step falling, in success and loss,
while the formula step does not. A success given the steps before is about different answers at
different checkpoints: a formula step that falls after a rising number step may have met harder
answers only. Results of RL are in the table and not drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK, RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# the step of the first error -> first errors in it, hatch; from the bottom of the stack to its top
_FAULTS = {
    "correct": (["none"], ""),
    "first error: formula": (["arithmetic", "formula_numbers"], "\\\\\\\\"),
    "first error: number line": (["number_line"], "////"),
    "first error: format": (["format"], "xxxx"),
}
_STEPS = {"number step": "number", "formula step": "formula"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw first errors, success at each step, and loss of the steps where it is known."""
    frame = frame[frame["stage"] == "sft"]
    models, left_out = layout.fitting(frame["track"], len(RULES))
    rows = [(model, rule) for model in models for rule in RULES]
    kinds = ["success", *(["loss"] if "loss" in set(frame["kind"]) else [])]
    columns = 1 + len(kinds)
    figure, axes = layout.panels(style, len(rows), columns, 1.8, sharex=True, sharey="col")
    steps = layout.round_steps(int(frame["step"].max()))
    for row, (model, rule) in zip(axes, rows, strict=True):
        for ax in row:
            layout.step_axis(ax, steps, columns=columns)
        part, _ = layout.by_seed(frame[(frame["track"] == model) & (frame["rule"] == rule)])
        _first_errors(row[0], part[part["kind"] == "first error"], style)
        for ax, kind in zip(row[1:], kinds, strict=True):
            _steps(ax, part[part["kind"] == kind], style)
        layout.title(row[0], model, RULES[rule])
        layout.title(row[1], "success by step")
        layout.percent_axis(row[0], "answers (%)")
        layout.percent_axis(row[1], "step mastered (%)")
        if len(kinds) > 1:
            layout.title(row[2], "loss by step")
            row[2].set_ylabel("nats per token")
    axes[0, 0].set_ylim(0, 1)
    axes[0, 1].set_ylim(-0.03, 1.03)
    if len(kinds) > 1:
        layout.from_zero(axes[0, 2])
        axes[0, 2].set_ylim(top=1.05 * axes[0, 2].get_ylim()[1])
    layout.step_label(axes)
    return figure, layout.joined(layout.intervals(frame, "bands of success", ""), left_out)


def _first_errors(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    shares = frame.pivot(index="step", columns="name", values="value")
    bottom = np.zeros(len(shares))
    colours = _fault_colours(style)
    for label, (names, hatch) in _FAULTS.items():
        top = bottom + shares.reindex(columns=names).fillna(0).sum(axis=1).to_numpy()
        ax.fill_between(
            shares.index, bottom, top, label=label,
            facecolor=colours[label], edgecolor=INK, hatch=hatch, linewidth=0.5,
        )  # fmt: skip
        bottom = top


def _fault_colours(style: FigureStyle) -> dict[str, tuple]:
    """Pale, so that hatches are seen; an error has the colour of the step it is made in."""
    number, formula = (looks.look(style, step)["color"] for step in ("number", "formula"))
    return {
        "correct": looks.pale(formula, 0.9),
        "first error: formula": looks.pale(formula, 0.35),
        "first error: number line": looks.pale(number, 0.45),
        "first error: format": looks.pale((0.5, 0.5, 0.5), 0.35),
    }


def _steps(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    for name, key in _STEPS.items():
        part = frame[frame["name"] == name].dropna(subset="value")
        if len(part):
            form = looks.look(style, key) | {"markersize": 3.5, "linewidth": 1.3}
            layout.banded(ax, part, "value", name, form)


def message(frame: pd.DataFrame) -> str:
    """Return the most frequent first error under the OOD rule at the last step, and its share."""
    own = (frame["stage"] == "sft") & (frame["rule"] == "ood") & (frame["kind"] == "first error")
    return messages.by_track(layout.by_seed(frame[own])[0], _said)


def _said(frame: pd.DataFrame) -> str:
    last = frame[(frame["step"] == frame["step"].max()) & (frame["name"] != "none")]
    if last["value"].isna().all():
        return "no answers under the OOD rule"
    row = last.loc[last["value"].idxmax()]
    what = {
        "arithmetic": "a formula of the wrong value",
        "formula_numbers": "a formula that ignores its numbers",
        "number_line": "a number line that breaks the rule",
        "format": "no answer format",
    }[row["name"]]
    share = messages.level(row, "value")
    return f"most frequent first error under the OOD rule at step {row['step']}: {what}, {share}"


FIGURES = [
    Figure(
        "fig_errors",
        "errors",
        "Errors by step of the answer (appendix D.1)",
        __doc__,
        draw,
        message,
    )
]
