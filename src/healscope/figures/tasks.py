"""Training tasks side by side: figure 9 of arXiv 2509.12235, and curves along training."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    DASHED,
    INK,
    LANDMARKS,
    RULES,
    banded,
    by_seed,
    errors,
    from_zero,
    intervals,
    legend,
    look,
    panels,
    percent_axis,
    several_seeds,
    step_axis,
    step_label,
    styled,
    title,
)  # fmt: skip
from healscope.figures.training import landmark_label

_COLUMNS = 2
_WIDTH = 0.24  # of a bar; landmarks are 1 apart
_PLACES = {"id": -0.15, "ood": 0.15}
_BESIDE = {"id": -0.32, "ood": 0.12}  # with room for published values to their right
_HATCHES = {"id": "", "ood": "////"}
_MARKERS = "Dv^p"  # of published models


def _task_panels(
    frame: pd.DataFrame, style: FigureStyle, height: float
) -> tuple[Figure, list[tuple[Axes, str, pd.DataFrame]]]:
    """A panel for each model and task that were measured: (axes, task, rows of that model)."""
    several = frame["model"].nunique() > 1
    parts = list(frame.groupby(["task", "model"], sort=False))
    rows = -(-len(parts) // _COLUMNS)
    figure, axes = panels(style, rows, min(_COLUMNS, len(parts)), height, sharey=False)
    for ax in axes.flat[len(parts) :]:
        ax.remove()
    found = []
    for ax, ((task, model), part) in zip(axes.flat, parts, strict=False):
        title(ax, *([model] if several else []), task)
        percent_axis(ax, "accuracy (%)")
        found.append((ax, task, part))
    return figure, found


@styled
def landmarks(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 9: ID and OOD accuracy at the three landmarks, task by task, with published values."""
    measured = frame[frame["kind"] == "measured"]
    published = frame[frame["kind"] == "published"]
    marks = dict(zip(sorted(published["model"].unique()), _MARKERS, strict=False))
    figure, parts = _task_panels(measured, style, 2.75)
    for ax, task, part in parts:
        beside = published[published["task"] == task]
        places = _BESIDE if len(beside) else _PLACES
        for rule, place in places.items():
            _bars(ax, part[part["rule"] == rule], place, rule, style)
        for rule, place in places.items():
            for number, (model, marker) in enumerate(marks.items()):
                own = beside[(beside["model"] == model) & (beside["rule"] == rule)]
                shift = place + 0.05 + _WIDTH / 2 + 0.09 * number
                _published(ax, own, f"published: {model}", marker, shift)
        _, seeds = by_seed(part)
        names = [name for name in LANDMARKS if name in set(part["landmark"])]
        ax.set_xticks(range(len(names)), [landmark_label(seeds, name) for name in names])
        ax.set_xlabel(_behind(part, beside), fontsize="small")
        ax.margins(y=0.1)
        ax.set_ylim(bottom=0)
    note = intervals(measured, "error bars", "dots")
    if len(published):
        note += "; published: one run of a larger model by another protocol, bars: the draw alone"
    legend(figure, 2, note)
    return figure


def _bars(ax: Axes, frame: pd.DataFrame, left: float, rule: str, style: FigureStyle) -> None:
    whole, seeds = by_seed(frame)
    pale = [0.45 + 0.55 * part for part in look(style, rule)["color"]]
    names = [name for name in LANDMARKS if name in set(whole["landmark"])]
    for number, name in enumerate(names):
        place, bar = number + left, whole[whole["landmark"] == name]
        ax.bar(
            place, bar["accuracy"], _WIDTH, color=pale, edgecolor=INK, hatch=_HATCHES[rule],
            linewidth=0.8, label=RULES[rule],
        )  # fmt: skip
        ax.errorbar(place, bar["accuracy"], errors(bar, "accuracy"), color=INK, capsize=3)
        own = seeds.loc[(seeds["landmark"] == name) & several_seeds(frame), "accuracy"]
        spread = place + _WIDTH * np.linspace(-0.35, 0.35, len(own) + 2)[1:-1]
        ax.plot(spread, own, "o", color="white", markeredgecolor=INK, markersize=3)


def _published(ax: Axes, rows: pd.DataFrame, label: str, marker: str, shift: float) -> None:
    """Open marks beside the bars; a value that was published twice stands there twice."""
    again = rows.groupby("landmark").cumcount()
    places = rows["landmark"].map(list(LANDMARKS).index).astype(float)
    ax.errorbar(
        places + shift + 0.03 * again, rows["accuracy"], errors(rows, "accuracy"), label=label,
        color=CONTROL, marker=marker, markersize=4, markerfacecolor="white", linestyle="",
        elinewidth=0.8, capsize=0,
    )  # fmt: skip


def _behind(frame: pd.DataFrame, published: pd.DataFrame) -> str:
    """What accuracies of a panel are over: instances, seeds, and published problems."""
    counts = frame.groupby("rule")["instances"].max()
    said = [f"{n} {rule.upper()}" for rule, n in counts.items()]
    one = counts.nunique() == 1
    said = str(counts.iloc[0]) if one else " and ".join(said)
    seeds = len(set(frame["seed"]) - {"all"})
    apart = ", " if one else ",\n"  # a line as wide as a panel
    text = f"n = {said} instances{apart}{seeds} seed{'s' if seeds > 1 else ''}"
    if len(published):
        text += f"\npublished: n = {' or '.join(str(n) for n in sorted(set(published['n'])))}"
    return text


@styled
def curves(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """ID and OOD accuracy along SFT, and after RL from each start, task by task."""
    figure, parts = _task_panels(frame, style, 2.5)
    for ax, _, part in parts:
        step_axis(ax, part["step"], columns=min(_COLUMNS, len(parts)))
        ax.set_xlabel(_behind(part, part.head(0)), fontsize="small")
        for rule, named in RULES.items():
            whole, seeds = by_seed(part[part["rule"] == rule].sort_values("step"))
            sft, rl = (whole[whole["stage"] == stage] for stage in ("sft", "rl"))
            form = look(style, rule)
            banded(ax, sft, "accuracy", f"{named}, SFT", form | {"linestyle": "-"})
            after = form | {"linestyle": DASHED, "markerfacecolor": "white", "linewidth": 1.1}
            ax.errorbar(
                rl["step"], rl["accuracy"], errors(rl, "accuracy"), elinewidth=0.9,
                label=f"{named}, after RL from there", **after,
            )  # fmt: skip
            thin = {"color": form["color"], "linewidth": 0.5, "alpha": 0.45}
            for (stage, _), one in seeds.groupby(["stage", "seed"]):
                line = "-" if stage == "sft" else DASHED
                ax.plot(one["step"], one["accuracy"], linestyle=line, **thin)
        from_zero(ax)
    step_label(figure)
    legend(figure, 2, intervals(frame, "bands, error bars"))
    return figure
