"""Compute what edits do to one weight matrix: put parts of a target back to a parent's.

The formulas stand in `healscope.edit_kinds`. `values` and `directions` are those of sections 4.2
and 4.3 of arXiv 2509.12235. They and `swap` are additive: the update of two ranges of directions is
the sum of theirs, so that a sweep goes from one point to the next by what lies between
(`healscope.spectra.sweep`). `directions` and `swap` take columns from two bases. Unless all
directions are chosen, such columns are not orthonormal, and the result is no SVD. `orthonormal` and
`pinned` replace the spliced bases by orthonormal ones, so that the singular values are exactly
those of the target. The polar factor is the nearest orthonormal basis (Fan and Hoffman 1955), which
moves both parts of a splice about half-way. The other kinds take a part of W_p - W_t itself, by its
entries in the target's own bases.

`directions`, `swap` and the orthonormal kinds choose the parent's vectors by their index. Where
singular values are equal, or nearly so, these vectors are arbitrary, and `aligned` chooses them.
"""

from collections.abc import Callable

import torch

from healscope.spectra.factors import Factors

BLURRED = 10.0
"""A cut between two directions is blurred if an edit of the directions before it would go more
than this many times as far as the parent is away, since the parent's vectors there lie among the
target's behind the cut."""


def aligned(target: Factors, parent: Factors, far: float) -> Factors:
    """Turn the parent's singular vectors towards the target's within clusters of singular values.

    Return the very same factors if there are no clusters.

    `far` is |W_p - W_t|_F. In a cluster of equal singular values, any common rotation of left and
    right vectors gives the same matrix, and a tiny update makes the SVD choose another one. There
    an edit by index goes as far as the singular values are large, however near the parent is. A
    cluster joins directions over cuts that are `BLURRED`; in it, the rotation is chosen that brings
    left and right vectors together nearest to the target's (orthogonal Procrustes problem).
    """
    found = turns(target, parent, far)
    if not found:
        return parent
    u, v = parent.u.clone(), parent.v.clone()
    for i, turn in found:
        u[:, i], v[:, i] = parent.u[:, i] @ turn, parent.v[:, i] @ turn
    return Factors(u, parent.s, v)


def turns(target: Factors, parent: Factors, far: float) -> list[tuple[slice, torch.Tensor]]:
    """Return the clusters of `aligned`, and the rotation of each, (size, size)."""
    left, right = target.u.T @ parent.u, target.v.T @ parent.v
    floor = torch.finfo(target.s.dtype).eps * len(target.s) * float(target.s[0])  # of roundoff
    across = _across((left.square() + right.square()) * target.s.square())
    blurred = (across.sqrt() > BLURRED * max(far, floor)).tolist()
    return [(i, nearest_orthonormal((left[i, i] + right[i, i]).T)) for i in _clusters(blurred)]


def _across(energy: torch.Tensor) -> torch.Tensor:
    """Return sums of `energy` (r, r) over rows from c on and columns before c, for each cut c.

    Cuts go from 1 to r - 1. Nothing is subtracted, so that small sums keep their digits.
    """
    behind = energy.flip(0).cumsum(0).flip(0)
    return behind.cumsum(1).diagonal(-1)


def _clusters(blurred: list[bool]) -> list[slice]:
    """Return runs of directions joined by blurred cuts; cut i lies behind direction i."""
    found, start = [], None
    for i, joined in enumerate([*blurred, False]):
        if joined and start is None:
            start = i
        if not joined and start is not None:
            found.append(slice(start, i + 1))
            start = None
    return found


def _values(i: slice, target: Factors, parent: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    return target.u[:, i] * (parent.s[i] - target.s[i]), target.v[:, i]


def _directions(i: slice, target: Factors, parent: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    return _exchanged(i, target, parent, target.s)


def _swap(i: slice, target: Factors, parent: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    return _exchanged(i, target, parent, parent.s)


def _exchanged(
    i: slice, target: Factors, parent: Factors, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the parent's directions with these singular values, in place of the target's own."""
    left = torch.cat([parent.u[:, i] * values[i], target.u[:, i] * -target.s[i]], 1)
    return left, torch.cat([parent.v[:, i], target.v[:, i]], 1)


ADDITIVE: dict[str, Callable[[slice, Factors, Factors], tuple[torch.Tensor, torch.Tensor]]] = {
    "values": _values,
    "directions": _directions,
    "swap": _swap,
}
"""kind -> (A (m, c), B (n, c)) with A B' its update, by a range of directions and factors."""


def _orthonormal(i: slice, _gap: torch.Tensor, target: Factors, parent: Factors) -> torch.Tensor:
    u = nearest_orthonormal(_spliced(target.u, parent.u, i))
    v = nearest_orthonormal(_spliced(target.v, parent.v, i))
    return (u * target.s) @ v.T - target.matrix()


def _pinned(i: slice, _gap: torch.Tensor, target: Factors, parent: Factors) -> torch.Tensor:
    u, v = pinned_basis(target.u, parent.u, i), pinned_basis(target.v, parent.v, i)
    return (u * target.s) @ v.T - target.matrix()


def _diagonal(i: slice, gap: torch.Tensor, target: Factors, _parent: Factors) -> torch.Tensor:
    u, v = target.u[:, i], target.v[:, i]
    return (u * (u * (gap @ v)).sum(0)) @ v.T


def _offdiagonal(i: slice, gap: torch.Tensor, target: Factors, parent: Factors) -> torch.Tensor:
    u, v = target.u[:, i], target.v[:, i]
    rows, block = u @ (u.T @ gap), _block(i, gap, target, parent)
    return rows + (gap @ v) @ v.T - block - _diagonal(i, gap, target, parent)


def _block(i: slice, gap: torch.Tensor, target: Factors, _parent: Factors) -> torch.Tensor:
    u, v = target.u[:, i], target.v[:, i]
    return u @ (u.T @ gap @ v) @ v.T


def _complement(i: slice, gap: torch.Tensor, target: Factors, parent: Factors) -> torch.Tensor:
    return gap - _block(i, gap, target, parent)


DENSE: dict[str, Callable[[slice, torch.Tensor, Factors, Factors], torch.Tensor]] = {
    "orthonormal": _orthonormal,
    "pinned": _pinned,
    "diagonal": _diagonal,
    "offdiagonal": _offdiagonal,
    "block": _block,
    "complement": _complement,
}
"""kind -> its update (m, n), by a range of directions, W_p - W_t (m, n) in float64, and factors."""


def nearest_orthonormal(basis: torch.Tensor) -> torch.Tensor:
    """Return the matrix (m, r) with orthonormal columns nearest to `basis` in Frobenius norm."""
    u, _, vh = torch.linalg.svd(basis, full_matrices=False)
    return u @ vh


def pinned_basis(target: torch.Tensor, parent: torch.Tensor, i: slice) -> torch.Tensor:
    """Return an orthonormal basis (m, r) whose columns `i` are the parent's.

    The others are nearest to the target's among those that are orthogonal to the parent's.
    """
    kept = parent[:, i]
    others = torch.cat([target[:, : i.start], target[:, i.stop :]], 1)
    for _ in range(2):  # once more for what roundoff leaves
        others = others - kept @ (kept.T @ others)
    others = nearest_orthonormal(others)
    return torch.cat([others[:, : i.start], kept, others[:, i.start :]], 1)


def _spliced(target: torch.Tensor, parent: torch.Tensor, i: slice) -> torch.Tensor:
    return torch.cat([target[:, : i.start], parent[:, i], target[:, i.stop :]], 1)
