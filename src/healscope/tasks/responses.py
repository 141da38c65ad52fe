"""Read what models write: find where the answer begins, and the JSON objects in it.

Nothing here raises on any response, and the work is linear in its length, up to a factor of
MAX_NESTED.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import Field

MAX_RESPONSE = 16_384
"""Characters; a longer answer is none. What was thought before it does not count."""
MAX_NESTED = 32
"""Levels of objects and lists; what is nested more deeply is no JSON."""
MAX_NUMBER = 300
"""Characters of a number; a longer one is a word."""
WRAPPERS = frozenset(("answer", "final_answer", "output", "response", "result", "solution"))
"""Keys under which an object may hold the object that was asked for."""


# What is thought, and what is said.

Mark = Annotated[str, Field(min_length=1)]
Marks = tuple[Mark | None, Mark]
"""What begins a model's reasoning in a response (None: nothing to go by), and what ends it."""

REASONING: tuple[Marks, ...] = (
    ("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, GLM, Phi-4-reasoning, OLMo 3 and others
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    (None, "[BEGIN FINAL RESPONSE]"),  # Apriel
)
"""Marks of the chat templates of common models."""


class Spoken(str):
    """The answer in a response: text from which the reasoning has been taken."""

    __slots__ = ()


def spoken(text: str, reasoning: Sequence[Marks] = REASONING) -> Spoken:
    """Cut off what a model thought before it answered.

    The answer is what follows the last mark that ends reasoning; where a prompt's template began
    the reasoning, that mark stands alone. Where reasoning begins and never ends there is no answer:
    the empty text. `Spoken` text comes back as it is.

    Args:
        text: a response.
        reasoning: pairs of marks, one that begins reasoning (or None) and one that ends it.
    """
    if isinstance(text, Spoken):
        return text
    ends = [text.rfind(end) + len(end) for _, end in reasoning if end in text]
    rest = text[max(ends, default=0) :]
    return Spoken("" if any(begin and begin in rest for begin, _ in reasoning) else rest)


READ_RESPONSES: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("verify", "hint", "progress", "canonical", "form", "verify_in_form"), 1),
        **dict.fromkeys(
            ("solution", "decisions", "first_error", "numbers_used", "confidence_in"), 1
        ),
        **dict.fromkeys(("conclusion", "alive", "can_be_right"), 1),
        "feedback": 2,
    }
)
"""Methods of a task that read a response -> which argument it is, from 0."""


def of_answers(method: Callable, place: int) -> Callable:
    """Wrap a method of a task so that it gets the answer in the response it is called with.

    The answer is what `Task.answer_in` makes of argument `place`.
    """
    if hasattr(method, "reads_answers"):
        return method
    parameter = list(inspect.signature(method).parameters)[place + 1]  # less self

    @wraps(method)
    def reads(self: Any, *given: Any, **named: Any) -> Any:
        if len(given) > place:
            given = (*given[:place], self.answer_in(given[place]), *given[place + 1 :])
        elif parameter in named:
            named[parameter] = self.answer_in(named[parameter])
        return method(self, *given, **named)

    reads.reads_answers = True
    return reads


# Which objects there are.


class Members(list):
    """The (key, value) pairs of a JSON object in order, repeated keys and all."""

    def of(self, key: str) -> list[Any]:
        """Return all values of a key."""
        return [value for name, value in self if name == key]


class Word(str):
    """A value that is not JSON: words without quotes, as in a template of an answer."""

    __slots__ = ()


class Found(NamedTuple):
    """What a text holds.

    Attributes:
        objects: complete objects in order; of nested ones the outermost.
        rest: the text around them, in which `{}` stands for each.
    """

    objects: list[Members]
    rest: str


def read(text: str) -> Found:
    """Find the JSON objects in a text: alone, in code fences, or among words.

    Read as JSON is also what a careful person takes for it: comments, single quotes, commas that
    are missing or too many, and words without quotes (`Word`).
    """
    objects, rest, done = [], [], 0
    start = _OBJECT.search(text)
    while start:
        try:
            found, end = _value(text, start.start(), 0)
        except _NoJSON as error:
            start = _OBJECT.search(text, max(start.end(), error.resume))
            continue
        objects.append(found)
        rest.append(text[done : start.start()])
        done = end
        start = _OBJECT.search(text, end)
    return Found(objects, "{}".join([*rest, text[done:]]))


