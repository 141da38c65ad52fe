"""Tracks: which models are trained on which tasks, and what each is evaluated on besides.

A study trains every model on every task of `train_on`. Files, the wildcard {model} and the column
`model` call a track as its model is called, if its task is the first of `train_on`, else
MODEL.TASK.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from healscope import artifacts
from healscope.tasks import TaskSection
from healscope.tasks.cards.card_game import CardGame

if TYPE_CHECKING:
    from healscope.config import Study


@dataclass(frozen=True)
class Track:
    """A model on a training task: `model` and `task` are the config's names of the two."""

    name: str
    model: str
    task: str


def tracks(study: Study) -> dict[str, Track]:
    """name -> track, of all that can be asked for, model by model, those of `train_on` first.

    Beside the tasks of `train_on` these are all others that can be trained on. Checkpoints that are
    given were trained on one task. Raises ValueError where two would have one name.
    """
    for key, names in (("models", study.models), ("tasks", study.tasks)):
        _refuse_names(key, names)
    first, *more = study.trained_on
    if not study.taken:
        more += [
            t
            for t in study.tasks
            if t not in study.trained_on and study.tasks[t].task_class.trainable
        ]
    found: dict[str, Track] = {}
    for model in study.models:
        for task in (first, *more):
            track = Track(model if task == first else f"{model}.{task}", model, task)
            if other := found.get(track.name):
                raise ValueError(
                    f"models: '{track.name}' would be model '{other.model}' trained on "
                    f"'{other.task}' and model '{track.model}' trained on '{track.task}'; call "
                    "one of the models something else"
                )
            found[track.name] = track
    return found


def _refuse_names(key: str, names: Iterable[str]) -> None:
    """Raises ValueError where a folder of a model or task would be another one too."""
    known: dict[str, str] = {}
    for name in names:
        if key == "models" and name in artifacts.TAKEN_NAMES:
            raise ValueError(
                f"models: '{name}' is the name of a folder beside those of models in results; call "
                "the model something else"
            )
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(
                f"{key}: '{name}' and '{other}' are one folder on some file systems; call one of "
                "them something else"
            )


def evaluated(study: Study, track: Track) -> list[str]:
    """Names of the tasks that a track is evaluated on: its own, and those that none is followed on.

    A model that is trained from scratch knows no words but those of its own task.
    """
    own, scratch = study.tasks[track.task], study.models[track.model].scratch
    return [
        name
        for name, task in study.tasks.items()
        if name == track.task
        or (name not in study.trained_on and (not scratch or _reads(own, task)))
    ]


def _reads(own: TaskSection, other: TaskSection) -> bool:
    """Whether the vocabulary of one task is known to hold that of another."""
    known = own.rendering == "json" or issubclass(own.task_class, CardGame)
    return own.family == other.family and known and not _lack(own, other)


def _lack(own: TaskSection, other: TaskSection) -> str:
    """Why what reads one task cannot read another one of its family; empty where nothing is known
    against it."""
    if other.rendering != own.rendering:
        return f"reads only rendering '{own.rendering}'"
    if own.rendering == "json" or not issubclass(own.task_class, CardGame):
        return ""  # letters spell any number
    unknown = sorted(_numbers(other) - _numbers(own))
    return f"has no word for {unknown}" if unknown else ""


def _numbers(task: TaskSection) -> set[int]:
    """Numbers that a compact task writes."""
    faces = {*task.id_rule.model_dump().values(), *task.ood_rule.model_dump().values()}
    return {*range(1, 14), *faces, *task.targets}


def check(study: Study) -> None:
    """Raises ValueError where `train_on` cannot be."""
    for name in study.trained_on:
        if name not in study.tasks:
            raise ValueError(f"train_on: '{name}' is not in tasks: {', '.join(study.tasks)}")
        if not study.taken and not study.tasks[name].task_class.trainable:
            raise ValueError(
                f"train_on: '{name}' has no reference answers to train on; it can only be "
                "evaluated: name another task, or give checkpoints (models.*.sft)"
            )
    if study.taken and len(study.trained_on) > 1:
        raise ValueError(
            "train_on: given checkpoints were trained on one task: name that one; all of tasks are "
            "evaluated"
        )
    tracks(study)


def check_scratch(study: Study, name: str) -> None:
    """Raises ValueError where a model that is trained from scratch could not read a task.

    A task of another family is not asked of it; one of the same family, that no track of it can
    read, is taken for a mistake.
    """
    pretraining = study.models[name].scratch.pretraining
    trained = [study.tasks[task] for task in study.trained_on]
    if pretraining.conversations and any(task.rendering == "json" for task in trained):
        raise ValueError(
            f"models.{name}.scratch.pretraining.conversations: these are of rendering 'compact' "
            "alone; set 0"
        )
    for beside, other in study.tasks.items():
        alike = [t for t in study.trained_on if study.tasks[t].family == other.family]
        lacks = [_lack(study.tasks[task], other) for task in alike]
        if beside not in study.trained_on and lacks and all(lacks):
            raise ValueError(
                f"tasks.{beside}: model '{name}' {lacks[0]}, as it is trained from scratch on "
                f"'{alike[0]}'; add '{beside}' to train_on for a model of its own"
            )


def track_facts(study: Study, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns track -> plain values for tables and figures: model, task and family of the task."""
    found = {}
    for name in names:
        track = study.tracks[name]
        family = study.tasks[track.task].family
        found[name] = {"model": track.model, "task": track.task, "family": family}
    return found
