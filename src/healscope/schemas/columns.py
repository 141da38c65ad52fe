"""What a table and a column are, and short ways to write the common ones."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from healscope import artifacts

ARROW = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "strings": pa.list_(pa.string()),
    "ints": pa.list_(pa.int64()),
    "floats": pa.list_(pa.float64()),
}
"""Kind of a column -> its type in the file."""


@dataclass(frozen=True)
class Column:
    """One column; `allowed`, `low` and `high` hold for each element of a list.

    `kind` is one of ARROW, `unit` is empty where there is none. A float is finite; NaN is a missing
    value, which only a `nullable` column may hold.
    """

    name: str
    kind: str
    about: str
    unit: str = ""
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    nullable: bool = False

    @property
    def limits(self) -> str:
        """What a value may be, in words; empty where its type says all."""
        parts = []
        if self.allowed:
            parts.append(", ".join(value or "empty" for value in self.allowed))
        if self.low is not None and self.high is not None:
            parts.append(f"{self.low:g} to {self.high:g}")
        elif self.low is not None:
            parts.append(f"from {self.low:g}")
        elif self.high is not None:
            parts.append(f"up to {self.high:g}")
        return ", ".join([*parts, *(["or missing"] if self.nullable else [])])


@dataclass(frozen=True)
class Schema:
    """One kind of table: where its files lie (a pattern of `artifacts`), what a row is (`about`),
    its columns in order, and those (`key`) that no two rows share.

    `kinds`: sets of columns of which a table has one, whole, and none of the others; columns that
    are in no set are in every table. Tasks differ in what they say of a problem.
    """

    name: str
    path: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    kinds: tuple[frozenset[str], ...] = ()

    def of(self, names: Iterable[str]) -> "Schema":
        """The schema of a table with these columns: with the kind that most of them are of."""
        if not self.kinds:
            return self
        names = set(names)
        kind = min(self.kinds, key=lambda kind: (-len(kind & names), len(kind)))
        left_out = frozenset().union(*self.kinds) - kind
        return replace(self, columns=tuple(c for c in self.columns if c.name not in left_out))

    def arrow(self) -> pa.Schema:
        """The schema of a file: unit and meaning of each column are in its field's metadata."""
        fields = [
            pa.field(
                c.name,
                ARROW[c.kind],
                nullable=c.nullable,
                metadata={"unit": c.unit, "about": c.about},
            )
            for c in self.columns
        ]
        return pa.schema(fields, metadata={"table": self.name, "about": self.about})


def table(name: str, about: str, columns: tuple[Column, ...], *key: str) -> Schema:
    """A table under results/tables."""
    return Schema(name, artifacts.path(artifacts.TABLE, table=name), about, columns, key)


def text(name: str, about: str, nullable: bool = False) -> Column:
    return Column(name, "string", about, nullable=nullable)


def choice(name: str, allowed, about: str) -> Column:
    """A closed vocabulary."""
    return Column(name, "string", about, allowed=tuple(allowed))


def flag(name: str, about: str, nullable: bool = False) -> Column:
    return Column(name, "bool", about, nullable=nullable)


def count(name: str, about: str, unit: str = "", low: int = 0, nullable: bool = False) -> Column:
    return Column(name, "int", about, unit, low=low, nullable=nullable)


def share(name: str, about: str, nullable: bool = False) -> Column:
    return Column(name, "float", about, "share", low=0, high=1, nullable=nullable)


def change(name: str, about: str, nullable: bool = False) -> Column:
    """A difference of two shares."""
    return Column(name, "float", about, "difference of shares", low=-1, high=1, nullable=nullable)


def nats(name: str, about: str, nullable: bool = False) -> Column:
    """A loss, an entropy or a divergence."""
    return Column(name, "float", about, "nats per token", low=0, nullable=nullable)


def real(name: str, about: str, unit: str = "", nullable: bool = False) -> Column:
    """Any finite number."""
    return Column(name, "float", about, unit, nullable=nullable)
