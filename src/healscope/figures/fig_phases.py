"""
Whether RL removes errors of execution before errors of plans. Left: hazards, the share of sampled
answers whose first error is of a kind, of those that get to a word of that kind without one. A word
is a plan where several words are possible, and execution where one is. Right: the mean entropy of
the tokens of such words, as they were sampled. Throughout RL, on training problems; intervals count
instances and seeds, see docs/statistics.md. Asks the question of `arXiv 2509.03646`_, with exact
classes instead of common phrases.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

_LOOKS = {"plan": "formula", "execution": "number"}
_LABELS = {"plan": "plans", "execution": "execution"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw hazard and entropy of each kind along RL, for each start."""
    blocks = list(frame[["track", "recipe", "start"]].drop_duplicates().itertuples(index=False))
    blocks, left_out = layout.fitting(blocks)
    figure, axes = layout.panels(style, len(blocks), 2, 2.1)
    for (left, right), (model, recipe, start) in zip(axes, blocks, strict=True):
        own = (frame[["track", "recipe", "start"]] == (model, recipe, start)).all(axis=1)
        whole, seeds = layout.by_seed(frame[own])
        for kind, named in _LABELS.items():
            form = looks.look(style, _LOOKS[kind]) | {"markersize": 3.5}
            thin = form | {"marker": "", "linewidth": 0.7, "alpha": 0.55}
            rows = whole[whole["kind"] == kind].sort_values("iteration")
            layout.banded(left, rows, "hazard", named, form, "iteration")
            right.plot(rows["iteration"], rows["entropy_nats"], **form)
            for _, one in seeds[seeds["kind"] == kind].groupby("seed"):
                one = one.sort_values("iteration")
                right.plot(one["iteration"], one["entropy_nats"], **thin)
        layout.title(left, model, f"{recipe} from step {start}")
        layout.title(right, "entropy")
        layout.percent_axis(left, "first errors (%)")
        right.set_ylabel("nats a token")
        for ax in (left, right):
            layout.from_zero(ax)
            layout.integer_axis(ax)
    layout.step_label(axes, "iteration of RL")
    return figure, layout.joined(layout.intervals(frame, "bands"), left_out)


def message(frame: pd.DataFrame) -> str:
    """Return how far both hazards change from the first kept iteration to the last."""
    return messages.by_track(layout.by_seed(frame)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    starts = frame.groupby(["recipe", "start"], sort=False)["n"].sum()
    recipe, start = starts.idxmax()
    own = frame[(frame["recipe"] == recipe) & (frame["start"] == start)].dropna(subset=["hazard"])
    said = []
    for kind, named in _LABELS.items():
        rows = own[own["kind"] == kind].sort_values("iteration")
        if len(rows) > 1:
            first, last = rows.iloc[0], rows.iloc[-1]
            change = messages.difference(
                messages.of_row(last, "hazard"), messages.of_row(first, "hazard"), 2
            )
            said.append(messages.effect(f"the hazard of {named}", change))
    where = f"RL from step {start}: "
    return where + ("; ".join(said) if said else "no hazard was measured")


FIGURES = [Figure("fig_phases", "phases", "Plans and execution along RL", __doc__, draw, message)]
