"""
Left: second attempts before RL that are right, of problems whose first answers were all wrong, by
what was said in between. `critique` shows how a correct answer begins, as far as the wrong one
agrees, and names the wrong word after it; `leak` shows the same without saying what the error
is; `another` is the critique of an answer to another problem; `none` only asks again. Right:
accuracy on held-out problems after RL that learns from right second attempts after each of these,
with as many generated tokens; `grpo` learns from none, `start` is before. Intervals count instances
and seeds, see docs/statistics.md. Asks the question of `arXiv 2506.03106`_.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

_ORDER = ("start", "grpo", "none", "outcome", "full", "another", "leak", "critique")
_PANELS = {"repair": "second attempts (%)", "accuracy": "after RL (%)"}
_RULES = {"id": "ID", "ood": "OOD"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw repairs by message, and accuracy by arm."""
    models, left_out = layout.fitting(frame["track"])
    known = [said for said in _ORDER if said in set(frame["said"])]
    figure, axes = layout.panels(style, len(models), 2, 0.9 + 0.3 * len(known), sharey=True)
    for row, model in zip(axes, models, strict=True):
        whole = layout.by_seed(frame[frame["track"] == model])[0]
        for ax, (measure, label) in zip(row, _PANELS.items(), strict=True):
            for i, (rule, named) in enumerate(_RULES.items()):
                own = whole[(whole["measure"] == measure) & (whole["rule"] == rule)]
                form = looks.look(style, rule)
                layout.marks(ax, own, "share", "said", known, 0.2 * (i - 0.5), named, form)
            ax.set_xlim(left=0)
            ax.xaxis.set_major_formatter(layout.as_percent)
            layout.title(ax, *((model,) if ax is row[0] else ()), label)
        row[0].set_yticks(range(len(known)), known)
        row[0].set_ylim(len(known) - 0.4, -0.6)
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def message(frame: pd.DataFrame) -> str:
    """Return what a critique repairs beyond what it shows of the answer."""
    own = frame[(frame["measure"] == "repair") & (frame["rule"] == "id")]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    known = {r.said: messages.of_row(r._asdict(), "share") for r in frame.itertuples()}
    if not {"critique", "leak"} <= set(known):
        return ""
    change = messages.difference(known["critique"], known["leak"])
    return messages.effect("the share of repairs", change, "by a word on the error")


FIGURES = [Figure("fig_critique", "critique", "Repairs after a critique", __doc__, draw, message)]
