"""
What can be watched along SFT without a single OOD label: losses, accuracies, entropy, divergence
from the base model, and movement of the weights. Lines are means over seeds, thin lines single
seeds (of one model; several have a line each); dotted vertical lines are the steps where OOD
accuracy is best in each seed. There is no interval here. `arXiv 2509.12235`_ says that the
forgetting cannot be captured by the loss; a signal could capture it if it turned, or always stood
at the same level, where the dotted lines are.

A turn that happens to lie there in one or two seeds is no evidence: the stopping rules of the next
figure put each signal to the test. The best step is itself uncertain where the curve of OOD
accuracy is flat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOSS = "nats per token"
_SHARE = "%"
SIGNALS = {
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
"""Signal -> name, unit: losses, then the model's own outputs, then its weights."""
_COLUMNS = 3


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each signal, and where OOD accuracy peaks."""
    models, left_out = layout.fitting(frame["track"])
    measured = [name for name in SIGNALS if frame[name].notna().any()]
    rows = -(-len(measured) // _COLUMNS)
    figure, axes = layout.panels(style, rows, _COLUMNS, 1.5, sharex=True)
    ticks = layout.round_steps(int(frame["step"].max()))
    forms = looks.ordered_looks(style, len(models))
    for ax in axes.flat[len(measured) :]:
        ax.set_visible(False)
    for ax, signal in zip(axes.flat, measured, strict=False):
        name, unit = SIGNALS[signal]
        layout.step_axis(ax, ticks, columns=_COLUMNS)
        for model, form in zip(models, forms, strict=True):
            own = frame[frame["track"] == model].sort_values("step")
            if len(models) == 1:
                _signal(ax, own, signal, "mean of the seeds", looks.look(style, "sft"), style)
            else:
                _signal(ax, own, signal, model, form, style)
        ax.locator_params(axis="y", nbins=5)
        if unit == _SHARE:
            layout.percent_axis(ax, unit)
        ax.set_ylabel(unit)
        layout.title(ax, name)
    layout.step_label(axes)
    return figure, left_out


def _signal(
    ax: Axes, frame: pd.DataFrame, signal: str, label: str, form: dict, style: FigureStyle
) -> None:
    whole, seeds = layout.by_seed(frame)
    form = form | {"markersize": 3, "linewidth": 1.3}
    ax.plot(whole["step"], whole[signal], label=label, **form)
    peak = {"color": looks.look(style, "ood")["color"], "linestyle": looks.DOTTED}
    for _, one in seeds.groupby("seed"):
        if layout.several_seeds(frame) and label == "mean of the seeds":
            thin = form | {"marker": "", "linewidth": 0.6, "alpha": 0.6}
            ax.plot(one["step"], one[signal], label="single seeds", **thin)
        best = one.loc[one["ood_test_accuracy"].idxmax(), "step"]
        ax.axvline(best, label="best OOD accuracy of a seed", zorder=1, linewidth=1.1, **peak)


def message(frame: pd.DataFrame) -> str:
    """Return where OOD accuracy is best and where the loss on held-out ID problems is lowest."""
    return messages.by_track(layout.by_seed(frame)[1], _said)


def _said(frame: pd.DataFrame) -> str:
    best, lowest = [], []
    for _, one in frame.groupby("seed"):
        best.append(one.loc[one["ood_test_accuracy"].idxmax(), "step"])
        lowest.append(one.loc[one["id_test_loss_nats"].idxmin(), "step"])
    return (
        f"OOD accuracy is best at {_steps(best)}, loss on held-out ID problems is lowest at "
        f"{_steps(lowest)}"
    )


def _steps(steps: list[int]) -> str:
    low, high = min(steps), max(steps)
    return f"step {low}" if low == high else f"steps {low} to {high} (by seed)"


FIGURES = [
    Figure("fig_signals", "signals", "What can be watched along SFT", __doc__, draw, message)
]
