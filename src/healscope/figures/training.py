"""Accuracy and loss along training: figures 1, 2, 3, 8 and 10 of arXiv 2509.12235."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASHED,
    DOTTED,
    INK,
    LANDMARKS,
    RULES,
    STAGES,
    by_seed,
    errors,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    round_steps,
    several_seeds,
    step_axis,
    styled,
    title,
)  # fmt: skip
from healscope.published import counts

_ID_TRAIN, _ID_TEST, _OOD_TEST = (
    "ID, training problems",
    "ID, held-out problems",
    "OOD, held-out problems",
)
_PUBLISHED_NOTE = "published: any of five tries with feedback, on 234 drawn hands"
_HATCHES = {"maxood": "", "end": "////", "rl": "...."}


@styled
def landmarks(
    frame: pd.DataFrame, style: FigureStyle, published: pd.DataFrame | None = None
) -> Figure:
    """Fig 1: accuracy at the three landmarks, with the seeds as dots."""
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 2, 2.7, sharey="row")
    for row, model in zip(axes, models, strict=True):
        for ax, rule in zip(row, RULES, strict=True):
            part = frame[(frame["track"] == model) & (frame["rule"] == rule)]
            if published is not None:
                over = published[published["over"] == model]
                _published_landmarks(ax, over[over["split"] == rule])
            _bars(ax, part, style)
            title(ax, model, RULES[rule])
        row[0].set_ylim(bottom=0)  # of both panels, once the higher of them is drawn
        percent_axis(row[0], "accuracy (%)")
    note = intervals(frame, "error bars", "dots")
    legend(figure, 2, _with_published(note, published, " (error bars: the draw of hands alone)"))
    return figure


def _with_published(note: str, published: pd.DataFrame | None, more: str = "") -> str:
    return note if published is None else f"{note}; {_PUBLISHED_NOTE}{more}"


def _bars(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, seeds = by_seed(frame)
    names = [name for name in LANDMARKS if name in set(whole["landmark"])]
    for place, name in enumerate(names):
        bar = whole[whole["landmark"] == name]
        height = float(bar["accuracy"].iloc[0])
        pale = [0.4 + 0.6 * part for part in look(style, name)["color"]]
        ax.bar(place, height, 0.65, color=pale, edgecolor=INK, hatch=_HATCHES[name])
        ax.errorbar(place, height, errors(bar, "accuracy"), color=INK, capsize=4)
        own = seeds["landmark"] == name
        dots = seeds.loc[own & several_seeds(frame), "accuracy"]
        spread = place + np.linspace(-0.2, 0.2, len(dots) + 2)[1:-1]
        ax.plot(spread, dots, "o", color="white", markeredgecolor=INK, markersize=4)
        top = max(float(bar["high"].iloc[0]), dots.max() if len(dots) else 0)
        for picked in whole.loc[whole["landmark"] == f"{name}_uncorrected", "accuracy"]:
            ax.hlines(
                picked, place - 0.3, place + 0.3, color=INK, linestyle=DOTTED, linewidth=2,
                label=f"{LANDMARKS[name]} on the instances that picked it",
            )  # fmt: skip
            top = max(top, picked)
        ax.annotate(
            f"{100 * height:.1f}", (place, top), (0, 5), textcoords="offset points",
            ha="center", fontsize="small",
        )  # fmt: skip
    ax.set_xticks(range(len(names)), [landmark_label(seeds, name) for name in names])
    ax.margins(y=0.14)


def landmark_label(seeds: pd.DataFrame, name: str) -> str:
    """The landmark and the SFT steps behind it; seeds, and halves of the instances, may differ."""
    checkpoints = seeds.loc[seeds["landmark"] == name, "checkpoint"]
    names = [one for checkpoint in checkpoints for one in checkpoint.split(", ")]
    steps = sorted({int(one.rsplit("-", 1)[-1]) for one in names})
    where = "–".join(str(step) for step in (steps[:1] + steps[1:][-1:]))
    return f"{LANDMARKS[name]}\n{'from' if name == 'rl' else 'step'} {where}"


def _published_landmarks(ax: Axes, published: pd.DataFrame) -> None:
    """Open diamonds beside the bars; a value published twice stands there twice."""
    for place, name in enumerate(LANDMARKS):
        rows = counts(published[published["stage"] == name])
        places = place + 0.43 + 0.1 * np.arange(len(rows))
        label = f"published: {rows['model'].iloc[0]}" if len(rows) else None
        ax.errorbar(
            places, rows["value"], errors(rows, "value"), label=label, color=CONTROL, marker="D",
            markersize=4.5, markerfacecolor="white", linestyle="", elinewidth=0.9,
        )  # fmt: skip


def _published_line(ax: Axes, rows: pd.DataFrame, marker: str, what: str) -> None:
    """Open marks and a thin line, in grey: not of this study."""
    rows = rows.sort_values("x")
    x, y = rows["x"].to_numpy(float), rows["value"].to_numpy(float)
    every = max(1, len(rows) // 25)
    ax.plot(
        x, y, label=f"published: {rows['model'].iloc[0]}{what}", color=CONTROL, marker=marker,
        markersize=4, markerfacecolor="white", markeredgewidth=0.8, markevery=every,
        linestyle=DASHED, linewidth=0.9, zorder=1.9,
    )  # fmt: skip


@styled
def losses_id(
    frame: pd.DataFrame, style: FigureStyle, published: pd.DataFrame | None = None
) -> Figure:
    """Fig 2a: ID training and test loss along SFT."""
    series = {"id_train_loss_nats": _ID_TRAIN, "id_test_loss_nats": _ID_TEST}
    known = {"train_loss_nats": ("v", ", training batches"), "loss_nats": ("D", ", test")}
    return _along_sft(frame, style, series, "loss (nats per token)", published, known)


@styled
def losses(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 8: ID training and test loss and OOD loss along SFT."""
    series = {
        "id_train_loss_nats": _ID_TRAIN,
        "id_test_loss_nats": _ID_TEST,
        "ood_test_loss_nats": _OOD_TEST,
    }
    return _along_sft(frame, style, series, "loss (nats per token)")


