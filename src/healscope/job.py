"""What a workflow job needs around its one library call: log, GPUs, threads, plain errors."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from healscope import gpus, progress
from healscope.errors import HealscopeError


class _Tee:
    def __init__(self, *streams):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def job(snakemake, torch: bool = False) -> Iterator[None]:
    """Runs a job's body: stderr also goes to its log; an expected failure ends with one sentence.

    `snakemake` is what Snakemake puts into a script. A job whose rule asks for GPUs
    (`resources: gpu`) has that many, or does not start; one that asks for none takes a GPU where
    there is one. `torch` pins torch's thread count and says less of what is not ours.
    """
    os.environ[progress.LINES] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer it builds
    log, asked = snakemake.log[0], int(snakemake.resources.get("gpu", 0))
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr
    with open(log, "w", buffering=1) as file, ExitStack() as held:
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
        except OSError as error:
            traceback.print_exc(file=file)
            hint = (
                "free some disk, then rerun" if error.errno == errno.ENOSPC else "rerun to continue"
            )
            reason = f"{error.strerror or error} {error.filename or ''}".strip()
            print(f"healscope: {reason} ({hint}; log: {log})", file=sys.stderr)
            sys.exit(1)
        except BaseException:
            traceback.print_exc(file=file)  # the log keeps it; Snakemake shows it on the screen too
            raise
        finally:
            sys.stderr = terminal


def prepare_torch(threads: int) -> None:
    """Fixes torch's thread count and algorithms, so that a rerun adds up in the same order."""
    import torch

    torch.set_num_threads(threads)
    if torch.cuda.is_available():  # CPU kernels repeat themselves already; the switch slows them
        torch.use_deterministic_algorithms(True, warn_only=True)
    if "transformers" in sys.modules:  # imported later, it heeds what `job` set
        from transformers.utils import logging

        logging.disable_progress_bar()  # of loading and saving: ours are the ones to watch
