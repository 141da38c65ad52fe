"""The base class of rank and determinant: tasks that ask for one integer about a matrix.

In rendering json the answer is an integer in the field "answer". In rendering compact it has three
lines: the matrix once more, a line of working, and the integer.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from healscope.sections import Natural, Positive
from healscope.tasks.matrices.arithmetic import Matrix, Size, as_text, as_words
from healscope.tasks.problem import (
    EVALUATION_FORMAT,
    FORMATS,
    SIDES,
    Feedback,
    Problem,
    Side,
    Verdict,
)
from healscope.tasks.responses import (
    MAX_RESPONSE,
    REASONING,
    Marks,
    agreed,
    fields,
    holding,
    is_template,
    read,
    spoken,
)
from healscope.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np

LARGEST_WORD = 999
"""A model of the compact rendering has a word for every number up to its largest."""
_MATRICES = 100  # stream of random numbers

_MAX_DIGITS = 18
"""A longer integer is no answer."""
_INTEGER = re.compile(rf"([-+]?[0-9]{{1,{_MAX_DIGITS}}})(?:\.0+)?")
_WORD = re.compile(rf"[-+]?[0-9]{{1,{_MAX_DIGITS}}}")  # of a compact answer
_WORDS = re.compile("[a-zA-Z]{2,}")
# As released: \d is any Unicode digit, and a fraction's numerator counts.
_RELEASED_FIELD = re.compile(rf'"answer"\s{{0,32}}:\s{{0,32}}(-?\d{{1,{_MAX_DIGITS}}})')
_RELEASED_ANYWHERE = re.compile(rf"-?\d{{1,{_MAX_DIGITS}}}")

_JSON_FORMATS = MappingProxyType(
    {
        "fA": "Answer with the integer and nothing else.",
        "fB": "Answer with a line that names what was asked for, and the integer.",
        "fC": "Answer with a sentence.",
        "fG": 'Answer with the key "answer" of a JSON object.',
        EVALUATION_FORMAT: "Answer with valid JSON of this form and nothing else:\n"
        '{"answer": an integer}',
    }
)
"""What a JSON prompt asks for; those beside the evaluation's are for models from scratch."""


