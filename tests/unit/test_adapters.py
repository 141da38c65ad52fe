"""PEFT adapters as checkpoints: merged as PEFT computes them, edited, exported, or refused."""

import json
import shutil
from pathlib import Path
from pickle import UnpicklingError

import pytest
import torch
from given import WORDS, change, miniature, save
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from healscope import cli
from healscope.config import adapters as files
from healscope.config import own_checkpoints, sources
from healscope.config.models import Model
from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity, linked, pickled, tokens
from healscope.models.stored import Stored
from healscope.models.variants import from_checkpoint, load_each

ASKED = torch.tensor([[1, 4, 5, 6, 7, 3]])
ALL = {"target_modules": "all-linear"}
Q = {"target_modules": ["q_proj", "v_proj"]}
KINDS = {
    "lora": ALL,
    "rslora": {**Q, "use_rslora": True},
    "dora": {**ALL, "use_dora": True},
    "biases": {**Q, "bias": "all"},
    "own biases": {**Q, "bias": "lora_only", "lora_bias": True},
    "whole modules": {**Q, "modules_to_save": ["embed_tokens", "lm_head"]},
    "patterns": {**ALL, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 32}},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "tokens": {**Q, "trainable_token_indices": {"embed_tokens": [1, 2]}},
    "some layers": {**Q, "layers_to_transform": [1]},
}


def adapter(base: str, folder: Path, seed: int = 1, **settings) -> str:
    """An adapter with random weights, as PEFT saves it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(base)
        config = LoraConfig(
            r=4, lora_alpha=8, task_type="CAUSAL_LM", init_lora_weights=False, **settings
        )
        wrapped = get_peft_model(model, config)
        with torch.no_grad():
            for weight in wrapped.parameters():
                if weight.requires_grad:
                    weight += 0.05 * torch.randn(weight.shape)
    wrapped.save_pretrained(folder)
    return str(folder)


def by_peft(base: str, folder: str, scale: float = 1.0) -> torch.Tensor:
    """Logits of PEFT's own forward pass; with `scale` times the adapter."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    for module in model.modules():
        if hasattr(module, "scale_layer"):
            module.scale_layer(scale)
    with torch.no_grad():
        return model(input_ids=ASKED).logits


@pytest.fixture
def base(tmp_path):
    model, tokenizer = miniature("Llama")
    model = type(model)(type(model.config)(**{**model.config.to_dict(), "attention_bias": True}))
    return save(tmp_path / "mine/base", model, tokenizer)


def take(folder: Path, base: str, *given: str) -> list[Path]:
    """Manifests of the base and of checkpoints, linked into a study's folder."""
    names = ["base", *(f"sft-{i}" for i in range(1, len(given) + 1))]
    manifests = [folder / name / "checkpoint.json" for name in names]
    linked.take("mine, base", base, given[-1], manifests[0])
    for name, source, manifest in zip(names[1:], given, manifests[1:], strict=True):
        linked.take(f"mine, {name}", source, str(manifests[0]), manifest)
    return manifests


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_evaluated_as_peft_computes_it(base, tmp_path, kind):
    given = adapter(base, tmp_path / "mine/lora", **KINDS[kind])
    manifests = take(tmp_path / "results", base, given)
    skeleton, _ = checkpoints.load_model(manifests[0])
    expected = by_peft(base, given)
    (variant,) = load_each(skeleton, [from_checkpoint("sft-1", manifests[1])], {})
    with torch.no_grad():
        assert torch.allclose(skeleton(input_ids=ASKED).logits, expected, atol=1e-4)
        itself, _ = checkpoints.load_model(manifests[1])  # as the skeleton of edits
        assert torch.allclose(itself(input_ids=ASKED).logits, expected, atol=1e-4)
    before = AutoModelForCausalLM.from_pretrained(base)(input_ids=ASKED).logits
    assert not torch.allclose(before, expected, atol=1e-2)
    assert {p.name for p in manifests[1].parent.iterdir()} >= {"adapter_config.json", "logits.json"}
    assert not list(manifests[1].parent.glob("model*"))  # nothing merged is written


def test_strength_of_an_edit_scales_the_adapter_and_the_export_is_merged(base, tmp_path):
    given = adapter(base, tmp_path / "mine/lora", **ALL)
    parent, target = (m.parent for m in take(tmp_path / "results", base, given))
    out = tmp_path / "repaired"
    command = ["export", "--target", target, "--parent", parent, "--out", out]
    assert cli.main([*map(str, command), "--edit", "swap-strength-0.75"]) == 0
    exported = AutoModelForCausalLM.from_pretrained(out)
    with torch.no_grad():
        now = exported(input_ids=ASKED).logits
    assert torch.allclose(now, by_peft(base, given, 0.25), atol=1e-4)
    assert not (out / "adapter_config.json").exists()
    assert set(Stored(out)) == set(Stored(parent))


