"""The record that a module of figures declares for each of its figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING

import pandas as pd

from healscope.config import FigureStyle, Study
from healscope.errors import HealscopeError

if TYPE_CHECKING:
    import matplotlib.figure

_GATE = """
The line under the figure is the answer of the phenomenon gate: where {} is not present in this
study, there is nothing here for the figure to explain."""
_EXPLAINED = {"sft": "forgetting", "rl": "recovery"}
_TITLE = """
The title is computed from the table. Where its interval holds zero, no change is established."""

Drawn = "tuple[matplotlib.figure.Figure, str]"
"""A figure, and the note that says what its bands, bars and dots are."""


def always(study: Study) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True)
class Figure:
    """A figure of the study, drawn from one table.

    `title` names it in lists. `drawing` takes (frame, style), with `overlay` also `published`, and
    returns the figure and its note. `message` takes the frame and returns what was found, in a line
    for each model. `about` is the caption in reStructuredText. `gate`: stages whose phenomenon the
    figure explains, between landmarks or, with `edits`, where edits of the stage are made. `asked`:
    whether a study that has the table draws the figure unasked.
    """

    name: str
    table: str
    title: str
    about: str
    drawing: Callable[..., Drawn]
    message: Callable[[pd.DataFrame], str]
    gate: tuple[str, ...] = ()
    edits: bool = False
    overlay: bool = False
    asked: Callable[[Study], bool] = always

    @property
    def caption(self) -> str:
        """What a reader is told, with the addresses of the papers that it names."""
        text = cleandoc(self.about)
        if self.gate:
            text += _GATE.format(" or ".join(_EXPLAINED[stage] for stage in self.gate))
        text += _TITLE
        papers = sorted(set(re.findall(r"`arXiv\s(\d{4}\.\d{5})`_", text)))
        targets = [f".. _arXiv {paper}: https://arxiv.org/abs/{paper}" for paper in papers]
        return "\n".join([text, "", *targets, ""])

    def check(self, frame: pd.DataFrame) -> None:
        """Raise HealscopeError where `frame` is not a table from which this can be drawn."""
        from healscope.schemas import by_path  # loads what makes tables

        schema = by_path(f"results/tables/{self.table}.parquet")
        names = [column.name for column in schema.columns]
        where = f"table '{self.table}' cannot be drawn as {self.name}"
        missing = [name for name in names if name not in frame]
        if missing:
            raise HealscopeError(f"{where}: no column {', '.join(missing)}")
        if frame.empty:
            raise HealscopeError(f"{where}: the table has no rows")
        if any(name.endswith("low") for name in names) and "all" not in set(frame["seed"]):
            raise HealscopeError(f"{where}: no rows with seed 'all', the aggregate")

    def draw(
        self,
        frame: pd.DataFrame,
        style: FigureStyle,
        footer: Sequence[str] = (),
        **over: pd.DataFrame,
    ) -> matplotlib.figure.Figure:
        """Draw the figure with its message, legend and note, and `footer` in small print."""
        from healscope.figures import layout, looks

        with looks.applied(style):
            figure, note = self.drawing(frame, style, **over)
            layout.finish(figure, self.message(frame), note, footer)
        return figure
