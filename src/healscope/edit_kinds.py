"""Kinds of edits and controls: one record each, from which names, config, claims and figures come.

A new kind takes a record here and its formula in `healscope.spectra.edits` (ADDITIVE or DENSE); a
new control takes a record here and its formula in `healscope.spectra.controls` (FORMULAS). Nothing
here loads torch.
"""

from dataclasses import dataclass
from typing import Literal

Face = Literal["full", "light", "open"]

NORM, ANGLE = "norm", "angle"
"""What a control can share with its edit: the Frobenius norm of the update, and the principal
angles by which the chosen singular subspaces turn."""


@dataclass(frozen=True)
class Kind:
    """One way of putting parts of a checkpoint back to its parent.

    Attributes:
        label: its name in legends.
        does: the beginning of the sentence of its claims.
        figure: which figures draw it as a curve: values, 4 and 5; directions, 6 and 7.
        marker, face: marker and filling of that curve.
        judged_at: its claims are judged where it touches this leading share of the directions, if
            the study makes that edit.
        turns: whether it turns singular vectors.
        whole: the kind with which it agrees where all directions are chosen; empty for none.
        in_part: whether it is only made where not all directions are chosen.
    """

    label: str
    does: str
    figure: Literal["values", "directions"]
    marker: str
    face: Face
    judged_at: float = 0.2
    turns: bool = True
    whole: str = ""
    in_part: bool = False


@dataclass(frozen=True)
class Control:
    """One way of making an update that shares something with an edit's own, matrix by matrix.

    Attributes:
        label: its name in legends.
        than: the end of the sentence of its claims.
        matched: what it shares with the edit, to within 1% (NORM, ANGLE).
        colour: its place in the palette.
        marker, line: its marker and line.
        turns: whether it is only made for kinds that turn singular vectors.
        of_update_alone: whether equal edits have equal controls, as nothing is drawn and no other
            layer is read.
        layers: how many decoder layers a model needs.
    """

    label: str
    than: str
    matched: tuple[str, ...]
    colour: int
    marker: str
    line: Literal["dotted", "dash_dot"]
    turns: bool = False
    of_update_alone: bool = False
    layers: int = 1
    depends_on_update_alone: bool = False
    layers: int = 1


KINDS: dict[str, Kind] = {
    "values": Kind(
        label="singular values",
        does="Putting singular values back",
        figure="values",
        marker="o",
        face="light",
        judged_at=1.0,
        turns=False,
    ),
    "directions": Kind(
        label="singular directions, as published",
        does="Putting singular directions back",
        figure="directions",
        marker="o",
        face="full",
    ),
    "orthonormal": Kind(
        label="directions, all moved a little to be orthonormal",
        does="Putting singular directions back but keeping them orthonormal",
        figure="directions",
        marker="s",
        face="open",
        whole="directions",
    ),
    "pinned": Kind(
        label="directions exact, others adjusted",
        does="Putting singular directions back exactly, and making the others orthonormal to them,",
        figure="directions",
        marker="D",
        face="light",
        whole="directions",
    ),
    "swap": Kind(
        label="both (whole matrices at the end)",
        does="Putting singular directions and values back",
        figure="directions",
        marker="X",
        face="open",
    ),
    "diagonal": Kind(
        label="update: what changes values",
        does="Undoing the part of the update that changes singular values to first order",
        figure="values",
        marker="s",
        face="open",
        judged_at=1.0,
        turns=False,
    ),
    "offdiagonal": Kind(
        label="update: what turns vectors",
        does="Undoing the part of the update that turns singular vectors to first order",
        figure="directions",
        marker="^",
        face="full",
        judged_at=1.0,
    ),
    "block": Kind(
        label="update: its leading block",
        does="Undoing the update within the leading singular directions",
        figure="directions",
        marker="v",
        face="light",
        in_part=True,
    ),
    "complement": Kind(
        label="update: all but its leading block",
        does="Undoing the update outside of the leading singular directions",
        figure="directions",
        marker="P",
        face="open",
        in_part=True,
    ),
}

CONTROLS: dict[str, Control] = {
    "interpolation": Control(
        label="as far, straight back",
        than="going as far straight towards the parent",
        matched=(NORM,),
        colour=0,
        marker="^",
        line="dotted",
        of_update_alone=True,
    ),
    "noise": Control(
        label="as far, at random",
        than="going as far in a random direction",
        matched=(NORM,),
        colour=5,
        marker="v",
        line="dotted",
    ),
    "rotation": Control(
        label="turned as far, another way",
        than="going as far and turning the same subspaces by the same angles, but another way",
        matched=(NORM, ANGLE),
        colour=9,
        marker="D",
        line="dash_dot",
        turns=True,
    ),
    "shuffle": Control(
        label="the same in the next layer",
        than="the updates of the same edit in other layers",
        matched=(NORM,),
        colour=6,
        marker="P",
        line="dash_dot",
        layers=2,
    ),
    "rest": Control(
        label="as far, the rest of the update",
        than="undoing as much of the rest of the update",
        matched=(NORM,),
        colour=1,
        marker="s",
        line="dash_dot",
        of_update_alone=True,
    ),
}


def matched(control: str) -> str:
    """Returns what a control shares with its edit, in words; empty without a control."""
    return " and ".join(CONTROLS[control].matched) if control else ""
