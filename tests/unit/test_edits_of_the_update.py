"""Edits of the update itself against the formulas of their papers, on planted updates."""

import numpy as np
import pytest
import torch

from healscope.config import Edits
from healscope.edit_names import parse
from healscope.errors import HealscopeError
from healscope.spectra import edits
from healscope.spectra.factors import Factors, Matrix
from healscope.spectra.sweep import Pair, Sweep

LAYERS = 5


def gaussian(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def pair(shape=(8, 10), size=0.1):
    """Five layers of one matrix each, and embeddings; the update is Gaussian."""
    matrices = [Matrix(-1, "embeddings", "wte"), *(Matrix(i, "q", f"{i}.q") for i in range(LAYERS))]
    parent = {m: gaussian(*shape, seed=i).float() for i, m in enumerate(matrices)}
    target = {
        m: w + size * gaussian(*shape, seed=50 + i).float()
        for i, (m, w) in enumerate(parent.items())
    }

    def factors(weights):
        found = {}
        for m, w in weights.items():
            u, s, vh = torch.linalg.svd(w.double(), full_matrices=False)
            found[m] = Factors(u, s, vh.T)
        return found

    stored = ({m.name: w for m, w in weights.items()} for weights in (target, parent))
    return Pair(*stored, factors(target), factors(parent))


def update(of, name):
    """name -> what is left of the update W_t - W_p after the edit, and the update."""
    (variant,) = Sweep(of).variants([name])
    found = {n: (w - of.parent[n]).double() for n, w in variant.weights()}
    return found, {n: (of.target[n] - of.parent[n]).double() for n in found}


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_ramp_scales_the_update_of_each_layer_as_lines_does(strength):
    """alpha + beta l / (L - 1) with alpha = 1 - strength; alpha outside of the layers."""
    left, whole = update(pair(), "ramp" if strength == 1 else f"ramp-strength-{strength}")
    alpha, beta = 1 - strength, strength
    assert torch.allclose(left["wte"], alpha * whole["wte"], atol=1e-6)
    for layer in range(LAYERS):
        want = (alpha + beta * layer / (LAYERS - 1)) * whole[f"{layer}.q"]
        assert torch.allclose(left[f"{layer}.q"], want, atol=1e-6)


def test_trimming_keeps_the_largest_entries_as_they_are():
    left, whole = update(pair(), "trim-tail-0.8")
    for n, delta in whole.items():
        kept = left[n].abs() > 1e-7
        assert int(kept.sum()) == 16  # a fifth of 80
        assert torch.allclose(left[n][kept], delta[kept], atol=1e-6)
        assert delta[kept].abs().min() >= delta[~kept].abs().max()
    left, whole = update(pair(), "trim-rank-0.2")
    for n, delta in whole.items():
        gone = left[n].abs() < 1e-7
        assert int(gone.sum()) == 16
        assert delta[gone].abs().min() >= delta[~gone].abs().max()


def test_dropping_divides_what_stays_by_its_share():
    left, whole = update(pair((30, 40)), "drop-rank-0.75")
    for n, delta in whole.items():
        kept = left[n].abs() > 1e-7
        assert int(kept.sum()) == 300
        assert torch.allclose(left[n][kept], 4 * delta[kept], atol=1e-5)


def test_dropping_keeps_the_mean_update_over_draws():
    delta = gaussian(6, 7)
    total = torch.zeros_like(delta)
    draws = 1500
    for seed in range(draws):
        inputs = edits.Inputs(
            slice(0, 21), -delta, None, generator=lambda s=seed: torch.Generator().manual_seed(s)
        )
        total += delta + edits.DENSE["drop"](inputs)
    error = (total / draws - delta).abs() / delta.abs()
    assert error.max() < 6 / draws**0.5  # the SD of an entry kept half of the time is its size


def test_a_larger_drop_drops_the_same_entries_and_more():
    of = pair((30, 40))
    gone = [
        {n: w.abs() < 1e-7 for n, w in update(of, f"drop-rank-{p}")[0].items()} for p in (0.3, 0.6)
    ]
    for n, few in gone[0].items():
        assert (few & gone[1][n]).sum() == few.sum() == 360
    assert not torch.equal(gone[0]["0.q"], gone[0]["1.q"])


@pytest.mark.parametrize("shape", [(8, 10), (10, 8), (9, 9)])
def test_truncating_leaves_the_leading_directions_of_the_update(shape):
    left, whole = update(pair(shape), "truncate-tail-0.5")
    for n, delta in whole.items():
        u, s, vh = torch.linalg.svd(delta, full_matrices=False)
        kept = len(s) - max(1, round(0.5 * len(s)))
        assert torch.allclose(left[n], (u[:, :kept] * s[:kept]) @ vh[:kept], atol=1e-6)


def test_the_noise_threshold_is_the_published_one():
    """Gavish and Donoho: 2.858 for square matrices, and their cubic elsewhere, within 0.02."""
    assert edits.noise_threshold(1.0) == pytest.approx(2.858, abs=5e-4)
    for beta in np.linspace(0.05, 1, 20):
        cubic = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
        assert edits.noise_threshold(float(beta)) == pytest.approx(cubic, abs=0.02)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (70, 70)])
