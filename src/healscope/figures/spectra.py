"""Weights side by side: figures 13 and 14 of arXiv 2509.12235, and where updates live."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from healscope.config import MATRIX_ROLES, FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASHED,
    DOTTED,
    INK,
    STAGES,
    legend,
    look,
    panels,
    styled,
    title,
)  # fmt: skip

_STAGES = {"maxood--end": ("sft", "SFT: MaxOOD to End"), "end--rl": ("rl", "RL: End to RL")}
_ROTATIONS = {"base--end": ("sft", "SFT: base to End"), "end--rl": ("rl", "RL: End to RL")}

_CONTROLS = {
    "noise": ("null: noise of the same size", {"color": CONTROL, "linestyle": DASHED}),
    "spectrum": ("null: own values, random directions", {"color": CONTROL, "linestyle": DOTTED}),
    "bf16": ("floor: weights rounded to bf16", {"color": "0.7", "linestyle": "-"}),
    "again": ("floor: same weights again", {"color": INK, "linestyle": "-", "linewidth": 0.7}),
}
"""control -> how it is written and drawn."""

_PLAIN = {"marker": "", "linestyle": "-"}


@styled
def singular_values(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 13: by how much every singular value changes, with nulls and floors."""
    frame = frame.assign(change=frame["sigma_b"] - frame["sigma_a"])
    roles = [r for r in ("q", "k", "v") if r in set(frame["role"])] or _roles(frame)[:3]
    rows = [(model, pair) for model in frame["track"].unique() for pair in _there(frame, _STAGES)]
    figure, axes = panels(style, len(rows), len(roles), 2.1, sharex="col", sharey=True)
    for row, (model, pair) in zip(axes, rows, strict=True):
        stage, step = _STAGES[pair]
        part = frame[(frame["track"] == model) & (frame["pair"] == pair)]
        for ax, role in zip(row, roles, strict=True):
            matrices = part[part["role"] == role]
            _value_changes(ax, matrices, style, stage)
            ax.set_title(_relative_changes(matrices, role), loc="left")
        row[0].set_ylabel(f"{model}\n{step}\nchange of σ")
    _from_floor(axes[0, 0], 1e-5, frame["change"].abs().max())
    for ax in axes[-1]:
        ax.set_xlabel("index of σ")
    legend(
        figure, 2, "in weight units, root mean square of layers and seeds; in the titles ‖Δσ‖/‖σ‖, "
        "median of layers and seeds"
    )  # fmt: skip
    return figure


def _there(frame: pd.DataFrame, pairs: dict) -> list[str]:
    """Those of `pairs` that the study compares: without RL there is no way to it."""
    return [pair for pair in pairs if pair in set(frame["pair"])]


def _from_floor(ax: Axes, linear: float, top: float) -> None:
    """A logarithmic y axis that ends in 0, below `linear`: floors at roundoff are on it too."""
    ax.set_yscale("symlog", linthresh=linear, linscale=0.6)
    ax.set_ylim(-0.15 * linear, max(1.5 * top, 10 * linear))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")


def _roles(frame: pd.DataFrame) -> list[str]:
    return [role for role in MATRIX_ROLES if role in set(frame["role"])]


