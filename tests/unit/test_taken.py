"""Given checkpoints of six architectures, in shards: linked, loaded, edited and exported."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from given import ARCHITECTURES, WORDS, change, miniature, save, take_both
from safetensors.torch import load_file, save_file

from healscope import cli, provenance
from healscope.config import sources
from healscope.errors import HealscopeError
from healscope.files import of_model
from healscope.models import checkpoints, integrity, linked, tokens
from healscope.models.stored import Stored
from healscope.models.variants import from_checkpoint, load_each
from healscope.spectra.factors import load
from healscope.spectra.sources import matrices_of
from healscope.spectra.sweep import Pair, Sweep

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_from_a_users_shards_to_an_exported_edit(architecture, tmp_path):
    model, tokenizer = miniature(architecture)
    base = save(tmp_path / "mine/base", model, tokenizer)
    sft = save(tmp_path / "mine/sft-5", model, tokenizer, 0.05)
    assert len(list(Path(base).glob("*.safetensors"))) > 1
    manifests = take_both(tmp_path / "results", base, sft)
    skeleton, _ = checkpoints.load_model(manifests[0])
    (variant,) = load_each(skeleton, [from_checkpoint("sft-5", manifests[1])], {})
    asked = torch.tensor([[1, 4, 5, 6, 7]])
    with torch.no_grad():
        there = integrity.load(sft)(input_ids=asked).logits
        assert torch.allclose(skeleton(input_ids=asked).logits, there, atol=1e-6)
    target, parent = (m.parent for m in reversed(manifests))
    out = tmp_path / "repaired"
    edit = "directions-rank-0.5+swap-layer-1-roles-q"
    command = ["export", "--target", target, "--parent", parent, "--edit", edit, "--out", out]
    assert cli.main([str(part) for part in command]) == 0
    weights = Stored(target), Stored(parent)
    sweep = Sweep(Pair(*weights, *(load(w.folder, ROLES) for w in weights)))
    edited = dict(sweep.variants([edit])[0].weights())
    exported = Stored(out)
    assert set(exported) == set(weights[0])
    assert len(edited) == 14
    for name, tensor in exported.items():
        assert torch.equal(tensor, edited.get(name, weights[0][name])), name
    integrity.load(str(out))
    assert tokens.load_tokenizer(str(out)).get_vocab() == tokenizer.get_vocab()


def test_no_weight_is_copied_and_the_manifest_says_where_it_is_from(llama, tmp_path):
    manifests = take_both(tmp_path / "results", *llama)
    for source, manifest in zip(llama, manifests, strict=True):
        for file in Path(source).glob("*.safetensors"):
            assert os.stat(file).st_ino == os.stat(manifest.parent / file.name).st_ino
        content = checkpoints.verify(manifest)
        assert content["provenance"]["config"] == {"source": source}
        assert "model.safetensors.index.json" in content["files"]


def test_where_no_hard_link_can_be_it_is_a_symbolic_one(llama, tmp_path, monkeypatch):
    def another_file_system(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_file_system)
    manifest = take_both(tmp_path / "results", *llama)[1]
    linked = list(manifest.parent.glob("*.safetensors"))
    assert linked
    assert all(f.is_symlink() for f in linked)
    checkpoints.verify(manifest)


def test_all_are_asked_by_the_tokenizer_of_the_last_sft_checkpoint(llama, tmp_path, capsys):
    """A base without a chat template is asked as the model that was trained with one."""
    base, sft = llama
    tokenizer = tokens.load_tokenizer(sft)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %} ="
    tokenizer.add_tokens(["<tool>"])  # the embeddings of this one have no row for it
    tokenizer.save_pretrained(sft)
    with pytest.raises(HealscopeError, match=r"knows 1 tokens beyond them \(as '<tool>'\)"):
        take_both(tmp_path / "results", base, sft)
    again = tokens.word_tokenizer(WORDS)
    again.chat_template = tokenizer.chat_template
    again.save_pretrained(sft)
    manifests = take_both(tmp_path / "results", base, sft)
    for manifest in manifests:
        loaded = tokens.load_tokenizer(str(manifest.parent))
        assert tokens.prompt_ids(loaded, "cards J") == loaded.encode("cards J =")
    assert tokens.load_tokenizer(base).chat_template is None


def test_a_checkpoint_without_tokenizer_is_asked_by_that_of_the_base(tmp_path):
    model, tokenizer = miniature("Llama")
    base = save(tmp_path / "mine/base", model, tokenizer)
    sft = save(tmp_path / "mine/sft-5", model, None, 0.05)
    manifest = take_both(tmp_path / "results", base, sft)[1]
    assert (manifest.parent / "tokenizer.json").is_file()


def test_rows_that_only_pad_a_vocabulary_are_left_out(llama, tmp_path, capsys):
    """As trainers pad embeddings to a multiple of 64; the tokenizer stays."""
    base, sft = llama
    model, _ = miniature("Llama")
    model.resize_token_embeddings(14, mean_resizing=False)
    shutil.rmtree(sft)
    save(Path(sft), model, None, 0.05)
    manifests = take_both(tmp_path / "results", base, sft)
    assert "sft-5: its vocabulary has 14 rows, of which the first 12" in capsys.readouterr().err
    skeleton, _ = checkpoints.load_model(manifests[0])
    (_,) = load_each(skeleton, [from_checkpoint("sft-5", manifests[1])], {})
    asked = torch.tensor([[1, 4, 5, 6, 7]])
    with torch.no_grad():
        there = integrity.load(sft)(input_ids=asked).logits
        assert torch.allclose(skeleton(input_ids=asked).logits, there[..., :12], atol=1e-6)


def whole(folder: str) -> Path:
    """The folder, with its weights in one file."""
    place, weights = Path(folder), dict(Stored(folder))
    for file in place.glob("model*"):
        file.unlink()
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_another_vocabulary_is_refused(llama, tmp_path):
    base, sft = llama
    ids = json.loads(Path(sft, "tokenizer.json").read_text())
    words = ids["model"]["vocab"]
    words["J"], words["Q"] = words["Q"], words["J"]
    Path(base, "tokenizer.json").write_text(json.dumps(ids))
    with pytest.raises(HealscopeError, match="give 2 tokens other ids"):
        take_both(tmp_path / "results", base, sft)


@pytest.mark.parametrize(
    "values",
    [
        {"transformers_version": "4.1", "use_cache": False, "torch_dtype": "bfloat16"},
        {"unsloth_version": "2025.3.1", "unsloth_fixed": True, "model_name": "mine"},
        {"_attn_implementation_autoset": True, "attn_implementation": "eager"},
        {"gradient_checkpointing": True, "torchscript": False, "output_hidden_states": True},
        {"attention_dropout": 0.1, "initializer_range": 0.5, "pretraining_tp": 2},
        {"max_position_embeddings": 4096, "eos_token_id": [2, 3], "pad_token_id": None},
        {"id2label": {"0": "a"}, "label2id": {"a": 0}, "problem_type": "regression"},
        {"head_dim": 8, "mlp_bias": False, "attention_bias": False},  # what is left out means this
        {"architectures": None, "_name_or_path": "elsewhere", "temperature": 0.6},
        {"rope_parameters": None, "rope_theta": 10000.0},  # where versions before 5 have it
    ],
)
def test_config_keys_of_no_consequence_are_taken(llama, tmp_path, values):
    change(Path(llama[1], "config.json"), **values)
    take_both(tmp_path / "results", *llama)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rms_norm_eps", 1e-3),
        ("hidden_act", "gelu"),
        ("num_attention_heads", 1),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 500.0}),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}),
        ("model_type", "mistral"),
    ],
)
def test_config_keys_that_change_logits_are_refused(llama, tmp_path, key, value):
    change(Path(llama[1], "config.json"), **{key: value})
    with pytest.raises(HealscopeError, match=f"sft-5: its config.json says {key} = "):
        take_both(tmp_path / "results", *llama)


def test_the_longest_text_matters_where_positions_are_scaled_by_it(llama, tmp_path):
    scaled = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    for folder in llama:
        change(Path(folder, "config.json"), rope_parameters=scaled)
    take_both(tmp_path / "results", *llama)
    change(Path(llama[1], "config.json"), max_position_embeddings=4096)
    with pytest.raises(HealscopeError, match="says max_position_embeddings = 4096"):
        take_both(tmp_path / "results", *llama)


def test_layers_behind_a_window_are_compared_not_the_keys_they_follow_from(tmp_path):
    model, tokenizer = miniature("Qwen3")
    base = save(tmp_path / "mine/base", model, tokenizer)
    sft = save(tmp_path / "mine/sft-5", model, tokenizer, 0.05)
    config = Path(sft, "config.json")
    change(config, max_window_layers=1, layer_types=None)
    take_both(tmp_path / "results", base, sft)
    change(config, use_sliding_window=True, sliding_window=4)
    with pytest.raises(HealscopeError, match="says layer_types = "):
        take_both(tmp_path / "results", base, sft)


def test_of_two_sets_of_weights_that_is_taken_which_transformers_reads(llama, tmp_path, capsys):
    """model.safetensors of the last save, beside shards and the index of an earlier one."""
    base, sft = llama
    earlier = {file.name: file.read_bytes() for file in Path(base).glob("model*")}
    place = whole(sft)
    for name, content in earlier.items():
        (place / name).write_bytes(content)
    for file in place.glob("model-00001*"):
        file.unlink()  # of the earlier set, which is not read, some may be gone
    sources.check(sft)
    manifest = take_both(tmp_path / "results", base, sft)[1]
    linked = sorted(f.name for f in manifest.parent.glob("model*"))
    assert linked == ["model.safetensors"]  # nor any that another program would prefer
    assert {Path(f).name for f in sources.files(sft)} == set(checkpoints.verify(manifest)["files"])
    loaded = integrity.load(sft).state_dict()
    for stored in (Stored(sft), Stored(manifest.parent)):
        assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())
    assert f"{place} also holds model-0000" in capsys.readouterr().err


def test_weights_of_an_adapter_beside_shards_are_not_those_of_the_model(llama, tmp_path):
    sft = Path(llama[1])
    (sft / "model.safetensors.index.json").unlink()
    save_file({"a": torch.ones(2)}, sft / "adapter_model.safetensors")
    manifest = take_both(tmp_path / "results", *llama)[1]
    assert "a" not in Stored(sft)
    assert not (manifest.parent / "adapter_model.safetensors").exists()


def tied(folder: Path, head: torch.Tensor | None) -> str:
    model, tokenizer = miniature("Qwen2")  # its config ties the two
    save(folder, model, tokenizer)
    place = whole(str(folder))
    weights = dict(Stored(place))
    if head is not None:
        weights["lm_head.weight"] = head + 0 * weights["model.embed_tokens.weight"]
    else:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return str(place)


def test_a_head_of_its_own_beside_a_config_that_ties_it_is_refused(tmp_path):
    base = tied(tmp_path / "mine/base", None)  # the same matrix twice: no harm
    apart = tied(tmp_path / "mine/sft-5", torch.tensor(0.1))
    for order in ((base, apart), (apart, base)):
        with pytest.raises(HealscopeError, match="ties the output layer.* and lm_head.weight"):
            take_both(tmp_path / "results", *order)
    with pytest.raises(HealscopeError, match="ties the output layer"):
        matrices_of(Stored(apart), ["q", "head"])
    config = json.loads(Path(apart, "config.json").read_text())
    del config["tie_word_embeddings"]  # then the class decides, and does not tie
    for folder in (base, apart):
        Path(folder, "config.json").write_text(json.dumps(config))
    manifests = take_both(tmp_path / "results", base, apart)
    loaded = integrity.load(str(manifests[1].parent))
    assert not torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)


def test_the_advice_on_a_head_of_its_own_works(tmp_path):
    from transformers import AutoModelForCausalLM

    folders = [tied(tmp_path / "mine/base", None), tied(tmp_path / "mine/sft-5", torch.tensor(0.1))]
    for folder in folders:
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        model.save_pretrained(folder)
    manifest = take_both(tmp_path / "results", *folders)[1]
    head = Stored(manifest.parent)["lm_head.weight"]
    assert torch.equal(head, torch.full_like(head, 0.1))


@pytest.mark.parametrize("name", ["base", "sft-5"])
@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
@pytest.mark.parametrize("left", [0, 20])
def test_a_file_that_is_cut_short_is_named(llama, tmp_path, name, file, left):
    base, sft = llama
    place = Path(sft if name == "sft-5" else base)
    if name == "base" and file != "config.json":
        Path(sft, "tokenizer.json").unlink()  # else they are the checkpoint's that are read
        Path(sft, "generation_config.json").unlink()
    elif file == "generation_config.json":
        name = "base"  # it is read with the base: all are asked alike
    text = (place / file).read_text()
    (place / file).write_text(text[:left])
    with pytest.raises(
        HealscopeError, match=rf"{place / file} .*(is empty|cut|cannot be read)"
    ) as e:
        take_both(tmp_path / "results", base, sft)
    assert "delete" not in str(e.value)
    if file == "config.json":  # and before any job
        with pytest.raises(ValueError, match=rf"{place / file} is (empty|cut short)"):
            sources.check(str(place))


def test_a_save_under_zero_3_is_named(llama, tmp_path):
    place = whole(llama[1])
    empty = {name: torch.empty(0) for name in Stored(place)}
    save_file(empty, place / "model.safetensors")
    with pytest.raises(HealscopeError, match=r"without values .*ZeRO-3.* zero_to_fp32\.py"):
        take_both(tmp_path / "results", *llama)


def test_a_link_to_nothing_is_named(llama, tmp_path):
    file = next(Path(llama[1]).glob("*.safetensors"))
    file.rename(tmp_path / "blob")
    file.symlink_to(tmp_path / "blob")
    sources.check(llama[1])
    (tmp_path / "blob").unlink()
    with pytest.raises(
        ValueError, match=rf"{file.name} is a link to {tmp_path}/blob, which is not"
    ):
        sources.check(llama[1])


def test_all_are_asked_with_the_ends_of_the_last_sft_checkpoint(llama, tmp_path):
    base, sft = (Path(folder, "generation_config.json") for folder in llama)
    change(sft, eos_token_id=[2, 5])
    manifests = take_both(tmp_path / "a", *llama)
    assert [tokens.model_ends(integrity.load(str(m.parent)))[0] for m in manifests] == [[2, 5]] * 2
    sft.unlink()
    change(base, eos_token_id=[2, 6])
    manifests = take_both(tmp_path / "b", *llama)
    assert [tokens.model_ends(integrity.load(str(m.parent)))[0] for m in manifests] == [[2, 6]] * 2


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"quantization_config": {"bits": 4}}, "is quantised"),
        ({"experts": True}, "is a mixture of experts"),
    ],
)
def test_what_cannot_be_edited_is_refused(llama, tmp_path, about, expected):
    base, sft = llama
    if "experts" in about:
        file = next(Path(base).glob("*.safetensors"))
        first = {"model.layers.0.mlp.experts.0.up_proj.weight": torch.ones(2, 2)}
        index = Path(base, "model.safetensors.index.json")
        content = json.loads(index.read_text())
        content["weight_map"] |= dict.fromkeys(first, file.name)
        index.write_text(json.dumps(content))
        save_file({**load_file(file), **first}, file)
    else:
        config = Path(base, "config.json")
        config.write_text(json.dumps({**json.loads(config.read_text()), **about}))
    with pytest.raises(HealscopeError, match=expected):
        take_both(tmp_path / "results", base, sft)


def test_a_hub_id_that_cannot_be_reached_says_what_to_do(tmp_path):
    with pytest.raises(HealscopeError, match="'no-such/model', revision v1, is neither .* HF_HUB"):
        linked.take("m, base", "no-such/model@v1", "x", tmp_path / "base/checkpoint.json")


def test_a_model_in_the_hubs_cache_is_linked_from_there(llama, tmp_path, monkeypatch):
    """The cache as the hub's own client lays it out: snapshots of links to blobs."""
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "hub"
    for source, name in zip(llama, ("base", "tuned"), strict=True):
        repository = cache / f"models--me--{name}"
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (repository / "blobs").mkdir()
        (repository / "refs").mkdir()
        (repository / "refs/main").write_text(commit)
        for file in Path(source).iterdir():
            blob = repository / "blobs" / file.name
            shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(cache))
    manifests = take_both(tmp_path / "results", "me/base", f"me/tuned@{commit}")
    file = next(manifests[1].parent.glob("*.safetensors"))
    assert os.stat(file).st_ino == os.stat(cache / "models--me--tuned/blobs" / file.name).st_ino
    record = provenance.read_json(manifests[0])["provenance"]["config"]
    assert record == {"source": "me/base", "commit": commit}


