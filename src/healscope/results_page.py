"""A study's answers as Markdown: `python -m healscope.results_page FOLDER PAGE [TABLE ...]`.

Replaces what stands between the markers of PAGE by the tables of the study in FOLDER, those named
or all, so that no result is typed in by hand. Accuracies are in percent, changes in points.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from healscope import artifacts, machine, provenance
from healscope.errors import HealscopeError
from healscope.findings import FINDINGS, by_table, gate
from healscope.markdown import bullets

_SECTIONS = [name for name, f in FINDINGS.items() if f.section and not f.per_stage]
BEGIN, END = "<!-- generated: python -m healscope.results_page -->", "<!-- end -->"


def update(folder: str | Path, page: str | Path, *wanted: str) -> None:
    """Write the study's answers between the markers of `page`; raise where there are none.

    `wanted`: names of tables, in that order; all, where none is named.
    """
    file = Path(page)
    text = file.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or END not in text.split(BEGIN)[1]:
        raise HealscopeError(f"{page} needs one line '{BEGIN}' and, after it, one line '{END}'")
    before, after = text.split(BEGIN)[0], text.split(BEGIN)[1].split(END, 1)[1]
    file.write_text(f"{before}{BEGIN}\n\n{answers(folder, wanted)}\n{END}{after}", encoding="utf-8")


def answers(folder: str | Path, wanted: Sequence[str] = ()) -> str:
    """Return the answers of the study whose `results` lie in `folder`, model by model."""
    folder = Path(folder)
    sections = {name: _section(name) for name in wanted or _SECTIONS}
    tables = {name: _read(folder, name) for name in sections}
    models = list(dict.fromkeys(m for table in tables.values() for m in table[_owner(table)]))
    if not models:
        raise HealscopeError(f"{folder} has none of the tables {', '.join(sections)}; make them")
    parts = [("Run", _run(folder, sections))]
    for model in models:
        of = "" if len(models) == 1 else f", {model}"
        if not wanted:
            gated = bullets(gate.sentences(_of(_read(folder, "gate"), model)))
            parts += [(f"Is there anything to explain?{of}", gated)]
        parts += [
            (f"{title}{of}", write(_of(tables[name], model)))
            for name, (title, write) in sections.items()
            if not _of(tables[name], model).empty
        ]
    return "\n".join(f"### {title}\n\n{body}\n" for title, body in parts)


def _read(folder: Path, name: str) -> pd.DataFrame:
    """Return a table of the study; empty where it was not asked for."""
    file = folder / artifacts.path(artifacts.TABLE, table=name)
    if not file.exists():
        return pd.DataFrame({"track": []})
    table = provenance.read_table(file)
    if name == "task-landmarks":  # it holds published models too
        table = table[table["kind"] == "measured"]
    return table


def _section(name: str) -> tuple[str, Callable[[pd.DataFrame], str]]:
    """Return title and writer of the section on a table."""
    finding, stage = by_table(name)
    if finding.section is None:
        raise HealscopeError(
            f"no section {name}; there are {', '.join(_SECTIONS)}, reversion-STAGE"
        )
    return finding.title.format(stage=stage), finding.section


def _of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table[_owner(table)] == model]


def _owner(table: pd.DataFrame) -> str:
    """Column by which a table is parted: tables of all tasks are shown model by model."""
    return "model" if "model" in table else "track"


def _run(folder: Path, tables: Iterable[str]) -> str:
    files = [folder / artifacts.path(artifacts.TABLE, table=name) for name in tables]
    records = [provenance.read_provenance(f) for f in files if f.exists()]
    machines = [machine.in_words(r["machine"]) for r in records if "machine" in r]
    packages = records[0]["packages"]
    lines = [
        *dict.fromkeys(provenance.code_in_words(r["code"]) for r in records),
        "packages: " + ", ".join(f"{k} {v}" for k, v in packages.items() if v),
        *(f"machine: {described}" for described in dict.fromkeys(machines)),
    ]
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    for log in logs:
        if found := re.search(
            r"Elapsed time: (\S+)", log.read_text(encoding="utf-8", errors="replace")
        ):
            lines.append(f"wall time of a run: {found[1].split('.')[0]} (hours:minutes:seconds)")
    return bullets(lines)


if __name__ == "__main__":
    update(*sys.argv[1:])
