"""Tasks with an ID and an OOD rule, and their exact verifiers. Nothing here needs torch."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from healscope.errors import HealscopeError
from healscope.sections import in_words
from healscope.tasks.own import OwnTask
from healscope.tasks.registry import families
from healscope.tasks.section import DEFAULT_FAMILY, TaskSection
from healscope.tasks.task import Task

__all__ = ["AnyTask", "Task", "TaskSection", "build", "families", "task_settings"]


def _family(value: Any) -> str:
    """Choose the section of `AnyTask` that validates a value."""
    family = value.get("family", DEFAULT_FAMILY) if isinstance(value, dict) else value.family
    return family if family in families() else "own"


_TAGGED = [Annotated[section, Tag(name)] for name, section in families().items()]
AnyTask = Annotated[
    Union[(*_TAGGED, Annotated[OwnTask, Tag("own")])],  # noqa: UP007 (as many as there are)
    Discriminator(_family),
]
"""The section of any task, chosen by its key `family`."""

_ANY_TASK = TypeAdapter(AnyTask)


def task_settings(section: dict) -> TaskSection:
    """Validate the plain values of a task section; raises HealscopeError."""
    try:
        return _ANY_TASK.validate_python(section)
    except ValidationError as error:
        said = []
        for wrong in error.errors():
            key = ".".join(map(str, wrong["loc"][1:]))
            said.append(f"{key}: " * bool(key) + in_words(wrong))
        raise HealscopeError("; ".join(said)) from None


def build(name: str, settings: TaskSection | dict) -> Task:
    """Build the task of one config section, or of its plain values.

    Raises HealscopeError on values that no section has, and ValueError on options that cannot be.
    """
    return (task_settings(settings) if isinstance(settings, dict) else settings).build(name)
