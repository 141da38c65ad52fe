"""Comparisons against planted rotations and updates, and against their own floors and nulls."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.linalg import subspace_angles

from healscope.comparison_controls import CONTROLS
from healscope.config import Spectra
from healscope.errors import HealscopeError
from healscope.spectra import compare, compare_folders, masks, nulls, sources
from healscope.spectra.angles import chance_chordal, chordal, principal_angles
from healscope.spectra.decompose import Factors, decompose
from healscope.spectra.nulls import Point


def orthonormal(m, r, seed):
    return nulls.orthonormal(m, r, torch.Generator().manual_seed(seed))


def gaussian(m, n, seed):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point(weight):
    factors, certificate = decompose(weight)
    return Point(weight, factors, certificate.route)


def turned(basis, angles):
    """The basis with its column i turned by angles[i] towards a direction outside the basis."""
    m, r = basis.shape
    extra = torch.linalg.qr(torch.cat([basis, gaussian(m, r, 99)], 1)).Q[:, r : 2 * r]
    return basis * angles.cos() + extra * angles.sin()


def test_every_control_has_its_formula():
    floors = {name for name, control in CONTROLS.items() if control.kind == "floor"}
    assert floors == set(nulls.FLOORS)
    assert set(CONTROLS) - floors == set(nulls.NULLS)


@pytest.mark.parametrize("largest", [1e-10, 1e-7, 1e-3, 0.5, math.radians(80)])
def test_planted_angles_are_measured_at_every_size(largest):
    """From 1e-10 rad, where an arc cosine sees nothing, to 80 degrees, for nested subspaces."""
    x = orthonormal(40, 12, 0)
    planted = largest * torch.linspace(0.1, 1, 12, dtype=torch.float64)
    y = turned(x, planted)
    mixed = torch.block_diag(orthonormal(5, 5, 1), orthonormal(7, 7, 2))  # the spans stay
    found = principal_angles(x, y @ mixed, [5, 12])
    for k in (5, 12):
        assert torch.allclose(found[k], planted[:k], rtol=1e-5, atol=3e-15)


def test_a_turn_inside_the_span_is_measured_where_it_crosses_the_cut():
    """Turning direction 2 towards direction 6 is an angle for k = 3 and none for k = 7."""
    x, angle = orthonormal(30, 10, 3), 1e-9
    y = x.clone()
    y[:, 2] = math.cos(angle) * x[:, 2] + math.sin(angle) * x[:, 6]
    y[:, 6] = math.cos(angle) * x[:, 6] - math.sin(angle) * x[:, 2]
    found = principal_angles(x, y, [2, 3, 6, 7])
    assert [float(found[k][-1]) for k in (3, 6)] == pytest.approx([angle, angle], rel=1e-5)
    assert [float(found[k][-1]) for k in (2, 7)] == pytest.approx([0, 0], abs=1e-14)


@pytest.mark.parametrize("shape", [(20, 20), (31, 14)])
def test_angles_of_strangers_agree_with_scipy(shape):
    x, y = orthonormal(*shape, 4), orthonormal(*shape, 5)
    sizes = [1, 3, 9, 13]
    for k, angles in principal_angles(x, y, sizes).items():
        expected = np.sort(subspace_angles(x[:, :k].numpy(), y[:, :k].numpy()))
        assert np.allclose(angles.numpy(), expected, rtol=0, atol=1e-12)


def test_the_whole_space_has_no_angle():
    x, y = orthonormal(6, 6, 6), orthonormal(6, 6, 7)
    assert list(principal_angles(x, y, [3, 6])) == [3]
    assert list(principal_angles(orthonormal(7, 6, 6), orthonormal(7, 6, 7), [6])) == [6]


def test_orthogonal_subspaces_are_90_degrees_apart():
    x = orthonormal(20, 10, 8)
    y = torch.cat([x[:, 5:], x[:, :5]], 1)
    angles = principal_angles(x, y, [5])[5]
    assert torch.allclose(angles, torch.full((5,), math.pi / 2).double())
    assert chordal(angles) == pytest.approx(1)


def test_random_subspaces_have_the_chordal_distance_of_chance():
    found = [
        chordal(principal_angles(orthonormal(40, 10, i), orthonormal(40, 10, 100 + i), [10])[10])
        for i in range(40)
    ]
    assert np.mean(found) == pytest.approx(chance_chordal(10, 40), abs=0.01)
    assert chance_chordal(4096, 14336) == pytest.approx(0.845, abs=5e-4)


def rows_of(old, new, fractions=(0.5,), ends=0.2):
    return compare.compare_matrix(point(old), point(new), fractions, ends)


def value(rows, quantity, part="", column="b"):
    return rows[(rows["quantity"] == quantity) & (rows["part"] == part)][column].item()


@pytest.fixture
def planted():
    """A matrix with well separated singular values, and its factors."""
    u, v = orthonormal(30, 20, 10), orthonormal(20, 20, 11)
    s = torch.linspace(10, 1, 20, dtype=torch.float64)
    return Factors(u, s, v)


def test_an_update_of_values_alone_lies_on_the_diagonal(planted):
    new = Factors(planted.u, planted.s * 1.01, planted.v).matrix()
    rows = rows_of(planted.matrix(), new)
    energy = rows[rows["quantity"] == "energy"].set_index("part")["b"]
    on = energy[energy.index.str.startswith("diagonal")]
    assert on.sum() == pytest.approx(1, abs=1e-12)
    assert energy.sum() == pytest.approx(1, abs=1e-12)
    shares = planted.s.square() / planted.s.square().sum()
    assert on["diagonal-head"] == pytest.approx(float(shares[:4].sum()))
    assert on["diagonal-tail"] == pytest.approx(float(shares[16:].sum()))
    assert rows.loc[rows["quantity"] == "angle", "b"].max() < 1e-10
    assert value(rows, "drift") == pytest.approx(0.01)
    assert value(rows, "sigma_change", "norm") == pytest.approx(0.01)
    assert value(rows, "sigma_change", "max") == pytest.approx(0.01)
    assert value(rows, "sigma_change", "max_relative") == pytest.approx(0.01)


def test_values_that_are_zero_but_for_roundoff_have_no_relative_change(planted):
    """Two of the 20 are: 1e-17 and 0 turn into 0.1, which is no change by 1e16 times."""
    s = planted.s.clone()
    s[18:] = torch.tensor([1e-17, 0.0])
    old = nulls.Point(planted.matrix(), Factors(planted.u, s, planted.v), "lapack")
    larger = torch.where(s > 1e-3, s * 1.01, 0.1)
    new = nulls.Point(planted.matrix(), Factors(planted.u, larger, planted.v), "lapack")
    rows = compare.compare_matrix(old, new, (0.5,), 0.2)
    assert value(rows, "sigma_change", "max_relative") == pytest.approx(0.01)
    nothing = nulls.Point(planted.matrix(), Factors(planted.u, 0 * s, planted.v), "lapack")
    rows = compare.compare_matrix(nothing, new, (0.5,), 0.2)
    assert value(rows, "sigma_change", "max_relative") == 0


def test_an_update_between_blocks_is_found_there(planted):
    """u of the head towards v of the tail, and what leaves the spans."""
    u, v, w = planted.u, planted.v, planted.matrix()
    delta = 3e-3 * torch.outer(u[:, 1], v[:, 19]) + 4e-3 * torch.outer(u[:, 17], v[:, 8])
    energy = rows_of(w, w + delta).query("quantity == 'energy'").set_index("part")["b"]
    assert energy["head-tail"] == pytest.approx(9 / 25, rel=1e-6)
    assert energy["tail-bulk"] == pytest.approx(16 / 25, rel=1e-6)
    beside = torch.linalg.qr(torch.cat([u, gaussian(30, 1, 12)], 1)).Q[:, 20]
    rows = rows_of(w, w + 1e-3 * torch.outer(beside, v[:, 0]))
    assert value(rows, "energy", "outside") == pytest.approx(1, rel=1e-6)
    assert value(rows, "energy", "outside", "a") == pytest.approx(1 - 20 / 30)


@pytest.mark.parametrize("shape", [(24, 24), (30, 20), (20, 30), (1, 6)])
def test_an_update_without_direction_has_the_energies_of_chance(shape):
    f = point(gaussian(*shape, 13)).factors
    drawn = [compare.energy(f.u, f.v, gaussian(*shape, 20 + i), 0.2) for i in range(200)]
    for part, (chance, _) in drawn[0].items():
        assert np.mean([d[part][1] for d in drawn]) == pytest.approx(chance, rel=0.25, abs=2e-3)
    for d in (drawn[0], drawn[-1]):
        assert sum(chance for chance, _ in d.values()) == pytest.approx(1)
        assert sum(share for _, share in d.values()) == pytest.approx(1)


def test_ranks_of_a_planted_update():
    w = gaussian(30, 20, 14)
    even = rows_of(w, w + (1e-3 * orthonormal(30, 5, 15)) @ orthonormal(20, 5, 16).T)
    assert value(even, "effective_rank") == pytest.approx(5, rel=1e-4)
    assert value(even, "stable_rank") == pytest.approx(5, rel=1e-6)
    assert value(even, "stable_rank", column="a") == 20


def test_sparsity_is_counted_at_three_precisions():
    old = torch.full((10, 10), 1.0, dtype=torch.float32)
    new = old.clone()
    new[0] += 2e-6  # seen in float32 only
    new[1] += 2e-3  # seen within 1e-5, hidden by bf16, whose step at 1 is 1/128
    new[2] += 0.5
    rows = rows_of(old, new)
    assert value(rows, "unchanged", "float32") == pytest.approx(0.7)
    assert value(rows, "unchanged", "1e-5") == pytest.approx(0.8)
    assert value(rows, "unchanged", "bf16") == pytest.approx(0.9)


def test_nothing_is_said_of_an_update_that_is_none():
    w = gaussian(8, 6, 17)
    rows = rows_of(w, w.clone())
    assert value(rows, "drift") == 0
    assert not {"energy", "effective_rank", "stable_rank"} & set(rows["quantity"])
    zero = rows_of(torch.zeros(8, 6), w)
    assert "drift" not in set(zero["quantity"])  # relative to nothing


def test_long_lists_are_thinned_but_keep_their_ends():
    index = compare.shown(5000)
    assert len(index) == compare.SHOWN
    assert index[0] == 0
    assert index[-1] == 4999
    assert list(compare.shown(3)) == [0, 1, 2]


@pytest.fixture
def checkpoint_pair(base_manifest, tmp_path):
    """Two Hugging Face folders: a base, and the same after a low-rank update."""
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        for name in ("model.safetensors", "config.json"):
            shutil.copy(Path(base_manifest).parent / name, folder)
    weights = load_file(folders[1] / "model.safetensors")
    for i, (name, w) in enumerate(weights.items()):
        if "proj" in name:
            m, n = w.shape
            weights[name] = w + 0.05 * torch.outer(gaussian(m, 1, i)[:, 0], gaussian(n, 1, i)[:, 0])
    save_file({k: v.float() for k, v in weights.items()}, folders[1] / "model.safetensors")
    return folders


def test_two_folders_are_compared_in_three_lines(checkpoint_pair):
    a, b = checkpoint_pair
    frame = compare_folders(a, b)
    drift = frame.query("quantity == 'drift' and control == ''")
    assert len(drift) == 14
    assert (drift["b"] > 0).all()
    assert set(frame["control"]) == {"", "again", "bf16", "noise", "spectrum"}
    assert not frame.duplicated(list(frame.columns[:-2])).any()


def test_names_of_the_package_load_no_torch():
    code = "import sys, healscope.spectra; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_floors_lie_at_roundoff_and_nulls_are_as_large_as_the_update(checkpoint_pair):
    frame = compare_folders(*checkpoint_pair, Spectra(matrices=["q", "down"]))
    by = {c: f for c, f in frame.groupby("control")}

    def most(control, quantity, part=None):
        rows = by[control][by[control]["quantity"] == quantity]
        return rows[rows["part"] == part if part else rows["part"] == rows["part"]]["b"]

    assert most("again", "sigma_change", "norm").max() < 1e-13
    assert most("again", "angle").max() < 1e-8
    assert most("again", "drift").max() == 0
    assert 1e-4 < most("bf16", "drift").max() < 1e-2
    assert most("again", "angle").max() < most("bf16", "angle").max() < most("", "angle").max()
    for null in ("noise", "spectrum"):
        assert np.allclose(most(null, "drift"), most("", "drift"), rtol=1e-6)
    assert np.allclose(most("spectrum", "effective_rank"), most("", "effective_rank"), rtol=1e-3)
    assert (most("noise", "effective_rank") > 5 * most("", "effective_rank").values).all()


def test_floors_are_made_once_for_each_older_checkpoint(checkpoint_pair, monkeypatch):
    """Two pairs start from `a` and one from `b`: with two floors, four comparisons a matrix."""
    made, real = [], nulls.floor

    def counted(control, old):
        made.append(control)
        return real(control, old)

    monkeypatch.setattr(nulls, "floor", counted)
    a, b = (compare.load(folder, ["q"]) for folder in checkpoint_pair)
    settings = Spectra(matrices=["q"], controls=["again", "bf16"])
    points = {"a": a, "b": b, "c": b}
    rows = compare.compare_points(points, [("a", "b"), ("a", "c"), ("b", "c")], settings, 0)
    assert made.count("again") == made.count("bf16") == 2 * 2  # older ones times layers
    by_pair = [
        own.drop(columns="pair").reset_index(drop=True)
        for _, own in rows[rows["control"] == "bf16"].groupby("pair", sort=True)
    ]
    assert by_pair[0].equals(by_pair[1])  # of a, for both pairs that start there
    assert not by_pair[0].equals(by_pair[2])


def test_nulls_repeat_themselves_and_differ_between_places(checkpoint_pair):
    settings = Spectra(matrices=["q", "k"], controls=["noise"])
    first, again = (compare_folders(*checkpoint_pair, settings) for _ in range(2))
    assert first.equals(again)
    other = compare_folders(*checkpoint_pair, settings, seed=1)
    noise = first["control"] == "noise"
    assert first[~noise].equals(other[~noise])
    assert not first[noise].equals(other[noise])
    w = gaussian(9, 9, 0)
    draws = [nulls.null("noise", point(w), point(w + 1), name).weight for name in ("x", "x", "y")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_models_that_do_not_match_are_named(checkpoint_pair):
    a, b = checkpoint_pair
    weights = load_file(b / "model.safetensors")
    short = {k: v[:-1] if "layers.1.self_attn.q_proj" in k else v for k, v in weights.items()}
    save_file({k: v.contiguous() for k, v in short.items()}, b / "model.safetensors")
    with pytest.raises(HealscopeError, match=r"shape \(32, 32\) in one model and \(31, 32\)"):
        compare_folders(a, b)
    save_file({k: v for k, v in weights.items() if "layers.1" not in k}, b / "model.safetensors")
    with pytest.raises(HealscopeError, match="only one of them has q of layer 1"):
        compare_folders(a, b, Spectra(matrices=["q"]))


def test_haar_bases_have_no_preferred_sign():
    """A plain QR fixes the signs of R, which makes some directions of Q likelier than others."""
    corners = [float(orthonormal(3, 3, i)[0, 0]) for i in range(400)]
    assert abs(np.mean(corners)) < 4 / math.sqrt(3 * 400)


def test_masks_that_seeds_share_are_told_from_chance(tmp_path):
    name = "model.layers.0.self_attn.q_proj.weight"
    old = torch.ones(40, 50)
    rows = torch.arange(40)[:, None].expand(40, 50) < 20
    columns = torch.arange(50)[None, :].expand(40, 50) < 25

    def shared(*changes):
        seeds = {}
        for i, change in enumerate(changes):
            for point, weight in (("base", old), ("end", old + change)):
                folder = tmp_path / f"{i}-{point}"
                folder.mkdir(exist_ok=True)
                save_file({name: weight.contiguous()}, folder / "model.safetensors")
                seeds.setdefault(str(i), {})[point] = sources.weights(folder)
        table = masks.overlaps(seeds, [("base", "end")], ["q"])
        assert set(table["changed"]) == {"bf16", "1e-5", "largest"}
        assert table["pair"].unique().tolist() == ["base--end"]
        return table.set_index(["role", "changed"])

    names = ["changed_a", "changed_b", "overlap", "chance", "chance_in_lines"]
    corner = (rows & columns).float()
    one = shared(corner, corner).loc[("all", "bf16")]
    assert one[names].tolist() == pytest.approx([0.25, 0.25, 1, 0.25, 1])  # its lines explain it
    one = shared(rows.float(), columns.float()).loc[("q", "1e-5")]
    assert one[names].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5])
    scattered = [(gaussian(40, 50, seed) > 0).float() for seed in (1, 2)]
    one = shared(*scattered).loc[("q", "bf16")]
    assert one[["overlap", "chance"]].tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    assert shared(rows * 0.0, columns.float())["overlap"].isna().all()
