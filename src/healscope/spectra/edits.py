"""Compute what edits do to one weight matrix: put parts of a target back to a parent's.

The formulas stand in `healscope.edit_kinds`. `values` and `directions` are those of sections 4.2
and 4.3 of arXiv 2509.12235. They and `swap` are additive: the update of two ranges of directions is
the sum of theirs, so that a sweep goes from one point to the next by what lies between
(`healscope.spectra.sweep`). `directions` and `swap` take columns from two bases. Unless all
directions are chosen, such columns are not orthonormal, and the result is no SVD. `orthonormal` and
`pinned` replace the spliced bases by orthonormal ones, so that the singular values are exactly
those of the target. The polar factor is the nearest orthonormal basis (Fan and Hoffman 1955), which
moves both parts of a splice about half-way. The other kinds take a part of W_p - W_t itself: by its
entries in the target's own bases, by its own singular directions, by its entries as they stand, or
by depth.

`directions`, `swap` and the orthonormal kinds choose the parent's vectors by their index. Where
singular values are equal, or nearly so, these vectors are arbitrary, and `aligned` chooses them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
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


@dataclass(frozen=True)
class Inputs:
    """What a dense kind computes its update of one matrix from.

    Attributes:
        i: the range that is chosen, of what `edit_kinds.Kind.of` says.
        gap: W_p - W_t, (m, n) float64.
        factors: returns the target's factors and the parent's, the latter `aligned`.
        depth: place among the decoder layers, from 0 to 1; 0 outside of them.
        generator: returns random numbers that are seeded by kind and matrix.
    """

    i: slice
    gap: torch.Tensor
    factors: Callable[[], tuple[Factors, Factors]]
    depth: float = 0.0
    generator: Callable[[], torch.Generator] = torch.Generator

    @cached_property
    def both(self) -> tuple[Factors, Factors]:
        return self.factors()

    @property
    def chosen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Left and right singular vectors of the target that are chosen."""
        target, _ = self.both
        return target.u[:, self.i], target.v[:, self.i]


def _orthonormal(x: Inputs) -> torch.Tensor:
    target, parent = x.both
    u = nearest_orthonormal(_spliced(target.u, parent.u, x.i))
    v = nearest_orthonormal(_spliced(target.v, parent.v, x.i))
    return (u * target.s) @ v.T - target.matrix()


def _pinned(x: Inputs) -> torch.Tensor:
    target, parent = x.both
    u, v = pinned_basis(target.u, parent.u, x.i), pinned_basis(target.v, parent.v, x.i)
    return (u * target.s) @ v.T - target.matrix()


def _diagonal(x: Inputs) -> torch.Tensor:
    u, v = x.chosen
    return (u * (u * (x.gap @ v)).sum(0)) @ v.T


def _offdiagonal(x: Inputs) -> torch.Tensor:
    u, v = x.chosen
    return u @ (u.T @ x.gap) + (x.gap @ v) @ v.T - _block(x) - _diagonal(x)


def _block(x: Inputs) -> torch.Tensor:
    u, v = x.chosen
    return u @ (u.T @ x.gap @ v) @ v.T


def _complement(x: Inputs) -> torch.Tensor:
    return x.gap - _block(x)


def _ramp(x: Inputs) -> torch.Tensor:
    """Return all of the gap in the first layer, none in the last (LiNeS, arXiv 2410.17146, eq. 2).

    LiNeS scales the update of layer l by α + β l/(L - 1); with one model β = 1 - α.
    """
    return (1 - x.depth) * x.gap


def _trim(x: Inputs) -> torch.Tensor:
    """Return entries of the gap by their place in the order of magnitudes (TIES, arXiv 2306.01708,
    section 4.1), matrix by matrix. Of equal magnitudes the first are the larger ones."""
    chosen = x.gap.abs().flatten().argsort(descending=True, stable=True)[x.i]
    return _entries(x.gap, chosen)


