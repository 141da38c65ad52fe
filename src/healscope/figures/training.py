"""Accuracy and loss along training: figures 1, 2, 3, 8 and 10 of arXiv 2509.12235."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    DOTTED,
    INK,
    LANDMARKS,
    RULES,
    STAGES,
    by_seed,
    errors,
    from_zero,
    legend,
    look,
    panels,
    percent_axis,
    round_steps,
    step_axis,
    styled,
    title,
)  # fmt: skip

_ID_TRAIN, _ID_TEST, _OOD_TEST = "ID, training deals", "ID, held-out deals", "OOD, held-out deals"
_CURVES_NOTE = "band, error bars: interval over all seeds; thin lines: single seeds"
_HATCHES = {"maxood": "", "end": "////", "rl": "...."}


@styled
def landmarks(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 1: accuracy at the three landmarks, with the seeds as dots."""
    models = list(frame["model"].unique())
    figure, axes = panels(style, len(models), 2, 2.7, sharey="row")
    for row, model in zip(axes, models, strict=True):
        for ax, rule in zip(row, RULES, strict=True):
            part = frame[(frame["model"] == model) & (frame["rule"] == rule)]
            _bars(ax, part, style)
            title(ax, model, RULES[rule])
        percent_axis(row[0], "accuracy (%)")
    figure.suptitle("dots: single seeds; error bars: interval over all seeds", fontsize="small")
    return figure


