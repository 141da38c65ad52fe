"""Schemas of Parquet tables: columns with types, units, vocabularies, ranges and a key.

A schema stands beside the code that makes its table; `provenance.write_table` checks a frame
against it before anything is written. docs/tables.md is made from all of them (`make schema`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from healscope import artifacts
from healscope.errors import HealscopeError

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

IN_SHARES, IN_NATS = "share", "nats per token"
"""Units of what is measured of answers: of accuracies, and of the log-probability of a text."""

IN_ENTRIES, IN_ITERATIONS = "share of entries", "iterations"
"""Units of other claims: about the entries of weights, and about how long training takes."""

UNITS = (IN_SHARES, IN_NATS, IN_ENTRIES, IN_ITERATIONS)

ROUNDOFF = 1e-6
"""How far a value may lie outside its range: in float32 a divergence may be -1e-8."""


@dataclass(frozen=True)
class Column:
    """A column of a table. `allowed`, `low` and `high` hold for each element of a list.

    `kind` is one of ARROW, `unit` is empty where there is none. Floats are finite; NaN is a missing
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
        """Return what a value may be, in words; empty where its type says all."""
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
    """A kind of table: the pattern of its files (from `artifacts`), what one row is (`about`), its
    columns in order, and the columns that identify a row (`key`).

    `kinds`: alternative sets of columns. A table has all columns of one set and none of the others;
    columns in no set are in every table.
    """

    name: str
    path: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    kinds: tuple[frozenset[str], ...] = ()

    def of(self, names: Iterable[str]) -> "Schema":
        """Return the schema with the one of `kinds` that most of the columns `names` are of."""
        if not self.kinds:
            return self
        names = set(names)
        kind = min(self.kinds, key=lambda kind: (-len(kind & names), len(kind)))
        left_out = frozenset().union(*self.kinds) - kind
        return replace(self, columns=tuple(c for c in self.columns if c.name not in left_out))

    def arrow(self) -> pa.Schema:
        """Return the schema of a file; each field's metadata has the column's unit and meaning."""
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

    def complete(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with the nullable columns that it lacks, empty.

        For training logs, where the settings decide what is logged.
        """
        missing = [c.name for c in self.columns if c.nullable and c.name not in frame]
        return frame.reindex(columns=[*frame.columns, *missing])

    def empty(self) -> pd.DataFrame:
        """Return a frame of all columns, without rows."""
        return pd.DataFrame({column.name: pd.Series(dtype=object) for column in self.columns})


def table(name: str, about: str, columns: tuple[Column, ...], *key: str) -> Schema:
    """Make the schema of a table under results/tables."""
    return Schema(name, artifacts.path(artifacts.TABLE, table=name), about, columns, key)


def text(name: str, about: str, nullable: bool = False) -> Column:
    return Column(name, "string", about, nullable=nullable)


def choice(name: str, allowed: Iterable[str], about: str, nullable: bool = False) -> Column:
    """Make a column of strings from a closed vocabulary."""
    return Column(name, "string", about, allowed=tuple(allowed), nullable=nullable)


def flag(name: str, about: str, nullable: bool = False) -> Column:
    return Column(name, "bool", about, nullable=nullable)


def count(name: str, about: str, unit: str = "", low: int = 0, nullable: bool = False) -> Column:
    return Column(name, "int", about, unit, low=low, nullable=nullable)


def number(name: str, about: str, unit: str = "", low: float = 0, nullable: bool = False) -> Column:
    """Make a column of floats from `low` on."""
    return Column(name, "float", about, unit, low=low, nullable=nullable)


def share(name: str, about: str, nullable: bool = False) -> Column:
    return Column(name, "float", about, "share", low=0, high=1, nullable=nullable)


def change(name: str, about: str, nullable: bool = False) -> Column:
    """Make a column of differences of two shares."""
    return Column(name, "float", about, "difference of shares", low=-1, high=1, nullable=nullable)


def nats(name: str, about: str, nullable: bool = False) -> Column:
    """Make a column of losses, entropies or divergences."""
    return number(name, about, IN_NATS, nullable=nullable)


def real(name: str, about: str, unit: str = "", nullable: bool = False) -> Column:
    """Make a column of any finite numbers."""
    return Column(name, "float", about, unit, nullable=nullable)


TRACK = text("track", "a model trained on a task, by its name in the config")
RUN_SEED = count("seed", "seed of the run: it repeats everything")


def check(frame: pd.DataFrame, schema: Schema) -> pa.Table:
    """Return the frame as an Arrow table with exactly the schema's columns, types and metadata.

    Raises HealscopeError, naming table, column, the first bad row (from 0) and what is allowed, at
    a missing, unexpected or repeated column, a cast that would lose something, a missing value, a
    value outside vocabulary or range, or a key that two rows share.
    """
    schema = schema.of(frame.columns)
    _check_names(frame, schema)
    arrays = [_checked(frame[c.name], c, schema) for c in schema.columns]
    if schema.key:
        _check_key(frame, schema)
    return pa.Table.from_arrays(arrays, schema=schema.arrow())


def _check_names(frame: pd.DataFrame, schema: Schema) -> None:
    there, wanted = list(frame.columns), [c.name for c in schema.columns]
    wrong = {
        "missing": [name for name in wanted if name not in there],
        "unexpected": [str(name) for name in there if name not in wanted],
        "repeated": sorted({str(name) for name in there if there.count(name) > 1}),
    }
    found = [f"{what}: {', '.join(names)}" for what, names in wrong.items() if names]
    if found:
        raise HealscopeError(
            f"table {schema.name}: columns {'; '.join(found)} (allowed: {', '.join(wanted)})"
        )


def _checked(values: pd.Series, column: Column, schema: Schema) -> pa.Array:
    array = _converted(values, column, schema)
    if array.null_count and not column.nullable:
        raise _refusal(schema, column, _first(array.is_null()), "missing")
    flat, row_of = array, None
    if pa.types.is_list(array.type):
        flat, row_of = array.flatten(), pc.list_parent_indices(array)
    for bad, why in _bad_values(flat, column):
        at = _first(bad)
        if at is not None:
            value = "missing" if why == "missing" else repr(flat[at].as_py())
            raise _refusal(schema, column, row_of[at].as_py() if row_of else at, value)
    return array


def _converted(values: pd.Series, column: Column, schema: Schema) -> pa.Array:
    """Cast the values to the column's Arrow type; NaN becomes null."""
    try:
        array = pa.array(values, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if array.null_count == len(array):  # whatever type pandas has for "nothing"
            return pa.nulls(len(array), ARROW[column.kind])
        if _fits(array.type, column.kind):
            return _nan_is_null(array.cast(ARROW[column.kind]))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        pass  # the row is found below
    for row, value in enumerate(values):
        try:
            array = pa.array([value], from_pandas=True)
            if _fits(array.type, column.kind):
                array.cast(ARROW[column.kind])
                continue
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            pass
        raise _refusal(schema, column, row, f"{value!r} ({type(value).__name__})")
    raise HealscopeError(f"table {schema.name}, column {column.name}: types are mixed")


_FAMILIES = {
    "string": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "int": (pa.types.is_integer, pa.types.is_floating),  # whole floats only: the cast is safe
    "float": (pa.types.is_floating, pa.types.is_integer),
    "bool": (pa.types.is_boolean,),
}


def _fits(found: pa.DataType, kind: str) -> bool:
    """Return whether a cast to `kind` keeps the meaning: Arrow would also make a string of a
    number."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return True
    if kind.endswith("s"):
        lists = pa.types.is_list(found) or pa.types.is_large_list(found)
        return lists and _fits(found.value_type, kind[:-1])
    return any(same(found) for same in _FAMILIES[kind])


def _nan_is_null(array: pa.Array) -> pa.Array:
    if pa.types.is_floating(array.type) and pc.any(pc.is_nan(array)).as_py():
        return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    return array


def _bad_values(flat: pa.Array, column: Column):
    """Yield (where a rule of the column is broken, which rule)."""
    if not column.nullable:
        yield flat.is_null(), "missing"
    if column.allowed:
        known = pc.is_in(flat, pa.array(column.allowed, flat.type))
        yield pc.and_(pc.invert(known), flat.is_valid()), "allowed"
    if pa.types.is_floating(flat.type):
        yield pc.invert(pc.is_finite(flat)), "finite"
    if column.low is not None:
        yield pc.less(flat, column.low - ROUNDOFF), "low"
    if column.high is not None:
        yield pc.greater(flat, column.high + ROUNDOFF), "high"


def _first(bad: pa.BooleanArray) -> int | None:
    at = pc.index(bad, True).as_py()
    return None if at < 0 else at


def _refusal(schema: Schema, column: Column, row: int, value: str) -> HealscopeError:
    kind = ("finite " if "float" in column.kind else "") + column.kind
    allowed = f"{kind}{', ' if column.limits else ''}{column.limits}"
    return HealscopeError(
        f"table {schema.name}, column {column.name}, row {row}: {value} (allowed: {allowed})"
    )


def _check_key(frame: pd.DataFrame, schema: Schema) -> None:
    key = list(schema.key)
    repeated = frame.duplicated(key).to_numpy()
    if not repeated.any():
        return
    second = int(repeated.argmax())
    values = frame[key].iloc[second].to_dict()
    alike = frame.duplicated(key, keep=False).to_numpy()
    same = [i for i in alike.nonzero()[0] if frame[key].iloc[i].equals(frame[key].iloc[second])]
    where = ", ".join(f"{name}={value!r}" for name, value in values.items())
    raise HealscopeError(
        f"table {schema.name}: rows {same[0]} and {second} are both {where} "
        f"(allowed: one row for each {', '.join(key)})"
    )