@styled
def format_errors(
    frame: pd.DataFrame, style: FigureStyle, published: pd.DataFrame | None = None
) -> Figure:
    """Fig 2b: share of responses without the required format along SFT."""
    series = {
        "id_test_format_error_share": _ID_TEST,
        "ood_test_format_error_share": _OOD_TEST,
    }
    known = {"format_error_share": ("D", "")}
    figure = _along_sft(frame, style, series, "", published, known)
    for ax in figure.axes:
        percent_axis(ax, "format errors (% of responses)")
    return figure


def _along_sft(
    frame: pd.DataFrame,
    style: FigureStyle,
    series: dict[str, str],
    label: str,
    published: pd.DataFrame | None = None,
    known: dict[str, tuple[str, str]] | None = None,
) -> Figure:
    """Mean over seeds, and the range from the lowest to the highest seed.

    `known`: metric -> marker and name, of the published values that belong here.
    """
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 1, 2.7)
    for ax, model in zip(axes[:, 0], models, strict=True):
        steps = frame[frame["track"] == model].groupby("step")
        for column, name in series.items():
            lines = steps[column].agg(["mean", "min", "max"]).dropna()
            form = _series_look(style, column)
            ax.plot(lines.index, lines["mean"], label=name, **form)
            band = {"color": form["color"], "alpha": 0.18, "linewidth": 0}
            ax.fill_between(lines.index, lines["min"], lines["max"], **band)
        last = int(frame["step"].max())
        if published is not None and len(over := published[published["over"] == model]):
            for metric, (marker, what) in known.items():
                _published_line(ax, over[over["metric"] == metric], marker, what)
            last = max(last, int(over["x"].max()))
        step_axis(ax, round_steps(last))
        from_zero(ax)
        ax.set_ylabel(label)
        title(ax, model)
    columns = len(series) if published is None else 2
    legend(figure, columns, "line: mean of the seeds; band: their range")
    return figure


def _series_look(style: FigureStyle, column: str) -> dict:
    form = look(style, column.split("_")[0])
    if "train" in column:
        form |= {"linestyle": DOTTED, "marker": "v"}
    return form | {"markersize": 3, "markevery": 0.08, "linewidth": 1.3}


@styled
def accuracy_ood(
    frame: pd.DataFrame, style: FigureStyle, published: pd.DataFrame | None = None
) -> Figure:
    """Fig 3a: OOD accuracy along SFT, and after RL from each start."""
    figure, parts = _curve_panels(frame, style, "ood", published)
    for ax, part in parts:
        _curves(ax, part[part["split"] == "held_out"], style, "")
        if published is not None:
            over = published[published["over"].isin(part["track"])]
            for stage, marker, what in (("sft", "o", ", SFT"), ("sft+rl", "D", ", after RL")):
                rows = over[over["stage"] == stage]
                if len(rows):
                    _published_line(ax, rows, marker, what)
        _mark_peak(ax, part[(part["split"] == "held_out") & (part["stage"] == "sft")])
        from_zero(ax)
    legend(figure, 2, _with_published(_curves_note(frame), published))
    return figure


