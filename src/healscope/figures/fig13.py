"""
By how much every singular value changes between two checkpoints, by its index: MaxOOD to End (SFT,
upper row) and End to RL (lower row). Lines are root mean squares over layers and seeds, so there is
no interval. Any small update moves singular values little; so the same matrices are also shown with
an update of the same size that means nothing: Gaussian noise (dashed), and the update's own
singular values in random directions (dotted). Values are stable in an informative sense only where
the coloured line lies below these two. The floors: what rounding the weights to bf16 does to the
values, and what decomposing the same weights a second time by another route does (roundoff; the
axis is logarithmic above its lowest tick and ends in 0). In the titles: the norm of the change
relative to the norm of the spectrum, medians of layers and seeds (above the figure: of roles too),
measured and for noise. Answers Figure 13 of `arXiv 2509.12235`_, which shows no null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import MATRIX_ROLES, FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import STAGES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = {"maxood--end": ("sft", "MaxOOD to End"), "end--rl": ("rl", "End to RL")}
"""Pair of checkpoints -> the stage between them, and how it is written."""


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a row for each model and stage, a panel for each of three roles."""
    frame = frame.assign(change=frame["sigma_b"] - frame["sigma_a"])
    roles = [r for r in ("q", "k", "v") if r in set(frame["role"])] or all_roles(frame)[:3]
    pairs = compared(frame, PAIRS)
    models, left_out = layout.fitting(frame["track"], len(pairs))
    rows = [(model, pair) for model in models for pair in pairs]
    figure, axes = layout.panels(style, len(rows), len(roles), 1.9, sharex="col", sharey=True)
    for row, (model, pair) in zip(axes, rows, strict=True):
        stage, step = PAIRS[pair]
        part = frame[(frame["track"] == model) & (frame["pair"] == pair)]
        for ax, role in zip(row, roles, strict=True):
            matrices = part[part["role"] == role]
            _value_changes(ax, matrices, style, stage)
            layout.title(ax, f"{role}: {_relative_changes(matrices, chr(10))}")
        row[0].set_ylabel(f"{model}, {STAGES[stage]}\n{step}\nchange of σ")
    layout.log_to_zero(axes[0, 0], 1e-5, frame["change"].abs().max())
    layout.step_label(axes, "index of σ")
    return figure, layout.joined("root mean square of layers and seeds, weight units", left_out)


def compared(frame: pd.DataFrame, pairs: dict) -> list[str]:
    """Return those of `pairs` that the study compares: without RL there is no way to it."""
    return [pair for pair in pairs if pair in set(frame["pair"])]


def all_roles(frame: pd.DataFrame) -> list[str]:
    """Return the roles of matrices in a frame, in the order in which a model uses them."""
    return [role for role in MATRIX_ROLES if role in set(frame["role"])]


def _value_changes(ax: Axes, frame: pd.DataFrame, style: FigureStyle, stage: str) -> None:
    """Draw the root mean square over layers and seeds, index by index."""
    for control, (label, form) in with_nulls(style, stage).items():
        part = frame[frame["control"] == control]
        if len(part):
            line = part["change"].pow(2).groupby(part["index"]).mean().pow(0.5)
            ax.plot(line.index, line, label=label, **form)


def with_nulls(style: FigureStyle, stage: str) -> dict[str, tuple[str, dict]]:
    """Return control -> label and line of the nulls and floors, and last of what was measured."""
    colour = looks.look(style, stage)["color"]
    return {
        **looks.null_lines(),
        "": ("measured", {"color": colour, "linestyle": "-", "linewidth": 2}),
    }


def _relative(frame: pd.DataFrame) -> pd.Series:
    """Median norm of the change in percent of the spectrum's, of each control."""
    change = frame["sigma_b"] - frame["sigma_a"]
    squares = pd.DataFrame({"change": change.pow(2), "sigma": frame["sigma_a"].pow(2)})
    by = [frame[name] for name in ("control", "seed", "role", "layer")]
    norms = squares.groupby(by).sum().pow(0.5)
    return (100 * norms["change"] / norms["sigma"]).groupby("control").median()


def _relative_changes(frame: pd.DataFrame, between: str = " ") -> str:
    percent = _relative(frame)
    noise = f"{between}(noise {percent['noise']:.2g}%)" if "noise" in percent else ""
    return f"{percent['']:.2g}%{noise}"


def message(frame: pd.DataFrame) -> str:
    """Return how far singular values move, beside noise of the same size."""
    return messages.by_track(frame, _said)


def _said(frame: pd.DataFrame) -> str:
    said = [
        f"by {_relative_changes(frame[frame['pair'] == pair])} in {STAGES[PAIRS[pair][0]]}"
        for pair in compared(frame, PAIRS)
    ]
    return f"singular values change {', '.join(said)}"


FIGURES = [
    Figure(
        "fig13",
        "singular-values",
        "Change of the singular values",
        __doc__,
        draw,
        message,
        gate=("sft", "rl"),
    )
]
