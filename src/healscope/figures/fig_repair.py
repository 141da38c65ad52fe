"""
What each edit of the weights after SFT (the target of stage ``sft`` of the edits) changes in
accuracy, under the ID rule (across) and under the OOD rule (up), against the unedited target at the
crossing: edits that put singular values, directions or whole matrices back to the stage's parent,
as a rule MaxOOD, edits of the update between the two (a ramp over depth, entries trimmed or
dropped, its own directions), the controls matched to them, the parent itself, and RL, which starts
from End. The stepped line joins the edits that no other edit
beats: none gives more OOD accuracy at no more ID cost. Numbers, which the line below the panels
explains, name those that gain most; the table names every point. Points on the line are the best of
many on the same problems, which flatters them.

Where the study has keepers, sets that are never trained on (docs/keepers.md), further panels show
on their horizontal axis what the same edits change in accuracy on each of them, or, for a text, in
the mean log-probability of a token.

The title is not flattered: for each seed and half of the instances the cheapest edit that gives
back the named share of the OOD accuracy lost from parent to target is picked by other seeds on the
other half. Where no edit gives back that much, the one that gives back most is picked.

Intervals count instances and seeds, see docs/statistics.md. docs/edits.md explains the names. The
question is that of arXiv 2508.16546, the sibling of `arXiv 2509.12235`_.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.artifacts import LANDMARK_NAMES
from healscope.config import FigureStyle
from healscope.edit_kinds import KINDS
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK
from healscope.figures.record import Drawn, Figure
from healscope.schema import IN_NATS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 2
"""Keepers that are drawn; more are in the table."""
MOST_NAMED = 6
"""Edits of a front that have a number."""
MOST_PICKED = 2
"""Edits that the title names, where seeds pick several."""
_GROUPS = {
    "edit of singular values, directions, matrices": ("directions", ("values", "directions")),
    "edit of the update itself": ("ramp", ("update",)),
}
"""Name in legends -> the kind whose look these edits have, and their `edit_kinds.Kind.figure`."""


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a panel for each model, a mark for each edit and control; and one for each keeper."""
    keepers = list(dict.fromkeys(name for names in frame["keepers"] for name in names))
    panels = [None, *keepers[:MOST]]
    more = len(keepers) - MOST
    models, left_out = layout.fitting(frame["track"], len(panels))
    figure, axes = layout.panels(style, len(models) * len(panels), 1, 3.4)
    for (ax,), (model, keeper) in zip(axes, product(models, panels), strict=True):
        own = frame[frame["track"] == model]
        own = own if keeper is None else _across(own, keeper)
        for at in (ax.axhline, ax.axvline):
            at(0, color="0.6", linewidth=0.9, zorder=0)
        _clouds(ax, own)
        if keeper is None:
            _front(ax, own[own["front"]])
        healed, parent = (own[own["kind"] == kind] for kind in ("rl", "parent"))
        if len(healed):
            _cross(ax, healed, looks.look(style, "rl"), "RL instead of an edit")
        name = parent["name"].iloc[0]
        look = looks.look(style, "maxood")
        _cross(ax, parent, look, f"{LANDMARK_NAMES.get(name, name)}: back altogether")
        layout.title(ax, model)
        if keeper and _unit(own, keeper) == IN_NATS:
            ax.set_xlabel(f"change of the log-probability of a token of {keeper} (nats)")
        else:
            ax.xaxis.set_major_formatter(layout.as_percent)
            across = f"accuracy on keeper {keeper}" if keeper else "ID accuracy"
            ax.set_xlabel(f"change of {across} (points)")
        layout.percent_axis(ax, "change of OOD accuracy (points)")
    several = frame["ood_by_seed"].map(len).max() > 1
    over = "all seeds" if several else "instances, of one run"
    said = layout.beyond(more, "keepers")
    notes = f"error bars: interval over {over}", said, left_out, _key(frame, models)
    return figure, layout.joined(*notes)


def _unit(frame: pd.DataFrame, keeper: str) -> str:
    """Return the unit of a keeper, of rows that it was asked of."""
    row = frame.iloc[0]
    return list(row["keepers_unit"])[list(row["keepers"]).index(keeper)]


def _across(frame: pd.DataFrame, keeper: str) -> pd.DataFrame:
    """Return the rows that a keeper was asked of, with its change in place of that of ID
    accuracy."""
    own = frame[[keeper in list(names) for names in frame["keepers"]]]
    at = [list(names).index(keeper) for names in own["keepers"]]
    parts = {
        f"id_{end}": [values[i] for values, i in zip(own[f"keepers_{end}"], at, strict=True)]
        for end in ("change", "low", "high")
    }
    return own.assign(**parts)


