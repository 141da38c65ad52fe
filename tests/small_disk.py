"""A disk of a few MB: a tmpfs in a mount namespace of one process's own, which needs no rights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENTER = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


def on_small_disk(folder: Path, size: str, code: str) -> str:
    """What Python code prints that runs in `folder`, a fresh disk of `size` that ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([*ENTER, MOUNT, "1m", str(folder), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        # where everything has to be tested a test that did not run has not passed
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"no mount namespaces here: {error}")
    code = f"import os; os.chdir({str(folder)!r})\n{code}"
    done = subprocess.run(
        [*ENTER, MOUNT, size, str(folder), sys.executable, "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output
