"""Reserves the GPUs of a job, so that no other job of this user on this machine takes them."""

import fcntl
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from healscope.errors import HealscopeError

VISIBLE = "CUDA_VISIBLE_DEVICES"
SECONDS_BETWEEN_LOOKS = 2.0


def take(asked: int, held: ExitStack) -> None:
    """Make `asked` (> 0) GPUs the only visible ones, and hold them until `held` is closed.

    Which ones: of those that are visible, the first that no other job of this user holds. Nobody
    deals GPUs out to jobs that run side by side on a workstation, or on a cluster that lets every
    job see all of a node's; it waits where all are held. Call it before CUDA is initialised. Raises
    HealscopeError where fewer are visible.
    """
    names = visible()
    if len(names) < asked:
        given = os.environ.get(VISIBLE)
        raise HealscopeError(
            f"this job asks for {asked} GPU{'s' * (asked > 1)}, and torch sees {len(names)} "
            f"({VISIBLE} is {'not set' if given is None else repr(given)}): ask for as many as a "
            "job can have (models.*.needs.*.gpus) or run it where they are; on Slurm see `tasks` "
            "in the profile, with which a job may be started once per GPU, each seeing one"
        )
    chosen = claim(names, asked, held)
    if len(chosen) < len(names):
        os.environ[VISIBLE] = ",".join(chosen)
        if (now := count()) != asked:
            raise HealscopeError(
                f"this job asks for {asked} of {len(names)} GPUs, and still sees {now}: CUDA was "
                f"in use before; set {VISIBLE} to those that it may use, and rerun"
            )


def visible() -> list[str]:
    """Return the names of the GPUs that torch sees, as CUDA_VISIBLE_DEVICES has them."""
    given = os.environ.get(VISIBLE)
    return [str(i) for i in range(count())] if given is None else given.split(",")[: count()]


def count() -> int:
    """Return how many GPUs torch sees; fixed once CUDA is in use."""
    import torch

    return torch.cuda.device_count()  # does not initialise CUDA


def claim(names: list[str], asked: int, held: ExitStack) -> list[str]:
    """Lock the first `asked` of `names` that no other process has locked; wait until there are.

    A claim is a lock on a file; the system frees it when its owner dies. Names are those within
    one Slurm job, which may number its own GPUs from 0.
    """
    # all or none: two jobs that each hold a part of what they need would wait for ever
    waited = False
    while True:
        with ExitStack() as mine:
            chosen = []
            for name in names:
                if len(chosen) < asked and (lock := _locked(name)):
                    mine.enter_context(lock)
                    chosen.append(name)
            if len(chosen) == asked:
                held.enter_context(mine.pop_all())
                return chosen
        if not waited:
            print(
                f"healscope: waits for {asked} of {len(names)} GPUs, which other jobs here hold "
                f"(snakemake --resources gpu={len(names)} starts no more jobs than fit)",
                file=sys.stderr,
            )
        waited = True
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _locked(name: str) -> IO | None:
    whose = f"{os.getuid()}-{os.environ.get('SLURM_JOB_ID', 'local')}"
    place = Path(tempfile.gettempdir()) / f"healscope-{whose}-gpu-{name}.lock"
    file = open(place, "w", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
