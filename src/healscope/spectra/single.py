"""Computes thin SVDs in float32, as edits of large models need them, and keeps one basis of each.

With W (m, n), m >= n (else W' is taken): the triangle R of a Householder QR of W, without Q, then
LAPACK's SVD of R, which has the singular values s and right vectors V of W. The longer basis
U = W V / s follows from the weights, and is computed where it is asked for, column by column. So
the factors on disk take 4 (r + 1) r bytes, r = min(m, n): not more than the weights in float32, but
for one row of a square matrix.

What the rounding of V leaves in u_i grows as s_1 / s_i, but counts s_i in every product that is
made of it: an edit is exact to float32 roundoff of the largest singular value. `Half.whole` makes
both bases orthonormal to float64 roundoff, for comparisons.
"""

from dataclasses import dataclass

import torch

from healscope.spectra.decompose import Certificate, Factors, decompose

ROUTE = "single"
EPS = torch.finfo(torch.float32).eps

PROBES = 8
"""Random vectors to which errors are applied, in float64, to measure their Frobenius norms."""

SAFETY = 10.0
"""Norms of errors are told so many times as large as `PROBES` vectors measure them: so they are
bounds, each of which an error of any kind exceeds with probability 1e-7."""

SLACK = 50.0
"""The certificate allows this many max(m, n) * EPS; bounds are a fifth of it or less."""

NEAR = 0.3
"""A basis U farther from orthonormal than this, |U'U - I|, is kept, and not computed from the
weights: `_orthonormal` converges below 1."""


@dataclass(frozen=True)
class Half:
    """Singular values s (r,) and the vectors of the shorter side in rows, (r, n), float32.

    `other` (r, m) holds the vectors of the longer side where they cannot be had from the weights.
    """

    s: torch.Tensor
    basis: torch.Tensor
    other: torch.Tensor | None = None

    @property
    def parts(self) -> tuple[torch.Tensor | None, ...]:
        return self.s, self.basis, self.other

    def rows(self, i: slice) -> "Half":
        """Return the part that these directions are."""
        return Half(*(x if x is None else x[i] for x in self.parts))

    def columns(self, weight: torch.Tensor) -> Factors:
        """Return factors in float32 with a column for each row of `basis`, which may be a part."""
        tall = weight.shape[0] >= weight.shape[1]
        w = (weight if tall else weight.T).to(self.basis)
        v = self.basis.T
        u = w @ (v / self.s) if self.other is None else self.other.T
        return Factors(u, self.s, v) if tall else Factors(v, self.s, u)

    def whole(self, weight: torch.Tensor) -> Factors:
        """Return all factors in float64, vectors orthonormal to roundoff."""
        tall = weight.shape[0] >= weight.shape[1]
        w = (weight if tall else weight.T).to(self.basis.device, torch.float64)
        v = _orthonormal(self.basis.T.double())
        u = w @ v / self.s.double() if self.other is None else self.other.T.double()
        u = _orthonormal(u)
        return Factors(u, self.s.double(), v) if tall else Factors(v, self.s.double(), u)


def _orthonormal(basis: torch.Tensor) -> torch.Tensor:
    """Return the polar factor of a basis that is nearly orthonormal (Newton and Schulz)."""
    for _ in range(6):
        defect = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
        defect -= basis.T @ basis
        basis = basis + basis @ defect / 2
        if float(torch.linalg.matrix_norm(defect)) < 1e-7:  # squared by this step
            break
    return basis


def decompose_single(
    weight: torch.Tensor, device: str | torch.device | None = None
) -> tuple[Half, Certificate]:
    """Return half of the thin SVD of a weight matrix (m, n) in float32, and its certificate.

    `left` and `right` of the certificate count what is wrong between two vectors by their singular
    values, |S (U'U - I) S| / s_1^2. Where it does not hold, LAPACK computes in float64 and both
    bases are kept. The result is on the CPU. Raises HealscopeError as `decompose` does.
    """
    w = weight.detach().to(device=device, dtype=torch.float32)
    if w.ndim == 2 and w.numel() and bool(w.isfinite().all()):
        tall = w if w.shape[0] >= w.shape[1] else w.T
        square = tall
        if tall.shape[0] > tall.shape[1]:
            square = torch.linalg.qr(tall, mode="r").R
        try:
            _, s, basis = torch.linalg.svd(square)
            half = Half(s, basis)
            certificate, near = certify(tall, half)
            if certificate.holds and near:
                return Half(s.cpu(), basis.cpu().contiguous()), certificate
        except torch.linalg.LinAlgError:  # no convergence
            pass
    exact, certificate = decompose(weight, device, "lapack")
    long, short = (exact.u, exact.v) if weight.shape[0] >= weight.shape[1] else (exact.v, exact.u)
    kept = Half(exact.s.float(), short.T.float().contiguous(), long.T.float().contiguous())
    return kept, certificate


def certify(tall: torch.Tensor, half: Half) -> tuple[Certificate, bool]:
    """Measure in float64, on random vectors, how accurate half an SVD of `tall` (m, n) is.

    Return the certificate, and whether U = W V / s is within `NEAR` of orthonormal.
    """
    w, s, v = (x.double() for x in (tall, half.s, half.basis.T))
    g = torch.Generator().manual_seed(0)
    x = torch.randn(len(s), PROBES, generator=g, dtype=torch.float64).to(w.device)
    scale, values = float(s[0]) or 1.0, s[:, None]
    y = values * x
    seen = w @ torch.cat([x - v @ (v.T @ x), v @ x, v @ (x / values)], 1)  # W passes by once
    missed, uy, ux = seen.split(PROBES, 1)
    found = v.T @ torch.cat([w.T @ torch.cat([uy, ux], 1), v @ y], 1)
    left, near, right = found.split(PROBES, 1)
    certificate = Certificate(
        route=ROUTE,
        residual=_bound(missed) / scale,
        left=_bound(left - values * y) / scale**2,
        right=_bound(values * (right - y)) / scale**2,
        tolerance=SLACK * max(*w.shape, 16) * EPS,
    )
    return certificate, _bound(near / values - x) <= SAFETY * NEAR


def _bound(errors: torch.Tensor) -> float:
    """Return a bound on the Frobenius norm of E from E X, X being Gaussian with PROBES columns."""
    return SAFETY * float(torch.linalg.matrix_norm(errors)) / PROBES**0.5
