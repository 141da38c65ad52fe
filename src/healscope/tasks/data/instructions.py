"""Conditions on how an answer is written, which can be checked exactly (verdict `follows`).

A condition is one record in CONDITIONS; a row's answer is an object of some, all of which must
hold, as {"words": 3, "case": "upper"}. What a model writes is bounded by MAX_RESPONSE, and every
check is a single pass over it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_ITEM = re.compile(r"^[ \t]{0,8}(?:[-*\u2022]|[0-9]{1,3}[.)])[ \t]")
_END = re.compile(r"(?<![.!?])[.!?]{1,8}[\"')\]\u201d]{0,4}(?=\s|$)")


@dataclass(frozen=True)
class Condition:
    """A condition on a text.

    Attributes:
        about: what holds of the text, for a reader of a file; VALUE is the condition's value.
        holds: (text, value) -> whether it does. It never raises.
        takes: whether a value makes sense.
    """

    about: str
    holds: Callable[[str, Any], bool]
    takes: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1000


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _case(text: str, case: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    if case == "title":
        initials = [word.lstrip("\"'(*_")[:1] for word in text.split()]
        return bool(letters) and not any(initial.islower() for initial in initials)
    wrong = str.islower if case == "upper" else str.isupper
    return bool(letters) and not any(map(wrong, letters))


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bare(text: str) -> str:
    """Fold a text and leave out marks at its ends."""
    return _folded(text).strip(" \"'.,;:!?*_`()[]{}\u201c\u201d\u2018\u2019")


def _has(text: str, wanted: str) -> bool:
    """Return whether words stand in a text as whole words."""
    return _times(text, wanted) > 0


def _times(text: str, wanted: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(_folded(wanted))}(?!\w)", _folded(text)))


def _items(text: str) -> list[str]:
    return [line for line in text.splitlines() if _ITEM.match(line)]


def _only_items(text: str, number: int) -> bool:
    """Return whether a text has so many items of a list, after at most one line of introduction."""
    lines = [line for line in text.splitlines() if line.strip()]
    items = _items(text)
    return len(items) == number and len(lines) - len(items) <= 1


def _dashes(text: str, number: int) -> bool:
    return _only_items(text, number) and all(i.lstrip().startswith("-") for i in _items(text))


def _numbered(text: str, number: int) -> bool:
    heads = [re.match(r"\s*([0-9]{1,3})[.)]", item) for item in _items(text)]
    return _only_items(text, number) and [h and int(h[1]) for h in heads] == [*range(1, number + 1)]


def _object(text: str) -> Any:
    """Return the JSON value that a text is, in a fence or without; None if it is none."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if bare.count("[") + bare.count("{") > 10_000:
        return None
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return None


def _keys(text: str, keys: list[str]) -> bool:
    found = _object(text)
    return isinstance(found, dict) and set(keys) <= set(found)


def _array(text: str, number: int) -> bool:
    found = _object(text)
    return isinstance(found, list) and len(found) == number


def _sentences(text: str, number: int) -> bool:
    return bool(_END.search(text.strip()[-3:])) and len(_END.findall(text.strip())) == number


def _digits(text: str, number: int) -> bool:
    return re.fullmatch(rf"\W*[0-9]{{{number}}}\W*", text.strip()) is not None


CONDITIONS: Mapping[str, Condition] = {
    "case": Condition(
        "its letters are VALUE: upper, lower, or title (no word begins with a small letter)",
        _case,
        lambda value: value in ("upper", "lower", "title"),
    ),
    "words": Condition("it has VALUE words", lambda t, n: len(t.split()) == n, _number),
    "at_most": Condition("it has at most VALUE words", lambda t, n: len(t.split()) <= n, _number),
    "at_least": Condition("it has at least VALUE words", lambda t, n: len(t.split()) >= n, _number),
    "sentences": Condition("it has VALUE sentences", _sentences, _number),
    "lines": Condition(
        "it has VALUE lines, not counting empty ones",
        lambda t, n: sum(bool(line.strip()) for line in t.splitlines()) == n,
        _number,
    ),
    "begins": Condition(
        "it begins with the words VALUE, in any case",
        lambda t, words: re.match(rf"{re.escape(_bare(words))}(?!\w)", _bare(t)) is not None,
        _text,
    ),
    "ends": Condition(
        "it ends with the words VALUE, in any case",
        lambda t, words: re.search(rf"(?<!\w){re.escape(_bare(words))}$", _bare(t)) is not None,
        _text,
    ),
    "has": Condition(
        "the words of the list VALUE stand in it, each as whole words",
        lambda t, wanted: all(_has(t, words) for words in wanted),
        _texts,
    ),
    "twice": Condition("the words VALUE stand in it twice", lambda t, w: _times(t, w) == 2, _text),
    "without": Condition(
        "the characters of VALUE do not occur in it, in any case, and some letter does",
        lambda t, marks: any(map(str.isalpha, t)) and not set(_folded(t)) & set(_folded(marks)),
        _text,
    ),
    "quoted": Condition(
        "it stands in double quotes as a whole",
        lambda t, _: re.fullmatch(r"[\"\u201c][^\"\u201c\u201d]+[\"\u201d]", t.strip()) is not None,
        lambda value: value is True,
    ),
    "dashes": Condition("it is a list of VALUE items that begin with a dash", _dashes, _number),
    "numbered": Condition("it is a list of VALUE items, numbered from 1", _numbered, _number),
    "parts": Condition(
        "it has VALUE parts, separated by commas",
        lambda t, n: len([p for p in t.split(",") if p.strip()]) == n == t.count(",") + 1,
        _number,
    ),
    "keys": Condition("it is a JSON object that has the keys VALUE", _keys, _texts),
    "array": Condition("it is a JSON array of VALUE values", _array, _number),
    "digits": Condition("it is one number of VALUE digits", _digits, _number),
    "one_of": Condition(
        "it is one of the list VALUE and nothing else, in any case",
        lambda t, listed: _bare(t) in map(_bare, listed),
        _texts,
    ),
}


def prepare(answer: Any, setting: Any) -> dict[str, Any]:  # noqa: ARG001
    """Return the conditions of a row; raises ValueError if they are none."""
    if not isinstance(answer, dict) or not answer:
        raise ValueError('it is not an object of conditions, such as {"words": 3}')
    for name, value in answer.items():
        if name not in CONDITIONS:
            raise ValueError(f"there is no condition {name!r}, only {', '.join(CONDITIONS)}")
        if not CONDITIONS[name].takes(value):
            raise ValueError(f"{value!r} is not a value of condition {name}")
    return answer


def holds(conditions: Mapping[str, Any], text: str) -> bool:
    """Return whether all conditions hold of a text."""
    return all(CONDITIONS[name].holds(text, value) for name, value in conditions.items())
