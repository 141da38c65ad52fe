"""Edits, controls and sweeps against their equations, on matrices with planted factors."""

import math

import numpy as np
import pytest
import torch

from healscope.edit_kinds import CONTROLS, KINDS, NORM
from healscope.edit_names import names_along, parse
from healscope.errors import HealscopeError
from healscope.spectra import controls, edits
from healscope.spectra.angles import principal_angles
from healscope.spectra.factors import Factors, Matrix
from healscope.spectra.sweep import Pair, Sweep

ROLES = {"q": (6, 6), "k": (4, 6), "down": (6, 9)}
LAYERS = 3
HALVES = [f"{kind}-rank-0.5" if about.of else kind for kind, about in KINDS.items()]
"""Each kind, at half of its parts if it has any."""


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
        assert (measured["from_target"], measured["from_parent"]) == (pytest.approx(1), 0)


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
    for name in HALVES:
        a, b = made(pair, name)[0], made(other, name)[0]
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
    list(KINDS),
    {"rank": [0.2, 0.5, 1.0], "band": ["0.2..0.6"], "layers": [1, 3], "strength": [0.5]},
    {"directions": ["interpolation", "noise", "rotation", "shuffle"], "pinned": ["rest"]},
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
        assert measured == pytest.approx(alone, abs=1e-4)


def test_a_sweep_reads_factors_only_where_something_changes(pair):
    """From one point to the next, what lies between; swaps of whole matrices need no factors but
    those by which angles are measured, and controls of a step use its update again."""

    class Watched(dict):
        def __getitem__(self, matrix):
            read.append(matrix)
            return super().__getitem__(matrix)

    watched = Pair(pair.target, pair.parent, Watched(pair.target_factors), pair.parent_factors)
    read = []
    sweep = Sweep(watched)
    sweep.with_angles = set()
    made(watched, "swap-layers-2", sweep)
    assert read == []
    made(watched, "directions-rank-0.5", sweep)
    assert len(read) == LAYERS * len(ROLES)
    made(watched, "directions-rank-0.5-as-noise", sweep)
    made(watched, "directions-rank-0.5-as-interpolation", sweep)
    made(watched, "directions-rank-0.5-as-shuffle", sweep)
    made(watched, "directions-rank-0.5-as-rotation", sweep)
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


REFUSED = {
    ("values-rank-1", "rotation"), ("swap-layers-1", "rest"), ("swap-layers-1", "interpolation"),
    ("swap-layers-1", "straight"),
}  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("edit", ["directions-rank-0.5", "values-rank-1", "swap-layers-1"])
def test_controls_go_as_far_as_the_edit(pair, edit, control):
    if (edit, control) in REFUSED:
        return
    own, _ = made(pair, edit)
    got, _ = made(pair, f"{edit}-as-{control}")
    assert list(got) == list(own)
    far = {n: [float((x[n] - pair.target[n]).norm()) for x in (own, got)] for n in own}
    if NORM in CONTROLS[control].matched:
        for edited, controlled in far.values():
            assert controlled == pytest.approx(edited, rel=1e-3)
    totals = [math.hypot(*lengths) for lengths in zip(*far.values(), strict=True)]
    assert totals[1] == pytest.approx(totals[0], rel=1e-3)


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


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("strength", ["", "-strength-0.5"])
def test_the_rotation_control_has_the_edits_norm_angles_and_values(pair, half, strength):
    """Of every edit that turns vectors, at any strength, on both sides and for every subspace."""
    name = f"{half}{strength}"
    if not KINDS[parse(name).kind].turns:
        with pytest.raises(HealscopeError, match="turns no singular vectors"):
            parse(f"{name}-as-rotation")
        return
    own, _ = made(pair, name)
    got, _ = made(pair, f"{name}-as-rotation")
    for m, t in pair.target_factors.items():
        one, two = (w[m.name].double() for w in (own, got))
        if half == "ramp" and m.layer == LAYERS - 1:
            assert torch.equal(one, two)  # the last layer stays as it is
            continue
        assert float((one - two).norm()) > 1e-3
        far = [float((w - t.matrix()).norm()) for w in (one, two)]
        assert far[1] == pytest.approx(far[0], rel=1e-3)
        (u1, s1, v1), (u2, s2, v2) = (torch.linalg.svd(w, full_matrices=False) for w in (one, two))
        assert torch.allclose(s1, s2, atol=1e-5)
        for k in range(1, len(s1)):
            for old, x, y in ((t.u, u1, u2), (t.v, v1.T, v2.T)):
                want = angles_between(old[:, :k], x[:, :k])
                assert torch.allclose(angles_between(old[:, :k], y[:, :k]), want, atol=1e-3)


