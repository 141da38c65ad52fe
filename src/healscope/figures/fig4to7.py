"""Parts of the spectrum put back: figures 4 to 7 of arXiv 2509.12235."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING

import pandas as pd

from healscope.artifacts import LANDMARK_NAMES
from healscope.config import FigureStyle
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK, RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES = {
    "rank": "leading share put back (%)",
    "tail": "trailing share put back (%)",
    "band": "share put back, its middle (%)",
    "k": "leading directions put back",
    "tail_k": "trailing directions put back",
    "band_k": "directions put back, their middle",
    "layers": "first layers put back",
    "last": "last layers put back",
    "layer": "layer put back",
    "block": "layers put back, their middle",
    "strength": "strength of the edit",
}
_SHARES = ("rank", "tail", "band")
_FROM_NOTHING = ("rank", "tail", "k", "tail_k", "layers", "last", "strength")
_DISTANCES = ("from_target", "from_parent")

_CAPTION = """
Accuracy of {target} when the singular {changed} of part of its matrices are put back to those of
{parent} (the singular {kept} stay), for instance for a leading share of the spectrum in every layer
or in the first layers. The lines without marks are {target} as it is and {parent}.{picked} {beside}

Coloured markers are controls, each matched to the edit at its place, matrix by matrix: {controls}.
Open markers are controls of other kinds of edits. Whatever is ascribed to the {changed} must be
compared with them. The lower rows, drawn of one model alone, show how far the edited model is from
either checkpoint, in units of the Frobenius distance between the two. At most four ways to choose
parts are drawn; the table has all.

