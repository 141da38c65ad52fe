"""What a study found: one module a question, each with its table, its claims and its words.

A new finding is a module here that holds a `Finding`; nothing else lists it.
"""

import os
import re
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from pkgutil import iter_modules

import pandas as pd

from healscope import artifacts, provenance
from healscope import values as of_study
from healscope.config import Statistics
from healscope.config.tracks import track_facts
from healscope.errors import HealscopeError
from healscope.files import Files
from healscope.findings.finding import Finding, Inputs

_MODULES = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
FINDINGS: dict[str, Finding] = {
    finding.name: finding
    for finding in sorted(
        {v for module in _MODULES for v in vars(module).values() if isinstance(v, Finding)},
        key=lambda finding: (finding.order, finding.name),
    )
}
"""name -> finding, in the order in which they are shown."""

SINCE = ("compare",)
"""Values that are left out where they are empty: results made before they existed stand."""

CLAIMS_TABLE = "claims"

CLAIMS = [claim for finding in FINDINGS.values() for claim in finding.claims]
"""What makes claims, in the same order."""

VALUES = {
    "statistics": lambda files: files.study.statistics.model_dump(mode="json"),
    "sft": lambda files: of_study.examples(files.study),
    "drawn": lambda files: files.drawn,
    "recipes": lambda files: files.study.rl.facts(),
    "landmark": lambda files: files.study.rl_landmark,
    "stages": lambda files: {
        name: points.model_dump(mode="json") for name, points in files.study.edits.stages.items()
    },
    "tracks": lambda files: track_facts(files.study, files.study.tracks),
    "followed": lambda files: track_facts(files.study, files.followed),
    "primary": lambda files: files.study.claims.primary,
    "contrast": lambda files: files.study.claims.contrast,
    "compare": lambda files: [list(pair) for pair in files.study.claims.compare],
    "seeds": lambda files: files.study.seeds,
    "matrices": lambda files: files.study.spectra.matrices,
    "given": lambda files: files.given,
    "tasks": lambda files: {
        name: of_study.task(files.study, name, ("rl_only",)) for name in files.study.trained_on
    },
    "hardness": lambda files: files.study.rl.pool_facts(),
    "taught": lambda files: files.study.rl.taught_facts(),
    "retry_arms": lambda files: files.study.rl.retry_arms(),
    "step_arms": lambda files: files.study.rl.step_arms(),
}
"""Values of a study that findings may ask for by a parameter of that name: plain ones, since they
are what a table is remade for. `statistics` reaches a maker as `config.Statistics`."""


def check_primary(names: list[str]) -> None:
    """Raise HealscopeError if a name of `claims.primary` is the name of no claim."""
    patterns = [pattern for finding in FINDINGS.values() for pattern in finding.claim_names]
    for name in names:
        if not any(re.fullmatch(pattern, name) for pattern in patterns):
            raise HealscopeError(
                f"the config is not valid:\n  claims.primary: no claim is called '{name}'; "
                "results/tables/claims.parquet of a finished study has the names in column claim"
            )


def check_systems(files: Files) -> None:
    """Raise HealscopeError if `claims.systems` names no such finding, or one that the study lacks
    something for."""
    known = [name for name, finding in FINDINGS.items() if finding.system]
    for name in files.study.claims.systems:
        where = f"the config is not valid:\n  claims.systems: '{name}'"
        if name not in known:
            raise HealscopeError(f"{where} is not one of {', '.join(known)}")
        if lack := FINDINGS[name].lacking(files):
            raise HealscopeError(f"{where} needs {lack}")


def _has(finding: Finding, files: Files) -> bool:
    named = not finding.system or finding.name in files.study.claims.systems
    return named and finding.asked(files)


def asked(files: Files) -> dict[str, Finding]:
    """Return the tables that a study has: name -> the finding that makes it."""
    found = {}
    for finding in FINDINGS.values():
        if _has(finding, files):
            stages = files.study.edits.stages if finding.per_stage else [""]
            found |= {finding.name.format(stage=stage): finding for stage in stages}
    return found


