"""Training tasks side by side: figure 9 of arXiv 2509.12235, and curves along training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.artifacts import LANDMARK_NAMES
from healscope.config import FigureStyle, Study
from healscope.figures import layout, looks, messages
from healscope.figures.fig1 import landmark_label
from healscope.figures.looks import INK, RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

AT_LANDMARKS = """
Accuracy at MaxOOD, End and RL on every task that models can be trained on, a panel for each task:
under the ID rule (plain bars) and the OOD rule (hatched), on held-out problems. Each task has a
model of its own; models from scratch also have a vocabulary and a base of their own. Bars are means
over seeds and dots are single seeds; intervals count instances and seeds, see docs/statistics.md.
MaxOOD is corrected for having been picked, as in Figure 1. In navigation, a whole route has to be
right. Open marks are published values of two larger models on tasks of the same family: any of
several attempts with feedback, problems drawn with replacement, one run each, their bars the draw
alone, so compare the changes, not the heights. At most eight panels are drawn. Answers Figure 9 of
`arXiv 2509.12235`_.
"""
CURVES = """
Accuracy on held-out problems along SFT (lines), and after RL from several SFT checkpoints (open
marks at the step where RL starts), under the ID rule and the OOD rule, a panel for each training
task. It is Figure 3 of every task at once: where does OOD accuracy peak, does it fall while ID
accuracy holds, and from where does RL give it back? Bands and error bars count instances and seeds,
see docs/statistics.md; thin lines are single seeds. The title counts tasks by intervals that hold
for every step and task at once. At most eight panels are drawn. Models of different tasks share the
recipe of training and nothing else. Goes beyond Figures 3 and 9 of `arXiv 2509.12235`_.
"""
_COLUMNS = 2
_WIDTH = 0.24  # of a bar; landmarks are 1 apart
_PLACES = {"id": -0.15, "ood": 0.15}
_BESIDE = {"id": -0.32, "ood": 0.12}  # with room for published values to their right
_HATCHES = {"id": "", "ood": "////"}
_MARKERS = "Dv^p"  # of published models


def _panels(
    frame: pd.DataFrame, style: FigureStyle, height: float
) -> tuple[matplotlib.figure.Figure, list[tuple[Axes, str, pd.DataFrame]], str]:
    """Return a panel for each model and task that were measured: (axes, task, rows of that
    model)."""
    several = frame["model"].nunique() > 1
    parts = list(frame.groupby(["task", "model"], sort=False))
    most = _COLUMNS * layout.MOST
    left_out = f"{len(parts) - most} more in the table" if len(parts) > most else ""
    parts = parts[:most]
    rows = -(-len(parts) // _COLUMNS)
    figure, axes = layout.panels(style, rows, min(_COLUMNS, len(parts)), height, sharey=False)
    for ax in axes.flat[len(parts) :]:
        ax.remove()
    found = []
    for ax, ((task, model), part) in zip(axes.flat, parts, strict=False):
        layout.title(ax, *([model] if several else []), task)
        layout.percent_axis(ax, "accuracy (%)")
        found.append((ax, task, part))
    return figure, found, left_out


def at_landmarks(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw bars at the three landmarks, task by task, with published values beside them."""
    measured = frame[frame["kind"] == "measured"]
    published = frame[frame["kind"] == "published"]
    marks = dict(zip(sorted(published["model"].unique()), _MARKERS, strict=False))
    figure, parts, left_out = _panels(measured, style, 2.75)
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
        _, seeds = layout.by_seed(part)
        names = [name for name in LANDMARK_NAMES if name in set(part["landmark"])]
        ax.set_xticks(range(len(names)), [landmark_label(seeds, name) for name in names])
        ax.set_xlabel(_of_how_many(part, beside), fontsize="small")
        ax.margins(y=0.1)
        ax.set_ylim(bottom=0)
    other = "published: another protocol, compare changes alone" if len(published) else ""
    note = layout.joined(layout.intervals(measured, "error bars", "dots"), other, left_out)
    return figure, note


def _bars(ax: Axes, frame: pd.DataFrame, left: float, rule: str, style: FigureStyle) -> None:
    whole, seeds = layout.by_seed(frame)
    colour = looks.pale(looks.look(style, rule)["color"], 0.55)
    names = [name for name in LANDMARK_NAMES if name in set(whole["landmark"])]
    for number, name in enumerate(names):
        place, bar = number + left, whole[whole["landmark"] == name]
        ax.bar(
            place, bar["accuracy"], _WIDTH, color=colour, edgecolor=INK, hatch=_HATCHES[rule],
            linewidth=0.8, label=RULES[rule],
        )  # fmt: skip
        ax.errorbar(place, bar["accuracy"], layout.errors(bar, "accuracy"), color=INK, capsize=3)
        several = layout.several_seeds(frame)
        own = seeds.loc[(seeds["landmark"] == name) & several, "accuracy"]
        spread = place + _WIDTH * np.linspace(-0.35, 0.35, len(own) + 2)[1:-1]
        ax.plot(spread, own, "o", color="white", markeredgecolor=INK, markersize=3)


