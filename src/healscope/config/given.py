"""Checkpoints that a study takes instead of training them: what follows from them, and what is
wrong with them, before any job."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from healscope import artifacts

RECIPE = "rl"
"""Recipe by which the branches of a study are called that takes RL checkpoints."""

KEPT = (".safetensors", ".json", ".model", ".txt", ".jinja")
"""How the files of a checkpoint end: weights, configs, tokenizers, chat templates."""

LEFT = ("checkpoint.json", "trainer_state.json", "adapter_config.json")
"""Those of them that say nothing about the model."""

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"

_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_ADAPTER = "adapter_"  # how files of an adapter begin
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def is_hub_id(source: str) -> bool:
    """Whether `source` can only be a hub id: it looks like one, and nothing here is called so."""
    return bool(_HUB.fullmatch(source)) and not folder(source).is_dir()


def folder(source: str) -> Path:
    """The local folder that `source` names."""
    return Path(source).expanduser()


def hub_id(source: str) -> tuple[str, str | None]:
    """(repository, revision or None) of `organisation/name@revision`."""
    repository, _, revision = source.partition("@")
    return repository, revision or None


def check(source: str) -> str:
    """`source`, a hub id or a folder that holds a model; raises ValueError.

    Weights must be safetensors: a pickle can run code when it is read.
    """
    place = folder(source)
    if is_hub_id(source):
        beside = place.parent
        if beside.is_dir():
            there = ", ".join(sorted(p.name for p in beside.iterdir() if p.is_dir())[:8])
            raise ValueError(f"no folder of this name, but {beside} holds {there or 'no folder'}")
        return source
    if not place.is_dir():
        raise ValueError("no such folder, and not a hub id (organisation/name)")
    files = sorted(p.name for p in place.iterdir())
    weights = [f for f in files if f.endswith(".safetensors") and not f.startswith(_ADAPTER)]
    if not weights and "adapter_config.json" in files:
        raise ValueError(
            "an adapter, no model: merge it first (PeftModel.from_pretrained(…).merge_and_unload()"
            ", then save_pretrained) and give that folder"
        )
    if not weights and any(f.endswith(_PICKLES) for f in files):
        raise ValueError(
            "its weights are pickles, which can run code; only safetensors are read. Convert them "
            "where you trust them: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained("
            "NEW_FOLDER)"
        )
    if not weights or "config.json" not in files:
        lacking = "safetensors" if not weights else "config.json"
        raise ValueError(f"holds no {lacking}; save the model there with save_pretrained")
    taken = [place / f for f in files if f.endswith(KEPT) and f not in LEFT]
    if gone := [file for file in taken if not file.exists()]:
        link = gone[0]
        raise ValueError(
            f"{link.name} is a link to {link.readlink()}, which is not there: fetch that file "
            "again, or copy it here in place of the link"
        )
    read_json(place / "config.json")
    if lost := [p.name for p in weight_files(place) if not p.exists()]:
        raise ValueError(f"lacks {lost[0]}, which its index names; copy it there")
    return source


def weight_files(place: Path) -> list[Path]:
    """Files of a folder that hold its weights, as transformers chooses them: model.safetensors, or
    those that the index names, or else all safetensors but adapters.

    Those of an index may be missing. Raises ValueError where the index cannot be read.
    """
    if (place / _WHOLE).is_file():
        return [place / _WHOLE]
    if not (place / _INDEX).is_file():
        return [p for p in sorted(place.glob("*.safetensors")) if not p.name.startswith(_ADAPTER)]
    named = read_json(place / _INDEX).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{place / _INDEX} names no weights; copy it there again")
    return sorted({place / name for name in named.values()})


def not_of_the_model(place: Path) -> list[Path]:
    """Weights in a folder that are not read, and an index that speaks of none that are."""
    read = weight_files(place)
    others = [p for p in sorted(place.glob("*.safetensors")) if p not in read]
    index = place / _INDEX
    return [*others, *([index] if index.is_file() and read == [place / _WHOLE] else [])]


def read_json(file: Path) -> dict:
    """Contents of a JSON file of a model; raises ValueError, in words for whom the file belongs to.

    `provenance.read_json` would advise to delete it, as one of a study's own results.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        size = file.stat().st_size if file.is_file() else 0
        reason = f"is cut short or no JSON ({error})" if size else "is empty"
        raise ValueError(
            f"{file} {reason}; copy it there again from where the model came from, or save the "
            "model again"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object; copy it there again")
    return content


def refuse_own_results(name: str, sources: Iterable[str]) -> None:
    """Raises ValueError where a source lies where the model's checkpoints will be linked."""
    own = Path(artifacts.path(artifacts.CHECKPOINTS, track=name, seed=0)).resolve()
    for source in sources:
        if own in folder(source).resolve().parents:
            raise ValueError(
                f"models.{name}: {source} is where checkpoints of model '{name}' will be put; call "
                "the model something else"
            )


def files(source: str) -> list[str]:
    """Paths of the files of a folder that a study takes, sorted; none of a hub id."""
    if is_hub_id(source):
        return []
    place = folder(source)
    unread = not_of_the_model(place)
    found = sorted(p for p in place.iterdir() if p.name.endswith(KEPT) and p not in unread)
    return [str(p) for p in found if p.name not in LEFT]


def completed(data: Any) -> Any:
    """A config as given, with what follows from checkpoints that its models take.

    The SFT grid is the steps of the models, from 0, the base; edits and landmarks of RL are there
    where RL starts at End. Raises ValueError where models do not agree, or what would train stands
    beside them. What is of no use to a study of this kind, or of a wrong type, stays as it is.
    """
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, dict):
        return data
    given = {
        n: m["sft"] for n, m in models.items() if isinstance(m, dict) and m.get("sft") is not None
    }
    if not given:
        return data
    if others := [name for name in models if name not in given]:
        raise ValueError(
            f"models: '{others[0]}' gives no checkpoints and '{next(iter(given))}' does; a study "
            "either trains or takes them"
        )
    for name in ("sft", "rl"):
        if data.get(name):
            raise ValueError(
                f"section '{name}': models.*.sft gives checkpoints, so nothing is trained; leave "
                "the section out (with --configfile alone, config/config.yaml is not read)"
            )
    if data.get("seeds", [0]) != [0]:
        raise ValueError("seeds: given checkpoints are one run, seed 0; leave seeds out")
    steps = {name: _steps(f"models.{name}.sft", sft) for name, sft in given.items()}
    starts = {name: _steps(f"models.{name}.rl", models[name].get("rl") or {}) for name in given}
    grid, branches = (_agreed(what, of) for what, of in (("sft", steps), ("rl", starts)))
    found = {**data, "seeds": [0], "sft": {"steps": grid[-1], "checkpoints": [0, *grid]}}
    edits, landmarks = data.get("edits") or {}, data.get("landmarks") or {}
    if isinstance(edits, dict) and isinstance(landmarks, dict) and not edits.get("stages"):
        end = landmarks.get("end", "last")
        stages = {"sft": {"target": "end", "parent": "maxood"}}
        if (grid[-1] if end == "last" else end) in branches or landmarks.get(
            "rl", "auto"
        ) != "auto":
            stages["rl"] = {"target": "rl", "parent": "end"}
        found["edits"] = {**edits, "stages": stages}
    return found


