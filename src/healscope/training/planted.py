"""Checkpoints whose difference from their start is planted: in singular values, or in vectors."""

import math

import torch

from healscope import draws
from healscope.config import Planted
from healscope.models import checkpoints
from healscope.spectra.matrices import OUTSIDE, matrices
from healscope.training.branch import Branch


def train(recipe: Planted, branch: Branch) -> list[dict]:
    """Stage the start's weights with every decoder matrix planted, as checkpoint `branch.name`."""
    model, tokenizer = checkpoints.load_model(branch.start)
    tensors = dict(model.state_dict())
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    with torch.no_grad():
        for matrix in matrices(shapes, None, model.config.to_dict()):
            if matrix.layer == OUTSIDE:
                continue
            part = matrix.part(tensors[matrix.name])
            generator = draws.seeded(branch.seed, "planted", matrix.layer, matrix.role)
            part.copy_(planted(part, recipe.spread, recipe.turn, generator))
    with branch.work.stage(branch.name) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return [{"iteration": 1}]


def planted(
    weight: torch.Tensor, spread: float, turn: float, generator: torch.Generator
) -> torch.Tensor:
    """Return a matrix of shape (m, n) with its singular values spread and its vectors turned.

    Singular values s become s^(1 + spread), scaled so that their norm stays. Left and right vectors
    are each turned by exp(turn A), where A is skew-symmetric with independent normal entries whose
    spectral norm is about 2 (so `turn` is about the root mean square of the angles, in radians).
    """

    def rotation(n: int) -> torch.Tensor:
        drawn = torch.randn(n, n, generator=generator, dtype=torch.float64)
        return torch.linalg.matrix_exp(turn * (drawn - drawn.T) / math.sqrt(2 * n))

    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    apart = s ** (1 + spread)
    values = apart * (s.norm() / apart.norm())
    turned = rotation(len(u)) @ (u * values) @ vh @ rotation(vh.shape[1])
    return turned.to(weight.dtype)
