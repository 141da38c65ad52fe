"""Tokens survive saving; checkpoints are whole, verified, and swapped in place."""

import json
import os
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from healscope import provenance
from healscope.engines.generate import response_logprobs
from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity, tokens
from healscope.models.stored import Stored, write
from healscope.models.variants import Variant, from_checkpoint, load_each
from healscope.training import jobs, state


def folder_of(manifest):
    return Path(manifest).parent


def test_tokens_survive_saving_and_loading(task, tables, base_manifest):

    fresh = tokens.word_tokenizer(task.words())
    loaded = tokens.load_tokenizer(str(Path(base_manifest).parent))
    for row in tables[0].head(20).itertuples():
        ids = tokens.response_ids(fresh, row.response)
        assert ids == tokens.response_ids(loaded, row.response)
        assert fresh.unk_token_id not in ids
        assert tokens.response_text(loaded, ids) == row.response
        assert tokens.prompt_ids(fresh, row.prompt) == tokens.prompt_ids(loaded, row.prompt)


def test_encode_pairs_pads_both_sides(model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    ids, mask, width, real = tokens.encode_pairs(tokenizer, [("J 10", "cards 5"), ("J", "5 5 5")])
    assert width == 4  # three words and <eos>
    assert mask.sum(1).tolist() == [3 + 3, 2 + 4]
    assert real.tolist() == [[True, True, True, False], [True] * 4]
    assert ids[1, 0] == tokenizer.pad_token_id


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_refused_by_name(base_manifest, tmp_path, damage):
    folder = tmp_path / "copy"
    shutil.copytree(Path(base_manifest).parent, folder)
    file = folder / checkpoints.WEIGHTS
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-100])
    elif damage == "flip":
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(HealscopeError, match=r"model\.safetensors"):
        checkpoints.load_model(folder / "checkpoint.json")


def test_variants_replace_only_what_they_hold(model_and_tokenizer, base_manifest):
    model, _ = model_and_tokenizer
    original = {k: v.clone() for k, v in model.state_dict().items()}
    name = "model.layers.0.mlp.up_proj.weight"
    other = "model.layers.1.mlp.up_proj.weight"
    zero, more = (
        Variant(n, lambda n=n: [(n, torch.zeros_like(original[n]))]) for n in (name, other)
    )
    whole = from_checkpoint("same", base_manifest)
    seen = []
    for variant in load_each(model, [zero, more, zero, whole], Stored(folder_of(base_manifest))):
        now = model.state_dict()
        changed = [k for k in original if not torch.equal(now[k], original[k])]
        seen.append((variant.name, changed))
    assert seen == [(name, [name]), (other, [other]), (name, [name]), ("same", [])]


def test_a_variant_flows_through_one_tensor_at_a_time(model_and_tokenizer, base_manifest):
    model, _ = model_and_tokenizer
    stored, alive = Stored(folder_of(base_manifest)), []

    def weights():
        for name in stored:
            tensor = stored[name]
            assert not [ref for ref in alive if ref() is not None and ref() is not tensor]
            alive.append(weakref.ref(tensor))
            yield name, tensor
            del tensor

    assert len(list(load_each(model, [Variant("v", weights)], stored))) == 1
    assert len(alive) == len(stored)


def test_a_variant_that_must_be_whole_is_refused_where_it_is_not(model_and_tokenizer):
    model, _ = model_and_tokenizer
    half = Variant("half", lambda: list(model.state_dict().items())[:3], whole=True)
    with pytest.raises(HealscopeError, match=r"half: .* 18 missing \(lm_head\.weight"):
        list(load_each(model, [half], {}))


def test_a_variant_of_another_shape_is_refused(model_and_tokenizer):
    model, _ = model_and_tokenizer
    bad = Variant("bad", lambda: [("lm_head.weight", torch.zeros(2, 2))])
    with pytest.raises(HealscopeError, match="bad: lm_head.weight has shape"):
        list(load_each(model, [bad], {}))
    bad = Variant("bad", lambda: [("lm_tail.weight", torch.zeros(2, 2))])
    with pytest.raises(HealscopeError, match="bad: a weight unknown to the model: lm_tail.weight"):
        list(load_each(model, [bad], {}))


