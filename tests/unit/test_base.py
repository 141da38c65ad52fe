"""A base model comes from scratch, from a local folder, or fails with a sentence."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from healscope.config import Model, Pretraining
from healscope.errors import HealscopeError
from healscope.models import checkpoints, tokens
from healscope.provenance import fingerprint
from healscope.training import base
from healscope.training.state import Workspace


def test_pretraining_lowers_the_loss(study, task, tmp_path):
    scratch = study.models["micro"].scratch
    rows = base.pretrain(scratch, task, 0, Workspace(tmp_path / "w", "x"), "base")
    assert len(rows) == scratch.pretraining.steps
    last, first = (sum(r["loss"] for r in part) / 5 for part in (rows[-5:], rows[:5]))
    assert last < first - 0.1


@pytest.fixture(scope="module")
def tokenizer(task):
    return tokens.word_tokenizer(task.words())


def test_without_conversations_steps_are_what_they_were_before_there_were_any(task, tokenizer):
    steps = [base._batch(task, Pretraining(), tokenizer, 0, step)[0].tolist() for step in range(5)]
    assert fingerprint(steps)[:12] == "054c2a0e3e8b"


def test_a_step_is_all_conversations_or_none_and_teaches_the_last_answer(task, tokenizer):
    settings = Pretraining(conversations=0.3, batch_size=16)
    single = Pretraining(batch_size=16)
    talks = 0
    for step in range(100):
        ids, mask, width, real = base._batch(task, settings, tokenizer, 0, step)
        others = base._batch(task, single, tokenizer, 0, step)
        texts = [tokenizer.decode(row[known]) for row, known in zip(ids, mask, strict=True)]
        ends = {text.count("<eos>") for text in texts}
        if ends == {1}:  # a step without conversations is what it was
            assert torch.equal(ids, others[0])
            continue
        talks += 1
        assert ends == {2}
        for row, known, taught in zip(texts, ids, real, strict=True):
            answer = tokenizer.decode(known[-width:][taught])
            assert row.endswith(answer)
            assert answer.count("formula") == answer.count("<eos>") == 1
            assert "again" not in answer
    assert 15 <= talks <= 45


def test_a_base_can_be_trained_on_conversations(study, task, tmp_path):
    scratch = study.models["micro"].scratch
    pretraining = scratch.pretraining.model_copy(update={"conversations": 0.5})
    scratch = scratch.model_copy(update={"pretraining": pretraining})
    work = Workspace(tmp_path / "w", "x")
    rows = base.pretrain(scratch, task, 0, work, "base")
    last, first = (sum(r["loss"] for r in part) / 5 for part in (rows[-5:], rows[:5]))
    assert last < first - 0.1


def test_the_rate_warms_up_then_falls_to_zero():
    rates = [base._linear(step, warmup=10, steps=50) for step in range(51)]
    assert rates[:10] == [(i + 1) / 10 for i in range(10)]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[50] == 0


def test_seeds_differ_and_repeat(study, task, tmp_path):
    def weights(seed, folder):
        work = Workspace(tmp_path / folder, "x")
        base.pretrain(study.models["micro"].scratch, task, seed, work, "base")
        return checkpoints.load_file(work.staged("base") / checkpoints.WEIGHTS)

    a, b, c = weights(0, "a"), weights(0, "b"), weights(1, "c")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["lm_head.weight"], c["lm_head.weight"])


def test_a_local_folder_becomes_the_base(base_manifest, tmp_path):
    folder = str(Path(base_manifest).parent)
    work = Workspace(tmp_path / "w", "x")
    base.fetch(Model(source=folder, check_random=False), work)
    manifest = tmp_path / "out" / "checkpoint.json"
    checkpoints.publish(work.staged("base"), manifest, {})
    before, after = checkpoints.load_weights(base_manifest), checkpoints.load_weights(manifest)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_folder_of_random_weights_is_refused(base_manifest, tmp_path):
    folder = str(Path(base_manifest).parent)
    with pytest.raises(HealscopeError, match=f"model source '{folder}': its weights are random"):
        base.fetch(Model(source=folder), Workspace(tmp_path / "w", "x"))


def test_a_folder_with_other_keys_is_refused(base_manifest, tmp_path):
    """transformers alone would make up what is missing, and say so in a log."""
    folder = tmp_path / "folder"
    shutil.copytree(Path(base_manifest).parent, folder)
    weights = checkpoints.load_file(folder / checkpoints.WEIGHTS)
    renamed = {key.replace("self_attn", "attention"): value for key, value in weights.items()}
    save_file(renamed, folder / checkpoints.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(HealscopeError, match=f"{folder}: .* 8 missing .*; 8 unexpected"):
        base.fetch(Model(source=str(folder)), Workspace(tmp_path / "w", "x"))


def test_a_folder_that_was_another_model_is_refused(base_manifest, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(Path(base_manifest).parent, folder)
    weights = checkpoints.load_file(folder / checkpoints.WEIGHTS)
    weights["model.norm.weight"] *= torch.arange(len(weights["model.norm.weight"]))
    save_file(weights, folder / checkpoints.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(HealscopeError, match="folder: the model that was loaded is not the one"):
        base.fetch(Model(source=str(folder), check_random=False), Workspace(tmp_path / "w", "x"))


def test_a_missing_model_says_what_to_give(tmp_path):
    with pytest.raises(HealscopeError, match="'no/such-model' is neither a folder here nor"):
        base.fetch(Model(source="no/such-model"), Workspace(tmp_path / "w", "x"))


def test_remote_code_is_never_trusted():
    source = Path(base.__file__).parents[1]
    for file in source.rglob("*.py"):
        text = file.read_text()
        assert "trust_remote_code=True" not in text
        assert not re.search(r"^ *(import|from) (\w*pickle|dill)", text, re.MULTILINE)
        loads = re.findall(r"torch\.load\(.*", text)
        assert all("weights_only=True" in load for load in loads)
        assert not loads or file.name == "pickled.py"  # on request, in a process of its own
