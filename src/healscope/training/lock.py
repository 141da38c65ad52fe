"""A lock that one process holds, also among processes on different nodes of a cluster.

On one host the system's file lock decides; it is freed when its owner dies. Network file systems
may not carry it to other hosts, so the owner also touches its file as a heartbeat: a stale file
means that the owner is gone. Only changes of the file's time count, so clocks need not agree.
"""

import fcntl
import os
import socket
import sys
import threading
import time
import weakref
from pathlib import Path

from healscope.errors import HealscopeError

BEAT_S = 15.0
PATIENCE_S = 60.0  # how long to watch for a heartbeat of another host's owner


class Lock:
    """A lock on `file`, held until `close()`; `work` names in messages what it protects.

    Raises HealscopeError if another process holds it.
    """

    def __init__(self, file: str | Path, work: str, patience_s: float = PATIENCE_S):
        self.path = Path(file)
        self._file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HealscopeError(_refusal(work, _owner(self.path))) from None
        before = _owner(self.path)
        if before and not _ended(before) and _beats(self.path, patience_s):
            raise HealscopeError(_refusal(work, before))
        if before:
            print(f"healscope: {work} goes on after {_words(before)}", file=sys.stderr)
        self._file.truncate(0)
        self._file.write(f"{socket.gethostname()} {os.getpid()} {_slurm_job()}")
        self._file.flush()
        self._closed = threading.Event()
        weakref.finalize(self, self._closed.set)  # of a lock that was not closed
        threading.Thread(target=_beat, args=(self.path, self._closed), daemon=True).start()

    def fileno(self) -> int:
        """Return the file descriptor; a process that inherits it holds the lock as well."""
        return self._file.fileno()

    def close(self) -> None:
        """Release the lock; an empty file has no owner."""
        self._closed.set()
        self._file.truncate(0)
        self._file.close()


def _beat(file: Path, closed: threading.Event) -> None:
    while not closed.wait(BEAT_S):
        os.utime(file)


def _slurm_job() -> str:
    return os.environ.get("SLURM_JOB_ID", "-")


def _owner(file: Path) -> tuple[str, str, str] | None:
    """Return (host, process, Slurm job) that a lock file names, or None if it is empty."""
    words = file.read_text(encoding="utf-8").split()
    return (words[0], words[1], words[2]) if len(words) == 3 else None


def _ended(owner: tuple[str, str, str]) -> bool:
    """Return whether an owner without a file lock on this host is surely gone.

    It is if it ran on this host, or in an earlier run of this Slurm job.
    """
    host, _, job = owner
    return host == socket.gethostname() or job == _slurm_job() != "-"


def _beats(file: Path, patience_s: float) -> bool:
    """Return whether the owner touches its file within `patience_s` seconds."""
    first = _age_mark(file)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        time.sleep(min(1.0, patience_s / 10))
        if _age_mark(file) != first:
            return True
    return False


def _age_mark(file: Path) -> int:
    # opening asks the file server; a bare stat may be answered from memory
    with open(file, encoding="utf-8") as opened:
        return os.fstat(opened.fileno()).st_mtime_ns


def _words(owner: tuple[str, str, str] | None) -> str:
    if owner is None:
        return "another process"
    host, process, job = owner
    return f"process {process} on {host}" + (f" (Slurm job {job})" if job != "-" else "")


def _refusal(work: str, owner: tuple[str, str, str] | None) -> str:
    return (
        f"another process works on {work}: {_words(owner)}, a job of a run that was killed? "
        "Wait until it ends, or kill it (scancel, if it is a Slurm job), and rerun"
    )
