"""The user's checkpoints (`models.*.sft` and `models.*.rl`), which a study takes as they are."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from healscope import artifacts
from healscope.config import sources

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
