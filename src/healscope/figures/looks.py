"""What things look like: the same colour, marker and line mean the same thing in every figure.

Nothing here or in the modules of figures imports matplotlib before something is drawn, since the
workflow reads the registry of figures at the start of every job. Figures are made without pyplot:
nothing is global, no window opens, nothing has to be closed.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from healscope import comparison_controls
from healscope.config import FigureStyle
from healscope.edit_kinds import CONTROLS, KINDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES = {"id": "ID rule", "ood": "OOD rule"}
STAGES = {"sft": "SFT", "rl": "RL"}

INK = "0.15"
GREY = "0.45"
DASHED = (0, (4, 1.5))
DOTTED = (0, (1, 1.2))
DASH_DOT = (0, (6, 1.5, 1, 1.5))
OPEN = {"markerfacecolor": "white"}

_LINES = {"solid": "-", "dashed": DASHED, "dotted": DOTTED}

# Never colour alone: what appears together differs in marker or line too. `end` is an SFT
# checkpoint and has the colour of SFT. Those from `number` on never meet stages or landmarks in
# one panel, nor rules, but for `composition`.
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
}
_DARK_TO_LIGHT = {"viridis": "viridis", "Greys": "Greys_r"}
_TONES = {5: 1, 6: 5, 7: 5, 9: 3}  # the lightest tones make no lines on white


def look(style: FigureStyle, key: str) -> dict:
    """Return color, marker and linestyle of a rule, a stage, a landmark, a signal …"""
    place, marker, line = _LOOKS[key]
    return {"color": _colour(style, place), "marker": marker, "linestyle": line}


def kind_look(kind: str) -> dict:
    """Return the look of an edit kind: whole matrices in grey, the published kinds unbroken."""
    about = KINDS[kind]
    colour = GREY if about.all_is_parent else INK
    face = {"full": colour, "light": "0.75", "open": "white"}[about.face]
    line = "-" if about.published else DASHED
    return {"color": colour, "marker": about.marker, "linestyle": line, "markerfacecolor": face}


def control_look(style: FigureStyle, control: str) -> dict:
    """Return the look of a control: no line, as it is matched to an edit at one place."""
    about = CONTROLS[control]
    colour = _colour(style, about.colour)
    return {"color": colour, "marker": about.marker, "linestyle": "", "markersize": 4.5}


def null_lines() -> dict[str, tuple[str, dict]]:
    """Return the label and line of each control of a comparison of weights."""
    return {
        name: (c.label, {"color": c.colour, "linestyle": _LINES[c.line], "linewidth": c.width})
        for name, c in comparison_controls.CONTROLS.items()
    }


def _colour(style: FigureStyle, place: int) -> tuple:
    from seaborn import color_palette

    if style.palette in _DARK_TO_LIGHT:
        return color_palette(_DARK_TO_LIGHT[style.palette], 8)[_TONES.get(place, place)]
    return color_palette(style.palette)[place]


def ordered_looks(style: FigureStyle, number: int) -> list[dict]:
    """Return looks of so many things with an order, dark to light; marker and line differ too."""
    from seaborn import color_palette

    palette = "Greys_r" if style.palette == "Greys" else "viridis"
    colours = color_palette(palette, number + 2)[:number]  # the lightest are too near to white
    lines = ("-", DASHED, DOTTED, DASH_DOT)
    return [
        {"color": colour, "marker": "osD^v<>pPX"[i % 10], "linestyle": lines[i % 4]}
        for i, colour in enumerate(colours)
    ]


def pale(colour: tuple, strength: float) -> tuple:
    """Mix a colour with white, so that hatches are seen on it."""
    return tuple(1 - strength * (1 - part) for part in colour)


def settings(style: FigureStyle) -> dict:
    """Return matplotlib's settings for `style`; its own font, DejaVu, is on every machine."""
    import seaborn as sns

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
    """Apply the study's settings to matplotlib, on top of its defaults and for a while.

    A matplotlibrc, or settings of the session that calls, change nothing: figures depend on the
    study's config alone.
    """
    from matplotlib.style import context

    return context(settings(style), after_reset=True)


def save(
    figure: Figure, style: FigureStyle, pdf_path: str | Path, png_path: str | Path, record: dict
) -> None:
    """Write the figure twice, with its provenance and without the time: equal figures give equal
    bytes."""
    made_from = json.dumps(record, sort_keys=True)
    with applied(style):
        figure.savefig(
            pdf_path, format="pdf", metadata={"CreationDate": None, "Keywords": made_from}
        )
        figure.savefig(png_path, format="png", metadata={"healscope": made_from})
