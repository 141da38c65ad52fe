"""Lifts the lock that a killed Snakemake left in this folder, unless one is still at work here.

`make figures` calls it first; arguments are passed on to `snakemake --unlock`.
"""

import os
import subprocess
import sys
from pathlib import Path


def at_work(folder: str) -> list[int]:
    """Processes of Snakemake, or of its jobs, whose working directory is `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"snakemake" in (process / "cmdline").read_bytes()
                and os.readlink(process / "cwd") == folder
            ):
                found.append(int(process.name))
        except OSError:  # it ended, or is not ours to look at
            continue
    return found


if __name__ == "__main__" and any(Path(".snakemake/locks").glob("*")):
    if pids := at_work(os.getcwd()):
        sys.exit(f"healscope: Snakemake is at work in this folder already (process {pids[0]})")
    print("healscope: an earlier run was killed; this one continues it")
    unlock = [sys.executable, "-m", "snakemake", "--unlock", "--quiet", "all", *sys.argv[1:]]
    sys.exit(subprocess.run(unlock, check=False).returncode)
