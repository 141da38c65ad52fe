"""
Accuracy on keepers, sets that are evaluated and never trained on (docs/keepers.md), beside that on
held-out problems under the ID and the OOD rule: along SFT, and as open marks after RL (the recipe
of landmark RL) at the step that it started from. For keepers that are texts, a second panel shows
the mean log-probability of a token: perplexity is exp of minus that, and a line that falls is a
loss there too. So the forgetting of abilities stands beside the forgetting of a rule. Keepers are
named at the ends of their lines. Not part of `arXiv 2509.12235`_. The sets are of different
problems, so their heights differ for many reasons: compare the changes along a line. The title
counts keepers by their change from the base to End, paired by problem; table `keepers` has it for
every checkpoint, with the problems lost and gained beside what chance alone would exchange.
Intervals count instances and seeds, see docs/statistics.md.
"""

from __future__ import annotations

from itertools import product

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure
from healscope.schema import IN_NATS, IN_SHARES

MOST = 6
"""Keepers of a panel that are drawn; more are in the table."""


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each model: both rules, and each keeper; and one for texts, if there are."""
    units = [unit for unit in (IN_SHARES, IN_NATS) if unit in set(frame["unit"])]
    models, left_out = layout.fitting(frame["track"], len(units))
    figure, axes = layout.panels(style, len(models) * len(units), 1, 2.9)
    more = 0
    for ax, (model, unit) in zip(axes[:, 0], product(models, units), strict=True):
        own = frame[(frame["track"] == model) & (frame["unit"] == unit)]
        main = set(own.loc[(own["at"] == "landmark") & (own["checkpoint"] == "rl"), "recipe"])
        own = own[(own["at"] == "checkpoint") & own["recipe"].isin({"", *main})]
        whole, _ = layout.by_seed(own.astype({"step": int}))
        layout.step_axis(ax, whole["step"])
        rules = whole[whole["kind"] == "rule"]
        for rule, named in RULES.items():
            own = rules[rules["keeper"] == rule]
            if len(own):
                layout.stages(ax, own, named, looks.look(style, rule), value="value")
        kept = whole[whole["kind"] == "keeper"]
        more = max(more, kept["keeper"].nunique() - MOST)
        ends = layout.sets(ax, kept, "keeper", style, MOST, value="value")
        layout.title(ax, model, "")
        if unit == IN_NATS:
            ax.set_ylabel("log-probability\nof a token (nats)")
        else:
            layout.from_zero(ax)
            layout.percent_axis(ax, "accuracy (%)")
        layout.name_ends(ax, ends)
    layout.step_label(axes)
    said = layout.beyond(more, "keepers")
    return figure, layout.joined(layout.intervals(frame, "bands, bars", ""), said, left_out)


def message(frame: pd.DataFrame) -> str:
    """Return how many keepers fall from the base to End, and which most."""
    return messages.by_track(frame, _fallen)


def _fallen(frame: pd.DataFrame) -> str:
    end = frame[(frame["at"] == "landmark") & (frame["checkpoint"] == "end")]
    end = end[(end["kind"] == "keeper") & (end["seed"] == "all")]
    said = []
    for unit, (what, kind) in _COUNTED.items():
        changes = {
            r.keeper: (r.change, r.change_low, r.change_high)
            for r in end[end["unit"] == unit].itertuples(index=False)
        }
        if changes:
            said.append(messages.counted(what, kind, changes, "from the base to End", unit))
    return "; ".join(said)


_COUNTED = {
    IN_SHARES: ("accuracy", "keeper"),
    IN_NATS: ("the log-probability of tokens", "text"),
}


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
