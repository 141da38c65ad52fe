"""`healscope weights A B`: what an update of the weights is like, matrix by matrix, beside nulls.

D = W_b - W_a is the update of a matrix (m, n), with m >= n after turning. Everything but the
leading directions of W_a comes from D'D alone, in float64, so that no SVD of D is made: singular
values below 1e-8 of the largest are roundoff, and add nothing to the quantities here.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from healscope.edit_names import leading
from healscope.errors import HealscopeError
from healscope.models.stored import Stored
from healscope.spectra import sources
from healscope.spectra.decompose import ranks
from healscope.spectra.matrices import Matrix

COLUMNS = ("layer", "role", "name", "quantity", "value", "null", "null_sd")
LEADING = 0.25
"""Share of the singular directions of W_a that count as leading."""
_ROWS = 4096  # rows of a tall matrix that are in float64 at a time


def glance(
    a: str | Path, b: str | Path, controls: bool = True, base: str | Path | None = None
) -> pd.DataFrame:
    """Compare two folders of models or PEFT adapters, one matrix in memory at a time.

    Return rows of COLUMNS. By `quantity`:

    - norm: |W_a|; change: |D|; drift: |D| / |W_a|; cosine: that of W_a and W_b as vectors;
    - unchanged: share of entries that are equal in bf16, which hides small changes;
    - effective_rank: exp of the entropy of D's singular values (Roy and Vetterli 2007);
      stable_rank: |D|^2 / s_1(D)^2; leading_20: share of |D|^2 in its 20 largest singular values.
      `null` is that of a Gaussian matrix of this shape, which is what an update without structure
      looks like;
    - within_leading: share of |D|^2 within the leading quarter of the singular directions of W_a,
      left and right; `null` and `null_sd` are its mean and SD if the singular vectors of D were
      drawn at random, its singular values kept.

    Norms are Frobenius norms. Of other tensors (biases, norms) only the first five. Without
    `controls` there are no nulls and no within_leading. Quantities of D are left out where D = 0.
    `base`: the model that adapters are on, if not the one they name. Raises HealscopeError where a
    folder holds no readable weights or the models do not match.
    """
    stored = Stored(a, base), Stored(b, base)
    _same_tensors(*stored)
    named: dict[str, list[Matrix]] = {}
    for matrix in sources.matrices_of(stored[0], None):
        named.setdefault(matrix.name, []).append(matrix)
    rows = []
    for name in stored[0]:
        old, new = (s[name] for s in stored)
        for matrix in named.get(name, [None]):
            parts = (old, new) if matrix is None else (matrix.part(old), matrix.part(new))
            place = (-1, "", name) if matrix is None else (matrix.layer, matrix.role, name)
            rows += [(*place, *row) for row in _rows_of(*parts, matrix is not None, controls)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _same_tensors(a: Stored, b: Stored) -> None:
    if odd := sorted(set(a) ^ set(b)):
        raise HealscopeError(
            f"the models do not match: only one of them has {odd[0]}; give two checkpoints of one "
            "model"
        )
    for name, shape in a.shapes.items():
        if tuple(b.shapes[name]) != tuple(shape):
            raise HealscopeError(
                f"{name} has shape {tuple(shape)} in one model and {tuple(b.shapes[name])} in the "
                "other; give two checkpoints of one model"
            )


def _rows_of(
    old: torch.Tensor, new: torch.Tensor, is_matrix: bool, controls: bool
) -> Iterator[tuple[str, float, float, float]]:
    """Yield (quantity, value, null, SD of the null) of one tensor."""
    if is_matrix and old.shape[0] < old.shape[1]:
        old, new = old.T, new.T
    squares = dict.fromkeys(("old", "new", "change"), 0.0)
    same, gram, gram_old = 0, 0.0, 0.0
    for first in range(0, len(old), _ROWS):
        w, x = (t[first : first + _ROWS] for t in (old, new))
        same += int((w.bfloat16() == x.bfloat16()).sum())
        w, x = w.double(), x.double()
        delta = x - w
        for key, tensor in (("old", w), ("new", x), ("change", delta)):
            squares[key] += float(tensor.square().sum())
        if is_matrix:
            gram = gram + delta.T @ delta
            gram_old = gram_old + w.T @ w if controls else 0.0
    norm, other, change = (math.sqrt(x) for x in squares.values())
    yield "norm", norm, math.nan, math.nan
    yield "change", change, math.nan, math.nan
    yield "drift", change / norm if norm else math.nan, math.nan, math.nan
    inner = (squares["old"] + squares["new"] - squares["change"]) / 2
    yield "cosine", inner / (norm * other) if norm and other else math.nan, math.nan, math.nan
    yield "unchanged", same / old.numel(), math.nan, math.nan
    if not (is_matrix and change):
        return
    energies = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0)
    for quantity, value in shape_of(energies).items():
        yield quantity, value, _unstructured(*old.shape)[quantity] if controls else math.nan, 0.0
    if controls:
        yield ("within_leading", *_within(old, new, energies, gram_old))


def shape_of(energies: torch.Tensor) -> dict[str, float]:
    """Return effective rank, stable rank and leading_20 of squared singular values, descending."""
    return {**ranks(energies.sqrt()), "leading_20": float(energies[:20].sum() / energies.sum())}


@cache
def _unstructured(m: int, n: int) -> dict[str, float]:
    """Return `shape_of` a Gaussian matrix (m, n)."""
    # R of a Gaussian matrix's QR: the same singular values, without its m rows (Bartlett 1934)
    drawn = np.random.default_rng([m, n])
    diagonal = np.sqrt(drawn.chisquare(np.arange(m, m - n, -1)))
    upper = torch.from_numpy(np.triu(drawn.standard_normal((n, n)), 1) + np.diag(diagonal))
    return shape_of(torch.linalg.eigvalsh(upper.T @ upper).flip(0).clamp(min=0))


def _within(
    old: torch.Tensor, new: torch.Tensor, energies: torch.Tensor, gram_old: torch.Tensor
) -> tuple[float, float, float]:
    """Return the share of |D|^2 within the leading directions of W_a, and its null: mean and SD.

    With U and V the leading k left and right singular vectors of W_a, the share is
    |U'DV|^2 / |D|^2. For random singular vectors of D, that of one of them within U is a
    Beta(k/2, (m-k)/2) and within V a Beta(k/2, (n-k)/2). As they are orthogonal, two of them share
    what there is, and have products that vary around 0: both count in the SD.
    """
    m, n = old.shape
    k = leading(LEADING, n)
    values, vectors = torch.linalg.eigh(gram_old)
    v, s = vectors[:, -k:], values[-k:].clamp(min=0).sqrt()
    inside = 0.0
    for first in range(0, m, _ROWS):
        w, x = (t[first : first + _ROWS].double() for t in (old, new))
        u = w @ v / s.clamp(min=1e-300)
        inside = inside + u.T @ ((x - w) @ v)
    share = float(inside.square().sum() / energies.sum())
    (p, spread), (q, other) = (_beta(k, size) for size in (m, n))
    alone = (spread + p * p) * (other + q * q) - p * p * q * q
    shared = (p * p - spread / max(m - 1, 1)) * (q * q - other / max(n - 1, 1)) - p * p * q * q
    crossed = 2 * _product(k, m) * _product(k, n)
    weights = energies / energies.sum()
    squares = float(weights.square().sum())
    return share, p * q, math.sqrt(alone * squares + (shared + crossed) * (1 - squares))


def _beta(k: int, n: int) -> tuple[float, float]:
    """Return mean and variance of the squared length of a random unit vector in k of n
    dimensions."""
    mean = k / n
    return mean, mean * (1 - mean) / (n / 2 + 1)


def _product(k: int, n: int) -> float:
    """Return the variance of the inner product, in k of n dimensions, of two random orthogonal unit
    vectors."""
    return k * (n - k) / (max(n - 1, 1) * n * (n + 2))


def summary(rows: pd.DataFrame, shown: int = 10) -> str:
    """Return the rows in words and as a table of roles: medians over matrices, beside nulls."""
    wide, null = (
        rows.pivot(index=["layer", "role", "name"], columns="quantity", values=column)
        for column in ("value", "null")
    )
    matrices = wide[wide.index.get_level_values("role") != ""]
    moved = math.sqrt((wide["change"] ** 2).sum()) / math.sqrt((wide["norm"] ** 2).sum())
    lines = [
        f"The update is {moved:.2%} of the weights' norm, over {len(wide)} tensors; "
        f"{int((wide['change'] == 0).sum())} of them did not change."
    ]
    return "\n".join([*lines, *_of_roles(matrices, null, rows), *_largest(matrices, shown)])


def _of_roles(matrices: pd.DataFrame, null: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    controlled = "within_leading" in matrices
    heads = ["role", "matrices", "|D|/|W|", "effective rank", "in 20 directions"]
    heads += ["in leading quarter", "SDs above chance"] if controlled else []
    yield ""
    yield "  ".join(f"{head:>18}" for head in heads)
    away = rows[rows["quantity"] == "within_leading"]
    away = away.assign(z=(away["value"] - away["null"]) / away["null_sd"])
    for role, group in matrices.groupby(level="role", sort=False):
        beside = null.loc[group.index]
        cells = [role, str(len(group)), f"{group['drift'].median():.4f}"]
        shown = {"effective_rank": ".0f", "leading_20": ".1%"}
        shown |= {"within_leading": ".1%"} if controlled else {}
        for quantity, form in shown.items():
            value, chance = (
                table[quantity].median() if quantity in table else math.nan
                for table in (group, beside)
            )
            text = "–" if math.isnan(value) else format(value, form)
            cells.append(text if math.isnan(chance) else f"{text} ({format(chance, form)})")
        if controlled:
            above = away[away["role"] == role]["z"].median()
            cells.append("–" if math.isnan(above) else f"{above:+.1f}")
        yield "  ".join(f"{cell:>18}" for cell in cells)
    if controlled:
        yield (
            "Medians over matrices; in brackets what an update without structure has: a Gaussian "
            "matrix, or the same singular values with random directions."
        )


def _largest(matrices: pd.DataFrame, shown: int) -> Iterator[str]:
    yield ""
    yield f"Moved most: {', '.join(_named(matrices, shown))}."


def _named(matrices: pd.DataFrame, shown: int) -> Iterator[str]:
    for (layer, role, _), drift in matrices["drift"].nlargest(shown).items():
        where = f"{role} of layer {layer}" if layer >= 0 else role
        yield f"{where} {drift:.2%}"
