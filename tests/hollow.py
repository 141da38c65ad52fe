"""Studies without content: Snakemake is real, and its jobs do no more than touch their outputs.

Snakemake's records of a finished hollow study (times, inputs, params) are those of a real one, so
what it makes again after a change is what it would make again of a real one, for a second of work.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from runner import Workflow

JOBS = "jobs.jsonl"  # in the study's folder: what each job asked for, in order
FAILING = "failing"  # in the study's folder: the rule whose jobs fail at the first attempt
GROWING = ["mem_mb", "runtime"]
RECORDED = ["output_file", "date", "rule", "log", "inputs", "shellcmd", "status", "plan"]


@dataclass(frozen=True)
class Made:
    """One output file: the rule and the inputs that made it, and whether a run would make it again.

    `own` says that its rule has other settings or inputs now, or that the file is missing: it is
    not made again only because one of its inputs is.
    """

    rule: str
    inputs: frozenset[str]
    own: bool
    again: bool


class Hollow(Workflow):
    """As `Workflow`, but for jobs, which touch their outputs."""

    def files(self) -> dict[str, Made]:
        """file -> how Snakemake says that it was made and what it would do."""
        lines = self.run("--detailed-summary").splitlines()
        rows = [line.split("\t") for line in lines if line.count("\t") == len(RECORDED) - 1]
        found = {}
        for row in pd.DataFrame(rows[1:], columns=RECORDED).itertuples():
            inputs = frozenset(row.inputs.split(",")) - {"-"}
            own = row.status in ("missing", "params changed", "set of input files changed")
            found[row.output_file] = Made(row.rule, inputs, own, row.plan == "update pending")
        return found

    def jobs(self) -> pd.DataFrame:
        """What every job that was started asked for."""
        return pd.read_json(self.folder / JOBS, lines=True)


def touch(script) -> None:
    """What runs in place of a job's script, in the study's folder."""
    asked = {"rule": script.rulename, **{k: script.resources.get(k) for k in GROWING}}
    before = Path(JOBS).read_text() if Path(JOBS).exists() else ""
    with open(JOBS, "a") as jobs:
        print(json.dumps(asked), file=jobs)
    failing = Path(FAILING).read_text() if Path(FAILING).exists() else None
    if failing == script.rulename and f'"{failing}"' not in before:
        raise RuntimeError("fails at the first attempt")
    for file in map(Path, script.output):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
