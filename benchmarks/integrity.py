"""Does the check for random weights refuse what it should, and nothing else, and what does it cost?

    python benchmarks/integrity.py [FOLDER of checkpoints, searched for checkpoint.json]

Fresh models of several families, as drawn, after small random updates, and rounded to bfloat16;
then every checkpoint of the folder; then a model of 134M parameters. One thread.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity

SMALL = {
    "vocab_size": 100, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
    "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES = {
    "llama": {},
    "qwen2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {"num_key_value_heads": 1, "head_dim": 64},
    "mistral": {"num_key_value_heads": 2},
    "phi3": {"num_key_value_heads": 2},  # fused projections
    "gemma2": {"num_key_value_heads": 2, "head_dim": 32},
    "gpt_neox": {},
    "gpt2": {"n_embd": 128, "n_layer": 3, "n_head": 4},  # draws half of its matrices smaller
}
DRAWS = 10
WAYS = {
    "as drawn": lambda w: w,
    "after updates of 0.5%": lambda w: w + 0.005 * w.std() * torch.randn_like(w),
    "in bfloat16": lambda w: w.bfloat16(),
}


def refused(weights: dict[str, torch.Tensor], std: float) -> bool:
    try:
        integrity.check_trained(weights, std, "model")
    except HealscopeError:
        return True
    return False


def families() -> None:
    for family, more in FAMILIES.items():
        config = AutoConfig.for_model(family, **({} if family == "gpt2" else SMALL), **more)
        std, found = integrity.initial_std(config.to_dict()), dict.fromkeys(WAYS, 0)
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            weights = AutoModelForCausalLM.from_config(config).state_dict()
            for way, change in WAYS.items():
                changed = {k: change(w) if w.ndim == 2 else w for k, w in weights.items()}
                found[way] += refused(changed, std)
        print(f"fresh {family}: refused", ", ".join(f"{n}/{DRAWS} {w}" for w, n in found.items()))


def trained(folder: Path) -> None:
    manifests = [m for m in sorted(folder.rglob("checkpoint.json")) if not checkpoints.failure(m)]
    wrongly, seconds, loading = [], 0.0, 0.0
    for manifest in manifests:
        start = time.perf_counter()
        try:
            integrity.check_folder(manifest.parent)
        except HealscopeError as error:
            wrongly.append(str(error))
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        checkpoints.load_model(manifest)
        loading += time.perf_counter() - start
    each, load = (1000 * spent / max(len(manifests), 1) for spent in (seconds, loading))
    print(
        f"trained checkpoints: refused {len(wrongly)}/{len(manifests)}, {each:.1f} ms each, beside "
        f"{load:.0f} ms for loading one with its other checks"
    )
    print(*wrongly, sep="\n", end="")


def cost() -> None:
    config = AutoConfig.for_model("llama", vocab_size=32000, hidden_size=768,
                                  intermediate_size=2048, num_hidden_layers=12,
                                  num_attention_heads=12)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    fresh = model.state_dict()
    size = sum(w.numel() for w in fresh.values()) / 1e6
    for name, weights in (("fresh", fresh), ("trained", {k: 1.1 * w for k, w in fresh.items()})):
        start = time.perf_counter()
        answer = "refused" if refused(weights, 0.02) else "passed"
        print(f"{size:.0f}M parameters, {name}: {answer} in {time.perf_counter() - start:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for what in (integrity.record_logits, integrity.check_logits):
            start = time.perf_counter()
            what(folder, model)
            print(f"{size:.0f}M parameters, {what.__name__}: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families()
    if len(sys.argv) > 1:
        trained(Path(sys.argv[1]))
    cost()