@dataclass(frozen=True, kw_only=True)
class MatrixTask(Task):
    """A task that asks for an integer about a matrix."""

    id: Size
    ood: Size
    matrices: Annotated[Positive, Field(description="of each rule, all different")] = 1000
    verifier: Annotated[
        Literal["corrected", "reference"],
        Field(
            description="reference: without an answer field the first integer anywhere is the "
            "answer, and ranks are compared modulo 1000, as in the released code"
        ),
    ] = "corrected"
    grade_work: Annotated[
        bool, Field(description="of rendering compact: true grades the line of working too")
    ] = False
    held_out: Annotated[
        float, Field(gt=0, lt=1, description="share of ID matrices kept from SFT and RL")
    ] = 0.4
    seed: Annotated[Natural, Field(description="draws the matrices and the hold-out")] = 0

    outcomes: ClassVar[Mapping[str, float]] = MappingProxyType(
        {"correct": 5.0, "wrong_value": -1.0, "wrong_work": -1.0, "no_answer": -1.0}
    )
    rule_kinds: ClassVar[Mapping[str, float]] = MappingProxyType({"id": 0.5, "ood": 0.5})
    wrong: ClassVar[str] = "wrong_value"
    judging_only: ClassVar[tuple[str, ...]] = ("rewards", "mixture", "verifier", "reasoning")
    dealing_only: ClassVar[tuple[str, ...]] = ("held_out",)
    noun: ClassVar[str]
    """Name of the integer in texts, and first word of the last compact line."""
    work_name: ClassVar[str]
    """First word of the compact line of working."""
    wordings: ClassVar[Sequence[str]]
    """Ways to ask for it in English, the standard one first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"task {self.name!r}"
        if self.id == self.ood:  # as in two released configs
            raise ValueError(
                f"{where}: ood is the same as id ({self.id}): nothing would be out of "
                "distribution; change its rows, columns, low or high"
            )
        if self.rendering == "compact" and self.verifier == "reference":
            raise ValueError(
                f"{where}: verifier 'reference' reads JSON: set rendering: json, or corrected"
            )
        if self.rendering == "json" and self.grade_work:
            raise ValueError(
                f"{where}: grade_work: answers of rendering json have no working: set it to false"
            )
        if self.rendering == "compact" and self.largest_number > LARGEST_WORD:
            raise ValueError(
                f"{where}: rendering compact would need words for numbers up to "
                f"{self.largest_number}, which is more than {LARGEST_WORD}; use smaller matrices "
                "or entries, or rendering json"
            )

    # What the two tasks implement.

    @abstractmethod
    def matrices_of(self, rule: Side, rng: np.random.Generator, taken: set[Matrix]) -> list[Matrix]:
        """Draw the matrices of one rule, in the order of their problems, and add them to `taken`.

        Matrices in `taken` are not drawn again. Raises ValueError if there are too few.
        """

    @abstractmethod
    def fresh(self, rule: Side, rng: np.random.Generator) -> Matrix:
        """Draw any matrix of one rule."""

    @abstractmethod
    def value(self, matrix: Matrix) -> int:
        """Return the integer that is asked for, exactly."""

    @abstractmethod
    def work(self, matrix: Matrix) -> str:
        """Return the line of working of a compact answer, without its first word."""

    @property
    @abstractmethod
    def largest_number(self) -> int:
        """A bound on the absolute values of all numbers that compact texts can hold."""

    def agrees(self, answer: int, value: int) -> bool:
        """Return whether an answer is right."""
        return answer == value

    def size(self, rule: Side) -> Size:
        """Return the size of the matrices of one rule."""
        return self.id if rule == "id" else self.ood

    # What is the same for both.

    def problems(self, rule: Side) -> Sequence[Problem]:
        """Return a problem for each matrix; no matrix is under both rules."""
        return self._problems[rule]

    def draw(self, kind: str, rng: np.random.Generator) -> Problem:
        """Draw a fresh matrix, so that a base model learns to calculate and not a list."""
        return self._problem(kind, self.fresh(kind, rng))

    def render(self, problem: Problem) -> str:
        if self.rendering == "compact":
            return f"{self.noun} {self._stated(problem)}"
        return self._json_prompt(problem, self.wordings[0], EVALUATION_FORMAT)

    def prompt(self, problem: Problem, format_token: str = EVALUATION_FORMAT) -> str:
        if self.rendering == "compact":
            return super().prompt(problem, format_token)
        return self._json_prompt(problem, self.wordings[0], format_token)

    def paraphrases(self, problem: Problem) -> Sequence[str]:
        """Return prompts in other words; compact ones arrange and repeat the same words."""
        if self.rendering == "json":
            return [self._json_prompt(problem, w, EVALUATION_FORMAT) for w in self.wordings]
        matrix, noun = self._stated(problem), self.noun
        orders = (f"{noun} {matrix}", f"{matrix} {noun}", f"{noun} matrix {matrix}")
        return [f"{order} {EVALUATION_FORMAT}" for order in (*orders, f"matrix {matrix} {noun}")]

    def layout(self, problem: Problem, answer: str, format_token: str) -> str:  # noqa: ARG002
        """Shorten an answer to the line of the integer (fA), with the working (fB) or the matrix
        (fC) before it."""
        if self.rendering == "json":
            value = json.loads(answer)["answer"]
            plain = {
                "fA": str(value),
                "fB": f"{self.noun}: {value}",
                "fC": f"The {self.noun} of the matrix is {value}.",
            }
            return plain.get(format_token, answer)
        matrix, work, value = self._lines(answer)
        lines = {"fA": [value], "fB": [work, value], "fC": [matrix, value]}
        return " ".join(lines.get(format_token, [matrix, work, value]))

    def answer_in(self, text: str) -> str:
        return text if self.verifier == "reference" else super().answer_in(text)

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Judge a response. `follows_rule` says whether the working of a compact answer is right;
        it is None in JSON, which has no working."""
        if self.rendering == "compact":
            return self._verify_compact(problem, text)
        answer = read_integer(text, self.verifier, self.reasoning)
        if answer is None:
            return self.verdict("no_answer")
        right = self.agrees(answer, problem.data["value"])
        return self.verdict("correct" if right else "wrong_value")

    def hint(self, problem: Problem, text: str) -> Feedback:
        """Say which part is missing or wrong, but not what would be right."""
        outcome = self.verify(problem, text).outcome
        if self.rendering == "compact":
            said = {"no_answer": "invalid", "wrong_work": self.work_name}
            return Feedback(said.get(outcome, self.noun))
        if outcome == "no_answer":
            return Feedback('It has no integer in the field "answer".')
        answer = read_integer(text, self.verifier, self.reasoning)
        return Feedback(f"The {self.noun} of this matrix is not {answer}.")

    def progress(self, problem: Problem, text: str) -> float:
        """Return the share of the reference answer that a compact answer begins with; 0 in JSON."""
        return super().progress(problem, text) if self.rendering == "compact" else 0.0

    def canonical(self, problem: Problem, text: str) -> bool:
        """Return True for every correct JSON answer: there is only one integer to give."""
        return self.rendering == "json" or super().canonical(problem, text)

    def words(self) -> Sequence[str]:
        most = self.largest_number
        names = ("matrix", self.work_name, self.noun)
        return [*map(str, range(-most, most + 1)), *names, *FORMATS, "again", "wrong", "invalid"]

    @cached_property
    def _problems(self) -> dict[str, list[Problem]]:
        taken: set[Matrix] = set()
        found: dict[str, list[Problem]] = {}
        for number, side in enumerate(SIDES):
            matrices = self.matrices_of(side, self.stream(_MATRICES, number), taken)
            times: Counter[Matrix] = Counter()
            found[side] = []
            for matrix in matrices:
                found[side].append(self._problem(side, matrix, times[matrix]))
                times[matrix] += 1
        return found

    def _problem(self, rule: Side, matrix: Matrix, before: int = 0) -> Problem:
        """Pose a matrix; one that was posed `before` times becomes another instance each time."""
        value = self.value(matrix)
        if self.rendering == "json":
            answer = json.dumps({"answer": value})
        else:
            lines = ("matrix", as_words(matrix)), (self.work_name, self.work(matrix))
            answer = " ".join(f"{name} {line}" for name, line in (*lines, (self.noun, value)))
        instance = ";".join(",".join(map(str, row)) for row in matrix)
        if before:
            instance = f"{instance}#{before + 1}"
        data = {"matrix": [list(row) for row in matrix], "value": value}
        return Problem(instance, rule, data, answer)

    def _json_prompt(self, problem: Problem, wording: str, format_token: str) -> str:
        matrix = problem.data["matrix"]
        return (
            f"[Task Description]\n{wording}\n\n"
            f"[Input]\nMatrix with {len(matrix)} rows and {len(matrix[0])} columns:\n"
            f"{as_text(matrix)}\n\n"
            f"[Output]\n{_JSON_FORMATS[format_token]}"
        )

    def _stated(self, problem: Problem) -> str:
        """Write the numbers of rows and columns, and all entries row by row."""
        matrix = problem.data["matrix"]
        return f"{len(matrix)} {len(matrix[0])} {as_words(matrix)}"

    def _lines(self, answer: str) -> tuple[str, str, str]:
        """Split a compact answer into its three lines."""
        before, _, value = answer.partition(f" {self.noun} ")
        matrix, _, work = before.partition(f" {self.work_name} ")
        return matrix, f"{self.work_name} {work}", f"{self.noun} {value}"

    def _verify_compact(self, problem: Problem, text: str) -> Verdict:
        """Judge a compact response.

        Its layout is the matrix as it was given, a working of as many words as the right one, and
        one integer.
        """
        wanted = problem.answer.split()
        words = text.split() if len(text) <= MAX_RESPONSE else []
        matrix, work = wanted.index(self.work_name), len(wanted) - 2
        names = {0, matrix, work}
        if (
            len(words) != len(wanted)
            or words[: matrix + 1] != wanted[: matrix + 1]
            or words[work] != wanted[work]
            or not all(_WORD.fullmatch(w) for i, w in enumerate(words) if i not in names)
        ):
            return self.verdict("no_answer", follows_rule=False)
        follows = words[:work] == wanted[:work]
        if self.grade_work and not follows:
            return self.verdict("wrong_work", follows_rule=False)
        right = self.agrees(int(words[-1]), problem.data["value"])
        return self.verdict("correct" if right else "wrong_value", follows_rule=follows)


