"""Compares two checkpoints matrix by matrix: singular values, turned subspaces, and controls.

All quantities are exact functions of the two matrices and their SVDs, W_a = U diag(s) V' being the
older one and D = W_b - W_a the update. Each is also measured for the controls of `nulls`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from healscope.config import Spectra
from healscope.edit_names import leading
from healscope.errors import HealscopeError
from healscope.progress import track
from healscope.spectra import nulls
from healscope.spectra.angles import chance_chordal, chordal, principal_angles
from healscope.spectra.decompose import EPS, ranks
from healscope.spectra.factors import Decomposed, load
from healscope.spectra.nulls import Point

SHOWN = 256
"""The most singular values or angles that are listed, evenly spread by index."""

PLACED = ("pair", "control", "layer", "role")
COLUMNS = ("quantity", "part", "fraction", "index", "a", "b")
Columns = dict[str, np.ndarray]
"""Name of COLUMNS -> its values; all have one length. Many become a single frame."""

MEASURED = ""
"""`control` of the rows that compare the two checkpoints themselves."""


def compare_folders(
    a: str | Path,
    b: str | Path,
    settings: Spectra | None = None,
    cache: str | Path | None = None,
    device: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two checkpoints, each a local Hugging Face folder or a study's checkpoint.json.

    Rows are those of `compare_points` without `pair`. `settings` says which matrices, subspaces and
    controls (default: all of them, without embeddings and head); `cache` is a folder that keeps
    factors for the next time; `device` computes (None: a GPU where there is one); `seed` draws the
    nulls.

    Raises HealscopeError where a folder holds no readable weights or the models do not match.
    """
    settings = settings or Spectra()
    points = {
        name: load(source, settings.matrices, cache, device)
        for name, source in (("a", a), ("b", b))
    }
    return compare_points(points, [("a", "b")], settings, seed).drop(columns="pair")


def compare_points(
    points: Mapping[str, Decomposed],
    pairs: Sequence[tuple[str, str]],
    settings: Spectra,
    seed: int,
    label: str = "compare",
) -> pd.DataFrame:
    """Compare every pair (older, newer) of named checkpoints, one matrix in memory at a time.
    `label` is that of the progress bar.

    Return tidy rows (pair, control, layer, role, quantity, part, fraction, index, a, b). `pair` is
    written as "older--newer"; `control` is empty for the pair itself, else one of `nulls`. By
    quantity:

    - sigma: a and b are the index-th singular values, in weight units;
    - sigma_change: b is |s_b - s_a| / |s_a| (part norm), the largest change relative to s_1 (max),
      or to the value itself, where that is not roundoff (max_relative);
    - angle: b is the index-th principal angle, ascending, in degrees, between the leading
      k = fraction * rank left or right (part) singular vectors (arXiv 2509.12235, section 2.4);
    - chordal: b is their chordal distance, from 0 to 1; a is what random subspaces have;
    - energy: b is the share of |D|^2 in part: with E = U'DV, "diagonal-head" and so on are squares
      on the diagonal of E (singular values that change, to first order), "head-tail" and so on off
      it (vectors that turn: left vectors of the head towards ones of the tail), "outside" what lies
      outside both spans; a is what a D without direction has;
    - drift: b is |D| / |W_a|;
    - effective_rank and stable_rank of D: exp of the entropy of its singular values' shares (Roy
      and Vetterli 2007), and |D|^2 / s_1(D)^2; a is the most there could be;
    - unchanged: share of entries with equal values in bf16, in float32, or within 1e-5 (part), as
      in arXiv 2505.11711; what bf16 hides is no sparsity (arXiv 2509.04259).

    Norms are Frobenius norms. Where D = 0 there are no energies and ranks.
    """
    found, labels = [], []
    places = _places(points.values())
    for place in track(places, label, len(places)):
        at = {name: _point(stored, place) for name, stored in points.items()}
        floors: dict[tuple[str, str], Columns] = {}
        for a, b in pairs:
            for control, columns in _measured_and_controls(at, a, b, place, settings, seed, floors):
                found.append(columns)
                labels.append((f"{a}--{b}", control, *place))
    lengths = [len(columns["index"]) for columns in found]
    rows = {
        label: np.repeat(np.array(values), lengths)
        for label, values in zip(PLACED, zip(*labels, strict=True), strict=True)
    }
    return pd.DataFrame(rows | {c: np.concatenate([x[c] for x in found]) for c in COLUMNS})


