"""Controls of a comparison of weights: one record each, from which config, tables and figures come.

A new control takes a record here and its formula in `healscope.spectra.nulls` (FLOORS or NULLS).
Nothing here loads torch.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Control:
    """What the older weights are compared with, in place of the newer ones.

    Attributes:
        kind: floor, the same weights after arithmetic alone; null, after an update as large as the
            measured one that knows nothing of them.
        does: what is done to the older weights, for the docs of tables.
        label: its name in legends.
        colour, line, width: its line.
        marker: the marker of a null where values are points.
    """

    kind: Literal["floor", "null"]
    does: str
    label: str
    colour: str
    line: Literal["solid", "dashed", "dotted"] = "solid"
    width: float = 1.2
    marker: str = ""


CONTROLS: dict[str, Control] = {
    "noise": Control(
        kind="null",
        does="plus Gaussian noise as large as the update",
        label="null: noise of the same size",
        colour="0.45",
        line="dashed",
        marker="_",
    ),
    "spectrum": Control(
        kind="null",
        does="plus the update's own singular values in random directions",
        label="null: own values, random directions",
        colour="0.45",
        line="dotted",
        marker="x",
    ),
    "bf16": Control(
        kind="floor", does="rounded to bf16", label="floor: weights rounded to bf16", colour="0.7"
    ),
    "again": Control(
        kind="floor",
        does="decomposed again",
        label="floor: same weights again",
        colour="0.15",
        width=0.7,
    ),
}
"""name -> control, in the order in which they are drawn."""

NAMES = tuple(sorted(CONTROLS))
"""The names in the order in which comparisons are made."""