def test_a_checkpoint_that_lacks_a_weight_is_not_filled_up(model_and_tokenizer, base_manifest):
    """An edit may leave weights as they are; of a checkpoint it would be another model."""
    model, _ = model_and_tokenizer
    weights = checkpoints.load_weights(base_manifest)
    weights.pop("model.norm.weight")
    part = Variant("part", weights.items)
    assert [v.name for v in load_each(model, [part], {})] == ["part"]
    with pytest.raises(HealscopeError, match=r"part: .* 1 missing \(model\.norm\.weight\)"):
        list(load_each(model, [replace(part, whole=True)], {}))
    assert from_checkpoint("base", base_manifest).whole


@pytest.mark.parametrize(
    ("family", "rates"),
    [
        ("llama", {"attention_dropout": 0.4}),
        ("gpt2", {"attn_pdrop": 0.4, "embd_pdrop": 0.0, "resid_pdrop": 0.3}),
        ("falcon", {"hidden_dropout": 0.4}),  # read from the config in each forward pass
        ("opt", {"dropout": 0.4, "layerdrop": 0.5}),
    ],
)
def test_a_loaded_model_has_no_dropout(family, rates, tmp_path, capsys):
    from transformers import AutoConfig, AutoModelForCausalLM

    from healscope.models.tokens import word_tokenizer

    tokenizer = word_tokenizer(["a", "b"])
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "ffn_dim": 64, "intermediate_size": 64,
        "word_embed_proj_dim": 32, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **sizes, **rates)
    made = AutoModelForCausalLM.from_config(config)
    checkpoints.save_weights(tmp_path / "staged", made, tokenizer)
    checkpoints.publish(tmp_path / "staged", tmp_path / "out/checkpoint.json", {})
    checkpoints._say_dropout.cache_clear()
    capsys.readouterr()
    model = [checkpoints.load_model(tmp_path / "out/checkpoint.json")[0] for _ in range(2)][0]
    said = capsys.readouterr().err
    assert said.count("dropout is off in all training") == 1
    assert all(f"{name} {rate:g}" in said for name, rate in rates.items() if rate)
    ids, mask = torch.tensor([[1, 2, 3, 1, 2]]), torch.ones(1, 5, dtype=torch.bool)
    read = [response_logprobs(model.train(i > 0), ids, mask, 3)[0] for i in range(4)]
    assert all(torch.equal(found, read[0]) for found in read)
    model.save_pretrained(tmp_path / "again")
    assert all(provenance.read_json(tmp_path / "again/config.json")[name] == 0 for name in rates)


def test_freeze_names_what_it_leaves(model_and_tokenizer):
    model, _ = model_and_tokenizer
    checkpoints.freeze(model, ["embed_tokens", "lm_head", "norm"])
    trained = {n.split(".")[-2] for n, p in model.named_parameters() if p.requires_grad}
    projections = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert trained == projections
    with pytest.raises(HealscopeError, match="leaves no parameter"):
        checkpoints.freeze(model, ["weight"])


