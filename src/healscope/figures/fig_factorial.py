"""
The OOD test of `arXiv 2509.12235`_ changes two things at once: the rule, and the hands, since its
ID hands are any cards and its OOD hands hold at least one face card. Left: accuracy along SFT in
the four cells of rule and composition, on the same held-out deals, which weigh by the number of
hands that show them. Right, named at their ends: what the rule does on hands with a face card, what
the composition of the hands does under the ID rule, and both at once, which is the published
contrast; the two parts add up to it. Intervals count instances and seeds, see docs/statistics.md.

A composition effect apart from zero means that part of the published gap between ID and OOD is not
about the rule. Without one, the published contrast may be read as an effect of the rule. Neither
says anything about forgetting: for that, follow one line along the steps.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK, RULES
from healscope.figures.record import Drawn, Figure

# composition is told apart by line and by filling, so that colour and marker are the rule's
_COMPOSITIONS = {
    "any": ("any hand", {"linestyle": "-"}),
    "face": ("with a face card", {"linestyle": looks.DASHED, **looks.OPEN}),
}
_EFFECTS = {
    "rule, hands with a face card": "rule",
    "composition, ID rule": "hands",
    "published contrast (both at once)": "both",
}


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy by rule and composition of the hands, and what each of the two makes."""
    frame = frame[frame["stage"] == "sft"]
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 2, 2.5)
    for (left, right), model in zip(axes, models, strict=True):
        whole, _ = layout.by_seed(frame[frame["track"] == model])
        for ax in (left, right):
            layout.step_axis(ax, whole["step"], columns=2)
        cells, effects = (whole[whole["kind"] == kind] for kind in ("cell", "effect"))
        for rule, named in RULES.items():
            for composition, (what, line) in _COMPOSITIONS.items():
                cell = cells[cells["name"] == f"{rule}/{composition}"].sort_values("step")
                form = looks.look(style, rule) | line
                left.plot(cell["step"], cell["value"], label=f"{named}, {what}", **form)
        ends = []
        for (name, short), form in zip(_EFFECTS.items(), _forms(style), strict=True):
            effect = effects[effects["name"] == name].sort_values("step")
            layout.banded(right, effect, "value", "", form | {"linewidth": 1.3})
            ends.append((effect["value"].iloc[-1], short, form["color"]))
        layout.zero_line(right)
        layout.from_zero(left)
        layout.percent_axis(left, "accuracy (%)")
        layout.percent_axis(right, "effect on accuracy\n(percentage points)")
        layout.name_ends(right, ends)
        layout.title(left, model, "cells")
        layout.title(right, "effects")
    layout.step_label(axes)
    return figure, layout.joined(layout.intervals(frame, "bands", ""), left_out)


def _forms(style: FigureStyle) -> tuple[dict, ...]:
    both = {"color": INK, "marker": "D", "linestyle": looks.DOTTED}
    return looks.look(style, "rule"), looks.look(style, "composition"), both


def message(frame: pd.DataFrame) -> str:
    """Return what the rule and the composition of the hands do at the last step of SFT."""
    own = (frame["stage"] == "sft") & (frame["kind"] == "effect")
    return messages.by_track(layout.by_seed(frame[own])[0], _said)


def _said(frame: pd.DataFrame) -> str:
    last = frame[frame["step"] == frame["step"].max()].set_index("name")
    rule, composition = (messages.of_row(last.loc[name], "value") for name in list(_EFFECTS)[:2])
    parts = [
        messages.effect("accuracy", rule, "under the OOD rule"),
        messages.effect("accuracy", composition, "with face cards"),
    ]
    return f"at step {last['step'].iloc[0]}, {'; '.join(parts)}"


FIGURES = [
    Figure(
        "fig_factorial",
        "factorial",
        "Rule and composition of the hands, apart",
        __doc__,
        draw,
        message,
    )
]
