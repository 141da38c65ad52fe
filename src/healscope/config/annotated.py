"""Completes the annotated default config, config/config.yaml, from the models (`make schema`).

Values are written by hand, and so are remarks on them. The comment of a key is the description of
its field, to which a remark may be added. Keys that the models have gained are inserted with their
default, and keys that they have lost are taken out.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from healscope.config import Study

WIDTH = 104
"""Columns of a line with its comment; longer comments stand above their key."""


class Key(NamedTuple):
    """A key of a section: its lines, and the column at which a value on one line ends.

    `entry`: whether a study chose the name of its section, or of one around it, as of a recipe.
    """

    section: BaseModel
    name: str
    first: int
    last: int
    end: int | None
    entry: bool


def complete(text: str) -> str:
    """Return the text of a config with the comments of all keys, and with the keys that it
    lacks."""
    text = _without_unknown(text)
    lines = text.splitlines()
    study = Study.model_validate(yaml.safe_load(text))
    keys = list(_keys(study, yaml.compose(text)))
    changes = [change for key in keys if (change := _comment(key, lines))]
    changes += _missing(keys, lines)
    for start, stop, new in sorted(changes, key=lambda c: c[:2], reverse=True):
        lines[start:stop] = new  # from the end, so that the lines before keep their numbers
    return "\n".join(lines) + "\n"


def _without_unknown(text: str) -> str:
    """Return the text without keys that no model has."""
    try:
        Study.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        lines = text.splitlines()
        for path, first, last in _paths(yaml.compose(text)):
            if any(path[-1] == loc[-1] and set(path) <= {*map(str, loc)} for loc in unknown):
                return _without_unknown("\n".join(lines[:first] + lines[last + 1 :]) + "\n")
        raise
    return text


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node, int, int, int | None]]:
    """Yield (key, value, first line, last line, column where a one-line value ends) of a mapping.

    An alias ends at no known column, since its value stands elsewhere.
    """
    for key, value in node.value:
        first = key.start_mark.line
        if value.start_mark.index < key.end_mark.index:
            yield key.value, yaml.ScalarNode("", ""), first, first, None
        elif isinstance(value, yaml.CollectionNode) and not value.flow_style:
            *_, last = _last_lines(value)
            yield key.value, value, first, last, key.end_mark.column + 1
        else:
            last = value.end_mark.line
            yield key.value, value, first, last, value.end_mark.column if last == first else None


def _last_lines(node: yaml.Node) -> Iterator[int]:
    if isinstance(node, yaml.MappingNode):
        yield from (last for _, _, _, last, _ in _pairs(node))
    else:
        yield from (item.end_mark.line for item in node.value)


def _paths(node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Yield (path, first line, last line) of every key of block mappings."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for name, value, first, last, _ in _pairs(node):
            yield (*path, name), first, last
            yield from _paths(value, (*path, name))


def _keys(value: Any, node: yaml.Node, entry: bool = False) -> Iterator[Key]:
    """Yield the keys of a section and of all sections in it."""
    if not isinstance(node, yaml.MappingNode):
        return
    for name, below, first, last, end in _pairs(node):
        if isinstance(value, BaseModel):
            if name in type(value).model_fields:  # not so `like`
                place = (-1, -1, None) if node.flow_style else (first, last, end)
                yield Key(value, name, *place, entry)
                yield from _keys(getattr(value, name), below, entry)
        elif isinstance(value, dict):
            found = {str(key): inner for key, inner in value.items()}.get(name)
            yield from _keys(found, below, True)


def _comment(key: Key, lines: list[str]) -> tuple[int, int, list[str]] | None:
    """Return (start, stop, new lines) that give a key its description; None if it has it already,
    with or without a remark after it."""
    said = type(key.section).model_fields[key.name].description
    if not said or key.first < 0:
        return None
    start = key.first
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    line = lines[key.first]
    code = line if key.end is None else line[: key.end].rstrip()
    above = " ".join(text.strip().lstrip("# ") for text in lines[start : key.first])
    beside = line[len(code) :].strip().lstrip("# ")
    if above.startswith(said) or beside.startswith(said):
        return None
    return start, key.first + 1, _with_comment(code, said)


def _with_comment(code: str, said: str) -> list[str]:
    line = f"{code}  # {said}"
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(code) - len(code.lstrip()))
    return [*textwrap.wrap(said, WIDTH, initial_indent=f"{indent}# ",
                           subsequent_indent=f"{indent}# "), code]  # fmt: skip


def _missing(keys: list[Key], lines: list[str]) -> list[tuple[int, int, list[str]]]:
    """Return insertions (start, stop, new lines) of keys that are missing. Sections under a name
    that the study chose share their keys: each key is shown in one of them."""
    shown = {(_owner(type(key.section), key.name), key.name) for key in keys}
    sections = {id(key.section): [k for k in keys if k.section is key.section] for key in keys}
    found = []
    for siblings in sections.values():
        section, there = siblings[0].section, {key.name: key for key in siblings}
        place = siblings[0]
        for name in type(section).model_fields:
            place = there.get(name, place)
            known = (_owner(type(section), name), name)
            if name in there or place.first < 0 or (siblings[0].entry and known in shown):
                continue
            shown.add(known)
            line = lines[siblings[0].first]
            indent = line[: len(line) - len(line.lstrip())]
            new = _written(section, name, indent)
            found.append((place.last + 1, place.last + 1, new))
    return found


def _owner(section: type[BaseModel], name: str) -> type:
    """Return the class that declares a field."""
    return next(c for c in section.__mro__ if name in vars(c).get("__annotations__", {}))


def _written(section: BaseModel, name: str, indent: str) -> list[str]:
    """Return the lines of a key with its value and description, and of all keys in it."""
    value, said = getattr(section, name), type(section).model_fields[name].description or ""
    if isinstance(value, BaseModel):
        inner = [
            line for key in type(value).model_fields for line in _written(value, key, indent + "  ")
        ]
        return [*_with_comment(f"{indent}{name}:", said), *inner]
    plain = to_jsonable_python(value)  # also of a key that is not dumped at its default
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
    return _with_comment(f"{indent}{name}: {text}", said)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(complete(file.read_text(encoding="utf-8")), encoding="utf-8")
