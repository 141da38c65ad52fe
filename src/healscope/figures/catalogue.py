"""The registry of figures, made from the modules of this package, and what renders one to files.

A module whose name begins with `fig` declares FIGURES, one record a figure. The workflow reads the
registry at the start of every job, so no module loads matplotlib before it draws.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType

import pandas as pd

import healscope.figures
from healscope.artifacts import STAGES
from healscope.config import FigureStyle
from healscope.figures import looks
from healscope.figures.record import Figure
from healscope.tasks.registry import published as published_figures

_NO_EXPLANATION = ": what this figure shows cannot be read as an explanation of it"


def _found() -> dict[str, Figure]:
    """name -> every figure that a module of this package declares: numbers first, then names."""
    names = [m.name for m in iter_modules(healscope.figures.__path__) if m.name.startswith("fig")]
    found = [f for name in names for f in import_module(f"healscope.figures.{name}").FIGURES]
    return {figure.name: figure for figure in sorted(found, key=_place)}


def _place(figure: Figure) -> tuple[int, str]:
    digits = re.search(r"\d+", figure.name)
    return int(digits[0]) if digits else 100, figure.name


FIGURES = _found()


def render(
    figure_name: str,
    frame: pd.DataFrame,
    style: FigureStyle,
    pdf_path: str | Path,
    png_path: str | Path,
    record: dict | None = None,
    answers: pd.DataFrame | None = None,
    published: Sequence[str] = (),
    tracks: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Draw a figure and save it twice; equal input gives equal bytes.

    `record`, its provenance, goes into the files' metadata: Keywords of the PDF, the text
    `healscope` of the PNG. `answers`, the table of `findings.gate`, is what stands under a figure
    that explains a phenomenon; `published` are the files of published values, drawn where the
    figure can take them and the style names a model. `tracks` says which model and task each track
    is, where these are more than models that play the card game: then titles name the task, and
    published values are drawn over the tasks alone that they are of.

    Raises HealscopeError where the frame is empty or lacks a column or the rows over all seeds.
    """
    entry = FIGURES[figure_name]
    entry.check(frame)
    labels = {name: f"{t['model']} \N{MIDDLE DOT} {t['task']}" for name, t in tracks.items()}
    others = [n for n, t in tracks.items() if figure_name not in published_figures(t["family"])]
    over = {}
    if entry.overlay and published and style.published:
        values = _published(entry, style.published, published[0])
        names = [name for name in frame["track"].unique() if name not in others]
        parts = [values.assign(over=labels.get(name, name)) for name in names]
        over |= {"published": pd.concat(parts)} if parts else {}
    footer = []
    if entry.gate and answers is not None:
        footer = _gate_lines(_labelled(answers, labels), entry)
    figure = entry.draw(_labelled(frame, labels), style, footer, **over)
    looks.save(figure, style, pdf_path, png_path, record or {})


def _labelled(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    return frame.assign(track=frame["track"].replace(labels)) if labels else frame


def _published(entry: Figure, model: str, file: str) -> pd.DataFrame:
    """Return what was published of `model` for this figure and was not read off a picture."""
    from healscope import published  # loads scipy

    rows = published.read(Path(file).parent)
    own = (rows["figure"] == entry.name) & (rows["model"] == model)
    return rows[own & rows["trust"].isin(["exact", "off_grid"])]


def _gate_lines(answers: pd.DataFrame, entry: Figure) -> list[str]:
    """Return the gate's answers; where it found no phenomenon, the reader is told what follows."""
    from healscope.findings.gate import sentences  # loads scipy

    rows = answers[answers["stage"].isin(entry.gate)]
    pairs = zip(rows["first"], rows["second"], strict=True)
    rows = rows[rows["edited"] if entry.edits else [pair in STAGES.values() for pair in pairs]]
    warned = ["" if a.startswith("present") else _NO_EXPLANATION for a in rows["answer"]]
    return [
        f"Phenomenon gate \N{EM DASH} {text}{warning}"
        for text, warning in zip(sentences(rows), warned, strict=True)
    ]
