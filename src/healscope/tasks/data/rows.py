"""Turn rows of a file into questions: the prompt, what is right, and what SFT teaches.

Fields are named, or written by a Jinja template, which runs in a sandbox. `Source` is a file with
the names of its fields, as a config gives it.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from healscope.errors import HealscopeError
from healscope.sections import Section
from healscope.tasks.conversation import MARK, Message, as_prompt
from healscope.tasks.data.chats import encodable, last_answer
from healscope.tasks.data.files import Row, Sheet

MAX_PROMPT = 1_000_000
"""Characters of a prompt: more than any model reads."""
MAX_ANSWER = 16_384
"""Characters of an answer: no longer one is read from a model."""
PROMPT, ANSWER, MESSAGES = "prompt", "answer", "messages"
"""Names that fields have where the config gives none."""

FieldOrTemplate = Annotated[str, Field(min_length=1)]


Prompt = Annotated[
    FieldOrTemplate | None,
    Field(description="field of what is asked, or a Jinja template; null: prompt, or messages"),
]
Messages = Annotated[
    FieldOrTemplate | None,
    Field(description="field with a chat, [{role, content}], whose last answer is taught"),
]
System = Annotated[
    FieldOrTemplate | None, Field(description="field or template of a system text before it")
]
Answer = Annotated[
    FieldOrTemplate | None,
    Field(
        description="field or template of what is right: a text, or several in a list; null: "
        "answer, or the last answer of messages"
    ),
]
Response = Annotated[
    FieldOrTemplate | None,
    Field(description="field or template of what SFT teaches; null: the answer"),
]
Instance = Annotated[
    FieldOrTemplate | None,
    Field(
        description="field of what rows have in common, such as a document: rows of one instance "
        "are held out and resampled together; null: rows with the same prompt"
    ),
]
Group = Annotated[
    FieldOrTemplate | None, Field(description="field by whose values accuracy is also reported")
]
RowId = Annotated[
    FieldOrTemplate | None, Field(description="field that must have another value in each row")
]


class Fields(Section):
    """Which fields of a row are what; a value with {{ }} is a Jinja template over the row."""

    prompt: Prompt = None
    messages: Messages = None
    system: System = None
    answer: Answer = None
    response: Response = None
    instance: Instance = None
    group: Group = None
    row_id: RowId = None


class Question(NamedTuple):
    """One row, as it is asked.

    Attributes:
        where: file and line, for messages.
        line: line or number of the row in its file.
        prompt: text, or a conversation (`tasks.conversation`).
        answers: what is right: texts, or for some verdicts an object. Empty if nothing is named.
        response: what SFT teaches; "" if nothing is known.
        instance, group: values of these fields, None where none is named.
        values: the row itself.
    """

    where: str
    line: int
    prompt: str
    answers: tuple[Any, ...]
    response: str
    instance: str | None
    group: str | None
    values: Mapping[str, Any]


def questions(sheet: Sheet, fields: Fields, key: str, unanswered: bool = False) -> list[Question]:
    """Read every row of a sheet.

    Raises HealscopeError on the first row that lacks a field, or has another type than it should.

    Args:
        key: of the config, where the source is named; for messages.
        unanswered: whether rows may lack an answer (`Question.answers` is empty then).
    """
    names: dict[str, int] = {}
    kinds: dict[str, tuple[str, int]] = {}
    found = []
    for row in sheet.rows:
        one = _Reader(sheet, row, fields, key)
        question = one.question(unanswered)
        if fields.row_id:
            name = one.label("row_id")
            if (first := names.setdefault(name, row.line)) != row.line:
                raise one.wrong(
                    "row_id", f"'{name}' is also the name of {sheet.unit} {first}; make it unique"
                )
        kind = one.kind_of_answer()
        if kind and (first := kinds.setdefault("answer", (kind, row.line)))[0] != kind:
            raise one.wrong(
                "answer",
                f"it is {kind}, but {first[0]} in {sheet.unit} {first[1]}; give all rows one type",
            )
        found.append(question)
    return found


class _Reader(NamedTuple):
    """Reads the fields of one row, and says what is wrong with it."""

    sheet: Sheet
    row: Row
    fields: Fields
    key: str

    def wrong(self, key: str, said: str) -> HealscopeError:
        named = getattr(self.fields, key) or {"prompt": PROMPT, "answer": ANSWER}.get(key, key)
        what = f"the template of {key}" if _is_template(named) else f"field '{named}' ({key})"
        return HealscopeError(f"{self.key}: {self.sheet.where(self.row)}: {what}: {said}")

    def question(self, unanswered: bool) -> Question:
        fields = self.fields
        chat = self.chat() if self._is_chat() else None
        before, last = chat or ([Message(role="user", content=self.text("prompt", PROMPT))], "")
        if fields.system and before[0]["role"] != "system":
            before = [{"role": "system", "content": self.text("system")}, *before]
        prompt = as_prompt(before)
        if len(prompt) > MAX_PROMPT:
            raise self.wrong(
                "messages" if chat else "prompt",
                f"{len(prompt):,} characters, more than the {MAX_PROMPT:,} that a prompt may "
                "have; shorten or delete it",
            )
        answers: tuple[Any, ...] = ()
        if chat is None or fields.answer:
            answers = self.answers(unanswered)
        elif last:
            answers = (last,)
        elif not unanswered:
            raise self.wrong(
                "messages",
                "the chat does not end with an answer of the assistant, and no key answer names "
                "one; add either",
            )
        response = self.text("response") if fields.response and self._has("response") else last
        if not response and answers and isinstance(answers[0], str):
            response = answers[0]
        for name, text in (("answer", answers), ("response", (response,))):
            if any(isinstance(t, str) and len(t) > MAX_ANSWER for t in text):
                raise self.wrong(
                    name, f"longer than {MAX_ANSWER:,} characters, which no answer may be"
                )
        instance = self.label("instance") if fields.instance else None
        group = self.label("group") if fields.group else None
        about = self.sheet.where(self.row), self.row.line
        return Question(*about, prompt, answers, response, instance, group, self.row.values)

    def _is_chat(self) -> bool:
        if self.fields.messages or self.fields.prompt:
            return bool(self.fields.messages)
        return PROMPT not in self.row.values and MESSAGES in self.row.values

    def _has(self, key: str) -> bool:
        named = getattr(self.fields, key)
        return _is_template(named) or self.row.values.get(named) is not None

    def value(self, key: str, default: str = "") -> Any:
        """Return a field, or what a template writes; raises HealscopeError where it is missing."""
        named = getattr(self.fields, key) or default
        if _is_template(named):
            return self.written(key, named)
        if named not in self.row.values:
            there = ", ".join(map(str, self.row.values)) or "none"
            raise self.wrong(
                key, f"the row lacks it, it only has {there}; correct the row or the key"
            )
        return _plain(self.row.values[named])

    def written(self, key: str, template: str) -> str:
        from jinja2 import TemplateSyntaxError

        try:
            return _template(template).render({**self.row.values, "row": self.row.values})
        except TemplateSyntaxError as error:
            raise HealscopeError(
                f"{self.key}: the template of {key} is not valid Jinja ({error.message}); "
                "correct it"
            ) from None
        except Exception as error:  # whatever a template does with a row
            said = " ".join(str(error).split()) or type(error).__name__
            raise self.wrong(key, f"it fails ({said}); correct the template or the row") from None

    def text(self, key: str, default: str = "") -> str:
        value = self.value(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, f"{_kind(value)}, not text; correct the row")
        if not value.strip():
            raise self.wrong(key, "it is empty; fill it in or delete the row")
        if value.startswith(MARK):
            raise self.wrong(key, f"it begins with {MARK}, which is not allowed; delete it")
        return encodable(value)

    def label(self, key: str) -> str:
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise self.wrong(key, f"{_kind(value)}, not text or a whole number; correct the row")
        return encodable(str(value))

    def answers(self, unanswered: bool) -> tuple[Any, ...]:
        named = self.fields.answer or ANSWER
        if unanswered and not _is_template(named) and self.row.values.get(named) is None:
            return ()
        value = self.value("answer", ANSWER)
        if isinstance(value, dict):
            return (value,)
        several = value if isinstance(value, list) else [value]
        if not several:
            raise self.wrong("answer", "the list is empty; fill it in or delete the row")
        found = []
        for one in several:
            if one is None or isinstance(one, list | dict):
                raise self.wrong("answer", f"{_kind(one)}, not text; correct the row")
            text = str(one).lower() if isinstance(one, bool) else str(one)
            if not text.strip():
                raise self.wrong("answer", "it is empty; fill it in or delete the row")
            found.append(encodable(text))
        return tuple(found)

    def kind_of_answer(self) -> str:
        """Name the type of the answer, as two rows should not differ in it."""
        named = self.fields.answer or ANSWER
        value = None if _is_template(named) else self.row.values.get(named)
        value = value[0] if isinstance(value, list) and value else value
        return "" if value is None else _kind(_plain(value))

    def chat(self) -> tuple[list[Message], str]:
        try:
            return last_answer(self.value("messages", MESSAGES))
        except ValueError as error:
            raise self.wrong("messages", f"{error}; correct the row") from None


def _is_template(named: str | None) -> bool:
    return named is not None and ("{{" in named or "{%" in named)


@lru_cache(maxsize=64)
def _template(text: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    sandbox = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    return sandbox.from_string(text)


def _kind(value: Any) -> str:
    """Name the type of a value, as JSON has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _plain(value: Any) -> Any:
    """Return a value of a table as one of JSON: dates and decimal numbers as text."""
    if isinstance(value, datetime.date | datetime.time | decimal.Decimal):
        return str(value)
    return value
