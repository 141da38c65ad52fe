"""Edits, controls and sweeps against their equations, on matrices with planted factors."""

import math

import numpy as np
import pytest
import torch

from healscope.edit_names import names_along, parse
from healscope.errors import HealscopeError
from healscope.spectra import controls, edits
from healscope.spectra.angles import principal_angles
from healscope.spectra.factors import Factors, Matrix
from healscope.spectra.sweep import Pair, Sweep

ROLES = {"q": (6, 6), "k": (4, 6), "down": (6, 9)}
LAYERS = 3


def orthonormal(m, n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(m, n, generator=g, dtype=torch.float64))[0]


def angles_between(x, y):
    k = x.shape[1]
    return principal_angles(x, y, [k])[k]


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


def test_layers_and_roles_choose_matrices(pair):
    got, _ = made(pair, "swap-layers-2-roles-q.down")
    assert list(got) == [f"layers.{i}.{r}" for i in (0, 1) for r in ("q", "down")]
    got, _ = made(pair, "directions-last-1")
    assert list(got) == [f"layers.2.{r}" for r in ROLES]


def test_swapping_everything_is_the_parent_to_the_bit(pair):
    for name in ("swap", "swap-rank-1", "swap-layers-3", "swap-k-99"):
        got, measured = made(pair, name)
        assert all(torch.equal(got[n], pair.parent[n]) for n in pair.parent)
        assert measured == {"from_target": pytest.approx(1), "from_parent": 0}


def test_strength_and_sums_are_linear(pair):
    def update(name):
        return {n: w - pair.target[n] for n, w in made(pair, name)[0].items()}

    whole, half = update("directions-rank-0.5"), update("directions-rank-0.5-strength-0.5")
    other = update("values-tail-0.5")
    both = update("directions-rank-0.5-strength-0.5+values-tail-0.5")
    for n in whole:
        assert torch.allclose(half[n], whole[n] / 2, atol=1e-6)
        assert torch.allclose(both[n], half[n] + other[n], atol=1e-6)


def test_a_sum_of_two_ranges_is_the_whole(pair):
    got, _ = made(pair, "directions-rank-0.5+directions-band-0.5..1")
    want, _ = made(pair, "directions-rank-1")
    assert all(torch.allclose(got[n], want[n], atol=1e-6) for n in want)


def test_signs_of_singular_vectors_do_not_matter(pair):
    def flipped(found):
        return {
            m: Factors(f.u * s, f.s, f.v * s)
            for m, f in found.items()
            for s in [torch.tensor([1.0, -1.0] * 5)[: len(f.s)].double()]
        }

    other = Pair(pair.target, pair.parent, pair.target_factors, flipped(pair.parent_factors))
    for kind in ("values", "directions", "orthonormal", "swap"):
        a, b = made(pair, f"{kind}-rank-0.5")[0], made(other, f"{kind}-rank-0.5")[0]
        assert all(torch.allclose(a[n], b[n], atol=1e-5) for n in a)


def test_the_orthonormal_edit_keeps_the_values_and_the_splice_does_not(pair):
    got, _ = made(pair, "orthonormal-rank-0.5")
    spliced, _ = made(pair, "directions-rank-0.5")
    for m, t in pair.target_factors.items():
        assert torch.allclose(torch.linalg.svdvals(got[m.name].double()), t.s, atol=1e-5)
    off = [
        (torch.linalg.svdvals(spliced[m.name].double()) - t.s).abs().max()
        for m, t in pair.target_factors.items()
    ]
    assert min(off) > 1e-3


def test_the_nearest_orthonormal_basis_is_the_nearest():
    basis = orthonormal(7, 4, 0) + 0.3 * orthonormal(7, 4, 1)
    best = edits.nearest_orthonormal(basis)
    assert torch.allclose(best.T @ best, torch.eye(4).double(), atol=1e-12)
    for seed in range(50):
        turn = torch.linalg.matrix_exp(0.05 * (lambda a: a - a.T)(orthonormal(7, 7, seed + 2)))
        assert (turn @ best - basis).norm() > (best - basis).norm()


def test_a_whole_orthonormal_edit_is_the_published_one(pair):
    variants = Sweep(pair).variants(["directions-rank-1", "orthonormal-layers-3", "swap-rank-0.5"])
    assert [(v.name, v.also) for v in variants] == [
        ("directions-rank-1", ("orthonormal-layers-3",)), ("swap-rank-0.5", ())
    ]  # fmt: skip


def test_controls_with_draws_of_their_own_are_never_taken_for_one_another(pair):
    names = ["directions-layers-1-as-interpolation", "orthonormal-layers-1-as-interpolation"]
    (variant,) = Sweep(pair).variants(names)
    assert variant.also == (names[1],)
    names = ["values-rank-1-as-noise", "values-layers-3-as-noise"]
    one, two = Sweep(pair).variants(names)
    assert not any(
        torch.equal(a, b) for (_, a), (_, b) in zip(one.weights(), two.weights(), strict=True)
    )


