"""Sets of rows: a file, the names of its fields and how answers to it are judged.

A task has some, for SFT, ID and OOD; whatever else asks questions of a file can have one too:
`Source` is the section of a config, `load` reads it, `Asked.judge` judges.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from healscope.errors import HealscopeError
from healscope.tasks import python_file
from healscope.tasks.conversation import messages_of
from healscope.tasks.data import files, verdicts
from healscope.tasks.data.chats import encodable
from healscope.tasks.data.files import Sheet
from healscope.tasks.data.patterns import last_match, pattern
from healscope.tasks.data.rows import Fields, Question, questions
from healscope.tasks.data.verdicts import CORRECT, NO_ANSWER, WRONG, Setting
from healscope.tasks.responses import MAX_RESPONSE

ONE_FILE = "a verdict is one file, so that a change of it is noticed: move what it needs into it"
TRIED = 50
"""Responses that are tried beforehand where a verdict is costly."""
SHOWN = 8
"""Values of a field that a message names."""

VerdictName = Annotated[
    str | None,
    Field(
        description=f"how an answer is judged: {', '.join(verdicts.KINDS)}, or a Python file with "
        "verify(row, text); null: exact"
    ),
]
Extract = Annotated[
    str | None,
    Field(
        description="regular expression (RE2) of what is judged: the first group of its last "
        "match; null: all of a response"
    ),
]
SchemaFile = Annotated[
    str | None, Field(description="file with the JSON schema of all rows, for verdict json_schema")
]
Plain = str | int | float | bool


class Source(Fields):
    """A file of rows. Keys that are left out are as in the section around it."""

    file: str = Field(
        min_length=1,
        description="JSONL, JSON, CSV, TSV, Parquet, a folder of `datasets`, or a hub id as "
        "owner/name:config@revision#split",
    )
    where: dict[str, Plain | Annotated[list[Plain], Field(min_length=1)]] | None = Field(
        default=None,
        description="rows that are read, {field: value, or a list of which any will do}; null: all",
    )
    verdict: VerdictName = None
    extract: Extract = None
    schema_file: SchemaFile = None

    @model_serializer(mode="wrap")
    def _values(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `where` if it takes all rows: earlier studies recorded no such key."""
        values = dump(self)
        if self.where is None:
            del values["where"]
        return values

    def completed(self, around: Mapping[str, Any]) -> Source:
        """Return the source with the keys that it leaves out as they are in `around`."""
        own = self.model_dump()
        if own["prompt"] or own["messages"]:  # one of the two replaces the other
            around = {k: v for k, v in around.items() if k not in ("prompt", "messages")}
        return Source(**{key: around.get(key) if v is None else v for key, v in own.items()})

    def hashes(self, key: str) -> dict[str, str]:
        """Return key -> hash of the files that it names."""
        found = {}
        for name, place in (("", self.file), (".schema_file", self.schema_file)):
            if place is not None:
                found[key + name] = _hash(key + name, place)
        if self.own_code:
            found[f"{key}.verdict"] = function(self.verdict, key)[1]
        return found

    @property
    def own_code(self) -> bool:
        """Whether a Python file of the user judges."""
        return bool(self.verdict) and self.verdict.endswith(".py")


def function(file: str, key: str) -> tuple[Callable[[dict, str], Any], str]:
    """Return `verify` of a user's Python file, and the file's hash."""
    module, known = python_file.load(file, f"{key}.verdict", ONE_FILE)
    found = getattr(module, "verify", None)
    if not callable(found):
        raise HealscopeError(f"{key}.verdict: {file} has no function verify(row, text); add it")
    return found, known


def _hash(key: str, place: str) -> str:
    try:
        return files.digest(place)
    except HealscopeError as error:
        raise HealscopeError(f"{key}: {error}") from None


def _as_source(given: Any) -> Any:
    return {"file": given} if isinstance(given, str) else given


def _as_sets(given: Any) -> Any:
    if isinstance(given, str | Source) or (isinstance(given, dict) and "file" in given):
        return {"ood": _as_source(given)}
    if isinstance(given, dict):
        return {name: _as_source(source) for name, source in given.items()}
    return given


