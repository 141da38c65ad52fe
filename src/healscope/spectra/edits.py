"""Reversion edits: parts of a target's matrices put back to a parent's, in memory.

With W_t = U_t S_t V_t' (target) and W_p = U_p S_p V_p' (parent), arXiv 2509.12235 section 4.1:

- values      U_t S_p V_t'   (the parent's singular values, the target's directions)
- directions  U_p S_t V_p'   (the parent's directions, the target's singular values)
- swap        W_p            (the whole matrix: what the other two must be held against)

along one axis: all of the first n layers, or the leading share of directions in every layer. A
partial share splices columns of two bases, as published; the result is then not an SVD.
"""

from dataclasses import dataclass

import torch

from healscope.models.variants import Variant
from healscope.spectra.compare import leading
from healscope.spectra.factors import Factors, Matrix


@dataclass(frozen=True)
class Edit:
    """`amount` is a number of leading layers (axis "layers") or a share of the rank ("rank")."""

    kind: str
    axis: str
    amount: float


def apply(
    edit: Edit, target: dict[Matrix, Factors], parent: dict[Matrix, Factors]
) -> dict[str, torch.Tensor]:
    """name -> edited matrix (float32) for the matrices that the edit touches."""
    edited = {}
    for matrix, old in target.items():
        if edit.axis == "layers" and matrix.layer >= edit.amount:
            continue
        share = 1.0 if edit.axis == "layers" else edit.amount
        k = leading(share, len(old.s))
        edited[matrix.name] = _revert(edit.kind, old, parent[matrix], k).to(torch.float32)
    return edited


def _revert(kind: str, target: Factors, parent: Factors, k: int) -> torch.Tensor:
    """The target with its leading k values, directions or both taken from the parent."""
    values = torch.cat([parent.s[:k], target.s[k:]])
    u = torch.cat([parent.u[:, :k], target.u[:, k:]], 1)
    v = torch.cat([parent.v[:, :k], target.v[:, k:]], 1)
    if kind == "values":
        return Factors(target.u, values, target.v).matrix()
    if kind == "directions":
        return Factors(u, target.s, v).matrix()
    if kind == "swap":
        return Factors(u, values, v).matrix()
    raise ValueError(f"no edit kind '{kind}'")


def variant(
    name: str, edit: Edit, target: dict[Matrix, Factors], parent: dict[Matrix, Factors]
) -> Variant:
    """The edited model as a variant of a skeleton that holds the target's weights."""
    return Variant(name, lambda: apply(edit, target, parent))
