"""Controls of an edit, matrix by matrix, each matched to what the edit itself does.

An edit moves the weights by some distance, turns subspaces by some angles, does so in a certain
direction and in certain layers. Each control keeps some of this and gives up the rest, D being the
edit's own update of a matrix (`healscope.edit_kinds` says what each is matched in):

- interpolation  W_p - W_t, scaled to |D|_F: as far towards the parent, without picking directions
- noise          a Gaussian matrix, scaled to |D|_F: as far, anywhere
- rotation       D, seen in the target's singular bases, with signs drawn for the directions: as
                 far, turning every subspace of singular vectors by the same angles, another way
- shuffle        the D of the next layer's matrix of the same role (the last takes the first's),
                 scaled to |D|_F: the right update in the wrong place
- rest           W_p - W_t less the edit made at full strength, scaled to |D|_F: as far by what the
                 edit does not put back
"""

import torch

from healscope.spectra.factors import Factors

DRAWS = 16
"""Of so many draws of signs, the one is taken whose update has least in common with the edit's."""


def scaled(direction: torch.Tensor, norm: torch.Tensor | float) -> torch.Tensor:
    """`direction` with Frobenius norm `norm`; zero where it is zero."""
    length = torch.linalg.vector_norm(direction)
    return direction * (norm / length) if length > 0 else direction


def noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A Gaussian matrix with shape, type and Frobenius norm of `like`."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
    return scaled(drawn, torch.linalg.vector_norm(like))


def rotation(update: torch.Tensor, target: Factors, generator: torch.Generator) -> torch.Tensor:
    """R_l `update` R_r' (m, n) for reflections R_l and R_r with R_l W_t R_r' = W_t.

    R_l turns some of the target's left singular vectors around, and R_r the same right ones; which
    ones is drawn. So W_t plus the result is R_l (W_t + update) R_r': it has the singular values of
    the edited matrix, lies as far from W_t, and each subspace of its singular vectors has the
    same principal angles with that of W_t. But where the edit turns vector i towards vector j, this
    turns it away, or not, by the product of their signs.
    """
    u, v = target.u, target.v
    inside = u.T @ update @ v
    energy = inside.square()
    outside = (update @ v - u @ inside).square().sum(0) + (
        update.T @ u - v @ inside.T
    ).square().sum(0)
    drawn = torch.randint(0, 2, (DRAWS, len(target.s)), generator=generator)
    signs = (2 * drawn - 1).to(update)
    common = ((signs @ energy) * signs).sum(1) + signs @ outside
    around = signs[common.abs().argmin()] < 0
    return _reflected(_reflected(update, u[:, around]).T, v[:, around]).T


def _reflected(matrix: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """(I - 2 X X') `matrix` for orthonormal columns X."""
    return matrix - 2 * vectors @ (vectors.T @ matrix)