def test_a_half_precision_base_is_merged_in_float32_and_exported_in_its_type(base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    half = save(tmp_path / "mine/half", model, tokens.word_tokenizer(WORDS))
    given = adapter(half, tmp_path / "mine/lora", **Q)
    manifest = take(tmp_path / "results", half, given)[1]
    name = "model.layers.0.self_attn.q_proj.weight"
    stored = Stored(manifest.parent)
    assert stored[name].dtype == torch.float32
    assert stored["model.norm.weight"].dtype == torch.bfloat16
    assert stored.dtype(name) == torch.bfloat16


def test_an_adapter_on_a_checkpoint_is_merged_into_that(base, tmp_path):
    """As RL leaves it that trained an adapter on an SFT checkpoint, itself an adapter."""
    given = adapter(base, tmp_path / "mine/lora", **Q)
    manifests = take(tmp_path / "results", base, given)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), given)
    whole = str(tmp_path / "merged")
    merged.merge_and_unload().save_pretrained(whole)
    second = adapter(whole, tmp_path / "mine/second", seed=2, **Q)
    out = tmp_path / "results/rl-from-1/checkpoint.json"
    linked.take("mine, rl", second, str(manifests[0]), out, str(manifests[1]))
    skeleton, _ = checkpoints.load_model(out)
    with torch.no_grad():
        there = skeleton(input_ids=ASKED).logits
    assert torch.allclose(there, by_peft(whole, second), atol=1e-4)
    file = manifests[1].parent / "adapter_model.safetensors"
    file.unlink()
    with pytest.raises(HealscopeError, match="sft-1/adapter_model.safetensors is missing"):
        checkpoints.verify(out)


def test_an_adapter_that_added_tokens_brings_its_rows(base, tmp_path, capsys):
    tokenizer = tokens.word_tokenizer(WORDS)
    tokenizer.add_tokens(["<tool>", "<end>"])
    resized = AutoModelForCausalLM.from_pretrained(base)
    resized.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    wider = save(tmp_path / "wider", resized, tokenizer)
    given = adapter(wider, tmp_path / "mine/lora", modules_to_save=["embed_tokens", "lm_head"], **Q)
    tokenizer.save_pretrained(given)
    manifests = take(tmp_path / "results", base, given)
    assert "base: its vocabulary has 12 rows and is read with 14" in capsys.readouterr().err
    skeleton, _ = checkpoints.load_model(manifests[0])
    (_,) = load_each(skeleton, [from_checkpoint("sft-1", manifests[1])], {})
    with torch.no_grad():
        now = skeleton(input_ids=ASKED).logits
    assert torch.allclose(now, by_peft(wider, given), atol=1e-4)


def damaged(kind: str, place: Path) -> None:
    file, config = place / files.WEIGHTS, place / files.CONFIG
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif kind == "gone":
        file.unlink()
    elif kind == "half":
        weights = load_file(file)
        weights.pop(next(n for n in weights if "lora_B" in n))
        save_file(weights, file)
    elif kind == "config":
        config.write_text(config.read_text()[:40])
    elif kind == "pickle":
        file.rename(place / files.PICKLED)
    else:
        change(config, **json.loads(kind))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut", "is cut short .* half written"),
        ("gone", "without adapter_model.safetensors: it was half written"),
        ("half", "no lora_B beside it: it was half written"),
        ("config", "adapter_config.json is cut short"),
        ("pickle", "models.*.pickles: true"),
        ('{"peft_type": "IA3"}', "kind IA3; LoRA, rsLoRA and DoRA are read"),
        ('{"peft_type": "PROMPT_TUNING"}', "kind PROMPT_TUNING, which changes no weights"),
        ('{"init_lora_weights": "pissa"}', "init_lora_weights: pissa, which changes the base"),
        ('{"target_parameters": ["a"]}', "target_parameters: .* not read. Merge it"),
        ('{"layer_replication": [[0, 2]]}', "layer_replication: "),
        ('{"alora_invocation_tokens": [3]}', "alora_invocation_tokens: "),
    ],
)
def test_what_is_not_merged_is_refused_before_any_job(base, tmp_path, kind, expected):
    given = adapter(base, tmp_path / "mine/lora", **Q)
    damaged(kind, Path(given))
    with pytest.raises(ValueError, match=rf"sft\.5 \({given}\): .*{expected}"):
        Model(source=base, sft={5: given})


def test_an_adapter_for_another_model_is_refused_before_any_job(base, tmp_path):
    other = type(miniature("Llama")[0])
    config = other.config_class.from_pretrained(base)
    config.num_hidden_layers, config.intermediate_size = 3, 40
    wide = save(tmp_path / "wide", other(config), tokens.word_tokenizer(WORDS))
    for settings, expected in (
        ({"target_modules": ["up_proj"]}, "of shape .* an adapter for another model"),
        ({"target_modules": ["q_proj"]}, "layers.2.* does not have: an adapter for another"),
    ):
        given = adapter(wide, tmp_path / "mine/lora", **settings)
        change(Path(given, files.CONFIG), base_model_name_or_path=base)
        with pytest.raises(ValueError, match=expected):
            Model(source=base, sft={5: given})
    fewer = adapter(base, tmp_path / "fewer", **Q)  # of two layers, where there are three
    change(Path(fewer, files.CONFIG), base_model_name_or_path=wide)
    with pytest.raises(HealscopeError, match="the adapter lacks .*layers.2.* half written, or for"):
        take(tmp_path / "results", wide, fewer)


