"""Studies without content: Snakemake is real, and its jobs do no more than touch their outputs.

Snakemake's records of a finished hollow study (times, inputs, params) are those of a real one, so
what it makes again after a change is what it would make again of a real one, for a second of work.

Run as a program this file is a server: it imports Snakemake once, and answers each line of its
input, the arguments of one call, by a process that is forked for the call.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from runner import ROOT, Workflow

JOBS = "jobs.jsonl"  # in the study's folder: what each job asked for, in order
FAILING = "failing"  # in the study's folder: the rule whose jobs fail at the first attempt
GROWING = ["mem_mb", "runtime"]
RECORDED = ["output_file", "date", "rule", "log", "inputs", "shellcmd", "status", "plan"]


class Server:
    """The process that calls Snakemake; a context."""

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT,
        )  # fmt: skip
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate("")

    def call(self, args: list[str]) -> tuple[int, str]:
        """(exit code, everything printed) of `snakemake` with these arguments."""
        print(json.dumps(args), file=self.process.stdin, flush=True)
        return tuple(json.loads(self.process.stdout.readline()))


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

    def __init__(self, folder: Path, server: Server):
        super().__init__(folder)
        self.server = server

    def copied(self, folder: Path) -> "Hollow":
        """A copy in `folder`, which may be run and changed."""
        shutil.copytree(self.folder, folder)
        copy = Hollow(folder, self.server)
        copy.config = deepcopy(self.config)
        return copy

    def called(self, *args: str) -> tuple[int, str]:
        command = self.command(*args)
        return self.server.call(command[command.index("snakemake") + 1 :])

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


def _touch(script) -> None:
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


def _answer(args: list[str]) -> tuple[int, str, list[str]]:
    """(exit code, everything printed, modules imported) of a process of its own."""
    from snakemake import cli

    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as modules:
        child = os.fork()
        if child == 0:
            code = 1
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            try:
                cli.main(args)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
                print(end.code if isinstance(end.code, str) else "")
            finally:
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                print(*sys.modules, file=modules, flush=True)
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (said, modules):
            file.seek(0)
        return code, said.read(), modules.read().split()


def _serve() -> None:
    from snakemake.script import PythonScript

    import healscope.config
    import healscope.figures.catalogue  # noqa: F401 (what the Snakefile imports)

    PythonScript.evaluate = _touch
    for line in sys.stdin:
        code, output, modules = _answer(json.loads(line))
        print(json.dumps([code, output]), flush=True)
        for name in modules:  # what a call imports late the next one finds imported
            if name.partition(".")[0] in ("snakemake", "smart_open", "yaml", "jinja2", "pandas"):
                importlib.import_module(name)


if __name__ == "__main__":
    _serve()
