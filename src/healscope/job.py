"""The frame of a workflow job: its log, GPUs, threads and error messages."""

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from healscope import gpus, progress
from healscope.errors import HealscopeError, disk_full


class _Tee:
    """A stream to the terminal and the log; it goes on without the log if the disk is full."""

    def __init__(self, terminal: TextIO, log: TextIO):
        self.terminal, self.log = terminal, log

    def write(self, text: str) -> int:
        with suppress(OSError):
            self.log.write(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.log.flush()
        self.terminal.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def job(snakemake, torch: bool = False) -> Iterator[None]:
    """Run a job's body: stderr also goes to its log; an expected failure ends with one sentence.

    `snakemake` is what Snakemake puts into a script. A job whose rule asks for GPUs
    (`resources: gpu`) has that many, or does not start; one that asks for none takes a GPU where
    there is one. `torch` pins torch's thread count and says less of what is not ours.
    """
    os.environ[progress.LINES] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer it builds
    os.environ["MPLBACKEND"] = "agg"  # that of a notebook is of another environment
    log, asked = snakemake.log[0], int(snakemake.resources.get("gpu", 0))
    terminal = sys.stderr
    with _opened(log) as file, ExitStack() as held:
        sys.stderr = _Tee(terminal, file)
        try:
            if asked:
                gpus.take(asked, held)
            if torch:
                prepare_torch(snakemake.threads)
            yield
        except HealscopeError as error:
            print(f"healscope: {error}\n(log: {log})", file=sys.stderr)
            sys.exit(1)
        except BaseException as error:
            with suppress(OSError):
                traceback.print_exc(file=file)  # Snakemake shows what is raised on the screen too
            if not (reason := _reason(error, Path(log).parent)):
                raise
            print(f"healscope: {reason} (log: {log})", file=sys.stderr)
            sys.exit(1)
        finally:
            sys.stderr = terminal


@contextmanager
def _opened(log: str) -> Iterator[TextIO]:
    """Yield the opened log file, or /dev/null if the disk is full."""
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        file = open(log, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
    except OSError:
        file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


def _reason(error: BaseException, folder: Path) -> str | None:
    """Return what the system refused, and what to do; None if the error is not the system's."""
    if full := disk_full(error):
        left = shutil.disk_usage(folder).free / 1e9 if folder.is_dir() else 0
        return (
            f"{full} ({left:.1f} GB where results are): free some or put results on another disk, "
            "then rerun; what was saved stands"
        )
    if isinstance(error, OSError):
        return f"{error.strerror or error} {error.filename or ''}".strip() + "; rerun to continue"
    return None


def prepare_torch(threads: int) -> None:
    """Fix torch's thread count and algorithms, so that a rerun sums in the same order."""
    import torch

    torch.set_num_threads(threads)
    if torch.cuda.is_available():  # CPU kernels repeat themselves already; the switch slows them
        torch.use_deterministic_algorithms(True, warn_only=True)
    if "transformers" in sys.modules:  # imported later, it heeds what `job` set
        from transformers.utils import logging

        logging.disable_progress_bar()  # of loading and saving: ours are the ones to watch
