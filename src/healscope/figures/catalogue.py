"""Every figure of the study: its table, its drawing, its title and its caption.

The workflow reads this at the start of every job, so nothing that draws is imported before `draw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from healscope.errors import HealscopeError

if TYPE_CHECKING:
    import pandas as pd

    from healscope.config import FigureStyle
    from healscope.figures.style import Draw

_LOSS = ("id_train_loss_nats", "id_test_loss_nats")
_FORMAT = ("id_test_format_error_share", "ood_test_format_error_share")
_INTERVAL = ("low", "high")
_ACCURACY = ("rule", "accuracy", *_INTERVAL)
_CURVES = ("stage", "step", "split", *_ACCURACY)
_EDITS = ("stage", "kind", "axis", "amount", *_ACCURACY)
_MATRIX = ("pair", "layer", "role", "index")


@dataclass(frozen=True)
class Figure:
    """A figure of arXiv 2509.12235: `table` with `columns` (and model, seed) is all it reads."""

    name: str
    table: str
    drawing: str  # module.function, in this package
    title: str
    columns: tuple[str, ...]

    @property
    def draw(self) -> Draw:
        """The drawing function: (frame, style) -> matplotlib figure."""
        module, function = self.drawing.split(".")
        return getattr(import_module(f"healscope.figures.{module}"), function)

    @property
    def caption(self) -> str:
        """File name of the caption, in the workflow's report folder."""
        return f"{self.name}.rst"

    def check(self, frame: pd.DataFrame) -> None:
        """Raises HealscopeError where `frame` cannot be drawn."""
        needed = ("model", "seed", *self.columns)
        missing = [column for column in needed if column not in frame]
        if missing:
            raise HealscopeError(f"{self._where()}: no column {', '.join(missing)}")
        if frame.empty:
            raise HealscopeError(f"{self._where()}: the table has no rows")
        if "low" in needed and "all" not in set(frame["seed"]):
            raise HealscopeError(f"{self._where()}: no rows with seed 'all', the aggregate")

    def _where(self) -> str:
        return f"table '{self.table}' cannot be drawn as {self.name}"


_ALL = (
    Figure("fig1", "landmarks", "training.landmarks",
           "Accuracy at MaxOOD, End and RL", ("landmark", "checkpoint", *_ACCURACY)),
    Figure("fig2a", "sft-training", "training.losses_id",
           "ID loss during SFT", ("step", *_LOSS)),
    Figure("fig2b", "sft-training", "training.format_errors",
           "Format errors during SFT", ("step", *_FORMAT)),
    Figure("fig3a", "curves", "training.accuracy_ood",
           "OOD accuracy during SFT and after RL", _CURVES),
    Figure("fig3b", "curves", "training.accuracy_id",
           "ID accuracy during SFT and after RL", _CURVES),
    Figure("fig4", "reversion-sft-values", "reversions.reversion",
           "Singular values reverted, SFT", _EDITS),
    Figure("fig5", "reversion-rl-values", "reversions.reversion",
           "Singular values reverted, RL", _EDITS),
    Figure("fig6", "reversion-sft-directions", "reversions.reversion",
           "Singular directions reverted, SFT", _EDITS),
    Figure("fig7", "reversion-rl-directions", "reversions.reversion",
           "Singular directions reverted, RL", _EDITS),
    Figure("fig8", "sft-training", "training.losses",
           "ID and OOD loss during SFT", ("step", *_LOSS, "ood_test_loss_nats")),
    Figure("fig10", "rl-window", "training.window",
           "What RL changes, by its start", ("start", "rule", "change", *_INTERVAL)),
    Figure("fig13", "singular-values", "spectra.singular_values",
           "Change of the singular values", (*_MATRIX, "sigma_a", "sigma_b")),
    Figure("fig14", "principal-angles", "spectra.principal_angles",
           "Rotation of the singular subspaces", (*_MATRIX, "side", "fraction", "degrees")),
    Figure("fig15", "hidden-states", "spectra.hidden_states",
           "Hidden states at the landmarks",
           ("landmark", "rule", "pc1", "pc2", "share1", "share2")),
)  # fmt: skip

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}


def render(
    figure_name: str,
    frame: pd.DataFrame,
    style: FigureStyle,
    pdf_path: str | Path,
    png_path: str | Path,
    record: dict | None = None,
) -> None:
    """Draws a figure and saves it twice; equal input gives equal bytes.

    `record`, its provenance, goes into the files' metadata: Keywords of the PDF, the text
    `healscope` of the PNG.

    Raises HealscopeError where the frame is empty or lacks a column or the rows over all seeds.
    """
    entry = FIGURES[figure_name]
    entry.check(frame)
    save = import_module("healscope.figures.style").save
    save(entry.draw(frame, style), style, pdf_path, png_path, record or {})
