"""Where things stand: panels, their axes, and the message above and the legend below them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healscope.config import FigureStyle
from healscope.figures import looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

MOST = 4
"""Rows, and columns, of panels that a figure has at most; what is more is left to the table."""
ENTRIES = 6
"""Entries that a legend has at most."""

FILLED = "filled: it leaves out zero; the title's intervals hold for all at once"
"""Note of a figure whose title counts changes (`messages.counted`)."""

_STEP_LABEL = "SFT step (square-root scale)"
_HANDLE, _APART = 3, 1.2  # of a legend's entries and columns, in units of its font size
_MARGIN = 0.05  # inches


def panels(
    style: FigureStyle, rows: int, columns: int, height: float, **share: object
) -> tuple[Figure, np.ndarray]:
    """Make a figure of the study's width and its axes (rows, columns).

    `height` is that of a row, in inches, in a figure as wide as the default; it grows with the
    width. Text does not: a larger context needs a larger width. `finish` adds what stands above
    and below.
    """
    from matplotlib.figure import Figure

    scale = style.width_inches / FigureStyle().width_inches
    figure = Figure(figsize=(style.width_inches, rows * height * scale), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False, **share)


def fitting(names: Iterable, rows: int = 1) -> tuple[list, str]:
    """Return the first names for which there is room, of `rows` rows of panels each, and what the
    note says of the others."""
    names = list(dict.fromkeys(names))
    most = max(1, MOST // rows)
    more = len(names) - most
    return names[:most], f"{more} more in the table" if more > 0 else ""


def finish(figure: Figure, message: str, note: str, footer: Sequence[str] = ()) -> None:
    """Write the message above the panels, and legend, note and footer below.

    Each label is in the legend once. The figure grows by all of it, so that panels keep their size.
    """
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties

    width, height = figure.get_size_inches()
    bold = FontProperties(size=mpl.rcParams["axes.titlesize"], weight="bold")
    entry = FontProperties(size=mpl.rcParams["legend.fontsize"])
    small = FontProperties(size="small")

    top = _wrapped(message, bold, width)
    notes = [_wrapped(text, small, width) for text in (note, *footer) if text]
    found: dict[str, object] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = _columns(list(found), width, entry)
    above = _lines(top, bold) + 2 * _MARGIN
    tall = [_lines(text, small) for text in notes]
    rows = math.ceil(len(found) / columns)
    key = (1.5 * rows + 0.5) * entry.get_size_in_points() / 72 if found else 0
    below = sum(tall) + key + _MARGIN

    total = height + above + below
    figure.set_size_inches(width, total)
    figure.get_layout_engine().set(rect=(0, below / total, 1, height / total))
    inches = {"transform": figure.dpi_scale_trans}
    figure.text(
        _MARGIN, total - _MARGIN, top, fontproperties=bold, va="top", linespacing=1.25, **inches
    )
    y = _MARGIN
    for text, size in zip(reversed(notes), reversed(tall), strict=True):
        figure.text(_MARGIN, y, text, fontproperties=small, va="bottom", color="0.3", **inches)
        y += size
    if found:
        figure.legend(
            found.values(), found.keys(), loc="lower center", ncols=columns, borderaxespad=0,
            bbox_to_anchor=(width / 2, y), bbox_transform=figure.dpi_scale_trans,
            handlelength=_HANDLE, columnspacing=_APART, borderpad=0.25,
        )  # fmt: skip


def _lines(text: str, font: FontProperties) -> float:
    """Height of a text in inches; 0 without one."""
    return (text.count("\n") + 1) * 1.3 * font.get_size_in_points() / 72 if text else 0


def _columns(labels: list[str], width: float, font: FontProperties) -> int:
    """Return the most columns in which a legend with these labels is no wider than so many
    inches."""
    import matplotlib as mpl
    from matplotlib.textpath import text_to_path

    em = font.get_size_in_points()
    beside = (_HANDLE + mpl.rcParams["legend.handletextpad"]) * em
    wide = [text_to_path.get_text_width_height_descent(x, font, False)[0] + beside for x in labels]
    for n in range(len(labels), 1, -1):
        # matplotlib fills column after column, the first ones with one entry more
        taken = sum(max(part, default=0) for part in np.array_split(wide, n))
        if taken + (n - 1) * _APART * em <= 0.98 * 72 * width:
            return n
    return 1


def _wrapped(text: str, font: FontProperties, width: float) -> str:
    """Return the text, each of its lines broken so that it is no wider than so many inches."""
    from matplotlib.textpath import text_to_path

    room = 72 * (width - 3 * _MARGIN)
    lines = []
    for whole in text.split("\n"):
        lines.append("")
        for word in re.split(r"\s+(?![^\[]*\])", whole):  # not within an interval
            longer = f"{lines[-1]} {word}".strip()
            if text_to_path.get_text_width_height_descent(longer, font, False)[0] <= room:
                lines[-1] = longer
            else:
                lines.append(word)
    return "\n".join(lines)


def title(ax: Axes, *parts: object) -> None:
    """Write the short label of a panel above its left end."""
    ax.set_title(" · ".join(str(part) for part in parts if part), loc="left")


def name_ends(ax: Axes, ends: Iterable[tuple[float, str, object]]) -> None:
    """Name lines at their right ends: (height, name, colour) of each, moved apart where they meet.

    Called when the limits of the y axis are final.
    """
    import matplotlib as mpl

    low, high = ax.get_ylim()
    size = mpl.rcParams["xtick.labelsize"]
    width, height = ax.figure.get_size_inches()
    tall = 72 * height / ax.get_gridspec().nrows * 0.72  # points of a panel, roughly
    step = 1.15 * size / tall
    ends = sorted(ends, key=lambda end: end[0])
    wanted = [(value - low) / (high - low) for value, _, _ in ends]
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + step) if places else place)
    over = max(places[-1] - 1.02, 0) if places else 0
    for i in range(len(places) - 1, -1, -1):  # from the top down, as far as there is need
        limit = places[i + 1] - step if i + 1 < len(places) else places[i] - over
        places[i] = min(places[i], limit)
    for (_, name, colour), start, place in zip(ends, wanted, places, strict=True):
        ax.annotate(
            name, (1.0, start), (1.06, place), xycoords="axes fraction", textcoords="axes fraction",
            va="center", fontsize=size, color=colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 0,
                        "shrinkB": 0},
        )  # fmt: skip


def several_seeds(frame: pd.DataFrame) -> bool:
    """Return whether a frame has rows of more seeds than one."""
    return len(set(frame["seed"]) - {"all"}) > 1


def intervals(frame: pd.DataFrame, drawn: str, single: str = "thin lines") -> str:
    """Return what a note says of intervals, `drawn` as bands or bars, and of marks of seeds.

    One run has nothing beside it: its interval counts instances alone.
    """
    if several_seeds(frame):
        seeds = f"; {single}: single seeds" if single else ""
        return f"{drawn}: interval over all seeds{seeds}"
    return f"{drawn}: interval over instances, of one run"


def joined(*notes: str) -> str:
    """Join those notes that say something."""
    return "; ".join(note for note in notes if note)


def beyond(more: int, what: str) -> str:
    """Return what the note says of `more` things of a kind that are not drawn."""
    return f"{more} more {what} are in the table" if more > 0 else ""


def by_seed(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows over all seeds, and the rows of single seeds."""
    whole = frame["seed"] == "all"
    return frame[whole], frame[~whole]


