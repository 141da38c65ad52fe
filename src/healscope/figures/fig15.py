"""
Hidden states of the last layer, after the final norm, at four landmarks: the base, MaxOOD, End and
RL. Left: at the last token of the prompt, from which the answer starts; right: their mean over all
tokens of the prompt. The same held-out problems are asked everywhere, under both rules.

Two upper rows, of one model alone: the first two principal components. There is one fit for each
column, on all four landmarks and both rules together, so the two panels of a column can be laid
over each other and axes have equal scales. Small marks are prompts, large ones their means.
Components belong to one seed and only the first is drawn. Components fitted on several checkpoints
always show what sets these apart, so it says little that clouds lie apart. Below a panel stands how
far the mean state under RL went back along the straight way from End to MaxOOD: 0% is none of it,
100% all, and it says how far a step of the same length in a random direction would seem to go (19
times of 20). Training moves states in few directions, so that steps of unrelated causes can share
more than that. The title has the last token under the OOD rule.

Two lower rows use all dimensions and show every seed. The distance between the means of two
landmarks is measured in spreads, the root mean square distance of a prompt from its landmark's
mean. Linear CKA (`arXiv 1905.00414`_) asks whether the prompts lie the same way to each other: 1 is
the same arrangement, wherever it was moved, turned or scaled to; with fewer prompts than dimensions
it is high whatever the states are. There are no intervals: small marks are the seeds, bars their
mean. Answers Figure 15 of `arXiv 2509.12235`_, which shows three checkpoints of one run and the
components alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.artifacts import POINT_NAMES
from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POSITIONS = {"last": "last prompt token", "mean": "mean of prompt"}
_NUMBERS = {
    "distance": "distance of means (spreads)",
    "cka": "likeness (linear CKA)",
}
_SHAPE = 0.72  # height of a panel of components, by its width
_OFFSETS = {"id": -0.19, "ood": 0.19}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw components under both rules, and how far the landmarks are apart."""
    tracks = list(dict.fromkeys(frame["track"]))
    heights = [2.2, 2.2, 1.6, 1.6] if len(tracks) == 1 else [1.7, 1.7]
    models, left_out = layout.fitting(tracks, len(heights))
    figure, axes = layout.panels(
        style, len(heights) * len(models), 2, sum(heights) / len(heights),
        gridspec_kw={"height_ratios": heights * len(models)},
    )  # fmt: skip
    for m, model in enumerate(models):
        block = axes[len(heights) * m : len(heights) * (m + 1)]
        for column, position in enumerate(_POSITIONS):
            own = frame[(frame["track"] == model) & (frame["position"] == position)]
            if len(heights) == 4:
                _components(block[:2, column], own, style)
            for ax, kind in zip(block[-2:, column], _NUMBERS, strict=True):
                _numbers(ax, own[own["kind"] == kind], style, named=column == 0)
                where = _POSITIONS[position]
                layout.title(ax, *([model] if len(models) > 1 else []), where)
                ax.set_xlabel(_NUMBERS[kind])
    seed = "components of one seed" if layout.several_seeds(frame) and len(heights) == 4 else ""
    return figure, layout.joined(seed, left_out)


def _components(axes: list[Axes], frame: pd.DataFrame, style: FigureStyle) -> None:
    """Draw both rules on the same components, of the first seed: each has its own components."""
    states = frame[frame["kind"] == "state"]
    states = states[states["seed"] == states["seed"].iloc[0]]
    for ax, rule in zip(axes, RULES, strict=True):
        _clouds(ax, states[states["rule"] == rule], style)
        _same_scale(ax, states)
        layout.title(ax, RULES[rule], _POSITIONS[frame["position"].iloc[0]])
        ax.set_ylabel(f"component 2 ({100 * states['share2'].iloc[0]:.0f}%)")
        back = frame[(frame["kind"] == "way_back") & (frame["rule"] == rule)]
        first = f"component 1 ({100 * states['share1'].iloc[0]:.0f}% of variance)"
        ax.set_xlabel("\n".join([first, *_way_back(back)]), fontsize="small")