@styled
def accuracy_id(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 3b: ID accuracy along SFT and after RL from each start, also on training problems."""
    figure, parts = _curve_panels(frame, style, "id")
    for ax, part in parts:
        _curves(ax, part[part["split"] == "held_out"], style, ", held-out problems")
        _train_curves(ax, part[part["split"] == "train"], style)
        from_zero(ax)
    legend(figure, 2, _curves_note(frame))
    return figure


def _curves_note(frame: pd.DataFrame) -> str:
    return intervals(frame, "band, error bars")


def _curve_panels(
    frame: pd.DataFrame, style: FigureStyle, rule: str, published: pd.DataFrame | None = None
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    frame = frame[frame["stage"].isin(STAGES)]  # a control run of SFT has a figure of its own
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 1, 3.0)
    for ax, model in zip(axes[:, 0], models, strict=True):
        over = [] if published is None else published.loc[published["over"] == model, "x"]
        step_axis(ax, {*frame.loc[frame["track"] == model, "step"], *map(int, over)})
        percent_axis(ax, f"{rule.upper()} accuracy (%)")
        title(ax, model, RULES[rule])
    frame = frame[frame["rule"] == rule].sort_values("step")
    return figure, [
        (ax, frame[frame["track"] == m]) for ax, m in zip(axes[:, 0], models, strict=True)
    ]


def _curves(ax: Axes, frame: pd.DataFrame, style: FigureStyle, suffix: str) -> None:
    """SFT with its interval as a band, RL with error bars at its start; single seeds thin."""
    whole, seeds = by_seed(frame)
    sft, rl = (whole[whole["stage"] == stage] for stage in STAGES)
    form = look(style, "sft")
    band = {"color": form["color"], "alpha": 0.2, "linewidth": 0}
    ax.fill_between(sft["step"], sft["low"], sft["high"], **band)
    ax.plot(sft["step"], sft["accuracy"], label=f"SFT{suffix}", **form)
    form = look(style, "rl")
    if len(rl):
        ax.plot(rl["step"], rl["accuracy"], label=f"after RL from this step{suffix}", **form)
    bars = {"fmt": "none", "ecolor": form["color"]}
    ax.errorbar(rl["step"], rl["accuracy"], errors(rl, "accuracy"), **bars)
    for (stage, _), one in seeds.groupby(["stage", "seed"]):
        form = look(style, stage) | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
        ax.plot(one["step"], one["accuracy"], **form)


def _train_curves(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, _ = by_seed(frame)
    for stage, label in (("sft", "SFT, training problems"), ("rl", "after RL, training problems")):
        part = whole[whole["stage"] == stage]
        form = look(style, stage) | {"linestyle": DOTTED, "alpha": 0.6, "markerfacecolor": "white"}
        if part.empty:
            continue
        ax.plot(part["step"], part["accuracy"], label=label, **form)


def _mark_peak(ax: Axes, sft: pd.DataFrame) -> None:
    whole, _ = by_seed(sft)
    best = whole.loc[whole["accuracy"].idxmax()]
    ax.axvline(best["step"], color=INK, linewidth=0.8, linestyle=DOTTED, zorder=0)
    # no accuracy: the best of many steps flatters itself, figure 1 has the corrected one
    average = " on average" if several_seeds(sft) else ""
    ax.set_title(f"best SFT step{average}: {best['step']}", loc="right")


@styled
def window(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 10: what RL changes, by the SFT step where it starts."""
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), 1, 2.8)
    for ax, model in zip(axes[:, 0], models, strict=True):
        part = frame[frame["track"] == model].sort_values("start")
        starts = sorted(part["start"].unique())
        for offset, rule in ((-0.14, "id"), (0.14, "ood")):
            _changes(ax, part[part["rule"] == rule], starts, offset, style)
        ax.axhline(0, color=INK, linewidth=0.9)
        ax.set_xticks(range(len(starts)), [str(start) for start in starts])
        ax.set_xlabel("SFT step where RL starts")
        percent_axis(ax, "accuracy after − before RL\n(percentage points)")
        title(ax, model)
    note = intervals(frame, "error bars", "small dots")
    legend(figure, 2, f"{note}; filled: it leaves out zero")
    return figure


def _changes(
    ax: Axes, frame: pd.DataFrame, starts: list, offset: float, style: FigureStyle
) -> None:
    rule = frame["rule"].iloc[0]
    form = look(style, rule)
    line = {"linestyle": form.pop("linestyle"), "color": form["color"], "linewidth": 0.8}
    whole, seeds = by_seed(frame)
    clear = (whole["low"] > 0) | (whole["high"] < 0)
    for part, face in ((whole[clear], form["color"]), (whole[~clear], "white")):
        places = [starts.index(start) + offset for start in part["start"]]
        ax.errorbar(
            places, part["change"], errors(part, "change"), label=RULES[rule],
            markerfacecolor=face, markersize=6, linestyle="", **form,
        )  # fmt: skip
    places = [starts.index(start) + offset * 1.6 for start in seeds["start"]]
    if several_seeds(frame):
        ax.plot(places, seeds["change"], ".", color=form["color"], markersize=4, alpha=0.7)
    ends = [starts.index(start) + offset for start in whole["start"]]
    ax.plot(ends, whole["change"], zorder=1, **line)