def test_manifest_records_every_file(base_manifest):
    files = json.loads(Path(base_manifest).read_text())["files"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(files)
    assert not any(name.endswith((".bin", ".pt", ".pth")) for name in files)


@pytest.fixture
def tied(task):
    """A model whose output layer is its embedding, as many published ones are."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


def test_tied_embeddings_follow_the_variant(tied, tmp_path):
    """Loading a variant must not bring back the skeleton's embedding under its other name."""
    from healscope.models.tokens import word_tokenizer

    changed = {k: v + 1 for k, v in tied.state_dict().items()}
    tied.load_state_dict(changed)
    checkpoints.save_weights(tmp_path / "staged", tied, word_tokenizer(["a", "b"]))
    checkpoints.publish(tmp_path / "staged", tmp_path / "out/checkpoint.json", {})
    tied.load_state_dict({k: v - 5 for k, v in changed.items()})
    variant = from_checkpoint("v", tmp_path / "out/checkpoint.json")
    list(load_each(tied, [variant], {}))
    for key, value in tied.state_dict().items():
        assert torch.equal(value, changed[key]), key
    assert tied.lm_head.weight.data_ptr() == tied.model.embed_tokens.weight.data_ptr()


def test_a_tied_embedding_that_an_edit_changed_comes_back(tied, tmp_path):
    """The edit may know the matrix by the name that the file has not."""
    from healscope.models.tokens import word_tokenizer

    checkpoints.save_weights(tmp_path, tied, word_tokenizer(["a", "b"]))
    stored, before = Stored(tmp_path), tied.lm_head.weight.detach().clone()
    assert "lm_head.weight" not in stored
    edit = Variant("e", lambda: [("lm_head.weight", torch.zeros_like(before))])
    found = []
    for _ in load_each(tied, [edit, Variant("none", list)], stored):
        found.append(tied.model.embed_tokens.weight.detach().clone())
    assert torch.equal(found[0], torch.zeros_like(before))
    assert torch.equal(found[1], before)


@pytest.mark.parametrize("edited", ["model.embed_tokens.weight", "lm_head.weight"])
def test_an_edit_of_tied_embeddings_is_written_under_both_names(tied, tmp_path, edited):
    """Some files hold the matrix twice, as those of Qwen3."""
    from healscope.engines import VLLM
    from healscope.models.tokens import word_tokenizer

    names = {"model.embed_tokens.weight", "lm_head.weight"}
    checkpoints.save_weights(tmp_path, tied, word_tokenizer(["a", "b"]))
    weights = dict(Stored(tmp_path))
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    stored, new = Stored(tmp_path), weights["lm_head.weight"] + 1
    (tmp_path / "out").mkdir()
    write(stored, {edited: new}, tmp_path / "out")
    found = Stored(tmp_path / "out")
    assert all(torch.equal(found[name], new) for name in names)
    integrity.refuse_untied("out", found)
    loaded = integrity.load(str(tmp_path / "out"))
    assert all(torch.equal(loaded.state_dict()[name], new) for name in names)
    engine = SimpleNamespace(start=stored)
    sent = dict(VLLM._both(engine, iter([(edited, new), ("model.norm.weight", new[0])])))
    assert set(sent) == {*names, "model.norm.weight"}
    assert all(sent[name] is new for name in names)
    config = provenance.read_json(tmp_path / "config.json") | {"tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Stored(tmp_path).tied == {}
    write(Stored(tmp_path), {edited: new}, tmp_path / "out")
    other = (names - {edited}).pop()
    assert torch.equal(Stored(tmp_path / "out")[other], weights[other])  # two matrices


def test_a_state_of_a_tied_model_is_kept(tied, tmp_path):
    before = {k: v.clone() for k, v in tied.state_dict().items()}
    work = state.Workspace(tmp_path / "w", "x")
    work.save(1, state.model_tensors(tied), [])
    tied.load_state_dict({k: v * 0 for k, v in before.items()})
    state.restore_model(tied, work.latest().tensors)
    assert all(torch.equal(v, before[k]) for k, v in tied.state_dict().items())


def test_publishing_leaves_no_file_of_an_older_checkpoint(base_manifest, tmp_path):
    out = tmp_path / "out" / "checkpoint.json"
    out.parent.mkdir()
    (out.parent / "model-00002-of-00002.safetensors").write_bytes(b"old shard")
    checkpoints.publish(Path(base_manifest).parent, out, {})
    assert not (out.parent / "model-00002-of-00002.safetensors").exists()
    checkpoints.load_weights(out)


def test_weights_of_a_landmark_stay_and_others_go(base_manifest, tmp_path):
    """What is small stays, and the manifest too; whoever reads the weights is told."""
    marks = {"maxood": {"checkpoint": "sft-4"}, "end": {"checkpoint": "sft-8"}}
    for name, roles in (("sft-4", ["maxood"]), ("sft-12", [])):
        manifest = tmp_path / name / "checkpoint.json"
        checkpoints.publish(Path(base_manifest).parent, manifest, {})
        before = {f.name: f.stat().st_size for f in manifest.parent.iterdir()}
        checkpoints.drop(manifest, marks, {"from": "test"})
        after = {f.name for f in manifest.parent.iterdir()}
        told = json.loads((manifest.parent / "dropped.json").read_text())
        gone = {} if roles else {checkpoints.WEIGHTS: before[checkpoints.WEIGHTS]}
        assert told == {"deleted": gone, "kept_as": roles, "provenance": {"from": "test"}}
        assert after == {*before, "dropped.json"} - set(gone)
    checkpoints.load_weights(tmp_path / "sft-4/checkpoint.json")
    with pytest.raises(HealscopeError, match=r"were deleted .* delete .*sft-12/checkpoint.json"):
        checkpoints.load_weights(manifest)


@pytest.fixture
def umask():
    """Set the mask of files that are made, and restore it."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_files_of_states_and_checkpoints_have_the_mode_of_any_other(
    base_manifest, tmp_path, umask, mask, mode
):
    umask(mask)
    work = state.Workspace(tmp_path / "w", "x")
    work.save(1, {"a": torch.zeros(2)}, [])
    with work.stage("sft-4") as part:
        save_file({"a": torch.zeros(2)}, part / "model.safetensors")
    shutil.copytree(Path(base_manifest).parent, tmp_path / "copied")
    checkpoints.publish(tmp_path / "copied", tmp_path / "out/checkpoint.json", {})
    files = [f for d in ("w", "out") for f in (tmp_path / d).rglob("*") if f.is_file()]
    assert len(files) > 6
    assert {f.stat().st_mode & 0o777 for f in files} == {mode}


def test_a_state_of_another_config_is_forgotten_and_the_same_goes_on(tmp_path):
    work = state.Workspace(tmp_path / "w", "one")
    work.save(3, {"a": torch.ones(2)}, [{"step": 3}])
    with work.stage("sft-3") as part:
        (part / "weights").touch()
    work._lock.close()  # as when the process ends
    same = state.Workspace(tmp_path / "w", "one")
    assert same.latest().step == 3
    assert same.latest().rows == [{"step": 3}]
    same._lock.close()
    other = state.Workspace(tmp_path / "w", "two")
    assert other.latest() is None
    assert not other.staged("sft-3").exists()
    other._lock.close()
    assert state.Workspace(tmp_path / "w", "one").latest() is None  # nor does the first come back


def test_of_several_states_the_newest_goes_on(tmp_path):
    """A run that is killed between writing one and forgetting the one before leaves both."""
    work = state.Workspace(tmp_path / "w", "x")
    for step in (9, 10, 200):  # names as text would be in another order
        work.save(step, {"a": torch.full((2,), float(step))}, [])
        shutil.copytree(work.folder, tmp_path / "kept", dirs_exist_ok=True)
        assert [s.name for s in work._states()] == [f"state-{step:09d}"]
    shutil.copytree(tmp_path / "kept", work.folder, dirs_exist_ok=True)
    assert len(work._states()) == 3
    assert work.latest().step == 200
    assert float(work.latest().tensors["a"][0]) == 200


BRANCH = {"name": "ppo-from-4", "track": "micro", "seed": 0}


def test_a_branch_publishes_its_weights_with_what_sampled_them(base_manifest, tmp_path):
    work = state.Workspace(tmp_path / "w", "x")
    shutil.copytree(Path(base_manifest).parent, work.staged("ppo-from-4"))
    provenance.write_json(work.folder / jobs.ENGINE, {"vllm": "1.0"})
    manifest = tmp_path / "ppo-from-4/checkpoint.json"
    jobs.publish(work, BRANCH, str(manifest), {"seed": 0}, failure="")
    content = provenance.read_json(manifest)
    assert content["provenance"] == {"seed": 0, "engine": {"vllm": "1.0"}}
    before, after = (checkpoints.load_weights(m) for m in (base_manifest, manifest))
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert checkpoints.failure(manifest) == ""
    assert not work.folder.exists()


def test_a_branch_that_failed_publishes_why(base_manifest, tmp_path, capsys):
    work = state.Workspace(tmp_path / "w", "x")
    shutil.copytree(Path(base_manifest).parent, work.staged("ppo-from-4"))  # of an earlier life
    manifest = tmp_path / "ppo-from-4/checkpoint.json"
    jobs.publish(work, BRANCH, str(manifest), {}, failure="it diverged")
    assert "it diverged (the study goes on without ppo-from-4)" in capsys.readouterr().err
    assert [f.name for f in manifest.parent.iterdir()] == ["checkpoint.json"]
    assert checkpoints.failure(manifest) == "it diverged"
    assert not work.folder.exists()
    with pytest.raises(HealscopeError, match="holds no weights, its run failed: it diverged"):
        checkpoints.load_weights(manifest)
