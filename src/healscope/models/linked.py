"""Links the user's checkpoints into a study, without copying, and checks them against their base.

All checkpoints of a study are asked in one way, by one tokenizer and chat template: those of the
last SFT checkpoint, as it was trained with them and a base often has no template; where it has no
tokenizer, those of the base.
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from healscope import provenance
from healscope.config import sources
from healscope.errors import HealscopeError
from healscope.models import hub, integrity
from healscope.models.checkpoints import MANIFEST
from healscope.models.stored import Stored

TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json", "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
"""Files that turn text into token ids."""

END = "generation_config.json"
"""File that may name tokens that end an answer: asked for as the tokenizer is."""

_OF_NO_CONSEQUENCE = re.compile(
    "dropout|pdrop|layerdrop|initializer|^init_std$|^summary_|^(bos|eos|pad)_token_id$|^use_cache$"
    "|^vocab_size$|^max_position_embeddings$|^max_window_layers$|^use_sliding_window$"
    "|^pretraining_tp$"
)
"""Fields of an architecture's config that change no logit of an evaluation, or that shapes of
weights (the vocabulary) or other fields (`layer_types`) tell better."""

_SCALED_BY_LENGTH = {"dynamic", "yarn", "longrope"}
"""Kinds of rotary positions that may depend on max_position_embeddings."""


def local(source: str, files: Sequence[str] = hub.FILES) -> Path:
    """Return the folder of a checkpoint; a hub id is downloaded to the hub's cache if needed."""
    if not sources.is_hub_id(source):
        return sources.folder(source)
    return hub.folder(*sources.hub_id(source), files)


def take(name: str, source: str, beside: str, manifest: str | Path) -> None:
    """Link a checkpoint's files to the folder of `manifest`, then write the manifest.

    `beside`: for the base, the source of the last SFT checkpoint, which may bring the tokenizer;
    for all others, the manifest of the base, which has it. Raises HealscopeError where it is no
    model that a study can take, or another architecture or vocabulary than the base's.
    """
    place, target = local(source), Path(manifest).parent
    if place.resolve() == target.resolve():
        raise HealscopeError(f"{name}: {source} is where it would be linked to; rename the model")
    weights = _weights(name, place)
    if beside.endswith(MANIFEST):
        base = Path(beside).parent
        _same_model(name, weights, Stored(base))
        asked_by = base
    else:
        last = local(beside, TOKENIZER)
        asked_by = last if (last / TOKENIZER[0]).is_file() else place
    _same_tokens(name, place, asked_by, weights)
    own = [Path(p) for p in sources.files(str(place)) if Path(p).name not in (*TOKENIZER, END)]
    tokens = [asked_by / file for file in TOKENIZER if (asked_by / file).is_file()]
    ends = [f for f in (asked_by / END, place / END) if f.is_file()]
    if beside.endswith(MANIFEST):  # the base has it, if any of the two does
        ends = [f for f in ends if f.parent == asked_by]
    linked = [*own, *tokens, *ends[:1]]
    for file in linked:
        if file.suffix == ".json":
            _read_json(name, file)
    if unread := sources.not_of_the_model(place):
        print(
            f"healscope: {name}: {place} also holds {unread[0].name}, which is not read: as in "
            f"transformers, {next(iter(weights.files.values())).name} goes first",
            file=sys.stderr,
        )
    _link_all(linked, source, place, Path(manifest))


def _weights(name: str, place: Path) -> Stored:
    try:
        sources.check(str(place))
    except ValueError as error:
        raise HealscopeError(f"{name} ({place}): {error}") from None
    weights = Stored(place)
    about = _read_json(name, place / "config.json")
    if about.get("quantization_config"):
        raise HealscopeError(
            f"{name} ({place}) is quantised; give the weights as they were before (or dequantise "
            "and save them in bfloat16)"
        )
    if any(".experts." in tensor for tensor in weights):
        raise HealscopeError(
            f"{name} ({place}) is a mixture of experts, whose matrices are not compared or edited; "
            "give a dense model"
        )
    integrity.refuse_untied(f"{name} ({place})", weights)
    return weights


def _read_json(name: str, file: Path) -> dict:
    try:
        return sources.read_json(file)
    except ValueError as error:
        raise HealscopeError(f"{name}: {error}") from None


