"""Make the config section of a task from its class.

The fields of the class are the keys of the section; their annotations give types, limits and
descriptions. The section checks each key, and `__post_init__` of the class checks them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, ClassVar, Literal, get_type_hints

from pydantic import create_model, model_validator

from healscope.errors import HealscopeError
from healscope.sections import Fraction, Mixture, Section
from healscope.tasks.task import Task

DEFAULT_FAMILY = "generalpoints"
"""Family of a section that names none."""

COMMON = tuple(field.name for field in fields(Task))
"""Options of every task."""


class TaskSection(Section):
    """The section of a task.

    Attributes:
        task_class: the class of the task; its class variables hold for all tasks of the family.
    """

    task_class: ClassVar[type[Task]]

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data):
        return of_value(cls.task_class.completed, data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _can_be_built(self):
        of_value(self.build, "of the config")
        return self

    @property
    def trainable(self) -> bool:
        """Whether the task has reference answers to train on."""
        return self.build("of the config").trainable

    @property
    def problems_of(self) -> tuple[str, ...]:
        """Kinds of problems that a protocol can pose."""
        return self.build("of the config").problems_of

    @property
    def offers(self) -> tuple[str, ...]:
        """What the task has that some recipes need (`problem.OFFERS`)."""
        return self.build("of the config").offers

    @property
    def one_sided(self) -> bool:
        """Whether the task has no OOD problems, as keepers may."""
        return self.build("of the config").one_sided

    def build(self, name: str) -> Task:
        """Build the task of this section. Raises ValueError on options that do not fit together."""
        named = {key: field for field, key in self.task_class.keys.items()}
        options = {named.get(key, key): value for key, value in self if key != "family"}
        tables = {k: options[k].model_dump() for k in ("rewards", "mixture") if k in options}
        return self.task_class(name=name, **options | tables)


@cache  # made when first asked for: pydantic takes its time
def section_of(cls: type[Task]) -> type[TaskSection]:
    """Make the section of a family from its class.

    `rewards` has a key for each of `reward_table`, `mixture` one for each of `rule_kinds`. A common
    option that the class declares as a class variable is fixed, and no key.
    """
    hints = get_type_hints(cls, include_extras=True)
    default = DEFAULT_FAMILY if cls.family == DEFAULT_FAMILY else ...
    keys: dict[str, Any] = {"family": (Literal[cls.family], default)}
    for field in fields(cls):
        if field.name == "rewards":
            about = {"__base__": Section, "__doc__": "Reward of each verdict."}
            paid = {key: (float, reward) for key, reward in cls.reward_table().items()}
            rewards = create_model(f"{cls.__name__}Rewards", **about, **paid)
            keys["rewards"] = (rewards, rewards())
        elif field.name == "mixture":
            about = {"__base__": Mixture, "__doc__": "Shares of the rules in pretraining."}
            shares = {kind: (Fraction, share) for kind, share in cls.rule_kinds.items()}
            mixture = create_model(f"{cls.__name__}Mixture", **about, **shares)
            keys["mixture"] = (mixture, mixture())
        elif field.name != "name":
            required = field.default is MISSING
            key = cls.keys.get(field.name, field.name)
            keys[key] = (hints[field.name], ... if required else field.default)
    section = create_model(cls.__name__, __base__=TaskSection, __doc__=cls.__doc__, **keys)
    section.task_class = cls
    for key in set(COMMON) - {"name", *keys}:
        setattr(section, key, getattr(cls, key))
    return section


def of_value(function: Callable, *arguments: Any) -> Any:
    """Call `function`, and turn its errors into ValueErrors, which pydantic reports with the key.

    The name of the task at the beginning of a message is left out.
    """
    try:
        return function(*arguments)
    except (HealscopeError, ValueError) as error:
        raise ValueError(str(error).removeprefix("task 'of the config': ")) from None
