"""Makes pages of results again: `python -m healscope.evidence [PAGE ...]`.

A page names its study and its tables in a comment, and what stands below it, up to the next, is
written from these tables, so that no result is typed in by hand:

    <!-- evidence: config/config.yaml config/what-heals.yaml; recipes claims -->
    <!-- end -->

For each page (all of docs/, where none is named) the study is run by Snakemake in evidence/NAME,
which studies share whose first config is NAME.yaml: what stands is not made again, so a run that
was stopped goes on. Its tables are copied to evidence/pages, as the next study there has tables of
the same names, and the page is written from them. Accuracies are in percent, changes in points.

A page that names other pages in place of configs has the published claims, with what each of those
studies says to them (`findings.paper`).
"""

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd

from healscope import artifacts, machine, provenance
from healscope.config import load
from healscope.config.files import read_together
from healscope.diagnose import go_on, started
from healscope.errors import HealscopeError
from healscope.figures.catalogue import FIGURES
from healscope.findings import FINDINGS, by_table, gate, paper
from healscope.location import CONFIG, WORKFLOW
from healscope.markdown import bullets
from healscope.planning.dry_run import dry_run

_SECTIONS = [name for name, f in FINDINGS.items() if f.section and not f.per_stage]
_BEGIN = re.compile(r"<!-- evidence: ([^;\n]+?)(?:; ([^\n]+?))? -->\n")
END = "<!-- end -->"

VERSION = "results version"
FOLDER = Path("evidence")
TIMES = FOLDER / "times.json"
"""Page -> seconds that Snakemake took for its study, all runs together."""


@dataclass(frozen=True)
class Page:
    """A page of results: its file, the configs of its study, and its tables (none: all of them)."""

    file: Path
    configs: tuple[str, ...]
    tables: tuple[str, ...]

    @classmethod
    def of(cls, file: str | Path) -> "Page":
        """Read which study a page shows; raises HealscopeError where it does not say so."""
        text = Path(file).read_text(encoding="utf-8")
        found = _BEGIN.findall(text)
        if len(found) != 1 or END not in _BEGIN.split(text)[-1]:
            raise HealscopeError(
                f"{file} needs one line '<!-- evidence: CONFIG ...; TABLE ... -->' and, after it, "
                f"one line '{END}'"
            )
        configs, tables = found[0]
        return cls(Path(file), tuple(configs.split()), tuple(tables.split()))

    @property
    def versions(self) -> str:
        """What its numbers depend on, beside code that changes none of them: the version of results
        and a hash of the study's settings, but for the looks of figures and for recipes that it
        does not use."""
        study = load(read_together(self.configs))
        settings = study.model_dump(mode="json", exclude={"figures"})
        if rl := settings["rl"]:
            used = {*rl["branches"], *(r for own in rl["branches_of"].values() for r in own)}
            rl["recipes"] = {name: rl["recipes"][name] for name in sorted(used)}
        hashed = provenance.fingerprint(settings)[:12]
        return f"{VERSION} {provenance.RESULTS_VERSION}, settings {hashed}"

    @property
    def stale(self) -> bool:
        """Whether its numbers, or those of pages that it is about, are of another version of the
        results, or of other settings."""
        if self.others:
            return any(other.stale for other in self.others)
        return f"- {self.versions}\n" not in self.file.read_text(encoding="utf-8")

    @property
    def folder(self) -> Path:
        """Where its study is run."""
        return FOLDER / Path(self.configs[0]).stem

    def run(self, cores: str = "all") -> None:
        """Make its tables and their figures, or the whole study where it names none.

        Raises HealscopeError where that fails."""
        options = [
            *WORKFLOW, "--directory", str(self.folder), "--configfile", *self.configs,
            "--cores", cores, "--", *self._targets(),
        ]  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        for place in map(Path, ("config", "models")):  # files that configs name
            if place.is_dir() and not (link := self.folder / place).exists():
                link.symlink_to(os.path.relpath(place, self.folder))
        go_on(self.folder, options)
        if dry_run(options):
            self._go(options)
        for name in self.tables or (*_SECTIONS, "gate"):
            table = artifacts.path(artifacts.TABLE, table=name)
            if (self.folder / table).is_file():
                (self.kept / table).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.folder / table, self.kept / table)

    def _go(self, options: list[str]) -> None:
        began = time.monotonic()
        try:
            with started([sys.executable, "-m", "snakemake", *options]) as process:
                code = process.wait()
        finally:
            times = _times()
            taken = times.get(self.file.name, 0) + time.monotonic() - began
            provenance.write_json(TIMES, {**times, self.file.name: round(taken)})
        if code:
            raise HealscopeError(f"the study of {self.file} is not whole; run this again to go on")

    def _targets(self) -> list[str]:
        study = load(read_together(self.configs))
        figures = [f for f in FIGURES.values() if f.table in self.tables and f.asked(study)]
        return [
            *(artifacts.path(artifacts.TABLE, table=name) for name in self.tables),
            *(artifacts.path(artifacts.FIGURE, figure=f.name, format="png") for f in figures),
        ]

    @property
    def kept(self) -> Path:
        """Where its tables are kept."""
        return FOLDER / "pages" / self.file.stem

    @property
    def others(self) -> list["Page"]:
        """Pages that it is about."""
        return [Page.of(name) for name in self.configs if name.endswith(".md")]

    def write(self, folder: Path | None = None) -> None:
        """Write what its tables say, those in `folder` or those kept, between its marks."""
        text = self.file.read_text(encoding="utf-8")
        start = _BEGIN.search(text).end()
        after = text[start:].split(END, 1)[1]
        if self.others:
            claims = artifacts.path(artifacts.TABLE, table="claims")
            body = paper.section(
                {
                    f"[{page.file.stem}]({page.file.name})": (
                        provenance.read_table(page.kept / claims),
                        f"make evidence PAGES={page.file}",
                    )
                    for page in self.others
                },
                CONFIG / "published",
            )
        else:
            spent = None if folder else _times().get(self.file.name)
            body = answers(folder or self.kept, self.tables, spent, self.versions)
        self.file.write_text(f"{text[:start]}\n{body}\n{END}{after}", encoding="utf-8")