def test_which_base_an_adapter_was_trained_on_is_held_against_the_models(base, tmp_path):
    given = adapter(base, tmp_path / "mine/lora", **Q)
    copy = shutil.copytree(base, tmp_path / "copy")
    assert own_checkpoints.bases(Model(source=str(copy), sft={5: given})) == {"sft-5": "base"}
    model, tokenizer = miniature("Llama", seed=3)
    config = type(model.config).from_pretrained(base)
    other = save(tmp_path / "other", type(model)(config), tokenizer)
    with pytest.raises(ValueError, match=r"sft\.5 .*trained on .*adapters_of: \["):
        Model(source=other, sft={5: given})
    assert Model(source=other, sft={5: given}, adapters_of=[base])
    change(Path(given, files.CONFIG), base_model_name_or_path="unsloth/llama-bnb-4bit")
    assert Model(source=base, sft={5: given})  # a folder may be a copy of anything
    with pytest.raises(
        ValueError, match="trained on unsloth/llama-bnb-4bit, which is not me/llama"
    ):
        Model(source="me/llama", sft={5: given})
    whole = str(shutil.copytree(base, tmp_path / "mine/whole"))
    change(Path(given, files.CONFIG), base_model_name_or_path=whole)
    model = Model(source=base, sft={5: whole}, rl={5: given})
    assert own_checkpoints.bases(model) == {"rl-from-5": "sft-5"}
    with pytest.raises(ValueError, match="source .* an adapter; name the model"):
        Model(source=given, sft={5: whole})


def test_a_model_and_an_adapter_in_one_folder_are_refused(base, tmp_path):
    given = adapter(base, tmp_path / "mine/lora", **Q)
    shutil.copytree(base, given, dirs_exist_ok=True)
    with pytest.raises(ValueError, match="holds a model .* and an adapter"):
        sources.check(given)


def test_an_adapter_that_parts_tied_matrices_is_refused(tmp_path):
    model, tokenizer = miniature("Qwen2")
    base = save(tmp_path / "mine/base", model, tokenizer)
    given = adapter(base, tmp_path / "mine/lora", modules_to_save=["lm_head"], **Q)
    with pytest.raises(HealscopeError, match="ties the output layer .* makes them two"):
        take(tmp_path / "results", base, given)
    together = adapter(base, tmp_path / "mine/two", trainable_token_indices=[1, 2], **Q)
    manifest = take(tmp_path / "again", base, together)[1]
    with torch.no_grad():
        now = integrity.load(str(manifest.parent))(input_ids=ASKED).logits
    assert torch.allclose(now, by_peft(base, together), atol=1e-4)


def test_weights_that_say_something_else_than_peft_are_refused(base, tmp_path, monkeypatch):
    from healscope.models.adapters import Adapter

    given = adapter(base, tmp_path / "mine/lora", **Q)
    monkeypatch.setattr(Adapter, "merged", lambda self, name: self.base[name])
    with pytest.raises(HealscopeError, match="logits differ by"):
        take(tmp_path / "results", base, given)


@pytest.mark.long
def test_pickled_weights_are_read_on_request_in_another_process(base, tmp_path):
    given = adapter(base, tmp_path / "mine/lora", **Q)
    weights = load_file(Path(given, files.WEIGHTS))
    Path(given, files.WEIGHTS).unlink()
    torch.save(weights, Path(given, files.PICKLED))
    assert own_checkpoints.bases(Model(source=base, sft={5: given}, pickles=True))
    manifests = [tmp_path / f"results/{name}/checkpoint.json" for name in ("base", "sft-5")]
    linked.take("base", base, given, manifests[0])
    linked.take("sft-5", given, str(manifests[0]), manifests[1], pickles=True)
    assert checkpoints.verify(manifests[1])
    assert load_file(manifests[1].parent / files.WEIGHTS).keys() == weights.keys()


def test_a_pickle_that_holds_more_than_tensors_is_refused_and_runs_nothing(base, tmp_path):
    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / "was-run"), "w")

    weights = dict(Stored(base))
    torch.save(weights, tmp_path / "pytorch_model.bin")
    pickled._convert(tmp_path / "pytorch_model.bin", tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == weights.keys()
    torch.save({**weights, "more": Harm()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UnpicklingError, match="open"):
        pickled._convert(tmp_path / "pytorch_model.bin", tmp_path)
    assert not (tmp_path / "was-run").exists()


def test_the_weights_command_finds_base_and_adapter_by_relative_names(
    base, tmp_path, monkeypatch, capsys
):
    adapter(base, tmp_path / "mine/adapter", **Q)
    monkeypatch.chdir(tmp_path / "mine")
    assert cli.main(["weights", "base", "adapter", "--no-controls"]) == 0
    assert "25 of them did not change" in capsys.readouterr().out
