"""
Accuracy along SFT of the same checkpoints on the same held-out problems, by how attempts are
counted: the greedy first attempt; the chance that one of k samples is right; right in at least one
of several attempts with no feedback in between, with the outcome told, or with the full message of
the verifier. Grey with open marks, where it was measured: the protocol of `arXiv 2509.12235`_,
other hands drawn at random, partly hands seen in training, right in any of five attempts with full
feedback. Intervals count instances and seeds, see docs/statistics.md; they are drawn where they
leave room, and the table has all, and single samples (pass@1). Every line but the grey one counts
the same problems, one card order or more of each deal.

The distance from no feedback to full feedback is what the messages add to more tries. Where the
lines are parallel the protocol shifts the level alone; where they cross or bend, a peak and a
decline depend on how attempts are counted. The grey line differs in its hands too, so its distance
from the others is not the effect of feedback.

A model that has never seen a conversation may not answer in one at all. The share of later attempts
that are answers in the format (column ``later_parsed`` of the table) says whether feedback can be
read from this figure: where it is near 0, lines that lie together say nothing about feedback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import EXHAUSTIVE, FigureStyle, Study
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK, RULES
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# measure -> label
_WAYS = {
    "first_attempt_retried": "greedy first attempt",
    "pass_at_k": "one of {k} samples (pass@{k})",
    "after_none": "{attempts} attempts, no feedback",
    "after_outcome": "{attempts} attempts, told the outcome",
    "after_full": "{attempts} attempts, full feedback",
}
_BANDED = ("first_attempt_retried", "after_full")


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw a row for each model and a panel for each rule."""
    frame = frame[frame["stage"] == "sft"]
    models, left_out = layout.fitting(frame["track"])
    figure, axes = layout.panels(style, len(models), 2, 2.5, sharey="row")
    for row, model in zip(axes, models, strict=True):
        for ax, rule in zip(row, RULES, strict=True):
            own = (frame["track"] == model) & (frame["rule"] == rule) & (frame["seed"] == "all")
            layout.step_axis(ax, frame.loc[frame["track"] == model, "step"], columns=2)
            _ways_to_count(ax, frame[own].sort_values("step"), style)
            layout.title(ax, model, RULES[rule])
        layout.from_zero(row[0])
        layout.percent_axis(row[0], "accuracy (%)")
    layout.step_label(axes)
    return figure, layout.joined(layout.intervals(frame, "bands (two lines)", ""), left_out)


def _forms(style: FigureStyle) -> dict[str, dict]:
    feedback = looks.look(style, "feedback")
    return {
        "first_attempt_retried": {"color": INK, "marker": "o"},
        "pass_at_k": looks.look(style, "samples") | {"marker": "^"},
        "after_none": feedback | {"linestyle": looks.DOTTED, "marker": "<"},
        "after_outcome": feedback | {"linestyle": looks.DASH_DOT, "marker": "P"},
        "after_full": feedback,
    }


def _main(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["protocol"] == EXHAUSTIVE) & (frame["split"] == "held_out")]


def _ways_to_count(ax: Axes, frame: pd.DataFrame, style: FigureStyle) -> None:
    grey = {"color": looks.GREY, "marker": "D", "linestyle": looks.DASHED, **looks.OPEN}
    paper = frame[(frame["protocol"] == "paper") & (frame["split"] == "any")]
    forms = _forms(style)
    drawn = [(_main(frame), way, label, forms[way]) for way, label in _WAYS.items()]
    drawn.append((paper, "after_full", "drawn hands: {attempts} attempts", grey))
    for rows, way, label, form in drawn:
        rows = rows.dropna(subset=way)
        if rows.empty:
            continue
        form = form | {"markersize": 3.5, "linewidth": 1.2}
        label = label.format(k=rows["k"].max(), attempts=rows["attempts"].max())
        if way in _BANDED and rows["protocol"].iloc[0] == EXHAUSTIVE:
            limits = rows.assign(low=rows[f"{way}_low"], high=rows[f"{way}_high"])
            layout.banded(ax, limits, way, label, form)
        else:
            ax.plot(rows["step"], rows[way], label=label, **form)


def message(frame: pd.DataFrame) -> str:
    """Return OOD accuracy at the last step by the first attempt and by the most lenient count."""
    own = (frame["stage"] == "sft") & (frame["rule"] == "ood") & (frame["seed"] == "all")
    return messages.by_track(frame[own], _said)


def _said(frame: pd.DataFrame) -> str:
    rows = _main(frame)
    if rows.empty:
        rows = frame
    last = rows.loc[rows["step"].idxmax()]
    known = {way: label for way, label in _WAYS.items() if pd.notna(last[way])}
    if not known:
        known = {"first_attempt": "greedy first attempt"}
    said = []
    for way in list(dict.fromkeys([next(iter(known)), max(known, key=lambda way: last[way])])):
        ends = {"low": last[f"{way}_low"], "high": last[f"{way}_high"], way: last[way]}
        label = known[way].format(k=last["k"], attempts=last["attempts"])
        said.append(f"{messages.level(ends, way)} ({label})")
    return f"OOD accuracy at step {last['step']}: {', '.join(said)}"


def _asked(study: Study) -> bool:
    """Return whether problems are posed in more ways than once, greedily."""
    main = study.evaluation.protocols[EXHAUSTIVE]
    return bool(study.evaluation.compared) or main != main.first_attempts()


FIGURES = [
    Figure(
        "fig_protocols",
        "protocols",
        "Accuracy by how attempts are counted",
        __doc__,
        draw,
        message,
        asked=_asked,
    )
]
