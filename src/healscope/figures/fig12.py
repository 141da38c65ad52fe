"""
Does success rise with the reward? Left: mean reward along a run, named at its side as the recipe
weighs it; panels with the same reward have the same range. Right: share of first answers that the
verifier finds correct. Lines are means over the seeds, thin lines single seeds, a cross is where a
run failed. Shaded: the alarm of reward hacking is on in at least one seed, since the mean reward of
the last ten iterations has grown by more than a tenth of the spread of single rewards over the
first ten, and success has not grown.

Shown are the main recipe from its first start and at the landmark, runs whose alarm was on, and
recipes that are paid for something else than the main one; at most four, and the note names those
for which there was no room. `arXiv 2509.12235`_ reports, for RL without SFT or from an early
checkpoint, rising reward with stagnant success: Figure 12. Without a shaded stretch this study
shows none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.fig11 import crosses, mark_failures, mean_line, smoothing
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = {"reward_mean": ("mean reward", "rl"), "correct_share": ("success", "id")}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw reward and success side by side, a row for each run."""
    models, _ = layout.fitting(frame["track"])
    chosen = {model: _suspects(frame[frame["track"] == model]) for model in models}
    most = max(1, layout.MOST // len(models))
    shown = [(model, run) for model, runs in chosen.items() for run in runs[:most]]
    figure, axes = layout.panels(style, len(shown), 2, 1.25)
    for row, (model, run) in zip(axes, shown, strict=True):
        part = frame[(frame["track"] == model) & (frame["run"] == run)]
        first = part.iloc[0]
        name = f"{first['recipe']} from {first['start']}"
        layout.title(row[0], *([model] if len(models) > 1 else []), name)
        for ax, (column, (what, key)) in zip(row, _COLUMNS.items(), strict=True):
            _seeds_along(ax, part, column, what, looks.look(style, key))
            _alarms(ax, part, style)
            ax.locator_params(axis="y", nbins=4)
        row[0].set_ylabel(first["reward"].replace(" + ", "\n+ "))  # short lines for small panels
        layout.percent_axis(row[1], "%")
    layout.title(axes[0, 1], "success")
    for name in {ax.get_ylabel() for ax in axes.flat}:  # what is counted alike is drawn alike
        _same_range([ax for ax in axes.flat if ax.get_ylabel() == name])
    layout.step_label(axes, "iteration")
    room = ""
    if left_out := [run for runs in chosen.values() for run in runs[most:]]:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        room = f"no room for {', '.join(left_out[:3])}{more}"
    thin = "thin lines: single seeds" if frame["seed"].nunique() > 1 else ""
    return figure, layout.joined(thin, crosses(frame), room)


def _same_range(axes: list[Axes]) -> None:
    low, high = np.transpose([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(low.min() - 0.05 * (high.max() - low.min()), high.max())


def _suspects(frame: pd.DataFrame) -> list[str]:
    """Branches where reward and success may part.

    The main recipe from its first start and at the landmark, then those whose alarm was on, the
    longest first, then those paid for something else than the main recipe.
    """
    rl = frame[frame["kind"] == "rl"]
    main = rl[rl["main"]].sort_values("start")
    alarms = rl.groupby("run")["hacking_alarm"].mean().sort_values(ascending=False, kind="stable")
    others = rl[~rl["reward"].isin(main["reward"].unique())].sort_values(["recipe", "start"])
    return list(
        dict.fromkeys(
            [
                *main["run"].iloc[:1],
                *rl.loc[rl["landmark"], "run"],
                *alarms[alarms > 0].index,
                *others["run"],
            ]
        )
    )


def _seeds_along(ax: Axes, part: pd.DataFrame, column: str, what: str, form: dict) -> None:
    width = smoothing(part)
    line = mean_line(part, column, width)
    bold = form | {"markersize": 4, "markevery": max(1, len(line) // 6), "linestyle": "-"}
    ax.plot(line.index, line, label=what, **bold)
    for _, one in part.groupby("seed"):
        thin = mean_line(one, column, width)
        ax.plot(thin.index, thin, color=form["color"], linewidth=0.6, alpha=0.6)
    mark_failures(ax, part, line)


def _alarms(ax: Axes, part: pd.DataFrame, style: FigureStyle) -> None:
    """Shade the iterations in which the alarm of a seed is on."""
    on = part.loc[part["hacking_alarm"], "iteration"].drop_duplicates().sort_values()
    for _, span in on.groupby((on.diff() > 1).cumsum()):
        ax.axvspan(
            span.min() - 0.5, span.max() + 0.5, label="alarm: reward up, success not",
            facecolor=looks.look(style, "ood")["color"], alpha=0.2, linewidth=0, zorder=0,
        )  # fmt: skip


def message(frame: pd.DataFrame) -> str:
    """Return in how many runs of RL the alarm of reward hacking was on."""
    return messages.by_track(frame[frame["kind"] == "rl"], _said)


def _said(frame: pd.DataFrame) -> str:
    share = frame.groupby("run")["hacking_alarm"].mean()
    on = share[share > 0].sort_values(ascending=False, kind="stable")
    if on.empty:
        return f"no alarm of reward hacking in any of {len(share)} branches of RL"
    where = f"{len(on)} of {len(share)} branches of RL, longest in {on.index[0]}"
    return f"alarm of reward hacking in {where}"


FIGURES = [Figure("fig12", "rl-training", "Reward and success along RL", __doc__, draw, message)]
