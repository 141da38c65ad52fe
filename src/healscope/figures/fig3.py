"""Accuracy along SFT and after RL from each start: figures 3a and 3b of arXiv 2509.12235."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.fig2 import published_line
from healscope.figures.looks import RULES, STAGES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

OOD = """
OOD accuracy on held-out deals along SFT, and after RL from each of several SFT checkpoints, drawn
at the step where that RL run starts. Intervals count instances and seeds, see docs/statistics.md;
thin lines are single seeds. The dotted line marks the SFT step with the best mean over seeds. Its
height flatters it, being the best of many, so the interval in the title holds for every step at
once and takes accuracies as independent; Figure 1 has the corrected accuracy, and the claims have
the paired change. Where a published model is drawn over it, in grey and with open marks, its values
come from another protocol, any of five tries with feedback on 234 drawn hands, and one run. Answers
Figure 3a of `arXiv 2509.12235`_.
"""
ID = """
ID accuracy along SFT and after RL from each of several SFT checkpoints, on held-out deals (full
lines) and on deals of the training side (pale): of the latter, the ones that the seed's SFT was
trained on. Intervals count instances and seeds, see docs/statistics.md; they and the single seeds
(thin lines) are drawn for the held-out deals only. Answers Figure 3b of `arXiv 2509.12235`_.
"""


def accuracy_ood(
    frame: pd.DataFrame, style: FigureStyle, published: pd.DataFrame | None = None
) -> Drawn:
    """Draw a panel for each model: OOD accuracy on held-out problems, and its best step."""
    figure, parts, left_out = _panels(frame, style, "ood", published)
    for ax, part in parts:
        held_out = part[part["split"] == "held_out"]
        _curves(ax, held_out, style, "")
        if published is not None:
            over = published[published["over"].isin(part["track"])]
            for stage, marker, what in (("sft", "o", ", SFT"), ("sft+rl", "D", ", after RL")):
                rows = over[over["stage"] == stage]
                if len(rows):
                    published_line(ax, rows, marker, what)
        _mark_peak(ax, held_out[held_out["stage"] == "sft"])
        layout.from_zero(ax)
    other = "" if published is None else "published: another protocol, on 234 drawn hands"
    return figure, layout.joined(layout.intervals(frame, "band, error bars"), other, left_out)


def accuracy_id(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each model: ID accuracy on held-out and on training problems."""
    figure, parts, left_out = _panels(frame, style, "id")
    for ax, part in parts:
        _curves(ax, part[part["split"] == "held_out"], style, ", held-out problems")
        _train_curves(ax, part[part["split"] == "train"], style)
        layout.from_zero(ax)
    return figure, layout.joined(layout.intervals(frame, "band, error bars"), left_out)


def _panels(
    frame: pd.DataFrame, style: FigureStyle, rule: str, published: pd.DataFrame | None = None
) -> tuple[matplotlib.figure.Figure, list[tuple[Axes, pd.DataFrame]], str]:
    frame = frame[frame["stage"].isin(STAGES)]  # a control run of SFT has a figure of its own
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 1, 2.7)
    frame = frame[frame["rule"] == rule].sort_values("step")
    parts = []
    for ax, model in zip(axes[:, 0], models, strict=True):
        part = frame[frame["track"] == model]
        over = [] if published is None else published.loc[published["over"] == model, "x"]
        layout.step_axis(ax, {*part["step"], *map(int, over)})
        layout.percent_axis(ax, f"{rule.upper()} accuracy (%)")
        layout.title(ax, model, RULES[rule])
        parts.append((ax, part))
    return figure, parts, left_out


def _curves(ax: Axes, frame: pd.DataFrame, style: FigureStyle, suffix: str) -> None:
    """Draw SFT with its interval as a band, RL with error bars at its start, single seeds thin."""
    whole, seeds = layout.by_seed(frame)
    sft, rl = (whole[whole["stage"] == stage] for stage in STAGES)
    layout.banded(ax, sft, "accuracy", f"SFT{suffix}", looks.look(style, "sft"))
    if len(rl):
        ax.errorbar(
            rl["step"], rl["accuracy"], layout.errors(rl, "accuracy"),
            label=f"after RL from this step{suffix}", **looks.look(style, "rl"),
        )  # fmt: skip
    if not layout.several_seeds(frame):
        return
    for (stage, _), one in seeds.groupby(["stage", "seed"]):
        form = looks.look(style, stage) | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
        ax.plot(one["step"], one["accuracy"], **form)


def _train_curves(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    whole, _ = layout.by_seed(frame)
    for stage, label in (("sft", "SFT, training problems"), ("rl", "after RL, training problems")):
        part = whole[whole["stage"] == stage]
        form = looks.look(style, stage) | looks.OPEN | {"linestyle": looks.DOTTED, "alpha": 0.6}
        if len(part):
            ax.plot(part["step"], part["accuracy"], label=label, **form)


def _mark_peak(ax: Axes, sft: pd.DataFrame) -> None:
    whole, _ = layout.by_seed(sft)
    best = whole.loc[whole["accuracy"].idxmax(), "step"]
    ax.axvline(best, color=looks.INK, linewidth=0.8, linestyle=looks.DOTTED, zorder=0)
    average = " on average" if layout.several_seeds(sft) else ""
    ax.set_title(f"best SFT step{average}: {best}", loc="right")


def message(frame: pd.DataFrame) -> str:
    """Return how far OOD accuracy changes after its best SFT step, and by RL from the last one."""
    rows = frame[(frame["rule"] == "ood") & (frame["split"] == "held_out")]
    return messages.by_track(rows, _ood)


def _ood(frame: pd.DataFrame) -> str:
    whole, _ = layout.by_seed(frame)
    said = messages.after_best(frame[frame["stage"] == "sft"], "OOD")
    ends = [whole[whole["stage"] == stage].set_index("step") for stage in ("sft", "rl")]
    last = ends[0].index.max()
    if last in ends[1].index:
        before, after = (messages.of_row(end.loc[last], "accuracy") for end in ends)
        said += "; " + messages.effect("OOD", messages.difference(after, before), "by RL from End")
    return said


def message_id(frame: pd.DataFrame) -> str:
    """Return ID accuracy on held-out problems at the end of SFT, and after RL from there."""
    rows = frame[(frame["rule"] == "id") & (frame["split"] == "held_out")]
    return messages.by_track(rows, _id)


def _id(frame: pd.DataFrame) -> str:
    whole, _ = layout.by_seed(frame)
    step = whole.loc[whole["stage"] == "sft", "step"].max()
    last = whole[whole["step"] == step].set_index("stage")
    said = f"ID accuracy is {messages.level(last.loc['sft'])} after {step} steps of SFT"
    return f"{said}, {messages.level(last.loc['rl'])} after RL" if "rl" in last.index else said


FIGURES = [
    Figure(
        "fig3a",
        "curves",
        "OOD accuracy during SFT and after RL",
        OOD,
        accuracy_ood,
        message,
        overlay=True,
    ),
    Figure("fig3b", "curves", "ID accuracy during SFT and after RL", ID, accuracy_id, message_id),
]
