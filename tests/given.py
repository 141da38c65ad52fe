"""Small models in folders as users give them, and taking them into a study."""

import json
from pathlib import Path

import torch

from healscope.models import linked, tokens

SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
ARCHITECTURES = {
    "Llama": {"tie_word_embeddings": False},
    "Qwen2": {"tie_word_embeddings": True},
    "Qwen3": {"head_dim": 8},
    "Mistral": {"sliding_window": None},
    "Gemma2": {"head_dim": 8},
    "Gemma3": {"head_dim": 8},
}
WORDS = ["cards", "answer", "J", "Q", "K", "5", "10", "="]


def miniature(architecture: str, seed: int = 0):
    import transformers

    text = "Text" if architecture == "Gemma3" else ""
    config_class = getattr(transformers, f"{architecture}{text}Config")
    tokenizer = tokens.word_tokenizer(WORDS)
    config = config_class(vocab_size=len(tokenizer), **{**SIZES, **ARCHITECTURES[architecture]})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, f"{architecture}ForCausalLM")(config), tokenizer


def save(folder: Path, model, tokenizer, moved: float = 0.0) -> str:
    """As a user's code would, in shards; `moved`: how far matrices are from where they were."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "proj" in name and moved:
                weight += moved * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(folder, max_shard_size="4KB")
    if tokenizer:
        tokenizer.save_pretrained(folder)
    return str(folder)


def take_both(folder: Path, base: str, sft: str) -> list[Path]:
    manifests = [folder / name / "checkpoint.json" for name in ("base", "sft-5")]
    linked.take("mine, base", base, sft, manifests[0])
    linked.take("mine, sft-5", sft, str(manifests[0]), manifests[1])
    return manifests


def change(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
