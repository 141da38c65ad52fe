"""
Accuracy on held-out hands under a rule that the prompt only names, after texts before it: successes
and failures on other hands of the rule, each verbatim or as lessons, in as many tokens. Beside them
no text and knowledge of the rule's values (what there is to gain), and the controls: a memory of
another rule, the words of the right one in another order, false values. The labels say how many
texts name a value of the hand's face cards: these tell the rule, and are knowledge rather than
skill. Intervals count instances and seeds, see docs/statistics.md. Asks the question of
`arXiv 2602.08234`_.
"""

from __future__ import annotations

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.record import Drawn, Figure


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw accuracy after each kind of text."""
    models, left_out = layout.fitting(frame["track"])
    kinds = list(dict.fromkeys(frame["kind"]))
    figure, axes = layout.panels(style, len(models), 1, 0.9 + 0.3 * len(kinds))
    for ax, model in zip(axes[:, 0], models, strict=True):
        own = frame[frame["track"] == model]
        whole, _ = layout.by_seed(own)
        checkpoints = list(dict.fromkeys(whole["checkpoint"]))
        forms = looks.ordered_looks(style, len(checkpoints))
        for i, (name, form) in enumerate(zip(checkpoints, forms, strict=True)):
            rows = whole[whole["checkpoint"] == name]
            shift = 0.2 * (i - (len(checkpoints) - 1) / 2)
            layout.marks(ax, rows, "accuracy", "kind", kinds, shift, name, form)
        facts = whole.drop_duplicates("kind").set_index("kind")
        labels = [_label(kind, facts.loc[kind]) for kind in kinds]
        ax.set_yticks(range(len(kinds)), labels)
        ax.set_ylim(len(kinds) - 0.4, -0.6)
        ax.set_xlim(left=-0.02)
        ax.xaxis.set_major_formatter(layout.as_percent)
        layout.title(ax, model)
    layout.step_label(axes, "accuracy (%)")
    return figure, layout.joined(layout.intervals(frame, "bars", ""), left_out)


def _label(kind: str, row: pd.Series) -> str:
    told = f", {100 * row['leaks']:.0f}% tell" if row["tokens"] else ""
    return f"{kind} ({row['tokens']:.0f} tokens{told})"


def message(frame: pd.DataFrame) -> str:
    """Return accuracy after the memory that is said to be best, without any, and after that of
    another rule."""
    return messages.by_track(layout.by_seed(frame)[0], _said)


def _said(frame: pd.DataFrame) -> str:
    rows = {row["kind"]: messages.level(row) for row in frame.to_dict("records")}
    kinds = ("memory verbatim and lesson", "none", "memory of another rule")
    return "; ".join(f"{kind}: {rows[kind]}" for kind in kinds if kind in rows)


FIGURES = [Figure("fig_memory", "memory", "Memory before a problem", __doc__, draw, message)]
