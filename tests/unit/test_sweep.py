"""Edits, controls and sweeps against their equations, on matrices with planted factors."""

import math

import numpy as np
import pytest
import torch

from healscope.edit_names import names_along, parse
from healscope.errors import HealscopeError
from healscope.spectra import controls, edits
from healscope.spectra.factors import Factors, Matrix
from healscope.spectra.sweep import Pair, Sweep

ROLES = {"q": (6, 6), "k": (4, 6), "down": (6, 9)}
LAYERS = 3


def orthonormal(m, n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(m, n, generator=g, dtype=torch.float64))[0]


def factors(shape, seed):
    m, n = shape
    r = min(m, n)
    s = torch.linspace(3, 1, r, dtype=torch.float64) + 0.1 * seed
    return Factors(orthonormal(m, r, seed), s, orthonormal(n, r, seed + 1000))


def near(f, seed, size=0.2):
    """Factors of the same matrix turned and stretched a little."""
    g = torch.Generator().manual_seed(seed)
    w = f.matrix()
    w = w + size * torch.randn(w.shape, generator=g, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(w.float().double(), full_matrices=False)
    return Factors(u, s, vh.T)


@pytest.fixture
def pair():
    """Three layers of three roles; weights are float32 as stored, factors are theirs."""
    matrices = [
        Matrix(layer, role, f"layers.{layer}.{role}") for layer in range(LAYERS) for role in ROLES
    ]
    target = {m: near(factors(ROLES[m.role], i), i) for i, m in enumerate(matrices)}
    parent = {m: near(f, 100 + i) for i, (m, f) in enumerate(target.items())}

    def weights(found):
        return {m.name: f.matrix().float() for m, f in found.items()}

    return Pair(weights(target), weights(parent), target, parent)


def made(pair, name, sweep=None):
    """name -> edited tensor, and what was measured."""
    (variant,) = (sweep or Sweep(pair)).variants([name])
    return {n: w.clone() for n, w in variant.weights()}, variant.measured


def expected(kind, t, p, start, stop):
    """The edited matrix, term by term as the equations have it."""
    i, rest = slice(start, stop), [*range(start), *range(stop, len(t.s))]
    kept = (t.u[:, rest] * t.s[rest]) @ t.v[:, rest].T
    if kind == "values":
        return kept + (t.u[:, i] * p.s[i]) @ t.v[:, i].T
    if kind == "directions":
        return kept + (p.u[:, i] * t.s[i]) @ p.v[:, i].T
    return kept + (p.u[:, i] * p.s[i]) @ p.v[:, i].T


@pytest.mark.parametrize("kind", edits.ADDITIVE)
@pytest.mark.parametrize("selector", ["rank-0.5", "tail-0.5", "band-0.25..0.75", "k-2", "tail_k-2"])
def test_partial_edits_follow_their_equations(pair, kind, selector):
    name = f"{kind}-{selector}"
    got, _ = made(pair, name)
    assert len(got) == LAYERS * len(ROLES)
    for m, t in pair.target_factors.items():
        span = parse(name).terms[0].span(m.layer, m.role, len(t.s), LAYERS)
        want = expected(kind, t, pair.parent_factors[m], *span)
        assert torch.allclose(got[m.name].double(), want, atol=1e-6)
