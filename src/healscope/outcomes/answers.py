"""One answer to one item, as any file of outcomes gives it, and the checks that all pass."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healscope.errors import HealscopeError

LONGEST = 4000
"""Characters of a text that are kept, to be shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an item of a benchmark.

    `sample` tells repeated answers to one item apart. Items of one `instance` are not independent
    (the item itself where a file says nothing). `unread`: whether no answer could be read, which
    counts as wrong; None where the file does not tell. `document` and `prompt` are fingerprints of
    what was asked, "" where a file has none. `metric` is what judged the answer, as `--metric`
    names it, "" where a file holds one verdict of each.
    """

    benchmark: str
    item: str
    correct: float
    sample: str = ""
    instance: str = ""
    unread: bool | None = None
    text: str = ""
    question: str = ""
    target: str = ""
    document: str = ""
    prompt: str = ""
    score: float | None = None
    metric: str = ""


def number(value: Any, where: str, what: str) -> float:
    """Return a share of right: true, false or a number from 0 to 1. Raises HealscopeError."""
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not 0 <= value <= 1:  # NaN is neither
        raise HealscopeError(
            f"{where}: {what} is {json.dumps(value, default=str)[:60]}, which is neither true, "
            "false nor a number from 0 to 1; correct the file, or choose another with --metric"
        )
    return float(value)


def shown(value: Any) -> str:
    """Return a text as it is kept, or any other value as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "replace").decode()  # half a pair of surrogates is no text
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a file of JSON lines, each with its place in words.

    Raises HealscopeError where a line is no JSON object: a file that was cut off ends in one.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:  # Windows begins files with a mark of order
            for i, line in enumerate(file, 1):
                if line.strip():
                    where = f"{path}, line {i}"
                    yield where, parsed(line, where)
    except UnicodeDecodeError:
        raise HealscopeError(f"{path} is no UTF-8 text; give a file of JSON lines") from None
    except OSError as error:
        raise HealscopeError(f"{path} cannot be read ({error.strerror}); check the path") from None


def parsed(text: str | bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object; raises HealscopeError with the place if it is none."""
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise HealscopeError(
            f"{where} is no JSON: the file is cut off or damaged; write it again"
        ) from None
    except ValueError:  # Python's limit of digits
        raise HealscopeError(
            f"{where} holds an integer of thousands of digits; write a number from 0 to 1"
        ) from None
    if not isinstance(found, dict):
        raise HealscopeError(f"{where} is no JSON object; write one object with named values")
    return found


def field(row: dict[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """Return a value of a row; raises HealscopeError if it is missing or of another type."""
    if key not in row:
        raise HealscopeError(f"{where} has no '{key}'; is this file what its name says?")
    if not isinstance(row[key], kind):
        raise HealscopeError(
            f"{where}: '{key}' is {json.dumps(row[key], default=str)[:60]}, not what is expected "
            "there; write the file again"
        )
    return row[key]
