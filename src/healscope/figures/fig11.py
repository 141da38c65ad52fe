"""
RL without SFT before it, beside RL from later checkpoints: mean reward, share of correct first
answers and policy loss along the run of the main recipe, by the SFT step where it starts. The thick
dark line starts from the base model. Lines are means over the seeds that still run; a cross is
where the run of a seed failed, and ``results/tables/recipes.parquet`` says why. If there are more
than six starts, six are drawn. Everything is measured on training problems under the ID rule, while
the policy samples, so it says nothing about OOD accuracy.

The paper says that RL hardly converges without SFT, since answers without the format earn nothing
but penalties. If that holds here, reward and success of the dark line stay at the bottom. A policy
loss near zero is no sign of convergence: advantages are normalised, so it is near zero whenever
nothing can be told apart. Answers Figure 11 of `arXiv 2509.12235`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ALONG = {
    "reward_mean": "mean reward",
    "correct_share": "success (%)",
    "policy_loss": "policy loss",
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw the main recipe from the base model, beside its other starts."""
    frame = frame[frame["main"]]
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), len(_ALONG), 1.9)
    width = smoothing(frame)
    for row, model in zip(axes, models, strict=True):
        part = frame[frame["track"] == model]
        starts = _spread(sorted(part["start"].unique()))
        forms = looks.ordered_looks(style, len(starts))
        forms[0] |= {"color": INK, "linewidth": 2.2, "zorder": 3}
        for ax, (column, name) in zip(row, _ALONG.items(), strict=True):
            lines = {s: mean_line(part[part["start"] == s], column, width) for s in starts}
            for i, (start, form) in enumerate(zip(starts, forms, strict=True)):
                every = max(1, len(lines[start]) // 5)
                ax.plot(
                    lines[start].index, lines[start], label=_named(start),
                    markevery=(i * every // len(starts), every),
                    **({"linewidth": 1.1, "markersize": 4} | form),
                )  # fmt: skip
            for start, line in lines.items():
                mark_failures(ax, part[part["start"] == start], line)
            ax.locator_params(axis="x", nbins=4)
            ax.locator_params(axis="y", nbins=6)
            if column == "correct_share":
                layout.percent_axis(ax, "")
                layout.from_zero(ax)
            several = len(models) > 1 and ax is row[0]
            layout.title(ax, f"{model}\n{name}" if several else name)
    layout.step_label(axes, "iteration")
    smoothed = f"smoothed over {width} iterations" if width > 1 else ""
    return figure, layout.joined(crosses(frame), smoothed, left_out)


def _named(start: int) -> str:
    return "from the base model" if start == 0 else f"from step {start}"


def _spread(starts: list) -> list:
    """As many starts as a legend names, the first and last among them."""
    places = np.linspace(0, len(starts) - 1, min(len(starts), layout.ENTRIES))
    return [starts[round(place)] for place in places]


def smoothing(frame: pd.DataFrame) -> int:
    """Return the iterations that are averaged: a twentieth of the run."""
    return max(1, int(frame["iteration"].max()) // 20)


def mean_line(runs: pd.DataFrame, column: str, width: int) -> pd.Series:
    """Return the mean of the seeds that still run, smoothed over `width` iterations."""
    line = runs.groupby("iteration")[column].mean().dropna()
    return line.rolling(width, center=True, min_periods=1).mean()


def crosses(frame: pd.DataFrame) -> str:
    """Return what the note says of crosses, if there are any."""
    return "cross: a run failed" if (frame["failure"] != "").any() else ""


def mark_failures(ax: Axes, runs: pd.DataFrame, line: pd.Series) -> None:
    """Draw a cross where a run failed."""
    ends = runs.loc[runs["failure"] != "", "iteration"]
    spots = line[line.index.isin(ends)]
    if len(spots):
        ax.plot(spots.index, spots, "x", color=INK, markersize=8, markeredgewidth=2, zorder=4)


def message(frame: pd.DataFrame) -> str:
    """Return the success at the end of the runs from the base model, and of the best other."""
    return messages.by_track(frame[frame["main"]], _said)


def _said(frame: pd.DataFrame) -> str:
    width = smoothing(frame)
    last = frame[frame["iteration"] > frame["iteration"].max() - max(1, width)]
    ends = last.groupby(["start", "seed"])["correct_share"].mean().dropna()
    starts = ends.groupby("start").mean()
    if starts.empty:
        return "no run of RL came to its end"
    first = starts.index[0]
    said = []
    if first == 0:
        said.append(f"RL from the base model ends at {messages.over_seeds(ends[0], '%')} success")
    elif 0 in set(frame["start"]):
        said.append("no run of RL from the base model came to its end")
    if len(later := starts[starts.index > 0]):
        best = later.idxmax()
        share = messages.over_seeds(ends[best], "%")
        after = f"from step {best} at {share}"
        said.append(after if said else f"RL ends best from step {best}, at {share} success")
    return ", ".join(said)


FIGURES = [
    Figure(
        "fig11",
        "rl-training",
        "RL from the base model, beside later starts",
        __doc__,
        draw,
        message,
    )
]
