"""Holds a frame against its schema before it is written."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from healscope.errors import HealscopeError
from healscope.schemas.columns import ARROW, Column, Schema

ROUNDOFF = 1e-6
"""Float32 arithmetic may leave a range by this much (a divergence of -1e-8 is none)."""

_FAMILIES = {
    "string": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "int": (pa.types.is_integer, pa.types.is_floating),  # whole floats only: the cast is safe
    "float": (pa.types.is_floating, pa.types.is_integer),
    "bool": (pa.types.is_boolean,),
}


def check(frame: pd.DataFrame, schema: Schema) -> pa.Table:
    """The frame as an Arrow table with exactly the schema's columns, types and metadata.

    Raises HealscopeError, naming table, column, the first bad row (from 0) and what is allowed, at
    a missing, unexpected or repeated column, a cast that would lose something, a missing value, a
    value outside vocabulary or range, or a key that two rows share.
    """
    schema = schema.of(frame.columns)
    _same_columns(frame, schema)
    arrays = [_checked(frame[c.name], c, schema) for c in schema.columns]
    if schema.key:
        _unique(frame, schema)
    return pa.Table.from_arrays(arrays, schema=schema.arrow())


def _same_columns(frame: pd.DataFrame, schema: Schema) -> None:
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
    """The column as its Arrow type; NaN becomes null."""
    try:
        array = pa.array(values, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if array.null_count == len(array):  # nothing in it, whatever pandas takes it for
            return pa.nulls(len(array), ARROW[column.kind])
        if _fits(array.type, column.kind):
            return _nan_is_null(array.cast(ARROW[column.kind]))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        pass  # which row it was is found out below
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


def _fits(found: pa.DataType, kind: str) -> bool:
    """Whether a cast to `kind` says the same (a number is no string, whatever Arrow can do)."""
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
    """(where a rule is broken, which) for each rule of the column."""
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


def _unique(frame: pd.DataFrame, schema: Schema) -> None:
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
