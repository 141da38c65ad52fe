"""SVDs in float32: their certificate, what is kept of them, and edits made from them."""

import gc
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from healscope.edit_kinds import CONTROLS, KINDS
from healscope.errors import HealscopeError
from healscope.models.stored import Stored
from healscope.spectra import factors, sweep
from healscope.spectra.single import Half, certify, decompose_single
from healscope.spectra.sweep import Pair, Sweep

ROLES = ["q", "gate", "down"]
SHAPES = [(96, 96), (150, 40), (40, 150), (1, 7), (7, 1)]


def gaussian(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_agree_with_lapack(shape, dtype):
    weight = gaussian(*shape, dtype=dtype)
    half, certificate = decompose_single(weight)
    assert certificate.holds
    assert certificate.route == "single"
    assert half.other is None
    w, exact = weight.double(), torch.linalg.svdvals(weight.double())
    for found, near in ((half.columns(weight), 1e-5), (half.whole(weight), 1e-12)):
        assert torch.allclose(found.s.double(), exact, atol=1e-5 * float(exact[0]))
        assert torch.allclose(found.matrix().double(), w, atol=1e-5 * float(exact[0]))
        for basis in (found.u, found.v):
            eye = torch.eye(min(shape), dtype=torch.float64)
            assert torch.allclose(basis.double().T @ basis.double(), eye, atol=near * 30)


def test_what_the_certificate_tells_bounds_the_errors_of_a_bad_result():
    weight = gaussian(60, 40)
    half, _ = decompose_single(weight)
    for size in (1e-6, 1e-4, 1e-2):
        noise = size * gaussian(40, 40, seed=1)
        bad = Half(half.s, half.basis + noise)
        certificate, _ = certify(weight, bad)
        w, v, s = weight.double(), bad.basis.T.double(), bad.s.double()
        u, eye = w @ v / s, torch.eye(40, dtype=torch.float64)
        for told, error in (
            (certificate.residual, (u * s) @ v.T - w),
            (certificate.left, s[:, None] * (u.T @ u - eye) * s / s[0]),
            (certificate.right, s[:, None] * (v.T @ v - eye) * s / s[0]),
        ):
            true = float(error.norm() / s[0])
            assert true <= told <= 30 * true
        assert certificate.holds == (size < 1e-5)


@pytest.mark.parametrize("rank", [0, 5])
def test_where_the_weights_do_not_give_a_basis_it_is_kept(rank):
    weight = gaussian(30, rank) @ gaussian(rank, 20, seed=1)
    half, certificate = decompose_single(weight)
    assert certificate.holds
    assert half.other is not None
    for found in (half.columns(weight), half.whole(weight)):
        assert torch.allclose(found.matrix().float(), weight, atol=1e-5)
        assert torch.allclose(found.u.T @ found.u, torch.eye(20).to(found.u), atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    weight = torch.ones(4, 3)
    weight[2, 1] = bad
    with pytest.raises(HealscopeError, match="NaN or infinity"):
        decompose_single(weight)


@pytest.fixture
def sources(base_manifest, tmp_path):
    """Two folders, the second a little away from the first."""
    folders = [tmp_path / name for name in ("target", "parent")]
    for i, folder in enumerate(folders):
        folder.mkdir()
        shutil.copy(Path(base_manifest).parent / "config.json", folder)
        weights = load_file(Path(base_manifest).parent / "model.safetensors")
        for j, w in enumerate(weights.values()):
            w += i * 0.05 * w.std() * gaussian(*w.shape, seed=j)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folders


def test_a_cache_holds_no_more_than_the_weights_and_is_used_again(sources, tmp_path, monkeypatch):
    stored = factors.load(sources[0], ROLES, tmp_path / "cache", precision="float32")
    factors.write(tmp_path / "factors.json", stored, {})
    sizes = {m: min(stored.weight(m).shape) for m in stored}
    files = [load_file(f) for f in (tmp_path / "cache").iterdir()]
    kept = sum(x.nbytes for file in files for x in file.values())
    assert kept == sum(4 * r * (r + 1) for r in sizes.values())
    assert kept <= sum(stored.weight(m).nbytes for m in stored)
    monkeypatch.setattr(factors, "decompose_single", None)  # from here on, it is not called
    again = factors.read(tmp_path / "factors.json")
    assert again.single
    for m, f in again.items():
        assert torch.allclose(f.matrix().float(), stored.weight(m), atol=1e-5)
        part = again.columns(m, 2, 5)
        assert torch.allclose(part.u, f.u[:, 2:5].float(), atol=1e-3)
        assert torch.equal(part.s, f.s[2:5].float())


def test_both_precisions_stand_in_one_cache(sources, tmp_path):
    for precision in ("float32", "float64", "float32", "float64"):
        stored = factors.load(sources[0], ROLES, tmp_path / "cache", precision=precision)
        certificates = [stored.certificate(m) for m in stored]
        assert {c.tolerance < 1e-10 for c in certificates} == {precision == "float64"}
    assert len(list((tmp_path / "cache").iterdir())) == 4  # two layers each


def test_factors_of_other_weights_are_refused(sources, tmp_path):
    """Half an SVD with the weights of another checkpoint would be wrong factors."""
    stored = factors.load(sources[0], ROLES, tmp_path / "cache", precision="float32")
    factors.write(tmp_path / "factors.json", stored, {})
    shutil.copy(sources[1] / "model.safetensors", sources[0])
    with pytest.raises(HealscopeError, match="no longer what its factors were made from"):
        next(iter(factors.read(tmp_path / "factors.json").values()))


def made(folders, cache, precision, names):
    found = [factors.load(f, ROLES, cache, precision=precision) for f in folders]
    variants = Sweep(Pair(*map(Stored, folders), *found)).variants(names)
    return {v.name: ({n: w.clone() for n, w in v.weights()}, v.measured) for v in variants}


def test_edits_are_those_of_factors_in_float64(sources, tmp_path):
    names = [f"{k}-rank-{share}" for k in KINDS if KINDS[k].of for share in (0.25, 0.5, 0.125)]
    names += [kind for kind in KINDS if not KINDS[kind].of]
    names += [f"directions-rank-0.25-as-{control}" for control in CONTROLS]
    names += ["directions-band-0.25..0.75", "values-tail-0.5+swap-rank-0.25-strength-0.5"]
    one, two = (made(sources, tmp_path / "cache", p, names) for p in ("float64", "float32"))
    before = Stored(sources[0])
    assert list(one) == list(two)
    for name, (weights, measured) in one.items():
        for n, w in weights.items():
            far = float((w - before[n]).norm())
            assert float((two[name][0][n] - w).norm()) <= 2e-3 * far, name
        assert two[name][1] == pytest.approx(measured, rel=2e-3, abs=1e-3), name


def test_a_sweep_reads_the_columns_between_two_points(sources, tmp_path, monkeypatch):
    read = []
    columns = factors.Decomposed.columns

    def watched(self, matrix, start, stop):
        read.append(stop - start)
        return columns(self, matrix, start, stop)

    monkeypatch.setattr(factors.Decomposed, "columns", watched)
    found = [factors.load(f, ["down"], tmp_path / "c", precision="float32") for f in sources]
    made = Sweep(Pair(*map(Stored, sources), *found))
    made.with_angles = set()
    for share in (0.25, 0.5, 0.75):
        (variant,) = made.variants([f"directions-rank-{share}"])
        list(variant.weights())
    rank = made.shapes[made.matrices[0]][0]
    per_matrix = [2 * rank, *[2 * rank // 4] * 3]  # all once, to align them, then quarters
    assert not any(made.turns.values())
    assert sum(read) == len(made.matrices) * sum(per_matrix)


def held() -> int:
    """Bytes of all tensors that are alive."""
    tensors = (x for x in gc.get_objects() if type(x) is torch.Tensor)
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}
    return sum(storages.values())


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_sweep_of_a_large_model_holds_one_update_of_each_matrix(
    sources, tmp_path, monkeypatch, precision
):
    monkeypatch.setattr(sweep, "CACHE_BYTES", 0)
    found = [factors.load(f, ROLES, tmp_path / "c", precision=precision) for f in sources]
    sizes = [4 * found[0].weight(m).numel() for m in found[0]]
    for one in found:
        list(one.values())
    gc.collect()
    before, most = held(), 0
    names = [f"{kind}-rank-{share}" for kind in ("directions", "pinned") for share in (0.25, 0.5)]
    for variant in Sweep(Pair(*map(Stored, sources), *found)).variants(names):
        for _, tensor in variant.weights():
            most = max(most, held() - before)
            del tensor
    assert sum(sizes) - max(sizes) < most <= sum(sizes) + 4 * max(sizes)
    assert 4 * max(sizes) < sum(sizes)  # so that a second copy of all would be seen
