"""
How sure a model is, by the agreement of its samples, and how right, along SFT and after RL (open
marks). Left: accuracy of the commonest solution of half of the samples, and its confidence, the
share of the other half that state it. Above accuracy, confidence is too high. Right: the Brier
score, the same after a map of confidences fitted on the other half of the problems, and that of one
confidence for all: a model that knows which of its answers are right lies below it. Held-out ID
problems; intervals count instances and seeds, see docs/statistics.md. Asks the question of
`arXiv 2507.16806`_: does a reward for right answers ruin calibration?
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

_LEFT = {"accuracy": ("accuracy", "id"), "confidence": ("confidence", "ood")}
_RIGHT = {
    "brier": ("Brier score", "rl"),
    "recalibrated": ("recalibrated", "samples"),
    "constant": ("one confidence for all", "base"),
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy and confidence, and Brier scores, along SFT and after RL."""
    frame = frame[frame["rule"] == "id"]
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 2, 2.4)
    for (left, right), model in zip(axes, models, strict=True):
        whole, _ = layout.by_seed(frame[frame["track"] == model])
        for ax, shown in ((left, _LEFT), (right, _RIGHT)):
            layout.step_axis(ax, whole["step"], columns=2)
            for measure, (label, key) in shown.items():
                own = whole[whole["measure"] == measure]
                form = looks.look(style, key) | {"markersize": 4}
                layout.stages(ax, own, label, form, value="value")
            layout.from_zero(ax)
        layout.percent_axis(left, "share (%)")
        right.set_ylabel("squared error")
        layout.title(left, model, "agreement")
        layout.title(right, "Brier score")
    layout.step_label(axes)
    note = layout.intervals(frame, "bands, bars", "")
    return figure, layout.joined(note, "open marks: after RL from that step", left_out)


def message(frame: pd.DataFrame) -> str:
    """Return by how much RL changes overconfidence, from its last start that is shown."""
    own = frame[(frame["rule"] == "id") & (frame["measure"] == "overconfidence")]
    return messages.by_track(layout.by_seed(own)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    after = frame[frame["stage"] == "rl"]
    before = frame[frame["stage"] == "sft"].set_index("step")
    if after.empty or after["step"].max() not in before.index:
        return "overconfidence after RL was not measured"
    last = after.loc[after["step"].idxmax()]
    start = before.loc[last["step"]]
    change = messages.difference(messages.of_row(last, "value"), messages.of_row(start, "value"))
    return messages.effect("confidence above accuracy", change, f"by RL from step {last['step']}")


FIGURES = [
    Figure("fig_calibration", "calibration", "Calibration by agreement", __doc__, draw, message)
]
