"""
What heals? Change of held-out OOD accuracy by each recipe from the same SFT checkpoint, the largest
on top, and, as a blue tick, the change of ID accuracy. Controls sample nothing: they go on with
SFT, or average the weights with the base model's. Changes are paired by problem. Intervals count
instances and seeds, see docs/statistics.md; a filled mark means that the interval leaves out zero,
dots are single seeds. The title counts recipes and controls by intervals that hold for all of them
at once. Where a run failed, the label says so, and ``results/tables/recipes.parquet`` why, with
tokens and time of every run. A dagger marks recipes whose reward had risen at the end while success
had not. Starts where one recipe alone was tried are in Figure 10; at most four are drawn here.

RL as such heals only if it does better than controls of the same size: SFT that goes on, SFT on
fresh problems with any correct answer, a KL term, mere averaging. Differences between recipes need
an interval of their own (the claims table has those against the main recipe), and the best of many
recipes looks good by chance too. Goes beyond section 3.2 of `arXiv 2509.12235`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import layout, looks, messages
from healscope.figures.looks import INK
from healscope.figures.record import Drawn, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class _Block(NamedTuple):
    """Branches that are set side by side: rows over all seeds (sorted), and of single seeds."""

    track: str
    start: int | None
    whole: pd.DataFrame
    seeds: pd.DataFrame


def draw(frame: pd.DataFrame, style: FigureStyle) -> Drawn:
    """Draw the change by each recipe from a start, the largest on top."""
    blocks = _blocks(frame)
    more = len(blocks) - layout.MOST
    blocks = blocks[: layout.MOST]
    sizes = [0.45 + 0.21 * len(block.whole) for block in blocks]
    height = sum(sizes) / len(sizes)
    figure, axes = layout.panels(style, len(blocks), 1, height, sharex=True, height_ratios=sizes)
    for ax, block in zip(axes[:, 0], blocks, strict=True):
        _changes(ax, block.whole, block.seeds, style)
        layout.title(ax, block.track, _start(block.start))
    layout.step_label(axes, "accuracy after − before (percentage points)")
    note = layout.intervals(frame, "bars", "dots")
    hacking = "†: at the end the reward had risen and success had not"
    return figure, layout.joined(
        note,
        layout.FILLED,
        hacking if frame["hacking"].any() else "",
        f"{more} more starts in the table" if more > 0 else "",
    )


def _start(start: int | None) -> str:
    if start is None:
        return ""
    return "from base model" if start == 0 else f"from SFT step {start}"


def _blocks(frame: pd.DataFrame) -> list[_Block]:
    """Return a block for each start with several recipes.

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
            whole, seeds = layout.by_seed(rows.assign(label=labels))
            whole = whole.sort_values("healing", ascending=False, kind="stable")
            found.append(_Block(model, start, whole, seeds))
    return found


def _changes(ax: Axes, whole: pd.DataFrame, seeds: pd.DataFrame, style: FigureStyle) -> None:
    whole = whole.assign(place=range(len(whole)))
    places = whole.set_index("label")["place"]
    forms = {
        "rl": ("RL, OOD accuracy", looks.look(style, "rl") | {"linestyle": ""}),
        "control": ("control, OOD accuracy", {"color": INK, "marker": "o", "linestyle": ""}),
    }
    clear = (whole["low"] > 0) | (whole["high"] < 0)
    for kind, (label, form) in forms.items():
        for filled in (True, False):
            rows = whole[(whole["kind"] == kind) & (clear == filled) & whole["healing"].notna()]
            if len(rows):
                face = form["color"] if filled else "white"
                ax.errorbar(
                    rows["healing"], rows["place"], xerr=layout.errors(rows, "healing"),
                    label=label, markersize=5, elinewidth=1, markerfacecolor=face, **form,
                )  # fmt: skip
        own = seeds[(seeds["kind"] == kind) & layout.several_seeds(seeds)]
        spots = own["label"].map(places).astype(float) + 0.32
        ax.plot(own["healing"], spots, ".", color=form["color"], markersize=3, alpha=0.7)
    form = looks.look(style, "id") | {"marker": "|", "linestyle": "", "markersize": 8}
    ax.plot(whole["id_change"], whole["place"], label="ID accuracy", markeredgewidth=2, **form)
    for place in whole.loc[whole["healing"].isna(), "place"]:
        ax.annotate(
            "failed", (0, place), (6, 0), textcoords="offset points", va="center",
            fontsize="small", color=looks.GREY, style="italic",
        )  # fmt: skip
    ax.axvline(0, color=INK, linewidth=0.9, zorder=1)
    ax.set_yticks(whole["place"], [_label(row, seeds) for row in whole.itertuples()])
    ax.set_ylim(len(whole) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(layout.as_percent)


def _label(row, seeds: pd.DataFrame) -> str:
    """Return a recipe, with what is wrong with it."""
    own = seeds[seeds["label"] == row.label]
    failed = int((own["failed"] != "").sum())
    some = f" ({failed} of {len(own)} failed)" if 0 < failed < len(own) else ""
    return f"{row.label}{' †' if row.hacking else ''}{some}"


def message(frame: pd.DataFrame) -> str:
    """Return how many recipes and controls change OOD accuracy, from the start with most."""
    return messages.by_track(frame, _said)


def _said(frame: pd.DataFrame) -> str:
    block = max(_blocks(frame), key=lambda block: len(block.whole))
    changes = {
        row.label: messages.of_row(row._asdict(), "healing") for row in block.whole.itertuples()
    }
    return messages.counted("OOD", "recipe", changes, _start(block.start))


FIGURES = [Figure("fig_recipes", "recipes", "What heals?", __doc__, draw, message)]
