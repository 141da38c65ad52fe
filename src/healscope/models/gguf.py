"""Convert a GGUF file, as llama.cpp reads it, to a Hugging Face folder in float32.

transformers dequantises the weights. What it leaves to do: the config still says GGUF, and the
tokenizer has one pre-tokenizer for all files, whatever the file names.
"""

import shutil
from pathlib import Path

import torch
from tokenizers import pre_tokenizers

from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity

DIGITS_APART = {"gpt-2": False, "smollm": True}
"""`tokenizer.ggml.pre` of a file -> whether its tokenizer splits numbers into digits first; each
then splits text as GPT-2 does (llama.cpp, src/llama-vocab.cpp)."""


def dequantise(file: Path, folder: Path, tokenizer: Path | None = None) -> None:
    """Write the model in a GGUF file as a folder: float32 safetensors, tokenizer, chat template.

    Args:
        file: the GGUF file.
        folder: where to write; must not exist. It appears when it is whole.
        tokenizer: a folder whose tokenizer to take instead of the file's own.

    Raises:
        HealscopeError: if `gguf` is not installed, the file cannot be read, or its tokenizer is of
            a kind that is not known here.
    """
    if folder.exists():
        raise HealscopeError(f"{folder} exists; delete it, or name another folder")
    if not file.is_file():
        raise HealscopeError(f"{file} is no file; name the GGUF file itself")
    kind = None if tokenizer else _kind_of_tokenizer(file)
    model, loaded = _read(file, tokenizer)
    if kind is not None and DIGITS_APART[kind]:
        backend = loaded.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    checkpoints.save_weights(part, model, loaded)
    integrity.check_logits(part, integrity.load(part))
    (part / integrity.LOGITS).unlink()  # of a study's own checkpoints
    part.rename(folder)


def _kind_of_tokenizer(file: Path) -> str:
    """Return `tokenizer.ggml.pre` of a file; raises HealscopeError if it is not known here."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise HealscopeError(
            "GGUF files are read by the package gguf: pip install 'healscope[gguf]'"
        ) from None
    try:
        field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    except Exception as error:  # of numpy, for a file that is cut short
        raise HealscopeError(f"{file} cannot be read as GGUF ({error}); fetch it again") from None
    kind = str(field.contents()) if field else "none"
    if kind not in DIGITS_APART:
        raise HealscopeError(
            f"{file}: how its tokenizer splits text ('{kind}') is not known here; fetch the "
            "tokenizer of the model that it was made from, and name its folder by --tokenizer"
        )
    return kind


def _read(file: Path, tokenizer: Path | None):
    """Return (model in float32 whose config says nothing of GGUF, tokenizer)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        given = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
        )
        loaded = (
            AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
            if tokenizer
            else AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        )
    except ImportError as error:
        raise HealscopeError(f"{error}: pip install 'healscope[gguf]'") from None
    except (ValueError, KeyError, OSError) as error:
        raise HealscopeError(f"{file}: transformers cannot convert it: {error}") from None
    settings = given.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        settings.pop(name, None)
    model = type(given)(type(given.config)(**settings))
    model.load_state_dict(given.state_dict())
    model.generation_config.eos_token_id = loaded.eos_token_id
    model.generation_config.pad_token_id = loaded.pad_token_id
    return model.eval(), loaded
