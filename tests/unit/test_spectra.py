"""Edits against their equations."""

import pytest
import torch

from healscope.spectra import edits
from healscope.spectra.factors import Factors, Matrix
from healscope.spectra.matrices import matrices

GATE = Matrix(0, "gate", "model.layers.0.mlp.gate_proj.weight")


def matrix(m, n, seed, values=None):
    """A matrix with known singular values and its factors."""
    g = torch.Generator().manual_seed(seed)
    r = min(m, n)
    u, _ = torch.linalg.qr(torch.randn(m, r, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(n, r, generator=g, dtype=torch.float64))
    s = torch.linspace(2, 1, r, dtype=torch.float64) if values is None else values
    return Factors(u, s, v)


@pytest.fixture
def pair():
    return {GATE: matrix(7, 5, seed=3)}, {GATE: matrix(7, 5, 4, torch.arange(5.0, 0, -1).double())}


def edited(kind, axis, amount, pair):
    target, parent = pair
    return edits.apply(edits.Edit(kind, axis, amount), target, parent)


def test_full_edits_follow_their_equations(pair):
    (t,), (p,) = (list(x.values()) for x in pair)
    expected = {
        "values": (t.u * p.s) @ t.v.T,
        "directions": (p.u * t.s) @ p.v.T,
        "swap": p.matrix(),
    }
    for kind, w in expected.items():
        for axis, amount in (("rank", 1.0), ("layers", 1)):
            assert torch.allclose(edited(kind, axis, amount, pair)[GATE.name], w.float(), atol=1e-6)


def test_a_partial_edit_takes_the_leading_directions(pair):
    (t,), (p,) = (list(x.values()) for x in pair)
    got = edited("swap", "rank", 0.4, pair)[GATE.name].double()
    head = (p.u[:, :2] * p.s[:2]) @ p.v[:, :2].T
    tail = (t.u[:, 2:] * t.s[2:]) @ t.v[:, 2:].T
    assert torch.allclose(got, head + tail, atol=1e-6)


def test_signs_of_singular_vectors_do_not_matter(pair):
    target, parent = pair
    f = parent[GATE]
    flip = torch.tensor([1, -1, 1, -1, -1.0]).double()
    flipped = {GATE: Factors(f.u * flip, f.s, f.v * flip)}
    for kind in ("values", "directions", "swap"):
        a = edited(kind, "rank", 0.6, (target, parent))[GATE.name]
        b = edited(kind, "rank", 0.6, (target, flipped))[GATE.name]
        assert torch.allclose(a, b, atol=1e-6)


def test_only_the_leading_layers_are_touched():
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(3)]
    found = matrices(dict.fromkeys(names, (4, 4)), ["up"])
    target = {m: matrix(4, 4, m.layer) for m in found}
    parent = {m: matrix(4, 4, 9) for m in found}
    changed = edits.apply(edits.Edit("swap", "layers", 2), target, parent)
    assert list(changed) == names[:2]