def test_the_rotation_control_goes_another_way():
    """It has little in common with the edit: of 16 draws of signs, the one with least."""
    f = factors((12, 9), 0)
    update = orthonormal(12, 9, 5) @ orthonormal(9, 9, 6)
    for seed in range(10):
        turned = controls.reflected(update, f, torch.Generator().manual_seed(seed))
        assert abs(float((turned * update).sum() / update.square().sum())) < 0.2


def test_pinned_directions_are_the_parents_and_the_values_the_targets(pair):
    got, _ = made(pair, "pinned-band-0.2..0.6")
    for m, t in pair.target_factors.items():
        r, p = len(t.s), pair.parent_factors[m]
        u, s, vh = torch.linalg.svd(got[m.name].double(), full_matrices=False)
        assert torch.allclose(s, t.s, atol=1e-5)
        i = slice(round(0.2 * r), round(0.6 * r))
        for now, own in ((u, p.u), (vh.T, p.v)):
            alike = (now[:, i].T @ own[:, i]).abs()
            assert torch.allclose(alike, torch.eye(alike.shape[0]).double(), atol=1e-3)


def test_a_pinned_basis_is_the_nearest_that_holds_the_parents_columns():
    target, parent = orthonormal(7, 5, 0), orthonormal(7, 5, 1)
    i, rest = slice(1, 3), [0, 3, 4]
    best = edits.pinned_basis(target, parent, i)
    assert torch.allclose(best.T @ best, torch.eye(5).double(), atol=1e-12)
    assert torch.equal(best[:, i], parent[:, i])
    for seed in range(50):
        others = orthonormal(7, 7, seed + 2)
        others = others - parent[:, i] @ (parent[:, i].T @ others)
        other = edits.nearest_orthonormal(best[:, rest] + 0.1 * others[:, :3])
        assert (other - target[:, rest]).norm() >= (best[:, rest] - target[:, rest]).norm() - 1e-12


def test_parts_of_the_update_follow_their_equations(pair):
    """Entry by entry in the target's own bases, full ones, so that nothing lies outside."""
    for m, t in pair.target_factors.items():
        gap = (pair.parent[m.name] - pair.target[m.name]).double()
        full = torch.linalg.svd(t.matrix())  # of the same matrix, with full bases
        u, vh = full.U, full.Vh
        entries = u.T @ gap @ vh.T
        k = max(1, round(0.4 * len(t.s)))
        rows = torch.arange(len(u))[:, None].expand_as(entries)
        columns = torch.arange(len(vh))[None].expand_as(entries)
        diagonal = (rows == columns) & (rows < k)
        block = (rows < k) & (columns < k)
        masks = {
            "diagonal": diagonal,
            "block": block,
            "complement": ~block,
            "offdiagonal": ((rows < k) | (columns < k)) & ~diagonal,
        }
        for kind, mask in masks.items():
            got, _ = made(pair, f"{kind}-rank-0.4")
            want = u @ (entries * mask) @ vh
            assert torch.allclose(got[m.name] - pair.target[m.name], want.float(), atol=1e-5), kind
        whole = [made(pair, f"{k}-rank-1")[0][m.name] for k in ("diagonal", "offdiagonal")]
        both = whole[0] + whole[1] - 2 * pair.target[m.name]
        assert torch.allclose(both, gap.float(), atol=1e-5), "the two are all of it"


def test_the_rest_is_what_the_edit_leaves_at_its_length(pair):
    own, _ = made(pair, "block-rank-0.5-strength-0.5")
    rest, _ = made(pair, "block-rank-0.5-strength-0.5-as-rest")
    complement, _ = made(pair, "complement-rank-0.5")
    for n, w in rest.items():
        far = (own[n] - pair.target[n]).norm()
        want = controls.scaled(complement[n] - pair.target[n], far)
        assert torch.allclose(w - pair.target[n], want, atol=1e-5)
    with pytest.raises(HealscopeError, match="'rest' has nothing to be made of"):
        made(pair, "swap-rank-0.5+swap-band-0.5..1-as-rest")