def _same_model(name: str, weights: Stored, base: Stored) -> None:
    """Refuse weights that do not fit the base's architecture."""
    for tensor in sorted(set(weights) & set(base)):
        own, other = weights.shapes[tensor], base.shapes[tensor]
        if own == other:
            continue
        if own[1:] == other[1:] and any(x in tensor for x in ("embed", "lm_head", "wte")):
            raise HealscopeError(
                f"{name} has {own[0]} rows of {tensor}, its base {other[0]}: tokens were added and "
                "the embeddings resized. Give as base a copy that is resized alike "
                f"(resize_token_embeddings({own[0]}), then save_pretrained): the new rows are "
                "then part of what SFT has trained"
            )
        raise HealscopeError(
            f"{name}: {tensor} is of shape {own}, in the base {other}: not a fine-tuned version of "
            "this base"
        )
    apart = [t for t in sorted(set(weights) ^ set(base)) if "lm_head" not in t]  # tied, or not
    if apart:
        raise HealscopeError(
            f"{name}: {len(apart)} tensors are only there or only in the base (as {apart[0]}): not "
            "a fine-tuned version of this base, or saved from another class"
        )
    _same_computation(name, weights.folder, base.folder)


def _same_computation(name: str, place: Path, base: Path) -> None:
    """Refuse a config.json that computes another function of the same weights than the base's.

    Compared are the fields that the architecture itself declares, as transformers reads them: what
    programs that fine-tune add, and what steers outputs, precision or training, changes no logit.
    """
    if _read_json(name, place / "config.json") == _read_json(name, base / "config.json"):
        return
    from transformers import AutoConfig

    try:
        own, other = (AutoConfig.from_pretrained(p).get_text_config() for p in (place, base))
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


def _same_tokens(name: str, place: Path, asked_by: Path, weights: Stored) -> None:
    """Refuses a vocabulary in which a token has another id; says where one lacks tokens."""
    if not (asked_by / TOKENIZER[0]).is_file():
        raise HealscopeError(
            f"neither {asked_by} nor the last SFT checkpoint holds a {TOKENIZER[0]}; save one "
            "there: AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)"
        )
    ids = _vocabulary(asked_by)
    rows = max((s[0] for n, s in weights.shapes.items() if "embed_tokens" in n), default=len(ids))
    if beyond := [token for token, i in ids.items() if i >= rows]:
        raise HealscopeError(
            f"{name} has {rows} embeddings, and the tokenizer of the study ({asked_by}) knows "
            f"{len(beyond)} tokens beyond them (as {beyond[0]!r}): tokens were added. Give a base "
            "that is resized alike (resize_token_embeddings, then save_pretrained)"
        )
    if not (place / TOKENIZER[0]).is_file():
        return
    own = _vocabulary(place)
    if moved := sorted(token for token in set(own) & set(ids) if own[token] != ids[token]):
        token = moved[0]
        raise HealscopeError(
            f"{name}: its tokenizer and that of the study ({asked_by}) give {len(moved)} tokens "
            f"other ids (as {token!r}: {own[token]} and {ids[token]}): they are not one family"
        )
    if lacking := sorted(set(ids) - set(own)):
        print(
            f"healscope: the tokenizer of {name} lacks {len(lacking)} tokens that the study's has "
            f"(as {lacking[0]!r}); it is asked by the study's, as all are",
            file=sys.stderr,
        )


def _vocabulary(place: Path) -> dict[str, int]:
    """token -> id, added ones included; without transformers, which takes long to import."""
    from tokenizers import Tokenizer

    file = place / TOKENIZER[0]
    try:
        return Tokenizer.from_file(str(file)).get_vocab()
    except Exception as error:  # of the library below: it has no class of its own
        reason = "is empty" if file.stat().st_size == 0 else f"cannot be read ({error})"
        raise HealscopeError(
            f"{file} {reason}; copy it there again, or save it with "
            "AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)"
        ) from None


def _link_all(files: list[Path], source: str, place: Path, manifest: Path) -> None:
    shutil.rmtree(manifest.parent, ignore_errors=True)
    manifest.parent.mkdir(parents=True)
    listed = {}
    for file in sorted(files, key=lambda p: p.name):
        _link(file, manifest.parent / file.name)
        listed[file.name] = {"bytes": file.stat().st_size, "sha256": provenance.sha256(file)}
    config = {"source": source}
    if sources.is_hub_id(source):
        config["commit"] = place.name  # snapshots are called by it
    hashes = {name: about["sha256"] for name, about in listed.items()}
    record = provenance.record(config, inputs=hashes)
    provenance.write_json(manifest, {"files": listed, "provenance": record})


def _link(file: Path, link: Path) -> None:
    """Make a hard link if possible, as it survives a moved folder; else a symbolic one."""
    real = file.resolve()  # the hub's cache holds links itself
    try:
        os.link(real, link)
    except OSError:  # another file system, or another owner
        link.symlink_to(real)
