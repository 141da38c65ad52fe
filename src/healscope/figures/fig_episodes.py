"""
A task of several steps, such as a route: the share of held-out episodes of which every step is
right (left), and the share of steps that are right (right), along SFT and, as open diamonds, after
RL at the step that it started from. Lines with bands count first tries. Dotted on the left: every
step right within the tries of one conversation, with the protocol's fullest feedback in between.
Dash-dotted on the right: steps as the released code counts them, which ends an episode at the first
step that failed, so that what comes after a failure does not count.

In each step the record of what was seen and done before is the true one, whatever the model
answered there, as in `arXiv 2501.17161`_, from which the navigation task of `arXiv 2509.12235`_
comes. An episode has to be right throughout, so its share falls much faster than that of steps.
Intervals count episodes and seeds, see docs/statistics.md; docs/navigation.md explains the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import EXHAUSTIVE, FigureStyle, Study
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TOLD = {
    "after_none": "left: tried again",
    "after_outcome": "left: told when wrong",
    "after_full": "left: with full feedback",
}
_PANELS = {"episode": "whole episodes", "step": "steps"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw success on held-out episodes, at first and with feedback; RL's where it starts."""
    frame = _held_out(frame)
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 2, 2.4, sharey="row")
    for row, model in zip(axes, models, strict=True):
        own, _ = layout.by_seed(frame[frame["track"] == model])
        for ax, (measure, name) in zip(row, _PANELS.items(), strict=True):
            layout.step_axis(ax, own["step"], columns=2)
            for rule in RULES:
                _rule(ax, own[own["rule"] == rule], measure, rule, style)
            layout.title(ax, model, name)
        layout.from_zero(row[0])  # once both are drawn: they share the axis
        layout.percent_axis(row[0], "right (%)")
    layout.step_label(axes)
    return figure, layout.joined(layout.intervals(frame, "bands and bars", ""), left_out)


def _held_out(frame: pd.DataFrame) -> pd.DataFrame:
    own = (frame["protocol"] == EXHAUSTIVE) & (frame["split"] == "held_out")
    return frame[own & frame["stage"].isin(["sft", "rl"])]


def _rule(ax: Axes, frame: pd.DataFrame, measure: str, rule: str, style: FigureStyle) -> None:
    form = looks.look(style, rule)
    first = frame[(frame["way"] == "first") & (frame["measure"] == measure)]
    sft, rl = (first[first["stage"] == stage] for stage in ("sft", "rl"))
    layout.banded(ax, sft, "share", f"{RULES[rule]}, SFT", form | {"markersize": 4})
    thin = form | {"linestyle": looks.DOTTED, "marker": "", "linewidth": 1.2}
    if measure == "step":
        other = frame[(frame["way"] == "first") & (frame["measure"] == "step_reached")]
        what = "right: steps until the first failure"
        thin["linestyle"] = looks.DASH_DOT
    else:
        told = [way for way in reversed(_TOLD) if way in set(frame["way"])][:1]
        other = frame[frame["way"].isin(told) & (frame["measure"] == measure)]
        what = _TOLD[told[0]] if told else ""
    other = other[other["stage"] == "sft"].sort_values("step")
    if len(other):  # a label for both rules: their colours are those of the lines
        ax.plot(other["step"], other["share"], label=what, **thin)
    if len(rl):
        ax.errorbar(
            rl["step"], rl["share"], layout.errors(rl, "share"), label="after RL",
            color=form["color"], marker="D", markersize=6, linestyle="", **looks.OPEN,
        )  # fmt: skip


def message(frame: pd.DataFrame) -> str:
    """Return the OOD share of whole episodes and of steps at the last step of SFT."""
    own = _held_out(frame)
    own = own[(own["stage"] == "sft") & (own["rule"] == "ood") & (own["way"] == "first")]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    last = frame[frame["step"] == frame["step"].max()].set_index("measure")
    whole, steps = (messages.level(last.loc[name], "share") for name in _PANELS)
    at = last["step"].iloc[0]
    return f"OOD at step {at}: {whole} of whole episodes and {steps} of steps are right"


def _asked(study: Study) -> bool:
    """Return whether a task that is trained on poses its problems as steps of episodes."""
    return any(study.tasks[name].task_class.episodes for name in study.trained_on)


FIGURES = [
    Figure(
        "fig_episodes",
        "episodes",
        "Whole routes and their steps, along SFT and after RL",
        __doc__,
        draw,
        message,
        asked=_asked,
    )
]
