"""Every Parquet table of a study: its columns, types, units, vocabularies, ranges and key.

`provenance.write_table` checks a frame against the schema of its name before it writes anything.
docs/tables.md is made from this (`make schema`).
"""

import re
from pathlib import Path

import pandas as pd

from healscope.errors import HealscopeError
from healscope.schemas import branches, explanations, results, runs, tasks
from healscope.schemas.check import check
from healscope.schemas.columns import Column, Schema

__all__ = ["SCHEMAS", "Column", "Schema", "by_name", "by_path", "check", "complete", "empty"]

SCHEMAS: dict[str, Schema] = {
    schema.name: schema
    for schema in (
        *runs.TASKS,
        *runs.TRAINING,
        *branches.LOGS,
        *runs.EVALUATIONS,
        *runs.PROBES,
        *results.RESULTS,
        *branches.BRANCHES,
        *tasks.COMPARED,
        *explanations.EXPLANATIONS,
    )
}


def by_name(name: str) -> Schema:
    """The schema of that name; raises HealscopeError where there is none."""
    if name not in SCHEMAS:
        raise HealscopeError(f"there is no schema {name!r}; allowed: {', '.join(SCHEMAS)}")
    return SCHEMAS[name]


def complete(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with those nullable columns of a schema that it lacks, empty.

    For training logs, where the settings decide what is logged.
    """
    nullable = [c.name for c in by_name(name).columns if c.nullable]
    return frame.reindex(columns=[*frame.columns, *(n for n in nullable if n not in frame)])


def empty(schema: Schema) -> pd.DataFrame:
    """A frame of the schema's columns without rows."""
    return pd.DataFrame({column.name: pd.Series(dtype=object) for column in schema.columns})


def by_path(file: str | Path) -> Schema:
    """The schema of a study's file; raises HealscopeError where there is none.

    Where two patterns fit, it is the one that spells more of the path out.
    """
    name = Path(file).as_posix()
    found = [schema for schema in SCHEMAS.values() if _fits(schema.path, name)]
    if not found:
        raise HealscopeError(f"{file} is no table of a study; docs/tables.md lists them")
    return max(found, key=lambda schema: len(re.sub(r"{\w+}", "", schema.path)))


def _fits(pattern: str, name: str) -> bool:
    parts = re.split(r"{\w+}", pattern)
    return re.search("(^|/)" + "[^/]+".join(map(re.escape, parts)) + "$", name) is not None
