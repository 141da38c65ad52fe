"""The user's checkpoints (`models.*.sft` and `models.*.rl`), which a study takes as they are."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from healscope import artifacts
from healscope.config import adapters, foreign, json_files, sources, tensors

RECIPE = "rl"
"""Name of the recipe of RL checkpoints, as in `rl-from-140`."""


def refuse_own_results(name: str, places: Iterable[str]) -> None:
    """Raise ValueError if a source is in the folder where the model's checkpoints will be
    linked."""
    own = Path(artifacts.path(artifacts.CHECKPOINTS, track=name, seed=0)).resolve()
    for source in places:
        if own in sources.folder(source).resolve().parents:
            raise ValueError(
                f"models.{name}: {source} is where checkpoints of model '{name}' will be put; call "
                "the model something else"
            )


def completed(data: Any) -> Any:
    """Return a config with what follows from the checkpoints that its models take.

    The SFT grid is the steps of the models, from 0, the base; edits and landmarks of RL are there
    where RL starts at End. Raises ValueError where models do not agree, or what would train stands
    beside them. What is of no use to a study of this kind, or of a wrong type, stays as it is.
    """
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, dict):
        return data
    models = {
        name: {**model, "sft": discovered(f"models.{name}.sft", model["sft"])}
        if isinstance(model, dict) and "sft" in model
        else model
        for name, model in models.items()
    }
    data = {**data, "models": models}
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


def discovered(key: str, run: Any) -> Any:
    """Return step -> folder of the checkpoints in the folder of a training run; what is not the
    name of a folder stays as it is. Raises ValueError if there are none."""
    if not isinstance(run, str):
        return run
    place = sources.folder(run)
    found = foreign.steps(place)
    if not found:
        raise ValueError(
            f"{key}: {run} "
            + (
                "holds no folders called checkpoint-N"
                if place.is_dir()
                else "is no folder of this machine"
            )
            + "; give each checkpoint with its step, as {140: folder/of/it}"
        )
    return {step: str(folder) for step, folder in found.items()}


def _steps(key: str, given: Any) -> list[int]:
    """Return the sorted steps of checkpoints; raises ValueError if one is not a whole number."""
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
    """Return the steps of all models; raises ValueError if they differ."""
    (first, own), *others = steps.items()
    for name, more in others:
        if more != own:
            raise ValueError(
                f"models: '{first}' gives {what} steps {own} and '{name}' {more}; models of one "
                "study have the same steps: leave some out, or make a study of each"
            )
    return own


def distinct_sources(sft: Mapping[int, str], rl: Mapping[int, str]) -> None:
    """Raise ValueError if two checkpoints have the same source."""
    places: dict[str, str] = {}
    for kind, taken in (("sft", sft), ("rl", rl)):
        for step, source in taken.items():
            name = f"{kind}.{step}"
            other = places.setdefault(source, name)
            if other != name:
                raise ValueError(f"{other} and {name} are the same place, {source}")


def checkpoints(model) -> dict[str, str]:
    """Return name -> source of every checkpoint of a `config.Model`; sft-0 is the base.

    A hub id of the base carries the model's revision.
    """
    base = f"{model.source}@{model.revision}" if model.revision else model.source
    return {
        "base": base,
        artifacts.sft(0): base,
        **{artifacts.sft(step): source for step, source in sorted(model.sft.items())},
        **{artifacts.branch(RECIPE, start): source for start, source in sorted(model.rl.items())},
    }


def bases(model) -> dict[str, str]:
    """Return checkpoint -> checkpoint that it is an adapter on, of a `config.Model`'s adapters.

    Adapters of the hub are not known before they are fetched: they are on the base. Raises
    ValueError if an adapter names another base than the model has, or does not fit it.
    """
    named = checkpoints(model)
    found = {}
    for name, source in named.items():
        place = sources.folder(source)
        if name in ("base", artifacts.sft(0)):
            if sources.is_adapter(place):
                raise ValueError(
                    f"source ({source}): an adapter; name the model that it was trained on as "
                    "source, and the adapter as a checkpoint"
                )
            continue
        if sources.is_hub_id(source) or not sources.is_adapter(place):
            continue
        on = _named_base(model, named, name, place)
        found[name] = on
        _refuse_another_base(name, place, named[on])
    return found


def _named_base(model, named: Mapping[str, str], name: str, place: Path) -> str:
    """Return the checkpoint that an adapter names as its base."""
    called = adapters.base_of(place)
    if called is None or called in (model.source, *model.adapters_of):
        return "base"
    there = sources.folder(called)
    for other, source in named.items():
        same = there.is_dir() and sources.folder(source).resolve() == there.resolve()
        if (same or source == called) and other != name:
            return "base" if other == artifacts.sft(0) else other
    remedy = (
        f"give that as models.*.source, or, if both are one model, add adapters_of: [{called}] to "
        "the model"
    )
    if there.is_dir() and sources.folder(model.source).is_dir():
        if not _same_weights(there, sources.folder(model.source)):
            raise ValueError(
                f"{_key(name)} ({place}): the adapter was trained on {called}, whose weights are "
                f"not those of {model.source}: {remedy}"
            )
    elif _hub_name(called) != _hub_name(model.source) and sources.is_hub_id(model.source):
        raise ValueError(
            f"{_key(name)} ({place}): the adapter was trained on {called}, which is not "
            f"{model.source}: {remedy}"
        )
    return "base"


def _hub_name(source: str) -> str:
    """Last part of a hub id or path, without revision."""
    return source.partition("@")[0].rstrip("/").rpartition("/")[2].lower()


def _key(checkpoint: str) -> str:
    stage, step = artifacts.stage_and_step(checkpoint)
    return f"{'sft' if stage == 'sft' else 'rl'}.{step}"


def _shapes(place: Path) -> tensors.Shapes:
    """Return the shapes of a folder's tensors, from the headers of its files."""
    found: tensors.Shapes = {}
    for file in sources.weight_files(place):
        found |= tensors.shapes_in(file)
    whole = "text_config" in json_files.read(place / "config.json")
    return {name: found[old] for name, old in tensors.of_model(found, whole).stored.items()}


def _refuse_another_base(name: str, place: Path, base: str) -> None:
    """Raise ValueError if an adapter does not fit a base that is on this machine and a model."""
    under = sources.folder(base)
    if not under.is_dir() or sources.is_adapter(under) or not sources.weight_files(under):
        return
    if not (place / adapters.WEIGHTS).is_file():
        return  # a pickle, which is read when it is taken
    try:
        adapters.refuse_another_base(adapters.shapes(place), _shapes(under))
    except ValueError as error:
        raise ValueError(f"{_key(name)} ({place}): {error}") from None


def _same_weights(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same weights, by the sizes of their tensors and by
    samples of their bytes."""
    if not sources.weight_files(one) or _shapes(one) != _shapes(other):
        return False
    files = [sources.weight_files(place) for place in (one, other)]
    if [f.stat().st_size for f in files[0]] != [f.stat().st_size for f in files[1]]:
        return False
    return all(_samples(a) == _samples(b) for a, b in zip(*files, strict=True))


def _samples(file: Path) -> list[bytes]:
    size, parts = file.stat().st_size, 16
    with file.open("rb") as opened:
        found = []
        for i in range(parts):
            opened.seek(max(0, (i + 1) * size // parts - 4096))
            found.append(opened.read(4096))
    return found
