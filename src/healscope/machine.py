"""Describes the machine that a job runs on: what numbers depend on besides code, config and seeds.

Two machines add up in another order and have other kernels, so that the same seeds give slightly
different weights. A description holds no host name and no path.
"""

import os
import platform
import re
import sys
from functools import cache
from pathlib import Path


def describe() -> dict:
    """Return processor, accelerator, Python, operating system, BLAS and thread counts.

    What only torch can tell (accelerator, its BLAS, its threads) is None in a process that has not
    imported it: such a job computes nothing with torch.
    """
    torch = sys.modules.get("torch")
    return {
        "processor": processor(),
        "accelerator": _accelerator() if torch else None,
        "python": platform.python_version(),
        "system": platform.platform(),
        "blas": {"numpy": _numpy_blas(), "torch": _torch_blas() if torch else None},
        "threads": {
            "torch": torch.get_num_threads() if torch else None,
            "omp": int(os.environ.get("OMP_NUM_THREADS") or 0) or None,
        },
    }


def in_words(machine: dict) -> str:
    """Return a description as one line of text."""
    blas = [f"{library} with {name}" for library, name in machine["blas"].items() if name]
    count = machine["threads"]["torch"] or machine["threads"]["omp"]
    return ", ".join(
        [
            machine["processor"],
            machine["accelerator"] or "no accelerator",
            f"Python {machine['python']}",
            machine["system"],
            *blas,
            *([f"{count} thread{'s' if count > 1 else ''}"] if count else []),
        ]
    )


@cache
def processor() -> str:
    """Return the name of the processor's model, or of its architecture where no model is known."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = re.search(r"^model name\s*:\s*(.+)$", about, re.M)
    except OSError:  # not Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


@cache
def _accelerator() -> str | None:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return None


@cache
def _numpy_blas() -> str | None:
    import numpy as np

    about = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{about['name']} {about.get('version', '')}".strip() if about.get("name") else None


@cache
def _torch_blas() -> str | None:
    """MKL stands in torch's report with its version, other libraries by name alone."""
    import torch

    report = torch.__config__.show()
    if found := re.search(r"Math Kernel Library Version (\S+?)(-Product)?\s", report):
        return f"mkl {found[1]}"
    found = re.search(r"BLAS_INFO=(\w+)", report)
    return found[1] if found else None
