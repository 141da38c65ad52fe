"""Weights side by side: figures 13 and 14 of arXiv 2509.12235."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from healscope.config import MATRIX_ROLES, FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASHED,
    DOTTED,
    INK,
    legend,
    look,
    panels,
    styled,
    title,
)  # fmt: skip

_STAGES = {"maxood--end": ("sft", "SFT: MaxOOD to End"), "end--rl": ("rl", "RL: End to RL")}
_ROTATIONS = {"base--end": "base to End", "base--rl": "base to RL", "end--rl": "End to RL"}
_LAYER_LINES = ("-", DASHED, DOTTED)


@styled
def singular_values(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 13: change of every singular value, mean of the seeds, at up to three layers."""
    frame = frame.assign(change=frame["sigma_b"] - frame["sigma_a"])
    roles = [r for r in ("q", "k", "v") if r in set(frame["role"])] or _roles(frame)
    layers = _spread(sorted(frame["layer"].unique()))
    rows = [(model, pair) for model in frame["model"].unique() for pair in _STAGES]
    figure, axes = panels(style, len(rows), len(roles), 2.0, sharex="col", sharey="row")
    for row, (model, pair) in zip(axes, rows, strict=True):
        stage, step = _STAGES[pair]
        part = frame[(frame["model"] == model) & (frame["pair"] == pair)]
        for ax, role in zip(row, roles, strict=True):
            matrices = part[part["role"] == role]
            _value_changes(ax, matrices, layers, look(style, stage)["color"])
            ax.set_title(f"{role}: {_relative_change(matrices)}", loc="left")
        row[0].set_ylabel(f"{model}\n{step}\nchange of σ")
    for ax in axes[-1]:
        ax.set_xlabel("index of σ")
    handles = [Line2D([], [], color=INK, linestyle=line) for line in _LAYER_LINES[: len(layers)]]
    figure.legend(
        handles, [f"layer {layer}" for layer in layers], loc="outside upper center", ncols=3,
        title="change in weight units; in the titles: ‖Δσ‖ / ‖σ‖ of all layers and seeds",
        title_fontsize="small",
    )  # fmt: skip
    return figure


def _roles(frame: pd.DataFrame) -> list[str]:
    return [role for role in MATRIX_ROLES if role in set(frame["role"])]


def _spread(values: list) -> list:
    """First, middle and last, or fewer where there are fewer."""
    return list(dict.fromkeys([values[0], values[len(values) // 2], values[-1]]))


def _value_changes(ax: Axes, frame: pd.DataFrame, layers: list, colour: tuple) -> None:
    for layer, line, alpha in zip(layers, _LAYER_LINES, (1, 0.7, 0.5), strict=False):
        change = frame[frame["layer"] == layer].groupby("index")["change"].mean()
        ax.plot(change.index, change, color=colour, linestyle=line, linewidth=1.2, alpha=alpha)
    ax.axhline(0, color=INK, linewidth=0.7)


def _relative_change(frame: pd.DataFrame) -> str:
    """Range over layers and seeds of the change's norm, relative to the spectrum's."""
    squares = frame[["change", "sigma_a"]].pow(2)
    norms = squares.groupby([frame["seed"], frame["layer"]]).sum().pow(0.5)
    percent = 100 * norms["change"] / norms["sigma_a"]
    low, high = f"{percent.min():.2g}", f"{percent.max():.2g}"
    return f"{low}%" if low == high else f"{low}–{high}%"


@styled
def principal_angles(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 14: angles between leading singular subspaces, first layer, role k if it is there."""
    role = "k" if "k" in set(frame["role"]) else _roles(frame)[0]
    layer = frame["layer"].min()
    frame = frame[(frame["layer"] == layer) & (frame["role"] == role)]
    fractions = _spread(sorted(frame["fraction"].unique()))
    rows = [(model, side) for model in frame["model"].unique() for side in ("left", "right")]
    figure, axes = panels(style, len(rows), len(fractions), 1.9, sharex="col", sharey="all")
    for row, (model, side) in zip(axes, rows, strict=True):
        part = frame[(frame["model"] == model) & (frame["side"] == side)]
        for ax, fraction in zip(row, fractions, strict=True):
            _angles(ax, part[part["fraction"] == fraction], style)
        title(row[0], f"{model}, layer {layer}, {role}", f"{side} singular subspaces")
        row[0].set_ylabel("angle (degrees)")
    axes[0, 0].set(ylim=(0, 92), yticks=[0, 30, 60, 90])
    for ax, fraction in zip(axes[-1], fractions, strict=True):
        ax.set_xlabel(f"index in the leading {100 * fraction:.3g}%")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    legend(figure, len(_ROTATIONS), "line: mean of the seeds; band: their range")
    return figure


def _angles(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    forms = {
        "base--end": look(style, "sft") | {"linewidth": 2.2},
        "base--rl": look(style, "rl") | {"linewidth": 1.5},
        "end--rl": {"color": CONTROL, "linestyle": DOTTED, "linewidth": 1.5},
    }
    for pair, form in forms.items():
        angles = frame[frame["pair"] == pair].groupby("index")["degrees"]
        lines = angles.agg(["mean", "min", "max"])
        form["marker"] = ""
        ax.plot(lines.index, lines["mean"], label=_ROTATIONS[pair], **form)
        band = {"color": form["color"], "alpha": 0.2, "linewidth": 0}
        ax.fill_between(lines.index, lines["min"], lines["max"], **band)