def _drop(x: Inputs) -> torch.Tensor:
    """Return what takes random entries of the update away and divides the others by 1 - p (DARE,
    arXiv 2311.03099, section 3): the update's mean over draws stays.

    Of N entries exactly p N are dropped, where DARE draws each by itself. One order is drawn for
    each matrix, so that a larger share drops the same entries and more.
    """
    order = torch.randperm(x.gap.numel(), generator=x.generator()).to(x.gap.device)
    dropped = _entries(x.gap, order[x.i])
    p = (x.i.stop - x.i.start) / x.gap.numel()
    return dropped if p == 1 else dropped - (x.gap - dropped) * (p / (1 - p))


def _entries(gap: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    found = torch.zeros_like(gap).flatten()
    found[chosen] = gap.flatten()[chosen]
    return found.view_as(gap)


def _truncate(x: Inputs) -> torch.Tensor:
    _, part = _own_directions(x.gap)
    return part(x.i)


def _threshold(x: Inputs) -> torch.Tensor:
    """Return the part of the gap whose singular values are at most the optimal hard threshold for
    noise of unknown size (Gavish and Donoho, arXiv 1305.5870, eq. 7), as DG-Hard uses it
    (arXiv 2605.20296).

    The noise is told from the median singular value, of two middle ones the smaller.
    """
    values, part = _own_directions(x.gap)
    median = values[len(values) // 2]  # descending
    short, long = sorted(x.gap.shape)
    kept = int((values > noise_threshold(short / long) * median).sum())
    return part(slice(kept, len(values)))


def _own_directions(gap: torch.Tensor) -> tuple[torch.Tensor, Callable[[slice], torch.Tensor]]:
    """Return the singular values of the gap, descending, and its part by a range of them.

    By the eigenvectors of its Gram matrix: values below 1e-8 of the largest are roundoff, and what
    is told apart wrongly there is as small.
    """
    tall = gap.shape[0] > gap.shape[1]
    wide = gap.T if tall else gap
    squares, u = torch.linalg.eigh(wide @ wide.T)
    values, u = squares.clamp(min=0).sqrt().flip(0), u.flip(1)

    def part(i: slice) -> torch.Tensor:
        found = u[:, i] @ (u[:, i].T @ wide)
        return found.T if tall else found

    return values, part


@cache
def noise_threshold(beta: float) -> float:
    """Return ω(β) of arXiv 1305.5870: the optimal hard threshold in units of the median singular
    value, for matrices whose sides have the ratio β, at most 1. It is 2.858 for square ones."""
    known = math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + math.sqrt(beta**2 + 14 * beta + 1)))
    # Marchenko and Pastur's density; x = middle - half cos t takes its roots out of the integral
    edges = np.linspace(0, np.pi, 20_001)
    t = (edges[1:] + edges[:-1]) / 2
    middle, half = 1 + beta, 2 * math.sqrt(beta)
    below = np.cumsum(np.sin(t) ** 2 / (middle - half * np.cos(t)))
    median = np.interp(0.5 * below[-1], below, middle - half * np.cos(edges[1:]))
    return known / math.sqrt(float(median))


INTRUDES = 0.5
"""A singular vector is an intruder if it has less than this cosine with each of the parent's."""


def _intruders(x: Inputs) -> torch.Tensor:
    """Return what takes intruder dimensions out of the target (arXiv 2410.21228, sections 3 and 5).

    They are told by left singular vectors, as there.
    """
    target, parent = x.both
    u, v = x.chosen
    alone = (u.T @ parent.u).abs().amax(1) < INTRUDES
    return -(u[:, alone] * target.s[x.i][alone]) @ v[:, alone].T


DENSE: dict[str, Callable[[Inputs], torch.Tensor]] = {
    "orthonormal": _orthonormal,
    "pinned": _pinned,
    "diagonal": _diagonal,
    "offdiagonal": _offdiagonal,
    "block": _block,
    "complement": _complement,
    "ramp": _ramp,
    "trim": _trim,
    "drop": _drop,
    "truncate": _truncate,
    "threshold": _threshold,
    "intruders": _intruders,
}
"""kind -> its update (m, n) at strength 1."""


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
