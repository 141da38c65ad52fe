"""Find the built-in families of tasks: the classes with a `family` in modules of this package.

So a family is added by adding its file.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from healscope.tasks.task import Task

_NONE = ("contract", "schemas")  # these build on families, and need pandas


@cache
def families() -> dict[str, type[Task]]:
    """Return name -> class of every built-in family."""
    found = {}
    for name in _modules(Path(__file__).parent, __package__):
        for cls in vars(import_module(name)).values():
            own = isinstance(cls, type) and issubclass(cls, Task) and cls.__module__ == name
            if own and "family" in vars(cls):
                found[cls.family] = cls
    return dict(sorted(found.items()))


def published(family: str) -> tuple[str, ...]:
    """Return the figures of the paper that show a family; none for a user's own task."""
    return families()[family].published if family in families() else ()


def _modules(folder: Path, package: str) -> list[str]:
    """List the modules of a package, and of folders in it, that can hold a family."""
    names = []
    for module in pkgutil.iter_modules([str(folder)], f"{package}."):
        own = module.name.rpartition(".")[2]
        if own in _NONE:
            continue
        names += _modules(folder / own, module.name) if module.ispkg else [module.name]
    return names
