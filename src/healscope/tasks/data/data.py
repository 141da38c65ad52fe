"""A user's own files as a task: SFT trains on one, others are the ID and the OOD problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from healscope.errors import HealscopeError
from healscope.provenance import fingerprint
from healscope.sections import Natural, Positive
from healscope.tasks.data import rows, sources
from healscope.tasks.data.pool import ID, SFT, Pool, pool, twins_of
from healscope.tasks.data.sources import Asked, OneSource, Source, Sources
from healscope.tasks.posing import Protocol
from healscope.tasks.problem import Problem, Rendering, Side, Split, Verdict
from healscope.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

_KEPT: dict[str, tuple[dict[str, Asked], Pool]] = {}
"""What has been read in this process, by the values and hashes of a section."""
_MOST_KEPT = 8


@dataclass(frozen=True, kw_only=True)
class Data(Task):
    """A user's own files (docs/your-data.md). ID and OOD problems are not paired."""

    family: ClassVar[str] = "data"

    sft: Annotated[
        OneSource | None,
        Field(
            description="examples to train on, a file or {file: ..., and keys that differ from "
            "those below}; null: nothing is trained"
        ),
    ] = None
    id: Annotated[
        OneSource | None,
        Field(description="the ID problems; null: held_out of the instances of sft"),
    ] = None
    ood: Annotated[
        Sources | None,
        Field(
            description="the OOD problems; or several sets, {name: file}; null: none, for a keeper"
        ),
    ] = None
    prompt_field: rows.Prompt = None
    messages: rows.Messages = None
    system: rows.System = None
    answer: rows.Answer = None
    response: rows.Response = None
    verdict_kind: sources.VerdictName = None
    extract: sources.Extract = None
    schema_file: sources.SchemaFile = None
    instance: rows.Instance = None
    group: rows.Group = None
    row_id: rows.RowId = None
    limit: Annotated[
        Positive | None, Field(description="problems of each evaluated set, drawn; null: all")
    ] = None
    train_problems: Annotated[
        Natural, Field(description="problems of sft, drawn, that are evaluated too")
    ] = 200
    near_twins: Annotated[
        Literal["keep", "leave_out"],
        Field(description="evaluated problems that sft has nearly the same of: keep or leave_out"),
    ] = "keep"
    hashes: Annotated[
        dict[str, str] | None,
        Field(description="of the files; filled in, or given to insist on these"),
    ] = None

    keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"prompt_field": "prompt", "verdict_kind": "verdict"}
    )
    rendering: ClassVar[Rendering] = "json"
    mixture: ClassVar[Mapping[str, float]] = MappingProxyType({})
    of_files: ClassVar[bool] = True
    grouped: ClassVar[bool] = True
    dealing_only: ClassVar[tuple[str, ...]] = ("limit", "train_problems")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sft is None and self.id is None:
            raise ValueError(
                f"task {self.name!r}: id: name the file of the ID problems, or name sft, "
                "from which some instances are then held out"
            )
        _ = self._read

    @classmethod
    def completed(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Fill in `hashes`, if the section is valid enough to find its files."""
        try:
            found = {
                "sft": _OPTIONAL.validate_python(section.get("sft")),
                "id": _OPTIONAL.validate_python(section.get("id")),
            }
            found |= _named(_SOURCES.validate_python(section.get("ood")))
            around = {key: section.get(key) for key in AROUND}
            named = {k: source.completed(around) for k, source in found.items() if source}
        except ValidationError:
            return section  # the section itself says what is wrong
        here = {k: v for key, source in named.items() for k, v in source.hashes(key).items()}
        for key, known in (section.get("hashes") or here).items():
            if here.get(key) != known:
                raise HealscopeError(
                    f"hashes.{key}: the file is not what it was when the run began, or not what "
                    f"the config names (it is {here.get(key)}, not {known}); start the run again, "
                    "or correct hashes"
                )
        return {**section, "hashes": here}

    @property
    def trainable(self) -> bool:
        """Whether there is something to train on."""
        return self.sft is not None

    @property
    def one_sided(self) -> bool:
        """Whether there are no OOD problems."""
        return self.ood is None

    @property
    def split_by_files(self) -> bool:
        """Whether a file names the ID problems, not `held_out`."""
        return self.id is not None

    def problems(self, rule: Side) -> Iterable[Problem]:
        return list(self._pool.problems[rule])

    def render(self, problem: Problem) -> str:
        return problem.data["prompt"]

    def verify(self, problem: Problem, text: str) -> Verdict:
        asked, data = self._asked[problem.data["set"]], problem.data
        row, prompt = data.get("row", {}), data["prompt"]
        return self.verdict(asked.judge(data["answers"], row, text, prompt))

    def answers(self, problem: Problem) -> Sequence[str]:
        given = problem.data["answers"]
        same = problem.answer in given  # else SFT teaches more than the answer itself
        return tuple(dict.fromkeys([problem.answer, *(given if same else ())]))

    def group_of(self, problem: Problem) -> str:
        return problem.data["group"]

    def splits(self) -> dict[str, Split]:
        return dict(self._pool.splits)

    def problem_table(self) -> pd.DataFrame:
        """Make the table of evaluated problems, with `train_problems` of those that are trained on.

        Column `twin` names the training example that a problem nearly repeats.
        """
        table = super().problem_table()
        train = table[table["split"] == "train"].drop_duplicates("prompt")
        order = self.stream(102).permutation(len(train))[: self.train_problems]
        kept = set(train["problem_id"].iloc[sorted(order.tolist())])
        table = table[(table["split"] == "held_out") | table["problem_id"].isin(kept)]
        near = {problem.problem_id: self._line(twin) for problem, twin in self._twins}
        return table.assign(twin=table["problem_id"].map(near)).reset_index(drop=True)

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """Pose problems; an instance that both rules share is retried under both."""
        table = super().posed(problems, protocol)
        if protocol.problems != "all":
            return table
        nth = table.groupby(["instance_id", "rule"]).cumcount()
        again = (nth < protocol.retried_orders) & (table["split"] == "held_out")
        return table.assign(retried=again)

    def notes(self) -> list[str]:
        counted = Counter(p.data["set"] for p in self._pool.evaluated())
        held = ", ".join(f"{n} of {key}" for key, n in counted.items())
        lines = [f"{len(self._pool.trained())} examples to train on; evaluated are {held}"]
        twins = Counter(problem.data["set"] for problem, _ in self._twins)
        for key, n in counted.items():
            if twins[key]:
                some = next(pair for pair in self._twins if pair[0].data["set"] == key)
                lines.append(
                    f"{twins[key]} of {n} problems of {key} have a near twin in sft, as "
                    f"{self._line(some[0])} in {self._line(some[1])}; near_twins: leave_out leaves "
                    "them out"
                )
        if self.trainable and not twins:
            lines.append("no evaluated problem has a near twin in sft")
        return [*lines, *self._pool.notes]

    def example(self) -> tuple[str, str] | None:
        first = next(iter(self._pool.trained()), None)
        return first and (self.prompt(first), first.answer)

    def _line(self, problem: Problem) -> str:
        return f"{problem.data['set']}:{problem.data['line']}"

    @property
    def _asked(self) -> dict[str, Asked]:
        return self._read[0]

    @property
    def _pool(self) -> Pool:
        return self._read[1]

    @cached_property
    def _twins(self) -> list[tuple[Problem, Problem]]:
        return twins_of(self._pool)

    @cached_property
    def _read(self) -> tuple[dict[str, Asked], Pool]:
        """Read all files, once for all tasks of the same values and the same bytes."""
        own = {self.keys.get(f.name, f.name): getattr(self, f.name) for f in fields(self)}
        around = {key: own[key] for key in AROUND}
        named = {SFT: self.sft, ID: self.id, **_named(self.ood)}
        found = {key: source.completed(around) for key, source in named.items() if source}
        dealt = [self.held_out, self.limit, self.near_twins, self.seed]
        values = {key: source.model_dump() for key, source in found.items()}
        key = fingerprint([values, self.hashes, dealt])
        if self.hashes is None or key not in _KEPT:
            asked = sources.load(found, self.hashes or {})
            without = self.near_twins == "leave_out"
            made = pool(asked, self.held_out, self.limit, without, self.stream)
            while len(_KEPT) >= _MOST_KEPT:
                _KEPT.pop(next(iter(_KEPT)))
            _KEPT[key] = asked, made
        return _KEPT[key]


AROUND = tuple(sources.Source.model_fields.keys() - {"file", "where"})
"""Keys of a task that its sources may give too."""
_OPTIONAL = TypeAdapter(OneSource | None)
_SOURCES = TypeAdapter(Sources | None)


def _named(ood: Mapping[str, Source] | None) -> dict[str, Source]:
    """Return key -> source of the OOD sets."""
    return {f"ood.{name}": source for name, source in (ood or {}).items()}
