"""Principal angles between nested subspaces, accurate for tiny angles too."""

import math
from collections.abc import Iterable

import torch


def principal_angles(
    x: torch.Tensor, y: torch.Tensor, sizes: Iterable[int]
) -> dict[int, torch.Tensor]:
    """Return k -> the k principal angles between the spans of the first k columns of x and of y.

    Angles are in radians, ascending, for every k of `sizes`. x and y (m, r) have orthonormal
    columns, float64.

    All k share one product C = X'Y and one QR of Y - X C. Sines are the singular values of what the
    first k columns of Y have outside the first k of X: the rows of C from k on, above the leading
    block of that R. Cosines are those of C[:k, :k]. Below 45 degrees the sine decides, above it the
    cosine (Björck and Golub 1973; Knyazev and Argentati 2002), so that the error is of the order of
    1e-16 rad everywhere. Where k is the whole space (k = m) there is no angle, and no entry.
    """
    m, r = x.shape
    c = x.T @ y
    outside = torch.linalg.qr(y - x @ c, mode="r").R if m > r else c[:0]
    found = {}
    for k in sizes:
        if k == m:
            continue
        sines = _ascending(torch.cat([c[k:, :k], outside[:k, :k]]), k)
        angles = sines.asin()
        if float(sines[-1]) ** 2 > 0.5:
            cosines = torch.linalg.svdvals(c[:k, :k]).clamp(max=1)  # descending: angles ascend
            angles = torch.where(sines.square() > 0.5, cosines.acos(), angles)
        found[k] = angles
    return found


def _ascending(a: torch.Tensor, k: int) -> torch.Tensor:
    """Return the k singular values of a (rows, k), ascending, filled up with zeros."""
    values = torch.linalg.svdvals(a).clamp(max=1)
    return torch.cat([values.new_zeros(k - len(values)), values.flip(0)])


def chordal(angles: torch.Tensor) -> float:
    """Return the chordal distance of two subspaces with these principal angles.

    It is the root of the mean squared sine, from 0 to 1.
    """
    return math.sqrt(float(angles.sin().square().mean()))


def chance_chordal(k: int, m: int) -> float:
    """Return the expected `chordal` of two random subspaces of dimension k in m dimensions.

    Their mean squared sine is 1 - k / m.
    """
    return math.sqrt(1 - k / m)
