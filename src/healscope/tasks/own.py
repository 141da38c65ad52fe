"""Load tasks of users: a Python file, or a class that an installed package has as entry point.

The config section holds a hash of the code (`code`), so that results of older code count as out of
date, and a job refuses code that has changed since the plan.
"""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PydanticUserError, TypeAdapter, ValidationError, model_validator

from healscope.errors import HealscopeError
from healscope.sections import Natural
from healscope.tasks import python_file
from healscope.tasks.problem import Rendering
from healscope.tasks.registry import families
from healscope.tasks.responses import REASONING, Marks
from healscope.tasks.section import COMMON, TaskSection, of_value
from healscope.tasks.task import Task

GROUP = "healscope.tasks"
"""Entry points of packages: name of a family -> `module:Class`."""
ONE_FILE = (
    "a task is one file, so that a change of it is noticed: move what it needs into it, or make a "
    f"package with an entry point of group {GROUP}"
)


class OwnTask(TaskSection):
    """A user's own task (docs/own-task.md); keys that are left out are as in its class."""

    family: str = Field(description="a Python file, or an entry point of group healscope.tasks")
    options: dict[str, Any] = Field({}, description="values for the fields of the task's class")
    rendering: Rendering = "json"
    rewards: dict[str, float] = Field({}, description="outcome -> reward, of the task's outcomes")
    held_out: Annotated[float, Field(gt=0, le=1)] = 0.4
    seed: Natural = 0
    mixture: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="shares of the rules in the pretraining of a model from scratch"
    )
    reasoning: tuple[Marks, ...] = Field(
        REASONING, description="[begin, end] of what a model thinks before it answers"
    )
    code: str = Field("", description="hash of the code; filled in, or given to insist on it")

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data):
        if not isinstance(data, dict) or not isinstance(data.get("family"), str):
            return data
        return of_value(completed, data)

    @property
    def task_class(self) -> type[Task]:
        """The class behind the key `family`."""
        return find(self.family).cls

    def build(self, name: str) -> Task:
        """Build the task; see `build`."""
        return build(name, self.model_dump())


class Own(NamedTuple):
    """A task's class, a hash of its code, and its name in messages (`said`)."""

    cls: type[Task]
    code: str
    said: str


def find(family: str) -> Own:
    """Find the class behind key `family`: in a file (`my_tasks/sorting.py`), or an entry point.

    A relative path starts where Snakemake runs. Raises HealscopeError where there is none, or
    where it is no task.
    """
    return _of_file(family) if family.endswith(".py") else _of_package(family)