def holding(objects: Sequence[Members], key: str) -> list[Members]:
    """Return the objects that have the key, or that hold one that does under one of WRAPPERS."""
    found = []
    for members in objects:
        inside: Any = members
        while isinstance(inside, Members) and not inside.of(key):
            inside = next((v for k, v in inside if k.casefold() in WRAPPERS), None)
        if isinstance(inside, Members):
            found.append(inside)
    return found


def fields(text: str, key: str) -> list[Any]:
    """Return all values that follow `"key":` in broken JSON; a string may end with the text."""
    found, done = [], 0
    for match in re.finditer(rf"""(["']){re.escape(key)}\1\s{{0,32}}:""", text):
        if match.start() < done:
            continue
        at = match.end()
        try:
            at = _skip(text, at)
            value, done = _value(text, at, 0)
        except _NoJSON as error:
            done = error.resume
            if text[at : at + 1] in ('"', "'") and text.find(text[at], at + 1) < 0:
                found.append(_unescaped(text[at + 1 :]))
            continue
        cut = isinstance(value, (int, float)) and not _ENDS.match(text, done)
        found.append(Word(text[at:done]) if cut else value)
    return found


T = TypeVar("T")


def agreed(
    values: Sequence[T], said: Callable[[T], Any], template: Callable[[T], bool]
) -> T | None:
    """Return the last of several values if all say the same, else None.

    Before the last one a `template` of the answer, which a model repeats, does not count.
    """
    if not values:
        return None
    last = values[-1]
    full = (value for value in values[:-1] if not template(value))
    return last if all(said(value) == said(last) for value in full) else None


def is_template(value: Any) -> bool:
    """Return whether a value is only a placeholder: "...", "<a number>", or nothing."""
    if isinstance(value, Members):
        return all(is_template(inside) for _, inside in value)
    if isinstance(value, list):
        return all(map(is_template, value))
    if isinstance(value, str):
        return not value.strip(" .…_?") or bool(re.fullmatch(r"\s*<[^<>]*>\s*", value))
    return value is None


def json_object(
    text: str, key: str | None = None, reasoning: Sequence[Marks] = REASONING
) -> dict[str, Any] | None:
    """Return the JSON object that a response answers with, or None. Never raises.

    Of several complete objects after the reasoning (`spoken`) the last; None where two of them say
    different things, that is where a key has two values. A template of the answer before the answer
    does not count (`is_template`), nor what is longer than MAX_RESPONSE.

    Args:
        text: a response, or the part of it that `Task.verify` is given.
        key: only objects that have this key count.
        reasoning: as in `spoken`.
    """
    text = spoken(text, reasoning)
    if len(text) > MAX_RESPONSE:
        return None
    objects = read(text).objects
    if key is not None:
        objects = holding(objects, key)
    found = [members for members in objects if not _has_words(members)]
    full = [members for members in found[:-1] if not is_template(members)] + found[-1:]
    said: dict[str, str] = {}
    for members in full:
        for name, value in members:
            if said.setdefault(name, written(value)) != written(value):
                return None
    return _plain(full[-1]) if full else None


def written(value: Any) -> str:
    """Write a value as text, the same for equal values; true is not 1."""
    return json.dumps(value, sort_keys=True)


def _has_words(value: Any) -> bool:
    if isinstance(value, Members):
        return any(_has_words(inside) for _, inside in value)
    if isinstance(value, list):
        return any(map(_has_words, value))
    return isinstance(value, Word)


def _plain(value: Any) -> Any:
    """Turn objects into dictionaries; of a repeated key the last value counts."""
    if isinstance(value, Members):
        return {key: _plain(inside) for key, inside in value}
    return list(map(_plain, value)) if isinstance(value, list) else value


# The released code's way (arXiv 2501.17161).

