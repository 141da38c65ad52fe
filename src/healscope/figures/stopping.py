"""Could the OOD peak be seen without OOD labels? Signals along SFT, and stopping by them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    DOTTED,
    INK,
    as_percent,
    by_seed,
    errors,
    legend,
    look,
    panels,
    percent_axis,
    round_steps,
    step_axis,
    step_label,
    styled,
    title,
)  # fmt: skip

_LOSS = "nats per token"
_SHARE = "%"
# signal -> name, unit; losses, then the model's own outputs, then its weights
_SIGNALS = {
    "id_train_loss_nats": ("ID loss,\ntraining problems", _LOSS),
    "id_test_loss_nats": ("ID loss,\nheld-out problems", _LOSS),
    "id_entropy_nats": ("entropy,\nID answers", _LOSS),
    "id_train_accuracy": ("ID accuracy,\ntraining problems", _SHARE),
    "id_test_accuracy": ("ID accuracy,\nheld-out problems", _SHARE),
    "id_kl_from_base_nats": ("KL from base,\nID prompts", _LOSS),
    "neutral_kl_from_base_nats": ("KL from base,\nother prompts", _LOSS),
    "weight_drift": ("drift of\nthe weights", "share of norm"),
    "rotation_degrees": ("rotation of\nthe weights", "degrees"),
}


@styled
def signals(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Everything that can be watched along SFT without OOD labels, and where OOD accuracy peaks."""
    models = list(frame["track"].unique())
    figure, axes = panels(style, 3 * len(models), 3, 1.5, sharex=True)
    ticks = round_steps(int(frame["step"].max()))
    for block, model in zip(np.split(axes, len(models)), models, strict=True):
        part = frame[frame["track"] == model].sort_values("step")
        for ax, (signal, (name, unit)) in zip(block.flat, _SIGNALS.items(), strict=True):
            step_axis(ax, ticks, columns=3)
            _signal(ax, part, signal, style)
            ax.locator_params(axis="y", nbins=5)
            if unit == _SHARE:
                percent_axis(ax, unit)
            ax.set_ylabel(unit)
            title(ax, name)
        if len(models) > 1:
            title(block[0, 0], f"{model}\n{_SIGNALS['id_train_loss_nats'][0]}")
    step_label(figure)
    legend(figure, 3, "")
    return figure


def _signal(ax: Axes, frame: pd.DataFrame, signal: str, style: FigureStyle) -> None:
    whole, seeds = by_seed(frame)
    form = look(style, "sft") | {"markersize": 3, "linewidth": 1.3}
    ax.plot(whole["step"], whole[signal], label="mean of the seeds", **form)
    peak = {"color": look(style, "ood")["color"], "linestyle": DOTTED, "linewidth": 1.1}
    for _, one in seeds.groupby("seed"):
        thin = form | {"marker": "", "linewidth": 0.6, "alpha": 0.6}
        ax.plot(one["step"], one[signal], label="single seeds", **thin)
        best = one.loc[one["ood_test_accuracy"].idxmax(), "step"]
        ax.axvline(best, label="best OOD accuracy of a seed", zorder=1, **peak)


@styled
def stopping(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Regret of each stopping rule, the best on top."""
    models = list(frame["track"].unique())
    most = int(frame.groupby("track").size().max())
    figure, axes = panels(style, len(models), 1, 0.7 + 0.165 * most, sharex=True)
    for ax, model in zip(axes[:, 0], models, strict=True):
        _ranking(ax, frame[frame["track"] == model].sort_values("rank"), style)
        title(ax, model)
    axes[-1, 0].set_xlabel("regret: OOD accuracy lost against\nthe peak (percentage points)")
    legend(figure, 2, "bars: interval over all seeds; dots: single seeds")
    return figure


def _ranking(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    frame = frame.assign(place=range(len(frame)))
    baseline, labels = frame["rule"] == "none", frame["rule"] == "level"
    form = look(style, "free")
    hollow, dark = form | {"markerfacecolor": "white"}, form | {"color": INK, "marker": "D"}
    groups = (
        ("needs no OOD labels", frame[~baseline & ~labels], form),
        ("needs OOD labels of other seeds", frame[labels], hollow),
        ("baseline (and dotted line)", frame[baseline], dark),
    )
    for label, rows, shape in groups:
        if rows.empty:
            continue
        ax.errorbar(
            rows["regret"], rows["place"], xerr=errors(rows, "regret"), label=label,
            markersize=5, elinewidth=1, **shape,
        )  # fmt: skip
        for place, values in zip(rows["place"], rows["by_seed"], strict=True):
            spots = np.full(len(values), place + 0.32)
            ax.plot(values, spots, ".", color=shape["color"], markersize=3, alpha=0.7)
    for value in frame.loc[baseline, "regret"]:
        ax.axvline(value, color=INK, linewidth=0.7, linestyle=DOTTED, zorder=0)
    ax.axvline(0, color=CONTROL, linewidth=0.9, zorder=0)
    ax.set_yticks(frame["place"], [_named(row) for row in frame.itertuples()])
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(as_percent)


def _named(row) -> str:
    """A stopping rule in words: the signal, and what of it is taken for the peak."""
    name = _SIGNALS.get(row.signal, (row.signal,))[0].replace("\n", " ")
    return name if row.rule == "none" else f"{name} \N{MIDDLE DOT} {row.rule}"
