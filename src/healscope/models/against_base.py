"""Check that a checkpoint has the matrices of its base and computes the same with them."""

import re
from dataclasses import fields
from pathlib import Path

from healscope.config import json_files, tensors
from healscope.errors import HealscopeError
from healscope.models.stored import Stored

_OF_NO_CONSEQUENCE = re.compile(
    "dropout|pdrop|layerdrop|initializer|^init_std$|^summary_|^(bos|eos|pad)_token_id$|^use_cache$"
    "|^vocab_size$|^max_position_embeddings$|^max_window_layers$|^use_sliding_window$"
    "|^pretraining_tp$"
)
"""Fields of an architecture's config that change no logit of an evaluation, or that shapes of
weights (the vocabulary) or other fields (`layer_types`) tell better."""

_SCALED_BY_LENGTH = {"dynamic", "yarn", "longrope"}
"""Kinds of rotary positions that may depend on max_position_embeddings."""


def refuse_another_model(name: str, weights: Stored, base: Stored) -> None:
    """Refuse weights that do not fit the base's architecture."""
    for tensor in sorted(set(weights) & set(base)):
        own, other = weights.shapes[tensor], base.shapes[tensor]
        if own == other or (tensors.has_rows(tensor) and own[1:] == other[1:]):
            continue  # of a vocabulary that was resized, see `rows`
        raise HealscopeError(
            f"{name}: {tensor} is of shape {own}, in the base {other}: not a fine-tuned version of "
            "this base"
        )
    apart = [t for t in sorted(set(weights) ^ set(base)) if "lm_head" not in t]  # tied, or not
    if apart:
        first = next(iter(base))
        wrapped = next((t for t in weights if t.endswith(f".{first}")), first)
        if prefix := wrapped.removesuffix(first):
            raise HealscopeError(
                f"{name}: the names of its tensors begin with {prefix}, a wrapper that is not "
                "known; save the model inside it with save_pretrained"
            )
        raise HealscopeError(
            f"{name}: {len(apart)} tensors are only there or only in the base (as {apart[0]}): not "
            "a fine-tuned version of this base, or saved from another class"
        )
    _same_computation(name, weights.config.parent, base.config.parent)


def _same_computation(name: str, place: Path, base: Path) -> None:
    """Refuse a config.json that computes another function of the same weights than the base's.

    Compared are the fields that the architecture itself declares, as transformers reads them: what
    programs that fine-tune add, and what steers outputs, precision or training, changes no logit.
    """
    if read_json(name, place / "config.json") == read_json(name, base / "config.json"):
        return
    from transformers import AutoConfig

    try:
        own, other = (
            AutoConfig.from_pretrained(p, trust_remote_code=False).get_text_config()
            for p in (place, base)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise HealscopeError(f"{name}: {place / 'config.json'} cannot be read: {first}") from None
    if type(own) is not type(other):
        raise HealscopeError(
            f"{name}: its config.json says model_type = {own.model_type}, that of the base "
            f"{other.model_type}: not a fine-tuned version of this base"
        )
    for key in _computed_by(own):
        if getattr(own, key, None) != getattr(other, key, None):
            raise HealscopeError(
                f"{name}: its config.json says {key} = {getattr(own, key, None)}, that of the base "
                f"{getattr(other, key, None)}: all checkpoints of a study run in one skeleton. "
                "Where the base's is right for it, copy that value"
            )


def _computed_by(config) -> list[str]:
    """Return the fields of a config that decide what the model computes from its weights."""
    from transformers import PreTrainedConfig

    declared = {f.name for f in fields(config)} - {f.name for f in fields(PreTrainedConfig)}
    kept = {key for key in declared if not _OF_NO_CONSEQUENCE.search(key)}
    rope = getattr(config, "rope_parameters", None) or {}
    nested = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    if any(part.get("rope_type") in _SCALED_BY_LENGTH for part in nested):
        kept |= declared & {"max_position_embeddings"}
    return sorted(kept)


def read_json(name: str, file: Path) -> dict:
    """Read a JSON file of checkpoint `name`. Raises HealscopeError that says whose it is."""
    try:
        return json_files.read(file)
    except ValueError as error:
        raise HealscopeError(f"{name}: {error}") from None


def refuse_unknown_code(name: str, about: dict) -> None:
    """Refuse a model whose classes come as Python files, or that this transformers does not know.

    `about` is its config.json. Nothing of such files is run.
    """
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = about.get("model_type")
    if kind in CONFIG_MAPPING_NAMES:
        return  # transformers' own classes are taken, whatever `auto_map` says
    if about.get("auto_map"):
        raise HealscopeError(
            f"{name}: its config.json (model_type {kind}) names Python code of its own (auto_map), "
            "which is not run; give a model of an architecture that transformers has, or convert "
            "it to one (many are Llama under another name)"
        )
    raise HealscopeError(
        f"{name}: its config.json says model_type {kind}, which transformers {__version__} does "
        "not know; convert it to an architecture that it has, or correct config.json"
    )
