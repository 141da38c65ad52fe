"""Controls of an edit, matrix by matrix, each matched to what the edit itself does.

An edit that puts directions back also moves the weights towards the parent, moves them by some
distance, turns subspaces by some angles, and does so in certain layers. Each control keeps one of
these and gives up the rest, D being the edit's own update of a matrix:

- interpolation  W_p - W_t, scaled to |D|_F: as far towards the parent, without picking directions
- noise          a Gaussian matrix, scaled to |D|_F: as far, anywhere
- rotation       W_t turned left and right by random rotations with the principal angles that the
                 edited subspaces of target and parent have; its singular values stay
- shuffle        the D of the next layer's matrix of the same role (the last takes the first's),
                 scaled to |D|_F: the right update in the wrong place
"""

import torch

from healscope.spectra.angles import principal_angles
from healscope.spectra.factors import Factors


def scaled(direction: torch.Tensor, norm: torch.Tensor | float) -> torch.Tensor:
    """`direction` with Frobenius norm `norm`; zero where it is zero."""
    length = torch.linalg.vector_norm(direction)
    return direction * (norm / length) if length > 0 else direction


def noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A Gaussian matrix with shape, type and Frobenius norm of `like`."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
    return scaled(drawn, torch.linalg.vector_norm(like))


def rotation(
    start: int,
    stop: int,
    target: Factors,
    parent: Factors,
    strength: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """R_l W_t R_r' - W_t (m, n) for random proper rotations R_l and R_r.

    R_l turns the span of the target's left vectors start to stop by the principal angles, times
    `strength`, between it and the parent's, each in a random plane; R_r likewise on the right. A
    subspace that is the whole space has no angles, and is not turned.
    """
    turned = []
    for old, new in ((target.u, parent.u), (target.v, parent.v)):
        basis, k = old[:, start:stop], stop - start
        found = principal_angles(basis, new[:, start:stop], [k])
        angles = strength * found.get(k, basis.new_zeros(k))
        turned.append(rotate(old, basis, angles, generator))
    u, v = turned
    return (u * target.s) @ v.T - target.matrix()


def rotate(
    vectors: torch.Tensor, basis: torch.Tensor, angles: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """R `vectors` for a random rotation R that turns the span of `basis` (m, k) by `angles` (k,).

    Each angle, the largest first where the room outside of the span is short, turns a random
    direction of the span towards a random one outside.
    """
    m, k = basis.shape
    room = min(k, m - k)
    if room == 0:
        return vectors
    angles = angles.sort().values[k - room :]
    drawn = [_gaussian(shape, basis, generator) for shape in ((k, room), (m, room))]
    inside = basis @ torch.linalg.qr(drawn[0])[0]
    outside = drawn[1]
    for _ in range(2):  # once more for what roundoff leaves
        outside = torch.linalg.qr(outside - basis @ (basis.T @ outside))[0]
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    a, b = inside.T @ vectors, outside.T @ vectors
    return vectors + inside @ ((cos - 1) * a - sin * b) + outside @ (sin * a + (cos - 1) * b)


def _gaussian(shape: tuple[int, int], like: torch.Tensor, generator: torch.Generator):
    """Drawn on the CPU, so that every device gets the same numbers."""
    return torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device)
