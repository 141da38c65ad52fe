"""Checkpoints that are not what they claim to be are refused by name, and good ones are not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity
from healscope.models.stored import Stored

SHAPES = [(64, 64), (128, 64), (64, 160), (40, 96)]
STD = 0.02


def drawn(std: float = STD, seed: int = 0, uniform: bool = False) -> dict[str, torch.Tensor]:
    """Fresh matrices of several shapes, and parts of a model that do not count."""
    rng = np.random.default_rng(seed)
    new = (lambda s: rng.uniform(-1, 1, s) * std * 3**0.5) if uniform else (
        lambda s: rng.normal(0, std, s)
    )  # fmt: skip
    counted = {f"model.layers.{i}.mlp.up_proj.weight": new(s) for i, s in enumerate(SHAPES)}
    others = {"model.embed_tokens.weight": (300, 64), "lm_head.weight": (300, 64)}
    weights = counted | {name: new(shape) for name, shape in others.items()}
    weights["model.norm.weight"] = np.ones(64)
    return {name: torch.tensor(w, dtype=torch.float32) for name, w in weights.items()}


def matrices(weights: dict) -> list[str]:
    return [name for name in weights if ".mlp." in name]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("uniform", [False, True])
def test_fresh_weights_are_refused(seed, uniform):
    with pytest.raises(HealscopeError, match=r"seven: its weights are random. 4 of 4 matrices"):
        integrity.check_trained(drawn(seed=seed, uniform=uniform), STD, "seven")


def test_rounding_does_not_hide_fresh_weights():
    halves = {name: w.bfloat16() for name, w in drawn().items()}
    with pytest.raises(HealscopeError, match="random"):
        integrity.check_trained(halves, STD, "half")


def test_another_scale_is_trained():
    """The spectrum is still that of noise; only the standard deviation tells."""
    integrity.check_trained(drawn(std=1.08 * STD), STD, "scaled")
    ten = drawn(std=1.08 * STD)[matrices(drawn())[0]]
    assert integrity.spectral_distance(ten, STD) < 0.1


def test_a_spectrum_with_structure_is_trained():
    """Entries of exactly the initial standard deviation, in directions that are random still; the
    singular values fall off faster. Only the spectrum tells."""
    weights = drawn()
    for name in matrices(weights):
        u, s, vh = torch.linalg.svd(weights[name], full_matrices=False)
        steeper = (u * s**1.3) @ vh
        weights[name] = steeper * STD / steeper.std()
    assert all(integrity.fresh_scale(weights, STD).values())
    integrity.check_trained(weights, STD, "steep")


@pytest.mark.parametrize(("random", "refused"), [(1, False), (2, True), (3, True)])
def test_half_of_the_matrices_decide(random, refused):
    weights, trained = drawn(), drawn(std=2 * STD)
    for name in matrices(weights)[random:]:
        weights[name] = trained[name]
    if refused:
        with pytest.raises(HealscopeError, match=f"{random} of 4 matrices"):
            integrity.check_trained(weights, STD, "mixed")
    else:
        integrity.check_trained(weights, STD, "mixed")


def test_a_trained_tower_does_not_hide_a_random_language_model():
    weights = drawn()
    for i in range(10):
        weights[f"vision_model.layers.{i}.weight"] = torch.randn(64, 64)
    with pytest.raises(HealscopeError, match="4 of 4 matrices"):
        integrity.check_trained(weights, STD, "both")


def test_a_model_too_small_to_judge_passes():
    integrity.check_trained({"layers.0.weight": torch.randn(8, 8) * STD}, STD, "tiny")


@pytest.mark.parametrize(("m", "n"), [(200, 200), (400, 200), (3000, 60)])
def test_the_law_is_that_of_random_matrices(m, n):
    """Against one drawn matrix, and against moments known in closed form."""
    x, below = integrity.marchenko_pastur(m, n, STD)
    middles, weights = (x[1:] + x[:-1]) / 2, np.diff(below)
    mean, ratio = m * STD**2, n / m
    assert (middles * weights).sum() == pytest.approx(mean, rel=1e-4)
    assert (middles**2 * weights).sum() == pytest.approx(mean**2 * (1 + ratio), rel=1e-4)
    assert x[0] == pytest.approx(mean * (1 - ratio**0.5) ** 2)
    assert x[-1] == pytest.approx(mean * (1 + ratio**0.5) ** 2)
    w = torch.tensor(np.random.default_rng(0).normal(0, STD, (m, n)))
    assert integrity.spectral_distance(w, STD) < integrity.DISTANCE / n
    assert integrity.spectral_distance(w.T, STD) == pytest.approx(
        integrity.spectral_distance(w, STD)
    )


@pytest.mark.parametrize(
    ("config", "std"),
    [
        ({"initializer_range": 0.05}, 0.05),
        ({"init_std": 0.1}, 0.1),
        ({"text_config": {"initializer_range": 0.03}, "initializer_range": 0.5}, 0.03),
        ({}, 0.02),
    ],
)
def test_the_initial_scale_is_read_from_the_config(config, std):
    assert integrity.initial_std(config) == std


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("qwen2", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
        ("phi3", {"num_key_value_heads": 1, "pad_token_id": 0}),  # fused projections
        ("gpt2", {"n_embd": 64, "n_layer": 3, "n_head": 2}),  # draws half of them at another scale
    ],
)
def test_fresh_models_of_other_families_are_refused(family, settings):
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {
        "vocab_size": 50, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }  # fmt: skip
    config = AutoConfig.for_model(family, **({} if family == "gpt2" else small), **settings)
    torch.manual_seed(0)
    weights = AutoModelForCausalLM.from_config(config).state_dict()
    std = integrity.initial_std(config.to_dict())
    with pytest.raises(HealscopeError, match="its weights are random"):
        integrity.check_trained(weights, std, family)
    moved = {k: w + 0.6 * std * torch.randn_like(w) for k, w in weights.items()}
    integrity.check_trained(moved, std, family)


def test_a_folder_is_checked_tensor_by_tensor(base_manifest):
    folder = Path(base_manifest).parent
    with pytest.raises(HealscopeError, match=f"{folder}: its weights are random"):
        integrity.check_folder(folder)


@pytest.fixture
def folder(base_manifest, tmp_path):
    """A copy of a good checkpoint."""
    return shutil.copytree(Path(base_manifest).parent, tmp_path / "copy")


def vouch(folder: Path) -> Path:
    """Writes the manifest anew, as a careless program would: files and hashes agree."""
    files = {
        f.name: {"bytes": f.stat().st_size, "sha256": provenance.sha256(f)}
        for f in folder.iterdir()
        if f.name != checkpoints.MANIFEST
    }
    provenance.write_json(folder / checkpoints.MANIFEST, {"files": files})
    return folder / checkpoints.MANIFEST


def with_weights(folder: Path, change) -> Path:
    file = folder / checkpoints.WEIGHTS
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return vouch(folder)


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(UP), f"1 missing \\({UP}\\)"),
        (lambda w: w.update(extra=torch.zeros(2)), r"1 unexpected \(extra\)"),
        (lambda w: w.update({UP: w[UP][:3]}), f"1 of another shape \\({UP}\\)"),
        (
            lambda w: [w.update({f"module.{k}": w.pop(k)}) for k in list(w)],
            r"21 missing \(.*, …\); 21 unexpected",
        ),
    ],
)
def test_other_keys_are_refused(folder, change, message):
    manifest = with_weights(folder, change)
    with pytest.raises(HealscopeError, match=f"copy: its weights are not those.*{message}"):
        checkpoints.load_model(manifest)


@pytest.mark.parametrize(
    "name", ["vision_model.patch.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]
)
def test_towers_and_buffers_may_be_there(folder, name):
    """What a causal language model leaves out, and what it computes itself."""
    checkpoints.load_model(with_weights(folder, lambda w: w.update({name: torch.zeros(2)})))


def test_shards_are_one_model(folder):
    model, _ = checkpoints.load_model(folder / checkpoints.MANIFEST)
    (folder / checkpoints.WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    again, _ = checkpoints.load_model(vouch(folder))
    assert all(torch.equal(w, again.state_dict()[k]) for k, w in model.state_dict().items())
    assert Stored(folder).keys() == model.state_dict().keys()
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = {k: f for k, f in content["weight_map"].items() if "layers.1" not in k}
    index.write_text(json.dumps(content))
    for lost in set(folder.glob("model-*")) - {folder / f for f in content["weight_map"].values()}:
        lost.unlink()
    with pytest.raises(HealscopeError, match=r"missing \(model\.layers\.1"):
        checkpoints.load_model(vouch(folder))


def test_a_tied_model_has_one_name_for_two_weights(tmp_path, task):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from healscope.models.tokens import word_tokenizer

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    checkpoints.save_weights(tmp_path, Qwen2ForCausalLM(config), word_tokenizer(["a"]))
    assert "lm_head.weight" not in Stored(tmp_path)
    loaded, _ = checkpoints.load_model(vouch(tmp_path))
    assert loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()


def test_a_model_says_again_what_it_said(folder):
    model, _ = checkpoints.load_model(folder / checkpoints.MANIFEST)
    assert integrity.check_logits(folder, model) < 1e-6
    stored = json.loads((folder / integrity.LOGITS).read_text())
    with torch.no_grad():
        logits = model(torch.tensor([stored["ids"]])).logits[0, -1]
    assert stored["logits"] == pytest.approx(logits.tolist(), rel=1e-5, abs=1e-6)
    assert len(set(stored["ids"])) == integrity.PROMPT_TOKENS


def test_recording_leaves_the_mode_of_training(folder):
    model, _ = checkpoints.load_model(folder / checkpoints.MANIFEST)
    for training in (True, False):
        model.train(training)
        integrity.record_logits(folder, model)
        assert model.training == training


def test_another_function_of_the_same_weights_is_refused(folder):
    """The positions turn at another rate; every tensor is as it was."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["rope_parameters"]["rope_theta"] = 3.0
    file.write_text(json.dumps(config))
    with pytest.raises(HealscopeError, match="copy: the model that was loaded is not the one"):
        checkpoints.load_model(vouch(folder))


def test_logits_that_are_not_numbers_are_refused(folder):
    manifest = with_weights(folder, lambda w: w[UP].fill_(float("nan")))
    with pytest.raises(HealscopeError, match="differ by nan"):
        checkpoints.load_model(manifest)


def test_the_precision_of_the_record_sets_the_limit(folder):
    """A model kept in bfloat16 is loaded in float32: close, and not the same."""
    model, tokenizer = checkpoints.load_model(folder / checkpoints.MANIFEST)
    with torch.no_grad():  # logits of a model that has learned something are no longer small
        model.lm_head.weight.mul_(30)
    checkpoints.save_weights(folder, model.bfloat16(), tokenizer)
    wide, _ = checkpoints.load_model(vouch(folder))
    assert wide.dtype == torch.float32
    assert 1e-6 < integrity.check_logits(folder, wide) < integrity.LIMITS["bfloat16"]


def test_a_checkpoint_without_a_record_loads_with_a_note(folder, capsys):
    (folder / integrity.LOGITS).unlink()
    model, _ = checkpoints.load_model(vouch(folder))
    assert f"{folder} holds no recorded logits" in capsys.readouterr().err
    assert integrity.check_logits(folder, model) is None
