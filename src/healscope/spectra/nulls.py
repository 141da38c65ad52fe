"""Controls of a comparison of two checkpoints: floors, and updates without meaning.

Any small update turns singular vectors and hardly moves singular values (Davis and Kahan 1970, Weyl
1912). Only a difference from a meaningless update of the same size tells something.

Floors compare the old weights with themselves, nulls add an update of the same Frobenius norm that
knows nothing of them. `healscope.comparison_controls` lists both.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from healscope.spectra.decompose import Factors, decompose


@dataclass(frozen=True)
class Point:
    """One matrix at one checkpoint, on the device that computes: its weights in the stored type,
    their factors, and the route by which these were made."""

    weight: torch.Tensor
    factors: Factors
    route: str


def point(weight: torch.Tensor, factors: Factors, route: str, device: str) -> Point:
    """Return a point with its tensors on `device`."""
    moved = Factors(*(x.to(device) for x in (factors.u, factors.s, factors.v)))
    return Point(weight.to(device), moved, route)


def floor(control: str, old: Point) -> Point:
    """Return the point that `old` is compared with for a floor."""
    return FLOORS[control](old)


def null(control: str, old: Point, new: Point, name: str) -> Point:
    """Return `old` after a meaningless update as large as that to `new`.

    `name` seeds the draw: equal names give equal draws.
    """
    generator = torch.Generator().manual_seed(_seed(f"{control} {name}"))
    weight = old.weight.double()
    delta = new.weight.double() - weight
    drawn = NULLS[control](delta, generator)
    return _decomposed(weight + drawn * (delta.norm() / drawn.norm().clamp(min=1e-300)))


def _decomposed(weight: torch.Tensor, route: str | None = None) -> Point:
    factors, certificate = decompose(weight, route=route)
    return point(weight, factors, certificate.route, str(weight.device))


def _again(old: Point) -> Point:
    """Decompose by the other route: the effect of arithmetic alone."""
    return _decomposed(old.weight, "lapack" if old.route == "gram" else "gram")


def _bf16(old: Point) -> Point:
    """Round to bfloat16: the effect of storing weights in half the bits."""
    return _decomposed(old.weight.to(torch.bfloat16))


FLOORS: dict[str, Callable[[Point], Point]] = {"again": _again, "bf16": _bf16}
"""control -> what a point is compared with."""


def _noise(delta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(delta.shape, generator=generator, dtype=delta.dtype).to(delta.device)


def _spectrum(delta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Replace the singular vectors by random ones: the update, rotated from both sides."""
    values = torch.linalg.svdvals(delta)
    left, right = (orthonormal(side, len(values), generator) for side in delta.shape)
    return (left.to(delta.device) * values) @ right.to(delta.device).T


NULLS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "noise": _noise,
    "spectrum": _spectrum,
}
"""control -> the update (m, n) of a null before it is scaled, from the measured one."""


def orthonormal(m: int, r: int, generator: torch.Generator) -> torch.Tensor:
    """Return (m, r) with orthonormal columns, uniform over such matrices (Haar), float64."""
    q, triangle = torch.linalg.qr(torch.randn(m, r, generator=generator, dtype=torch.float64))
    return q * torch.where(triangle.diagonal() < 0, -1.0, 1.0)  # else not uniform (Mezzadri 2007)


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
