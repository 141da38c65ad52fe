"""SVDs and angles against planted truths."""

import numpy as np
import pytest
import torch

from healscope.errors import HealscopeError
from healscope.spectra import compare, factors
from healscope.spectra.factors import Factors, Matrix

GATE = Matrix(0, "gate", "model.layers.0.mlp.gate_proj.weight")


def matrix(m, n, seed, values=None):
    """A matrix with known singular values and its factors."""
    g = torch.Generator().manual_seed(seed)
    r = min(m, n)
    u, _ = torch.linalg.qr(torch.randn(m, r, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(n, r, generator=g, dtype=torch.float64))
    s = torch.linspace(2, 1, r, dtype=torch.float64) if values is None else values
    return Factors(u, s, v)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9)])
def test_svd_finds_planted_values(shape):
    planted = matrix(*shape, seed=0)
    found = factors.decompose(planted.matrix().float())
    assert torch.allclose(found.s, planted.s, atol=1e-6)
    assert torch.allclose(found.matrix().float(), planted.matrix().float(), atol=1e-6)
    identity = torch.eye(min(shape), dtype=torch.float64)
    assert torch.allclose(found.u.T @ found.u, identity, atol=1e-12)
    assert torch.allclose(found.v.T @ found.v, identity, atol=1e-12)


def test_a_matrix_with_nan_is_refused():
    with pytest.raises(HealscopeError, match="NaN or infinity"):
        factors.decompose(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))


@pytest.mark.parametrize("degrees", [1e-7, 0.01, 30.0, 90.0])
def test_a_planted_rotation_is_measured(degrees):
    """Turning the first left vector towards one outside the subspace gives that principal angle."""
    old = matrix(8, 5, seed=1)
    angle = np.deg2rad(degrees)
    turned = old.u.clone()
    turned[:, 0] = np.cos(angle) * old.u[:, 0] + np.sin(angle) * old.u[:, 4]
    turned[:, 4] = np.cos(angle) * old.u[:, 4] - np.sin(angle) * old.u[:, 0]
    new = Factors(turned, old.s, old.v)
    rows = compare.compare({GATE: old}, {GATE: new}, [0.4])
    angles = rows[rows["quantity"] == "angle"].groupby("side")["b"].apply(list)
    assert angles["left"] == pytest.approx([0.0, degrees], rel=1e-5, abs=1e-9)
    assert angles["right"] == pytest.approx([0.0, 0.0], abs=1e-9)
    sigma = rows[rows["quantity"] == "sigma"]
    assert np.allclose(sigma["a"], sigma["b"])


def test_drift_is_the_relative_frobenius_change():
    old = matrix(5, 5, seed=2)
    new = Factors(old.u, old.s * 1.1, old.v)
    rows = compare.compare({GATE: old}, {GATE: new}, [1.0])
    assert rows.loc[rows["quantity"] == "drift", "b"].item() == pytest.approx(0.1)


def test_factors_survive_the_disk_and_damage_is_named(tmp_path, model_and_tokenizer):
    model, _ = model_and_tokenizer
    weights = model.state_dict()
    manifest = tmp_path / "factors.json"
    factors.write(manifest, weights, ["q", "down"], {})
    found = factors.read(manifest)
    assert [(m.layer, m.role) for m in found] == [(0, "q"), (0, "down"), (1, "q"), (1, "down")]
    for m, f in found.items():
        assert torch.allclose(f.matrix().float(), weights[m.name], atol=1e-6)
    file = tmp_path / "layer-1.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(HealscopeError, match=r"layer-1\.safetensors is missing or changed"):
        factors.read(manifest)


def test_an_absent_role_is_named():
    with pytest.raises(HealscopeError, match="no matrix of role"):
        factors.matrices(["model.layers.0.self_attn.qkv_proj.weight"], ["q"])
