"""All schemas of a study's tables, and the page that lists them.

`python -m healscope.schemas` prints docs/tables.md (`make schema`).
"""

import re
from itertools import groupby
from pathlib import Path

from healscope.errors import HealscopeError
from healscope.evaluation import schemas as evaluation
from healscope.findings import FINDINGS
from healscope.measuring import measurements
from healscope.schema import Column, Schema
from healscope.spectra import schemas as spectra
from healscope.tasks import schemas as problems
from healscope.training import schemas as training

SCHEMAS: dict[str, Schema] = {
    schema.name: schema
    for schema in (
        *problems.SCHEMAS,
        training.BASE_LOG,
        training.SFT_LOG,
        training.RL_LOG,
        training.ANSWERS,
        training.PASS_RATES,
        evaluation.EVALUATION,
        evaluation.EDIT_EVALUATION,
        *(measurement.SCHEMA for measurement in measurements().values()),
        spectra.COMPARISON,
        *(finding.schema for finding in FINDINGS.values()),
        spectra.MASK_OVERLAP,
    )
}


def by_path(file: str | Path) -> Schema:
    """Return the schema of a study's file; raises HealscopeError where there is none.

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
    """Return the page; neighbours that differ in name and path alone share a section."""
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


if __name__ == "__main__":
    print(page(list(SCHEMAS.values())), end="")