GRID = names_along(
    ["values", "directions", "orthonormal", "swap"],
    {"rank": [0.2, 0.5, 1.0], "band": ["0.2..0.6"], "layers": [1, 3], "strength": [0.5]},
    {"directions": ["interpolation", "noise", "rotation", "shuffle"]},
    {"rank": [0.5], "layers": [1]},
)


@pytest.mark.parametrize("order", ["as listed", "backwards", "at random"])
def test_a_sweep_gives_in_any_order_what_each_edit_gives_alone(pair, order):
    names = list(GRID)
    if order == "backwards":
        names.reverse()
    elif order == "at random":
        names = [names[i] for i in np.random.default_rng(0).permutation(len(names))]
    sweep = Sweep(pair)
    for name in names:
        got, measured = made(pair, name, sweep)
        want, alone = made(pair, name)
        assert list(got) == list(want)
        for n in want:
            assert torch.allclose(got[n], want[n], atol=2e-6), name
        assert measured == pytest.approx(alone, abs=1e-5)


def test_a_sweep_reads_factors_only_where_something_changes(pair):
    """From one point to the next, what lies between; swaps of whole matrices need no factors."""

    class Watched(dict):
        def __getitem__(self, matrix):
            read.append(matrix)
            return super().__getitem__(matrix)

    watched = Pair(pair.target, pair.parent, Watched(pair.target_factors), pair.parent_factors)
    read = []
    sweep = Sweep(watched)
    made(watched, "swap-layers-2", sweep)
    assert read == []
    made(watched, "directions-rank-0.5", sweep)
    assert len(read) == LAYERS * len(ROLES)
    made(watched, "directions-rank-0.5-as-noise", sweep)
    made(watched, "directions-rank-0.5-as-interpolation", sweep)
    made(watched, "directions-rank-0.5-as-shuffle", sweep)
    assert len(read) == LAYERS * len(ROLES)


def test_distances_are_those_of_the_weights(pair):
    def norm(a, b):
        return math.sqrt(sum(float((a[n] - b[n]).double().square().sum()) for n in b))

    gap = norm(pair.target, pair.parent)
    for name in GRID:
        got, measured = made(pair, name)
        now = {**pair.target, **got}
        assert measured["from_target"] == pytest.approx(norm(now, pair.target) / gap, rel=1e-4)
        assert measured["from_parent"] == pytest.approx(norm(now, pair.parent) / gap, abs=1e-4)


def test_two_equal_checkpoints_are_no_distance_apart(pair):
    same = Pair(pair.target, pair.target, pair.target_factors, pair.target_factors)
    got, measured = made(same, "directions-rank-0.5")
    assert all(torch.allclose(got[n], pair.target[n], atol=1e-6) for n in got)
    assert math.isnan(measured["from_target"])


@pytest.mark.parametrize("edit", ["directions-rank-0.5", "values-rank-1", "swap-layers-1"])
def test_controls_go_as_far_as_the_edit_in_every_matrix(pair, edit):
    own, _ = made(pair, edit)
    updates = {n: w - pair.target[n] for n, w in own.items()}
    for control in ("interpolation", "noise", "shuffle"):
        got, _ = made(pair, f"{edit}-as-{control}")
        assert list(got) == list(own)
        for n, update in updates.items():
            assert (got[n] - pair.target[n]).norm() == pytest.approx(float(update.norm()), rel=1e-4)


def test_interpolation_goes_towards_the_parent(pair):
    got, _ = made(pair, "directions-rank-0.5-as-interpolation")
    for n, w in got.items():
        cosine = torch.cosine_similarity(
            (w - pair.target[n]).flatten(), (pair.parent[n] - pair.target[n]).flatten(), 0
        )
        assert float(cosine) == pytest.approx(1, abs=1e-5)


def test_shuffle_lends_the_next_layers_update(pair):
    everywhere, _ = made(pair, "directions-rank-0.5")
    updates = {n: w - pair.target[n] for n, w in everywhere.items()}
    for edit, layers in (("directions-rank-0.5", (0, 1, 2)),
                         ("directions-rank-0.5-layers-1", (0,))):  # fmt: skip
        got, _ = made(pair, f"{edit}-as-shuffle")
        assert list(got) == [f"layers.{i}.{r}" for i in layers for r in ROLES]
        for i in layers:
            for role in ROLES:
                n, lender = f"layers.{i}.{role}", f"layers.{(i + 1) % LAYERS}.{role}"
                lent = controls.scaled(updates[lender], updates[n].norm())
                assert torch.allclose(got[n] - pair.target[n], lent, atol=1e-5)


def test_noise_is_named_by_stream_edit_and_matrix(pair):
    def drawn(stream, name="values-rank-1-as-noise"):
        (variant,) = Sweep(pair, stream).variants([name])
        return {n: w - pair.target[n] for n, w in variant.weights()}

    one, again, other = drawn("a"), drawn("a"), drawn("b")
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert not any(torch.equal(one[n], other[n]) for n in one)
    cosine = torch.cosine_similarity(one["layers.0.q"].flatten(), one["layers.1.q"].flatten(), 0)
    assert abs(float(cosine)) < 0.9


