"""The kinds of edits and of controls: a record each, from which names, config, claims and figures
are made.

A new kind takes a record here and its formula in `healscope.spectra.edits`; a new control takes a
record here and its formula in `healscope.spectra.controls`. Nothing here loads torch.
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

    `label` names it in legends; `does` begins the sentence of its claims. Its claims are judged
    where it touches the leading share `judged_at` of the directions, if the study makes that.
    `figure` is the one that draws it (values: figures 4 and 5, directions: 6 and 7) as a curve with
    this `marker` and `face`. `turns`: whether it turns singular vectors. `whole` is the kind with
    which it agrees where all directions are chosen. `in_part`: it is only made where they are not.
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

    `matched` says what it shares, to within 1% (`NORM`, `ANGLE`); `label` names it in legends, and
    `than` ends the sentence of its claims. `colour` is a place in the palette. `turns`: it is made
    for kinds that turn singular vectors only.
    """

    label: str
    than: str
    matched: tuple[str, ...]
    colour: int
    marker: str
    line: Literal["dotted", "dash_dot"]
    turns: bool = False


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
    ),
    "rest": Control(
        label="as far, the rest of the update",
        than="undoing as much of the rest of the update",
        matched=(NORM,),
        colour=1,
        marker="s",
        line="dash_dot",
    ),
}


def matched(control: str) -> str:
    """What a control shares with its edit, in words, as tables have it; empty without a control."""
    return " and ".join(CONTROLS[control].matched) if control else ""