def by_table(name: str) -> tuple[Finding, str]:
    """Return the finding of a table, and its stage of edits (empty where it has none)."""
    if name in FINDINGS:
        return FINDINGS[name], ""
    for finding in FINDINGS.values():
        start = finding.name.removesuffix("{stage}")
        if finding.per_stage and name.startswith(start):
            return finding, name.removeprefix(start)
    names = ", ".join(f.name.replace("{stage}", "STAGE") for f in FINDINGS.values())
    raise HealscopeError(f"there is no table {name}; there are {names}")


def inputs(name: str, files: Files) -> Inputs:
    """Return the files that a table is made from, by kind."""
    finding, stage = by_table(name)
    found = finding.inputs(files, stage) if stage else finding.inputs(files)
    if name == CLAIMS_TABLE:
        for judging in _judging(files):
            own = judging.inputs(files).items()
            found |= {_kind(judging, kind): listed for kind, listed in own}
    return {kind: list(dict.fromkeys(listed)) for kind, listed in found.items()}


def _judging(files: Files) -> list[Finding]:
    """Return the findings that judge claims from files of their own."""
    return [f for f in FINDINGS.values() if f.judge and _has(f, files)]


def _kind(finding: Finding, kind: str) -> str:
    """Name a kind of a finding's files among those of the claims."""
    return f"{finding.name.replace('-', '_')}__{kind}"


def values(name: str, files: Files) -> dict:
    """Return the values of the study that a table and its page depend on, in plain form."""
    finding, _ = by_table(name)
    used = finding.parameters()
    if name == CLAIMS_TABLE:
        used += [p for judging in _judging(files) for p in signature(judging.judge).parameters]
    found = {p: VALUES[p](files) for p in dict.fromkeys(used) if p in VALUES}
    # what a study does not ask is no value of it, as before it could be asked
    return {p: value for p, value in found.items() if value or p not in SINCE}


def build(name: str, inputs: Inputs, values: dict) -> pd.DataFrame:
    """Make a table from its files and the values of the study."""
    finding, stage = by_table(name)
    further = []
    for judging in FINDINGS.values() if name == CLAIMS_TABLE else ():
        start = _kind(judging, "")
        own = {k.removeprefix(start): f for k, f in inputs.items() if k.startswith(start)}
        if own and judging.judge:
            further += _call(judging.judge, own, values)
    more = {"stage": stage, "parts": CLAIMS, "further": further}
    return _call(finding.make, inputs, {**values, **more})


def page(name: str, table: pd.DataFrame, record: dict, inputs: Inputs, values: dict) -> str:
    """Write the text that comes with a table."""
    finding, _ = by_table(name)
    return _call(finding.page.write, inputs, {**values, "table": table, "record": record})


def _call(function, inputs: Inputs, values: dict):
    known = {**values, **inputs}
    if "statistics" in known:
        known["statistics"] = Statistics.model_validate(known["statistics"])
    taken = signature(function).parameters.values()
    named = [p.name for p in taken if p.name in known or p.default is Parameter.empty]
    return function(**{name: known[name] for name in named})


@cache  # one answer for planning and for running
def lost_inputs(name: str, files: Files) -> int:
    """Return how often a table has been made again because one of its inputs was lost.

    This is a parameter of the table's rule, since Snakemake by itself takes a lost intermediate
    file for one that is no longer needed. The count goes up while an input of the table is missing,
    and stays.
    """
    file = artifacts.path(artifacts.TABLE, table=name)
    if not os.path.exists(file):
        return 0
    before = (provenance.read_provenance(file) or {}).get("lost_inputs", 0)
    listed = inputs(name, files).values()
    return before + (not all(_exists(f) for found in listed for f in found))


_exists = cache(os.path.exists)  # most files go into many tables
