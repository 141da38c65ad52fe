"""
How sure answers say they are, and how right, before RL, after RL that is paid for right answers
alone, and after RL that is also paid the Brier score. Left: accuracy and stated confidence; above
accuracy, confidence is too high. Right: the Brier score of what is stated, the same after a map of
confidences fitted on the other half of the problems, and that of one confidence for all: a model
that knows which of its answers are right lies left of it. SFT teaches the line with confidences
drawn at random. Greedy answers to held-out ID problems; intervals count instances and seeds, see
docs/statistics.md. Asks the question of `arXiv 2507.16806`_: does a Brier reward calibrate?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = {
    "how often": {"accuracy": "accuracy", "confidence": "stated confidence"},
    "squared error": {
        "brier": "Brier score",
        "recalibrated": "recalibrated",
        "constant": "one confidence for all",
    },
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy and confidence, and Brier scores, of each checkpoint."""
    models, left_out = layout.fitting(frame["track"])
    names = list(dict.fromkeys(frame.sort_values(["stage", "step"], ascending=False)["checkpoint"]))
    names = sorted(names, key=lambda name: "-from-" in name)
    height = 1.0 + 0.42 * len(names)
    figure, axes = layout.panels(style, len(models), 2, height, sharey=True)
    for row, model in zip(axes, models, strict=True):
        whole, _ = layout.by_seed(frame[frame["track"] == model])
        forms = iter(looks.ordered_looks(style, sum(map(len, _PANELS.values()))))
        for ax, (named, shown) in zip(row, _PANELS.items(), strict=True):
            _values(ax, whole, names, shown, forms)
            layout.title(ax, *((model,) if ax is row[0] else ()), named)
        row[0].xaxis.set_major_formatter(layout.as_percent)
        row[0].set_yticks(range(len(names)), names)
        row[0].set_ylim(len(names) - 0.5, -0.5)
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _values(ax: Axes, whole: pd.DataFrame, names: list[str], shown: dict, forms: Iterator) -> None:
    for i, (measure, label) in enumerate(shown.items()):
        form = next(forms)
        own = whole[whole["measure"] == measure]
        shift = 0.2 * (i - (len(shown) - 1) / 2)
        layout.marks(ax, own, "value", "checkpoint", names, shift, label, form)
    ax.set_xlim(left=0)


def message(frame: pd.DataFrame) -> str:
    """Return the Brier score of each checkpoint after RL."""
    own = frame[frame["measure"] == "brier"]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    after = frame[frame["stage"] == "rl"]
    told = [f"{r.recipe} {r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in after.itertuples()]
    return "Brier score of stated confidence: " + ", ".join(told)


FIGURES = [Figure("fig_confidence", "confidence", "Stated confidence", __doc__, draw, message)]