def _clouds(ax: Axes, frame: pd.DataFrame) -> None:
    """Draw all edits and controls, without intervals."""
    edits = frame[~frame["kind"].isin(["rl", "parent", "pick"])]
    group = edits["kind"].map(lambda kinds: KINDS[kinds.split("+")[-1]].figure)
    for label, (main, figures) in _GROUPS.items():
        own = edits[(edits["control"] == "") & group.isin(figures)]
        form = looks.kind_look(main) | {"linestyle": "", "markersize": 4.5}
        if len(own):
            ax.plot(own["id_change"], own["ood_change"], label=label, **form)
    own = edits[edits["control"] != ""]
    if len(own):
        form = {"color": looks.GREY, "marker": "x", "linestyle": "", "markersize": 4}
        ax.plot(own["id_change"], own["ood_change"], label="controls", zorder=1.5, **form)


def _front(ax: Axes, front: pd.DataFrame) -> None:
    """Draw the edits that no other beats, joined by steps, with numbers and intervals."""
    from matplotlib.patheffects import withStroke

    front = front.sort_values(["id_change", "ood_change"], ascending=[True, False])
    ax.step(
        front["id_change"], front["ood_change"], where="pre", color=INK, linewidth=1.0, zorder=1,
        label="beaten by no edit",
    )  # fmt: skip
    ax.errorbar(
        front["id_change"], front["ood_change"], _reach(front, "ood"), _reach(front, "id"),
        fmt="none", ecolor=INK, elinewidth=0.6, alpha=0.4,
    )  # fmt: skip
    for numbers, x, y in _apart(ax, _named(front)):
        ax.annotate(
            ", ".join(map(str, numbers)), (x, y), textcoords="offset points", xytext=(-5, 3),
            ha="right", fontsize="small", fontweight="bold", zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _named(front: pd.DataFrame) -> pd.DataFrame:
    """Return those on the front that get a number: they gain OOD accuracy, most first."""
    better = front[front["ood_change"] > 0]
    return better.sort_values("ood_change", ascending=False, kind="stable")[:MOST_NAMED]


def _apart(ax: Axes, named: pd.DataFrame) -> list[tuple[list[int], float, float]]:
    """Return where numbers stand, and which: those of points that are too near stand together."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    placed: list[tuple[list[int], float, float]] = []
    for number, row in enumerate(named.itertuples(), 1):
        for numbers, x, y in placed:
            near_across = abs(x - row.id_change) < 0.06 * (right - left)
            if near_across and abs(y - row.ood_change) < 0.08 * (high - low):
                numbers.append(number)
                break
        else:
            placed.append(([number], row.id_change, row.ood_change))
    return placed


def _key(frame: pd.DataFrame, models: list[str]) -> str:
    """Return which edits the numbers stand for, model by model."""
    said = []
    for model in models:
        own = frame[(frame["track"] == model) & frame["front"]]
        names = [f"{i} {name}" for i, name in enumerate(_named(own)["name"], 1)]
        if names:
            said.append(("" if len(models) == 1 else f"{model}: ") + ", ".join(names))
    return "; ".join(said)


def _cross(ax: Axes, frame: pd.DataFrame, form: dict, label: str) -> None:
    ax.errorbar(
        frame["id_change"], frame["ood_change"], _reach(frame, "ood"), _reach(frame, "id"),
        label=label, elinewidth=1.1, **(form | {"linestyle": "", "markersize": 7}),
    )  # fmt: skip


def _reach(frame: pd.DataFrame, rule: str) -> np.ndarray:
    """Return the lengths of the error bars of one rule's change."""
    part = frame.rename(columns={f"{rule}_{end}": end for end in ("low", "high")})
    return layout.errors(part, f"{rule}_change")


def message(frame: pd.DataFrame) -> str:
    """Return what the cheapest edits give and cost, on instances that did not pick them."""
    return messages.by_track(frame, _picked)


def _picked(frame: pd.DataFrame) -> str:
    picks = frame[frame["kind"] == "pick"]
    if picks.empty:
        return "no edit was picked"
    row = picks.iloc[0]
    changes = {rule: tuple(row[f"{rule}_{x}"] for x in ("change", "low", "high"))
               for rule in ("ood", "id")}  # fmt: skip
    said = "; ".join(messages.effect(rule.upper(), c) for rule, c in changes.items())
    names = row["picked"].split(" or ")
    others = len(names) - MOST_PICKED
    picked = " or ".join(names[:MOST_PICKED]) + (f" or {others} others" if others > 0 else "")
    return f"{row['name']} of the loss ({picked}): {said}"


FIGURES = [
    Figure(
        "fig_repair",
        "repair",
        "What edits of the weights repair, and at what cost",
        __doc__,
        draw,
        message,
        gate=("sft",),
        edits=True,
    )
]
