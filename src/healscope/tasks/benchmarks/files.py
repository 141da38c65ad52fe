"""Hash the local files of lm-evaluation-harness tasks.

The config section holds the hash (`code`), so that results of older files count as out of date, and
a job refuses files that have changed since the plan. Nothing here needs the harness, and nothing is
run: YAML is read as data, Python as bytes.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

import yaml

from healscope.errors import HealscopeError

READERS = ("json", "csv", "text", "parquet", "arrow", "xml")
"""Values of a task's `dataset_path` that read data files, by paths from where Snakemake runs."""


def completed(section: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in `code` of a config section.

    Raises HealscopeError where it names another one, and where there is no harness.
    """
    here = code(section)
    if section.get("code") not in (None, "", here):
        raise HealscopeError(
            "code: the benchmarks are not what they were when the run began, or not what the "
            f"config names (they are {here}, not {section['code']}); start the run again, or "
            "correct code"
        )
    return {**section, "code": here}


def code(section: Mapping[str, Any]) -> str:
    """Return the version of the harness, and a hash of the local files that it reads.

    Of the folder `include` these are: the YAML files of the named tasks, groups and tags, what they
    include, every Python file, and the data files that these tasks name, wherever those lie.
    """
    about = f"lm_eval {version()}"
    if section.get("include") is None:
        return about
    names = [*(section.get("id") or ()), *(section.get("ood") or ())]
    folder = Path(section["include"]).expanduser()
    if not folder.is_dir():
        raise HealscopeError(
            f"include: {section['include']} is no folder, seen from {Path.cwd()}; correct the "
            "path, or give an absolute one"
        )
    digest = hashlib.sha256()
    for name, file in sorted(read_files(folder, names).items()):
        with open(file, "rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return f"{about} sha256:{digest.hexdigest()}"


def version() -> str:
    """Return the version of the harness; raises HealscopeError if it is not installed."""
    if util.find_spec("lm_eval") is None:
        raise HealscopeError(
            "family lm_eval needs lm-evaluation-harness, which is not installed: run `make lm-eval`"
        )
    return metadata.version("lm_eval")


def read_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return path within the folder (else the name) -> file, of all that these tasks read."""
    sections = {file: _section(file) for file in _below(folder, ".yaml")}
    wanted, files = set(names), set(_below(folder, ".py"))
    found: set[Path] = set()
    while more := {f for f, (own, _) in sections.items() if f not in found and _says(own) & wanted}:
        found |= more
        for file in more:
            own, chain = sections[file]
            wanted |= _members(own.get("task"))
            files |= {file, *chain, *_data(own, file)}
    place = folder.resolve()
    return {
        str(f.relative_to(place)) if place in f.parents else f.name: f
        for f in sorted(f.resolve() for f in files)
    }


def _below(folder: Path, suffix: str) -> list[Path]:
    """List the files under a folder that the harness would read."""
    hidden = (".", "__pycache__")
    return [
        file
        for file in folder.rglob(f"*{suffix}")
        if not any(part.startswith(hidden) for part in file.relative_to(folder).parts)
    ]


class _Reader(yaml.SafeLoader):
    """A YAML loader that reads the harness's tag for functions as a name."""


_Reader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _section(file: Path, above: tuple[Path, ...] = ()) -> tuple[dict, list[Path]]:
    """Return the content of a YAML file with all that it includes, and the included files."""
    try:
        own = yaml.load(file.read_bytes(), _Reader)  # noqa: S506 (a SafeLoader)
    except (OSError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise HealscopeError(f"include: {file} cannot be read ({said}); correct it") from None
    if not isinstance(own, dict):
        return {}, []
    named = own.pop("include", [])
    merged: dict[str, Any] = {}
    chain: list[Path] = []
    for name in named if isinstance(named, list) else [named]:
        other = (file.parent / name).resolve()
        if other in above:
            raise HealscopeError(f"include: {file} includes itself, by {name}; correct it")
        section, more = _section(other, (*above, file.resolve()))
        merged |= section
        chain += [other, *more]
    return merged | own, chain


def _says(section: dict) -> set[str]:
    """Return the names that a file defines: its task, its group, its tags."""
    tags = section.get("tag") or []
    names = [
        section.get("task"),
        section.get("group"),
        *([tags] if isinstance(tags, str) else tags),
    ]
    return {name for name in names if isinstance(name, str)}


def _members(tasks: Any) -> set[str]:
    """Return the names of the tasks of a group."""
    if not isinstance(tasks, list):
        return set()
    named = [item.get("task") if isinstance(item, dict) else item for item in tasks]
    return {name for name in named if isinstance(name, str)}.union(
        *(_members(name) for name in named)
    )


def _data(section: dict, file: Path) -> list[Path]:
    """List the local data files of a task; raises HealscopeError if one is missing."""
    reader, options = section.get("dataset_path"), section.get("dataset_kwargs") or {}
    if isinstance(reader, str) and reader not in READERS:
        place = Path(reader).expanduser()  # a data set in a folder, else one of a hub
        return [f for f in place.rglob("*") if f.is_file()] if place.is_dir() else []
    root = Path(options.get("data_dir") or ".").expanduser()
    named = options.get("data_files") or ([str(root / "**")] if "data_dir" in options else [])
    found: list[Path] = []
    for pattern in _strings(named):
        if "://" in pattern:
            continue
        files = glob.glob(str(root / Path(pattern).expanduser()), recursive=True)
        if not files:
            raise HealscopeError(
                f"include: {file} reads {pattern}, which is not there, seen from {Path.cwd()}; "
                "correct the path in it, or give an absolute one"
            )
        found += [Path(f) for f in files if Path(f).is_file()]
    return found


def _strings(value: Any) -> list[str]:
    """List all strings in nested lists and mappings."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [s for item in items for s in _strings(item)] if isinstance(items, Iterable) else []
