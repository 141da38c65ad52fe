"""A text as a keeper: a model is asked how probable its passages are, and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import Field

from healscope.errors import HealscopeError
from healscope.sections import Positive
from healscope.tasks.data import files
from healscope.tasks.problem import Option, Problem, Rendering, Score, Side, Verdict
from healscope.tasks.task import Task

MEASURED = "measured"
"""Outcome of a passage: it is neither right nor wrong."""

_FOUND = re.compile(r"(-?\d{1,20}\.\d{1,20}) nats, (\d{1,9}) tokens")


@dataclass(frozen=True, kw_only=True)
class Text(Task):
    """A text whose perplexity is measured; a keeper alone (docs/keepers.md)."""

    family: ClassVar[str] = "text"

    file: Annotated[
        str, Field(min_length=1, description="a text in UTF-8; empty lines end its paragraphs")
    ]
    characters: Annotated[
        Positive,
        Field(description="of a passage at most, which is as many whole paragraphs as fit"),
    ] = 1000
    limit: Annotated[Positive | None, Field(description="passages, drawn; null: all")] = None
    hash: Annotated[
        str | None, Field(description="of the file; filled in, or given to insist on it")
    ] = None

    outcomes: ClassVar[Mapping[str, float]] = MappingProxyType(
        {"correct": 0.0, "wrong": 0.0, "no_answer": 0.0, MEASURED: 0.0}
    )
    rendering: ClassVar[Rendering] = "json"
    held_out: ClassVar[float] = 1.0
    rewards: ClassVar[Mapping[str, float]] = MappingProxyType({})
    mixture: ClassVar[Mapping[str, float]] = MappingProxyType({})
    trainable: ClassVar[bool] = False
    one_sided: ClassVar[bool] = True
    of_files: ClassVar[bool] = True
    chat_template: ClassVar[bool] = False
    dealing_only: ClassVar[tuple[str, ...]] = ("characters", "limit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self._passages) < 2:
            raise ValueError(
                f"task {self.name!r}: {self.file} is one passage of at most {self.characters} "
                "characters, and an interval needs several; name a longer text, or lower characters"
            )

    @classmethod
    def completed(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Fill in `hash`, if the section names a file."""
        if not isinstance(section.get("file"), str) or not section["file"]:
            return section
        here, known = files.digest(section["file"]), section.get("hash")
        if known not in (None, here):
            raise HealscopeError(
                f"hash: {section['file']} is not what it was when the run began, or not what the "
                f"config names (it is {here}, not {known}); start the run again, or correct hash"
            )
        return {**section, "hash": here}

    def problems(self, rule: Side) -> Iterable[Problem]:
        if rule == "ood":
            return []
        passages = self._passages
        order = self.stream(100).permutation(len(passages))[: self.limit].tolist()
        found = []
        for n in sorted(order):
            line, passage = passages[n]
            found.append(Problem(f"passage-{n + 1}", "id", {"line": line, "text": passage}, ""))
        return found

    def render(self, problem: Problem) -> str:
        return problem.data["text"]

    def options(self, problem: Problem) -> Sequence[Option]:
        return [Option("", "", problem.data["text"])]

    def chosen(self, problem: Problem, scores: Sequence[Score]) -> str:  # noqa: ARG002
        """Return how probable the passage is, as `verify` reads it."""
        ((logprob, _, tokens),) = scores
        return f"{logprob:.12f} nats, {tokens} tokens"

    def verify(self, problem: Problem, text: str) -> Verdict:  # noqa: ARG002
        found = _FOUND.fullmatch(text)
        if not found or not int(found[2]):
            return self.verdict("no_answer")
        said = self.verdict(MEASURED)
        return said._replace(logprob=float(found[1]), tokens=int(found[2]))

    def notes(self) -> list[str]:
        longest = max(len(text) for _, text in self._passages)
        asked = len(self.listed("id"))
        return [f"{asked} of {len(self._passages)} passages, of at most {longest} characters"]

    @cached_property
    def _passages(self) -> tuple[tuple[int, str], ...]:
        return _passages(self.file, self.characters, self.hash or files.digest(self.file))


@lru_cache(maxsize=16)
def _passages(file: str, most: int, known: str) -> tuple[tuple[int, str], ...]:  # noqa: ARG001
    """Return (line, passage) of a file, once for the same bytes."""
    found = tuple(passages(files.text(file), most))
    if not found:
        raise HealscopeError(f"file: {file} has no text; name another file")
    return found


def passages(text: str, most: int) -> Iterator[tuple[int, str]]:
    """Cut a text into passages of at most `most` characters; yield the line where each begins, and
    the passage.

    A passage is as many paragraphs as fit, with an empty line between them. A paragraph that is
    longer is cut at white space, or where there is none, anywhere.
    """
    begun, held = 0, ""
    for line, piece in _pieces(text, most):
        longer = f"{held}\n\n{piece}" if held else piece
        if len(longer) <= most:
            begun, held = begun if held else line, longer
            continue
        yield begun, held
        begun, held = line, piece
    if held:
        yield begun, held


def _pieces(text: str, most: int) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each paragraph, of a long one in parts."""
    lines = [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]
    begun = 0
    for number, line in enumerate(lines):
        if line.strip():
            continue
        paragraph, at, start = "\n".join(lines[begun:number]).rstrip(), begun + 1, 0
        begun = number + 1
        while start < len(paragraph):
            head = paragraph[start : start + most + 1]
            cut = max(head.rfind(space) for space in " \t\n") if len(head) > most else len(head)
            end = start + (cut if cut > 0 else most)
            if piece := paragraph[start:end].rstrip():
                yield at, piece
            while end < len(paragraph) and paragraph[end].isspace():
                end += 1
            at += paragraph.count("\n", start, end)
            start = end
