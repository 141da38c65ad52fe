"""Where the weights of a model come from: a folder on this machine, or a repository of the hub."""

import re
from pathlib import Path

from healscope.config import adapters, foreign, json_files

KEPT = (".safetensors", ".json", ".model", ".txt", ".jinja")
"""How the files of a checkpoint end: weights, configs, tokenizers, chat templates."""

NOT_OF_MODELS = ("checkpoint.json", "trainer_state.json", adapters.CONFIG)
"""Files with such endings that do not describe the model."""

_WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
PICKLED = re.compile(r"pytorch_model(_fsdp|-\d+-of-\d+)?\.bin")
_ADAPTER = "adapter_"  # how files of an adapter begin


def is_hub_id(source: str) -> bool:
    """Return whether `source` can only be a hub id: it looks like one, and nothing is there."""
    return bool(_HUB.fullmatch(source)) and not folder(source).exists()


def folder(source: str) -> Path:
    """Return the local folder that `source` names."""
    return Path(source).expanduser()


def hub_id(source: str) -> tuple[str, str | None]:
    """Split `organisation/name@revision` into repository and revision, which may be None."""
    repository, _, revision = source.partition("@")
    return repository, revision or None


def is_adapter(place: Path) -> bool:
    """Return whether a folder holds a PEFT adapter, and no model."""
    return (place / adapters.CONFIG).is_file() and not _of_models(place)


def _of_models(place: Path) -> list[Path]:
    files = sorted(place.glob("*.safetensors"))
    return [p for p in files if not p.name.startswith(_ADAPTER)]


def check(source: str, pickles: bool = False) -> str:
    """Return `source` if it is a hub id or a folder that holds a model or adapter; raises
    ValueError.

    Weights must be safetensors: a pickle can run code when it is read. With `pickles` they may be
    `.bin` files, of which tensors alone are read (`healscope.models.pickled`).
    """
    place = folder(source)
    if is_hub_id(source):
        beside = place.parent
        if beside.is_dir():
            there = ", ".join(sorted(p.name for p in beside.iterdir() if p.is_dir())[:8])
            raise ValueError(f"no folder of this name, but {beside} holds {there or 'no folder'}")
        return source
    if place.is_file():
        raise ValueError(foreign.of_file(place) or f"is a file; give its folder, {place.parent}")
    if not place.is_dir():
        raise ValueError("no such folder, and not a hub id (organisation/name)")
    files = sorted(p.name for p in place.iterdir())
    weights = [p.name for p in _of_models(place)]
    if is_adapter(place):
        adapters.check(place, pickles)
        return source
    if {adapters.CONFIG, adapters.WEIGHTS} <= set(files):
        raise ValueError(
            f"holds a model ({weights[0]}) and an adapter ({adapters.WEIGHTS}), which transformers "
            "would add to another model: move one of them to another folder"
        )
    if not weights and pickles and any(map(PICKLED.fullmatch, files)):
        weights = files
    if not weights and (reason := foreign.of_folder(place)):
        raise ValueError(reason)
    if not weights or "config.json" not in files:
        lacking = "safetensors" if not weights else "config.json"
        raise ValueError(f"holds no {lacking}; save the model there with save_pretrained")
    taken = [place / f for f in files if f.endswith(KEPT) and f not in NOT_OF_MODELS]
    if gone := [file for file in taken if not file.exists()]:
        link = gone[0]
        raise ValueError(
            f"{link.name} is a link to {link.readlink()}, which is not there: fetch that file "
            "again, or copy it here in place of the link"
        )
    json_files.read(place / "config.json")
    if lost := [p.name for p in weight_files(place) if not p.exists()]:
        raise ValueError(f"lacks {lost[0]}, which its index names; copy it there")
    return source


def weight_files(place: Path) -> list[Path]:
    """Return the files that hold the weights of a folder, as transformers chooses them:
    model.safetensors, else those that the index names, else all safetensors but adapters. Of an
    adapter, its own.

    Those of an index may be missing. Raises ValueError where the index cannot be read.
    """
    if is_adapter(place):
        return [p for p in [place / adapters.WEIGHTS] if p.is_file()]
    if (place / _WHOLE).is_file():
        return [place / _WHOLE]
    if not (place / INDEX).is_file():
        return _of_models(place)
    named = json_files.read(place / INDEX).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{place / INDEX} names no weights; copy it there again")
    return sorted({place / name for name in named.values()})


def not_of_the_model(place: Path) -> list[Path]:
    """Return weights in a folder that are not read, and an index that does not belong to those that
    are."""
    read = weight_files(place)
    others = [p for p in sorted(place.glob("*.safetensors")) if p not in read]
    index = place / INDEX
    return [*others, *([index] if index.is_file() and read == [place / _WHOLE] else [])]


def files(source: str, pickles: bool = False) -> list[str]:
    """Return the sorted paths of the files of a folder that a study takes; none for a hub id.

    With `pickles`, also `.bin` files of weights, where it has no others.
    """
    if is_hub_id(source):
        return []
    place = folder(source)
    unread = not_of_the_model(place)
    not_taken = {*NOT_OF_MODELS} - ({adapters.CONFIG} if is_adapter(place) else set())
    found = sorted(p for p in place.iterdir() if p.name.endswith(KEPT) and p not in unread)
    found = [p for p in found if p.name not in not_taken]
    if pickles and not any(p.suffix == ".safetensors" for p in found):
        found += pickled(place)
    return [str(p) for p in found]


def pickled(place: Path) -> list[Path]:
    """Return the `.bin` files of weights in a folder: of a model, or of an adapter."""
    adapter = [place / adapters.PICKLED] if is_adapter(place) else []
    found = adapter or [p for p in sorted(place.glob("*.bin")) if PICKLED.fullmatch(p.name)]
    return [p for p in found if p.is_file()]