Intervals count instances and seeds, see docs/statistics.md; thin lines are single seeds. The
interval in the title is that of two independent accuracies, wider than the paired ones of the
claims. docs/edits.md defines every edit and control. Answers Figure {number} of `arXiv
2509.12235`_.
"""
_PICKED = """ MaxOOD is here the one checkpoint that all problems pick, since an edit needs one to
start from; its line is therefore not corrected for the choice."""
_ENDS = {
    "sft": ("the target (End, unless the config names a later step)", "the parent (MaxOOD)"),
    "rl": ("the target (RL)", "the parent (End)"),
}
_BESIDE = {
    kind: "Lines are named at their ends: "
    + "; ".join(f"{name}, {about.label}" for name, about in KINDS.items() if about.figure == kind)
    + "."
    for kind in ("values", "directions")
}


def draw(frame: pd.DataFrame, style: FigureStyle, main: str) -> Drawn:
    """Draw a row for each rule and each distance, a column for each way to choose parts: the kinds
    of edits that belong to the figure of kind `main`, with their controls."""
    kinds = [main, *(name for name, k in KINDS.items() if k.figure == main and name != main)]
    frame = frame[frame["kind"].isin(["none", "parent", *kinds])]
    tracks = list(dict.fromkeys(frame["track"]))
    # two models leave no room for distances, and more none for the ID rule
    shown = (*RULES, *_DISTANCES) if len(tracks) == 1 else tuple(RULES)
    shown = shown if len(tracks) < 3 else ("ood",)
    models, left_out = layout.fitting(tracks, len(shown))
    made = dict.fromkeys([*_AXES, *frame["axis"]])
    drawn = [axis for axis in made if _has_curve(frame, axis)][: layout.MOST]
    rows = [(model, what) for model in models for what in shown]
    figure, axes = layout.panels(
        style, len(rows), len(drawn) or 1, 1.85, sharex="col", sharey="row"
    )
    for row, (model, what) in zip(axes, rows, strict=True):
        own = frame[frame["track"] == model]
        ends = {kind: _readable(own, kind) for kind in ("none", "parent")}
        part = own[own["rule"] == (what if what in RULES else "ood")]
        for ax, axis in zip(row, drawn, strict=False):
            if what in RULES:
                _accuracies(ax, part, axis, kinds, style)
            else:
                _distances(ax, part, axis, kinds, what, style)
        if what in RULES:
            layout.title(row[0], model, RULES[what])
            layout.percent_axis(row[0], "accuracy (%)")
            layout.from_zero(row[0])
            _name_lines(row[-1], part, drawn[-1] if drawn else "", kinds, ends)
        else:
            from_one = ends["none"] if what == "from_target" else ends["parent"]
            layout.title(row[0], f"distance from {from_one}")
            row[0].set_ylabel(f"1: {ends['none']}\nto {ends['parent']}")
            row[0].set_ylim(top=1.08 * row[0].get_ylim()[1])
            layout.from_zero(row[0])
    for ax, axis in zip(axes[-1], drawn, strict=False):
        _amount_axis(ax, axis, width=max(12, 56 // len(drawn)))
    return figure, layout.joined(layout.intervals(frame, "band, error bars"), left_out)


def _has_curve(frame: pd.DataFrame, axis: str) -> bool:
    """Return whether edits along an axis have two places or more, the unedited target being one."""
    places = frame.loc[(frame["axis"] == axis) & (frame["control"] == ""), "amount"]
    return axis != "" and places.nunique() + (axis in _FROM_NOTHING) > 1


def _readable(frame: pd.DataFrame, kind: str) -> str:
    name = frame.loc[frame["kind"] == kind, "name"].iloc[0]
    return LANDMARK_NAMES.get(name, name)


def _end_look(style: FigureStyle, name: str) -> dict:
    landmark = name if name in LANDMARK_NAMES else "end"
    return looks.look(style, landmark) | {"marker": "", "linewidth": 1.8}


def _accuracies(
    ax: Axes, frame: pd.DataFrame, axis: str, kinds: list[str], style: FigureStyle
) -> None:
    whole, seeds = layout.by_seed(frame)
    for kind in ("none", "parent"):
        row = whole[whole["kind"] == kind].iloc[0]
        ax.axhline(row["accuracy"], zorder=1, **_end_look(style, row["name"]))
    for kind in kinds:
        curve = _curve(whole, kind, axis)
        if len(curve) < 2:
            continue
        if kind == kinds[0]:
            band = {"color": INK, "alpha": 0.13, "linewidth": 0}
            ax.fill_between(curve["amount"], curve["low"], curve["high"], **band)
        ax.plot(curve["amount"], curve["accuracy"], **looks.kind_look(kind))
    for points, form, label in _controls(whole, axis, kinds, style):
        ax.errorbar(
            points["x"], points["accuracy"], layout.errors(points, "accuracy"), label=label,
            elinewidth=0.7, **form,
        )  # fmt: skip
    if layout.several_seeds(frame):
        for _, one in seeds.groupby("seed"):
            curve = _curve(one, kinds[0], axis)
            ax.plot(curve["amount"], curve["accuracy"], color=INK, linewidth=0.6, alpha=0.45)


def _name_lines(
    ax: Axes, frame: pd.DataFrame, axis: str, kinds: list[str], ends: dict[str, str]
) -> None:
    """Name the lines of the last panel of a row at their ends."""
    whole, _ = layout.by_seed(frame)
    named = [
        (whole.loc[whole["kind"] == kind, "accuracy"].iloc[0], name, INK)
        for kind, name in ends.items()
    ]
    for kind in kinds:
        curve = _curve(whole, kind, axis)
        if len(curve) > 1:
            named.append((curve["accuracy"].iloc[-1], kind, looks.GREY))
    layout.name_ends(ax, named)


def _distances(
    ax: Axes, frame: pd.DataFrame, axis: str, kinds: list[str], what: str, style: FigureStyle
) -> None:
    whole, _ = layout.by_seed(frame)
    ax.axhline(1, color="0.8", linewidth=0.9, zorder=0)
    for kind in kinds:
        curve = _curve(whole, kind, axis)
        if len(curve) > 1:
            ax.plot(curve["amount"], curve[what], **looks.kind_look(kind))
    for points, form, _ in _controls(whole, axis, kinds, style):
        ax.plot(points["x"], points[what], **form)


def _curve(frame: pd.DataFrame, kind: str, axis: str) -> pd.DataFrame:
    """Return the edits of one kind along one axis, after the unedited target where the axis has a
    zero."""
    edits = (frame["kind"] == kind) & (frame["axis"] == axis) & (frame["control"] == "")
    start = (frame["kind"] == "none") & (axis in _FROM_NOTHING)
    return frame[edits | start].sort_values("amount")


def _controls(
    frame: pd.DataFrame, axis: str, kinds: list[str], style: FigureStyle
) -> Iterator[tuple[pd.DataFrame, dict, str]]:
    """(points, look, label) of each control of each kind; a little apart, so that all are seen."""
    own = frame[(frame["axis"] == axis) & frame["kind"].isin(kinds)]
    apart = 0.018 * own["amount"].max()
    for kind in kinds:
        for i, (control, about) in enumerate(CONTROLS.items()):
            points = own[(own["kind"] == kind) & (own["control"] == control)]
            points = points.sort_values("amount").assign(
                x=lambda p, i=i: p["amount"] + (i - (len(CONTROLS) - 1) / 2) * apart
            )
            form = looks.control_look(style, control)
            if kind != kinds[0]:
                form |= looks.OPEN
            if len(points):
                yield points, form, f"control: {about.label}"


def _amount_axis(ax: Axes, axis: str, width: int) -> None:
    """`width`: characters for which the label has room."""
    ax.set_xlabel(fill(_AXES.get(axis, axis), width))
    if axis in _SHARES:
        ax.xaxis.set_major_formatter(layout.as_percent)
    elif axis != "strength":
        layout.integer_axis(ax)


def _said(frame: pd.DataFrame, main: str) -> str:
    """Return what the edit does by which the claims judge this kind, or else the largest one."""
    whole, _ = layout.by_seed(frame[frame["rule"] == "ood"])
    edits = whole[(whole["kind"] == main) & (whole["control"] == "")]
    if edits.empty:
        return f"no edit of kind {main} was made"
    rank = edits[edits["axis"] == "rank"]
    off = (rank["amount"] - KINDS[main].judged_at).abs()
    largest = edits["amount"].idxmax() if rank.empty else off.idxmin()
    before = whole[whole["kind"] == "none"].iloc[0]
    change = messages.difference(messages.of_row(edits.loc[largest]), messages.of_row(before))
    return messages.effect("OOD", change, f"with {edits.loc[largest, 'name']}")


def _figure(number: int, stage: str, main: str) -> Figure:
    other = {"values": "directions", "directions": "values"}[main]
    target, parent = _ENDS[stage]
    return Figure(
        f"fig{number}",
        f"reversion-{stage}",
        f"Singular {main} put back, {looks.STAGES[stage]}",
        _CAPTION.format(
            target=target,
            parent=parent,
            changed=main,
            kept=other,
            picked=_PICKED if stage == "sft" else "",
            beside=_BESIDE[main],
            controls="; ".join(control.than for control in CONTROLS.values()),
            number=number,
        ),
        partial(draw, main=main),
        lambda frame: messages.by_track(frame, lambda own: _said(own, main)),
        gate=(stage,),
        edits=True,
    )


FIGURES = [
    _figure(4, "sft", "values"),
    _figure(5, "rl", "values"),
    _figure(6, "sft", "directions"),
    _figure(7, "rl", "directions"),
]
