"""
Accuracy on held-out problems of each OOD set, along SFT and, as open marks, after RL at the step
that it started from; where files or benchmarks make up the rules (docs/your-data.md). Sets are
named at the ends of their lines. The line with a band is all OOD problems together, in which every
problem counts once, so that large sets weigh more; ID accuracy is drawn beside it. Not part of
`arXiv 2509.12235`_, whose tasks have one OOD rule each. Sets are of different problems, so their
heights differ for many reasons: compare the changes along a line. Intervals count instances and
seeds, see docs/statistics.md; those of single sets are in table `groups`, as are accuracies without
problems that have a near twin among the training examples.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle, Study
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

_ALL = "all"
MOST = 8
"""Sets that are drawn; more are in the table."""


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each model: both rules, and each OOD set."""
    frame = frame[frame["twins"] == "kept"]
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 1, 2.9)
    more = 0
    for ax, model in zip(axes[:, 0], models, strict=True):
        whole, _ = layout.by_seed(frame[frame["track"] == model])
        layout.step_axis(ax, whole["step"])
        for rule, named in RULES.items():
            own = whole[(whole["group"] == _ALL) & (whole["rule"] == rule)]
            layout.stages(ax, own, named, looks.look(style, rule), bars=False)
        sets = whole[(whole["group"] != _ALL) & (whole["rule"] == "ood")]
        more = max(more, sets["group"].nunique() - MOST)
        ends = layout.sets(ax, sets, "group", style, MOST, thin=True)
        layout.title(ax, model, "")
        layout.from_zero(ax)
        layout.name_ends(ax, ends)
        layout.percent_axis(ax, "accuracy (%)")
    layout.step_label(axes)
    said = layout.beyond(more, "sets")
    return figure, layout.joined(layout.intervals(frame, "bands", ""), said, left_out)


def message(frame: pd.DataFrame) -> str:
    """Return how far accuracy changes on the OOD set that lost most since its best step.

    The interval holds for every step of every set at once, since both were picked.
    """
    own = frame[(frame["twins"] == "kept") & (frame["rule"] == "ood") & (frame["stage"] == "sft")]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    several = frame[frame["group"] != _ALL]
    sets = dict(list((several if len(several) else frame).groupby("group", sort=False)))
    ends = {}
    for name, own in sets.items():
        own = own.sort_values("step")
        ends[name] = own.iloc[-1], own.loc[own["accuracy"].idxmax()]
    most = max(ends, key=lambda name: ends[name][1]["accuracy"] - ends[name][0]["accuracy"])
    last, best = ends[most]
    what = "OOD" if most == _ALL else f"{most}, of {len(sets)} OOD sets,"
    if last["step"] == best["step"]:
        return f"every OOD set is best at the last step, {last['step']}"
    places = len(sets) * (frame["step"].nunique() - 1)
    change = messages.difference(messages.of_row(last), messages.of_row(best), places)
    return messages.effect(what, change, f"after step {best['step']}")


def _asked(study: Study) -> bool:
    return any(study.tasks[name].task_class.grouped for name in study.trained_on)


FIGURES = [
    Figure(
        "fig_groups",
        "groups",
        "Each OOD set, along SFT and after RL",
        __doc__,
        draw,
        message,
        asked=_asked,
    )
]
