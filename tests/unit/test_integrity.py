"""Checkpoints that are not what they claim to be are refused by name, and good ones are not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark import load
from safetensors.torch import load_file, save_file

from healscope import provenance
from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity, noise
from healscope.models.stored import Stored
from healscope.models.variants import from_checkpoint, load_each

STD = 0.05
SIZE, INNER, TOKENS, LAYERS = 64, 96, 300, 4
SHAPES = {
    "self_attn.q_proj": (SIZE, SIZE),
    "self_attn.o_proj": (SIZE, SIZE),
    "mlp.up_proj": (INNER, SIZE),
    "mlp.down_proj": (SIZE, INNER),
}


INITIALISERS = load("integrity").initialisers(STD)


def drawn(how="normal", seed: int = 0, size: int = 1) -> dict[str, torch.Tensor]:
    """A fresh model; `size` times as large as the smallest that is judged."""
    shapes = {
        f"model.layers.{i}.{module}.weight": shape
        for i in range(LAYERS)
        for module, shape in SHAPES.items()
    }
    shapes |= dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (TOKENS, SIZE))
    weights = {n: torch.empty(size * m, size * k) for n, (m, k) in shapes.items()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for weight in weights.values():
            INITIALISERS[how](weight)
    weights["model.norm.weight"] = torch.ones(size * SIZE)
    return weights


def updated(weights: dict, share: float, seed: int = 1) -> dict[str, torch.Tensor]:
    """Each matrix and an update of rank 3, as gradients make them, of `share` of its norm."""
    draws, found = torch.Generator().manual_seed(seed), {}
    for name, w in weights.items():
        if w.ndim == 2:
            update = torch.randn(w.shape[0], 3, generator=draws) @ torch.randn(
                3, w.shape[1], generator=draws
            )
            w = w + share * w.norm() / update.norm() * update
        found[name] = w
    return found


@pytest.mark.parametrize("how", INITIALISERS)
@pytest.mark.parametrize("seed", range(3))
def test_fresh_weights_are_refused(how, seed):
    weights = drawn(how, seed)
    for found in (
        weights,
        updated(weights, 0.02),  # trained a little
        {n: w.bfloat16() for n, w in weights.items()},
        {n: 1.4 * w if w.ndim == 2 else w for n, w in weights.items()},
    ):
        with pytest.raises(HealscopeError, match=r"seven: its weights are random"):
            integrity.check_trained(found, STD, "seven")


@pytest.mark.parametrize("how", INITIALISERS)
@pytest.mark.parametrize("part", [*SHAPES, "mlp.", "embed_tokens", "lm_head"])
def test_a_model_of_which_a_whole_role_is_fresh_is_refused(how, part):
    fresh = drawn(how)
    weights = updated(drawn(seed=5), 0.7)
    integrity.check_trained(weights, STD, "trained")
    mixed = {name: fresh[name] if part in name else w for name, w in weights.items()}
    with pytest.raises(HealscopeError, match=f"one: its weights are random.* all of .*{part}"):
        integrity.check_trained(mixed, STD, "one")


def test_a_fresh_role_of_a_larger_model_is_refused_at_any_scale():
    fresh, weights = drawn("normal", size=3), updated(drawn(seed=5, size=3), 0.7)
    for scale in (0.3, 0.9, 5.0):
        mixed = {n: scale * fresh[n] if "up_proj" in n else w for n, w in weights.items()}
        with pytest.raises(HealscopeError, match=r"all of model\.layers\.\*\.mlp\.up_proj"):
            integrity.check_trained(mixed, STD, "one")


def test_one_fresh_layer_says_little():
    fresh, weights = drawn(), updated(drawn(seed=5), 0.7)
    mixed = {n: fresh[n] if ".layers.0." in n else w for n, w in weights.items()}
    integrity.check_trained(mixed, STD, "one layer")


def test_half_of_the_matrices_fresh_is_too_much():
    fresh, weights = drawn(), updated(drawn(seed=5), 0.7)
    mixed = {
        n: fresh[n] if any(f".{i}." in n for i in (0, 1, 3)) else w for n, w in weights.items()
    }
    with pytest.raises(HealscopeError, match=r"of 18 matrices follow"):
        integrity.check_trained(mixed, STD, "mixed")


@pytest.mark.parametrize("kind", ["rows", "columns", "spectrum"])
def test_each_departure_from_independence_tells(kind):
    """Entries of exactly the initial standard deviation, in directions that are random still."""
    weights, rng = drawn(size=2), torch.Generator().manual_seed(3)
    for name, w in weights.items():
        if w.ndim != 2:
            continue
        if kind == "spectrum":
            u, s, vh = torch.linalg.svd(w, full_matrices=False)
            w = (u * s**1.5) @ vh
        else:  # one that changes the spectrum little
            shape = (len(w), 1) if kind == "rows" else (1, w.shape[1])
            w = w * (1 + 0.3 * torch.randn(shape, generator=rng))
        weights[name] = w * STD / w.std()
    for w in (w for w in weights.values() if w.ndim == 2):
        assert not (noise.follows_law(w) if kind == "spectrum" else noise.look(w).even)
    integrity.check_trained(weights, STD, kind)


def learned(weights: dict, share: float, directions: int = 3) -> dict[str, torch.Tensor]:
    """Each matrix and an update of `share` of its norm, in directions of the residual stream that
    all matrices have in common."""
    draws = torch.Generator().manual_seed(7)
    common, found = torch.randn(directions, SIZE, generator=draws), dict(weights)
    for name, w in weights.items():
        if w.ndim == 2:
            reads = w.shape[1] == SIZE
            update = torch.randn(max(w.shape) if reads else w.shape[1], directions, generator=draws)
            update = update[: w.shape[0]] @ common if reads else common.T @ update.T
            found[name] = w + share * w.norm() / update.norm() * update
    return found


@pytest.mark.parametrize("part", [*SHAPES, "embed_tokens", "lm_head"])
def test_a_role_that_learned_little_of_what_the_others_did_passes(part):
    """Its scale, rows and spectra are those of fresh weights; its directions are not."""
    fresh = drawn()
    little, much = learned(fresh, 0.2), learned(fresh, 0.7)
    mixed = {name: little[name] if part in name else w for name, w in much.items()}
    integrity.check_trained(mixed, STD, "learned")
    with pytest.raises(HealscopeError, match=f"all of .*{part}"):
        integrity.check_trained(much | {n: fresh[n] for n in fresh if part in n}, STD, "one")


def test_directions_of_fresh_matrices_agree_by_chance_alone():
    found = []
    for seed in range(20):
        matrices = [w for w in drawn(seed=seed).values() if w.ndim == 2]
        together = noise.shared_directions(matrices, SIZE)
        found += [noise.alignment(w, together) for w in matrices]
    assert max(found) < noise.ALIGNED
    assert abs(np.mean(found)) < 1


def test_a_tied_matrix_does_not_agree_with_itself():
    weights = drawn()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    weights = learned(weights, 0.7) | {
        n: weights[n] for n in ("lm_head.weight", "model.embed_tokens.weight")
    }
    with pytest.raises(HealscopeError, match="all of .*embed_tokens"):
        integrity.check_trained(weights, STD, "tied")


def test_padding_does_not_hide_fresh_embeddings():
    weights = updated(drawn(seed=5), 0.7)
    weights["model.embed_tokens.weight"] = drawn()["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"][[0, *range(250, 300)]] = 0
    with pytest.raises(HealscopeError, match="all of model.embed_tokens"):
        integrity.check_trained(weights, STD, "padded")


def test_a_trained_tower_does_not_hide_a_random_language_model():
    weights = drawn()
    for i in range(30):
        weights[f"vision_model.layers.{i}.weight"] = updated({"w": torch.randn(64, 64)}, 1.0)["w"]
    with pytest.raises(HealscopeError, match="of 18 matrices"):
        integrity.check_trained(weights, STD, "both")


def test_a_model_too_small_to_judge_passes():
    integrity.check_trained({"layers.0.weight": torch.randn(8, 8) * STD}, STD, "tiny")


@pytest.mark.parametrize(("m", "n"), [(200, 200), (400, 200), (3000, 60)])
def test_the_law_is_that_of_random_matrices(m, n):
    """Against one drawn matrix, and against moments known in closed form."""
    x, below = noise.marchenko_pastur(m, n, STD)
    middles, weights = (x[1:] + x[:-1]) / 2, np.diff(below)
    mean, ratio = m * STD**2, n / m
    assert (middles * weights).sum() == pytest.approx(mean, rel=1e-4)
    assert (middles**2 * weights).sum() == pytest.approx(mean**2 * (1 + ratio), rel=1e-4)
    assert x[0] == pytest.approx(mean * (1 - ratio**0.5) ** 2)
    assert x[-1] == pytest.approx(mean * (1 + ratio**0.5) ** 2)
    w = torch.tensor(np.random.default_rng(0).normal(0, STD, (m, n)))
    assert noise.spectral_distance(w, STD) < noise.DISTANCE / n
    assert noise.spectral_distance(w.T, STD) == pytest.approx(noise.spectral_distance(w, STD))


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
    integrity.check_trained(updated(weights, 0.7), std, family)


def test_a_folder_is_checked_tensor_by_tensor(base_manifest):
    folder = Path(base_manifest).parent
    with pytest.raises(HealscopeError, match=f"{folder}: its weights are random"):
        integrity.check_folder(folder)


@pytest.fixture
def folder(base_manifest, tmp_path):
    """A copy of a good checkpoint."""
    return shutil.copytree(Path(base_manifest).parent, tmp_path / "copy")


def vouch(folder: Path) -> Path:
    """Write the manifest anew, as a careless program would: files and hashes agree."""
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
            lambda w: [w.update({f"wrapped.{k}": w.pop(k)}) for k in list(w)],
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named_with_their_checkpoint(
    folder, model_and_tokenizer, value
):
    manifest = with_weights(folder, lambda w: w[UP].__setitem__((3, 4), value))
    named = rf"copy: {UP} is not finite \(NaN or infinite in 1 of \d+ values\)"
    with pytest.raises(HealscopeError, match=named):
        checkpoints.load_model(manifest)
    with pytest.raises(HealscopeError, match=named):  # as edits and decompositions read it
        Stored(folder)[UP]
    with pytest.raises(HealscopeError, match=named):  # as it is read into a skeleton
        list(load_each(model_and_tokenizer[0], [from_checkpoint("sft-5", manifest)], {}))


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
