"""Which tensor holds which matrix, in miniatures made from the model families' own classes."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, Phi3Config, Qwen2Config

from healscope.edit_names import leading
from healscope.errors import HealscopeError
from healscope.spectra import sources
from healscope.spectra.matrices import ROLES, Matrix, matrices

SMALL = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 30, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
LAYER_ROLES = list(ROLES[:7])


def saved(config, folder, **how):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, **how)
    return model


def listed(folder, roles):
    opened = sources.weights(folder)
    return opened, sources.matrices_of(opened, roles)


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config, Gemma2Config])
def test_grouped_queries_have_fewer_rows(family, tmp_path):
    model = saved(family(**SMALL, head_dim=4), tmp_path)
    opened, found = listed(tmp_path, LAYER_ROLES)
    assert [(m.layer, m.role) for m in found] == [(i, r) for i in (0, 1) for r in LAYER_ROLES]
    shapes = {m.role: tuple(sources.read(opened, m).shape) for m in found}
    assert shapes["q"] == (16, 16)
    assert shapes["k"] == shapes["v"] == (8, 16)
    assert shapes["gate"] == shapes["up"] == (24, 16)
    assert shapes["down"] == (16, 24)
    state = model.state_dict()
    assert all(torch.equal(sources.read(opened, m), state[m.name]) for m in found)


def test_fused_projections_are_divided_by_the_config(tmp_path):
    model = saved(Phi3Config(**SMALL), tmp_path)
    opened, found = listed(tmp_path, LAYER_ROLES)
    assert [(m.layer, m.role) for m in found] == [(i, r) for i in (0, 1) for r in LAYER_ROLES]
    qkv = model.model.layers[1].self_attn.qkv_proj.weight
    gate_up = model.model.layers[1].mlp.gate_up_proj.weight
    got = {m.role: sources.read(opened, m) for m in found if m.layer == 1}
    expected = {**dict(zip("qkv", qkv.split([16, 8, 8]), strict=True)),
                **dict(zip(("gate", "up"), gate_up.chunk(2), strict=True))}  # fmt: skip
    for role, tensor in expected.items():
        assert torch.equal(got[role], tensor), role


def test_a_fused_projection_that_does_not_fit_its_config_is_refused():
    name = "model.layers.0.self_attn.qkv_proj.weight"
    with pytest.raises(HealscopeError, match="has 30 rows where config.json makes 16 . 8 . 8"):
        matrices({name: (30, 16)}, ["q"], SMALL)
    with pytest.raises(HealscopeError, match="config.json has no 'num_attention_heads'"):
        matrices({name: (32, 16)}, ["q"], {})


def test_a_tied_head_is_the_embeddings_and_is_listed_once(tmp_path):
    saved(LlamaConfig(**SMALL, tie_word_embeddings=True), tmp_path)
    embeddings = Matrix(-1, "embeddings", "model.embed_tokens.weight")
    assert listed(tmp_path, ["embeddings", "head"])[1] == [embeddings]
    assert listed(tmp_path, ["embeddings"])[1] == [embeddings]
    assert listed(tmp_path, ["head"])[1] == [Matrix(-1, "head", "model.embed_tokens.weight")]


def test_a_head_of_its_own_is_listed_beside_the_embeddings(tmp_path):
    saved(LlamaConfig(**SMALL, tie_word_embeddings=False), tmp_path)
    found = listed(tmp_path, ["head", "embeddings", "q"])[1]
    assert [(m.layer, m.role) for m in found] == [
        (-1, "embeddings"), (-1, "head"), (0, "q"), (1, "q")
    ]  # fmt: skip
    assert found[1].name == "lm_head.weight"


def test_a_sharded_checkpoint_reads_like_a_whole_one(tmp_path):
    model = saved(LlamaConfig(**SMALL), tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    opened, found = listed(tmp_path, [*LAYER_ROLES, "embeddings", "head"])
    state = model.state_dict()
    assert len(found) == 16
    assert all(torch.equal(sources.read(opened, m), state[m.name]) for m in found)


def layer(prefix, number, attention="self_attn"):
    return {f"{prefix}layers.{number}.{attention}.q_proj.weight": (8, 8),
            f"{prefix}layers.{number}.mlp.up_proj.weight": (8, 8)}  # fmt: skip


def test_vision_towers_and_cross_attention_are_no_language_layers():
    shapes = {
        **layer("model.language_model.", 0),
        **layer("model.language_model.", 1, "cross_attn"),  # with its own MLP, unused by text
        **layer("model.language_model.", 2),
        **layer("model.vision_model.transformer.", 0),
        **layer("model.visual.", 1),
        **layer("audio_tower.", 2),
        "model.language_model.embed_tokens.weight": (30, 8),
    }
    found = matrices(shapes, ["q", "up", "embeddings"])
    assert [(m.layer, m.role) for m in found] == [
        (-1, "embeddings"), (0, "q"), (0, "up"), (2, "q"), (2, "up")
    ]  # fmt: skip
    assert all("language_model" in m.name for m in found)


def test_a_real_vision_model_lists_its_text_layers():
    from transformers import MllamaConfig, MllamaForConditionalGeneration

    text = {**SMALL, "num_hidden_layers": 3, "cross_attention_layers": [1],
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}  # fmt: skip
    vision = {"hidden_size": 16, "num_hidden_layers": 2, "num_global_layers": 1,
              "attention_heads": 2, "intermediate_size": 16, "image_size": 28, "patch_size": 14,
              "vision_output_dim": 32, "intermediate_layers_indices": [0]}  # fmt: skip
    with torch.device("meta"):
        model = MllamaForConditionalGeneration(MllamaConfig(text_config=text, vision_config=vision))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = matrices(shapes, LAYER_ROLES, model.config.to_dict())
    assert [(m.layer, m.role) for m in found] == [(i, r) for i in (0, 2) for r in LAYER_ROLES]


def test_two_matrices_for_one_place_are_named():
    shapes = {**layer("model.", 0), **layer("draft.", 0)}
    with pytest.raises(HealscopeError, match=r"model\.layers\.0.* and draft\.layers\.0"):
        matrices(shapes, ["q"])


def test_an_absent_role_is_named():
    with pytest.raises(HealscopeError, match="no matrix of role gate, head"):
        matrices(layer("model.", 0), ["q", "gate", "head"])


def test_a_share_of_the_rank_is_at_least_one_direction():
    assert [leading(f, 8) for f in (0.001, 0.2, 0.5, 1.0)] == [1, 2, 4, 8]


def test_folders_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(HealscopeError, match="holds no weights"):
        sources.weights(tmp_path)
    file = tmp_path / "model.safetensors"
    saved(LlamaConfig(**SMALL), tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(HealscopeError, match=r"model\.safetensors is damaged or cut short"):
        sources.weights(tmp_path)


def test_a_tensor_that_two_files_hold_is_named(tmp_path):
    saved(LlamaConfig(**SMALL), tmp_path)
    whole = tmp_path / "model.safetensors"
    whole.rename(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    with pytest.raises(HealscopeError, match="both hold"):
        sources.weights(tmp_path)