def _measured_and_controls(
    at: dict[str, Point],
    a: str,
    b: str,
    place: tuple[int, str],
    settings: Spectra,
    seed: int,
    floors: dict,
) -> Iterator[tuple[str, Columns]]:
    """Yield (control, columns) of the pair and each control; floors are made once for each `a`."""
    measure = settings.angle_fractions, settings.head_and_tail
    yield MEASURED, _measure(at[a], at[b], *measure)
    for control in settings.controls:
        if control in nulls.FLOORS:
            if (a, control) not in floors:
                other = nulls.floor(control, at[a])
                floors[a, control] = _measure(at[a], other, *measure)
            yield control, floors[a, control]
        else:
            name = f"{seed} {a}--{b} {place}"
            yield control, _measure(at[a], nulls.null(control, at[a], at[b], name), *measure)


def _places(all_stored: Iterable[Decomposed]) -> list[tuple[int, str]]:
    """Return (layer, role) of every matrix.

    Raises HealscopeError if they are not the same in all checkpoints.
    """
    first, *others = [{(m.layer, m.role) for m in stored} for stored in all_stored]
    for other in others:
        if odd := sorted(first ^ other):
            raise HealscopeError(
                f"the models do not match: only one of them has {odd[0][1]} of layer {odd[0][0]}; "
                "compare checkpoints of one model"
            )
    return [(m.layer, m.role) for m in next(iter(all_stored))]


def _point(stored: Decomposed, place: tuple[int, str]) -> Point:
    matrix = next(m for m in stored if (m.layer, m.role) == place)
    factors, certificate = stored.certified(matrix)
    return nulls.point(stored.weight(matrix), factors, certificate.route, stored.device)


def compare_matrix(
    old: Point, new: Point, fractions: Sequence[float], head_and_tail: float
) -> pd.DataFrame:
    """Return the rows of one matrix (COLUMNS).

    `head_and_tail` is the share of the rank that the head has, and the tail.
    """
    return pd.DataFrame(_measure(old, new, fractions, head_and_tail))


def _measure(old: Point, new: Point, fractions: Sequence[float], head_and_tail: float) -> Columns:
    if old.weight.shape != new.weight.shape:
        raise HealscopeError(
            f"a matrix has shape {tuple(old.weight.shape)} in one model and "
            f"{tuple(new.weight.shape)} in the other; compare checkpoints of one model"
        )
    delta = new.weight.double() - old.weight.double()
    parts = [
        *_values(old.factors.s, new.factors.s),
        *_turns("left", old.factors.u, new.factors.u, fractions),
        *_turns("right", old.factors.v, new.factors.v, fractions),
        ("drift", "", np.nan, 0, np.nan, _ratio(delta.norm(), old.weight.double().norm())),
        *_unchanged(old.weight, new.weight),
    ]
    if delta.any():
        energies = energy(old.factors.u, old.factors.v, delta, head_and_tail)
        parts += [("energy", part, np.nan, 0, *pair) for part, pair in energies.items()]
        parts += _ranks(delta)
    return _columns(parts)


def _columns(parts: list[tuple]) -> Columns:
    """Return the columns of parts, whose index, a and b are numbers or arrays of one length.

    Rows that divide by zero are left out.
    """
    lengths = [np.size(part[3]) for part in parts]
    columns = {}
    for i, name in enumerate(COLUMNS):
        pieces = [np.broadcast_to(part[i], n) for part, n in zip(parts, lengths, strict=True)]
        columns[name] = np.concatenate(pieces)
    kept = ~np.isnan(columns["b"])
    return {name: column[kept] for name, column in columns.items()}