OneSource = Annotated[Source, BeforeValidator(_as_source, json_schema_input_type=str | Source)]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Sources = Annotated[
    dict[SetName, Source],
    Field(min_length=1),
    BeforeValidator(_as_sets, json_schema_input_type=str | Source | dict[SetName, str | Source]),
]
"""One source, or several by name."""


class Asked(NamedTuple):
    """The questions of a source, and how answers to them are judged."""

    key: str
    source: Source
    questions: list[Question]
    setting: Setting

    def prepared(self, answer: Any) -> Any:
        """Prepare an answer for its verdict; raises ValueError where it cannot be one."""
        return _prepared(self.source.verdict or "exact", json.dumps(answer), self.setting)

    def judge(
        self, answers: Sequence[Any], row: Mapping[str, Any], text: str, prompt: str = ""
    ) -> str:
        """Judge a response to a prompt, without its reasoning: correct, wrong or no_answer.

        Raises only what the user's own Python file raises, as HealscopeError.
        """
        if len(text) > MAX_RESPONSE or not text.strip():
            return NO_ANSWER
        said: str | None = encodable(text)
        if self.source.extract:
            said = last_match(pattern(self.source.extract), said)
            if not (said and said.strip()):
                return NO_ANSWER
        if self.source.own_code:
            return _of_function(self.key, self.source, dict(row), said)
        kind = verdicts.KINDS[self.source.verdict or "exact"]
        setting = self.setting._replace(prompt=_asked(prompt))
        found = [kind.judge(said, self.prepared(answer), setting) for answer in answers]
        if CORRECT in found:
            return CORRECT
        return WRONG if WRONG in found else NO_ANSWER

    def check(self) -> None:
        """Raise HealscopeError if an answer cannot be one, or a response is not judged correct."""
        costly = not self.source.own_code and verdicts.kind(self.source.verdict or "exact").costly
        step = max(1, len(self.questions) // TRIED) if costly else 1
        for number, question in enumerate(self.questions):
            if not self.source.own_code:
                for answer in question.answers:
                    try:
                        self.prepared(answer)
                    except ValueError as error:
                        said = f"is not an answer for verdict {self._name}: {error}"
                        raise self._wrong(question, said) from None
            if question.response and number % step == 0:
                about = question.answers, question.values
                said = self.judge(*about, question.response, question.prompt)
                if said != CORRECT:
                    what = "response" if self.source.response else "answer"
                    raise self._wrong(
                        question, f"is judged {said} by verdict {self._name} itself", what
                    )

    @property
    def _name(self) -> str:
        return self.source.verdict or "exact"

    def _wrong(self, question: Question, said: str, what: str = "answer") -> HealscopeError:
        shown = question.response if what == "response" else question.answers[:1]
        shown = shown[0] if isinstance(shown, tuple) and shown else shown or question.response
        return HealscopeError(
            f"{self.key}: {question.where}: the {what} {str(shown)[:80]!r} {said}; correct the "
            "row, the verdict or extract"
        )


def load(sources: Mapping[str, Source], known: Mapping[str, str]) -> dict[str, Asked]:
    """Read the questions of several sources (key -> source), and check them.

    `known`: their `hashes`. Raises HealscopeError in one sentence, with the file, line and key.
    """
    found = {}
    for key, source in sources.items():
        _check_verdict(key, source)
        try:
            sheet = files.read(source.file, known.get(key))
        except HealscopeError as error:
            raise HealscopeError(f"{key}: {error}") from None
        sheet = _chosen(key, sheet, source.where or {})
        free = source.own_code or source.schema_file is not None
        asked = questions(sheet, source, key, unanswered=free)
        if source.schema_file is not None:
            schema = _schema(key, source.schema_file)
            asked = [question._replace(answers=(schema,)) for question in asked]
        elif not source.own_code and not verdicts.KINDS[source.verdict or "exact"].is_response:
            asked = [_apart(question) for question in asked]
        found[key] = asked
    setting = Setting(_choices(sources, found))
    whole = {key: Asked(key, sources[key], asked, setting) for key, asked in found.items()}
    for asked in whole.values():
        asked.check()
    return whole


def _chosen(key: str, sheet: Sheet, where: Mapping[str, Any]) -> Sheet:
    """Return a sheet with the rows that `where` takes.

    Raises HealscopeError on a row that lacks a field of it, on a value that no row has, and where
    no row has all that is asked for.
    """
    rows = sheet.rows
    for field, given in where.items():
        wanted = {_as_text(value) for value in (given if isinstance(given, list) else [given])}
        for row in sheet.rows:
            if field not in row.values:
                there = ", ".join(map(str, row.values)) or "none"
                raise HealscopeError(
                    f"{key}.where: {sheet.where(row)}: the row lacks the field '{field}', it has "
                    f"{there}; correct the row or the key"
                )
        has = dict.fromkeys(_as_text(row.values[field]) for row in sheet.rows)
        if missing := sorted(wanted - has.keys()):
            shown = ", ".join(list(has)[:SHOWN]) + (", ..." if len(has) > SHOWN else "")
            raise HealscopeError(
                f"{key}.where: field '{field}' of {sheet.source} is never '{missing[0]}'; its "
                f"values are {shown}"
            )
        rows = tuple(row for row in rows if _as_text(row.values[field]) in wanted)
    if not rows:
        raise HealscopeError(
            f"{key}.where: no row of {sheet.source} has all of these values; ask for fewer"
        )
    return dataclasses.replace(sheet, rows=rows)


def _as_text(value: Any) -> str:
    """Return a value of a row or of the config as a file of text has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _asked(prompt: str) -> str:
    """Return what the user says in a prompt, without a system text or earlier answers."""
    said = [message["content"] for message in messages_of(prompt) if message["role"] == "user"]
    return said[-1] if said else ""


def _apart(question: Question) -> Question:
    """Return a question whose answer, a pattern or schema, is not what SFT teaches."""
    same = question.answers and question.response == question.answers[0]
    return question._replace(response="") if same else question


def _choices(sources: Mapping[str, Source], found: Mapping[str, list[Question]]) -> tuple[str, ...]:
    chosen = [key for key, source in sources.items() if source.verdict == "choice"]
    answers = {a for key in chosen for q in found[key] for a in q.answers if isinstance(a, str)}
    return tuple(sorted(answers))


def _check_verdict(key: str, source: Source) -> None:
    name = source.verdict or "exact"
    if not source.own_code and name not in verdicts.KINDS:
        raise HealscopeError(
            f"{key}: there is no verdict '{name}'; there are {', '.join(verdicts.KINDS)}, and a "
            "Python file ends with .py"
        )
    if not source.own_code:
        verdicts.kind(name)
    if source.schema_file is not None and name != "json_schema":
        raise HealscopeError(f"{key}: schema_file is for verdict json_schema, not {name}")
    if source.extract is not None:
        try:
            pattern(source.extract)
        except ValueError as error:
            raise HealscopeError(f"{key}.extract: {error}; correct it") from None


def _schema(key: str, file: str) -> Any:
    try:
        return json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise HealscopeError(f"{key}.schema_file: {file} cannot be read ({said})") from None


@lru_cache(maxsize=20_000)
def _prepared(verdict: str, answer: str, setting: Setting) -> Any:
    return verdicts.KINDS[verdict].prepare(json.loads(answer), setting)


@lru_cache(maxsize=16)
def _function(file: str, key: str, about: tuple[int, int]) -> Callable:  # noqa: ARG001
    return function(file, key)[0]


def _of_function(key: str, source: Source, row: dict, text: str) -> str:
    """Ask the user's function; raises HealscopeError where it fails or says something else."""
    about = Path(source.verdict).expanduser().stat()
    verify = _function(source.verdict, key, (about.st_mtime_ns, about.st_size))
    try:
        said = verify(row, text)
    except Exception as error:
        told = python_file.in_words(error, Path(source.verdict).expanduser().resolve())
        raise HealscopeError(
            f"{key}.verdict: verify of {source.verdict} fails with {told}; it gets whatever a "
            "model writes: correct the file"
        ) from None
    if isinstance(said, bool) or said in (CORRECT, WRONG, NO_ANSWER):
        return {True: CORRECT, False: WRONG}.get(said, said)
    raise HealscopeError(
        f"{key}.verdict: verify of {source.verdict} returns {said!r}, which is neither True, "
        "False, 'correct', 'wrong' nor 'no_answer'; correct the file"
    )
