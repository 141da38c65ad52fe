"""Data sets of reasoning-gym as a task: one configuration is the ID rule, others the OOD rule.

reasoning-gym makes the problems and scores answers; nothing that a model writes is executed
(`unfit`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from healscope.errors import HealscopeError
from healscope.sections import Name, Positive
from healscope.tasks.gym import generators, ladder
from healscope.tasks.gym.generators import Configuration, Generator
from healscope.tasks.posing import Protocol
from healscope.tasks.problem import SIDES, Problem, Rendering, Side, Split, Verdict
from healscope.tasks.responses import MAX_RESPONSE
from healscope.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

BEGIN, END = "<answer>", "</answer>"
_NEAR_STREAM = 108  # of random numbers; the task has no other of its own
INSTRUCTION = f"Answer with the final answer alone, between {BEGIN} and {END}."


@dataclass(frozen=True, kw_only=True)
class ReasoningGym(Task):
    """Data sets of reasoning-gym (docs/reasoning-gym.md)."""

    family: ClassVar[str] = "gym"

    id: Annotated[
        Configuration, Field(description="what is trained on, and evaluated on held-out instances")
    ] = field(hash=False)
    ood: Annotated[
        dict[Name, Configuration],
        Field(min_length=1, description="name -> what is only evaluated, each a group of problems"),
    ] = field(hash=False)
    generated: Annotated[
        Positive, Field(description="problems drawn of each configuration; repeats are left out")
    ] = 500
    instance: Annotated[
        tuple[str, ...],
        Field(
            description="keys of reasoning-gym's metadata whose values make an instance, under "
            "both rules; none: the question, and rules share no instance"
        ),
    ] = ()
    tags: Annotated[
        bool,
        Field(
            description="prompts ask for the answer between <answer> and </answer>, and answers "
            "have these; false: the question alone, and the answer alone"
        ),
    ] = True
    code: Annotated[
        str | None,
        Field(description="version of reasoning-gym; filled in, or given to insist on it"),
    ] = None

    rendering: ClassVar[Rendering] = "json"
    grouped: ClassVar[bool] = True
    problems_of: ClassVar[tuple[str, ...]] = ("all", "drawn", "neighbours")

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self._check()
        except HealscopeError as error:
            raise ValueError(f"task {self.name!r}: {error}") from None

    def _check(self) -> None:
        if self.id.dataset is None:
            raise HealscopeError("id.dataset: name a data set of reasoning-gym")
        if taken := {"id", ladder.ANCHOR} & set(self.ood):
            raise HealscopeError(f"ood.{min(taken)}: this name is taken; give the group another")
        own = self._configured("id")
        for name in self.ood:
            if self._configured(name) == own:
                raise HealscopeError(
                    f"ood.{name}: this is the configuration of id; change an option or the data set"
                )
            try:
                self._generator(name)
            except HealscopeError as error:
                raise HealscopeError(f"ood.{name}.{error}") from None
        try:
            self._generator("id")
        except HealscopeError as error:
            raise HealscopeError(f"id.{error}") from None

    @classmethod
    def completed(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Fill in `code`: the version of reasoning-gym."""
        here = f"reasoning-gym {generators.version()}"
        if section.get("code") not in (None, "", here):
            raise HealscopeError(
                f"code: {here} is installed, and the config names {section['code']}; install that "
                "version, or correct code"
            )
        return {**section, "code": here}

    def problems(self, rule: Side) -> Iterable[Problem]:
        """Yield the problems of one rule; a question that was asked before is left out."""
        others = self.problems("id") if rule == "ood" else ()
        asked = {_plain(problem.data["question"]) for problem in others}
        parts: Counter[str] = Counter()
        for group in ["id"] if rule == "id" else self.ood:
            for index in range(self.generated):
                found = self.posing(group, index, rule)
                if _plain(found.data["question"]) not in asked:
                    asked.add(_plain(found.data["question"]))
                    instance = found.instance_id
                    yield Problem(instance, rule, found.data, found.answer, parts[instance])
                    parts[instance] += 1

    def posing(self, group: str, index: int, rule: Side) -> Problem:
        """Return problem `index` of a group: "id", a name in `ood`, or a step of the ladder."""
        entry = self._generator(group)[index]
        data = {"group": group, "index": index, "question": entry["question"]}
        answer = entry["answer"].strip()
        return Problem(
            self._instance(group, entry), rule, data, f"{BEGIN}{answer}{END}" * self.tags or answer
        )

    def render(self, problem: Problem) -> str:
        question = problem.data["question"].strip()
        return f"{question}\n\n{INSTRUCTION}" if self.tags else question

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Judge a response: correct is what reasoning-gym gives a score of 1."""
        said = self._said(text)
        if said is None:
            return self.verdict("no_answer")._replace(score=0.0)
        score = self._score(problem, said)
        return self.verdict("correct" if score == 1 else "wrong")._replace(score=score)

    def progress(self, problem: Problem, text: str) -> float:
        """Return reasoning-gym's score of an answer that is not correct."""
        said = self._said(text)
        return 0.0 if said is None else self._score(problem, said)

    def group_of(self, problem: Problem) -> str:
        return problem.data["group"]

    def canonical(self, problem: Problem, text: str) -> bool:
        return self._said(text) == self._said(problem.answer)

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """Pose problems; those of kind "neighbours" are what `near` yields."""
        if protocol.problems == "neighbours":
            return ladder.posed(self, list(self.near(protocol.per_kind, protocol.seed)))
        return super().posed(problems, protocol)

    def near(self, per_kind: int, seed: int) -> Iterator[tuple[str, int, list[Problem]]]:
        """Yield kind, distance, and at most `per_kind` problems that are not on the training side.

        Kinds are `ladder.ANCHOR` (held-out ID problems), the groups of `ood`, and the attributes of
        the curriculum at each distance. A longer list begins with a shorter one.
        """

        def some(problems: Iterable[Problem]) -> list[Problem]:
            kept = [p for p in problems if self._held_out(p)]
            order = self.stream(_NEAR_STREAM, seed).permutation(len(kept))[:per_kind]
            return [kept[i] for i in order]

        yield ladder.ANCHOR, 0, some(self.listed("id"))
        for group in self.ood:
            own = [p for p in self.listed("ood") if p.data["group"] == group]
            yield group, self.distance(group), some(own)
        asked = {_plain(p.data["question"]) for p in self.listed("id")}
        for number, step in enumerate(self.steps.values(), 1):
            found: dict[str, Problem] = {}
            for index in range(self.generated):
                if len(found) == per_kind:
                    break
                problem = self._of_step(step, number, index)
                question = _plain(problem.data["question"])
                if self._held_out(problem) and question not in asked:
                    found.setdefault(question, problem)
            if found:
                yield step.attribute, step.distance, list(found.values())

    def notes(self) -> list[str]:
        """Say how many problems of each configuration are left once repeats are left out."""
        left = Counter(p.data["group"] for rule in SIDES for p in self.listed(rule))
        told = ", ".join(f"{left[group]} of {group}" for group in ("id", *self.ood))
        return [f"of {self.generated} problems drawn of each configuration no repeat: {told}"]

    def example(self) -> tuple[str, str]:
        first = self.listed("id")[0]
        return self.prompt(first), first.answer

    @property
    def neighbour_lists(self) -> int:
        """Count the kinds and distances of `ladder.posed`."""
        return 1 + len(self.ood) + len(self.steps)

    @cached_property
    def steps(self) -> dict[str, ladder.Step]:
        """The steps of the ladder, by the name of their group."""
        dataset, options = self._configured("id")
        return {step.group: step for step in ladder.steps(dataset, options)}

    def distance(self, group: str) -> int:
        """Return how far a group in `ood` is from ID, in levels of the curriculum; see `ladder`."""
        return ladder.distance(self._configured("id"), self._configured(group))

    def _held_out(self, problem: Problem) -> bool:
        return self._splits.get(problem.instance_id, "held_out") == "held_out"

    @cached_property
    def _splits(self) -> dict[str, Split]:
        return self.splits()

    def _of_step(self, step: ladder.Step, number: int, index: int) -> Problem:
        """Return problem `index` of step `number`, with a part that no other problem has."""
        made, part = self.posing(step.group, index, "ood"), number * self.generated + index
        return Problem(made.instance_id, "ood", made.data, made.answer, part)

    def _said(self, text: str) -> str | None:
        """Return the answer that a response gives, or None."""
        if len(text) > MAX_RESPONSE or not text.strip():
            return None
        if END in text and BEGIN in text:
            from reasoning_gym.utils import extract_answer

            found = extract_answer(text)
            return found or None
        return None if self.tags else text.strip()

    def _score(self, problem: Problem, said: str) -> float:
        group, index = problem.data["group"], problem.data["index"]
        made = self._generator(group)
        if made[index]["question"] != problem.data["question"]:
            raise HealscopeError(
                f"task {self.name}: problem {index} of {group} is not what it was when the "
                f"problems were listed; delete results/tasks/{self.name} and rerun"
            )
        return made.score(index, said)

    def _instance(self, group: str, entry: Mapping[str, Any]) -> str:
        if not self.instance:
            return f"{group}:{_digest(_plain(entry['question']))}"
        if missing := [key for key in self.instance if key not in entry["metadata"]]:
            raise HealscopeError(
                f"task {self.name}: instance: '{missing[0]}' is not in the metadata of "
                f"{self._configured(group)[0]}; there are {', '.join(entry['metadata'])}"
            )
        values = [entry["metadata"][key] for key in self.instance]
        return _digest(json.dumps(values, sort_keys=True, default=str))

    def _configured(self, group: str) -> tuple[str, dict[str, Any]]:
        """Return the data set of a group, and its options."""
        if group == "id":
            return self.id.dataset, self.id.options
        if group not in self.ood:
            return self.id.dataset, self.steps[group].options
        own = self.ood[group]
        if own.dataset in (None, self.id.dataset):
            return self.id.dataset, {**self.id.options, **own.options}
        return own.dataset, own.options

    def _generator(self, group: str) -> Generator:
        return generators.generator(*self._configured(group), self.seed, self.generated)


def _plain(question: str) -> str:
    return " ".join(question.split())


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]
