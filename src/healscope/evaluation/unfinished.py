"""Keeps finished evaluations of a job that fails or is killed.

Snakemake deletes the outputs of a failed job, and of those that stood before it deletes or restores
the old version. A job that fills many files therefore writes them into a state folder, which
Snakemake does not know, and moves them to the outputs at the end. A job that comes after a failed
one finds there what it need not do again; `keep_finished` moves the rest when the run ends.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from healscope import artifacts, provenance

_WANTED = "wanted.json"
"""In a state folder: output file -> fingerprint of what it should come from."""


def begin(wanted: Mapping[str, str]) -> Path:
    """Return the state folder of a job whose outputs (file -> fingerprint) are `wanted`.

    Outputs that stand have a place in it as well, so that they are safe from Snakemake.
    """
    name = provenance.fingerprint(sorted(wanted))[:16]
    folder = Path(artifacts.path(artifacts.UNFINISHED, job=name))
    for file, fingerprint in wanted.items():
        place = staged(folder, file)
        if _fingerprint(file) == fingerprint != _fingerprint(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            _link(file, place)
    provenance.write_json(folder / _WANTED, dict(wanted))
    return folder


def staged(folder: Path, file: str) -> Path:
    """Return the path in a state folder where an output is written."""
    return folder / file.lstrip("/")


def publish(folder: Path) -> int:
    """Move the files of a state folder to their outputs, delete the folder, and return how many.

    An output that came from something else is deleted where nothing takes its place: Snakemake
    would take what it restored for the new version.
    """
    moved = 0
    for file, fingerprint in provenance.read_json(folder / _WANTED).items():
        place = staged(folder, file)
        if _fingerprint(place) == fingerprint:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            place.replace(file)
            moved += 1
        elif _fingerprint(file) != fingerprint:
            Path(file).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return moved


def keep_finished() -> str:
    """Publish evaluations of jobs that failed or were killed; return a sentence about them, or "".

    Call it while no job runs.
    """
    left = Path(artifacts.path(artifacts.UNFINISHED, job="")).glob(f"*/{_WANTED}")
    kept = sum(publish(note.parent) for note in left)
    return f"healscope: {kept} evaluations of failed jobs are finished and stand" if kept else ""


def _fingerprint(file: str | Path) -> str | None:
    return (provenance.read_provenance(file) or {}).get("fingerprint")


def _link(file: str, new: Path) -> None:
    """Make a hard link to a file, or a copy on file systems without hard links."""
    try:
        os.link(file, new)
    except OSError:
        shutil.copy2(file, new)
