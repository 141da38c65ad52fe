"""
Accuracy on keepers, sets that are evaluated and never trained on (docs/keepers.md), beside that on
held-out problems under the ID and the OOD rule: along SFT, and as open marks after RL (the recipe
of landmark RL) at the step that it started from. So the forgetting of abilities stands beside the
forgetting of a rule. Not part of `arXiv 2509.12235`_. The sets are of different problems, so their
heights differ for many reasons: compare the changes along a line. The title counts keepers by their
change from the base to End, paired by problem; table `keepers` has it for every checkpoint, with
the problems lost and gained beside what chance alone would exchange. Intervals count instances and
seeds, see docs/statistics.md.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

MOST = 6
"""Keepers that are drawn; more are in the table."""


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each model: both rules, and each keeper."""
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 1, 2.9)
    more = 0
    for ax, model in zip(axes[:, 0], models, strict=True):
        own = frame[frame["track"] == model]
        main = set(own.loc[(own["at"] == "landmark") & (own["checkpoint"] == "rl"), "recipe"])
        own = own[(own["at"] == "checkpoint") & own["recipe"].isin({"", *main})]
        whole, _ = layout.by_seed(own.astype({"step": int}))
        layout.step_axis(ax, whole["step"])
        rules = whole[whole["kind"] == "rule"]
        for rule, named in RULES.items():
            own = rules[rules["keeper"] == rule]
            layout.stages(ax, own, named, looks.look(style, rule))
        kept = whole[whole["kind"] == "keeper"]
        names = list(dict.fromkeys(kept["keeper"]))
        more = max(more, len(names) - MOST)
        forms = looks.ordered_looks(style, len(names[:MOST]) + 2)[2:]  # the first two are rules'
        for name, form in zip(names[:MOST], forms, strict=True):
            own = kept[kept["keeper"] == name]
            layout.stages(ax, own, f"keeper: {name}", form | {"markersize": 4})
        layout.title(ax, model, "")
        layout.from_zero(ax)
        layout.percent_axis(ax, "accuracy (%)")
    layout.step_label(axes)
    said = layout.beyond(more, "keepers")
    return figure, layout.joined(layout.intervals(frame, "bands, bars", ""), said, left_out)


def message(frame: pd.DataFrame) -> str:
    """Return how many keepers fall from the base to End, and which most."""
    return messages.by_track(frame, _fallen)


def _fallen(frame: pd.DataFrame) -> str:
    end = frame[(frame["at"] == "landmark") & (frame["checkpoint"] == "end")]
    end = end[(end["kind"] == "keeper") & (end["seed"] == "all")]
    changes = {
        r.keeper: (r.change, r.change_low, r.change_high) for r in end.itertuples(index=False)
    }
    return messages.counted("accuracy", "keeper", changes, "from the base to End")


FIGURES = [
    Figure(
        "fig_keepers",
        "keepers",
        "Keepers beside the rules of training, along SFT and after RL",
        __doc__,
        draw,
        message,
    )
]
