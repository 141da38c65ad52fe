"""Imports between modules: no circle and no arrow upwards, wherever an import is written."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

FLOORS = (  # bottom up; a module may import modules of its own floor and of lower ones
    "errors location machine artifacts provenance draws schema sections markdown",
    "progress job gpus locks slurm",
    "tasks",
    "comparison_controls edit_kinds edit_names config files values stats verdicts",
    "models engines spectra",
    "evaluation training measuring planning",
    "published findings outcomes schemas",
    "figures evidence report diagnose repair cli __main__",
)
FORBIDDEN = (  # of rooms that may lie on one floor, or in which a library may not be used
    ("tasks", "torch"),
    ("spectra", "healscope.tasks"),
    ("spectra", "healscope.evaluation"),
    ("evaluation", "healscope.spectra"),
    ("", "workflow"),
)
KNOWN = {  # (module or room, what it should not import) -> why it still does
    ("tasks", "tasks.task"): "functions over any task are annotated with the class that calls them",
}
LEVELS = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}


def modules() -> dict[str, Path]:
    """name -> file of every module, and of every package."""
    files = SOURCE.joinpath("healscope").rglob("*.py")
    named = {".".join(f.relative_to(SOURCE).with_suffix("").parts): f for f in files}
    return {name.removesuffix(".__init__"): file for name, file in named.items()}


def imported(file: Path) -> Iterator[str]:
    """Every name that a file imports, with the module that it comes from."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def arrows() -> dict[str, set[str]]:
    """module -> all that it imports: modules of healscope, and names of other packages."""
    known = modules()

    def module(name: str) -> str:
        while name.startswith("healscope.") and name not in known:
            name = name.rpartition(".")[0]
        return name

    found = {name: {module(n) for n in imported(file)} for name, file in known.items()}
    return {name: names - {name, "healscope"} for name, names in found.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def known(name: str, other: str) -> bool:
    """Whether an import is one of KNOWN."""
    return any(within(name, f"healscope.{a}") and within(other, f"healscope.{b}") for a, b in KNOWN)


def upward() -> set[tuple[str, str]]:
    return {
        (name, other)
        for name, names in arrows().items()
        for other in names
        if within(other, "healscope") and room(name)
        if LEVELS[room(name)] < LEVELS[room(other)]
    }


def forbidden() -> set[tuple[str, str]]:
    return {
        (name, other)
        for place, package in FORBIDDEN
        for name, names in arrows().items()
        for other in names
        if place in ("", room(name)) and within(other, package)
    }


def test_every_module_has_a_floor():
    assert {room(name) for name in arrows()} - {"", *LEVELS} == set()


def test_nothing_imports_what_lies_above_it_or_what_it_must_not_know():
    assert {pair for pair in upward() | forbidden() if not known(*pair)} == set()


def test_no_circles():
    graph = {
        name: {n for n in names if within(n, "healscope") and not known(name, n)}
        for name, names in arrows().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
