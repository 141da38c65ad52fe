"""`healscope weights` beside modeldelta on the same pair of models: CPU seconds and peak memory.

    python benchmarks/glance.py FOLDER FOLDER [INTERPRETER OF MODELDELTA] [--rounds 3]

Each run is a process of one thread, imports and all; they take turns, and medians are printed.
modeldelta (0.4.4, PyPI) makes norms, cosines, shares of unchanged entries, and from an SVD of each
update its effective rank and leading energy; ours makes the same, and with controls a null beside
each and where the update lies.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def measured(command: list[str]) -> tuple[float, float]:
    """(CPU seconds, peak MiB) of a process."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], env=env, check=True, capture_output=True, text=True
    )
    seconds, peak = map(float, done.stdout.split()[-2:])
    return seconds, peak


def main(arguments: list[str]) -> None:
    rounds = int(arguments.pop(arguments.index("--rounds") + 1)) if "--rounds" in arguments else 3
    a, b, *other = [x for x in arguments if x != "--rounds"]
    python = other[0] if other else sys.executable
    out = Path(tempfile.mkdtemp()) / "modeldelta.json"
    ours = [sys.executable, "-m", "healscope.cli", "weights", a, b]
    ways = {
        "modeldelta": [
            python,
            "-m",
            "modeldelta",
            a,
            b,
            "--format",
            "json",
            "-o",
            str(out / "md.json"),
        ],
        "healscope, no controls": [*ours, "--no-controls"],
        "healscope, with controls": ours,
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, command in ways.items():
            found[way].append(measured(command))
    base = statistics.median(seconds for seconds, _ in found["modeldelta"])
    print(f"{rounds} rounds of {a} and {b}; peak memory of this process {_own():.0f} MiB")
    for way, runs in found.items():
        seconds, peak = (statistics.median(x) for x in zip(*runs, strict=True))
        print(f"{way:26s}{seconds:8.1f} CPU s   ratio {seconds / base:5.2f}   peak {peak:6.0f} MiB")


def _own() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
