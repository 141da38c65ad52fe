"""The cache of factors: no SVD twice, and nothing damaged is ever used."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.spectra import factors
from healscope.spectra.factors import Matrix, load, read

ROLES = ["q", "down"]


@pytest.fixture
def source(base_manifest, tmp_path):
    """A Hugging Face folder of one's own."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        shutil.copy(Path(base_manifest).parent / name, folder)
    return folder


@pytest.fixture
def no_svd(monkeypatch):
    """From here on, decomposing is an error."""

    def fails(*_):
        raise AssertionError("an SVD was computed again")

    return lambda: monkeypatch.setattr(factors, "decompose", fails)


def equal(a, b):
    return all(torch.equal(getattr(a, x), getattr(b, x)) for x in "usv")


def cache_files(cache):
    return sorted(Path(cache).glob("*"))


def test_factors_give_the_weights_back(source, tmp_path):
    stored = load(source, ROLES, tmp_path / "cache")
    assert [(m.layer, m.role) for m in stored] == [(0, "q"), (0, "down"), (1, "q"), (1, "down")]
    weights = load_file(source / "model.safetensors")
    for matrix, f in stored.items():
        assert f.s.dtype == torch.float64
        assert torch.allclose(f.matrix(), weights[matrix.name].double(), rtol=0, atol=1e-13)
        assert stored.certified(matrix)[1].holds
    assert len(cache_files(tmp_path / "cache")) == 2  # one file per layer


def test_no_svd_is_computed_twice(source, tmp_path, no_svd):
    first = dict(load(source, ROLES, tmp_path / "cache"))
    no_svd()
    again = load(source, ROLES, tmp_path / "cache")
    assert all(equal(f, again[m]) for m, f in first.items())
    renamed = tmp_path / "another"  # the content counts, not the name
    source.rename(renamed)
    assert all(equal(f, load(renamed, ROLES, tmp_path / "cache")[m]) for m, f in first.items())


def test_without_a_cache_nothing_is_written(source, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    stored = load(source, ROLES)
    assert stored[next(iter(stored))].s[0] > 0
    assert sorted(tmp_path.rglob("*")) == before


def test_other_weights_have_other_factors(source, tmp_path):
    cache = tmp_path / "cache"
    before = dict(load(source, ROLES, cache))
    weights = load_file(source / "model.safetensors")
    name = next(m.name for m in before if m.layer == 1)
    weights[name][0, 0] += 1.0
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    after = load(source, ROLES, cache)
    moved = {m for m, f in before.items() if not equal(f, after[m])}
    assert {m.name for m in moved} == {name}
    assert len(cache_files(cache)) == 3  # layer 0 is shared


def flip(file):
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


DAMAGE = {
    "missing": lambda f: f.unlink(),
    "empty": lambda f: f.write_bytes(b""),
    "cut short": lambda f: f.write_bytes(f.read_bytes()[:-8]),
    "one bit": flip,
    "another file": lambda f: save_file({"x": torch.ones(2)}, f),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_cache_is_rebuilt(what, source, tmp_path):
    cache = tmp_path / "cache"
    whole = dict(load(source, ROLES, cache))
    files = {f: f.read_bytes() for f in cache_files(cache)}
    for file in files:
        DAMAGE[what](file)
    healed = load(source, ROLES, cache)
    assert all(equal(f, healed[m]) for m, f in whole.items())
    assert {f: f.read_bytes() for f in cache_files(cache)} == files


def test_damage_between_two_reads_is_seen(source, tmp_path):
    stored = load(source, ROLES, tmp_path / "cache")
    matrix = list(stored)[1]
    before = stored[matrix]
    for file in cache_files(tmp_path / "cache"):
        file.write_bytes(file.read_bytes()[:-16])
    assert equal(stored[matrix], before)


def test_two_at_once_do_not_disturb_each_other(source, tmp_path):
    def all_of_them(_):
        return dict(load(source, ROLES, tmp_path / "cache"))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(all_of_them, range(4)))
    assert all(equal(f, other[m]) for other in results for m, f in results[0].items())
    assert {f.suffix for f in cache_files(tmp_path / "cache")} == {".safetensors"}


@pytest.fixture
def written(source, tmp_path):
    """A study's results folder with a manifest of factors."""
    folder = tmp_path / "results"
    shutil.copytree(source, folder / "checkpoint")
    manifest = folder / "spectra" / "end" / "factors.json"
    factors.write(manifest, load(folder / "checkpoint", ROLES, folder / "cache"), {"made": "here"})
    return manifest


def test_a_manifest_says_what_there_is(written, no_svd):
    no_svd()
    found = read(written)
    assert list(found)[0] == Matrix(0, "q", "model.layers.0.self_attn.q_proj.weight")
    content = provenance.read_json(written)
    assert content["provenance"] == {"made": "here"}
    assert {c["route"] for c in content["certificates"]} <= {"lapack", "gram"}
    assert all(c["residual"] <= c["tolerance"] for c in content["certificates"])
    assert all(f.s[0] > 0 for f in found.values())


def test_a_manifest_may_be_moved_with_its_study_and_read_from_anywhere(
    written, tmp_path, monkeypatch, no_svd
):
    moved = tmp_path / "elsewhere"
    written.parents[2].rename(moved)
    monkeypatch.chdir("/")
    no_svd()
    assert all(f.s[0] > 0 for f in read(moved / "spectra/end/factors.json").values())


def test_reading_is_lazy_and_heals_itself(written):
    found = read(written)
    keys = provenance.read_json(written)["layers"]
    cache, source = written.parents[2] / "cache", written.parents[2] / "checkpoint"
    first, last = list(found)[0], list(found)[-1]
    (cache / f"{keys['1']}.safetensors").unlink()
    aside = source.rename(source.with_name("aside"))
    assert found[first].s[0] > 0  # of layer 0: neither layer 1 nor the checkpoint is touched
    with pytest.raises(HealscopeError, match="holds no weights"):
        found[last]
    aside.rename(source)
    assert found[last].s[0] > 0
    assert (cache / f"{keys['1']}.safetensors").is_file()


def test_a_checkpoint_that_changed_since_is_refused(written):
    source = written.parents[2] / "checkpoint"
    weights = load_file(source / "model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, source / "model.safetensors")
    shutil.rmtree(written.parents[2] / "cache")
    found = read(written)
    with pytest.raises(HealscopeError, match="no longer what its factors were made from"):
        found[next(iter(found))]


def test_a_checkpoint_of_a_study_is_verified_first(base_manifest, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(Path(base_manifest).parent, folder)
    assert len(load(folder / "checkpoint.json", ROLES)) == 4
    flip(folder / "model.safetensors")
    with pytest.raises(HealscopeError, match=r"model\.safetensors differs from what was saved"):
        load(folder / "checkpoint.json", ROLES)


def test_a_matrix_that_is_not_listed_is_no_key(source):
    with pytest.raises(KeyError):
        load(source, ROLES)[Matrix(0, "up", "model.layers.0.mlp.up_proj.weight")]
