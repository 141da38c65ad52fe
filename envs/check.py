"""`python envs/check.py LOCK...`: is what this Python has installed what the locks say, all of it?

Needs no package but what it checks. Exit status 1, and a line for each difference.
"""

import re
import sys
from importlib import metadata

UNPINNED = {"healscope", "pip", "setuptools", "wheel"}
BY_TORCH = ("nvidia-", "cuda-", "triton")  # builds for GPUs: torch itself pins them exactly


def main(locks: list[str]) -> int:
    wanted = {}
    for lock in locks:
        wanted |= {name: (version, lock) for name, version in read(lock).items()}
    found = {normal(d.metadata["Name"]): d.version for d in metadata.distributions()}
    wrong = [
        f"{name}=={version} is in {lock}, and {found.get(name, 'nothing')} is installed"
        for name, (version, lock) in wanted.items()
        if found.get(name, "").partition("+")[0] != version.partition("+")[0]
    ]
    wrong += [
        f"{name}=={version} is installed, and in no lock"
        for name, version in found.items()
        if name not in wanted and name not in UNPINNED and not name.startswith(BY_TORCH)
    ]
    for line in sorted(wrong):
        print(line, file=sys.stderr)
    if not wrong:
        print(f"{len(wanted)} packages, all as {' and '.join(locks)} say")
    return bool(wrong)


def read(lock: str) -> dict[str, str]:
    """name -> version of a file of `name==version` lines."""
    with open(lock, encoding="utf-8") as lines:
        entries = [line.partition("#")[0].split(";")[0].strip() for line in lines]
    return {
        normal(name): version
        for name, version in (e.split("==") for e in entries if e and not e.startswith("-"))
    }


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
