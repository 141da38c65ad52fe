"""Reads config files strictly: what YAML would silently drop or misread is refused with its
line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from healscope.errors import HealscopeError
from healscope.sections import merged

_ZERO_FIRST = re.compile(r"[-+]?0[0-7_]+")


class _Strict(yaml.SafeLoader):
    """A YAML loader that refuses duplicate keys, and numbers that YAML reads in base 8 or 60."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _wrong(key_node, f"'{key}' is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        text, number = node.value, super().construct_yaml_int(node)
        if _ZERO_FIRST.fullmatch(text):
            plain = text.replace("_", "").lstrip("+-0") or "0"
            raise _wrong(node, f"YAML reads {text} as the octal number {number}; write {plain}")
        if ":" in text:
            raise _wrong(node, f"YAML reads {text} as {number}, in base 60; put it in quotes")
        return number


_Strict.add_constructor("tag:yaml.org,2002:int", _Strict.construct_yaml_int)


def _wrong(node: yaml.Node, what: str) -> HealscopeError:
    return HealscopeError(f"{node.start_mark.name}, line {node.start_mark.line + 1}: {what}")


def read(file: str | Path) -> dict[str, Any]:
    """Return the content of a config file, which is UTF-8 whatever the locale.

    Raises HealscopeError with the file, the line and what to change where it cannot be read.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise HealscopeError(f"config file {file} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise HealscopeError(
            f"{file}, line {line}: byte {content[error.start]:#x} is not UTF-8; save the file as "
            f"UTF-8 (iconv -f latin1 -t utf-8 {file})"
        ) from None
    loader = _Strict(text)
    loader.name = str(file)
    try:
        found = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise HealscopeError(_misread(file, text, error)) from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise HealscopeError(f"{file} is not valid YAML: {error}") from None
    finally:
        loader.dispose()
    if found is None:
        raise HealscopeError(
            f"{file} has no keys: it is empty, or holds comments alone; config/config.yaml and the "
            "files beside it are examples"
        )
    if not isinstance(found, dict):
        raise HealscopeError(f"{file} has no keys: a config is made of lines 'key: value'")
    return found


def _misread(file: str | Path, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    if line <= len(lines) and "\t" in re.match(r"\s*", lines[line - 1])[0]:
        return f"{file}, line {line}: a tab before the first word; YAML indents with spaces alone"
    return f"{file}, line {line}: {error.problem or error.context}"


def read_together(files: Sequence[str | Path]) -> dict[str, Any]:
    """Return the config that Snakemake makes of several files: later ones override earlier ones."""
    data: dict[str, Any] = {}
    for file in files:
        data = merged(data, read(file))
    return data