def _clouds(ax: Axes, states: pd.DataFrame, style: FigureStyle) -> None:
    for name, label in POINT_NAMES.items():
        points = states[states["landmark"] == name]
        if points.empty:
            continue
        form = looks.look(style, name) | {"linestyle": ""}
        ax.plot(points["pc1"], points["pc2"], alpha=0.35, markeredgewidth=0, markersize=3.5, **form)
        ax.plot(
            points["pc1"].mean(), points["pc2"].mean(), label=label,
            markersize=9, markeredgecolor="black", markeredgewidth=1.1, zorder=5, **form,
        )  # fmt: skip


def _same_scale(ax: Axes, states: pd.DataFrame) -> None:
    """Set equal scales on both axes, the same in the panels of both rules."""
    low, high = states[["pc1", "pc2"]].min(), states[["pc1", "pc2"]].max()
    width = 1.1 * max(high["pc1"] - low["pc1"], (high["pc2"] - low["pc2"]) / _SHAPE, 1e-9)
    middle = (low + high) / 2
    ax.set_xlim(middle["pc1"] - width / 2, middle["pc1"] + width / 2)
    ax.set_ylim(middle["pc2"] - _SHAPE * width / 2, middle["pc2"] + _SHAPE * width / 2)
    ax.set_box_aspect(_SHAPE)
    ax.locator_params(nbins=6)
    ax.grid(False)


def _way_back(rows: pd.DataFrame) -> list[str]:
    """Return how far RL went back to MaxOOD, mean and range of the seeds, and what chance allows
    them."""
    known = 100 * rows[["value", "chance"]].dropna()
    if known.empty:
        return []
    (low, least), (high, most) = known.agg(["min", "max"]).to_numpy()
    seeds = f" ({low:.0f} to {high:.0f})" if len(known) > 1 else ""
    chance = f"{least:.0f} to {most:.0f}" if f"{least:.0f}" != f"{most:.0f}" else f"{most:.0f}"
    said = [f"way back: {known['value'].mean():.0f}%{seeds}", f"random step: ±{chance}%"]
    return [text.replace("-", "\N{MINUS SIGN}") for text in said]


def _numbers(ax: Axes, rows: pd.DataFrame, style: FigureStyle, named: bool) -> None:
    """Draw a row for each pair of landmarks, a mark for each rule."""
    pairs = list(dict.fromkeys(zip(rows["landmark"], rows["other"], strict=True)))
    for rule, label in RULES.items():
        form = looks.look(style, rule) | {"linestyle": ""}
        for place, (a, b) in enumerate(pairs):
            own = (rows["rule"] == rule) & (rows["landmark"] == a) & (rows["other"] == b)
            values, at = rows.loc[own, "value"], place + _OFFSETS[rule]
            ax.plot(values, [at] * len(values), label=label, markersize=3.5, clip_on=False, **form)
            ax.plot(values.mean(), at, **form | {"marker": "|", "markersize": 9})
    names = [f"{POINT_NAMES[a]} – {POINT_NAMES[b]}" for a, b in pairs] if named else []
    ax.set_yticks(range(len(pairs)), labels=names or [""] * len(pairs))
    ax.set_ylim(len(pairs) - 0.5, -0.5)
    ax.grid(axis="x", color="0.9")
    ax.set_xlim(left=0, right=None if rows["value"].max() > 1 else 1)


def message(frame: pd.DataFrame) -> str:
    """Return how far RL goes back towards MaxOOD, beside what chance allows."""
    own = (frame["position"] == "last") & frame["rule"].isin(["ood"])
    return messages.by_track(frame[own], _said)


def _said(frame: pd.DataFrame) -> str:
    if back := _way_back(frame[frame["kind"] == "way_back"]):
        return f"how far RL moves hidden states from End to MaxOOD: {'; '.join(back)}"
    far = frame[(frame["kind"] == "distance") & frame["landmark"].isin(["maxood"])]
    far = far[far["other"] == "end"]["value"]
    return f"hidden states at End are {messages.over_seeds(far)} spreads from those at MaxOOD"


FIGURES = [
    Figure(
        "fig15",
        "hidden-states",
        "Hidden states at the landmarks",
        __doc__,
        draw,
        message,
        gate=("sft", "rl"),
    )
]
