"""Training some entries alone: the others stay bit by bit, whole masks are none, random ones."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from healscope import provenance
from healscope.config import PPO, Mask, Optimizer
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.tasks.problem import Verdict
from healscope.tasks.rewards import Scored
from healscope.training import masked, ppo


def longer(problem, text):
    return Scored(Verdict("wrong_value", 0.0, True), 0.1 * len(text))


def recipe(**mask):
    return PPO(
        algorithm="ppo", iterations=2, responses=16, kl_every=None, freeze=["embed_tokens"],
        optimizer=Optimizer(learning_rate=0.01, warmup_steps=0),
        mask=Mask(of="other-from-0", **mask) if mask else None,
    )  # fmt: skip


@pytest.fixture
def other(base_manifest, tmp_path):
    """A checkpoint whose every matrix has one column changed, and nothing else; its manifest."""
    folder = tmp_path / "other"
    shutil.copytree(Path(base_manifest).parent, folder)
    file = folder / checkpoints.WEIGHTS
    weights = load_file(file)
    for tensor in weights.values():
        tensor[..., 0] += 1.0
    save_file(weights, file, metadata={"format": "pt"})
    manifest = folder / "checkpoint.json"
    content = provenance.read_json(manifest)
    content["files"][file.name] = {
        "bytes": file.stat().st_size, "sha256": provenance.sha256(file),
    }  # fmt: skip
    provenance.write_json(manifest, content)
    return str(manifest)


def run(settings, branch):
    ppo.train(settings, branch)
    branch.work._lock.close()  # as when the process ends
    return checkpoints.load_file(branch.work.staged(branch.name) / checkpoints.WEIGHTS)


@pytest.mark.parametrize("keep", ["changed", "complement", "random"])
def test_entries_outside_a_mask_stay_bit_by_bit(branch_at, base_manifest, other, keep):
    branch = replace(branch_at("masked", longer, 6), masked_by=other)
    settings = recipe(keep=keep, by="bf16")
    entries = masked.masks(settings.mask, base_manifest, other, branch.seed)
    weights, start = run(settings, branch), checkpoints.load_weights(base_manifest)
    moved = 0
    for name, tensor in weights.items():
        changed = tensor != start[name]
        assert not (changed & ~entries[name]).any(), name
        moved += int(changed.sum())
    assert moved > 50


def test_masks_are_the_planted_column_its_rest_and_as_many_anywhere(base_manifest, other):
    by_kind = {
        keep: masked.masks(Mask(of="x-from-0", keep=keep, by="bf16"), base_manifest, other, 0)
        for keep in ("changed", "complement", "random")
    }
    overlap = expected = 0
    for name, mask in by_kind["changed"].items():
        assert mask[..., 0].all()
        assert int(mask.sum()) == mask[..., 0].numel()
        assert torch.equal(by_kind["complement"][name], ~mask)
        random = by_kind["random"][name]
        assert random.sum() == mask.sum()
        overlap += int((random & mask).sum())
        expected += float(mask.sum()) ** 2 / mask.numel()
    # hypergeometric, of some hundred entries in all
    assert abs(overlap - expected) < 4 * expected**0.5


def test_a_mask_of_everything_is_none(branch_at, base_manifest, other, monkeypatch):
    plain = run(recipe(), branch_at("plain", longer, 6))
    everything = {k: torch.ones_like(v, dtype=bool) for k, v in plain.items()}
    monkeypatch.setattr(masked, "masks", lambda *_: everything)
    same = run(recipe(keep="changed"), replace(branch_at("all", longer, 6), masked_by=other))
    assert all(torch.equal(plain[name], same[name]) for name in plain)


def test_a_mask_of_another_model_is_refused(base_manifest, other, monkeypatch):
    known = checkpoints.load_weights

    def fewer(manifest):
        found = known(manifest)
        return dict(list(found.items())[1:]) if manifest == other else found

    monkeypatch.setattr(checkpoints, "load_weights", fewer)
    with pytest.raises(HealscopeError, match="no checkpoint of the same model"):
        masked.masks(Mask(of="x-from-0"), base_manifest, other, 0)


def test_weight_decay_would_move_all_entries():
    with pytest.raises(ValueError, match="needs optimizer.weight_decay: 0"):
        PPO(algorithm="ppo", optimizer=Optimizer(weight_decay=0.1), mask=Mask(of="ppo-from-0"))
