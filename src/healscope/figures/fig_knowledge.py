"""
Ways of teaching a rule by a text that tells it, to a model that reads the text but does not know
the rule by its name. Every way starts from one checkpoint (the start, without the text and after
it, comes first) and reads as many tokens, but for SFT in RLAG's steps, which takes as many steps.
Left: accuracy on held-out hands under that rule, which the prompt only names; of the right answers,
the share whose number line obeys it. Right: accuracy under another rule, which nobody teaches here.
A false text gives the rule's name other values: what is learned from it must be wrong. Intervals
count instances and seeds, see docs/statistics.md. Asks the question of `arXiv 2509.20162`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = {
    "taught rule": {
        "the rule": "right, by its name alone",
        "coherent": "of these, coherent",
    },
    "another rule": {"other rules": "right"},
}

_MEASURES = [measure for measures in _PANELS.values() for measure in measures]


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw what each way has taught, and what is left of another rule."""
    models, left_out = layout.fitting(frame["track"])
    ways = list(dict.fromkeys(frame["way"]))
    figure, axes = layout.panels(style, len(models), 2, 0.9 + 0.32 * len(ways), sharey=True)
    for row, model in zip(axes, models, strict=True):
        whole, _ = layout.by_seed(frame[frame["track"] == model])
        for ax, (named, measures) in zip(row, _PANELS.items(), strict=True):
            _shares(ax, whole, measures, ways, style)
            layout.title(ax, *((model,) if ax is row[0] else ()), named)
        row[0].set_yticks(range(len(ways)), ways)
        row[0].set_ylim(len(ways) - 0.4, -0.6)
    layout.step_label(axes, "share (%)")
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _shares(
    ax: Axes, whole: pd.DataFrame, measures: dict[str, str], ways: list[str], style: FigureStyle
) -> None:
    forms = dict(zip(_MEASURES, looks.ordered_looks(style, len(_MEASURES)), strict=True))
    for i, (measure, label) in enumerate(measures.items()):
        own = whole[whole["measure"] == measure]
        shift = 0.2 * (i - (len(measures) - 1) / 2)
        layout.marks(ax, own, "value", "way", ways, shift, label, forms[measure])
    ax.set_xlim(-0.03, 1.03)
    ax.xaxis.set_major_formatter(layout.as_percent)


def message(frame: pd.DataFrame) -> str:
    """Return how often RLAG and SFT are right."""
    own = frame[frame["measure"] == "the rule"]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    from healscope.findings.knowledge import RLAG, SFT, SFT_IN_STEPS

    rows = {row["way"]: messages.level(row, "value") for row in frame.to_dict("records")}
    ways = [way for way in (RLAG, SFT, SFT_IN_STEPS) if way in rows]
    return "right under the taught rule: " + "; ".join(f"{way} {rows[way]}" for way in ways)


FIGURES = [
    Figure("fig_knowledge", "knowledge", "Teaching a rule by a text", __doc__, draw, message)
]
