"""LLaMA-3.2-Vision as a language model: a base made from it is a Llama; it can be given as is."""

from pathlib import Path

import pytest
import torch

from healscope.config import Model
from healscope.engines.generate import generate
from healscope.evaluation.losses import response_loss
from healscope.models import checkpoints, integrity, tokens
from healscope.models.stored import Stored
from healscope.spectra.matrices import matrices
from healscope.training import base
from healscope.training.state import Workspace

TEXT = {"hidden_size": 32, "num_hidden_layers": 5, "cross_attention_layers": [1, 3],
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 128, "rope_parameters": {"rope_type": "llama3", "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500000.0,
        "original_max_position_embeddings": 64}}  # fmt: skip
VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_global_layers": 1, "attention_heads": 2,
          "intermediate_size": 32, "vision_output_dim": 32, "image_size": 28, "patch_size": 14,
          "max_num_tiles": 1, "supported_aspect_ratios": [[1, 1]],
          "intermediate_layers_indices": [0]}  # fmt: skip


@pytest.fixture(scope="module")
def miniature(task, tmp_path_factory):
    """(the whole model, the folder that a hub would give)."""
    from transformers import MllamaConfig, MllamaForConditionalGeneration

    tokenizer = tokens.word_tokenizer(task.words())
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    ids = {name: getattr(tokenizer, name) for name in names}
    text = {**TEXT, **ids, "vocab_size": len(tokenizer)}
    folder = tmp_path_factory.mktemp("mllama") / "hub"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = MllamaForConditionalGeneration(MllamaConfig(text_config=text, vision_config=VISION))
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return whole, folder


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 9, 8, 7, 6]])).logits


def test_a_base_made_from_it_is_a_llama_that_says_the_same(miniature, tmp_path):
    whole, folder = miniature
    source = Model(source=str(folder), check_random=False)
    work = Workspace(tmp_path / "state", "x")
    base.fetch(source, work)
    manifest = tmp_path / "base" / "checkpoint.json"
    checkpoints.publish(work.staged("base"), manifest, {})
    model, _ = checkpoints.load_model(manifest)
    assert model.config.model_type == "llama"
    assert model.config.num_hidden_layers == source.layers() == 3
    assert torch.equal(logits(model), logits(whole))
    listed = matrices(Stored(manifest.parent).shapes, ["q", "down"])
    assert {m.layer for m in listed} == {0, 1, 2}


def test_a_given_one_is_read_as_it_is(miniature, tmp_path):
    """Its text part can be saved on its own and loaded; cross-attention is not trained."""
    whole, folder = miniature
    text = integrity.load(str(folder))
    text.save_pretrained(tmp_path / "text")
    model = integrity.load(str(tmp_path / "text"))
    assert torch.equal(logits(model), logits(whole))
    tokenizer = tokens.load_tokenizer(str(folder))
    encoded = tokens.encode_pairs(tokenizer, [("J 10 Q 10", "cards J"), ("J 11", "formula")])
    response_loss(model, *encoded).backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert not [name for name in moved if ".layers.1." in name or ".layers.3." in name]
    assert "model.layers.4.self_attn.q_proj.weight" in moved
    assert {m.layer for m in matrices(Stored(Path(folder)).shapes, ["q"])} == {0, 2, 4}


def test_a_given_one_answers_in_batches(miniature):
    model, tokenizer = (load(str(miniature[1])) for load in (integrity.load, tokens.load_tokenizer))
    prompts = [tokens.prompt_ids(tokenizer, p) for p in ("J 10 Q 10 K 10", "5 6")]
    asked = {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id, "max_new_tokens": 6}
    batched = generate(model, prompts, **asked, samples=2).ids()
    alone = [generate(model, [p], **asked).ids()[0] for p in prompts]
    assert batched == [alone[0]] * 2 + [alone[1]] * 2
