"""What putting parts of the spectrum back does: figures 4 to 7 of arXiv 2509.12235; repair."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from healscope.config import FigureStyle
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.figures.style import (
    CONTROL,
    DASHED,
    INK,
    LANDMARKS,
    RULES,
    as_percent,
    by_seed,
    errors,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    styled,
    title,
)  # fmt: skip

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

_ROWS = (*RULES, "from_target", "from_parent")


@styled
def values(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Figs 4 and 5: singular values put back, and what the same does without the right ones."""
    return _figure(frame, style, "values")


@styled
def directions(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Figs 6 and 7: singular directions put back, beside whole matrices and controls."""
    return _figure(frame, style, "directions")


def _figure(frame: pd.DataFrame, style: FigureStyle, main: str) -> Figure:
    """A row for each rule and each distance, a column for each axis along which edits were made;
    the kinds of the figure that is named after kind `main`."""
    kinds = tuple(name for name, kind in KINDS.items() if kind.figure == main)
    frame = frame[frame["kind"].isin(["none", "parent", *kinds])]
    models = list(frame["track"].unique())
    axes_drawn = [axis for axis in _AXES if _has_curve(frame, axis)]
    rows = [(model, what) for model in models for what in _ROWS]
    figure, axes = panels(style, len(rows), len(axes_drawn) or 1, 1.75, sharex="col", sharey="row")
    for row, (model, what) in zip(axes, rows, strict=True):
        own = frame[frame["track"] == model]
        ends = {kind: _readable(own, kind) for kind in ("none", "parent")}
        for ax, axis in zip(row, axes_drawn, strict=False):
            if what in RULES:
                _accuracies(ax, own[own["rule"] == what], axis, kinds, main, style, ends)
            else:
                _distances(ax, own[own["rule"] == "ood"], axis, kinds, main, what, style)
        if what in RULES:
            title(row[0], model, RULES[what])
            percent_axis(row[0], "accuracy (%)")
        else:
            one, other = ends["none"], ends["parent"]
            title(row[0], f"distance from {one if what == 'from_target' else other}")
            row[0].set_ylabel(f"1: {one}\nto {other}")
            row[0].set_ylim(top=1.08 * row[0].get_ylim()[1])
        from_zero(row[0])
    for ax, axis in zip(axes[-1], axes_drawn, strict=False):
        _amount_axis(ax, axis, width=max(12, 60 // len(axes_drawn)))
    legend(
        figure, 2,
        f"{intervals(frame, 'band, error bars')}; coloured markers: "
        "controls, each matched to the edit at its place, matrix by matrix (straight: towards the "
        "parent)",
    )  # fmt: skip
    return figure


def _has_curve(frame: pd.DataFrame, axis: str) -> bool:
    """Whether edits along an axis have two places or more, the unedited target being one."""
    return frame.loc[frame["axis"] == axis, "amount"].nunique() + (axis in _FROM_NOTHING) > 1


def _readable(frame: pd.DataFrame, kind: str) -> str:
    name = frame.loc[frame["kind"] == kind, "name"].iloc[0]
    return LANDMARKS.get(name, name)


def _accuracies(
    ax: Axes,
    frame: pd.DataFrame,
    axis: str,
    kinds: tuple[str, ...],
    main: str,
    style: FigureStyle,
    ends: dict[str, str],
) -> None:
    whole, seeds = by_seed(frame)
    for kind, what in (("none", "not edited"), ("parent", "put back to")):
        row = whole[whole["kind"] == kind].iloc[0]
        landmark = row["name"] if row["name"] in LANDMARKS else "end"
        form = look(style, landmark) | {"marker": "", "linewidth": 1.8}
        ax.axhline(row["accuracy"], label=f"{ends[kind]} ({what})", zorder=1, **form)
    for kind in kinds:
        curve = _curve(whole, kind, axis)
        if len(curve) < 2:
            continue
        if kind == main:
            band = {"color": INK, "alpha": 0.13, "linewidth": 0}
            ax.fill_between(curve["amount"], curve["low"], curve["high"], **band)
        ax.plot(curve["amount"], curve["accuracy"], label=KINDS[kind].label, **_kind_look(kind))
    for points, form, label in _controls(whole, axis, kinds, main, style):
        ax.errorbar(
            points["x"], points["accuracy"], errors(points, "accuracy"), label=label,
            elinewidth=0.7, **form,
        )  # fmt: skip
    for _, one in seeds.groupby("seed"):
        curve = _curve(one, main, axis)
        ax.plot(curve["amount"], curve["accuracy"], color=INK, linewidth=0.6, alpha=0.45)


def _distances(
    ax: Axes,
    frame: pd.DataFrame,
    axis: str,
    kinds: tuple[str, ...],
    main: str,
    what: str,
    style: FigureStyle,
) -> None:
    whole, _ = by_seed(frame)
    ax.axhline(1, color="0.8", linewidth=0.9, zorder=0)
    for kind in kinds:
        curve = _curve(whole, kind, axis)
        if len(curve) > 1:
            ax.plot(curve["amount"], curve[what], **_kind_look(kind))
    for points, form, _ in _controls(whole, axis, kinds, main, style):
        ax.plot(points["x"], points[what], **form)


def _curve(frame: pd.DataFrame, kind: str, axis: str) -> pd.DataFrame:
    """The edits of one kind along one axis, after the unedited target where the axis has a zero."""
    edits = (frame["kind"] == kind) & (frame["axis"] == axis) & (frame["control"] == "")
    start = (frame["kind"] == "none") & (axis in _FROM_NOTHING)
    return frame[edits | start].sort_values("amount")


def _controls(
    frame: pd.DataFrame, axis: str, kinds: tuple[str, ...], main: str, style: FigureStyle
) -> Iterator[tuple[pd.DataFrame, dict, str]]:
    """(points, look, label) of each control of each kind; a little apart, so that all are seen."""
    own = frame[(frame["axis"] == axis) & frame["kind"].isin(kinds)]
    apart = 0.018 * own["amount"].max()
    for kind in (main, *(k for k in kinds if k != main)):
        for i, (control, about) in enumerate(CONTROLS.items()):
            points = own[(own["kind"] == kind) & (own["control"] == control)]
            points = points.sort_values("amount").assign(
                x=lambda p, i=i: p["amount"] + (i - (len(CONTROLS) - 1) / 2) * apart
            )
            form, label = _control_look(style, control), about.label
            if kind != main:
                form |= {"marker": KINDS[kind].marker, "markerfacecolor": "white"}
                label = f"{label}: {kind}"
            if len(points):
                yield points, form, f"control: {label}"


def _kind_look(kind: str) -> dict:
    """Colour, marker and line: whole matrices in grey, the published ones with an unbroken line."""
    about = KINDS[kind]
    colour = CONTROL if kind == "swap" else INK
    face = {"full": colour, "light": "0.75", "open": "white"}[about.face]
    line = "-" if kind in ("values", "directions") else DASHED
    return {"color": colour, "marker": about.marker, "linestyle": line, "markerfacecolor": face}


def _control_look(style: FigureStyle, control: str) -> dict:
    """Colour, marker and no line: a control is matched to an edit at one place, not a sweep."""
    return look(style, control) | {"linestyle": "", "markersize": 4.5}


def _amount_axis(ax: Axes, axis: str, width: int) -> None:
    """`width`: characters for which the label has room."""
    ax.set_xlabel(fill(_AXES[axis], width))
    if axis in _SHARES:
        ax.xaxis.set_major_formatter(as_percent)
    elif axis != "strength":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


@styled
def repair(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """What every edit costs under the ID rule and gives back under the OOD rule, beside RL."""
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 1, 4.2)
    said = []
    for (ax,), model in zip(axes, models, strict=True):
        own = frame[frame["track"] == model]
        for at in (ax.axhline, ax.axvline):
            at(0, color="0.6", linewidth=0.9, zorder=0)
        _clouds(ax, own, style)
        _front(ax, own[own["front"]])
        healed, parent = (own[own["kind"] == kind] for kind in ("rl", "parent"))
        if len(healed):
            _cross(ax, healed, look(style, "rl"), "RL instead of an edit")
        name = parent["name"].iloc[0]
        _cross(ax, parent, look(style, "maxood"), f"{LANDMARKS.get(name, name)}: back altogether")
        title(ax, model)
        ax.xaxis.set_major_formatter(as_percent)
        ax.set_xlabel("change of ID accuracy (points)")
        percent_axis(ax, "change of OOD accuracy (points)")
        said += _statements(own, f"{model}: " if len(models) > 1 else "")
    several = frame["ood_by_seed"].map(len).max() > 1
    over = "all seeds" if several else "instances, of one run"
    between = "\n" if len(models) > 1 else " "
    legend(figure, 3, between.join([f"error bars: interval over {over}.", *said]))
    return figure


def _clouds(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    """All edits and controls, without intervals."""
    edits = ~frame["kind"].isin(["rl", "parent", "pick"])
    plain = edits & (frame["control"] == "")
    for kind in KINDS:
        own = frame[plain & (frame["kind"] == kind)]
        if len(own):
            form = _kind_look(kind) | {"linestyle": "", "markersize": 4.5}
            ax.plot(own["id_change"], own["ood_change"], label=f"edit: {kind}", **form)
    for control in CONTROLS:
        own = frame[edits & (frame["control"] == control)]
        if len(own):
            form = _control_look(style, control)
            ax.plot(own["id_change"], own["ood_change"], label=f"control: {control}", **form)


def _front(ax: Axes, front: pd.DataFrame) -> None:
    """The edits that no other beats, joined by steps, with names and intervals."""
    front = front.sort_values(["id_change", "ood_change"], ascending=[True, False])
    ax.step(
        front["id_change"], front["ood_change"], where="pre", color=INK, linewidth=1.0, zorder=1,
        label="beaten by no edit",
    )  # fmt: skip
    ax.errorbar(
        front["id_change"], front["ood_change"], _reach(front, "ood"), _reach(front, "id"),
        fmt="none", ecolor=INK, elinewidth=0.6, alpha=0.4,
    )  # fmt: skip
    wide, high = (abs(b - a) for a, b in (ax.get_xlim(), ax.get_ylim()))
    named: list = []
    for row in front.sort_values("ood_change", ascending=False).itertuples():
        near = [
            other for other in named
            if abs(other.id_change - row.id_change) < 0.3 * wide
            and abs(other.ood_change - row.ood_change) < 0.06 * high
        ]  # fmt: skip
        if row.ood_change > 0 and not near:
            named.append(row)
            place = (row.id_change, row.ood_change)
            ax.annotate(
                row.name, place, textcoords="offset points", xytext=(4, 4), fontsize="x-small"
            )


def _cross(ax: Axes, frame: pd.DataFrame, form: dict, label: str) -> None:
    ax.errorbar(
        frame["id_change"], frame["ood_change"], _reach(frame, "ood"), _reach(frame, "id"),
        label=label, elinewidth=1.1, **(form | {"linestyle": "", "markersize": 7}),
    )  # fmt: skip


def _reach(frame: pd.DataFrame, rule: str) -> np.ndarray:
    """Lengths of the error bars of one rule's change."""
    part = frame.rename(columns={f"{rule}_{end}": end for end in ("low", "high")})
    return errors(part, f"{rule}_change")


def _statements(frame: pd.DataFrame, model: str) -> list[str]:
    """What the cheapest edits give and cost, on instances that did not pick them."""
    found = []
    for row in frame[frame["kind"] == "pick"].itertuples():
        gain, price = (
            f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
            for value in (row.ood_change, row.id_change)
        )
        found.append(
            f"{model}{row.name[0].upper()}{row.name[1:]} of the loss, on instances that did not "
            f"pick it: {row.picked}, OOD {gain}, ID {price} points."
        )
    return found
