"""Prepares a folder for a rerun after Snakemake was killed. Takes the arguments of the rerun.

Refuses while Snakemake is at work there. Else it cancels the Slurm jobs that the killed run left
behind (training goes on from its last state), lifts the lock, and has Snakemake take note of what
jobs finished after its death, so that they count as done and a later change of the config is seen.
`make figures` calls it first.
"""

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from snakemake.cli import parse_args

from healscope import slurm


def at_work(folder: str, besides: dict[int, str]) -> list[int]:
    """Return processes of Snakemake or its jobs in `folder`, except those of some Slurm jobs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"snakemake" in (process / "cmdline").read_bytes()
                and os.readlink(process / "cwd") == folder
                and not any(
                    f"SLURM_JOB_ID={job}".encode() in _environment(process) for job in besides
                )
            ):
                found.append(int(process.name))
        except OSError:  # it ended, or is not ours to look at
            continue
    return found


def _environment(process: Path) -> list[bytes]:
    return (process / "environ").read_bytes().split(b"\0")


def cancel(folder: str, jobs: dict[int, str]) -> None:
    """Cancel Slurm jobs, and wait until none is running."""
    ids = list(map(str, jobs))
    print(f"healscope: cancelling the Slurm jobs it left behind: {' '.join(ids)}", flush=True)
    subprocess.run(["scancel", *ids], check=False)
    while slurm.left_behind(folder):
        time.sleep(1)


def snakemake(*arguments: str) -> str:
    """Return the output of Snakemake; exit with its messages if it fails."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}")
    return done.stdout


def unrecorded(arguments: list[str]) -> list[str]:
    """Return outputs that exist without a record of Snakemake, because it was killed before they
    were made."""
    lines = snakemake("--summary", *arguments).splitlines()
    rows = [line.split("\t") for line in lines if line.count("\t") >= 5]
    # columns: file, date, rule, logs, status, plan; every rule has a log, and its record names it
    return [row[0] for row in rows if row[3] == "-" and row[4] != "missing"]


def parse(arguments: list[str]):
    """Return Snakemake's parsed arguments."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            return parse_args(arguments)[1]
        except SystemExit:
            sys.exit(said.getvalue())


def main(arguments: list[str]) -> None:
    parsed = parse(arguments)
    folder = os.path.realpath(parsed.directory or ".")
    jobs = slurm.left_behind(folder)
    if not jobs and not any(Path(folder, ".snakemake/locks").glob("*")):
        return
    if pids := at_work(folder, besides=jobs):
        sys.exit(f"healscope: Snakemake is at work in this folder already (process {pids[0]})")
    host, process = slurm.signed(folder)
    if host and host != socket.gethostname():
        sys.exit(
            f"healscope: Snakemake was started here on host {host} (process {process}). Call this "
            f"there; if that host is gone, delete {folder}/{slurm.SIGNATURE} first"
        )
    print("healscope: an earlier run was killed; this one continues it", flush=True)
    if jobs:
        cancel(folder, jobs)
    options = [a for a in arguments if a not in parsed.targets and a != "--"]
    snakemake("--unlock", *options)
    if files := unrecorded(arguments):
        # --touch records them under the config of now, and runs nothing
        print(f"healscope: finished after its death, and standing: {' '.join(files)}", flush=True)
        snakemake("--touch", "--force", "--no-hooks", *options, "--", *files)


if __name__ == "__main__":
    main(sys.argv[1:])