def _times() -> dict[str, float]:
    return provenance.read_json(TIMES) if TIMES.is_file() else {}


def pages(folder: str | Path = "docs") -> list[Page]:
    """Return the pages of a folder that show a study."""
    files = sorted(Path(folder).glob("*.md"))
    return [Page.of(f) for f in files if _BEGIN.search(f.read_text(encoding="utf-8"))]


def answers(
    folder: str | Path,
    wanted: Sequence[str] = (),
    seconds: float | None = None,
    versions: str = "",
) -> str:
    """Return the answers of the study whose `results` lie in `folder`, model by model.

    `wanted`: names of tables, in that order; all, where none is named. `seconds`: how long its runs
    took, if Snakemake's logs in the folder do not say so. `versions`: those of the page
    (`Page.versions`), if tables are of today's.
    """
    folder = Path(folder)
    sections = {name: _section(name) for name in wanted or _SECTIONS}
    tables = {name: _read(folder, name) for name in sections}
    models = list(dict.fromkeys(m for table in tables.values() for m in table[_owner(table)]))
    if not models:
        raise HealscopeError(f"{folder} has none of the tables {', '.join(sections)}; make them")
    parts = [("Run", _run(folder, sections, seconds, versions))]
    joint = [name for name in sections if by_table(name)[0].joint and not tables[name].empty]
    parts += [(sections[name][0], sections[name][1](tables[name])) for name in joint]
    for model in models:
        of = "" if len(models) == 1 else f", {model}"
        if not wanted:
            gated = bullets(gate.sentences(_of(_read(folder, "gate"), model)))
            parts += [(f"Is there anything to explain?{of}", gated)]
        parts += [
            (f"{title}{of}", write(_of(tables[name], model)))
            for name, (title, write) in sections.items()
            if name not in joint and not _of(tables[name], model).empty
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


def _run(folder: Path, tables: Iterable[str], seconds: float | None, versions: str) -> str:
    files = [folder / artifacts.path(artifacts.TABLE, table=name) for name in tables]
    records = [provenance.read_provenance(f) for f in files if f.exists()]
    machines = [machine.in_words(r["machine"]) for r in records if "machine" in r]
    packages = records[0]["packages"]
    made = sorted({str(r["results_version"]) for r in records})
    today = made == [str(provenance.RESULTS_VERSION)]
    lines = [
        *dict.fromkeys(provenance.code_in_words(r["code"]) for r in records),
        versions if versions and today else f"{VERSION} {', '.join(made)}",
        "packages: " + ", ".join(f"{k} {v}" for k, v in packages.items() if v),
        *(f"machine: {described}" for described in dict.fromkeys(machines)),
    ]
    if seconds is not None:
        spent = timedelta(seconds=round(seconds))
        lines.append(
            f"wall time: {spent} (hours:minutes:seconds), without jobs that other pages had run"
        )
        return bullets(lines)
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    for log in logs:
        if found := re.search(
            r"Elapsed time: (\S+)", log.read_text(encoding="utf-8", errors="replace")
        ):
            lines.append(f"wall time of a run: {found[1].split('.')[0]} (hours:minutes:seconds)")
    return bullets(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m healscope.evidence")
    parser.add_argument("pages", nargs="*", help="pages of results (all of docs/)")
    parser.add_argument("--write", action="store_true", help="run nothing, only write")
    parser.add_argument("--folder", type=Path, help="where the study was run, if not in evidence/")
    parser.add_argument("--cores", default="all", help="as Snakemake's")
    given = parser.parse_args(arguments)
    try:
        for page in map(Page.of, given.pages) if given.pages else pages():
            if not given.write and not page.others:
                print(f"healscope: {page.file} shows {' '.join(page.configs)}", file=sys.stderr)
                page.run(given.cores)
            page.write(given.folder)
    except HealscopeError as error:
        print(f"healscope: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
