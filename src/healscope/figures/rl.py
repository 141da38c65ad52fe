"""What RL does along its run (figures 11, 12 of arXiv 2509.12235), what it needs, what heals."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    CONTROL,
    INK,
    as_percent,
    by_seed,
    errors,
    from_zero,
    legend,
    look,
    ordered_looks,
    panels,
    percent_axis,
    step_label,
    styled,
    title,
)  # fmt: skip
from healscope.findings.window import BALANCED
from healscope.stats import rank_correlation

_MOST = 6  # branches in figure 12: more would not be read
_ALONG = {
    "reward_mean": "mean reward",
    "correct_share": "success (%)",
    "policy_loss": "policy loss",
}
_POINTS = "after − before (percentage points)"


@styled
def single_stage(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 11: the main recipe from the base model, beside its other starts."""
    frame = frame[frame["main"]]
    models = list(frame["track"].unique())
    figure, axes = panels(style, len(models), len(_ALONG), 2.0)
    width = _smoothing(frame)
    for row, model in zip(axes, models, strict=True):
        part = frame[frame["track"] == model]
        starts = sorted(part["start"].unique())
        forms = ordered_looks(style, len(starts))
        forms[0] |= {"color": INK, "linewidth": 2.2, "zorder": 3}
        for ax, (column, name) in zip(row, _ALONG.items(), strict=True):
            lines = {s: _mean(part[part["start"] == s], column, width) for s in starts}
            for i, (start, form) in enumerate(zip(starts, forms, strict=True)):
                every = max(1, len(lines[start]) // 5)
                ax.plot(
                    lines[start].index, lines[start],
                    label="from the base model" if start == 0 else f"from step {start}",
                    markevery=(i * every // len(starts), every),
                    **({"linewidth": 1.1, "markersize": 4} | form),
                )  # fmt: skip
            for start, line in lines.items():
                _mark_failures(ax, part[part["start"] == start], line)
            ax.locator_params(axis="x", nbins=4)
            ax.locator_params(axis="y", nbins=6)
            if column == "correct_share":
                percent_axis(ax, "")
                from_zero(ax)
            title(ax, name)
        if len(models) > 1:
            title(row[0], f"{model}\n{_ALONG['reward_mean']}")
    step_label(figure, "iteration")
    smoothed = f", smoothed over {width} iterations" if width > 1 else ""
    legend(figure, 3, f"mean of the seeds{smoothed}")
    return figure


def _smoothing(frame: pd.DataFrame) -> int:
    """Iterations that are averaged: a twentieth of the run."""
    return max(1, int(frame["iteration"].max()) // 20)


def _mean(runs: pd.DataFrame, column: str, width: int) -> pd.Series:
    """The mean of the seeds that still run, smoothed over `width` iterations."""
    line = runs.groupby("iteration")[column].mean().dropna()
    return line.rolling(width, center=True, min_periods=1).mean()


def _mark_failures(ax: Axes, runs: pd.DataFrame, line: pd.Series) -> None:
    ends = runs.loc[runs["failure"] != "", "iteration"]
    spots = line[line.index.isin(ends)]
    if len(spots):
        ax.plot(
            spots.index, spots, "x", label="a run failed", color=INK, markersize=8,
            markeredgewidth=2, zorder=4,
        )  # fmt: skip


@styled
def hacking(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 12: does success rise with the reward? Where they part, the alarm is on."""
    models = list(frame["track"].unique())
    chosen = [(m, *found) for m in models for found in [_suspects(frame[frame["track"] == m])]]
    shown = [(model, run) for model, runs, _ in chosen for run in runs]
    figure, axes = panels(style, len(shown), 2, 1.25)
    for row, (model, run) in zip(axes, shown, strict=True):
        part = frame[(frame["track"] == model) & (frame["run"] == run)]
        first = part.iloc[0]
        name = f"{first['recipe']} from {first['start']}"
        title(row[0], *([model] if len(models) > 1 else []), name)
        for ax, column, key in zip(
            row, ("reward_mean", "correct_share"), ("rl", "id"), strict=True
        ):
            _seeds_along(ax, part, column, look(style, key))
            _alarms(ax, part, style)
            ax.locator_params(axis="y", nbins=4)
        row[0].set_ylabel(_broken(first["reward"]))
        percent_axis(row[1], "%")
    title(axes[0, 1], "success")
    for name in {ax.get_ylabel() for ax in axes.flat}:  # what is counted alike is drawn alike
        _same_range([ax for ax in axes.flat if ax.get_ylabel() == name])
    step_label(figure, "iteration")
    note = "left: mean reward, named at its side; thin lines: single seeds"
    if left_out := [run for _, _, runs in chosen for run in runs]:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        note += f"; no room for {', '.join(left_out[:3])}{more}"
    legend(figure, 3, note)
    return figure


def _same_range(axes: list[Axes]) -> None:
    low, high = np.transpose([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(low.min() - 0.05 * (high.max() - low.min()), high.max())


def _suspects(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Branches where reward and success may part, and those for which there is no room.

    The main recipe from its first start and at the landmark, then those whose alarm was on, the
    longest first, then those paid for something else than the main recipe.
    """
    rl = frame[frame["kind"] == "rl"]
    main = rl[rl["main"]].sort_values("start")
    alarms = rl.groupby("run")["hacking_alarm"].mean().sort_values(ascending=False, kind="stable")
    others = rl[~rl["reward"].isin(main["reward"].unique())].sort_values(["recipe", "start"])
    ranked = dict.fromkeys(
        [
            *main["run"].iloc[:1],
            *rl.loc[rl["landmark"], "run"],
            *alarms[alarms > 0].index,
            *others["run"],
        ]
    )
    return list(ranked)[:_MOST], list(ranked)[_MOST:]


def _broken(reward: str) -> str:
    """A reward in words, on lines short enough for the side of a small panel."""
    return reward.replace(" + ", "\n+ ")


def _seeds_along(ax: Axes, part: pd.DataFrame, column: str, form: dict) -> None:
    width = _smoothing(part)
    line = _mean(part, column, width)
    bold = form | {"markersize": 4, "markevery": max(1, len(line) // 6), "linestyle": "-"}
    ax.plot(line.index, line, label=_ALONG[column].removesuffix(" (%)"), **bold)
    for _, one in part.groupby("seed"):
        thin = _mean(one, column, width)
        ax.plot(thin.index, thin, color=form["color"], linewidth=0.6, alpha=0.6)
    _mark_failures(ax, part, line)


def _alarms(ax: Axes, part: pd.DataFrame, style: FigureStyle) -> None:
    """Shades the iterations in which the alarm of a seed is on."""
    on = part.loc[part["hacking_alarm"], "iteration"].drop_duplicates().sort_values()
    for _, span in on.groupby((on.diff() > 1).cumsum()):
        ax.axvspan(
            span.min() - 0.5, span.max() + 0.5, label="alarm: reward up, success not",
            facecolor=look(style, "ood")["color"], alpha=0.2, linewidth=0, zorder=0,
        )  # fmt: skip


# predictor -> name of the panel, label of its axis
_PREDICTORS = {
    "positive_share": ("positive rewards", "% of responses"),
    "advantage_entropy_nats": ("entropy of the advantages", "nats"),
    "entropy_nats": ("entropy of the policy", "nats per token"),
    "kl_from_base_nats": ("KL from base, at the end", "nats per token"),
}


@styled
def window(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """What a start has that heals: one dot for each seed and start."""
    frame = frame[frame["seed"] != "all"]
    models = list(frame["track"].unique())
    measured = [p for p in _PREDICTORS if frame[p].notna().any()] or ["positive_share"]
    deep = -(-len(measured) // 2)
    figure, axes = panels(style, deep * len(models), 2, 2.2, sharey=True)
    for block, model in zip(np.split(axes, len(models)), models, strict=True):
        part = frame[frame["track"] == model]
        for ax, predictor in zip(block.flat, measured, strict=False):
            _scatter(ax, part, predictor, style)
            name, unit = _PREDICTORS[predictor]
            ax.set_xlabel(unit)
            title(
                ax, f"{name if len(models) == 1 else f'{model}: {name}'}\n{_rho(part, predictor)}"
            )
        for ax in block.flat[len(measured) :]:
            ax.set_visible(False)
        for ax in block[:, 0]:
            percent_axis(ax, f"OOD accuracy\n{_POINTS.replace(' (', chr(10) + '(')}")
    failed = int(frame["healing"].isna().sum())
    note = "a mark: one seed, from one start; shaded: the balance that the paper proposes"
    legend(figure, 4, note + (f"; runs that failed, not drawn: {failed}" if failed else ""))
    return figure


def _scatter(ax: Axes, part: pd.DataFrame, predictor: str, style: FigureStyle) -> None:
    ax.locator_params(axis="x", nbins=5)
    if predictor == "positive_share":
        ax.axvspan(*BALANCED, color="0.9", zorder=0)
        ax.xaxis.set_major_formatter(as_percent)
        ax.set_xticks(np.linspace(0, 1, 6))
        ax.set_xlim(-0.03, 1.03)
    ax.axhline(0, color=INK, linewidth=0.9, zorder=1)
    ax.margins(0.08, 0.12)
    ax.update_datalim([(part[predictor].mean(), y) for y in (-0.02, 0.02)])  # no axis of roundoff
    starts = sorted(part["start"].unique())
    for start, form in zip(starts, ordered_looks(style, len(starts)), strict=True):
        own = part[part["start"] == start]
        ax.plot(
            own[predictor], own["healing"], label=f"from step {start}",
            **(form | {"linestyle": "", "markersize": 6, "markeredgecolor": "white"}),
        )  # fmt: skip


def _rho(part: pd.DataFrame, predictor: str) -> str:
    rho, p = rank_correlation(part, predictor, "healing", within="seed", unit="start")
    if np.isnan(rho):
        return "no rank correlation: nothing varies"
    said = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return f"ρ = {rho:+.2f}, {said}".replace("-", "\N{MINUS SIGN}")


@styled
def recipes(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """What heals? The change by each recipe from a start, the largest on top."""
    blocks = _blocks(frame)
    sizes = [0.55 + 0.21 * len(whole) for _, whole, _ in blocks]
    height = sum(sizes) / len(sizes)
    figure, axes = panels(style, len(blocks), 1, height, sharex=True, height_ratios=sizes)
    for ax, (name, whole, seeds) in zip(axes[:, 0], blocks, strict=True):
        _changes(ax, whole, seeds, style)
        title(ax, name)
    axes[-1, 0].set_xlabel(f"accuracy {_POINTS}")
    note = "bars: interval over all seeds, filled where it leaves out zero; dots: single seeds"
    if frame["hacking"].any():
        note += "; †: at the end the reward had risen and success had not"
    legend(figure, 3, note)
    return figure


def _blocks(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Title, rows over all seeds (sorted) and of single seeds, for each start with several recipes.

    Without such a start there is nothing to compare, and all branches stand in one block.
    """
    found = []
    for model, part in frame.groupby("track", sort=False):
        several = part.groupby("start")["recipe"].nunique() > 1
        starts = list(several[several].index)
        for start in starts or [None]:
            rows = part if start is None else part[part["start"] == start]
            labels = (
                rows["recipe"] if starts else rows["recipe"] + " from " + rows["start"].astype(str)
            )
            whole, seeds = by_seed(rows.assign(label=labels))
            whole = whole.sort_values("healing", ascending=False, kind="stable")
            place = [] if start is None else ["base model" if start == 0 else f"SFT step {start}"]
            found.append((" · ".join([model, *(f"from {p}" for p in place)]), whole, seeds))
    return found


def _changes(ax: Axes, whole: pd.DataFrame, seeds: pd.DataFrame, style: FigureStyle) -> None:
    whole = whole.assign(place=range(len(whole)))
    places = whole.set_index("label")["place"]
    forms = {
        "rl": ("RL, OOD accuracy", look(style, "rl") | {"linestyle": ""}),
        "control": ("control, OOD accuracy", {"color": INK, "marker": "o", "linestyle": ""}),
    }
    clear = (whole["low"] > 0) | (whole["high"] < 0)
    for kind, (label, form) in forms.items():
        for filled in (True, False):
            rows = whole[(whole["kind"] == kind) & (clear == filled) & whole["healing"].notna()]
            if len(rows):
                face = form["color"] if filled else "white"
                ax.errorbar(
                    rows["healing"], rows["place"], xerr=errors(rows, "healing"), label=label,
                    markersize=5, elinewidth=1, markerfacecolor=face, **form,
                )  # fmt: skip
        own = seeds[seeds["kind"] == kind]
        spots = own["label"].map(places).astype(float) + 0.32
        ax.plot(own["healing"], spots, ".", color=form["color"], markersize=3, alpha=0.7)
    form = look(style, "id") | {"marker": "|", "linestyle": "", "markersize": 8}
    ax.plot(whole["id_change"], whole["place"], label="ID accuracy", markeredgewidth=2, **form)
    for place in whole.loc[whole["healing"].isna(), "place"]:
        ax.annotate(
            "failed", (0, place), (6, 0), textcoords="offset points", va="center",
            fontsize="small", color=CONTROL, style="italic",
        )  # fmt: skip
    ax.axvline(0, color=INK, linewidth=0.9, zorder=1)
    ax.set_yticks(whole["place"], [_label(row, seeds) for row in whole.itertuples()])
    ax.set_ylim(len(whole) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(as_percent)


def _label(row, seeds: pd.DataFrame) -> str:
    """A recipe, with what is wrong with it."""
    own = seeds[seeds["label"] == row.label]
    failed = int((own["failed"] != "").sum())
    some = f" ({failed} of {len(own)} failed)" if 0 < failed < len(own) else ""
    return f"{row.label}{' †' if row.hacking else ''}{some}"