def test_sources_are_checked_before_any_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, files in {
        "pickled": ["config.json", "pytorch_model.bin"],
        "adapter": ["adapter_config.json", "adapter_model.safetensors"],
        "bare": ["model.safetensors"],
        "whole": ["config.json", "model.safetensors"],
    }.items():
        Path("runs", name).mkdir(parents=True)
        for file in files:
            Path("runs", name, file).write_text("{}")
    assert sources.check("runs/whole") == "runs/whole"
    assert sources.check("org/name@v1") == "org/name@v1"
    for source, expected in {
        "runs/pickled": "AutoModelForCausalLM",
        "runs/adapter": "adapter of kind None",
        "runs/bare": "holds no config.json",
        "runs/wohle": "runs holds adapter, bare, pickled, whole",
        "./org/name": "no such folder",
    }.items():
        with pytest.raises(ValueError, match=expected):
            sources.check(source)
    Path("runs/whole/model.safetensors").rename("runs/whole/model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    Path("runs/whole/model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"lacks model-2\.safetensors"):
        sources.check("runs/whole")


def test_files_to_watch_are_those_that_are_taken(llama, tmp_path):
    watched = {Path(f).name for f in sources.files(llama[1])}
    manifest = take_both(tmp_path / "results", *llama)[1]
    assert watched == set(checkpoints.verify(manifest)["files"])
    assert sources.files("org/name") == []


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer.model", "merges.txt"])
def test_a_base_depends_on_its_tokenizer_and_chat_template(llama, tmp_path, monkeypatch, name):
    before = of_model(llama[0])
    assert {"config.json", "tokenizer.json"} <= {Path(f).name for f in before}
    file = Path(llama[0]) / name
    file.write_text("")
    assert set(of_model(llama[0])) == {*before, str(file)}
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert of_model("scratch") == of_model("org/name") == []