def errors(frame: pd.DataFrame, value: str) -> np.ndarray:
    """Return lengths (2, rows) of the error bars from `value` to `low` and to `high`."""
    lengths = [frame[value] - frame["low"], frame["high"] - frame[value]]
    return np.clip(np.array(lengths, dtype=float), 0, None)


def marks(
    ax: Axes,
    frame: pd.DataFrame,
    value: str,
    row: str,
    names: list[str],
    shift: float,
    label: str,
    form: dict,
) -> None:
    """Draw `value` with its interval along x, in the line that column `row` has among `names`,
    moved by `shift` lines."""
    y = frame[row].map(names.index).astype(float) + shift
    form = form | {"linestyle": "", "markersize": 4.5}
    bars = errors(frame, value)
    ax.errorbar(frame[value], y, xerr=bars, label=label, elinewidth=0.9, **form)


def banded(
    ax: Axes, frame: pd.DataFrame, value: str, label: str, form: dict, x: str = "step"
) -> None:
    """Draw a line along `x` with its interval as a band."""
    frame = frame.sort_values(x)
    band = {"color": form["color"], "alpha": 0.18, "linewidth": 0}
    ax.fill_between(frame[x], frame["low"], frame["high"], **band)
    ax.plot(frame[x], frame[value], label=label, **form)