ANGLES = [1e-10, 1e-5, 0.01, 0.5, math.radians(80)]


@pytest.mark.parametrize("rows", [12, 7])
def test_planted_angles_are_measured_and_made(rows):
    """Five planted angles in 12 dimensions; in 7, where only two directions lie outside, two."""
    planted = torch.tensor(ANGLES[-2:] if rows == 7 else ANGLES, dtype=torch.float64)
    basis, outside = orthonormal(rows, rows, 5).split([5, rows - 5], 1)
    n = len(planted)
    turned = torch.cat(
        [basis[:, : 5 - n],
         basis[:, 5 - n :] * planted.cos() + outside[:, :n] * planted.sin()], 1
    ) @ orthonormal(5, 5, 6)  # fmt: skip
    found = angles_between(basis, turned)
    want = torch.cat([torch.zeros(5 - n).double(), planted])
    assert torch.allclose(found, want, rtol=1e-5, atol=1e-15)
    generator = torch.Generator().manual_seed(0)
    made_here = controls.rotate(basis, basis, found, generator)
    assert torch.allclose(angles_between(basis, made_here), want, rtol=1e-4, atol=1e-14)


def test_random_rotations_are_proper():
    basis = orthonormal(9, 3, 1)
    angles = torch.tensor([0.1, 0.7, 1.2]).double()
    one, two = (
        controls.rotate(torch.eye(9).double(), basis, angles, torch.Generator().manual_seed(s))
        for s in (1, 2)
    )
    for r in (one, two):
        assert torch.allclose(r.T @ r, torch.eye(9).double(), atol=1e-12)
        assert float(torch.linalg.det(r)) == pytest.approx(1)
        turned = torch.linalg.eigvals(r).angle().abs().sort().values
        assert torch.allclose(turned[3:].unflatten(0, (3, 2)).mean(1), angles, atol=1e-9)
    assert not torch.allclose(one, two, atol=0.1)


def test_the_rotation_control_has_the_edits_angles_and_the_targets_values(pair):
    got, _ = made(pair, "directions-rank-0.5-as-rotation")
    for m, t in pair.target_factors.items():
        u, s, vh = torch.linalg.svd(got[m.name].double(), full_matrices=False)
        assert torch.allclose(s, t.s, atol=1e-5)
        k, p = round(0.5 * len(s)), pair.parent_factors[m]
        for old, new, now in ((t.u, p.u, u), (t.v, p.v, vh.T)):
            want = angles_between(old[:, :k], new[:, :k])
            assert torch.allclose(angles_between(old[:, :k], now[:, :k]), want, atol=1e-3)


def test_a_whole_space_has_no_angles_to_turn_by(pair):
    got, _ = made(pair, "directions-roles-q-as-rotation")
    assert all(torch.allclose(w, pair.target[n], atol=1e-6) for n, w in got.items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swap-layer-3", "selects nothing of a model with 3 layers"),
        ("swap-roles-up", "no matrix of role up is decomposed; there are down, k, q"),
    ],
)
def test_an_edit_that_this_model_has_not_is_named(pair, name, expected):
    with pytest.raises(HealscopeError, match=expected):
        Sweep(pair).variants([name])


def test_shuffling_needs_another_layer(pair):
    def first(found):
        return {m: f for m, f in found.items() if m.layer == 0}

    one = Pair(pair.target, pair.parent, first(pair.target_factors), first(pair.parent_factors))
    with pytest.raises(HealscopeError, match="needs two layers"):
        Sweep(one).variants(["values-rank-1-as-shuffle"])


def test_a_fused_projection_is_edited_where_its_parts_lie(pair):
    """q and k stacked in one tensor: the edit of q leaves k's rows alone, and gives what it gives
    where they are apart."""
    rows = {"q": (0, 6), "k": (6, 10), "down": None}

    def fused(weights):
        found = dict(weights)
        for i in range(LAYERS):
            stacked = [found.pop(f"layers.{i}.{role}") for role in ("q", "k")]
            found[f"layers.{i}.qk"] = torch.cat(stacked)
        return found

    def moved(factors):
        return {
            Matrix(m.layer, m.role, m.name if m.role == "down" else f"layers.{m.layer}.qk",
                   rows[m.role]): f
            for m, f in factors.items()
        }  # fmt: skip

    other = Pair(
        fused(pair.target), fused(pair.parent),
        moved(pair.target_factors), moved(pair.parent_factors),
    )  # fmt: skip
    names = (
        "directions-rank-0.5",
        "swap-layers-1",
        "orthonormal-rank-0.5-roles-q",
        "directions-rank-0.5-as-shuffle",
        "values-rank-1-roles-k-as-interpolation",
    )
    for name in names:
        apart, far = made(pair, name)
        together, alike = made(other, name)
        want = fused({**pair.target, **apart})
        got = {**other.target, **together}
        assert all(torch.allclose(got[n], want[n], atol=1e-6) for n in want)
        assert alike == pytest.approx(far, rel=1e-6)
