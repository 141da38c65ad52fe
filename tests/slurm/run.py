"""`make test-slurm`: installs Slurm where it is missing, and runs the tests that need one.

Slurm binds to the address of this host's name, which must be 127.0.0.1 here. Where it is not, the
tests run under the name `localhost`, in a UTS namespace of their own; the system stays as it is.
With `--install` it installs Slurm and ends.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cluster

LOCK = Path(__file__).parents[2] / "envs/slurm.apt"
PACKAGES = [line for line in LOCK.read_text().split("\n") if line and not line.startswith("#")]
INSTALL = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
RENAMED = "HEALSCOPE_HOST_RENAMED"
LOOPBACK = "127.0.0.1"


def install() -> None:
    """Install Slurm by apt; end with what to do where that is not possible."""
    ask = f"healscope: make test-slurm needs Slurm: as root, {' '.join(INSTALL)}"
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(ask)
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "check": False}
    # no service may start: the tests start their own, and a container has no systemd
    if subprocess.run([*INSTALL, "--quiet"], **quiet).returncode != 0:
        subprocess.run(["apt-get", "update", "--quiet"], **quiet)
        subprocess.run([*INSTALL, "--quiet"], **quiet)
    if lacking := cluster.missing():
        sys.exit(f"{ask} (still missing: {', '.join(lacking)})")


def address() -> str | None:
    """What this host's name resolves to."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return None


def under_another_name() -> None:
    """Start this again where the host is called localhost; end with advice if it may not."""
    namespace = ["unshare", "--uts"]
    if os.getuid() != 0:
        namespace += ["--map-current-user", "--keep-caps"]
    again = [*namespace, "sh", "-c", 'hostname localhost && exec "$@"', "sh", sys.executable]
    env = {**os.environ, RENAMED: "1"}
    allowed = subprocess.run([*namespace, "hostname", "localhost"], check=False)
    if RENAMED in os.environ or allowed.returncode != 0:
        name = socket.gethostname()
        sys.exit(f"healscope: make test-slurm needs a line in /etc/hosts: {LOOPBACK} {name}")
    os.execvpe("unshare", [*again, *sys.argv], env)


if __name__ == "__main__":
    if cluster.missing():
        install()
    if sys.argv[1:] == ["--install"]:
        sys.exit()
    if address() != LOOPBACK:
        under_another_name()
    here = str(Path(__file__).parent)
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", here, *sys.argv[1:]]).returncode)
