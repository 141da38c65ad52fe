"""Names and shapes of tensors in files of weights, read without any library.

Names may have parts before them that wrappers of trainers add, and some tensors are not weights of
the language model. What is left out or renamed is said when a checkpoint is taken (`Names.notes`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Parts that torch.compile, FSDP and activation checkpointing put anywhere into a name."""

PREFIXES = ("module.", "pretrained_model.", "base_model.model.", "language_model.")
"""What DistributedDataParallel, TRL, PEFT and vision models put before every name."""

_TEXT_OF_VISION = "model.language_model."
VALUE_HEADS = ("v_head", "value_head", "score")
"""First parts of names that trainers of RL and of reward models give to a head of their own."""

DERIVED = (
    "rotary_emb.inv_freq", "rotary_emb.original_inv_freq", "rotary_emb.cos_cached",
    "rotary_emb.sin_cached", "attn.masked_bias", "attention.masked_bias",
)  # fmt: skip
"""Buffers that a model computes from its config.json, as their names end."""

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight")
"""Embeddings of tokens, as their names end."""

VOCABULARY = (
    *EMBEDDINGS, "lm_head.weight", "lm_head.bias", "embed_out.weight",
)  # fmt: skip
"""Tensors with one row for each token, as their names end."""


@dataclass(frozen=True)
class Names:
    """`stored`: name in the model -> name in the files; `notes`: sentences about what differs."""

    stored: Mapping[str, str]
    notes: tuple[str, ...] = ()


def of_model(found: Collection[str], whole: bool = False) -> Names:
    """Return the names that the model has for tensors called `found` in a folder's files.

    Wrappers and known prefixes of all names are taken off; value heads and derived buffers are left
    out. With `whole` the config describes more than a language model (a vision model), and parts
    of its own names stay. Raises ValueError if two tensors would get one name.
    """
    names = {name: unwrapped(name) for name in found}
    taken_off = {w for w in WRAPPERS if any(w in name for name in found)}
    while prefix := _common(list(names.values()), whole):
        names = {old: name.removeprefix(prefix) for old, name in names.items()}
        taken_off.add(prefix)
    inner = [n for n in names.values() if n.startswith(_TEXT_OF_VISION)]
    if inner and not whole and not any(n.startswith("model.layers.") for n in names.values()):
        names = {o: n.replace(_TEXT_OF_VISION, "model.", 1) for o, n in names.items()}
        taken_off.add(_TEXT_OF_VISION)
    heads = [o for o, n in names.items() if n.split(".")[0] in VALUE_HEADS]
    derived = [o for o, n in names.items() if n.endswith(DERIVED)]
    if len(heads) == len(names):
        heads = []
    stored: dict[str, str] = {}
    for old, name in names.items():
        if old in heads or old in derived:
            continue
        if name in stored:
            raise ValueError(
                f"{stored[name]} and {old} are both {name} without the prefixes of a trainer: two "
                "saves are mixed in one folder; save the model again to an empty one"
            )
        stored[name] = old
    notes = []
    if taken_off:
        before = " and ".join(sorted(taken_off))
        notes.append(f"the prefix {before} is taken off the names of its tensors")
    if heads:
        notes.append(f"the value head ({_some(heads)}) is set aside")
    if derived:
        notes.append(
            f"{len(derived)} buffers that the model computes itself are left out ({_some(derived)})"
        )
    return Names(stored, tuple(notes))


def has_rows(name: str) -> bool:
    """Return whether a tensor has one row for each token of the vocabulary."""
    return name.endswith(VOCABULARY)


def unwrapped(name: str) -> str:
    """Return a name without parts that wrappers put into it."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _common(names: Sequence[str], whole: bool) -> str | None:
    """Return a known prefix that all names have, but for those of value heads."""
    for prefix in PREFIXES[: -1 if whole else None]:
        bodies = [n for n in names if n.split(".")[0] not in VALUE_HEADS]
        if bodies and all(n.startswith(prefix) for n in bodies):
            return prefix
    return None


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}, …"


def shapes_in(file: Path) -> Shapes:
    """Return name -> shape of the tensors in a safetensors file; reads its header alone.

    Raises ValueError if the file is cut short or no such file.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            about = json.loads(opened.read(length)) if 2 <= length <= size - 8 else None
        about.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in about.values()), default=0)
        found = {name: tuple(entry["shape"]) for name, entry in about.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"{file} is no safetensors file, or cut short; copy it again") from None
    if 8 + length + end > size:
        raise ValueError(
            f"{file} is cut short ({size} of {8 + length + end} bytes): it was half written or "
            "half copied; copy it again, or give an earlier checkpoint"
        )
    return found
