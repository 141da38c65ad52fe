"""docs/tables.md: every table and column, from the schemas."""

from itertools import groupby

from healscope.schema import Column, Schema

TYPES = {"strings": "list of string", "ints": "list of int", "floats": "list of float"}
INTRO = """# Tables

Every Parquet file of a study, column by column. `make schema` makes this page from the
schemas, each beside the code that makes its table. A file is checked against its schema before it
is written: columns, types, missing values, vocabularies, ranges and keys. Tasks differ in what they
say of a problem: such tables have one of several sets of columns, whole, beside those that all
have.

Shares lie between 0 and 1 and never count percent. An interval (`low`, `high`) is the one of
[statistics.md](statistics.md). In names of files, `{...}` stands for what varies. Units and
meanings also lie in the files, beside their provenance:

```python
import pyarrow.parquet as pq

schema = pq.read_schema("results/tables/curves.parquet")
schema.metadata[b"about"], schema.field("accuracy").metadata  # {b"unit": b"share", b"about": ...}
```
"""


def page(schemas: list[Schema]) -> str:
    """The page; neighbours that differ in name and path alone share a section."""
    lines = [INTRO]
    for (about, columns, key), group in groupby(schemas, lambda s: (s.about, s.columns, s.key)):
        alike = list(group)
        kinds = [[c.name for c in columns if c.name in kind] for kind in alike[0].kinds]
        lines += [f"## {', '.join(s.name for s in alike)}", "", about, ""]
        lines += [f"- file: `{s.path}`" for s in alike]
        lines += [f"- key: {', '.join(f'`{name}`' for name in key)}", ""]
        if kinds:
            sets = "; or ".join(", ".join(f"`{name}`" for name in names) for names in kinds)
            lines[-1:] = [f"- one of these sets of columns: {sets}", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [_line(c) for c in columns] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _line(column: Column) -> str:
    limits = f" ({column.limits})" if column.limits else ""
    cells = (
        f"`{column.name}`",
        TYPES.get(column.kind, column.kind),
        column.unit,
        column.about + limits,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
