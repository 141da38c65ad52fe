"""Is it the values, the vectors, or any step towards the parent? Every test of edits, stage by
stage, so that trained targets stand beside those whose loss is planted."""

import re

import pandas as pd

from healscope import artifacts, provenance
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.findings.columns import interval
from healscope.findings.finding import Finding
from healscope.markdown import estimate, grid
from healscope.schema import TRACK, change, table, text
from healscope.verdicts import VERDICTS

_STAGED = re.compile(r"(?P<test>.+-(?:beat-[a-z]+|reversion))-(?P<stage>[^-]+)(?:-ood)?")


def measure(claims: list[str]) -> pd.DataFrame:
    (file,) = claims
    return by_stage(provenance.read_table(file))


def by_stage(claims: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each claim that is a test of edits, with its stage."""
    out = []
    for row in claims.to_dict("records"):
        if found := _STAGED.fullmatch(row["claim"]):
            kept = {name: row[name] for name in ("track", "verdict", "effect", "low", "high")}
            out.append({"test": found["test"], "stage": found["stage"], **kept})
    return pd.DataFrame(out, columns=[column.name for column in SCHEMA.columns])


def section(table: pd.DataFrame) -> str:
    """Return the tests as rows and the stages as columns."""
    stages = list(dict.fromkeys(table["stage"]))
    rows = [
        (_question(test), *(_said(own[own["stage"] == stage]) for stage in stages))
        for test, own in table.groupby("test", sort=False)
    ]
    note = "A dash: the stage has no such edit. OOD accuracy, in points, with the interval."
    return f"{grid(['edit, beside its control', *stages], rows)}\n\n{note}"


def _question(test: str) -> str:
    kind, _, control = test.partition("-beat-")
    if control:
        return f"{KINDS[kind].does} moves it further towards the parent's than " + (
            CONTROLS[control].than
        )
    kind = test.removesuffix("-reversion")
    return f"Reverting all {kind} {'does not change' if kind == 'values' else 'changes'} it"


def _said(rows: pd.DataFrame) -> str:
    return "; ".join(f"{r['verdict']} {estimate(r)}" for r in rows.to_dict("records")) or "–"


SCHEMA = table(
    "edit-tests",
    "A test of edits in one stage: an edit beside its control, or a whole reversion; OOD accuracy.",
    (
        TRACK,
        text("test", "name of the claim without its stage"),
        text("stage", "stage of edits"),
        text("verdict", f"of the claims table: {', '.join(VERDICTS)}"),
        change("effect", "the change that decides", True),
        *interval(change, nullable=True),
    ),
    "track", "test", "stage",
)  # fmt: skip

FINDING = Finding(
    name="edit-tests",
    schema=SCHEMA,
    make=measure,
    inputs=lambda _: {"claims": [artifacts.path(artifacts.TABLE, table="claims")]},
    asked=lambda files: bool(files.trained and len(files.study.edits.stages) > 1),
    order=22,
    title="What tests of edits say, stage by stage",
    section=section,
)
