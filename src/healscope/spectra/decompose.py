"""Computes thin SVDs to float64 roundoff, each with a certificate of its accuracy.

Two routes, both backward stable: the product U diag(s) V' differs from W by a small multiple of
eps * s_1, and U and V are orthonormal to roundoff, whatever the condition number.

- "lapack": divide and conquer (gesdd; cuSOLVER on a GPU) in float64;
- "gram": W'W in float64, its eigenvectors V, B = W V, and a Householder QR of B = Q R. The columns
  of B are orthogonal up to the rounding of W'W, so that row i of R is diagonal up to about
  eps * s_1^2 / s_i: the leading rows are done, and a small LAPACK SVD of the trailing block
  corrects the rest. W = Q R V' then holds however inexact V was.
"""

import math
from dataclasses import dataclass

import torch

from healscope.errors import HealscopeError

EPS = torch.finfo(torch.float64).eps
SLACK = 10.0
"""The certificate allows this many max(m, n) * eps; results have a tenth of it or less."""

GRAM_FROM = 512
"""Smallest side from which "gram" is the faster route on a CPU; below, the two are alike
(benchmarks/svd.py)."""

_MOST_TAIL = 0.5  # of the rank; if more would need correction, LAPACK does all


@dataclass(frozen=True)
class Factors:
    """U (m, r), s (r,) descending, V (n, r), float64; r = min(m, n)."""

    u: torch.Tensor
    s: torch.Tensor
    v: torch.Tensor

    def matrix(self) -> torch.Tensor:
        """Return U diag(s) V', (m, n) float64."""
        return (self.u * self.s) @ self.v.T


@dataclass(frozen=True)
class Certificate:
    """The distance of factors from an SVD of W, in Frobenius norms, measured in float64.

    `residual` is |W - U diag(s) V'| / s_1, `left` and `right` are |U'U - I| and |V'V - I|.
    `sigma_error` bounds the error of every singular value relative to s_1: U and V lie within
    `left` and `right` of orthonormal matrices (their polar factors), so that W lies within
    s_1 * sigma_error of a matrix with exactly these singular values (Weyl).
    """

    route: str
    residual: float
    left: float
    right: float
    tolerance: float

    @property
    def sigma_error(self) -> float:
        return self.residual + self.left + self.right + self.left * self.right

    @property
    def holds(self) -> bool:
        """Whether residual and both defects are within the tolerance; NaN is not."""
        return all(x <= self.tolerance for x in (self.residual, self.left, self.right))


def certify(w: torch.Tensor, factors: Factors, route: str) -> Certificate:
    """Measure how accurate factors of `w` (float64) are."""
    scale = float(factors.s[0]) or 1.0
    return Certificate(
        route=route,
        residual=float(torch.linalg.matrix_norm(w - factors.matrix())) / scale,
        left=_defect(factors.u),
        right=_defect(factors.v),
        tolerance=SLACK * max(*w.shape, 16) * EPS,  # a few roundings, however small W is
    )


def _defect(basis: torch.Tensor) -> float:
    gram = basis.T @ basis
    gram.diagonal().sub_(1)
    return float(torch.linalg.matrix_norm(gram))


def ranks(s: torch.Tensor) -> dict[str, float]:
    """Return effective and stable rank of a matrix with singular values `s`, descending.

    exp of the entropy of their shares (Roy and Vetterli 2007), and |W|_F^2 / s_1^2.
    """
    p = s / s.sum()
    return {
        "effective_rank": math.exp(float(torch.special.entr(p).sum())),
        "stable_rank": float(s.square().sum() / s[0].square()),
    }


def decompose(
    weight: torch.Tensor, device: str | torch.device | None = None, route: str | None = None
) -> tuple[Factors, Certificate]:
    """Return the thin SVD of a weight matrix (m, n) of any floating type, and its certificate.

    `device` computes (None: where the weight lies); the factors come back on the CPU. `route` None
    takes the faster one. A result whose certificate does not hold is made again by LAPACK, in the
    end on the CPU.

    Raises HealscopeError for NaN or infinity, and if LAPACK's certificate does not hold either.
    """
    if weight.ndim != 2 or 0 in weight.shape:
        raise HealscopeError(f"a matrix was expected, not a tensor of shape {tuple(weight.shape)}")
    w = weight.detach().to(device=device, dtype=torch.float64)
    largest = float(w.abs().max())
    if not math.isfinite(largest):
        raise HealscopeError("a weight matrix holds NaN or infinity; the checkpoint is not usable")
    # a power of two, so that scaling is exact and squares stay in range
    unit = 2.0 ** min(math.frexp(largest)[1], 1023) if largest else 1.0
    w = w / unit
    ways = (route or faster(w), w.device), ("lapack", w.device), ("lapack", torch.device("cpu"))
    for chosen, place in dict.fromkeys(ways):
        w = w.to(place)
        try:
            factors = _by(chosen, w)
        except torch.linalg.LinAlgError:  # no convergence
            factors = None
        if factors is None:
            continue
        certificate = certify(w, factors, chosen)
        if certificate.holds:
            u, s, v = (x.contiguous().cpu() for x in (factors.u, factors.s * unit, factors.v))
            return Factors(u, s, v), certificate
    raise HealscopeError(
        f"no SVD of a {tuple(w.shape)} matrix is accurate enough, not even LAPACK's; check the "
        "installation of torch"
    )


def faster(w: torch.Tensor) -> str:
    """Return the route that is faster for a matrix of this shape on this device."""
    return "gram" if w.is_cuda or min(w.shape) >= GRAM_FROM else "lapack"


def _by(route: str, w: torch.Tensor) -> Factors | None:
    """Return factors by a route, tall side first: both are slower the other way round."""
    if w.shape[0] >= w.shape[1]:
        return _ROUTES[route](w)
    turned = _ROUTES[route](w.T)
    return turned and Factors(turned.v, turned.s, turned.u)


def _lapack(w: torch.Tensor) -> Factors:
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    return Factors(u, s, vh.T)


def _gram(w: torch.Tensor) -> Factors | None:
    """Return factors, or None if too much of the spectrum is too small for this route."""
    v = torch.linalg.eigh(w.T @ w).eigenvectors.flip(1)
    u, r = torch.linalg.qr(w @ v)
    diagonal, start = r.diagonal().clone(), _first_row_to_correct(r)
    if len(diagonal) - start > max(1, _MOST_TAIL * len(diagonal)):
        return None
    s = diagonal.abs()
    u[:, :start] *= torch.where(diagonal[:start] < 0, -1.0, 1.0).to(u)
    if start < len(s):
        left, s[start:], right = torch.linalg.svd(r[start:, start:])
        u[:, start:] = u[:, start:] @ left
        v[:, start:] = v[:, start:] @ right.T
    s, order = s.sort(descending=True, stable=True)
    return Factors(u[:, order], s, v[:, order])


def _first_row_to_correct(r: torch.Tensor) -> int:
    """Return the first row of R with too much beside its diagonal to be neglected.

    The rows before it add up to at most a quarter of the certificate's tolerance.
    """
    limit = 0.25 * SLACK * max(len(r), 16) * EPS * float(r.diagonal().abs().max())
    beside = torch.triu(r, 1).square().sum(1).cumsum(0)
    return int((beside <= limit**2).sum())


_ROUTES = {"lapack": _lapack, "gram": _gram}
