"""
Where updates live: the energy of the update ΔW in blocks of the singular bases of the older
weights, relative to what an update without direction has there (the line at 1). With E = UᵀΔWV,
squares on E's diagonal are, to first order, changes of singular values, split into the head
(the leading directions), the bulk and the tail of the spectrum; squares off the diagonal turn
vectors, for each pair of blocks that a left and a right vector come from; "outside" leaves the
space that the old vectors span, which only rectangular matrices allow. Upper row: MaxOOD to End
(SFT); lower row: End to RL. Dots are medians over layers, roles and seeds, bars their ranges; there
is no interval. Grey: the same for an update of the same size that means nothing. In the panels'
titles: how large updates are relative to the weights, ‖ΔW‖/‖W‖, and their effective rank beside
that of noise; above: medians of all matrices. Asks what `arXiv 2509.12235`_ and `arXiv 2508.16546`_
say of values, vectors, and the two ends of the spectrum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.comparison_controls import CONTROLS
from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.fig13 import PAIRS, compared
from healscope.figures.looks import INK, STAGES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCKS = ("head", "bulk", "tail")
# part of an update's energy -> how it is written
_PARTS = {
    **{f"diagonal-{x}": f"σ of {x}" for x in _BLOCKS},
    **{f"{x}-{y}": f"{x} · {y}" for x in _BLOCKS for y in _BLOCKS},
    "outside": "outside",
}
_GROUPS = {
    "attention": ("q", "k", "v", "o"),
    "MLP": ("gate", "up", "down"),
    "embeddings, head": ("embeddings", "head"),
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a row for each model and stage, a panel for each group of roles."""
    groups = [g for g, roles in _GROUPS.items() if set(roles) & set(frame["role"])]
    pairs = compared(frame, PAIRS)
    models, left_out = layout.fitting(frame["track"], len(pairs))
    rows = [(model, pair) for model in models for pair in pairs]
    figure, axes = layout.panels(style, len(rows), len(groups), 2.0, sharex=True, sharey=True)
    for row, (model, pair) in zip(axes, rows, strict=True):
        stage, step = PAIRS[pair]
        part = frame[(frame["track"] == model) & (frame["pair"] == pair)]
        for ax, group in zip(row, groups, strict=True):
            own = part[part["role"].isin(_GROUPS[group])]
            _energies(ax, own[own["quantity"] == "energy"], looks.look(style, stage))
            layout.title(ax, f"{group}: {_size(own)}")
        row[0].set_ylabel(f"{model}, {STAGES[stage]}\n{step}\nenergy of ΔW / chance")
    layout.log_axis(axes[0, 0], [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50])
    for ax in axes[-1]:
        ax.set_xticks(range(len(_PARTS)), _PARTS.values(), rotation=90)
    note = "dot: median of layers, roles and seeds; bar: their range"
    return figure, layout.joined(note, left_out)


def _ratios(frame: pd.DataFrame) -> pd.DataFrame:
    ratio = (frame["value"] / frame["chance"]).groupby([frame["control"], frame["part"]])
    return ratio.agg(["median", "min", "max"])


def _energies(ax: Axes, frame: pd.DataFrame, form: dict) -> None:
    ax.axhline(1, color=INK, linewidth=0.7)
    for x in (2.5, 11.5):  # values, turns, outside
        ax.axvline(x, color="0.85", linewidth=0.7)
    found = _ratios(frame)
    nulls = {name: c for name, c in CONTROLS.items() if c.kind == "null"}
    shown = {
        **{n: (c.label, {"color": c.colour, "marker": c.marker}) for n, c in nulls.items()},
        "": ("measured", {"color": form["color"], "marker": "o"}),
    }
    for place, (control, (label, mark)) in enumerate(shown.items()):
        if control not in found.index:
            continue
        part = found.loc[control].reindex(list(_PARTS))
        x = np.arange(len(part)) + 0.25 * (place - len(nulls) / 2)
        ax.vlines(x, part["min"], part["max"], color=mark["color"], linewidth=1)
        ax.plot(x, part["median"], linestyle="", markersize=4, label=label, **mark)


def _size(frame: pd.DataFrame) -> str:
    """Return how large an update is and of what rank, medians."""
    middle = frame.groupby(["quantity", "control"])["value"].median()
    if ("effective_rank", "") not in middle:
        return "nothing moved"  # both landmarks are one checkpoint
    noise = middle.get(("effective_rank", "noise"))
    beside = "" if noise is None else f" ({noise:.0f})"
    return f"{100 * middle['drift', '']:.2g}%, rank {middle['effective_rank', '']:.0f}{beside}"


def message(frame: pd.DataFrame) -> str:
    """Return where in the old spectrum updates have most energy, relative to chance."""
    return messages.by_track(frame[frame["quantity"] == "energy"], _said)


def _said(frame: pd.DataFrame) -> str:
    said = []
    for pair in compared(frame, PAIRS):
        middle = _ratios(frame[frame["pair"] == pair])["median"]
        if "" not in middle.index:
            continue
        most = middle[""].idxmax()
        noise = f" (noise {middle['noise'][most]:.2g})" if "noise" in middle.index else ""
        said.append(
            f"{STAGES[PAIRS[pair][0]]}: most energy in {_PARTS[most]}, "
            f"{middle[''][most]:.2g} times chance{noise}"
        )
    return "; ".join(said) or "nothing moved"


FIGURES = [
    Figure(
        "fig_delta",
        "weight-updates",
        "Where in the spectrum updates live",
        __doc__,
        draw,
        message,
        gate=("sft", "rl"),
    )
]
