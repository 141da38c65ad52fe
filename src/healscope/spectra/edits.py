"""What edits do to one weight matrix: parts of a target put back to a parent's.

With W_t = U_t S_t V_t' (target), W_p = U_p S_p V_p' (parent) and I a range of directions, an edit
adds to W_t

- values       U_t,I (S_p - S_t)_I V_t,I'                      (arXiv 2509.12235, section 4.2)
- directions   U_p,I S_t,I V_p,I' - U_t,I S_t,I V_t,I'         (section 4.3, as published)
- swap         U_p,I S_p,I V_p,I' - U_t,I S_t,I V_t,I'         (all directions: W_p itself)

These are additive: the update of two ranges is the sum of theirs, so that a sweep goes from one
point to the next by what lies between (`healscope.spectra.sweep`). Both published splices take
columns from two bases. Unless I is all, such columns are not orthonormal, and the result is no SVD.

- orthonormal  as directions, with each spliced basis replaced by the nearest orthonormal one, its
  polar factor (Fan and Hoffman 1955). The singular values are then exactly S_t. Not additive.
"""

import torch

from healscope.spectra.factors import Factors

ADDITIVE = ("values", "directions", "swap")


def columns(
    kind: str, start: int, stop: int, target: Factors, parent: Factors
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A (m, c), B (n, c)) with A B' the update of an additive kind by directions start to stop."""
    i, t, p = slice(start, stop), target, parent
    if kind == "values":
        return t.u[:, i] * (p.s[i] - t.s[i]), t.v[:, i]
    values = t.s if kind == "directions" else p.s
    left = torch.cat([p.u[:, i] * values[i], t.u[:, i] * -t.s[i]], 1)
    return left, torch.cat([p.v[:, i], t.v[:, i]], 1)


def orthonormal(start: int, stop: int, target: Factors, parent: Factors) -> torch.Tensor:
    """The update (m, n) of kind "orthonormal"; an SVD of each spliced basis is its price."""
    u = nearest_orthonormal(_spliced(target.u, parent.u, start, stop))
    v = nearest_orthonormal(_spliced(target.v, parent.v, start, stop))
    return (u * target.s) @ v.T - target.matrix()


def nearest_orthonormal(basis: torch.Tensor) -> torch.Tensor:
    """The matrix (m, r) with orthonormal columns that is nearest to `basis` in Frobenius norm."""
    u, _, vh = torch.linalg.svd(basis, full_matrices=False)
    return u @ vh


def _spliced(target: torch.Tensor, parent: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    return torch.cat([target[:, :start], parent[:, start:stop], target[:, stop:]], 1)
