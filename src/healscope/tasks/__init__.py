"""Tasks with an ID and an OOD rule, and their exact verifiers. Nothing here needs torch."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import TypeAdapter, ValidationError
from pydantic_core import core_schema

from healscope.errors import HealscopeError
from healscope.sections import in_words
from healscope.tasks.own import OwnTask
from healscope.tasks.registry import families
from healscope.tasks.section import DEFAULT_FAMILY, TaskSection, section_of
from healscope.tasks.task import Task

__all__ = ["AnyTask", "Task", "TaskSection", "build", "families", "task_settings"]


def _validated(value: Any) -> TaskSection:
    """Validate a value by the section of its family; other sections are not made."""
    family = value.get("family", DEFAULT_FAMILY) if isinstance(value, dict) else None
    if isinstance(family, str) and family in families():
        return section_of(families()[family]).model_validate(value)
    return value if isinstance(value, TaskSection) else OwnTask.model_validate(value)


class _OfItsFamily:
    """Annotation for pydantic: the section is chosen by the key `family`."""

    def __get_pydantic_core_schema__(self, _source, _handler):
        return core_schema.no_info_plain_validator_function(_validated)

    def __get_pydantic_json_schema__(self, _schema, handler):
        sections = [*map(section_of, families().values()), OwnTask]
        return handler(TypeAdapter(Union[(*sections,)]).core_schema)  # noqa: UP007


AnyTask = Annotated[TaskSection, _OfItsFamily()]
"""The section of any task."""


def task_settings(section: dict) -> TaskSection:
    """Validate the plain values of a task section; raises HealscopeError."""
    try:
        return _validated(section)
    except ValidationError as error:
        said = []
        for wrong in error.errors():
            key = ".".join(map(str, wrong["loc"]))
            said.append(f"{key}: " * bool(key) + in_words(wrong))
        raise HealscopeError("; ".join(said)) from None


def build(name: str, settings: TaskSection | dict) -> Task:
    """Build the task of one config section, or of its plain values.

    Raises HealscopeError on values that no section has, and ValueError on options that cannot be.
    """
    return (task_settings(settings) if isinstance(settings, dict) else settings).build(name)
