"""One look for every figure: the same colour, marker and line mean the same thing everywhere.

Figures are made without pyplot: nothing is global, no window opens, nothing has to be closed.
"""

import json
import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.style import context
from matplotlib.textpath import text_to_path

from healscope.artifacts import LANDMARK_NAMES
from healscope.config import FigureStyle
from healscope.edit_kinds import CONTROLS

Draw = Callable[..., Figure]
"""(frame, style) -> figure; where published values can be laid over, with a keyword `published`."""

RULES = {"id": "ID rule", "ood": "OOD rule"}
STAGES = {"sft": "SFT", "rl": "RL"}
LANDMARKS = LANDMARK_NAMES

INK = "0.15"
CONTROL = "0.45"
DASHED = (0, (4, 1.5))
DOTTED = (0, (1, 1.2))
DASH_DOT = (0, (6, 1.5, 1, 1.5))

# Never colour alone: what appears together differs in marker and line too. `end` is an SFT
# checkpoint and has the colour of SFT. Those from `number` on never meet rules, stages or landmarks
# in one panel.
_LOOKS = {
    "id": (0, "o", "-"),
    "ood": (3, "s", DASHED),
    "sft": (4, "o", "-"),
    "rl": (2, "D", DASHED),
    "base": (7, "X", DOTTED),
    "maxood": (1, "^", DOTTED),
    "end": (4, "o", DASH_DOT),
    "number": (5, "s", DASHED),
    "formula": (9, "o", "-"),
    "samples": (5, "v", DASHED),
    "feedback": (9, "s", "-"),
    "composition": (5, "^", DASHED),
    "rule": (9, "o", "-"),
    "free": (9, "o", ""),
    **{
        name: (c.colour, c.marker, DOTTED if c.line == "dotted" else DASH_DOT)
        for name, c in CONTROLS.items()
    },
}
_STEP_LABEL = "SFT step (square-root scale)"
_DARK_TO_LIGHT = {"viridis": "viridis", "Greys": "Greys_r"}
_TONES = {5: 1, 6: 5, 7: 5, 9: 3}  # the lightest tones make no lines on white


def look(style: FigureStyle, key: str) -> dict:
    """color, marker and linestyle of what is drawn: a rule, a stage, a landmark, a protocol …"""
    place, marker, line = _LOOKS[key]
    if style.palette in _DARK_TO_LIGHT:
        tone = _TONES.get(place, place)
        colour = sns.color_palette(_DARK_TO_LIGHT[style.palette], 8)[tone]
    else:
        colour = sns.color_palette(style.palette)[place]
    return {"color": colour, "marker": marker, "linestyle": line}


def ordered_looks(style: FigureStyle, number: int) -> list[dict]:
    """Looks of so many things with an order, dark to light, told apart by marker and line too."""
    palette = "Greys_r" if style.palette == "Greys" else "viridis"
    colours = sns.color_palette(palette, number + 2)[:number]  # the lightest are too near to white
    lines = ("-", DASHED, DOTTED, DASH_DOT)
    return [
        {"color": colour, "marker": "osD^v<>pPX"[i % 10], "linestyle": lines[i % 4]}
        for i, colour in enumerate(colours)
    ]


def settings(style: FigureStyle) -> dict:
    """Matplotlib's settings for `style`; its own font, DejaVu, is on every machine."""
    sizes = sns.plotting_context(style.context)
    return {
        **sns.axes_style("ticks"),
        **sizes,
        "font.family": ["DejaVu Sans"],
        "pdf.fonttype": 42,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelsize": sizes["font.size"] * 0.9,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": sizes["font.size"] * 0.9,
        "errorbar.capsize": 2,
        "grid.color": "0.9",
        "hatch.linewidth": 0.6,
        "legend.fontsize": sizes["font.size"] * 0.85,
        "legend.frameon": False,
        "lines.markersize": sizes["lines.markersize"] * 0.8,
        "savefig.dpi": style.dpi,
        "xtick.labelsize": sizes["font.size"] * 0.85,
        "ytick.labelsize": sizes["font.size"] * 0.85,
    }


def applied(style: FigureStyle) -> AbstractContextManager[None]:
    """Matplotlib with the study's settings alone, on top of its defaults; then as it was before.

    A matplotlibrc, or settings of the session that calls, change nothing, so that figures depend on
    the study's config.
    """
    return context(settings(style), after_reset=True)


def styled(draw: Draw) -> Draw:
    """Runs a drawing function under the study's settings."""

    @wraps(draw)
    def inside(frame: pd.DataFrame, style: FigureStyle, **over: pd.DataFrame) -> Figure:
        with applied(style):
            return draw(frame, style, **over)

    return inside


def save(
    figure: Figure, style: FigureStyle, pdf_path: str | Path, png_path: str | Path, record: dict
) -> None:
    """Writes the figure twice, with its provenance and without the time: equal figures give equal
    bytes."""
    made_from = json.dumps(record, sort_keys=True)
    with applied(style):
        figure.savefig(
            pdf_path, format="pdf", metadata={"CreationDate": None, "Keywords": made_from}
        )
        figure.savefig(png_path, format="png", metadata={"healscope": made_from})


def panels(
    style: FigureStyle, rows: int, columns: int, height: float, **share: object
) -> tuple[Figure, np.ndarray]:
    """A figure of the study's width and its axes (rows, columns).

    `height` is that of a row, in inches, in a figure as wide as the default; it grows with the
    width. Text does not: a larger context needs a larger width.
    """
    scale = style.width_inches / FigureStyle().width_inches
    size = (style.width_inches, (rows * height + 0.3) * scale)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False, **share)


