"""
Whole walks that succeed when the model's own actions move the walker, at the last step of SFT, on
held-out routes: from the start of the route, and after one wrong action that led off it. Arms take
as many steps on as many trained tokens. *World model first*: what is seen after other actions than
the expert's is learned before the expert is imitated; *shuffled*: the same answers to other
questions; *more of the expert*: other routes instead; *reflections*: every second answer says what
another action would have led to. Under the ID rule (left) and the OOD rule (right). Intervals count
routes and seeds, see docs/statistics.md. Asks the question of `arXiv 2510.08558`_: does a model
learn from what its own failures lead to?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import ARM_LABELS, FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ARMS = {"sft": "plain SFT", **ARM_LABELS}
_BEGUN = ("on route", "off route")


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw the success of walks by each arm at the last step, on and off the route."""
    frame = frame[(frame["kind"] == "level") & (frame["step"] == frame["step"].max())]
    models, left_out = layout.fitting(frame["track"])
    arms = [arm for arm in _ARMS if arm in set(frame["arm"])]
    height = 0.8 + 0.3 * len(arms)
    figure, axes = layout.panels(style, len(models), 2, height, sharey=True)
    for row, model in zip(axes, models, strict=True):
        for ax, (rule, named) in zip(row, RULES.items(), strict=True):
            own = frame[(frame["track"] == model) & (frame["rule"] == rule)]
            _walks(ax, layout.by_seed(own)[0], arms, style)
            layout.title(ax, *((model,) if ax is row[0] else ()), named)
        row[0].set_yticks(range(len(arms)), [_ARMS[arm] for arm in arms])
        row[0].set_ylim(len(arms) - 0.4, -0.6)
    layout.step_label(axes, "walks that succeed (%)")
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _walks(ax: Axes, whole: pd.DataFrame, arms: list[str], style: FigureStyle) -> None:
    for i, (begun, form) in enumerate(zip(_BEGUN, looks.ordered_looks(style, 2), strict=True)):
        own = whole[whole["begun"] == begun]
        layout.marks(ax, own, "success", "arm", arms, 0.2 * (i - 0.5), begun, form)
    ax.set_xlim(-0.03, 1.03)
    ax.xaxis.set_major_formatter(layout.as_percent)


def message(frame: pd.DataFrame) -> str:
    """Return what each arm changes against plain SFT, on the route under the ID rule."""
    own = frame[(frame["kind"] == "difference") & (frame["step"] == frame["step"].max())]
    own = own[(own["rule"] == "id") & (own["begun"] == "on route")]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    changes = {_ARMS[r.arm]: messages.of_row(r._asdict(), "success") for r in frame.itertuples()}
    return messages.counted("success of walks", "arm", changes, "against plain SFT")


FIGURES = [Figure("fig_experience", "experience", "Early experience", __doc__, draw, message)]
