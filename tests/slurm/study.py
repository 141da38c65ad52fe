"""Studies as a cluster user runs them: `snakemake --profile slurm`, typed in the checkout."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cluster import Cluster

ROOT = Path(__file__).parents[2]
BASE = "results/training/{track}/seed-0/base.parquet"  # one job, which resumes from its states


@dataclass
class Study:
    """A folder with a study of its own; commands get the arguments a user would type."""

    folder: Path
    cluster: Cluster
    config: dict
    runs: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)

    def arguments(self, *more: str) -> list[str]:
        file = self.folder / "study.yaml"
        file.write_text(yaml.safe_dump(self.config))
        return [
            "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5",
            "--directory", str(self.folder), "--configfile", str(file), *more,
        ]  # fmt: skip

    def start(self, *more: str) -> subprocess.Popen:
        """Snakemake in the background; what it prints goes to `said`."""
        command = [sys.executable, "-m", "snakemake", *self.arguments(*more)]
        with open(self.folder / "said", "w") as said:
            run = subprocess.Popen(
                command, cwd=ROOT, env=self.cluster.environment, stdout=said,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.runs.append(run)
        return run

    def stop(self) -> None:
        """End what is still running, after a test that failed."""
        for run in self.runs:
            if run.poll() is None:
                run.kill()
                run.wait()

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def call(self, *command: str) -> subprocess.CompletedProcess:
        """Another command with Python, to its end."""
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=self.cluster.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def jobs(self, rule: str = "") -> dict[int, dict[str, str]]:
        """Its Slurm jobs; those of a rule are sorted under rule_NAME/WILDCARDS/."""
        logs = f"{self.folder.resolve()}/.snakemake/slurm_logs/{rule}"
        jobs = self.cluster.jobs().items()
        return {number: job for number, job in jobs if job.get("StdOut", "").startswith(logs)}

    def states(self, run: str) -> list[Path]:
        """What a training run has kept so far; `run` is MODEL/seed-N/NAME."""
        return sorted((self.folder / "results/.state" / run).glob("state-*/rows.json"))

    def outputs(self) -> dict[str, int]:
        """file -> inode, for what is published: a file that is written again has another inode."""
        results = self.folder / "results"
        files = [f for f in results.rglob("*") if f.is_file()]
        names = {f.relative_to(results).as_posix(): f for f in files}
        return {
            name: file.stat().st_ino
            for name, file in names.items()
            if not name.startswith((".state/", "logs/"))
        }


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None):
    """The condition's first true value; fails after a long time, or if the process ends first."""
    deadline = time.monotonic() + 900
    while not (value := condition()):
        assert process is None or process.poll() is None, "Snakemake ended too early"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return value


def micro(**changes) -> dict:
    """The micro study with one RL run, one protocol and two edits a stage."""
    config = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
    config["rl"] |= {"branches": {"ppo": [8]}, "recipes": {"ppo": {"samples_per_prompt": 2}}}
    del config["evaluation"]["protocols"]["paper"]
    config["edits"] = {"axes": {"rank": [1.0]}, "controls": {}, "controlled": {}}
    return config | changes


def models(config: dict, needs: dict[str, dict], steps: int) -> dict:
    """A model for each name, all alike, whose base takes `steps` steps and keeps many states."""
    model = config["models"]["micro"]
    scratch = model["scratch"]
    pretraining = scratch["pretraining"] | {"steps": steps, "state_every": 5}
    model = model | {"scratch": scratch | {"pretraining": pretraining}}
    return {name: model | {"needs": {"base": need}} for name, need in needs.items()}


def processes(job: int) -> list[tuple[int, str]]:
    """(process, command line) of a Slurm job on this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURM_JOB_ID={job}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((int(process.name), (process / "cmdline").read_text()))
        except OSError:
            continue
    return found


def megabytes(job: dict[str, str]) -> int:
    """Memory a job asked for."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    return int(float(number) * {"M": 1, "G": 1024}[unit])