def shown(count: int) -> np.ndarray:
    """Return the indices that are listed: all, or SHOWN of them with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int))


def _values(old: torch.Tensor, new: torch.Tensor) -> list[tuple]:
    change = (new - old).abs()
    index = shown(len(old))
    real = old > len(old) * EPS * old[0]
    relative = float((change[real] / old[real]).max()) if real.any() else 0.0
    return [
        ("sigma", "", np.nan, index, old.cpu().numpy()[index], new.cpu().numpy()[index]),
        ("sigma_change", "norm", np.nan, 0, np.nan, _ratio(change.norm(), old.norm())),
        ("sigma_change", "max", np.nan, 0, np.nan, _ratio(change.max(), old[0])),
        ("sigma_change", "max_relative", np.nan, 0, np.nan, relative),
    ]


def _turns(
    side: str, old: torch.Tensor, new: torch.Tensor, fractions: Sequence[float]
) -> list[tuple]:
    m, r = old.shape
    sizes = {fraction: leading(fraction, r) for fraction in fractions}
    angles = principal_angles(old, new, dict.fromkeys(sizes.values()))
    rows = []
    for fraction, k in sizes.items():
        if k in angles:
            index = shown(k)
            degrees = np.rad2deg(angles[k].cpu().numpy()[index])
            rows.append(("angle", side, fraction, index, np.nan, degrees))
            rows.append(("chordal", side, fraction, 0, chance_chordal(k, m), chordal(angles[k])))
    return rows


def energy(
    u: torch.Tensor, v: torch.Tensor, delta: torch.Tensor, head_and_tail: float
) -> dict[str, tuple[float, float]]:
    """Return part -> (share expected of a delta without direction, share of |delta|^2).

    Parts are those of `compare_points`; empty ones are left out, and the shares add up to 1.
    """
    m, n = delta.shape
    r = u.shape[1]
    total = float(delta.square().sum())
    squares = (u.T @ delta @ v).square()
    left_over = max(0.0, total - float(squares.sum()))
    on = squares.diagonal().clone()
    squares.diagonal().zero_()
    found = {}
    for x, rows in blocks(r, head_and_tail).items():
        size = rows.stop - rows.start
        found[f"diagonal-{x}"] = size, float(on[rows].sum())
        for y, columns in blocks(r, head_and_tail).items():
            entries = size * (columns.stop - columns.start) - (size if x == y else 0)
            found[f"{x}-{y}"] = entries, float(squares[rows, columns].sum())
    found["outside"] = m * n - r * r, left_over
    return {p: (entries / (m * n), e / total) for p, (entries, e) in found.items() if entries}


def blocks(rank: int, head_and_tail: float) -> dict[str, slice]:
    """Return the directions of head, bulk and tail."""
    head = leading(head_and_tail, rank)
    tail = max(head, rank - head)
    return {"head": slice(0, head), "bulk": slice(head, tail), "tail": slice(tail, rank)}


def _ranks(delta: torch.Tensor) -> list[tuple]:
    squares = torch.linalg.eigvalsh(
        delta @ delta.T if len(delta) <= delta.shape[1] else delta.T @ delta
    )
    squares[squares < max(delta.shape) * EPS * squares[-1]] = 0  # roundoff: far below any share
    s = squares.flip(0).sqrt()
    return [(name, "", np.nan, 0, len(s), rank) for name, rank in ranks(s).items()]


def _unchanged(old: torch.Tensor, new: torch.Tensor) -> list[tuple]:
    near = (new.double() - old.double()).abs() <= 1e-5
    same = {
        "bf16": old.to(torch.bfloat16) == new.to(torch.bfloat16),
        "float32": old.to(torch.float32) == new.to(torch.float32),
        "1e-5": near,
    }
    return [
        ("unchanged", part, np.nan, 0, np.nan, float(x.double().mean())) for part, x in same.items()
    ]


def _ratio(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return x / y; 0 if x is 0, and NaN if only y is."""
    return float(x / y) if x and y else np.nan if x else 0.0
