"""LLaMA-3.2-Vision as a language model: its text part alone; cross-attention is never used."""

import pytest
import torch

from healscope.config import Model
from healscope.evaluation.generate import generate
from healscope.evaluation.losses import response_loss
from healscope.models import checkpoints, tokens
from healscope.models.stored import Stored
from healscope.models.variants import from_checkpoint, load_each
from healscope.spectra.matrices import matrices
from healscope.tasks.generalpoints import compact_vocabulary
from healscope.training import base
from healscope.training.state import Workspace

TEXT = {"hidden_size": 32, "num_hidden_layers": 5, "cross_attention_layers": [1, 3],
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 128}  # fmt: skip
VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_global_layers": 1, "attention_heads": 2,
          "intermediate_size": 32, "vision_output_dim": 32, "image_size": 28, "patch_size": 14,
          "max_num_tiles": 1, "supported_aspect_ratios": [[1, 1]],
          "intermediate_layers_indices": [0]}  # fmt: skip


@pytest.fixture(scope="module")
def miniature(task, tmp_path_factory):
    """(the whole model, the manifest that `fetch` makes of it)."""
    from transformers import MllamaConfig, MllamaForConditionalGeneration

    tokenizer = tokens.word_tokenizer(compact_vocabulary(task))
    ids = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")
    }
    text = {**TEXT, **ids, "vocab_size": len(tokenizer)}
    folder = tmp_path_factory.mktemp("mllama")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = MllamaForConditionalGeneration(MllamaConfig(text_config=text, vision_config=VISION))
    whole.save_pretrained(folder / "hub")
    tokenizer.save_pretrained(folder / "hub")
    work = Workspace(folder / "state", "x")
    source = Model(source=str(folder / "hub"), check_random=False)
    assert source.layers() == 5
    base.fetch(source, work)
    manifest = folder / "base" / "checkpoint.json"
    checkpoints.publish(work.staged("base"), manifest, {})
    return whole, manifest


def test_the_language_part_is_loaded_and_says_what_the_whole_model_says(miniature):
    whole, manifest = miniature
    model, _ = checkpoints.load_model(manifest)
    ids = torch.tensor([[1, 9, 8, 7, 6]])
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, whole(input_ids=ids).logits)
    assert not [name for name in model.state_dict() if "vision" in name]


def test_cross_attention_is_neither_trained_nor_decomposed(miniature):
    model, tokenizer = checkpoints.load_model(miniature[1])
    encoded = tokens.encode_pairs(tokenizer, [("J 10 Q 10", "cards J"), ("J 11", "formula")])
    response_loss(model, *encoded).backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert not [name for name in moved if ".layers.1." in name or ".layers.3." in name]
    assert "model.layers.4.self_attn.q_proj.weight" in moved
    listed = matrices(Stored(miniature[1].parent).shapes, ["q", "down"])
    assert {m.layer for m in listed} == {0, 2, 4}


def test_it_answers_in_batches_and_its_weights_are_swapped_in_place(miniature):
    model, tokenizer = checkpoints.load_model(miniature[1])
    prompts = [tokens.prompt_ids(tokenizer, p) for p in ("J 10 Q 10 K 10", "5 6")]
    (variant,) = load_each(model, [from_checkpoint("base", miniature[1])], {})
    asked = {"eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id, "max_new_tokens": 6}
    batched = generate(model, prompts, **asked, samples=2).ids()
    alone = [generate(model, [p], **asked).ids()[0] for p in prompts]
    assert variant.name == "base"
    assert batched == [alone[0]] * 2 + [alone[1]] * 2
