"""Turns validation errors of a config into readable lines, one for each key."""

import re
from difflib import get_close_matches
from typing import Any

from healscope.sections import PATTERNS, Section, in_words

_EXPONENT = re.compile(r"[-+]?[\d.]+e[-+]?\d+", re.IGNORECASE)


def explained(errors: list[dict]) -> list[str]:
    """Return one line for each key of pydantic's `errors`: what is wrong, with all alternatives of
    a union together, and the value."""
    messages: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    inherited: set[tuple[str, ...]] = set()
    for error in errors:
        # a union adds parts such as "literal['last']" or "constrained-int" to the path
        path = [
            str(p)
            for p in error["loc"]
            if not re.match(r"literal\[|constrained-|str$|\[key\]$", str(p))
        ]
        message = _message(error)
        if path[:2] in (["rl", "recipes"], ["sft", "methods"]) and len(path) > 2:
            path = [*path[:3], *path[4:]]  # less the algorithm, by which its model was found
            if (message, *path[3:]) in inherited:
                continue  # an entry that is like this one
            inherited.add((message, *path[3:]))
        where = ".".join(path)
        if message not in messages.setdefault(where, []):
            messages[where].append(message)
        value = error.get("input")
        if not isinstance(value, (dict, list)) and error["type"] != "missing":
            given[where] = f", got {value!r}"
    return [
        f"  {f'{w}: ' if w else ''}{'; or '.join(m)}{given.get(w, '')}" for w, m in messages.items()
    ]


def _message(error: dict) -> str:
    """Return what is wrong with one value and, if it is known, what to write instead."""
    kind, value = error["type"], error.get("input")
    said = in_words(error)
    if kind == "extra_forbidden":
        key, known = str(error["loc"][-1]), _keys()
        near = [] if key in known else get_close_matches(key, known, n=1, cutoff=0.75)
        typo = f"a typo of {near[0]}" if near else "a typo"
        return f"unknown key ({typo}, or a key of another section?)"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(error["ctx"]["pattern"], said)
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return f"YAML reads this as {_KINDS[type(value)]}; put it in quotes"
    if kind in ("int_parsing", "int_from_float") and _EXPONENT.fullmatch(str(value)):
        return f"{said}; YAML reads 1e3 as text: write {float(value):.0f}"
    if kind in ("list_type", "tuple_type") and not isinstance(value, dict):
        return f"{said}; put it in brackets, as [{value}]"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return "a section is needed, as {key: value}"
    return said


def _keys() -> set[str]:
    """Return the keys of all sections."""
    sections, found = [Section], set()
    while sections:
        section = sections.pop()
        found |= set(section.model_fields)
        sections += section.__subclasses__()
    return found


_KINDS = {bool: "yes or no", int: "a number", float: "a number"}


def booleans(data: Any, study: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Return a line for each true or false of a config that was read as the number 1 or 0."""
    if isinstance(data, bool) and type(study) in (int, float):
        return [f"  {'.'.join(path)}: a number is needed, and YAML reads yes, no, on and off as "
                f"true or false, got {data}"]  # fmt: skip
    if isinstance(data, dict) and isinstance(study, dict):
        pairs = [(key, data[key], study[key]) for key in data if key in study]
    elif isinstance(data, (list, tuple)) and isinstance(study, (list, tuple)):
        pairs = [(i, *both) for i, both in enumerate(zip(data, study, strict=False))]
    else:
        return []
    return [line for key, *both in pairs for line in booleans(*both, (*path, str(key)))]