def completed(section: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in `code`, and rendering, hold-out and seed of the class, where a section lacks them."""
    own = find(section["family"])
    given = {key: value for key, value in section.items() if value not in (None, "")}
    of_class = {f.name: f.default for f in fields(own.cls)}
    usual = {key: of_class[key] for key in ("rendering", "held_out", "seed")}
    return {**usual, "code": own.code, **given}


def build(name: str, section: Mapping[str, Any]) -> Task:
    """Build the task of one section of the config, given as plain values.

    Raises HealscopeError on options that the class does not take, and on code that is not what the
    section names.
    """
    own = find(section["family"])
    if section.get("code", own.code) != own.code:
        raise HealscopeError(
            f"code: {own.said} is not what it was when the run began, or not what the config "
            f"names (it is {own.code}, not {section['code']}); start the run again, or correct code"
        )
    options = _options(own, section.get("options") or {})
    common = {key: section[key] for key in COMMON if key in section}
    try:
        return own.cls(**{**common, "name": name}, **options)
    except Exception as error:  # whatever the class has to say about its options
        said = str(error) if isinstance(error, ValueError) else python_file.in_words(error)
        raise HealscopeError(
            f"{own.said} refuses its options or another key: "
            f"{said.removeprefix(f'task {name!r}: ')}; correct that"
        ) from None


def _of_file(family: str) -> Own:
    module, code = python_file.load(family, "family", ONE_FILE)
    return Own(_only_task(module, family), code, family)


def _of_package(family: str) -> Own:
    found = list(metadata.entry_points(group=GROUP, name=family))
    if not found:
        installed = sorted({e.name for e in metadata.entry_points(group=GROUP)})
        raise HealscopeError(
            f"family: there is no '{family}'; built in are {', '.join(families())}, installed "
            f"packages offer {', '.join(installed) or 'none'}, and a file of your own ends with "
            ".py"
        )
    places = sorted({f"{e.dist.name} ({e.value})" for e in found})
    if len(places) > 1:
        raise HealscopeError(
            f"family: '{family}' is offered by {' and '.join(places)}; uninstall all but one"
        )
    (entry, *_), said = found, f"'{family}' of package {places[0]}"
    try:
        with python_file.same_path():
            cls = entry.load()
    except (Exception, SystemExit) as error:
        raise HealscopeError(
            f"family: {said} cannot be imported, {python_file.in_words(error)}; correct or "
            "reinstall the package"
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise HealscopeError(
            f"family: {said} is not a subclass of healscope.tasks.task.Task; correct the entry "
            f"point in the package (group {GROUP}, {family} = module:Class)"
        )
    file = Path(inspect.getfile(cls))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    code = f"{entry.dist.name} {entry.dist.version} sha256:{digest}"
    return Own(_whole(cls, said), code, said)


def _only_task(module: ModuleType, said: str) -> type[Task]:
    """Find the one task of a file; of a class and its subclass, the subclass."""
    there = [
        cls
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Task) and cls.__module__ == module.__name__
    ]
    ends = [c for c in there if not any(c is not d and issubclass(d, c) for d in there)]
    if len(set(ends)) != 1:
        names = ", ".join(dict.fromkeys(c.__name__ for c in ends)) or "none"
        raise HealscopeError(
            f"family: {said} must hold one subclass of healscope.tasks.task.Task, but holds "
            f"{names}; "
            + ("keep one, and move the others into files of their own" if ends else "add it")
        )
    return _whole(ends[0], said)


def _whole(cls: type[Task], said: str) -> type[Task]:
    """Return `cls`, or raise HealscopeError if it cannot be instantiated as a task."""
    if lacking := sorted(cls.__abstractmethods__):
        raise HealscopeError(
            f"family: {cls.__name__} in {said} has no {', '.join(lacking)}; a task defines "
            "problems, render and verify: add what is missing"
        )
    if "__dataclass_params__" not in vars(cls) and vars(cls).get("__annotations__"):
        raise HealscopeError(
            f"family: {cls.__name__} in {said} has fields but is not a dataclass; put "
            "@dataclass(frozen=True, kw_only=True) over it"
        )
    if taken := [f.name for f in fields(cls) if f.name not in COMMON and hasattr(Task, f.name)]:
        raise HealscopeError(
            f"family: {cls.__name__} in {said} has a field '{taken[0]}', which every task uses "
            "for something else; give the field another name"
        )
    return cls


def _options(own: Own, given: Mapping[str, Any]) -> dict[str, Any]:
    """Validate options by the types of the class's fields, so that a list becomes a tuple."""
    known = {f.name: f for f in fields(own.cls) if f.init and f.name not in COMMON}
    there = ", ".join(known) or "none"
    for key in given:
        if key in COMMON:
            raise HealscopeError(
                f"options.{key}: this is a key of every task; put it beside options, not in it"
            )
        if key not in known:
            raise HealscopeError(
                f"options.{key}: {own.said} has no such option, it has {there}; correct the name, "
                "or add the field to the class"
            )
    for key, field in known.items():
        if key not in given and field.default is field.default_factory is MISSING:
            raise HealscopeError(
                f"options.{key}: {own.said} needs this option; give it a value, or a "
                "default in the class"
            )
    try:
        hints = typing.get_type_hints(own.cls)
    except Exception as error:  # a name in an annotation that is not there
        raise HealscopeError(
            f"family: the types of the fields in {own.said} cannot be read, "
            f"{python_file.in_words(error)}; correct the file"
        ) from None
    return {key: _typed(own, key, hints[key], value) for key, value in given.items()}


def _typed(own: Own, key: str, hint: Any, value: Any) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise HealscopeError(
            f"options.{key}: {own.said} cannot take {value!r} ({said}); correct the value"
        ) from None
    except PydanticUserError:  # a type of the task's own: it judges the value itself
        return value