def test_the_threshold_keeps_a_planted_signal_and_undoes_noise(shape):
    m, n = shape
    u, v = (torch.linalg.qr(gaussian(side, 3, seed=side))[0] for side in shape)
    signal = (u * torch.tensor([9.0, 7.0, 5.0]).double()) @ v.T
    noise = gaussian(m, n) / max(m, n) ** 0.5
    delta = signal + noise
    left = delta + edits.DENSE["threshold"](edits.Inputs(slice(0, min(m, n)), -delta, None))
    s = torch.linalg.svdvals(left)
    assert (s > 1e-6).sum() == 3  # the three planted ones, with no noise beside them
    assert torch.allclose(s[:3], torch.linalg.svdvals(delta)[:3])
    alone = noise + edits.DENSE["threshold"](edits.Inputs(slice(0, min(m, n)), -noise, None))
    assert alone.norm() < 1e-9 * noise.norm()  # noise has nothing above the threshold


def test_an_intruder_is_scaled_down_and_the_rest_stays():
    """A planted direction that the parent does not have, beside a plain update."""
    of = pair((12, 12), size=1e-3)
    m = Matrix(0, "q", "0.q")
    f = of.parent_factors[m]
    tail = f.s.argsort()[:6]  # a mix of many of the parent's directions is like none of them
    u = f.u[:, tail].mean(1) / f.u[:, tail].mean(1).norm()
    v = f.v[:, tail].mean(1) / f.v[:, tail].mean(1).norm()
    of.target[m.name] = of.target[m.name] + (20 * torch.outer(u, v)).float()
    left, right, vh = torch.linalg.svd(of.target[m.name].double())
    of.target_factors[m] = Factors(left, right, vh.T)
    (variant,) = Sweep(of).variants(["intruders-k-4-strength-0.25"])
    new = dict(variant.weights())
    change = (new[m.name] - of.target[m.name]).double()
    want = -0.25 * right[0] * torch.outer(left[:, 0], vh[0])
    assert torch.allclose(change, want, atol=1e-5)
    for name, w in new.items():
        if name != m.name:
            assert torch.equal(w, of.target[name])  # a small update makes no intruders


def test_edits_of_the_update_need_no_factors():
    of = pair()
    blind = Pair(of.target, of.parent, dict.fromkeys(of.target_factors), {})
    for name in ("ramp", "trim-tail-0.8", "drop-rank-0.9", "truncate-tail-0.5", "threshold"):
        sweep = Sweep(blind)
        sweep.with_angles = set()
        (variant,) = sweep.variants([name])
        seen = {n: w.clone() for n, w in variant.weights()}
        (other,) = Sweep(of).variants([name])
        assert all(torch.equal(w, seen[n]) for n, w in other.weights())


def test_further_edits_of_a_study_have_the_controls_they_ask_for():
    asked = Edits(
        kinds=["swap"], axes={"strength": [0.5]}, controls={}, also={
            "threshold": ["interpolation", "noise"], "trim-tail-0.8": []
        },
    )  # fmt: skip
    assert asked.names() == [
        "swap-strength-0.5", "threshold", "threshold-as-interpolation", "threshold-as-noise",
        "trim-tail-0.8",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="ramp-rank-0.5.*no parts for rank"):
        Edits(also={"ramp-rank-0.5": []})
    with pytest.raises(ValueError, match="threshold has no parts to choose along rank"):
        Edits(kinds=["threshold"], axes={"rank": [0.5]}, controls={})
    assert parse("threshold").terms[0].everything


def test_as_long_a_step_straight_back_is_one_for_all_matrices():
    """A ramp is a multiple of the update in each matrix: a control scaled matrix by matrix would be
    the ramp itself."""
    with pytest.raises(HealscopeError, match="'interpolation' would be the edit itself"):
        parse("ramp-as-interpolation")
    of = pair()
    left, whole = update(of, "ramp-as-straight")
    shares = {n: float((left[n] * d).sum() / d.square().sum()) for n, d in whole.items()}
    gone = [1 - share for share in shares.values()]
    assert max(gone) - min(gone) < 1e-5
    ramp, _ = update(of, "ramp")
    far = [sum(float((whole[n] - x[n]).square().sum()) for n in whole) for x in (left, ramp)]
    assert far[0] == pytest.approx(far[1], rel=1e-5)
    assert any((left[n] - ramp[n]).norm() > 0.1 * whole[n].norm() for n in whole)
