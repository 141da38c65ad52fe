"""The problems of a task whose rows are in files: instances, hold-out, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from healscope.errors import HealscopeError
from healscope.tasks.data.rows import Question
from healscope.tasks.data.sources import Asked
from healscope.tasks.data.twins import near_twins
from healscope.tasks.problem import Problem, Side, Split

if TYPE_CHECKING:
    import numpy as np

SFT, ID = "sft", "id"
"""Keys of the sources that are not OOD; those of OOD are "ood.NAME"."""

Draw = Callable[[int], "np.random.Generator"]
"""Number of a purpose -> generator."""


@dataclass
class Pool:
    """Problems by rule, the split of each instance, and what a user should know of them."""

    problems: dict[Side, list[Problem]] = field(default_factory=lambda: {"id": [], "ood": []})
    splits: dict[str, Split] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def trained(self) -> list[Problem]:
        return [p for p in self.problems["id"] if self.splits.get(p.instance_id) == "train"]

    def evaluated(self) -> list[Problem]:
        """Problems that are not trained on, of both rules."""
        held = [p for p in self.problems["id"] if self.splits.get(p.instance_id) != "train"]
        return [*held, *self.problems["ood"]]


def pool(
    asked: Mapping[str, Asked], held_out: float, limit: int | None, without_twins: bool, draw: Draw
) -> Pool:
    """Make the problems of all sources.

    Rows of one instance are on one side: training rows of an instance that is evaluated are left
    out. Where no source is ID, `held_out` of the other instances of SFT are. Raises HealscopeError
    where nothing is left to train on.
    """
    found = Pool()
    rows = _with_instances(asked)
    evaluated = {key: _once(key, asked[key], rows[key], found) for key in rows if key != SFT}
    if SFT in rows:
        rows[SFT] = _split(rows[SFT], evaluated, held_out, found, draw, asked[SFT])
    elif ID in rows:
        found.splits |= {instance: "held_out" for instance, _ in evaluated[ID]}
    parts: Counter[str] = Counter()
    order = [key for key in (SFT, ID) if key in rows] + [k for k in rows if k not in (SFT, ID)]
    for key in order:
        own = rows[SFT] if key == SFT else evaluated[key]
        rule: Side = "id" if key in (SFT, ID) else "ood"
        for instance, question in own:
            name = key if found.splits.get(instance) == "train" or key != SFT else ID
            problem = _problem(key, name, asked[key], instance, question, rule, parts[instance])
            parts[instance] += 1
            found.problems[rule].append(problem)
    if without_twins:
        _leave_out(found, {p.problem_id for p, _ in twins_of(found)}, "a near twin in training")
    if limit is not None:
        _leave_out(found, _beyond(found, limit, draw), f"limit: {limit}")
    _note_shared_prompts(found)
    return found


def twins_of(found: Pool) -> list[tuple[Problem, Problem]]:
    """Return every evaluated problem that has a near twin in training, with that twin."""
    evaluated, trained = found.evaluated(), found.trained()
    if not trained:
        return []
    places = near_twins(*([p.data["prompt"] for p in some] for some in (evaluated, trained)))
    pairs = zip(evaluated, places, strict=True)
    return [(problem, trained[place]) for problem, place in pairs if place is not None]


Rows = list[tuple[str, Question]]
"""Instance of each question, and the question."""


def _with_instances(asked: Mapping[str, Asked]) -> dict[str, Rows]:
    """Name the instance of every question: its own label, else the first row with its prompt."""
    first: dict[str, str] = {}
    found: dict[str, Rows] = {}
    for key, source in asked.items():
        found[key] = []
        for question in source.questions:
            name = question.instance
            if name is None:
                name = first.setdefault(question.prompt, f"{key}:{question.line}")
            found[key].append((name, question))
    return found


def _once(key: str, asked: Asked, rows: Rows, found: Pool) -> Rows:
    """Drop rows that repeat a prompt of their file; raises HealscopeError if answers differ."""
    seen: dict[str, Question] = {}
    kept: Rows = []
    for instance, question in rows:
        first = seen.setdefault(question.prompt, question)
        if first is question:
            kept.append((instance, question))
        elif first.answers != question.answers and not asked.source.own_code:
            raise HealscopeError(
                f"{key}: {question.where}: the prompt is the same as in line {first.line}, but the "
                "answer differs; make it one row, with a list of answers where several are right"
            )
    if repeated := len(rows) - len(kept):
        found.notes.append(f"{key}: {repeated} rows repeat an earlier row of their file: left out")
    return kept


def _split(
    trained: Rows,
    evaluated: Mapping[str, Rows],
    held_out: float,
    found: Pool,
    draw: Draw,
    asked: Asked,
) -> Rows:
    """Decide the split of the instances of SFT and of ID; return the examples that are kept."""
    hidden = {instance for own in evaluated.values() for instance, _ in own}
    kept = [(instance, question) for instance, question in trained if instance not in hidden]
    free = list(dict.fromkeys(instance for instance, _ in kept))
    if left_out := len(trained) - len(kept):
        found.notes.append(
            f"{SFT}: {left_out} of {len(trained)} examples are not trained on: their instance (or "
            "prompt) is evaluated too"
        )
    if not free:
        raise HealscopeError(
            f"{SFT}: {asked.source.file} has no example whose instance is not evaluated too; give "
            "it others"
        )
    held: set[str] = set()
    if ID in evaluated:
        found.splits |= {instance: "held_out" for instance, _ in evaluated[ID]}
    else:
        named, order = sorted(free), draw(1).permutation(len(free))
        held = {named[i] for i in order[: round(held_out * len(free))].tolist()}
    found.splits |= {instance: "held_out" if instance in held else "train" for instance in free}
    return kept


def _problem(
    key: str, name: str, asked: Asked, instance: str, question: Question, rule: Side, part: int
) -> Problem:
    group = name.removeprefix("ood.")
    group = group if question.group is None else f"{group}/{question.group}"
    data: dict[str, Any] = {
        "set": key,
        "line": question.line,
        "group": group,
        "prompt": question.prompt,
        "answers": list(question.answers),
    }
    if asked.source.own_code:
        data["row"] = dict(question.values)
    return Problem(instance, rule, data, question.response, part)


def _beyond(found: Pool, limit: int, draw: Draw) -> set[str]:
    """Return the ids of evaluated problems that are not among `limit` drawn ones of their set."""
    sets: dict[str, list[Problem]] = {}
    for problem in found.evaluated():
        sets.setdefault(problem.data["set"], []).append(problem)
    beyond: set[str] = set()
    for number, own in enumerate(sets.values()):
        order = draw(200 + number).permutation(len(own))
        beyond |= {own[i].problem_id for i in order[limit:].tolist()}
    return beyond


def _leave_out(found: Pool, gone: Iterable[str], why: str) -> None:
    gone = set(gone)
    if gone:
        found.notes.append(f"{len(gone)} evaluation problems are left out: {why}")
    for rule, problems in found.problems.items():
        found.problems[rule] = [p for p in problems if p.problem_id not in gone]


def _note_shared_prompts(found: Pool) -> None:
    held = {p.data["prompt"] for p in found.evaluated() if p.rule == "id"}
    shared = sum(p.data["prompt"] in held for p in found.problems["ood"])
    if shared:
        found.notes.append(
            f"{shared} OOD problems have the prompt of an ID problem: they are asked under both"
        )
