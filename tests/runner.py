"""Runs snakemake as a user does, in a folder of its own."""

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


class Workflow:
    """snakemake in a folder of its own, with a config of its own.

    With a server (warm.py) that calls Snakemake; without, each call and each job is a new process.
    """

    def __init__(self, folder: Path, server=None):
        self.folder, self.server = folder, server
        self.config = yaml.safe_load((ROOT / "config/micro.yaml").read_text())

    def command(self, *args: str) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "study.yaml"
        file.write_text(yaml.safe_dump(self.config))
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"),
            "--directory", str(self.folder), "--configfile", str(file), "--cores", "2", *args,
        ]  # fmt: skip

    def called(self, *args: str) -> tuple[int, str]:
        """(exit code, everything printed)."""
        command = self.command(*args)
        if self.server:
            return self.server.call(command[command.index("snakemake") + 1 :])
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        return done.returncode, done.stdout + done.stderr

    def run(self, *args: str) -> str:
        code, output = self.called(*args)
        assert code == 0, output
        return output

    def fails(self, *args: str) -> str:
        code, output = self.called(*args)
        assert code != 0
        return output

    def copied(self, folder: Path) -> "Workflow":
        """A copy in `folder`, which may be run and changed."""
        shutil.copytree(self.folder, folder)
        copy = type(self)(folder, self.server)
        copy.config = deepcopy(self.config)
        return copy

    def start(self, *args: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip

    def plan(self, *targets: str) -> dict[str, int]:
        """rule -> jobs that a dry run would start."""
        output = self.run("--dry-run", *targets)
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[1].split("total")[0]
        jobs = dict(re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE))
        return {rule: int(n) for rule, n in jobs.items() if rule != "all"}

    def fresh(self) -> set[str]:
        """Run one job of each script again, in a new process: forks have imported what a script
        forgets. Of a run with --skip-script-cleanup; returns the names of the scripts."""
        kept = self.folder.glob(".snakemake/scripts/*.py")
        scripts = {file.name.partition(".")[2]: file for file in sorted(kept)}
        for name, file in scripts.items():
            done = subprocess.run(
                [sys.executable, str(file)], cwd=self.folder, capture_output=True, text=True,
                check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            assert done.returncode == 0, f"{name}: {done.stderr}"
        return set(scripts)

    def inodes(self) -> dict[str, int]:
        """file -> inode, for everything under results but logs.

        Files are written beside and renamed, so a new one has a new inode; Snakemake also touches
        files that a job left alone.
        """
        found = {}
        for file in (self.folder / "results").rglob("*"):
            name = str(file.relative_to(self.folder / "results"))
            if file.is_file() and not name.startswith("logs/"):
                found[name] = os.stat(file).st_ino
        return found