# Spectra in which some singular values are equal, or too near to tell their vectors apart
SPECTRA = {
    "all equal": [1.0] * 6,
    "two clusters": [3.0, 3.0, 3.0, 1.0, 1.0, 1.0],
    "a pair at the cut": [5.0, 4.0, 2.0, 2.0, 1.0, 0.5],
    "near": [1 + 1e-6 * i for i in range(6, 0, -1)],
    "as near as the update": [1 + 1e-9 * i for i in range(6, 0, -1)],
    "far too near": [1 + 1e-12 * i for i in range(6, 0, -1)],
    "with zeros": [2.0, 2.0, 2.0, 0.0, 0.0, 0.0],
}


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("shape", [(6, 6), (6, 9)])
def test_near_equal_singular_values_do_not_blow_an_edit_up(spectrum, shape):
    """A parent that is 1e-9 away gives edits of that order."""
    m, n = shape
    s = torch.tensor(SPECTRA[spectrum], dtype=torch.float64)
    target = Factors(orthonormal(m, 6, 0), s, orthonormal(n, 6, 1))
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        gap = torch.randn(m, n, generator=g, dtype=torch.float64)
        gap *= 1e-9 / gap.norm()
        u, values, vh = torch.linalg.svd(target.matrix() + gap, full_matrices=False)
        parent = edits.aligned(target, Factors(u, values, vh.T), 1e-9)
        for start, stop in ((0, 3), (0, 1), (1, 4), (3, 6), (0, 6)):
            updates = {
                kind: (lambda a, b: a @ b.T)(*make(slice(start, stop), target, parent))
                for kind, make in edits.ADDITIVE.items()
            }
            for kind, make in edits.DENSE.items():
                updates[kind] = make(
                    edits.Inputs(slice(start, stop), gap, lambda f=(target, parent): f)
                )
            for kind, update in updates.items():
                assert float(update.norm()) < 30e-9, (kind, start, stop)


def test_an_edit_in_float32_of_a_matrix_without_gaps_is_bounded():
    """The same through a sweep, on weights as they are stored."""
    q = orthonormal(16, 16, 0) * 1e-3
    noise = torch.randn(16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = [q.float(), (q + 1e-9 * noise).float()]
    found = []
    for w in weights:
        u, s, vh = torch.linalg.svd(w.double())
        found.append({Matrix(0, "q", "q"): Factors(u, s, vh.T)})
    pair = Pair({"q": weights[0]}, {"q": weights[1]}, *found)
    for name in HALVES:
        got, measured = made(pair, name)
        assert measured["from_target"] < 10, name


def test_a_spectrum_that_tells_vectors_apart_is_left_alone(pair):
    for m, t in pair.target_factors.items():
        p = pair.parent_factors[m]
        assert edits.aligned(t, p, float((t.matrix() - p.matrix()).norm())) is p


def test_aligned_factors_are_those_of_the_same_matrix():
    """Vectors of equal values turn together, so that what they make up stays."""
    s = torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    target = Factors(orthonormal(7, 5, 0), s, orthonormal(5, 5, 1))
    turn = torch.block_diag(orthonormal(2, 2, 2), orthonormal(3, 3, 3))
    parent = Factors(target.u @ turn, s, target.v @ turn)
    found = edits.aligned(target, parent, 1e-12)
    assert torch.allclose(found.matrix(), parent.matrix(), atol=1e-12)
    assert torch.allclose(found.u, target.u, atol=1e-12)
    assert torch.allclose(found.v, target.v, atol=1e-12)


@pytest.mark.parametrize("edit", ["directions-rank-0.5", "pinned-tail-0.4"])
def test_turned_degrees_are_those_of_the_edited_weights(pair, edit):
    got, measured = made(pair, edit)
    squares = []
    for m, t in pair.target_factors.items():
        r = len(t.s)
        start, stop = parse(edit).terms[0].span(m.layer, m.role, r, LAYERS)
        u, _, vh = torch.linalg.svd(got[m.name].double(), full_matrices=False)
        for old, now in ((t.u, u), (t.v, vh.T)):
            if stop - start < len(old):
                squares.append(angles_between(old[:, start:stop], now[:, start:stop]).square())
    want = math.degrees(math.sqrt(float(torch.cat(squares).mean())))
    assert measured["turned_degrees"] == pytest.approx(want, rel=1e-4)
    assert want > 1


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
    with pytest.raises(HealscopeError, match="needs 2 layers"):
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
