"""
Left: accuracy on held-out problems after each arm, by how hard they were for the starts of other
seeds. Arms go on from answers that an expert has begun: `similar` is paid for how similar the next
step is to the expert's, `similar_any` to that of any correct answer, `reachable` if a right answer
stays possible, `outcome` for right answers alone; `another` is paid for steps of another problem's
expert, and should gain nothing. `sft` learns the same steps, `whole` answers from the beginning,
`start` is before. Right: the share of groups of responses whose rewards differ, without which
nothing is learned. Intervals count instances and seeds, see docs/statistics.md. Asks the question
of `arXiv 2510.25992`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ARMS = ("start", "sft", "whole", "outcome", "similar", "similar_any", "reachable", "another")
_POOLS = {"easy": "easy before", "medium": "medium", "hard": "hard", "ood": "OOD"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy of each arm by pool, and its share of groups with a signal."""
    models, left_out = layout.fitting(frame["track"])
    arms = [arm for arm in _ARMS if arm in set(frame["arm"])]
    figure, axes = layout.panels(style, len(models), 2, 0.8 + 0.36 * len(arms), sharey=True)
    for row, model in zip(axes, models, strict=True):
        whole = layout.by_seed(frame[frame["track"] == model])[0]
        forms = looks.ordered_looks(style, len(_POOLS) + 1)
        for i, (pool, label) in enumerate(_POOLS.items()):
            own = whole[(whole["measure"] == "accuracy") & (whole["pool"] == pool)]
            _marks(row[0], own, arms, label, 0.16 * (i - 1.5), forms[i])
        signal = whole[whole["measure"] == "signal"]
        _marks(row[1], signal, arms, "groups with a signal", 0, forms[-1])
        layout.title(row[0], model, "accuracy (%)")
        layout.title(row[1], "groups with a signal (%)")
        row[0].set_yticks(range(len(arms)), arms)
        row[0].set_ylim(len(arms) - 0.4, -0.6)
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _marks(
    ax: Axes, own: pd.DataFrame, arms: list[str], label: str, shift: float, form: dict
) -> None:
    layout.marks(ax, own, "share", "arm", arms, shift, label, form)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(layout.as_percent)


def message(frame: pd.DataFrame) -> str:
    """Return what pay for steps changes on hard problems, against pay for outcomes."""
    hard = frame[(frame["measure"] == "accuracy") & (frame["pool"] == "hard")]
    return messages.by_track(layout.by_seed(hard)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    by_arm = {r.arm: messages.of_row(r._asdict(), "share") for r in frame.itertuples()}
    if not {"similar", "outcome"} <= set(by_arm):
        return ""
    change = messages.difference(by_arm["similar"], by_arm["outcome"])
    return messages.effect("accuracy on hard problems", change, "by rewards for steps")


FIGURES = [Figure("fig_steps", "steps", "RL paid for single steps", __doc__, draw, message)]
