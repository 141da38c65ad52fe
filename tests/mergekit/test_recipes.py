"""mergekit makes the weights that `healscope export` writes, from the config that `repair` adds."""

import pytest
import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from healscope.edit_names import parse
from healscope.models.stored import Stored
from healscope.repair.export import export
from healscope.repair.mergekit import recipe
from healscope.spectra import sources

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]
SIZES = {
    "vocab_size": 40, "hidden_size": 40, "intermediate_size": 30, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def folders(request, tmp_path_factory):
    """A base and a checkpoint some way from it in every tensor; Qwen2 has biases beside weights."""
    place = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(request.param, **SIZES))
    words = {f"w{i}": i for i in range(SIZES["vocab_size"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), unk_token="w0"
    )
    for name in ("base", "tuned"):
        model.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
        with torch.no_grad():
            for w in model.parameters():
                w.add_(0.1 * torch.randn_like(w))
    return place / "tuned", place / "base"


@pytest.mark.parametrize(
    ("edit", "roles"),
    [
        ("swap-strength-0.3", ROLES),
        ("swap-rank-1", ROLES),
        ("swap-roles-q.down-strength-0.75", ROLES),
        ("ramp", ROLES),
        ("ramp-strength-0.6", [*ROLES, "embeddings"]),
        ("trim-tail-0.8", ROLES),
        ("trim-tail-0.5-roles-gate.up", ROLES),
    ],
)
def test_mergekit_makes_the_same_weights(folders, tmp_path, edit, roles):
    target, parent = folders
    stored = Stored(target)
    config = recipe(
        parse(edit), str(target), str(parent), sources.matrices_of(stored, roles), "float32"
    )
    written = yaml.safe_load(yaml.safe_dump(config))
    run_merge(MergeConfiguration.model_validate(written), str(tmp_path / "merged"), MergeOptions())
    export(target, parent, edit, tmp_path / "edited", roles)
    made, merged = Stored(tmp_path / "edited"), Stored(tmp_path / "merged")
    assert set(made) == set(merged)
    changed = {n for n in made if not torch.equal(made[n], stored[n])}
    assert changed
    for name in made:
        assert torch.allclose(made[name], merged[name], atol=1e-6), name
