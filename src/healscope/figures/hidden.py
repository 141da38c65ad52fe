"""Hidden states at the landmarks: figure 15 of arXiv 2509.12235, with numbers beside it."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle
from healscope.figures.style import (
    LANDMARKS,
    RULES,
    legend,
    look,
    panels,
    several_seeds,
    styled,
    title,
)  # fmt: skip

_POINTS = {"base": "Base", **LANDMARKS}
_POSITIONS = {"last": "last prompt token", "mean": "mean of prompt"}
_NUMBERS = {
    "distance": "distance of the means (in spreads of prompts)",
    "cka": "similarity of the prompts' arrangement (linear CKA)",
}
_HEIGHTS = (2.2, 2.2, 1.6, 1.6)
_SHAPE = 0.72  # height of a panel of components, by its width
_OFFSETS = {"id": -0.19, "ood": 0.19}


@styled
def hidden_states(frame: pd.DataFrame, style: FigureStyle) -> Figure:
    """Fig 15: principal components under both rules, and how far the landmarks are apart."""
    models = list(frame["track"].unique())
    figure, axes = panels(
        style, 4 * len(models), 2, sum(_HEIGHTS) / 4,
        gridspec_kw={"height_ratios": _HEIGHTS * len(models)},
    )  # fmt: skip
    for m, model in enumerate(models):
        for column, position in enumerate(_POSITIONS):
            own = frame[(frame["track"] == model) & (frame["position"] == position)]
            _components(axes[4 * m : 4 * m + 2, column], own, style)
            for ax, kind in zip(axes[4 * m + 2 : 4 * m + 4, column], _NUMBERS, strict=True):
                _numbers(ax, own[own["kind"] == kind], style, named=column == 0)
                title(ax, _NUMBERS[kind] if column == 0 else "")
    seed = " of one seed" if several_seeds(frame) else ""
    known = "way_back" in set(frame["kind"])
    way = "Way back: from End to MaxOOD, how far RL went, all seeds. " if known else ""
    legend(
        figure, len(_POINTS) + len(RULES),
        f"components{seed}, fitted once a column on all landmarks and both rules: small, one "
        f"prompt; large, their mean. {way}Lower rows: marks, seeds; bars, their mean",
    )  # fmt: skip
    return figure


def _components(axes: list[Axes], frame: pd.DataFrame, style: FigureStyle) -> None:
    """Both rules on the same components, of the first seed: each seed has components of its own."""
    states = frame[frame["kind"] == "state"]
    states = states[states["seed"] == states["seed"].iloc[0]]
    for ax, rule in zip(axes, RULES, strict=True):
        _clouds(ax, states[states["rule"] == rule], style)
        _same_scale(ax, states)
        title(ax, RULES[rule], _POSITIONS[frame["position"].iloc[0]])
        ax.set_ylabel(f"component 2 ({100 * states['share2'].iloc[0]:.0f}%)")
        ax.text(
            0.02, 0.02, _way_back(frame[(frame["kind"] == "way_back") & (frame["rule"] == rule)]),
            transform=ax.transAxes, fontsize="x-small", va="bottom", in_layout=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )  # fmt: skip
    first = states.iloc[0]
    axes[0].set_title(
        f"{first['track']}, seed {first['seed']}\n{axes[0].get_title('left')}", loc="left"
    )
    axes[-1].set_xlabel(f"component 1 ({100 * first['share1']:.0f}% of variance)")


def _clouds(ax: Axes, states: pd.DataFrame, style: FigureStyle) -> None:
    for name, label in _POINTS.items():
        points = states[states["landmark"] == name]
        if points.empty:
            continue
        form = look(style, name) | {"linestyle": ""}
        ax.plot(points["pc1"], points["pc2"], alpha=0.35, markeredgewidth=0, markersize=3.5, **form)
        ax.plot(
            points["pc1"].mean(), points["pc2"].mean(), label=label,
            markersize=9, markeredgecolor="black", markeredgewidth=1.1, zorder=5, **form,
        )  # fmt: skip


def _same_scale(ax: Axes, states: pd.DataFrame) -> None:
    """Equal scales on both axes, the same in the panels of both rules."""
    low, high = states[["pc1", "pc2"]].min(), states[["pc1", "pc2"]].max()
    width = 1.1 * max(high["pc1"] - low["pc1"], (high["pc2"] - low["pc2"]) / _SHAPE, 1e-9)
    middle = (low + high) / 2
    ax.set_xlim(middle["pc1"] - width / 2, middle["pc1"] + width / 2)
    ax.set_ylim(middle["pc2"] - _SHAPE * width / 2, middle["pc2"] + _SHAPE * width / 2)
    ax.set_box_aspect(_SHAPE)
    ax.locator_params(nbins=6)
    ax.grid(False)


def _way_back(rows: pd.DataFrame) -> str:
    """How far RL went back to MaxOOD, mean and range of the seeds, and what chance allows them."""
    known = 100 * rows[["value", "chance"]].dropna()
    if known.empty:
        return ""
    (low, least), (high, most) = known.agg(["min", "max"]).to_numpy()
    seeds = f" ({low:.0f} to {high:.0f})" if len(known) > 1 else ""
    chance = f"{least:.0f} to {most:.0f}" if f"{least:.0f}" != f"{most:.0f}" else f"{most:.0f}"
    text = f"way back: {known['value'].mean():.0f}%{seeds}\nrandom step: ±{chance}%"
    return text.replace("-", "\N{MINUS SIGN}")


def _numbers(ax: Axes, rows: pd.DataFrame, style: FigureStyle, named: bool) -> None:
    """A row for each pair of landmarks, a mark for each rule."""
    pairs = list(dict.fromkeys(zip(rows["landmark"], rows["other"], strict=True)))
    for rule, label in RULES.items():
        form = look(style, rule) | {"linestyle": ""}
        for place, (a, b) in enumerate(pairs):
            own = (rows["rule"] == rule) & (rows["landmark"] == a) & (rows["other"] == b)
            values, at = rows.loc[own, "value"], place + _OFFSETS[rule]
            ax.plot(values, [at] * len(values), label=label, markersize=3.5, clip_on=False, **form)
            ax.plot(values.mean(), at, **form | {"marker": "|", "markersize": 9})
    names = [f"{_POINTS[a]} – {_POINTS[b]}" for a, b in pairs] if named else []
    ax.set_yticks(range(len(pairs)), labels=names or [""] * len(pairs))
    ax.set_ylim(len(pairs) - 0.5, -0.5)
    ax.grid(axis="x", color="0.9")
    ax.set_xlim(left=0, right=None if rows["value"].max() > 1 else 1)
