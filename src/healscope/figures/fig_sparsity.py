"""
Share of the entries of all decomposed matrices that an update from End leaves as they are, by the
format in which they are compared. The updates are that of RL, that of SFT in as many steps at the
same rate, the latter made as long as RL's, and noise as long as RL's in every matrix. An update is
sparse in itself only where it leaves more entries than others of its length; what bf16 alone hides
is rounding. Dots are single seeds. Asks the question of `arXiv 2505.11711`_, with the controls that
`arXiv 2509.04259`_ calls for.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

_ARMS = {"rl": "RL", "sft": "SFT", "sft scaled": "SFT, as long", "noise": "noise, as long"}
_STORED = {"bf16": "bf16", "1e-5": "within 1e-5", "float32": "float32"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw the unchanged share of each update, in each format."""
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 1, 2.3)
    for ax, model in zip(axes[:, 0], models, strict=True):
        own = frame[frame["track"] == model]
        arms = [arm for arm in _ARMS if arm in set(own["arm"])]
        place = {arm: i for i, arm in enumerate(arms)}
        whole, seeds = layout.by_seed(own)
        for i, (stored, form) in enumerate(
            zip(_STORED, looks.ordered_looks(style, len(_STORED)), strict=True)
        ):
            form |= {"linestyle": "", "markersize": 6}
            rows = whole[whole["stored"] == stored]
            shift = 0.2 * (i - 1)
            ax.plot(
                rows["arm"].map(place).astype(float) + shift,
                rows["unchanged"],
                label=_STORED[stored],
                **form,
            )
            spots = seeds[seeds["stored"] == stored]
            if layout.several_seeds(frame):
                x = spots["arm"].map(place).astype(float) + shift + 0.07
                ax.plot(x, spots["unchanged"], ".", color=form["color"], markersize=3)
        ax.set_xticks(range(len(arms)), [_ARMS[arm] for arm in arms])
        ax.set_xlim(-0.5, len(arms) - 0.5)
        layout.from_zero(ax)
        layout.percent_axis(ax, "entries unchanged (%)")
        layout.title(ax, model)
    dots = "dots: single seeds" if layout.several_seeds(frame) else ""
    return figure, layout.joined(dots, left_out)


def message(frame: pd.DataFrame) -> str:
    """Return what share of entries RL and its controls of the same length leave as they are."""
    return messages.by_track(frame[(frame["stored"] == "bf16")], _said)


def _said(frame: pd.DataFrame) -> str:
    seeds = layout.by_seed(frame)[1]
    said = [
        f"{_ARMS[arm]} {messages.over_seeds(own['unchanged'], '%')}"
        for arm, own in seeds.groupby("arm", sort=False)
        if arm != "sft"
    ]
    return f"unchanged in bf16: {', '.join(said)}"


FIGURES = [Figure("fig_sparsity", "sparsity", "How sparse updates are", __doc__, draw, message)]