def _steps(key: str, given: Any) -> list[int]:
    """The steps of checkpoints, sorted; raises ValueError where one is no whole number."""
    if not isinstance(given, dict):
        raise ValueError(f"{key}: give each checkpoint with its step, as {{140: folder/of/it}}")
    if not given and key.endswith(".sft"):
        raise ValueError(f"{key}: give at least one checkpoint, as {{140: folder/of/it}}")
    for step in given:
        if str(step) == "0":
            raise ValueError(f"{key}: step 0 is the base, which `source` names; leave it out")
        if isinstance(step, bool) or not str(step).isdecimal():
            raise ValueError(
                f"{key}: '{step}' is no step; write the whole number alone, as 140: folder/of/it"
            )
    return sorted(int(step) for step in given)


def _agreed(what: str, steps: dict[str, list[int]]) -> list[int]:
    """The steps that all models have."""
    (first, own), *others = steps.items()
    for name, more in others:
        if more != own:
            raise ValueError(
                f"models: '{first}' gives {what} steps {own} and '{name}' {more}; models of one "
                "study have the same steps: leave some out, or make a study of each"
            )
    return own


def distinct_sources(sft: Mapping[int, str], rl: Mapping[int, str]) -> None:
    """Raises ValueError where two checkpoints come from one place."""
    places: dict[str, str] = {}
    for kind, sources in (("sft", sft), ("rl", rl)):
        for step, source in sources.items():
            name = f"{kind}.{step}"
            other = places.setdefault(source, name)
            if other != name:
                raise ValueError(f"{other} and {name} are the same place, {source}")


def checkpoints(model) -> dict[str, str]:
    """Name of every checkpoint -> source, of a `config.Model` that takes them; sft-0 is the base.

    A hub id of the base carries the model's revision.
    """
    base = f"{model.source}@{model.revision}" if model.revision else model.source
    return {
        "base": base,
        artifacts.sft(0): base,
        **{artifacts.sft(step): source for step, source in sorted(model.sft.items())},
        **{artifacts.branch(RECIPE, start): source for start, source in sorted(model.rl.items())},
    }
