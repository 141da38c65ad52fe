"""Tracks: which models are trained on which tasks, and what else each is evaluated on.

A study trains every model on every task of `train_on`. A track has the name of its model if its
task is the first of `train_on`, else MODEL.TASK.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from healscope import artifacts
from healscope.config.models import Model
from healscope.tasks import TaskSection
from healscope.tasks.task import Task


@dataclass(frozen=True)
class Track:
    """A model trained on a task; `model` and `task` are their names in the config."""

    name: str
    model: str
    task: str


def tracks(
    models: Collection[str],
    tasks: Mapping[str, TaskSection],
    trained_on: list[str],
    own_checkpoints: bool,
    keepers: Collection[str] = (),
) -> dict[str, Track]:
    """Return name -> track of all that can be asked for, model by model, tasks of `train_on` first.

    Beside the tasks of `train_on` these are all others that can be trained on, but for keepers.
    Checkpoints that are given were trained on one task. Raises ValueError where two would have one
    name.
    """
    for key, names in (("models", models), ("tasks", tasks)):
        _refuse_names(key, names)
    first, *more = trained_on
    if not own_checkpoints:
        apart = {*trained_on, *keepers}
        more += [t for t in tasks if t not in apart and tasks[t].trainable]
    found: dict[str, Track] = {}
    for model in models:
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
    """Raise ValueError if two models or tasks would share a folder, or take one that is in use."""
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


def evaluated(
    track: Track,
    tasks: Mapping[str, TaskSection],
    trained_on: list[str],
    scratch: bool,
    keepers: Collection[str] = (),
) -> list[str]:
    """Return the tasks that a track is evaluated on: its own, and those that no track of the study
    is trained on. Keepers have evaluations of their own.

    A model that is trained from scratch knows no words but those of its own task.
    """
    own = tasks[track.task]
    return [
        name
        for name, task in tasks.items()
        if name == track.task
        or (name not in (*trained_on, *keepers) and (not scratch or reads(own, task)))
    ]


def reads(own: TaskSection, other: TaskSection) -> bool:
    """Return whether a model trained from scratch on one task surely has the words of another."""
    known = own.rendering == "json" or own.task_class.fixed_words
    return own.family == other.family and known and not _lack(own, other)


def _lack(own: TaskSection, other: TaskSection) -> str:
    """Return why a model trained from scratch on one task cannot read another of its family.

    Empty where nothing is known against it.
    """
    if other.rendering != own.rendering:
        return f"reads only rendering '{own.rendering}'"
    if own.rendering == "json" or not own.task_class.fixed_words:
        return ""  # letters spell any word
    known = set(own.build("own").words())
    unknown = [word for word in other.build("other").words() if word not in known]
    return f"has no word for {', '.join(unknown)}" if unknown else ""


def check(tasks: Mapping[str, TaskSection], trained_on: list[str], own_checkpoints: bool) -> None:
    """Raise ValueError if models cannot be trained on the tasks of `train_on`."""
    for name in trained_on:
        if name not in tasks:
            raise ValueError(f"train_on: '{name}' is not in tasks: {', '.join(tasks)}")
        if not own_checkpoints and not tasks[name].trainable:
            raise ValueError(
                f"train_on: '{name}' has no reference answers to train on; it can only be "
                "evaluated: name another task, or give checkpoints (models.*.sft)"
            )
    if own_checkpoints and len(trained_on) > 1:
        raise ValueError(
            "train_on: given checkpoints were trained on one task: name that one; all of tasks are "
            "evaluated"
        )


def check_scratch(
    name: str,
    model: Model,
    tasks: Mapping[str, TaskSection],
    trained_on: list[str],
    keepers: Collection[str] = (),
) -> None:
    """Raise ValueError if a model that is trained from scratch could not read a task.

    A task of another family is not asked of it; one of the same family, that no track of it can
    read, is a mistake.
    """
    compact = all(tasks[task].rendering == "compact" for task in trained_on)
    if model.scratch.pretraining.conversations and not compact:
        raise ValueError(
            f"models.{name}.scratch.pretraining.conversations: these are of rendering 'compact' "
            "alone; set 0"
        )
    for beside, other in tasks.items():
        alike = [task for task in trained_on if tasks[task].family == other.family]
        lacks = [_lack(tasks[task], other) for task in alike]
        if beside not in (*trained_on, *keepers) and lacks and all(lacks):
            raise ValueError(
                f"tasks.{beside}: model '{name}' {lacks[0]}, as it is trained from scratch on "
                f"'{alike[0]}'; add '{beside}' to train_on for a model of its own"
            )


def check_pictures(
    models: Mapping[str, Model], tasks: Mapping[str, TaskSection], engines: Collection[str]
) -> None:
    """Raise ValueError if a task shows pictures to what cannot see them."""
    shown = [
        name
        for name, task in tasks.items()
        if task.task_class.pictures is not Task.pictures and task.build(name).pictures()
    ]
    if not shown:
        return
    if blind := [name for name, model in models.items() if not model.scratch]:
        raise ValueError(
            f"tasks.{shown[0]}: model '{blind[0]}' would not see its pictures, which only a model "
            "of source 'scratch' does (docs/vision.md); take a task that shows words"
        )
    if "vllm" in engines:
        raise ValueError(f"tasks.{shown[0]}: engine vllm shows a model no pictures; set engine: hf")


def track_facts(study, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return track -> plain values for tables and figures: model, task and family of the task.

    `study` is a `config.Study`.
    """
    found = {}
    for name in names:
        track = study.tracks[name]
        family = study.tasks[track.task].family
        found[name] = {"model": track.model, "task": track.task, "family": family}
    return found
