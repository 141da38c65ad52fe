"""SVDs against float64 LAPACK and planted factors; certificates that can fail."""

from dataclasses import replace

import pytest
import torch

from healscope.errors import HealscopeError
from healscope.spectra import decompose as module
from healscope.spectra.decompose import Factors, certify, decompose

ROUTES = ("lapack", "gram")


def orthonormal(m, r, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(m, r, generator=g, dtype=torch.float64)).Q


def planted(m, n, values, seed=0):
    """A float64 matrix with these singular values."""
    r = len(values)
    return (orthonormal(m, r, seed) * values) @ orthonormal(n, r, seed + 1).T


def gaussian(m, n, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(m, n, generator=g, dtype=torch.float64).to(dtype)


def agrees_with_lapack(weight, factors):
    """Values to roundoff of the largest, product to roundoff, bases orthonormal."""
    w = weight.double()
    s = torch.linalg.svdvals(w)
    scale, eps = max(float(s[0]), 1e-300), 1e-13 * max(w.shape)
    assert torch.allclose(factors.s / scale, s / scale, rtol=0, atol=eps)
    assert torch.allclose(factors.matrix() / scale, w / scale, rtol=0, atol=eps)
    assert (factors.s.diff() <= 0).all()
    for basis in (factors.u, factors.v):
        assert torch.allclose(basis.T @ basis, torch.eye(len(s)).double(), rtol=0, atol=eps)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("shape", [(96, 96), (150, 40), (40, 150), (1, 7), (7, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_both_routes_agree_with_lapack(route, shape, dtype):
    weight = gaussian(*shape, dtype)
    factors, certificate = decompose(weight, route=route)
    assert certificate.holds
    assert certificate.route == route
    assert factors.u.shape == (shape[0], min(shape))
    assert factors.v.shape == (shape[1], min(shape))
    agrees_with_lapack(weight, factors)


HARD = {
    "condition 1e4": torch.logspace(0, -4, 100),
    "condition 1e9": torch.logspace(0, -9, 100),
    "condition 1e15": torch.logspace(0, -15, 100),
    "two clusters": torch.cat([torch.full((60,), 3.0), torch.full((40,), 1e-3)]),
    "one value": torch.ones(100),
    "rank 1": torch.cat([torch.ones(1), torch.zeros(99)]),
    "rank 70": torch.cat([torch.linspace(2, 1, 70), torch.zeros(30)]),
    "a spike": torch.cat([torch.full((1,), 1e7), torch.linspace(2, 1, 99)]),
    "a small tail": torch.cat([torch.linspace(2, 1, 80), torch.logspace(-2, -13, 20)]),
    "zero": torch.zeros(100),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("shape", [(100, 100), (230, 100), (100, 230)])
def test_hard_spectra(route, name, shape):
    weight = planted(*shape, HARD[name].double())
    factors, certificate = decompose(weight, route=route)
    assert certificate.holds
    agrees_with_lapack(weight, factors)


def test_small_values_of_a_tail_are_right_to_roundoff_of_the_largest():
    """W'W alone would lose all that is below 1e-8 of the largest."""
    values = HARD["a small tail"].double().sort(descending=True).values
    factors, certificate = decompose(planted(150, 100, values), route="gram")
    assert certificate.route == "gram"
    assert torch.allclose(factors.s, values, rtol=0, atol=1e-14)


def test_lapack_takes_over_where_most_of_a_spectrum_is_tiny():
    weight = planted(80, 80, torch.logspace(0, -15, 80).double())
    _, certificate = decompose(weight, route="gram")
    assert certificate.route == "lapack"


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e307])
@pytest.mark.parametrize("route", ROUTES)
def test_squares_neither_overflow_nor_vanish(scale, route):
    weight = gaussian(30, 20)
    weight = weight / weight.abs().max() * scale
    factors, certificate = decompose(weight, route=route)
    assert certificate.holds
    expected = torch.linalg.svdvals(weight / scale)
    assert torch.allclose(factors.s / scale, expected, rtol=0, atol=1e-13)


def test_the_faster_route_is_chosen_by_size():
    side = module.GRAM_FROM
    assert module.faster(torch.empty(side, side + 1)) == "gram"
    assert module.faster(torch.empty(side - 1, 4 * side)) == "lapack"
    assert decompose(gaussian(16, 40))[1].route == "lapack"


def corrupted(factors, name, by=1e-9):
    tensor = getattr(factors, name).clone()
    tensor.view(-1)[3] += by
    return replace(factors, **{name: tensor})


@pytest.mark.parametrize("name", ["u", "s", "v"])
def test_the_certificate_of_a_corrupted_result_fails(name):
    weight = gaussian(60, 30)
    factors, certificate = decompose(weight)
    assert certificate.holds
    damaged = certify(weight, corrupted(factors, name), "lapack")
    assert not damaged.holds
    missing = certify(weight, corrupted(factors, name, float("nan")), "lapack")
    assert not missing.holds


def test_the_certificate_sees_what_each_of_its_numbers_is_about():
    weight = gaussian(60, 30)
    f = decompose(weight)[0]
    assert certify(weight, corrupted(f, "u"), "x").left == pytest.approx(1e-9, rel=1)
    assert certify(weight, corrupted(f, "v"), "x").right == pytest.approx(1e-9, rel=1)
    moved = certify(weight, Factors(f.u, f.s * (1 + 1e-9), f.v), "x")
    assert moved.residual == pytest.approx(1e-9 * float(f.s.norm() / f.s[0]), rel=1e-3)
    assert moved.left < moved.tolerance


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-2])
def test_the_bound_on_singular_values_holds(size):
    """Also where factors are bad: then the bound is what says so."""
    weight = gaussian(60, 40)
    f = decompose(weight)[0]
    g = torch.Generator().manual_seed(5)
    damaged = Factors(
        *(x + size * torch.randn(x.shape, generator=g).double() for x in (f.u, f.s, f.v))
    )
    certificate = certify(weight, damaged, "x")
    error = (damaged.s - f.s).abs().max() / damaged.s[0]
    assert error <= certificate.sigma_error
    assert certificate.sigma_error < 1e3 * size


def test_what_no_route_gets_right_is_refused(monkeypatch):
    monkeypatch.setattr(module, "SLACK", 0.0)
    with pytest.raises(HealscopeError, match=r"no SVD of a \(20, 20\) matrix is accurate enough"):
        decompose(gaussian(20, 20))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(bad):
    weight = torch.ones(4, 3)
    weight[2, 1] = bad
    with pytest.raises(HealscopeError, match="NaN or infinity"):
        decompose(weight)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3)])
def test_only_matrices_are_decomposed(shape):
    with pytest.raises(HealscopeError, match="a matrix was expected"):
        decompose(torch.ones(shape))
