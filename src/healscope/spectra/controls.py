"""Controls of an edit, matrix by matrix, each matched to what the edit itself does.

An edit moves the weights by some distance, turns subspaces by some angles, does so in a certain
direction and in certain layers. Each control keeps some of this and gives up the rest:
`healscope.edit_kinds` has the formulas, and says what each control is matched in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from healscope.errors import HealscopeError
from healscope.spectra.decompose import Factors
from healscope.spectra.matrices import Matrix

DRAWS = 16
"""Of so many draws of signs, the one is taken whose update has least in common with the edit's."""

NOTHING = 1e-5
"""Less than this share of an update is nothing: roundoff in float32."""


@dataclass(frozen=True)
class Update:
    """An edit's update D of one matrix, and what its controls are made from.

    Attributes:
        own: D, (m, n) float32.
        gap: W_p - W_t, (m, n) float32.
        factors: returns the target's singular values and vectors.
        at_full_strength: returns the update of the same edit at strength 1.
        of_next_layer: returns the same edit's update of the next layer's matrix of this role.
        in_all: returns |D|_F and |W_p - W_t|_F over all matrices that the edit touches.
        generator: returns random numbers that are seeded by the names of edit and matrix.
        edit, matrix: for messages.
    """

    own: torch.Tensor
    gap: torch.Tensor
    factors: Callable[[], Factors]
    at_full_strength: Callable[[], torch.Tensor]
    of_next_layer: Callable[[], torch.Tensor]
    in_all: Callable[[], tuple[float, float]]
    generator: Callable[[], torch.Generator]
    edit: str
    matrix: Matrix

    @property
    def norm(self) -> torch.Tensor:
        """|D|_F."""
        return torch.linalg.vector_norm(self.own)


def scaled(direction: torch.Tensor, norm: torch.Tensor | float) -> torch.Tensor:
    """Return `direction` with Frobenius norm `norm`; zero where it is zero."""
    length = torch.linalg.vector_norm(direction)
    return direction * (norm / length) if length > 0 else direction


def interpolation(update: Update) -> torch.Tensor:
    return scaled(update.gap, update.norm)


def straight(update: Update) -> torch.Tensor:
    own, gap = update.in_all()
    return update.gap * (own / gap if gap else 0.0)


def noise(update: Update) -> torch.Tensor:
    own = update.own
    drawn = torch.randn(own.shape, generator=update.generator(), dtype=own.dtype)
    return scaled(drawn.to(own.device), update.norm)


def rotation(update: Update) -> torch.Tensor:
    turned = reflected(update.own.double(), update.factors(), update.generator())
    return turned.to(torch.float32)


def shuffle(update: Update) -> torch.Tensor:
    other, matrix = update.of_next_layer(), update.matrix
    if other.shape != update.own.shape:
        raise HealscopeError(
            f"edit '{update.edit}': {matrix.name} differs in shape from the next layer's matrix of "
            f"role {matrix.role}, so that nothing can be shuffled"
        )
    if update.norm > 0 and not other.any():
        raise HealscopeError(
            f"edit '{update.edit}': it leaves the next layer's matrix of role {matrix.role} as it "
            f"is, so that control 'shuffle' of {matrix.name} has nothing to be made of; take "
            "another control"
        )
    return scaled(other, update.norm)


def rest(update: Update) -> torch.Tensor:
    remaining = update.gap - update.at_full_strength()
    left, all_of_it = (
        torch.linalg.vector_norm(x, dtype=torch.float64) for x in (remaining, update.gap)
    )
    if update.norm > 0 and left <= NOTHING * all_of_it:
        raise HealscopeError(
            f"edit '{update.edit}': the edit puts all of {update.matrix.name} back, so that "
            "control 'rest' has nothing to be made of; choose a part of the directions, or another "
            "control"
        )
    return scaled(remaining, update.norm)


FORMULAS: dict[str, Callable[[Update], torch.Tensor]] = {
    "interpolation": interpolation,
    "straight": straight,
    "noise": noise,
    "rotation": rotation,
    "shuffle": shuffle,
    "rest": rest,
}
"""control -> its update (m, n), float32."""


def reflected(update: torch.Tensor, target: Factors, generator: torch.Generator) -> torch.Tensor:
    """Return R_l `update` R_r' (m, n) for reflections R_l and R_r with R_l W_t R_r' = W_t.

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
    return _reflect(_reflect(update, u[:, around]).T, v[:, around]).T


def _reflect(matrix: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return (I - 2 X X') `matrix` for orthonormal columns X."""
    return matrix - 2 * vectors @ (vectors.T @ matrix)