def _spread(values: list) -> list:
    """First, middle and last, or fewer where there are fewer."""
    return list(dict.fromkeys([values[0], values[len(values) // 2], values[-1]]))


def _value_changes(ax: Axes, frame: pd.DataFrame, style: FigureStyle, stage: str) -> None:
    """Root mean square over layers and seeds, index by index."""
    measured = look(style, stage) | _PLAIN
    forms = {**_CONTROLS, "": (f"measured, {STAGES[stage]}", measured)}
    for control, (label, form) in forms.items():
        part = frame[frame["control"] == control]
        if len(part):
            line = part["change"].pow(2).groupby(part["index"]).mean().pow(0.5)
            ax.plot(line.index, line, label=label, **{"linewidth": 1.2} | form)


def _relative_changes(frame: pd.DataFrame, role: str) -> str:
    """The norm of the change relative to the spectrum's, beside that of noise of the same size."""
    squares = frame[["change", "sigma_a"]].pow(2)
    norms = squares.groupby([frame["control"], frame["seed"], frame["layer"]]).sum().pow(0.5)
    percent = (100 * norms["change"] / norms["sigma_a"]).groupby("control").median()
    noise = f", noise {percent['noise']:.2g}%" if "noise" in percent else ""
    return f"{role}: {percent['']:.2g}%{noise}"


@styled
def principal_angles(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 14: angles between leading singular subspaces, first layer, role k if it is there."""
    role = "k" if "k" in set(frame["role"]) else _roles(frame)[0]
    frame = frame[frame["role"] == role]
    layer = frame["layer"].min()
    frame = frame[frame["layer"] == layer]
    fractions = _spread(sorted(frame["fraction"].unique()))
    rows = [
        (model, pair, side)
        for model in frame["track"].unique()
        for pair in _there(frame, _ROTATIONS)
        for side in ("left", "right")
        if side in set(frame["side"])
    ]
    figure, axes = panels(style, len(rows), len(fractions), 1.5, sharex="col", sharey="all")
    for row, (model, pair, side) in zip(axes, rows, strict=True):
        part = frame[(frame["track"] == model) & (frame["pair"] == pair) & (frame["side"] == side)]
        for ax, fraction in zip(row, fractions, strict=True):
            _angles(ax, part[part["fraction"] == fraction], style, *_ROTATIONS[pair])
        title(row[0], model, _ROTATIONS[pair][1], f"layer {layer}, {role}", f"{side} vectors")
        row[0].set_ylabel("degrees")
    _from_floor(axes[0, 0], 1e-2, 60)
    for ax, fraction in zip(axes[-1], fractions, strict=True):
        ax.set_xlabel(f"index in the leading {100 * fraction:.3g}%")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    legend(figure, 2, "principal angles; line: mean of the seeds; band: their range")
    return figure


def _angles(ax: Axes, frame: pd.DataFrame, style: FigureStyle, stage: str, step: str) -> None:
    measured = look(style, stage) | _PLAIN | {"linewidth": 1.8}
    for control, (label, form) in {**_CONTROLS, "": (f"measured, {step}", measured)}.items():
        lines = frame[frame["control"] == control].groupby("index")["degrees"]
        lines = lines.agg(["mean", "min", "max"])
        if len(lines):
            band = {"color": form["color"], "alpha": 0.2, "linewidth": 0}
            ax.fill_between(lines.index, lines["min"], lines["max"], **band)
            ax.plot(lines.index, lines["mean"], label=label, **{"linewidth": 1.2} | form)


_BLOCKS = ("head", "bulk", "tail")
_VALUES = [f"diagonal-{x}" for x in _BLOCKS]
_TURNS = [f"{x}-{y}" for x in _BLOCKS for y in _BLOCKS]
_PARTS = {
    **{part: f"σ of {x}" for part, x in zip(_VALUES, _BLOCKS, strict=True)},
    **{part: part.replace("-", " · ") for part in _TURNS},
    "outside": "outside",
}
"""Part of an update's energy -> how it is written."""

_GROUPS = {
    "attention": ("q", "k", "v", "o"),
    "MLP": ("gate", "up", "down"),
    "embeddings, head": ("embeddings", "head"),
}


@styled
def updates(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Where updates live: energy in blocks of the old singular bases, relative to chance."""
    groups = [g for g, roles in _GROUPS.items() if set(roles) & set(frame["role"])]
    rows = [(model, pair) for model in frame["track"].unique() for pair in _there(frame, _STAGES)]
    figure, axes = panels(style, len(rows), len(groups), 2.2, sharex=True, sharey=True)
    for row, (model, pair) in zip(axes, rows, strict=True):
        stage, step = _STAGES[pair]
        part = frame[(frame["track"] == model) & (frame["pair"] == pair)]
        for ax, group in zip(row, groups, strict=True):
            own = part[part["role"].isin(_GROUPS[group])]
            _energies(ax, own[own["quantity"] == "energy"], stage, look(style, stage))
            ax.set_title(f"{group}: {_size(own)}", loc="left")
        row[0].set_ylabel(f"{model}\n{step}\nenergy of ΔW / chance")
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]))
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    axes[0, 0].yaxis.set_minor_locator(NullLocator())
    for ax in axes[-1]:
        ax.set_xticks(range(len(_PARTS)), _PARTS.values(), rotation=90)
    legend(
        figure, 2, "dot: median of layers, roles and seeds; bar: their range; 1: what an update "
        "without direction has; in the titles: ‖ΔW‖/‖W‖, and effective rank beside that of noise"
    )  # fmt: skip
    return figure


def _energies(ax: Axes, frame: pd.DataFrame, stage: str, form: dict) -> None:
    ax.axhline(1, color=INK, linewidth=0.7)
    for x in (2.5, 11.5):  # values, turns, outside
        ax.axvline(x, color="0.85", linewidth=0.7)
    ratio = (frame["value"] / frame["chance"]).groupby([frame["control"], frame["part"]])
    found = ratio.agg(["median", "min", "max"])
    shown = {
        "noise": ("null: noise of the same size", {"color": CONTROL, "marker": "_"}),
        "spectrum": ("null: own values, random directions", {"color": "0.65", "marker": "x"}),
        "": (f"measured, {STAGES[stage]}", {"color": form["color"], "marker": form["marker"]}),
    }
    for place, (control, (label, look_of)) in enumerate(shown.items()):
        if control not in found.index:
            continue
        part = found.loc[control].reindex(list(_PARTS))
        x = np.arange(len(part)) + 0.25 * (place - 1)
        ax.vlines(x, part["min"], part["max"], color=look_of["color"], linewidth=1)
        ax.plot(x, part["median"], linestyle="", markersize=4, label=label, **look_of)


def _size(frame: pd.DataFrame) -> str:
    """How large an update is and of what rank, medians."""
    middle = frame.groupby(["quantity", "control"])["value"].median()
    if ("effective_rank", "") not in middle:
        return "nothing moved"  # both landmarks are one checkpoint
    noise = middle.get(("effective_rank", "noise"))
    beside = "" if noise is None else f" ({noise:.0f})"
    return f"{100 * middle['drift', '']:.2g}%, rank {middle['effective_rank', '']:.0f}{beside}"
