"""All schemas of a study's tables, from every room that makes one."""

import re
from pathlib import Path

from healscope.errors import HealscopeError
from healscope.evaluation import schemas as evaluation
from healscope.measuring import measurements
from healscope.schema import Schema
from healscope.schemas import branches, explanations, results, tasks
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
        evaluation.EVALUATION,
        evaluation.EDIT_EVALUATION,
        *(measurement.SCHEMA for measurement in measurements().values()),
        spectra.COMPARISON,
        *results.RESULTS,
        *branches.BRANCHES,
        *tasks.COMPARED,
        *explanations.EXPLANATIONS,
        spectra.MASK_OVERLAP,
    )
}


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