_FIELDS = {
    "formula": re.compile(r'"formula": "(.*?)"'),
    "number": re.compile(r'"number": \[([^\]]{1,1024})\]'),
    **{key: re.compile(f'"{key}": "(.*?)"') for key in ("action", "current observation")},
}


def released_field(text: str, key: str) -> Any:
    """Return a field of a response, read as the released code does.

    That of the JSON object that the text is, else the first that looks so; None where there is
    none. The search wants one space after the colon and double quotes, and
    decodes no escapes.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and key in found:
        return found[key]
    match = _FIELDS[key].search(text)
    return match[1] if match else None


# The grammar.

_OBJECT = re.compile(r"""\{(?=\s*["'}/#])""")
_SPACE = re.compile(r"\s*")
_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"' + r"|'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL)
_NUMBER = re.compile(
    r"([-+]?(?:0|[1-9][0-9]*))(?:\.(0+)|(\.[0-9]+)?([eE][-+]?[0-9]+)?)"
    r"(?![\w.+\-*(%=^$\\]|/(?![/*]))"
)
_WORD = re.compile(r"[^\s,\[\]{}\"':][^,\[\]{}\"':\n]*")
_ENDS = re.compile(r"\s{0,32}(?:[,}\]`\n]|//|/\*|#|\Z)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "/": "/", "b": "\b", "f": "\f"}
_ESCAPES |= {"n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS = {
    **{"true": True, "false": False, "null": None, "True": True, "False": False, "None": None},
    **{"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")},
}


class _NoJSON(Exception):  # noqa: N818 (what was found)
    """There is no JSON; the search for objects goes on not before `resume`."""

    def __init__(self, resume: int = 0):
        super().__init__()
        self.resume = resume


def _skip(text: str, at: int) -> int:
    """Return where white space and comments end."""
    while True:
        at = _SPACE.match(text, at).end()
        start = text[at : at + 2]
        if start == "//" or start[:1] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif start == "/*":
            end = text.find("*/", at + 2)
            if end < 0:
                raise _NoJSON
            at = end + 2
        else:
            return at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """Read the value that begins at a place; return it and where it ends. Raises _NoJSON."""
    start = text[at : at + 1]
    if start in ("{", "["):
        if depth == MAX_NESTED:
            raise _NoJSON(at)
        return _container(text, at + 1, depth + 1, "}" if start == "{" else "]")
    if match := _STRING.match(text, at):
        return _unescaped(match[1] if match[1] is not None else match[2]), match.end()
    if (match := _NUMBER.match(text, at)) and len(match[0]) <= MAX_NUMBER:
        whole, zeros, fraction, exponent = match.groups()
        number = float(match[0]) if fraction or exponent else int(whole)
        return number, match.end()
    if match := _WORD.match(text, at):
        word = match[0].rstrip()
        return _CONSTANTS.get(word, Word(word)), at + len(word)
    raise _NoJSON


def _container(text: str, at: int, depth: int, end: str) -> tuple[Any, int]:
    """Read the members of an object or a list after its opening bracket."""
    found: list = Members() if end == "}" else []
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == end:
            return found, at + 1
        if end == "}":
            key, at = _key(text, at)
            value, at = _value(text, at, depth)
            found.append((key, value))
        else:
            value, at = _value(text, at, depth)
            found.append(value)
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] not in (end, '"', "'") and not (
            end == "]" and _NUMBER.match(text, at)
        ):
            raise _NoJSON


def _key(text: str, at: int) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if not match:
        raise _NoJSON
    at = _skip(text, match.end())
    if text[at : at + 1] != ":":
        raise _NoJSON
    return _unescaped(match[1] if match[1] is not None else match[2]), _skip(text, at + 1)


def _unescaped(text: str) -> str:
    """Return the characters of a string; what is no escape of JSON, as `\\c`, stays as it is."""
    if "\\" not in text:
        return text
    decoded = _ESCAPE.sub(_character, text)
    if "\\ud" in text.lower():  # halves of characters beyond the first 65,536
        decoded = decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return decoded


def _character(match: re.Match) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _ESCAPES.get(match[2], match[0])


def same_start(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the words that two texts share before they differ."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return same
