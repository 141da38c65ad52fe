"""`healscope weights`: quantities of an update and their nulls, against definitions and draws."""

import math

import pandas as pd
import pytest
import torch
from given import miniature
from safetensors.torch import load_file, save_file

from healscope import cli
from healscope.draws import seeded
from healscope.spectra import glance

M, N = 40, 24


def rows_of(old, new, controls=True) -> dict:
    return {row[0]: row[1:] for row in glance._rows_of(old, new, True, controls)}


@pytest.fixture
def pair():
    rng = torch.Generator().manual_seed(0)
    old = torch.randn(M, N, generator=rng)
    return old, old + 0.1 * torch.randn(M, N, generator=rng)


@pytest.mark.parametrize("turned", [False, True])
def test_quantities_are_those_of_the_update_itself(pair, turned, monkeypatch):
    monkeypatch.setattr(glance, "_ROWS", 7)  # a tall matrix, read in parts
    old, new = (x.T if turned else x for x in pair)
    found = rows_of(old, new)
    delta = (new - old).double()
    s = torch.linalg.svdvals(delta)
    p = s / s.sum()
    cosine = torch.cosine_similarity(old.double().flatten(), new.double().flatten(), dim=0)
    expected = {
        "norm": old.double().norm(),
        "change": delta.norm(),
        "drift": delta.norm() / old.double().norm(),
        "cosine": cosine,
        "unchanged": (old.bfloat16() == new.bfloat16()).double().mean(),
        "effective_rank": torch.exp(-(p * p.log()).sum()),
        "stable_rank": s.square().sum() / s[0].square(),
        "leading_20": s[:20].square().sum() / s.square().sum(),
    }
    u, _, vh = torch.linalg.svd(old.double(), full_matrices=False)
    inside = u[:, :6].T @ delta @ vh[:6].T
    expected["within_leading"] = inside.square().sum() / s.square().sum()
    assert {k: v[0] for k, v in found.items()} == pytest.approx(
        {k: float(v) for k, v in expected.items()}, rel=1e-7
    )


@pytest.mark.parametrize(("directions", "share"), [(slice(0, 6), 1.0), (slice(6, N), 0.0)])
def test_an_update_of_the_leading_directions_is_told_from_one_of_the_others(
    pair, directions, share
):
    old = pair[0].double()
    u, s, vh = torch.linalg.svd(old, full_matrices=False)
    delta = 0.1 * (u[:, directions] * s[directions]) @ vh[directions]
    value, chance, sd = rows_of(old, old + delta)["within_leading"]
    assert value == pytest.approx(share, abs=1e-9)
    assert abs(value - chance) > 3 * sd or share == 0


def test_the_null_of_where_an_update_lies_is_that_of_random_directions(pair):
    rng = torch.Generator().manual_seed(1)
    old = pair[0].double()
    s = torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64)
    drawn = []
    for _ in range(1500):
        u, v = (
            torch.linalg.qr(torch.randn(size, 3, generator=rng, dtype=torch.float64))[0]
            for size in (M, N)
        )
        value, chance, sd = rows_of(old, old + (u * s) @ v.T)["within_leading"]
        drawn.append(value)
    drawn = torch.tensor(drawn)
    assert float(drawn.mean()) == pytest.approx(chance, abs=4 * sd / 1500**0.5)
    assert float(drawn.std()) == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("rank", [8, 48])
def test_where_noise_of_any_rank_lies_is_told_with_the_right_sd(rank):
    torch.manual_seed(0)
    old = torch.randn(64, 48, dtype=torch.float64)
    scores = []
    for _ in range(200):
        left, right = (torch.randn(n, rank, dtype=torch.float64) for n in old.shape)
        update = left @ right.T if rank < 48 else torch.randn_like(old)
        energies = torch.linalg.svdvals(update) ** 2
        share, mean, sd = glance._within(old, old + update, energies, old.T @ old)
        scores.append((share - mean) / sd)
    scores = torch.tensor(scores)
    assert float(scores.std()) == pytest.approx(1, abs=0.13)
    assert abs(float(scores.mean())) < 0.25


def test_the_null_of_the_ranks_is_that_of_noise(pair):
    rng = torch.Generator().manual_seed(2)
    null = glance._unstructured(400, 60)
    for _ in range(3):
        noise = torch.randn(400, 60, generator=rng, dtype=torch.float64)
        own = glance.shape_of(torch.linalg.svdvals(noise).square())
        assert own == pytest.approx(null, rel=0.05)


@pytest.fixture
def folders(tmp_path):
    model, _ = miniature("Llama")
    for name in ("base", "sft"):
        model.save_pretrained(tmp_path / name)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.05 * torch.randn(weight.shape, generator=seeded(name))
    return tmp_path / "base", tmp_path / "sft"


def test_a_low_rank_update_is_shown_beside_noise(folders, tmp_path, capsys):
    a, b = folders
    tensors = load_file(a / "model.safetensors")
    name = next(n for n in tensors if n.endswith("layers.0.mlp.up_proj.weight"))
    m, n = tensors[name].shape
    tensors[name] += 0.1 * torch.outer(torch.ones(m), torch.ones(n))
    save_file(tensors, b / "model.safetensors", {"format": "pt"})
    out = tmp_path / "new/rows.parquet"
    assert cli.main(["weights", str(a), str(b), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    rows = pd.read_parquet(out)
    assert list(rows.columns) == list(glance.COLUMNS)
    changed = rows[(rows["quantity"] == "change") & (rows["value"] > 0)]
    assert list(changed["name"]) == [name]
    ranks = rows[rows["quantity"] == "effective_rank"]
    assert ranks["value"].item() == pytest.approx(1, abs=1e-3)
    assert ranks["null"].item() > 3
    assert f"{rows['name'].nunique() - 1} of them did not change" in said
    assert "Moved most: up of layer 0" in said


def test_equal_models_have_no_update_to_look_at(folders, capsys):
    a, _ = folders
    rows = glance.glance(a, a)
    assert set(rows["quantity"]) == {"norm", "change", "drift", "cosine", "unchanged"}
    assert cli.main(["weights", str(a), str(a)]) == 0
    assert "0.00% of the weights' norm" in capsys.readouterr().out


def test_without_controls_there_are_no_nulls(folders):
    rows = glance.glance(*folders, controls=False)
    assert rows["null"].isna().all()
    assert "within_leading" not in set(rows["quantity"])


def test_models_that_do_not_match_are_refused(folders, capsys):
    a, b = folders
    tensors = load_file(b / "model.safetensors")
    name = next(n for n in tensors if n.endswith("up_proj.weight"))
    save_file({**tensors, name: tensors[name][:-1]}, b / "model.safetensors", {"format": "pt"})
    assert cli.main(["weights", str(a), str(b)]) == 1
    assert f"{name} has shape" in capsys.readouterr().err
    del tensors[name]
    save_file(tensors, b / "model.safetensors", {"format": "pt"})
    assert cli.main(["weights", str(a), str(b)]) == 1
    assert f"only one of them has {name}" in capsys.readouterr().err


def test_nan_is_not_written_as_a_number(folders):
    rows = glance.glance(*folders)
    assert not rows["value"].isna().any()
    assert all(math.isfinite(x) for x in rows["null_sd"].dropna())