def legend(figure: Figure, columns: int, note: str) -> None:
    """One legend above all panels, each label once, in at most so many columns; where labels are
    long in fewer, and the figure grows. `note` says what bands and dots mean."""
    found = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    font = FontProperties(size=mpl.rcParams["legend.fontsize"])
    fitting = _fitting(list(found), columns, figure, font)
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=fitting,
        handlelength=_HANDLE, columnspacing=_APART, title=_wrapped(note, figure),
        title_fontsize="small",
    )  # fmt: skip
    rows = math.ceil(len(found) / fitting) - math.ceil(len(found) / columns)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + rows * 1.5 * font.get_size_in_points() / 72)


_HANDLE, _APART = 3, 1.2
"""Of a legend's entries and columns, in units of its font size."""


def _fitting(labels: list[str], columns: int, figure: Figure, font: FontProperties) -> int:
    """The most columns, up to `columns`, in which a legend with these labels fits the figure."""
    em = font.get_size_in_points()
    beside = (_HANDLE + mpl.rcParams["legend.handletextpad"]) * em
    wide = [text_to_path.get_text_width_height_descent(x, font, False)[0] + beside for x in labels]
    for n in range(columns, 1, -1):
        # matplotlib fills column after column, the first ones with one entry more
        taken = sum(max(part, default=0) for part in np.array_split(wide, n))
        if taken + (n - 1) * _APART * em <= 0.98 * 72 * figure.get_figwidth():
            return n
    return 1


def footer(figure: Figure, style: FigureStyle, lines: Iterable[str]) -> None:
    """Small print below the panels; the figure grows by it, so that the panels keep their size."""
    with applied(style):
        text = "\n".join(_wrapped(line, figure) for line in lines)
        figure.supxlabel(text, x=0.01, ha="left", fontsize="small")
        points = FontProperties(size="small").get_size_in_points()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + (text.count("\n") + 1) * 1.3 * points / 72)


def _wrapped(text: str, figure: Figure) -> str:
    """Small text, each of its lines broken so that it fits into the figure's width."""
    small = FontProperties(size="small")
    room = 0.96 * 72 * figure.get_figwidth()
    lines = []
    for whole in text.split("\n"):
        lines.append("")
        for word in whole.split():
            longer = f"{lines[-1]} {word}".strip()
            if text_to_path.get_text_width_height_descent(longer, small, False)[0] <= room:
                lines[-1] = longer
            else:
                lines.append(word)
    return "\n".join(lines)


def title(ax: Axes, *parts: object) -> None:
    ax.set_title(" · ".join(str(part) for part in parts), loc="left")


def intervals(frame: pd.DataFrame, drawn: str, single: str = "thin lines") -> str:
    """What a legend says of intervals, `drawn` as bands or bars, and of the marks of single seeds.

    One run has nothing beside it: its interval counts instances alone.
    """
    if several_seeds(frame):
        seeds = f"; {single}: single seeds" if single else ""
        return f"{drawn}: interval over all seeds{seeds}"
    return f"{drawn}: interval over instances, of one run"


def several_seeds(frame: pd.DataFrame) -> bool:
    return len(set(frame["seed"]) - {"all"}) > 1


def by_seed(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows over all seeds, and the rows of single seeds."""
    whole = frame["seed"] == "all"
    return frame[whole], frame[~whole]


def errors(frame: pd.DataFrame, value: str) -> np.ndarray:
    """Lengths (2, rows) of the error bars from `value` to `low` and to `high`."""
    lengths = [frame[value] - frame["low"], frame["high"] - frame[value]]
    return np.clip(np.array(lengths, dtype=float), 0, None)


def banded(
    ax: Axes, frame: pd.DataFrame, value: str, label: str, form: dict, x: str = "step"
) -> None:
    """A line along `x` with its interval as a band."""
    frame = frame.sort_values(x)
    band = {"color": form["color"], "alpha": 0.18, "linewidth": 0}
    ax.fill_between(frame[x], frame["low"], frame["high"], **band)
    ax.plot(frame[x], frame[value], label=label, **form)


def percent_axis(ax: Axes, label: str) -> None:
    """Shares are plotted as they are and read as percent."""
    ax.yaxis.set_major_formatter(as_percent)
    ax.set_ylabel(label)


def as_percent(share: float, _position: int) -> str:
    return f"{100 * share:g}".replace("-", "\N{MINUS SIGN}")


def from_zero(ax: Axes) -> None:
    """Starts the y axis at zero, with room for a whole marker there."""
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])


def step_axis(ax: Axes, steps: Iterable[int], columns: int = 1) -> None:
    """SFT steps on a square-root scale: step 0 is there and the early steps have room.

    `steps` are the candidate ticks; those too near to the next one, or to the first, are left out.
    Where the panel is one of several `columns`, `step_label` names the axis for all of them.
    """
    ax.set_xscale("function", functions=(_signed_sqrt, _signed_square))
    *candidates, last = sorted(set(steps))
    gap = 0.075 * columns * np.sqrt(last)
    kept = [last]
    for step in reversed(candidates):
        room = np.diff(np.sqrt([candidates[0], step, kept[-1]]))
        if room[1] >= gap and (step == candidates[0] or room[0] >= gap):
            kept.append(step)
    ax.set_xticks(kept, labels=[f"{step:g}" for step in kept])
    if columns == 1:
        ax.set_xlabel(_STEP_LABEL)


def step_label(figure: Figure, label: str = _STEP_LABEL) -> None:
    """One label for the step axes of a figure with several columns."""
    figure.supxlabel(label, fontsize=mpl.rcParams["axes.labelsize"])


def round_steps(last: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, … and `last`."""
    rounds = [m * 10**k for k in range(len(str(last))) for m in (1, 2, 5)]
    return [0, *(step for step in rounds if step < last), last]


def _signed_sqrt(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.square(x)