def read_integer(
    text: str, verifier: str = "corrected", reasoning: Sequence[Marks] = REASONING
) -> int | None:
    """Return the integer that a JSON response answers, or None. Never raises on any `text`.

    "corrected": what stands in the field "answer" of the last JSON object after the reasoning
    (`responses.spoken`), or where there is none (a truncated end) of the fields that the text
    holds. An integer, -8.0 too, or a string of ASCII digits; where answers differ there is none.
    "reference", as released: the field's value as Python reads an integer, else the first
    `"answer": integer` of the text, else its first integer. Integers of more than 18 digits are
    none; the released code reads any.
    """
    if verifier != "reference":
        text = spoken(text, reasoning)
    if len(text) > MAX_RESPONSE:
        return None
    if verifier == "reference":
        return _released(text)
    objects, rest = read(text)
    found = [value for members in holding(objects, "answer") for value in members.of("answer")]
    last = agreed(found or fields(rest, "answer"), _key, _is_template)
    return _integer(last)


def _integer(value: object) -> int | None:
    if type(value) is str and (match := _INTEGER.fullmatch(value.strip())):
        return int(match[1])
    whole = type(value) is int and abs(value) < 10**_MAX_DIGITS  # a bool is an int to isinstance
    return value if whole else None


def _key(value: object) -> object:
    """Return a key that is equal for equal answers; text differs from every integer."""
    number = _integer(value)
    return repr(value) if number is None else number


def _is_template(value: object) -> bool:
    """Return whether a value describes the answer in words, or is a placeholder."""
    return isinstance(value, str) and (bool(_WORDS.search(value)) or is_template(value))


def _released(text: str) -> int | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    value = found.get("answer") if isinstance(found, dict) else None
    if type(value) in (int, str) and len(str(value)) <= _MAX_DIGITS:
        try:
            return int(str(value).strip())
        except ValueError:
            pass
    match = _RELEASED_FIELD.search(text)
    if match:
        return int(match[1])
    anywhere = _RELEASED_ANYWHERE.search(text)
    return int(anywhere[0]) if anywhere else None
