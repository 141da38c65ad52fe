"""Finds the entries that an update changes, and whether two seeds change the same ones.

arXiv 2505.11711 finds that RL changes few entries of bf16 weights, and much the same ones whatever
the seed. That they are few is an effect of rounding small changes to bf16 (arXiv 2509.04259), so
the largest changes of each matrix are compared too; and the overlap is compared with chance.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd
import torch

from healscope.models.stored import Stored
from healscope.spectra import sources

LARGEST = 0.1
"""The share of a matrix's entries that count as its largest changes."""


def changed(old: torch.Tensor, new: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return kind -> mask of the entries that changed: in bf16, by more than 1e-5, or most."""
    size = (new.double() - old.double()).abs()
    few = max(1, round(LARGEST * size.numel()))
    most = torch.zeros(size.numel(), dtype=torch.bool)
    most[size.flatten().topk(few).indices] = True
    return {
        "bf16": old.to(torch.bfloat16) != new.to(torch.bfloat16),
        "1e-5": size > 1e-5,
        "largest": most.view_as(size) & (size > 0),
    }


def overlaps(
    seeds: Mapping[str, Mapping[str, Stored]],
    pairs: Sequence[tuple[str, str]],
    roles: list[str],
) -> pd.DataFrame:
    """Return a row for each pair (older, newer) of points, role (and all), kind and two seeds.

    `seeds`: seed -> name of a point -> its weights. Columns seed_a, seed_b, pair, role, changed
    (the kind), changed_a and changed_b (shares of entries), overlap (share of the first seed's that
    the second changes too), chance (the same for masks that lie anywhere in their matrix), and
    chance_in_lines: the same for independent masks that change each row and each column of a matrix
    as often as these do, to first order in how dense they are.
    """
    counts: dict[tuple, torch.Tensor] = {}
    first = next(iter(next(iter(seeds.values())).values()))
    for matrix in sources.matrices_of(first, roles):
        for pair in pairs:
            masks = {
                seed: changed(*(sources.read(points[name], matrix) for name in pair))
                for seed, points in seeds.items()
            }
            for a, b in combinations(masks, 2):
                for kind in masks[a]:
                    counted = _counts(masks[a][kind], masks[b][kind])
                    for role in (matrix.role, "all"):
                        key = a, b, "--".join(pair), role, kind
                        counts[key] = counts.get(key, 0) + counted
    names = "seed_a", "seed_b", "pair", "role", "changed"
    return pd.DataFrame(
        [dict(zip(names, key, strict=True)) | _shares(*row) for key, row in counts.items()]
    )


def _counts(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return counts: entries; changed by a, b and both; expected of both by each chance model."""
    a, b = a.double(), b.double()
    both = a.sum() * b.sum()
    rows, columns = (a.sum(i) @ b.sum(i) for i in (1, 0))
    counted = a.numel(), a.sum(), b.sum(), (a * b).sum(), both / a.numel()
    return torch.tensor([*counted, rows * columns / both if both else 0.0], dtype=torch.float64)


def _shares(entries, a, b, both, anywhere, in_lines) -> dict[str, float]:
    of_a = {"overlap": both, "chance": anywhere, "chance_in_lines": min(in_lines, a)}
    return {
        "changed_a": float(a / entries),
        "changed_b": float(b / entries),
        **{name: float(x / a) if a else float("nan") for name, x in of_a.items()},
    }
