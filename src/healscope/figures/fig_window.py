"""
Change of held-out OOD accuracy by the main recipe, by what its training looked like at first: the
share of positive rewards, the entropy of the advantages (of their histogram with 20 bins) and that
of the policy, all means of the first ten iterations, and how far the policy ended from the base
model. A mark is one seed from one start; a quantity that the recipe does not log has no panel, and
runs that failed have no mark. Section 3.2 of `arXiv 2509.12235`_ proposes that RL needs a balance
of positive and negative rewards, 40% to 80% (shaded), and a policy whose entropy has not collapsed.

Above each panel stands Spearman's rank correlation within seeds. Its p exchanges starts, in all
seeds alike: seeds of one start are no independent evidence, so with six starts no p can be below
0.003. The panels are not corrected for being four, but the title is; and a balance in the middle
would bend the cloud, which a rank correlation cannot see: that claim is judged by a contrast in the
claims table. Starts differ in everything SFT did, so none of this shows what causes healing. If
there are more than six starts, neighbouring ones share a mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# predictor -> name of the panel, label of its axis
_PREDICTORS = {
    "positive_share": ("positive rewards", "% of responses"),
    "advantage_entropy_nats": ("entropy of the advantages", "nats"),
    "entropy_nats": ("entropy of the policy", "nats per token"),
    "kl_from_base_nats": ("KL from base, at the end", "nats per token"),
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each predictor, a mark for each seed and start."""
    frame = layout.by_seed(frame)[1]
    measured = _measured(frame)
    deep = -(-len(measured) // 2)
    models, left_out = layout.fitting(frame["track"], deep)
    figure, axes = layout.panels(style, deep * len(models), 2, 1.9, sharey=True)
    for block, model in zip(np.split(axes, len(models)), models, strict=True):
        part = frame[frame["track"] == model]
        for ax, predictor in zip(block.flat, measured, strict=False):
            _scatter(ax, part, predictor, style)
            name, unit = _PREDICTORS[predictor]
            ax.set_xlabel(unit)
            name = name if len(models) == 1 else f"{model}: {name}"
            layout.title(ax, f"{name}\n{_said_of(*_correlation(part, predictor))}")
        for ax in block.flat[len(measured) :]:
            ax.set_visible(False)
        for ax in block[:, 0]:
            layout.percent_axis(ax, "OOD accuracy\nafter − before\n(percentage points)")
    failed = int(frame["healing"].isna().sum())
    lost = f"runs that failed, not drawn: {failed}" if failed else ""
    shaded = "shaded: the balance that the paper proposes"
    return figure, layout.joined("a mark: one seed, from one start", shaded, lost, left_out)


def _measured(frame: pd.DataFrame) -> list[str]:
    return [p for p in _PREDICTORS if frame[p].notna().any()] or ["positive_share"]


def _scatter(ax: Axes, part: pd.DataFrame, predictor: str, style: FigureStyle) -> None:
    from healscope.findings.window import BALANCED  # loads scipy

    ax.locator_params(axis="x", nbins=5)
    if predictor == "positive_share":
        ax.axvspan(*BALANCED, color="0.9", zorder=0)
        ax.xaxis.set_major_formatter(layout.as_percent)
        ax.set_xticks(np.linspace(0, 1, 6))
        ax.set_xlim(-0.03, 1.03)
    ax.axhline(0, color=looks.INK, linewidth=0.9, zorder=1)
    ax.margins(0.08, 0.12)
    ax.update_datalim([(part[predictor].mean(), y) for y in (-0.02, 0.02)])  # no axis of roundoff
    starts = sorted(part["start"].unique())
    groups = np.array_split(starts, min(len(starts), layout.ENTRIES))
    for group, form in zip(groups, looks.ordered_looks(style, len(groups)), strict=True):
        own = part[part["start"].isin(group)]
        label = f"from step {group[0]}" if len(group) == 1 else f"steps {group[0]} to {group[-1]}"
        ax.plot(
            own[predictor], own["healing"], label=label,
            **(form | {"linestyle": "", "markersize": 6, "markeredgecolor": "white"}),
        )  # fmt: skip


def _correlation(part: pd.DataFrame, predictor: str) -> tuple[float, float]:
    from healscope.stats import rank_correlation  # loads scipy

    return rank_correlation(part, predictor, "healing", within="seed", unit="start")


def _said_of(rho: float, p: float) -> str:
    if np.isnan(rho):
        return "no rank correlation: nothing varies"
    said = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return f"ρ = {rho:+.2f}, {said}".replace("-", "\N{MINUS SIGN}")


def message(frame: pd.DataFrame) -> str:
    """Return with what healing goes along, if anything is established."""
    return messages.by_track(layout.by_seed(frame)[1], _said)


def _said(frame: pd.DataFrame) -> str:
    found = {name: _correlation(frame, name) for name in _measured(frame)}
    found = {name: (rho, p) for name, (rho, p) in found.items() if not np.isnan(rho)}
    if not found:
        return "healing cannot be told from anything: nothing varies"
    name = min(found, key=lambda name: found[name][1])
    rho, p = found[name]
    p = min(1, p * len(found))
    if p >= 0.05:
        return (
            f"no relation of healing to {len(found)} states of training established: "
            f"the strongest, {_PREDICTORS[name][0]}, has {_said_of(rho, p)} (corrected)"
        )
    return f"healing goes along with {_PREDICTORS[name][0]}: {_said_of(rho, p)} (corrected)"


FIGURES = [
    Figure("fig_window", "window", "What a start has from which RL heals", __doc__, draw, message)
]