def along_steps(
    frame: pd.DataFrame,
    style: FigureStyle,
    height: float,
    label: str,
    lines: Callable[[Axes, pd.DataFrame], None],
) -> tuple[Figure, str]:
    """Draw a panel of `height` inches for each model, of shares along SFT and after RL.

    `lines` draws into a panel the rows of its model over all seeds, by `stages`. `label` names the
    shares. Return the figure and its note.
    """
    models, left_out = fitting(frame["track"])
    figure, axes = panels(style, len(models), 1, height)
    for ax, model in zip(axes[:, 0], models, strict=True):
        whole, _ = by_seed(frame[frame["track"] == model])
        step_axis(ax, whole["step"])
        lines(ax, whole)
        from_zero(ax)
        percent_axis(ax, label)
        title(ax, model)
    step_label(axes)
    note = intervals(frame, "bands, bars", "")
    return figure, joined(note, "open marks: after RL from that step", left_out)


def stages(
    ax: Axes,
    frame: pd.DataFrame,
    label: str,
    form: dict,
    band: bool = True,
    bars: bool = True,
    value: str = "accuracy",
) -> None:
    """Draw `value` along SFT as a line, and after RL as open marks at the step it started from.

    `band`: with the interval along SFT; `bars`: with that after RL. A line without a label is not
    in the legend: name it at its end.
    """
    sft, rl = (frame[frame["stage"] == stage].sort_values("step") for stage in ("sft", "rl"))
    if band:
        banded(ax, sft, value, label, form)
    else:
        ax.plot(sft["step"], sft[value], label=label, **form)
    after = form | looks.OPEN | {"linestyle": ""}
    if len(rl) and bars:
        ax.errorbar(rl["step"], rl[value], errors(rl, value), elinewidth=0.8, **after)
    elif len(rl):
        ax.plot(rl["step"], rl[value], **after)


def sets(
    ax: Axes,
    frame: pd.DataFrame,
    column: str,
    style: FigureStyle,
    most: int,
    thin: bool = False,
    value: str = "accuracy",
) -> list[tuple[float, str, object]]:
    """Draw `stages` of each set of problems that `column` names, `most` of them at most, in looks
    that are not those of the rules; return the lines' ends for `name_ends`."""
    names = list(dict.fromkeys(frame[column]))[:most]
    ends = []
    for name, form in zip(names, looks.ordered_looks(style, len(names) + 2)[2:], strict=True):
        own = frame[frame[column] == name]
        form |= {"markersize": 4} | ({"linewidth": 1.1} if thin else {})
        stages(ax, own, "", form, band=not thin, bars=not thin, value=value)
        last = own[own["stage"] == "sft"].sort_values("step").iloc[-1]
        ends.append((last[value], name, form["color"]))
    return ends


def percent_axis(ax: Axes, label: str) -> None:
    """Shares are plotted as they are and read as percent."""
    ax.yaxis.set_major_formatter(as_percent)
    ax.set_ylabel(label)


def as_percent(share: float, _position: int) -> str:
    """Format a tick of an axis of shares."""
    return f"{100 * share:g}".replace("-", "\N{MINUS SIGN}")


def from_zero(ax: Axes) -> None:
    """Start the y axis at zero, with room for a whole marker there."""
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])


def zero_line(ax: Axes) -> None:
    """Draw the line of no change."""
    ax.axhline(0, color=looks.INK, linewidth=0.9)


def integer_axis(ax: Axes, ticks: int | str = "auto") -> None:
    """Put ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))


def log_to_zero(ax: Axes, linear: float, top: float) -> None:
    """Make the y axis logarithmic down to `linear` and end it in 0: floors at roundoff are on it
    too."""
    from matplotlib.ticker import NullLocator

    ax.set_yscale("symlog", linthresh=linear, linscale=0.6)
    ax.set_ylim(-0.15 * linear, max(1.5 * top, 10 * linear))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")


def log_axis(ax: Axes, ticks: Sequence[float]) -> None:
    """Make the y axis logarithmic, with these ticks."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())


def step_axis(ax: Axes, steps: Iterable[int], columns: int = 1) -> None:
    """Put SFT steps on a square-root scale: step 0 is there and the early steps have room.

    `steps` are the candidate ticks; those too near to the next one, or to the first, are left out.
    Where the panel is one of several `columns`, `step_label` names the axes of the last row.
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


def step_label(axes: np.ndarray, label: str = "") -> None:
    """Name the x axes of the lowest row of panels: SFT steps, unless it is said."""
    for ax in axes[-1]:
        ax.set_xlabel(label or (_STEP_LABEL if len(axes[-1]) < 3 else "SFT step (root scale)"))


def round_steps(last: int) -> list[int]:
    """Return 0, 1, 2, 5, 10, 20, … and `last`."""
    rounds = [m * 10**k for k in range(len(str(last))) for m in (1, 2, 5)]
    return [0, *(step for step in rounds if step < last), last]


def _signed_sqrt(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.square(x)
