"""
What RL that pays every form of an answer does to a model with several. Left: the share of each form
among sampled answers before and after RL; the cross is what selection alone gives, the share among
the right answers before RL. A form is amplified beyond selection where its share after RL lies
above the cross. Right: the share of right answers and of problems with a right answer among all
samples, before and after, and the share of solved problems that look new: unsolved in half of the
samples before RL. By chance the other half of these samples has as many that look new. Held-out ID
problems; intervals count instances and seeds, see docs/statistics.md. Asks the question of `arXiv
2504.07912`_: does RL amplify what pretraining has, or add to it?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE = {"color": looks.GREY, "marker": "o", "linestyle": "", **looks.OPEN}
_NULL = {"color": looks.INK, "marker": "x", "linestyle": "", "markersize": 7}
_SOLVED = {"pass@1": "one\nsample", "pass@k": "any\nsample", "new": "new"}
_PLACES = {"pass@1 at the start": "pass@1", "pass@k at the start": "pass@k", "new by chance": "new"}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw shares of forms, and what is solved, of each branch."""
    frame = frame[frame["rule"] == "id"]
    blocks = list(frame[["track", "recipe", "start"]].drop_duplicates().itertuples(index=False))
    blocks, left_out = layout.fitting(blocks)
    figure, axes = layout.panels(style, len(blocks), 2, 2.4)
    after = looks.look(style, "rl") | {"linestyle": ""}
    for (left, right), (model, recipe, start) in zip(axes, blocks, strict=True):
        own = (frame[["track", "recipe", "start"]] == (model, recipe, start)).all(axis=1)
        whole = layout.by_seed(frame[own])[0]
        _forms(left, whole, after)
        _solved(right, whole, after)
        layout.title(left, model, f"{recipe} from step {start}")
        layout.title(right, "what is solved")
        layout.percent_axis(left, "share of answers (%)")
        layout.percent_axis(right, "share (%)")
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _forms(ax: Axes, whole: pd.DataFrame, after: dict) -> None:
    names = sorted(set(whole.loc[whole["measure"] == "share", "form"]))
    place = {name: i for i, name in enumerate(names)}
    for measure, label, form, shift in (
        ("share at the start", "before RL", _BEFORE, -0.2),
        ("selected", "selection alone", _NULL, 0.0),
        ("share", "after RL", after, 0.2),
    ):
        own = whole[whole["measure"] == measure]
        x = own["form"].map(place).astype(float) + shift
        ax.errorbar(x, own["value"], layout.errors(own, "value"), label=label, **form)
    ax.set_xticks(range(len(names)), names)
    ax.set_xlabel("form of the answer")
    layout.from_zero(ax)


def _solved(ax: Axes, whole: pd.DataFrame, after: dict) -> None:
    place = {name: i for i, name in enumerate(_SOLVED)}
    for names, form, shift in ((_PLACES, _BEFORE, -0.1), (_SOLVED, after, 0.1)):
        own = whole[whole["measure"].isin(names)]
        at = own["measure"].replace(_PLACES).map(place).astype(float)
        ax.errorbar(at + shift, own["value"], layout.errors(own, "value"), **form)
    ax.set_xticks(range(len(place)), list(_SOLVED.values()))
    ax.set_xlim(-0.5, len(place) - 0.5)
    layout.from_zero(ax)


def message(frame: pd.DataFrame) -> str:
    """Return which form ends furthest above what selection alone gives, and by how much."""
    return messages.by_track(layout.by_seed(frame[frame["rule"] == "id"])[0], _said)


def _said(frame: pd.DataFrame) -> str:
    at = frame.drop_duplicates(["measure", "form"]).set_index(["measure", "form"])
    gaps = {
        form: messages.difference(
            messages.of_row(at.loc["share", form], "value"),
            messages.of_row(at.loc["selected", form], "value"),
        )
        for measure, form in at.index
        if measure == "share" and ("selected", form) in at.index
    }
    if not gaps:
        return "no form has a right answer before RL"
    most = max(gaps, key=lambda form: gaps[form][0])
    several = messages.widened(gaps[most], len(gaps))
    change = messages.points(several)
    if not messages.established(several):
        return f"no form is established to go beyond selection: {most} {change}"
    return f"form {most} ends beyond selection alone: {change}"


FIGURES = [
    Figure("fig_forms", "forms", "Forms of answers before and after RL", __doc__, draw, message)
]
