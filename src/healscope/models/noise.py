"""Distinguish matrices of independent random entries, as initialisers draw them, from trained ones.

Training changes two things that independence fixes: how the squared singular values are distributed
(Marchenko and Pastur 1967), and how little rows, and columns, differ in norm. Neither depends on
the scale of the entries or, beyond its fourth moment, on their distribution. Training also makes
the matrices of a model stretch the same directions of its residual stream (`alignment`), which is
seen long before a spectrum leaves the law.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

SMALLEST_RANK = 32  # below it a spectrum is too short to tell random from trained
LONG_RANK = 160
"""From this rank on the spectrum tells by itself: trained matrices were 9/rank and more from the
law. Of smaller ones some stay within 5/rank all through training, so that their scale counts too.
"""

DISTANCE = 5  # of a random spectrum from its law, at most, in steps of its distribution function
STANDARD_ERRORS = 4  # of the standard deviation of entries
SCALE = 0.025  # what the standard deviation may be off besides: rounding, other factors near 1
FLAT = 0.1  # relative spread of the squared singular values of an orthogonal initialisation
UNIFORM = 2.4  # kurtosis: 1.8 of uniform entries, 3 of normal ones
ALIGNED = 4  # standard errors that a matrix agrees with others in the directions it stretches
ROWS = 4  # of a matrix at most so many times its shorter side is looked at

TRUNCATED = {2: 0.8796, 3: 0.9866}
"""Cut of a normal distribution, in standard deviations -> standard deviation of what is left."""


@dataclass(frozen=True)
class Look:
    """Moments of a matrix: its standard deviation, kurtosis, rank, and whether rows, and columns,
    differ in norm as little as those of independent entries do."""

    std: float
    kurtosis: float
    rank: int
    entries: int
    fans: tuple[int, int]
    even: bool


def excerpt(weight: torch.Tensor) -> torch.Tensor:
    """Return the matrix (m, n), m >= n, in float32: transposed where it is wide, rows of zeros
    (padding) left out, and of a long one rows evenly spaced."""
    w = weight.detach()
    return _thinned(w if w.shape[0] >= w.shape[1] else w.T)


def _thinned(w: torch.Tensor) -> torch.Tensor:
    w = w[:: max(1, w.shape[0] // (ROWS * w.shape[1]))].float()
    return w[w.any(1)]


def look(weight: torch.Tensor) -> Look | None:
    """Return the moments of a matrix; None where it is too small, or one value throughout."""
    if weight.ndim != 2 or min(weight.shape) < SMALLEST_RANK:
        return None
    w = excerpt(weight)
    if min(w.shape) < SMALLEST_RANK or not (std := float(w.std())) > 0:
        return None
    squares = (w / std).square_()
    kurtosis = float(squares.square().mean())
    even = all(
        _dispersion(squares.mean(along), squares.shape[along], kurtosis) < _most(squares, along)
        for along in (0, 1)
    )
    return Look(std, kurtosis, min(w.shape), w.numel(), tuple(weight.shape), even)


def _dispersion(means: torch.Tensor, entries: int, kurtosis: float) -> float:
    """Return the variance of mean squares of rows (or columns), over that of independent
    entries."""
    return float(means.var()) * entries / max(kurtosis - 1, 1e-6)


def _most(squares: torch.Tensor, along: int) -> float:
    return 1.5 + 5 * math.sqrt(2 / squares.shape[1 - along])


def initial_scales(init_std: float, layers: int, fans: tuple[int, int]) -> dict[str, float]:
    """Return initialiser -> standard deviation with which it draws the entries of a matrix (m, n).

    `init_std` is that of config.json. Frameworks differ in which side is the input: both are tried.
    """
    # as GPT-2 draws its residual projections
    widths = {"normal": init_std, "normal, residual": init_std / math.sqrt(2 * max(layers, 1))}
    scales = dict(widths)
    for cut, left in TRUNCATED.items():
        scales |= {f"{name}, cut at {cut}": std * left for name, std in widths.items()}
    for side, fan in zip("mn", fans, strict=True):
        scales |= {
            f"Kaiming, {side}": math.sqrt(2 / fan),
            f"LeCun, {side}": math.sqrt(1 / fan),
            f"linear layer of PyTorch, {side}": math.sqrt(1 / (3 * fan)),
        }
    return scales | {"Xavier": math.sqrt(2 / sum(fans)), "embedding of PyTorch": 1.0}


def usual_scale(seen: Look, init_std: float, layers: int) -> bool:
    """Return whether a usual initialiser draws entries of this standard deviation."""
    limit = max(SCALE, STANDARD_ERRORS / math.sqrt(2 * seen.entries))
    return any(
        abs(seen.std / scale - 1) < limit
        for name, scale in initial_scales(init_std, layers, seen.fans).items()
        if "linear layer" not in name or seen.kurtosis < UNIFORM  # it draws uniform ones alone
    )


def follows_law(weight: torch.Tensor) -> bool:
    """Return whether the spectrum of a matrix is that of independent entries of its own standard
    deviation, or of an orthogonal initialisation."""
    w = excerpt(weight)
    squares, law = spectrum(w), float(w.std())
    flat = float(squares.std() / squares.mean()) < FLAT
    return flat or distance(squares, tuple(w.shape), law) < DISTANCE / len(squares)


def commonest_side(shapes: Iterable[Sequence[int]]) -> int:
    """Return the side that most matrices of a model have: the width of its residual stream."""
    return Counter(side for shape in shapes for side in set(shape)).most_common(1)[0][0]


def stretching(weight: torch.Tensor, width: int) -> list[tuple[torch.Tensor, int]]:
    """For each side of length `width`: how much more, or less, than others a matrix stretches each
    direction of that space, as a symmetric matrix of trace 0, and of how many rows it is told."""
    found = []
    for w in (weight.detach(), weight.detach().T):
        if w.shape[1] == width:
            w = _thinned(w)
            if len(w) and (square := float(w.square().mean())) > 0:
                gram = w.T @ w / (square * len(w))
                gram.diagonal().sub_(gram.diagonal().mean())
                found.append((gram, len(w)))
    return found


def shared_directions(weights: Iterable[torch.Tensor], width: int) -> torch.Tensor:
    """Return what matrices stretch together: the sum of `stretching`, each with a norm of 1.

    Equal matrices are the same one, tied, and count once.
    """
    total, met = torch.zeros(width, width), set()
    for weight in weights:
        sides = stretching(weight, width)
        mark = (tuple(weight.shape), *(float(gram.norm()) for gram, _ in sides))
        if mark not in met:
            total += _unit(sides, width)
        met.add(mark)
    return total


def _unit(sides: list[tuple[torch.Tensor, int]], width: int) -> torch.Tensor:
    grams = (gram.cpu() for gram, _ in sides)
    return sum((g / g.norm().clamp_min(1e-12) for g in grams), torch.zeros(width, width))


def alignment(weight: torch.Tensor, together: torch.Tensor) -> float:
    """Return how far the directions that a matrix stretches are those that the others of its model
    do, in standard errors of a matrix of independent entries; the larger where two sides can be
    asked.

    `together`: `shared_directions` of all of them, the matrix included.
    """
    sides = stretching(weight, len(together))
    others = together - _unit(sides, len(together))
    if not sides or not (size := float(others.norm())) > 0:
        return 0.0
    return max(
        float((gram.cpu() * others).sum()) / size / math.sqrt(2 / rows) for gram, rows in sides
    )


def spectrum(weight: torch.Tensor) -> np.ndarray:
    """Return the squared singular values of a matrix, ascending."""
    w = weight.detach().double()
    w = w if w.shape[0] >= w.shape[1] else w.T
    return torch.linalg.eigvalsh(w.T @ w).numpy(force=True)


def spectral_distance(weight: torch.Tensor, std: float) -> float:
    """Return the Kolmogorov distance of a matrix's squared singular values from the
    Marchenko-Pastur law of independent entries with standard deviation `std`."""
    return distance(spectrum(weight), tuple(weight.shape), std)


def distance(squares: np.ndarray, shape: tuple[int, int], std: float) -> float:
    """Return `spectral_distance` from squared singular values."""
    law = np.interp(squares, *marchenko_pastur(max(shape), min(shape), std))
    steps = np.arange(len(squares) + 1) / len(squares)
    return float(np.maximum(np.abs(law - steps[:-1]), np.abs(law - steps[1:])).max())


def marchenko_pastur(m: int, n: int, std: float) -> tuple[np.ndarray, np.ndarray]:
    """(x, share of the eigenvalues of W'W that are at most x) for W (m, n), m >= n, of independent
    entries with mean 0 and standard deviation `std`, as m and n grow (Marchenko and Pastur 1967).

    With x on the arc (b + a)/2 - (b - a)/2 cos t the density is smooth in t, also at the hard edge
    x = 0 of a square matrix.
    """
    ratio = n / m
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    half = (high - low) / 2
    t = np.linspace(0, np.pi, 4097)
    x = low + 2 * half * np.sin(t / 2) ** 2
    # sin(t)^2 / x, with its limit where both are 0
    sine = np.divide(np.sin(t) ** 2, x, out=np.full_like(t, 1.0), where=x > 0)
    density = half**2 * sine / (2 * np.pi * ratio)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(t))])
    return x * m * std**2, below / below[-1]