def _bars(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, seeds = by_seed(frame)
    names = [name for name in LANDMARKS if name in set(whole["landmark"])]
    for place, name in enumerate(names):
        bar = whole[whole["landmark"] == name]
        height = float(bar["accuracy"].iloc[0])
        pale = [0.4 + 0.6 * part for part in look(style, name)["color"]]
        ax.bar(place, height, 0.65, color=pale, edgecolor=INK, hatch=_HATCHES[name])
        ax.errorbar(place, height, errors(bar, "accuracy"), color=INK, capsize=4)
        dots = seeds.loc[seeds["landmark"] == name, "accuracy"]
        spread = place + np.linspace(-0.2, 0.2, len(dots) + 2)[1:-1]
        ax.plot(spread, dots, "o", color="white", markeredgecolor=INK, markersize=4)
        top = max(float(bar["high"].iloc[0]), dots.max() if len(dots) else 0)
        ax.annotate(
            f"{100 * height:.1f}", (place, top), (0, 5), textcoords="offset points",
            ha="center", fontsize="small",
        )  # fmt: skip
    ax.set_xticks(range(len(names)), [_landmark_label(seeds, name) for name in names])
    ax.margins(y=0.14)
    ax.set_ylim(bottom=0)


def _landmark_label(seeds: pd.DataFrame, name: str) -> str:
    """The landmark and the SFT steps behind it; seeds may differ in them."""
    checkpoints = seeds.loc[seeds["landmark"] == name, "checkpoint"]
    steps = sorted({int(checkpoint.rsplit("-", 1)[-1]) for checkpoint in checkpoints})
    where = "–".join(str(step) for step in (steps[:1] + steps[1:][-1:]))
    return f"{LANDMARKS[name]}\n{'from' if name == 'rl' else 'step'} {where}"


@styled
def losses_id(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 2a: ID training and test loss along SFT."""
    series = {"id_train_loss_nats": _ID_TRAIN, "id_test_loss_nats": _ID_TEST}
    return _along_sft(frame, style, series, "loss (nats per token)")


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
def format_errors(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 2b: share of responses without the required format along SFT."""
    series = {
        "id_test_format_error_share": _ID_TEST,
        "ood_test_format_error_share": _OOD_TEST,
    }
    figure = _along_sft(frame, style, series, "")
    for ax in figure.axes:
        percent_axis(ax, "format errors (% of responses)")
    return figure


def _along_sft(
    frame: pd.DataFrame, style: FigureStyle, series: dict[str, str], label: str
) -> Figure:
    """Mean over seeds, and the range from the lowest to the highest seed."""
    models = list(frame["model"].unique())
    figure, axes = panels(style, len(models), 1, 2.7)
    for ax, model in zip(axes[:, 0], models, strict=True):
        steps = frame[frame["model"] == model].groupby("step")
        for column, name in series.items():
            lines = steps[column].agg(["mean", "min", "max"]).dropna()
            form = _series_look(style, column)
            ax.plot(lines.index, lines["mean"], label=name, **form)
            band = {"color": form["color"], "alpha": 0.18, "linewidth": 0}
            ax.fill_between(lines.index, lines["min"], lines["max"], **band)
        step_axis(ax, round_steps(int(frame["step"].max())))
        from_zero(ax)
        ax.set_ylabel(label)
        title(ax, model)
    legend(figure, len(series), "line: mean of the seeds; band: their range")
    return figure


def _series_look(style: FigureStyle, column: str) -> dict:
    form = look(style, column.split("_")[0])
    if "train" in column:
        form |= {"linestyle": DOTTED, "marker": "v"}
    return form | {"markersize": 3, "markevery": 0.08, "linewidth": 1.3}


@styled
def accuracy_ood(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 3a: OOD accuracy along SFT, and after RL from each start."""
    figure, parts = _curve_panels(frame, style, "ood")
    for ax, part in parts:
        _curves(ax, part[part["split"] == "held_out"], style, "")
        _mark_peak(ax, part[(part["split"] == "held_out") & (part["stage"] == "sft")])
        from_zero(ax)
    legend(figure, 2, _CURVES_NOTE)
    return figure


@styled
def accuracy_id(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 3b: ID accuracy along SFT, and after RL from each start, also on the training deals."""
    figure, parts = _curve_panels(frame, style, "id")
    for ax, part in parts:
        _curves(ax, part[part["split"] == "held_out"], style, ", held-out deals")
        _train_curves(ax, part[part["split"] == "train"], style)
        from_zero(ax)
    legend(figure, 2, _CURVES_NOTE)
    return figure


def _curve_panels(
    frame: pd.DataFrame, style: FigureStyle, rule: str
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    models = list(frame["model"].unique())
    figure, axes = panels(style, len(models), 1, 3.0)
    for ax, model in zip(axes[:, 0], models, strict=True):
        step_axis(ax, frame.loc[frame["model"] == model, "step"])
        percent_axis(ax, f"{rule.upper()} accuracy (%)")
        title(ax, model, RULES[rule])
    frame = frame[frame["rule"] == rule].sort_values("step")
    return figure, [
        (ax, frame[frame["model"] == m]) for ax, m in zip(axes[:, 0], models, strict=True)
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
    ax.plot(rl["step"], rl["accuracy"], label=f"after RL from this step{suffix}", **form)
    bars = {"fmt": "none", "ecolor": form["color"]}
    ax.errorbar(rl["step"], rl["accuracy"], errors(rl, "accuracy"), **bars)
    for (stage, _), one in seeds.groupby(["stage", "seed"]):
        form = look(style, stage) | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
        ax.plot(one["step"], one["accuracy"], **form)


def _train_curves(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, _ = by_seed(frame)
    for stage, label in (("sft", "SFT, training deals"), ("rl", "after RL, training deals")):
        part = whole[whole["stage"] == stage]
        form = look(style, stage) | {"linestyle": DOTTED, "alpha": 0.6, "markerfacecolor": "white"}
        ax.plot(part["step"], part["accuracy"], label=label, **form)


def _mark_peak(ax: Axes, sft: pd.DataFrame) -> None:
    whole, _ = by_seed(sft)
    best = whole.loc[whole["accuracy"].idxmax()]
    ax.axvline(best["step"], color=INK, linewidth=0.8, linestyle=DOTTED, zorder=0)
    text = f"best SFT step: {best['step']} ({100 * best['accuracy']:.1f}%)"
    ax.set_title(text, loc="right")


@styled
def window(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 10: what RL changes, by the SFT step where it starts."""
    models = list(frame["model"].unique())
    figure, axes = panels(style, len(models), 1, 2.8)
    for ax, model in zip(axes[:, 0], models, strict=True):
        part = frame[frame["model"] == model].sort_values("start")
        starts = sorted(part["start"].unique())
        for offset, rule in ((-0.14, "id"), (0.14, "ood")):
            _changes(ax, part[part["rule"] == rule], starts, offset, style)
        ax.axhline(0, color=INK, linewidth=0.9)
        ax.set_xticks(range(len(starts)), [str(start) for start in starts])
        ax.set_xlabel("SFT step where RL starts")
        percent_axis(ax, "accuracy after − before RL\n(percentage points)")
        title(ax, model)
    legend(figure, 2, "filled: the interval leaves out zero; small dots: single seeds")
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
    ax.plot(places, seeds["change"], ".", color=form["color"], markersize=4, alpha=0.7)
    ends = [starts.index(start) + offset for start in whole["start"]]
    ax.plot(ends, whole["change"], zorder=1, **line)
