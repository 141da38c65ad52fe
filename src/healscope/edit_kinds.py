"""Kinds of edits and controls: one record each, from which names, config, claims and figures come.

A new kind takes a record here and its formula in `healscope.spectra.edits` (ADDITIVE or DENSE); a
new control takes a record here and its formula in `healscope.spectra.controls` (FORMULAS). Nothing
here loads torch.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Face = Literal["full", "light", "open"]

NORM, ANGLE, WHOLE_NORM = "norm", "angle", "norm of all"
"""What a control can share with its edit: the Frobenius norm of the update, of each matrix or of
all together, and the principal angles by which the chosen singular subspaces turn."""


@dataclass(frozen=True)
class Kind:
    """One way of putting parts of a checkpoint back to its parent.

    Attributes:
        formula: its update D(I) of a matrix, for a range of directions I; W_t = U_t S_t V_t′ is the
            target's, W_p = U_p S_p V_p′ the parent's.
        means: what that puts back, in words.
        label: its name in legends.
        does: the beginning of the sentence of its claims.
        figure: which figures draw it as a curve: values, 4 and 5; directions, 6 and 7; update,
            none, as the sharpest comparison of those is fig_repair.
        marker: marker of that curve.
        face: filling of that marker.
        judged_at: its claims are judged where it touches this leading share of the directions, if
            the study makes that edit.
        turns: whether it turns singular vectors.
        whole: the kind with which it agrees where all directions are chosen; empty for none.
        in_part: whether it is only made where not all directions are chosen.
        published: whether the paper has it alone, as values or as directions.
        all_is_parent: whether all directions together are the parent's matrix, to the bit.
        of: what selectors of directions (`rank`, `tail`, …) choose from: the target's singular
            directions, those of the update, its entries, or nothing.
        scales: whether it is a multiple of Δ in each matrix, so that as long a step straight back
            there is the edit itself.
        all_is_gap: whether all its parts together are Δ.
        drawn: whether it draws random numbers.
        source: who proposed it.
    """

    formula: str
    means: str
    label: str
    does: str
    figure: Literal["values", "directions", "update"]
    marker: str
    face: Face
    judged_at: float = 0.2
    turns: bool = True
    whole: str = ""
    in_part: bool = False
    published: bool = False
    all_is_parent: bool = False
    of: Literal["directions", "update", "entries", ""] = "directions"
    scales: bool = False
    all_is_gap: bool = False
    drawn: bool = False
    source: str = ""


@dataclass(frozen=True)
class Control:
    """One way of making an update that shares something with an edit's own, matrix by matrix.

    Attributes:
        formula: its update, with D the one of its edit; scaled: to the Frobenius norm of D.
        question: what the comparison of the edit with it answers.
        label: its name in legends.
        than: the end of the sentence of its claims.
        matched: what it shares with the edit, to within 1% (NORM, ANGLE, WHOLE_NORM).
        colour: its place in the palette.
        marker: its marker.
        line: its line.
        turns: whether it is only made for kinds that turn singular vectors.
        of_update_alone: whether equal edits have equal controls, as nothing is drawn.
        scales: whether it is a multiple of Δ in each matrix where its edit is one.
        one_step: whether it is one multiple of Δ in all matrices.
        layers: how many decoder layers a model needs.
    """

    formula: str
    question: str
    label: str
    than: str
    matched: tuple[str, ...]
    colour: int
    marker: str
    line: Literal["dotted", "dash_dot"]
    turns: bool = False
    of_update_alone: bool = False
    scales: bool = False
    one_step: bool = False
    layers: int = 1


KINDS: dict[str, Kind] = {
    "values": Kind(
        formula="U_t,I (S_p − S_t)_I V_t,I′",
        means="the parent's values, the target's directions",
        label="singular values",
        does="Putting singular values back",
        figure="values",
        marker="o",
        face="light",
        judged_at=1.0,
        turns=False,
        published=True,
    ),
    "directions": Kind(
        formula="U_p,I S_t,I V_p,I′ − U_t,I S_t,I V_t,I′",
        means="the published splice: columns of two bases",
        label="singular directions, as published",
        does="Putting singular directions back",
        figure="directions",
        marker="o",
        face="full",
        published=True,
    ),
    "orthonormal": Kind(
        formula="U S_t V′ − W_t, with U, V the polar factors of the spliced bases",
        means="directions, all moved a little to be orthonormal",
        label="directions, all moved a little to be orthonormal",
        does="Putting singular directions back but keeping them orthonormal",
        figure="directions",
        marker="s",
        face="open",
        whole="directions",
    ),
    "pinned": Kind(
        formula="U S_t V′ − W_t, with U_I = U_p,I exactly and the others projected off them and "
        "made orthonormal (polar factor)",
        means="directions, put back exactly",
        label="directions exact, others adjusted",
        does="Putting singular directions back exactly, and making the others orthonormal to them,",
        figure="directions",
        marker="D",
        face="light",
        whole="directions",
    ),
    "swap": Kind(
        formula="U_p,I S_p,I V_p,I′ − U_t,I S_t,I V_t,I′",
        means="both values and directions; with all directions, W_p itself, to the bit",
        label="both (whole matrices at the end)",
        does="Putting singular directions and values back",
        figure="directions",
        marker="X",
        face="open",
        all_is_parent=True,
        all_is_gap=True,
    ),
    "diagonal": Kind(
        formula="U_t,I diag(U_t′ Δ V_t)_I V_t,I′, with Δ = W_p − W_t",
        means="what changes singular values to first order",
        label="update: what changes values",
        does="Undoing the part of the update that changes singular values to first order",
        figure="values",
        marker="s",
        face="open",
        judged_at=1.0,
        turns=False,
    ),
    "offdiagonal": Kind(
        formula="the rest of Δ that involves I",
        means="what turns singular vectors to first order",
        label="update: what turns vectors",
        does="Undoing the part of the update that turns singular vectors to first order",
        figure="directions",
        marker="^",
        face="full",
        judged_at=1.0,
    ),
    "block": Kind(
        formula="U_t,I U_t,I′ Δ V_t,I V_t,I′",
        means="the update within the chosen directions",
        label="update: its leading block",
        does="Undoing the update within the leading singular directions",
        figure="directions",
        marker="v",
        face="light",
        in_part=True,
    ),
    "complement": Kind(
        formula="Δ without that block",
        means="the update outside the chosen directions",
        label="update: all but its leading block",
        does="Undoing the update outside of the leading singular directions",
        figure="directions",
        marker="P",
        face="open",
        in_part=True,
    ),
    "ramp": Kind(
        formula="(1 − l/(L − 1)) Δ in layer l of L; all of Δ outside of the layers",
        means="the update, more in early layers than in late ones",
        label="update: a ramp over depth",
        does="Undoing the update more in early layers than in late ones",
        figure="update",
        marker="<",
        face="full",
        of="",
        scales=True,
        source="LiNeS, arXiv 2410.17146",
    ),
    "trim": Kind(
        formula="the entries I of Δ, ordered by magnitude, largest first",
        means="the smallest entries of the update (`tail`), or the largest (`rank`)",
        label="update: entries by size",
        does="Undoing the largest entries of the update",
        figure="update",
        marker=">",
        face="light",
        of="entries",
        all_is_gap=True,
        source="TIES, arXiv 2306.01708",
    ),
    "drop": Kind(
        formula="the entries I of Δ, in random order; the others take −p/(1 − p) of Δ, p being the "
        "share of I",
        means="random entries of the update, the others being made larger for it",
        label="update: random entries",
        does="Dropping random entries of the update and making the others larger",
        figure="update",
        marker="h",
        face="open",
        of="entries",
        all_is_gap=True,
        drawn=True,
        source="DARE, arXiv 2311.03099",
    ),
    "truncate": Kind(
        formula="U_Δ,I S_Δ,I V_Δ,I′, with U_Δ S_Δ V_Δ′ the SVD of Δ itself",
        means="the update's own small singular directions (`tail`), or its large ones (`rank`)",
        label="update: its own directions",
        does="Undoing the leading singular directions of the update itself",
        figure="update",
        marker="p",
        face="full",
        of="update",
        all_is_gap=True,
    ),
    "threshold": Kind(
        formula="U_Δ,I S_Δ,I V_Δ,I′, with I all singular values of Δ up to ω(β) median(S_Δ) / μ(β)",
        means="what of the update is within the noise that its median singular value shows",
        label="update: below the noise threshold",
        does="Undoing what of the update is within noise",
        figure="update",
        marker="H",
        face="light",
        of="",
        source="DG-Hard, arXiv 2605.20296",
    ),
    "intruders": Kind(
        formula="−U_t,J S_t,J V_t,J′, with J those of I whose cosine with each of U_p is below 0.5",
        means="singular directions that are unlike all of the parent's, taken out",
        label="intruder dimensions",
        does="Taking out singular directions that are unlike all of the parent's",
        figure="update",
        marker="*",
        face="open",
        turns=False,
        source="arXiv 2410.21228",
    ),
}

CONTROLS: dict[str, Control] = {
    "interpolation": Control(
        formula="W_p − W_t, scaled",
        question="is it the directions, or just the distance towards the parent?",
        label="as far, straight back",
        than="going as far straight towards the parent",
        matched=(NORM,),
        colour=0,
        marker="^",
        line="dotted",
        of_update_alone=True,
        scales=True,
    ),
    "straight": Control(
        formula="α (W_p − W_t), with one α for all matrices, so that all together go as far",
        question="is it where the edit goes, or just how far?",
        label="as far in all, one straight step",
        than="one straight step towards the parent, as far in all",
        matched=(WHOLE_NORM,),
        colour=2,
        marker="*",
        line="dotted",
        of_update_alone=True,
        one_step=True,
    ),
    "noise": Control(
        formula="a Gaussian matrix, scaled",
        question="would any change of this size do the same?",
        label="as far, at random",
        than="going as far in a random direction",
        matched=(NORM,),
        colour=5,
        marker="v",
        line="dotted",
    ),
    "rotation": Control(
        formula="D with random signs in the target's singular basis, the same signs left and right",
        question="is it the direction of the rotation, or any rotation by these angles?",
        label="turned as far, another way",
        than="going as far and turning the same subspaces by the same angles, but another way",
        matched=(NORM, ANGLE),
        colour=9,
        marker="D",
        line="dash_dot",
        turns=True,
    ),
    "shuffle": Control(
        formula="the D of the next layer, same role, scaled (a role with a single matrix keeps "
        "its own)",
        question="is it this layer's update?",
        label="the same in the next layer",
        than="the updates of the same edit in other layers",
        matched=(NORM,),
        colour=6,
        marker="P",
        line="dash_dot",
        layers=2,
    ),
    "rest": Control(
        formula="W_p − W_t − D (D at full strength), scaled",
        question="is it this part of the update, or the other part?",
        label="as far, the rest of the update",
        than="undoing as much of the rest of the update",
        matched=(NORM,),
        colour=1,
        marker="s",
        line="dash_dot",
        of_update_alone=True,
        scales=True,
    ),
}


STRAIGHT = ("interpolation", "straight")
"""Controls that are steps straight back: as repairs they can be picked as edits can."""


def matched(control: str) -> str:
    """Return what a control shares with its edit, in words; empty without a control."""
    return " and ".join(CONTROLS[control].matched) if control else ""


def with_tables(text: str) -> str:
    """Return a page of Markdown with its tables of kinds and of controls made from the records."""
    kinds = [(name, k.formula, k.means) for name, k in KINDS.items()]
    controls = [(name, c.formula, matched(name), c.question) for name, c in CONTROLS.items()]
    for rows in (kinds, controls):
        first, *lines = (f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows)
        start = re.escape(first.partition(" | ")[0])
        table = "\n".join([first, *lines])
        text = re.sub(
            rf"^{start} \|.*?\n(?=\n)", lambda _, t=table: t + "\n", text, flags=re.M | re.S
        )
    return text


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")
