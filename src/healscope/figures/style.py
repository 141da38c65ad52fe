"""One look for every figure: the same colour, marker and line mean the same thing everywhere.

Figures are made without pyplot: nothing is global, no window opens, nothing has to be closed.
"""

import json
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from healscope.config import FigureStyle

Draw = Callable[[pd.DataFrame, FigureStyle], Figure]

RULES = {"id": "ID rule", "ood": "OOD rule"}
STAGES = {"sft": "SFT", "rl": "RL"}
LANDMARKS = {"maxood": "MaxOOD", "end": "End", "rl": "RL"}

INK = "0.15"
CONTROL = "0.45"
DASHED = (0, (4, 1.5))
DOTTED = (0, (1, 1.2))
DASH_DOT = (0, (6, 1.5, 1, 1.5))

# Never colour alone: what appears together differs in marker and line too. `end` is an SFT
# checkpoint and has the colour of SFT.
_LOOKS = {
    "id": (0, "o", "-"),
    "ood": (3, "s", DASHED),
    "sft": (4, "o", "-"),
    "rl": (2, "D", DASHED),
    "maxood": (1, "^", DOTTED),
    "end": (4, "o", DASH_DOT),
}
_DARK_TO_LIGHT = {"viridis": "viridis", "Greys": "Greys_r"}


def look(style: FigureStyle, key: str) -> dict:
    """color, marker and linestyle of a rule, a stage or a landmark."""
    place, marker, line = _LOOKS[key]
    if style.palette in _DARK_TO_LIGHT:
        colour = sns.color_palette(_DARK_TO_LIGHT[style.palette], 8)[place]
    else:
        colour = sns.color_palette(style.palette)[place]
    return {"color": colour, "marker": marker, "linestyle": line}


def settings(style: FigureStyle) -> dict:
    """Matplotlib's settings for `style`; its own font, DejaVu, is on every machine."""
    context = sns.plotting_context(style.context)
    return {
        **sns.axes_style("ticks"),
        **context,
        "font.family": ["DejaVu Sans"],
        "pdf.fonttype": 42,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelsize": context["font.size"] * 0.9,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": context["font.size"] * 0.9,
        "errorbar.capsize": 2,
        "grid.color": "0.9",
        "hatch.linewidth": 0.6,
        "legend.fontsize": context["font.size"] * 0.85,
        "legend.frameon": False,
        "lines.markersize": context["lines.markersize"] * 0.8,
        "savefig.dpi": style.dpi,
        "xtick.labelsize": context["font.size"] * 0.85,
        "ytick.labelsize": context["font.size"] * 0.85,
    }


def styled(draw: Draw) -> Draw:
    """Runs a drawing function under the study's settings."""

    @wraps(draw)
    def inside(frame: pd.DataFrame, style: FigureStyle) -> Figure:
        with mpl.rc_context(settings(style)):
            return draw(frame, style)

    return inside


def save(
    figure: Figure, style: FigureStyle, pdf_path: str | Path, png_path: str | Path, record: dict
) -> None:
    """Writes the figure twice, with its provenance and without the time: equal figures give equal
    bytes."""
    made_from = json.dumps(record, sort_keys=True)
    with mpl.rc_context(settings(style)):
        figure.savefig(
            pdf_path, format="pdf", metadata={"CreationDate": None, "Keywords": made_from}
        )
        figure.savefig(png_path, format="png", metadata={"healscope": made_from})


def panels(
    style: FigureStyle, rows: int, columns: int, height: float, **share: str
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
    """One legend above all panels, each label once; `note` says what bands and dots mean."""
    found = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=columns,
        handlelength=3, columnspacing=1.2, title=note, title_fontsize="small",
    )  # fmt: skip


def title(ax: Axes, *parts: object) -> None:
    ax.set_title(" · ".join(str(part) for part in parts), loc="left")


def by_seed(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows over all seeds, and the rows of single seeds."""
    whole = frame["seed"] == "all"
    return frame[whole], frame[~whole]


def errors(frame: pd.DataFrame, value: str) -> np.ndarray:
    """Lengths (2, rows) of the error bars from `value` to `low` and to `high`."""
    lengths = [frame[value] - frame["low"], frame["high"] - frame[value]]
    return np.clip(np.array(lengths, dtype=float), 0, None)


def percent_axis(ax: Axes, label: str) -> None:
    """Shares are plotted as they are and read as percent."""
    ax.yaxis.set_major_formatter(as_percent)
    ax.set_ylabel(label)


def as_percent(share: float, _position: int) -> str:
    return f"{100 * share:g}".replace("-", "\N{MINUS SIGN}")


def from_zero(ax: Axes) -> None:
    """Starts the y axis at zero, with room for a whole marker there."""
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])


def step_axis(ax: Axes, steps: Iterable[int]) -> None:
    """SFT steps on a square-root scale: step 0 is there and the early steps have room.

    `steps` are the candidate ticks; those too near to the next one are left out.
    """
    ax.set_xscale("function", functions=(_signed_sqrt, _signed_square))
    candidates = sorted(set(steps), reverse=True)
    gap = 0.075 * np.sqrt(candidates[0])
    kept = candidates[:1]
    for step in candidates[1:]:
        if np.sqrt(kept[-1]) - np.sqrt(step) >= gap:
            kept.append(step)
    ax.set_xticks(kept, labels=[f"{step:g}" for step in kept])
    ax.set_xlabel("SFT step (square-root scale)")


def round_steps(last: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, … and `last`."""
    rounds = [m * 10**k for k in range(len(str(last))) for m in (1, 2, 5)]
    return [0, *(step for step in rounds if step < last), last]


def _signed_sqrt(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.square(x)
