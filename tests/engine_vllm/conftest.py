"""A model whose attention heads vLLM knows on a CPU, and an engine that holds it."""

import os
import shutil
from pathlib import Path

import pytest

from healscope.config import Vllm

PYTHON = os.environ.get("VLLM_PYTHON", str(Path(__file__).parents[2] / ".venv-vllm/bin/python"))


@pytest.fixture(scope="session", autouse=True)
def python() -> str:
    """The interpreter that has vLLM."""
    if shutil.which(PYTHON) is None:
        pytest.exit(f"{PYTHON} is not there: `make test-vllm` makes it", 2)
    return PYTHON


@pytest.fixture(scope="session")
def settings(python) -> Vllm:
    return Vllm(python=python, dtype="float32")


@pytest.fixture(scope="session")
def make(task, tmp_path_factory):
    """(kind of model, seed) -> manifest of an untrained one, whose answers are not flat."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    from healscope.models import checkpoints, tokens

    torch.set_num_threads(1)
    kinds = {
        "llama": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": False}),
        "qwen2": (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": True}),
    }

    def made(kind: str, seed: int) -> str:
        tokenizer = tokens.word_tokenizer(task.words())
        model, config, more = kinds[kind]
        torch.manual_seed(seed)
        new = model(
            config(
                vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256,
                num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=256, initializer_range=0.2,
                pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id, **more,
            )
        )  # fmt: skip
        folder = tmp_path_factory.mktemp(f"{kind}-{seed}")
        checkpoints.save_weights(folder / "staged", new, tokenizer)
        manifest = folder / f"{kind}-{seed}" / "checkpoint.json"
        checkpoints.publish(folder / "staged", manifest, {})
        return str(manifest)

    return made


@pytest.fixture(scope="session")
def base_manifest(make) -> str:
    """In place of the micro study's: its heads are of size 16."""
    return make("llama", 0)


@pytest.fixture(scope="session")
def engine(base_manifest, settings, tmp_path_factory):
    from healscope.engines import VLLM, Process

    log = tmp_path_factory.mktemp("engine") / "job.log"
    with VLLM(Path(base_manifest).parent, Process(settings, str(log)), 256, 0.9) as started:
        yield started


@pytest.fixture(scope="session")
def prompts(tables, base_manifest) -> list[list[int]]:
    from healscope.models import tokens

    tokenizer = tokens.load_tokenizer(str(Path(base_manifest).parent))
    full = [tokens.prompt_ids(tokenizer, p) for p in tables[0]["prompt"].head(48)]
    return full[:24] + [p[:-2] for p in full[24:]]  # of two lengths
