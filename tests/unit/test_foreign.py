"""Checkpoints as trainers and other programs leave them: read right, or refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from given import WORDS, change, miniature, save, take_both
from safetensors.torch import save_file

from healscope import cli
from healscope.config import own_checkpoints, sources
from healscope.config.models import Model
from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity, linked, tokens
from healscope.models.stored import Stored
from healscope.models.variants import from_checkpoint, load_each
from healscope.training import base
from healscope.training.state import Workspace


def renamed(folder: str, names, more: dict | None = None) -> str:
    """The folder with other names of tensors, and more of them, in one file."""
    weights = dict(Stored(folder))
    for file in Path(folder).glob("model*"):
        file.unlink()
    weights = {names(name): tensor for name, tensor in weights.items()} | (more or {})
    save_file(weights, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    return folder


BUFFERS = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in range(2)}


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        (lambda n: f"_orig_mod.{n}", {}, "the prefix _orig_mod. is taken off"),
        (lambda n: f"module._orig_mod.{n}", {}, "_orig_mod. and module."),
        (lambda n: n.replace("layers.1.", "layers.1._orig_mod."), {}, "_orig_mod."),
        (lambda n: f"language_model.{n}", {}, "language_model."),
        (lambda n: n.replace("model.", "model.language_model.", 1), {}, "model.language_model."),
        (lambda n: f"pretrained_model.{n}", {"v_head.summary.weight": torch.ones(1, 16)},
         "the value head (v_head.summary.weight) is set aside"),
        (lambda n: n, {"score.weight": torch.ones(1, 16)}, "score.weight"),
        (lambda n: n, BUFFERS, "2 buffers that the model computes itself are left out"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["base", "sft-5", "both"])
def test_names_as_trainers_leave_them_are_read(llama, tmp_path, capsys, names, more, said, which):
    base, sft = llama
    before = {folder: integrity.load(folder).state_dict() for folder in llama}
    for name, folder in (("base", base), ("sft-5", sft)):
        if which in (name, "both"):
            renamed(folder, names, more)
    manifests = take_both(tmp_path / "results", base, sft)
    printed = capsys.readouterr().err
    for name in ("base", "sft-5"):
        line = next((x for x in printed.splitlines() if f"mine, {name}: " in x and said in x), "")
        assert bool(line) == (which in (name, "both")), printed
    skeleton, _ = checkpoints.load_model(manifests[0])
    for name, manifest, folder in zip(("base", "sft-5"), manifests, llama, strict=True):
        (_,) = load_each(skeleton, [from_checkpoint(name, manifest)], {})
        assert all(torch.equal(skeleton.state_dict()[n], t) for n, t in before[folder].items())
    out = tmp_path / "repaired"
    command = ["export", "--target", manifests[1].parent, "--parent", manifests[0].parent]
    edit = ["--edit", "swap-strength-0.5", "--out", out]
    assert cli.main([str(part) for part in (*command, *edit)]) == 0
    from transformers import AutoModelForCausalLM

    exported = AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert set(exported) == set(before[base])


def test_a_prefix_that_is_not_known_is_named(llama, tmp_path):
    renamed(llama[1], lambda n: f"actor.{n}")
    with pytest.raises(HealscopeError, match=r"names of its tensors begin with actor\., a wrapper"):
        take_both(tmp_path / "results", *llama)


def test_two_saves_in_one_file_are_refused(llama, tmp_path):
    renamed(llama[1], lambda n: n, {"_orig_mod.lm_head.weight": torch.ones(12, 16)})
    with pytest.raises(HealscopeError, match="are both lm_head.weight without the prefixes"):
        take_both(tmp_path / "results", *llama)


def test_added_tokens_are_rows_of_all(llama, tmp_path, capsys):
    """SFT that added tokens: the base gets rows for them, the mean of its others."""
    base, sft = llama
    tokenizer = tokens.word_tokenizer(WORDS)
    tokenizer.add_tokens(["<turn>"])
    model, _ = miniature("Llama")
    model.resize_token_embeddings(13, mean_resizing=False)
    shutil.rmtree(sft)
    save(Path(sft), model, tokenizer, 0.05)
    manifests = take_both(tmp_path / "results", base, sft)
    assert "base: its vocabulary has 12 rows and is read with 13" in capsys.readouterr().err
    skeleton, loaded = checkpoints.load_model(manifests[0])
    assert loaded.convert_tokens_to_ids("<turn>") == 12
    embeddings = skeleton.get_input_embeddings().weight
    assert torch.allclose(embeddings[12], embeddings[:12].mean(0), atol=1e-6)
    (_,) = load_each(skeleton, [from_checkpoint("sft-5", manifests[1])], {})
    asked = torch.tensor([[1, 4, 12, 6, 7]])
    with torch.no_grad():
        there = integrity.load(sft)(input_ids=asked).logits
        assert torch.allclose(skeleton(input_ids=asked).logits, there, atol=1e-6)


def test_a_pad_token_without_an_embedding_is_never_fed(llama, tmp_path, capsys):
    base, sft = llama
    for folder in llama:
        tokenizer = tokens.load_tokenizer(folder)
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
        tokenizer.save_pretrained(folder)
    manifests = take_both(tmp_path / "results", base, sft)
    assert "pad token <|pad|> has no embedding" in capsys.readouterr().err
    for manifest in manifests:
        loaded = tokens.load_tokenizer(str(manifest.parent))
        assert loaded.pad_token == loaded.eos_token == tokens.EOS


def without_end(folder: str) -> None:
    change(Path(folder, "tokenizer_config.json"), eos_token=None, pad_token=None)
    Path(folder, "special_tokens_map.json").unlink(missing_ok=True)


def test_a_tokenizer_without_end_takes_that_of_the_model_or_is_refused(llama, tmp_path, capsys):
    for folder in llama:
        without_end(folder)
    manifest = take_both(tmp_path / "a", *llama)[1]
    loaded = tokens.load_tokenizer(str(manifest.parent))
    assert (loaded.eos_token, loaded.pad_token) == (tokens.EOS, tokens.EOS)
    assert "names no eos_token; <eos> is it" in capsys.readouterr().err
    for folder in llama:
        for file in ("config.json", "generation_config.json"):
            change(Path(folder, file), eos_token_id=None)
    with pytest.raises(HealscopeError, match=r"names no token that ends .* set models\.\*\.end_to"):
        take_both(tmp_path / "b", *llama)
    base, sft = llama
    out = tmp_path / "c/base/checkpoint.json"
    linked.take("mine, base", base, sft, out, end="5")
    assert tokens.load_tokenizer(str(out.parent)).eos_token == "5"
    with pytest.raises(HealscopeError, match="end_token: 'nothing' is no token of"):
        linked.take("mine, base", base, sft, out, end="nothing")


@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template.json", "named", "two"])
def test_a_chat_template_is_found_where_programs_put_it(llama, tmp_path, capsys, place):
    base, sft = llama
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %} ="
    settings = Path(sft, "tokenizer_config.json")
    if place == "chat_template.json":
        Path(sft, place).write_text(json.dumps({"chat_template": template}))
    elif place == "named":
        named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": template}]
        change(settings, chat_template=named)
    else:
        Path(sft, "chat_template.jinja").write_text(template)
    if place == "two":
        change(settings, chat_template="another")
    manifest = take_both(tmp_path / "results", base, sft)[0]
    loaded = tokens.load_tokenizer(str(manifest.parent))
    assert tokens.prompt_ids(loaded, "cards J") == loaded.encode("cards J =")
    assert ("two chat templates; that of" in capsys.readouterr().err) == (place == "two")


def test_chat_templates_without_a_default_are_refused(llama, tmp_path):
    change(Path(llama[1], "tokenizer_config.json"), chat_template=[{"name": "rag", "template": ""}])
    with pytest.raises(HealscopeError, match="has chat templates rag and none called default"):
        take_both(tmp_path / "results", *llama)


def test_generation_settings_that_cannot_be_saved_are_taken(llama, tmp_path):
    for folder in llama:
        file = Path(folder, "generation_config.json")
        change(file, do_sample=False, temperature=0.6, top_p=0.9)
    manifests = take_both(tmp_path / "results", *llama)
    assert checkpoints.load_model(manifests[1])


def test_code_of_a_models_own_is_not_run(llama, tmp_path):
    for folder in llama:
        change(
            Path(folder, "config.json"),
            model_type="my_llm", auto_map={"AutoConfig": "configuration_my.MyConfig"},
        )  # fmt: skip
        Path(folder, "configuration_my.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(HealscopeError, match="model_type my_llm. names Python code of its own"):
        take_both(tmp_path / "results", *llama)
    for folder in llama:
        change(Path(folder, "config.json"), auto_map=None)
    with pytest.raises(HealscopeError, match="model_type my_llm, which transformers .* not know"):
        take_both(tmp_path / "results", *llama)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["pytorch_model_fsdp_0/.metadata"], "accelerate merge-weights .*pytorch_model_fsdp_0 OUT"),
        (["__0_0.distcp"], "accelerate merge-weights"),
        (["pytorch_model_fsdp.bin"], r"pickles.*models\.\*\.pickles: true"),
        (["global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt"], "zero_to_fp32.py .* OUT"),
        (["zero_to_fp32.py", "latest"], "zero_to_fp32"),
        (["model_world_size_2_rank_0.pt", "optim.pt"], "verl.model_merger merge"),
        (["mp_rank_00/model_optim_rng.pt"], "Megatron"),
        (["model.Q4_K_M.gguf"], r"healscope dequantise .*model.Q4_K_M.gguf OUT"),
        (["pytorch_model.bin", "optimizer.pt"], r"pickles.*models\.\*\.pickles: true"),
        (["consolidated.00.pth"], "pickles, which can run code"),
        (["checkpoint-10/model.safetensors", "checkpoint-20/x"], "checkpoints of a run .checkpo"),
        (["flax_model.msgpack"], "another framework"),
        (["optimizer.pt"], "holds no safetensors"),
    ],
)
def test_weights_in_other_formats_are_refused_with_what_makes_them_ours(tmp_path, files, expected):
    for file in [*files, "config.json"]:
        place = tmp_path / "run" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{}")
    with pytest.raises(ValueError, match=expected):
        sources.check(str(tmp_path / "run"))


def test_a_file_in_place_of_a_folder_is_refused(llama, tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_text("")
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(ValueError, match="dequantise .*m.gguf OUT"):
        sources.check(f"{tmp_path.name}/m.gguf")  # though a hub id could read so
    file = next(Path(llama[0]).glob("*.safetensors"))
    with pytest.raises(ValueError, match=f"is a file; give its folder, {llama[0]}"):
        sources.check(str(file))


def test_checkpoints_of_a_run_are_found_by_their_names(llama, tmp_path, monkeypatch):
    base, sft = llama
    run = tmp_path / "run"
    for name in ("checkpoint-500", "checkpoint-90", "checkpoint-0", "runs", "logs-3"):
        shutil.copytree(sft, run / name)
    (run / "checkpoint-500/optimizer.pt").write_bytes(b"left alone")
    (run / "checkpoint-7").write_text("no folder")
    model = Model(source=base, sft=str(run))
    assert model.sft == {90: f"{run}/checkpoint-90", 500: f"{run}/checkpoint-500"}
    assert "optimizer.pt" not in {Path(f).name for f in sources.files(model.sft[500])}
    data = {"models": {"mine": {"source": base, "sft": str(run)}}}
    assert own_checkpoints.completed(data)["sft"] == {"steps": 500, "checkpoints": [0, 90, 500]}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Model(source=base, sft="~/run").sft == {s: p for s, p in model.sft.items()}
    for wrong, expected in (
        (str(tmp_path), "no folders called checkpoint-N"),
        ("x/y", "no folder"),
    ):
        with pytest.raises(ValueError, match=f"models.mine.sft: {wrong} (holds|is) {expected}"):
            own_checkpoints.completed({"models": {"mine": {"source": base, "sft": wrong}}})


def test_a_folder_that_is_to_be_trained_is_checked_before_any_job(llama, tmp_path):
    Path(llama[0], "config.json").unlink()
    with pytest.raises(ValueError, match=r"source \(.*base\): holds no config.json"):
        Model(source=llama[0])


def fetched(source: str, folder: Path, **settings) -> Path:
    """The staged base of a model that is to be trained."""
    work = Workspace(folder, "x")
    base.fetch(Model(source=source, check_random=False, **settings), work)
    return work.staged("base")


def test_a_model_to_be_trained_is_found_at_home_and_mended(llama, tmp_path, monkeypatch):
    """Generation settings that transformers reads and does not save; a prefix; no end token."""
    sampling = {"do_sample": False, "temperature": 0.6, "eos_token_id": [2, 5]}
    change(Path(llama[0], "generation_config.json"), **sampling)
    renamed(llama[0], lambda n: f"module.{n}")
    without_end(llama[0])
    monkeypatch.setenv("HOME", str(tmp_path))
    staged = fetched("~/mine/base", tmp_path / "w")
    assert integrity.load(str(staged)).generation_config.eos_token_id == [2, 5]
    loaded = tokens.load_tokenizer(str(staged))
    assert (loaded.eos_token, loaded.pad_token) == (tokens.EOS, tokens.EOS)
    chosen = fetched(llama[0], tmp_path / "v", end_token="5")
    assert tokens.load_tokenizer(str(chosen)).eos_token == "5"


def test_a_model_to_be_trained_without_end_or_with_code_is_refused(llama, tmp_path):
    without_end(llama[0])
    for file in ("config.json", "generation_config.json"):
        change(Path(llama[0], file), eos_token_id=None)
    with pytest.raises(HealscopeError, match=r"no token that ends an answer .*end_token"):
        fetched(llama[0], tmp_path / "w")
    change(Path(llama[0], "config.json"), model_type="mine", auto_map={"AutoConfig": "a.B"})
    with pytest.raises(HealscopeError, match="names Python code of its own"):
        fetched(llama[0], tmp_path / "v")
