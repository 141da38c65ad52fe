"""Stops a run at its next step on SIGTERM or SIGUSR1, after its state was saved.

Slurm sends SIGTERM before it kills at the wall limit, at a preemption and at a requeue. The run
ends with `Stopped`; the job fails with one sentence, and running it again continues.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from healscope.errors import HealscopeError
from healscope.training import processes

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_received: list[str] = []  # names of signals, as a process has one set of handlers
_file: list[Path] = []  # in a worker: the file by which its parent tells of a signal


class Stopped(HealscopeError):  # noqa: N818 (what happened to a run)
    """A run that was asked to stop, and has saved its state."""

    def __init__(self, where: str, name: str | None = None):
        super().__init__(
            f"stopped by {name or received() or 'a signal'} at {where}, with its state saved; "
            "rerun or requeue to continue"
        )
        self.where = where


@contextmanager
def heeded() -> Iterator[None]:
    """Note signals within this context, in place of what they do outside."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can have handlers: its code heeds signals itself
        return
    before = {s: signal.signal(s, lambda n, _: _received.append(signal.Signals(n).name))
              for s in SIGNALS}  # fmt: skip
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def told_by(file: Path) -> None:
    """Take the appearance of `file` for a signal, from now on."""
    _file[:] = [file]


def received() -> str | None:
    """Return the name of the first signal that this process has noted, or None."""
    return _received[0] if _received else None


def wanted() -> bool:
    """Return whether to stop now; all processes ask at the same step and get the same answer."""
    return processes.agreed(bool(_received or (_file and _file[0].exists())))


def at_step(keep: Callable[[], None], done: int, every: int, last: bool, where: str) -> None:
    """Save a state after `done` steps if one is due, and at the last step and on a signal.

    Then raises Stopped, which names the step (`where`), on a signal before the last step.
    """
    stopped = not last and wanted()
    if last or stopped or done % every == 0:
        keep()
    if stopped:
        raise Stopped(where)