def _published(ax: Axes, rows: pd.DataFrame, label: str, marker: str, shift: float) -> None:
    """Draw open marks beside the bars; a value that was published twice stands there twice."""
    again = rows.groupby("landmark").cumcount()
    places = rows["landmark"].map(list(LANDMARK_NAMES).index).astype(float)
    ax.errorbar(
        places + shift + 0.03 * again, rows["accuracy"], layout.errors(rows, "accuracy"),
        label=label, color=looks.GREY, marker=marker, markersize=4, linestyle="", elinewidth=0.8,
        capsize=0, **looks.OPEN,
    )  # fmt: skip


def _of_how_many(frame: pd.DataFrame, published: pd.DataFrame) -> str:
    """Return how many instances, seeds and published problems the accuracies of a panel are
    over."""
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


def curves(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy along SFT, and after RL from each start, task by task."""
    figure, parts, left_out = _panels(frame, style, 2.5)
    for ax, _, part in parts:
        layout.step_axis(ax, part["step"], columns=min(_COLUMNS, len(parts)))
        ax.set_xlabel(f"SFT step (square-root scale)\n{_of_how_many(part, part.head(0))}",
                      fontsize="small")  # fmt: skip
        for rule, named in RULES.items():
            whole, seeds = layout.by_seed(part[part["rule"] == rule].sort_values("step"))
            sft, rl = (whole[whole["stage"] == stage] for stage in ("sft", "rl"))
            form = looks.look(style, rule)
            layout.banded(ax, sft, "accuracy", f"{named}, SFT", form | {"linestyle": "-"})
            after = form | looks.OPEN | {"linestyle": looks.DASHED, "linewidth": 1.1}
            ax.errorbar(
                rl["step"], rl["accuracy"], layout.errors(rl, "accuracy"), elinewidth=0.9,
                label=f"{named}, after RL from there", **after,
            )  # fmt: skip
            thin = {"color": form["color"], "linewidth": 0.5, "alpha": 0.45}
            for (stage, _), one in seeds.groupby(["stage", "seed"]):
                line = "-" if stage == "sft" else looks.DASHED
                ax.plot(one["step"], one["accuracy"], linestyle=line, **thin)
        layout.from_zero(ax)
    return figure, layout.joined(layout.intervals(frame, "bands, error bars"), left_out)


def _parts(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Name -> rows under the OOD rule over all seeds, of each task (and model, of several)."""
    whole = layout.by_seed(frame[frame["rule"] == "ood"])[0]
    several = frame["model"].nunique() > 1
    return {
        f"{model} on {task}" if several else task: rows
        for (task, model), rows in whole.groupby(["task", "model"], sort=False)
    }


def message_landmarks(frame: pd.DataFrame) -> str:
    """Return for how many tasks OOD accuracy falls from MaxOOD to End, and for which most."""
    changes = {}
    for name, rows in _parts(frame[frame["kind"] == "measured"]).items():
        at = rows.set_index("landmark")
        if {"maxood", "end"} <= set(at.index):
            ends = (messages.of_row(at.loc[mark], "accuracy") for mark in ("end", "maxood"))
            changes[name] = messages.difference(*ends)
    return messages.counted("OOD", "task", changes, "from MaxOOD to End")


def message_curves(frame: pd.DataFrame) -> str:
    """Return for how many tasks OOD accuracy falls from its best step to the last."""
    changes = {}
    for name, rows in _parts(frame[frame["stage"] == "sft"]).items():
        rows = rows.sort_values("step")
        best = rows.loc[rows["accuracy"].idxmax()]
        ends = (messages.of_row(row, "accuracy") for row in (rows.iloc[-1], best))
        changes[name] = messages.difference(*ends, len(rows) - 1)
    return messages.counted("OOD", "task", changes, "after its best step")


def _all_tracks(study: Study) -> bool:
    """Not where some tracks are not followed: they would be trained for these figures."""
    return len(study.trained_on) > 1 and set(study.tracks) == set(study.followed)


FIGURES = [
    Figure(
        "fig9",
        "task-landmarks",
        "Accuracy at MaxOOD, End and RL, task by task",
        AT_LANDMARKS,
        at_landmarks,
        message_landmarks,
        asked=_all_tracks,
    ),
    Figure(
        "fig_tasks",
        "task-curves",
        "Accuracy during SFT and after RL, task by task",
        CURVES,
        curves,
        message_curves,
        asked=_all_tracks,
    ),
]
