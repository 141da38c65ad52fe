"""Kinds of verdicts: how a response is compared with what is right.

A kind is one record in KINDS. It gets whatever a model writes, so that its work is bounded: no
pattern here backtracks, numbers are exact and short, and nothing is executed. Responses longer than
MAX_RESPONSE never reach it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from healscope.errors import HealscopeError
from healscope.tasks.data import instructions, mathematics, schemas_of_answers
from healscope.tasks.data.numbers import last_number
from healscope.tasks.data.patterns import pattern
from healscope.tasks.responses import json_object

CORRECT, WRONG, NO_ANSWER = "correct", "wrong", "no_answer"
MOST_CHOICES = 100
"""Different answers of a file that verdict `choice` takes for choices."""


class Setting(NamedTuple):
    """What a kind may know in addition to the response and the answer.

    Attributes:
        choices: all answers of the files, for verdict `choice`.
        prompt: what was asked; "" where it is not known.
    """

    choices: tuple[str, ...] = ()
    prompt: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of verdict.

    Attributes:
        about: what is right, for a reader of the config.
        judge: (response, prepared answer, setting) -> CORRECT, WRONG or NO_ANSWER. It never raises.
        prepare: (answer of a row, setting) -> the answer as `judge` takes it. Raises ValueError
            where it cannot be an answer of this kind.
        is_response: whether an answer is what a model should write. Where not, as a pattern is not,
            key `response` says what SFT teaches.
        costly: whether `judge` takes milliseconds, so that only some responses are tried
            beforehand.
        needs: what has to be installed, or "".
    """

    about: str
    judge: Callable[[str, Any, Setting], str]
    prepare: Callable[[Any, Setting], Any]
    is_response: bool = True
    costly: bool = False
    needs: str = ""


def _text(answer: Any, setting: Setting) -> str:  # noqa: ARG001
    if not isinstance(answer, str):
        raise ValueError("it is an object, not text")
    return answer


# exact


def _exact(text: str, answer: str, setting: Setting) -> str:  # noqa: ARG001
    return CORRECT if text.split() == answer.split() else WRONG


# number


def _number(text: str, answer: Fraction, setting: Setting) -> str:  # noqa: ARG001
    said = last_number(text)
    if said is None:
        return NO_ANSWER
    return CORRECT if said == answer else WRONG


def _as_number(answer: Any, setting: Setting) -> Fraction:
    number = last_number(_text(answer, setting))
    if number is None:
        raise ValueError("there is no number in it")
    return number


# choice

_MARKERS = re.compile(r"answer(?:\s{1,9}is)?\s{0,9}:?\s{0,9}(?:\*\*|\\boxed\{)?", re.IGNORECASE)


def _choice(text: str, answer: str, setting: Setting) -> str:
    said = _chosen(text, setting.choices)
    if said is None:
        return NO_ANSWER
    return CORRECT if said == answer else WRONG


def _chosen(text: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice that a response names: it is all of it, or follows the last "answer", or is
    the only one that is named."""
    whole = text.strip().strip("()[]{}*.:'\"` ")
    folded = {_folded(choice): choice for choice in choices}
    if _folded(whole) in folded:
        return folded[_folded(whole)]
    marker = [None, *_MARKERS.finditer(text)][-1]
    if marker:
        first = _naming(choices).search(text, marker.end())
        if first and not text[marker.end() : first.start()].strip(" \t\n(['\"*:{"):
            return folded[_folded(first[0])]
    named = {folded[_folded(found[0])] for found in _naming(choices).finditer(text)}
    return named.pop() if len(named) == 1 else None


@lru_cache(maxsize=16)
def _naming(choices: tuple[str, ...]) -> re.Pattern:
    """Match any choice as a whole word; single letters as they are written, others in any case."""
    parts = []
    for choice in sorted(choices, key=len, reverse=True):
        literal = r"\s{1,9}".join(map(re.escape, choice.split()))
        parts.append(literal if len(choice) == 1 else f"(?i:{literal})")
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)")


def _folded(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) == 1 else words.casefold()


def _as_choice(answer: Any, setting: Setting) -> str:
    if len(setting.choices) > MOST_CHOICES:
        raise ValueError(
            f"the files have {len(setting.choices)} different answers, too many to choose from; "
            "use verdict exact"
        )
    return _text(answer, setting)


# contains


def _contains(text: str, answer: str, setting: Setting) -> str:  # noqa: ARG001
    text, at = _plain(text), -1
    while (at := text.find(answer, at + 1)) >= 0:
        around = text[max(at - 1, 0) : at] + text[at + len(answer) : at + len(answer) + 1]
        if not any(letter.isalnum() for letter in around):
            return CORRECT
    return WRONG


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _as_contained(answer: Any, setting: Setting) -> str:
    return _plain(_text(answer, setting))


# regex


def _regex(text: str, answer: Any, setting: Setting) -> str:  # noqa: ARG001
    return CORRECT if answer.search(text) else WRONG


# json_schema


def _json_schema(text: str, answer: Any, setting: Setting) -> str:  # noqa: ARG001
    said = _json(text)
    if said is None:
        return NO_ANSWER
    return CORRECT if schemas_of_answers.holds(answer, said) else WRONG


def _json(text: str) -> Any:
    """Return the JSON value that a response is, or the object that it answers with."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if bare[:1] == "[" and bare.count("[") + bare.count("{") <= 10_000:
        try:
            return json.loads(bare)
        except (ValueError, RecursionError):
            return None
    return json_object(text, reasoning=())


# follows


def _follows(text: str, answer: Any, setting: Setting) -> str:  # noqa: ARG001
    return CORRECT if instructions.holds(answer, text) else WRONG


KINDS: Mapping[str, Kind] = {
    "exact": Kind("the response is the answer, but for white space", _exact, _text),
    "number": Kind("its last number equals that of the answer, exactly", _number, _as_number),
    "choice": Kind("it names this one of all answers that the files have", _choice, _as_choice),
    "contains": Kind("the answer stands in it, as words, in any case", _contains, _as_contained),
    "regex": Kind(
        "the answer is a regular expression (RE2) that matches somewhere in it",
        _regex,
        lambda answer, setting: pattern(_text(answer, setting)),
        is_response=False,
    ),
    "math": Kind(
        "it is the same mathematics, by math-verify (`make math`)",
        mathematics.judge,
        mathematics.prepare,
        costly=True,
        needs="math_verify",
    ),
    "json_schema": Kind(
        "it is JSON that the answer, a JSON schema, allows",
        _json_schema,
        schemas_of_answers.prepare,
        is_response=False,
    ),
    "follows": Kind(
        "all conditions hold that the answer lists, as {words: 3} (docs/keepers.md)",
        _follows,
        instructions.prepare,
        is_response=False,
    ),
}


def kind(name: str) -> Kind:
    """Return the kind of a name; raises HealscopeError if it needs what is not installed."""
    from importlib import util

    found = KINDS[name]
    if found.needs and util.find_spec(found.needs) is None:
        raise HealscopeError(
            f"verdict {name} needs {found.needs}, which is not installed: run `make {name}`"
        )
    return found
