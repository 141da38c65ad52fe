"""Keepers (`evaluation.keepers`): sets of problems that are evaluated and never trained on.

Each is a task of the study with one side, the ID problems, which every checkpoint along SFT, every
branch and every edit answers (docs/keepers.md).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healscope.config import tracks
from healscope.errors import HealscopeError
from healscope.tasks import TaskSection, task_settings
from healscope.tasks.data import files
from healscope.tasks.problem import SIDES

SHIPPED: dict[str, dict[str, Any]] = {
    "facts": {"verdict": "contains", "group": "group"},
    "ifeval_like": {"verdict": "follows", "group": "group"},
}
"""Name of a set that comes with healscope -> how its answers are judged."""

BENCHMARK = "lm_eval:"
TEXT = "text:"


def completed(data: Any) -> Any:
    """Return a config whose keepers are names of tasks, and whose tasks have them.

    Raises ValueError where an entry names nothing. What is of a wrong type stays as it is.
    """
    evaluation, tasks = (data.get(k) for k in ("evaluation", "tasks")) if _is(data) else (0, 0)
    listed = evaluation.get("keepers") if _is(evaluation) else None
    if not listed or not _is(tasks) or not isinstance(listed, list):
        return data
    if not all(isinstance(given, str) for given in listed) or len({*listed}) < len(listed):
        return data
    found, names = dict(tasks), []
    for given in listed:
        if given in tasks:
            names.append(given)
            continue
        name, section = _made(given)
        if name in found:
            raise ValueError(
                f"evaluation.keepers: '{given}' would be task '{name}', which there is already; "
                f"rename the file or the task, or name task '{name}' itself"
            )
        try:
            found[name] = task_settings(section)
        except HealscopeError as error:
            raise ValueError(f"evaluation.keepers: {given}: {error}") from None
        names.append(name)
    return {**data, "tasks": found, "evaluation": {**evaluation, "keepers": names}}


def _is(value: Any) -> bool:
    return isinstance(value, dict)


def _made(given: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the section of the task that an entry of the list stands for."""
    if given in SHIPPED:
        return given, {"family": "data", "id": f"{files.SHIPPED}{given}", **SHIPPED[given]}
    if given.startswith(BENCHMARK):
        name = given.removeprefix(BENCHMARK)
        return _folder(name), {"family": "lm_eval", "id": [name]}
    if given.startswith(TEXT):
        file = given.removeprefix(TEXT)
        return name_of(file), {"family": "text", "file": file}
    if not files.is_file(given):
        raise ValueError(
            f"evaluation.keepers: '{given}' is no task of `tasks`, none of {', '.join(SHIPPED)}, "
            f"and no file, seen from {Path.cwd()}; correct it, or name a benchmark as "
            f"{BENCHMARK}NAME, a text as {TEXT}FILE"
        )
    return name_of(given), {"family": "data", "id": given}


def name_of(file: str) -> str:
    """Return the name of a set of problems that is given as a file, or FILE#SPLIT."""
    return _folder(Path(file.partition("#")[0]).stem)


def _folder(name: str) -> str:
    """Return a name as a folder can have it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") or "keeper"


def check(
    names: list[str],
    tasks: Mapping[str, TaskSection],
    trained_on: list[str],
    models: Mapping[str, Any],
    grid: list[int],
) -> None:
    """Raise ValueError if a task cannot be what it is listed as, a keeper or none.

    `models`: name -> `config.Model`. `grid`: SFT steps with a checkpoint.
    """
    for name, task in tasks.items():
        if name not in names and task.one_sided:
            raise ValueError(
                f"tasks.{name}: ood: Field required; only a keeper (evaluation.keepers) has no OOD "
                "problems"
            )
    for name in names:
        if name not in tasks:
            raise ValueError(f"evaluation.keepers: there is no task '{name}'")
        if name in SIDES:
            raise ValueError(
                f"evaluation.keepers: '{name}' is the name of a rule; call the keeper something "
                "else"
            )
        if name in trained_on:
            raise ValueError(
                f"evaluation.keepers: '{name}' is in train_on, and a keeper is never trained on; "
                "take it out of one of the two"
            )
        for model, about in models.items():
            own = [tasks[task] for task in trained_on]
            if about.scratch and not all(tracks.reads(task, tasks[name]) for task in own):
                raise ValueError(
                    f"evaluation.keepers: model '{model}' is trained from scratch and knows no "
                    f"words but those of its task, so it cannot read '{name}'; leave it out, or "
                    "take a pretrained model (models.*.source)"
                )
    if names and grid[0] != 0:
        raise ValueError(
            "evaluation.keepers: what is lost is counted from the base; put step 0 into "
            "sft.checkpoints"
        )
