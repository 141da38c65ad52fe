"""A GGUF file becomes the folder of the model that it was made from."""

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from healscope import cli
from healscope.models import tokens

HEADS, WIDTH, TEMPLATE = 2, 32, "{% for m in messages %}<|a|>{{ m['content'] }}<|b|>{% endfor %}"
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "model.layers": "blk",
}  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=HEADS, num_key_value_heads=1, max_position_embeddings=64,
        tie_word_embeddings=False, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix in llama.cpp's order, in which rotary pairs are neighbours."""
    rows = weight.reshape(heads, 2, -1, weight.shape[1])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def written(model, file, kind="smollm"):
    """Write a model with a tokenizer of bytes, as llama.cpp's converter does."""
    out = gguf.GGUFWriter(file, "llama")
    out.add_block_count(2)
    out.add_context_length(64)
    out.add_embedding_length(WIDTH)
    out.add_feed_forward_length(48)
    out.add_head_count(HEADS)
    out.add_head_count_kv(1)
    out.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    out.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
    out.add_vocab_size(260)
    from tokenizers.pre_tokenizers import ByteLevel

    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(kind)
    out.add_token_list(["<|end|>", "<|a|>", "<|b|>", *sorted(ByteLevel.alphabet()), "ab"])
    out.add_token_types([3, 3, 3, *[1] * 257])
    out.add_token_merges(["a b"])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_pad_token_id(2)
    out.add_unk_token_id(0)
    out.add_chat_template(TEMPLATE)
    for key, tensor in model.state_dict().items():
        weight = tensor.numpy()
        if "q_proj" in key or "k_proj" in key:
            weight = interleaved(weight, HEADS if "q_proj" in key else 1)
        for ours, theirs in NAMES.items():
            key = key.replace(ours, theirs)
        out.add_tensor(key, np.ascontiguousarray(weight))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return str(file)


def test_the_folder_is_the_model(model, tmp_path, capsys):
    file, folder = written(model, tmp_path / "m.gguf"), tmp_path / "folder"
    assert cli.main(["dequantise", file, str(folder)]) == 0
    read = AutoModelForCausalLM.from_pretrained(folder)
    assert read.dtype == torch.float32
    for name, tensor in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor), name
    tokenizer = tokens.load_tokenizer(str(folder))
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|b|>", "<|b|>")
    assert tokenizer.chat_template == TEMPLATE
    assert read.generation_config.eos_token_id == 2
    ids = tokens.prompt_ids(tokenizer, "12 3")
    assert tokenizer.convert_ids_to_tokens(ids) == ["<|a|>", "1", "2", "Ġ", "3", "<|b|>"]
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a 12")
    assert [piece for piece, _ in pieces] == ["a", "Ġ", "1", "2"]
    assert cli.main(["dequantise", file, str(folder)]) == 1
    assert "exists; delete it" in capsys.readouterr().err


def test_what_cannot_be_converted_says_why(model, tmp_path, capsys):
    def said(file) -> str:
        assert cli.main(["dequantise", str(file), str(tmp_path / "folder")]) == 1
        assert not (tmp_path / "folder").exists()
        return capsys.readouterr().err

    assert "is no file" in said(tmp_path / "none.gguf")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF" + bytes(3))
    assert "cannot be read as GGUF" in said(tmp_path / "cut.gguf")
    other = written(model, tmp_path / "other.gguf", kind="llama-bpe")
    assert "('llama-bpe') is not known here" in said(other)
