"""What the published design mixes and leaves out: factors, protocol, one prompt and one answer."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import CONTROLS, EXHAUSTIVE, FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASH_DOT,
    DASHED,
    DOTTED,
    INK,
    RULES,
    banded,
    by_seed,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    step_axis,
    step_label,
    styled,
    title,
)  # fmt: skip

# composition and arm are told apart by line and by filling, so that colour and marker are the
# rule's
_PLAIN = {"linestyle": "-"}
_OPEN = {"linestyle": DASHED, "markerfacecolor": "white"}
_COMPOSITIONS = {"any": ("any hand", _PLAIN), "face": ("hands with a face card", _OPEN)}
_EFFECTS = {
    "rule, hands with a face card": "rule, on hands with a face card",
    "composition, ID rule": "composition, under the ID rule",
    "published contrast (both at once)": "published contrast (both at once)",
}


@styled
def factorial(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Accuracy by rule and by composition of the hands, and what each of the two makes."""
    frame = frame[frame["stage"] == "sft"]
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 2, 2.9)
    for (left, right), model in zip(axes, models, strict=True):
        whole, _ = by_seed(frame[frame["track"] == model])
        for ax in (left, right):
            step_axis(ax, whole["step"], columns=2)
        cells, effects = (whole[whole["kind"] == kind] for kind in ("cell", "effect"))
        for rule, named in RULES.items():
            for composition, (what, line) in _COMPOSITIONS.items():
                cell = cells[cells["name"] == f"{rule}/{composition}"].sort_values("step")
                form = look(style, rule) | line
                left.plot(cell["step"], cell["value"], label=f"{named}, {what}", **form)
        forms = (
            look(style, "rule"),
            look(style, "composition"),
            {"color": INK, "marker": "D", "linestyle": DOTTED},
        )
        for (name, label), form in zip(_EFFECTS.items(), forms, strict=True):
            effect = effects[effects["name"] == name]
            banded(right, effect, "value", label, form | {"linewidth": 1.3})
        _zero(right)
        from_zero(left)
        percent_axis(left, "accuracy (%)")
        percent_axis(right, "effect on accuracy\n(percentage points)")
        title(left, model, "cells")
        title(right, "effects")
    step_label(figure)
    legend(figure, 2, intervals(frame, "bands", ""))
    return figure


def _zero(ax: Axes) -> None:
    ax.axhline(0, color=INK, linewidth=0.9)


@styled
def protocols(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Accuracy along SFT by how attempts are counted."""
    frame = frame[frame["stage"] == "sft"]
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 2, 3.0, sharey="row")
    for row, model in zip(axes, models, strict=True):
        for ax, rule in zip(row, RULES, strict=True):
            own = (frame["track"] == model) & (frame["rule"] == rule) & (frame["seed"] == "all")
            step_axis(ax, frame.loc[frame["track"] == model, "step"], columns=2)
            _ways_to_count(ax, frame[own].sort_values("step"), style)
            title(ax, model, RULES[rule])
        from_zero(row[0])
        percent_axis(row[0], "accuracy (%)")
    step_label(figure)
    legend(
        figure, 2,
        f"right in at least one of the attempts; {intervals(frame, 'bands (two lines)', '')}",
    )  # fmt: skip
    return figure


def _ways_to_count(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    all_deals = (frame["protocol"] == EXHAUSTIVE) & (frame["split"] == "held_out")
    paper = frame[(frame["protocol"] == "paper") & (frame["split"] == "any")]
    samples, feedback = look(style, "samples"), look(style, "feedback")
    drawn = [
        (frame[all_deals], *row)
        for row in (
            ("first_attempt_retried", "greedy first attempt", {"color": INK, "marker": "o"}, True),
            ("pass_at_1", "one sample (pass@1)", samples | {"linestyle": DOTTED}, False),
            ("pass_at_k", "one of {k} samples (pass@{k})", samples | {"marker": "^"}, False),
            ("after_none", "{attempts} attempts, no feedback", feedback
             | {"linestyle": DOTTED, "marker": "<"}, False),
            ("after_outcome", "{attempts} attempts, told the outcome", feedback
             | {"linestyle": DASH_DOT, "marker": "P"}, False),
            ("after_full", "{attempts} attempts, full feedback", feedback, True),
        )
    ]  # fmt: skip
    open_mark = {"color": CONTROL, "marker": "D", "linestyle": DASHED, "markerfacecolor": "white"}
    drawn.append((paper, "after_full", "drawn hands: {attempts} attempts, full feedback", open_mark,
                  False))  # fmt: skip
    for rows, measure, label, form, band in drawn:
        rows = rows.dropna(subset=measure)
        if rows.empty:
            continue
        form = form | {"markersize": 3.5, "linewidth": 1.2}
        label = label.format(k=rows["k"].max(), attempts=rows["attempts"].max())
        if band:
            limits = rows.assign(low=rows[f"{measure}_low"], high=rows[f"{measure}_high"])
            banded(ax, limits, measure, label, form)
        else:
            ax.plot(rows["step"], rows[measure], label=label, **form)


@styled
def arms(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Accuracy along SFT and along each of its control arms, and the difference."""
    controls = [arm for arm in CONTROLS if arm in set(frame["arm"])]
    rows = [(model, arm) for model in frame["track"].unique() for arm in controls]
    figure, axes = panels(style, len(rows), 2, 2.6)
    for (left, right), (model, arm) in zip(axes, rows, strict=True):
        part = frame[(frame["track"] == model) & frame["arm"].isin(["sft", arm])]
        part = part.sort_values("step")
        for ax in (left, right):
            step_axis(ax, part["step"], columns=2)
        _levels(left, part[part["kind"] == "level"], style)
        _differences(right, part[part["kind"] == "difference"], style)
        _zero(right)
        from_zero(left)
        percent_axis(left, "accuracy (%)")
        percent_axis(right, "control \N{MINUS SIGN} SFT\n(percentage points)")
        title(left, model, CONTROLS[arm])
        title(right, "difference")
    step_label(figure)
    legend(figure, 3, intervals(frame, "bands"))
    return figure


def _levels(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, _ = by_seed(frame)
    main = whole["arm"] == "sft"
    for rule, named in RULES.items():
        for own, what, line in ((main, "SFT", _PLAIN), (~main, "control", _OPEN)):
            one = whole[own & (whole["rule"] == rule)]
            form = look(style, rule) | line
            ax.plot(one["step"], one["accuracy"], label=f"{named}, {what}", **form)


def _differences(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, seeds = by_seed(frame)
    for rule, named in RULES.items():
        form = look(style, rule)
        gap = whole[whole["rule"] == rule]
        banded(ax, gap, "accuracy", f"{named}, difference", form)
        thin = form | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
        for _, one in seeds[seeds["rule"] == rule].groupby("seed"):
            ax.plot(one["step"], one["accuracy"], **thin)
