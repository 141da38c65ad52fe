"""How long planning takes: the paper's study, and a synthetic one of 10,000 jobs. No job is run.

python benchmarks/dag.py [--rounds 3]
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SEEDS = 34  # of the paper's study, with which it has 10,000 jobs


def plan(config: Path, folder: Path) -> tuple[int, float, float, float]:
    """(jobs, wall seconds, CPU seconds, peak MiB) of a dry run."""
    code = (
        "import resource, runpy, sys\n"
        "try: runpy.run_module('snakemake', run_name='__main__')\n"
        "finally:\n"
        "    u = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print('used', u.ru_utime + u.ru_stime, u.ru_maxrss / 1024, file=sys.stderr)\n"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "-n", "--directory", str(folder), "--configfile", str(config)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    wall = time.monotonic() - start
    jobs = int(re.search(r"^total\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE)[1])
    cpu, memory = map(float, re.search(r"^used (\S+) (\S+)$", done.stderr, re.MULTILINE).groups())
    return jobs, wall, cpu, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    paper = ROOT / "config/paper.yaml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large.yaml"
        large.write_text(
            yaml.safe_dump({**yaml.safe_load(paper.read_text()), "seeds": list(range(SEEDS))})
        )
        print(f"{'study':24} {'jobs':>6} {'wall s':>8} {'CPU s':>8} {'MiB':>6}")
        for title, config in (("config/paper.yaml", paper), (f"with {SEEDS} seeds", large)):
            runs = [plan(config, folder / "run") for _ in range(given.rounds)]
            jobs, wall, cpu, memory = sorted(runs, key=lambda run: run[1])[len(runs) // 2]
            print(f"{title:24} {jobs:6,} {wall:8.1f} {cpu:8.1f} {memory:6.0f}")


if __name__ == "__main__":
    main()
