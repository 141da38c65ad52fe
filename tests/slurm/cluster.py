"""A real Slurm of one machine: three nodes on the loopback interface, in a folder of its own.

No systemd, no accounting database, nothing outside the folder; whoever starts it owns it.
"""

import ctypes
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"  # where Debian puts daemons
NODES = ("n1", "n2", "n3")
PARTITIONS = {
    "main": "n1",
    "gpu": "n1",
    "pair": "n2,n3",  # for what happens when one leaves
}
CPUS = os.cpu_count() + 6  # what each node claims, whatever the machine has
MEMORY_MB, GPUS = 16000, 2

SLURM_CONF = """\
ClusterName=healscope
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SrunPortRange={srun_first}-{srun_last}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0
EnforcePartLimits=ALL
ReturnToService=2
KillWait=2
MinJobAge=3600
GresTypes=gpu
{nodes}
{partitions}
"""


@dataclass
class Cluster:
    """A running Slurm; `environment` makes its commands the ones that are found on the PATH."""

    folder: Path
    environment: dict[str, str]
    daemons: list[subprocess.Popen] = field(default_factory=list)

    def ask(self, command: str) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(
            shlex.split(command), env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def jobs(self) -> dict[int, dict[str, str]]:
        """Slurm job -> its fields (`JobState`, `Comment`, `StdOut`, …), finished ones included."""
        found = {}
        for line in self.ask("scontrol show job --oneliner").splitlines():
            # values may hold blanks; a field begins with a word and an equals sign
            fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
            if "JobId" in fields:
                found[int(fields["JobId"])] = fields
        return found

    def stop(self) -> None:
        """Cancel every job and end the daemons that were started."""
        if self.daemons and all(d.poll() is None for d in self.daemons):
            subprocess.run(["scancel", "--full", f"--user={os.getuid()}"], env=self.environment)
            deadline = time.monotonic() + 15
            while self.ask("squeue --noheader") and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def missing() -> list[str]:
    """Programs of Slurm and munge that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]


def start(folder: Path) -> Cluster:
    """Start munge, slurmctld and the nodes; RuntimeError with the end of the logs if it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    _configure(folder)
    cluster = Cluster(folder, _commands(folder))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    try:
        _daemon(
            cluster, "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={folder}/munge.sock", f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        _until(cluster, f"munge --no-input --socket={folder}/munge.sock")
        _daemon(cluster, "slurmctld", "-D", "-i")
        _until(cluster, "scontrol ping")
        for node in NODES:
            _daemon(cluster, "slurmd", "-D", "-N", node)
        for node in NODES:
            _until(cluster, f"sinfo --noheader --nodes={node} --states=idle", said=node)
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _configure(folder: Path) -> None:
    host = socket.gethostname().split(".")[0]
    (folder / "state").mkdir()
    first = random.randrange(20000, 30000, 200)  # below the ports that systems hand out
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={first + 1 + n} CPUs={CPUS} "
        f"RealMemory={MEMORY_MB} Gres=gpu:{GPUS} State=UNKNOWN"
        for n, name in enumerate(NODES)
    ]
    partitions = [
        f"PartitionName={name} Nodes={on} Default={'YES' if name == 'main' else 'NO'} "
        "MaxTime=1-0 State=UP"
        for name, on in PARTITIONS.items()
    ]
    text = SLURM_CONF.format(
        host=host, port=first, srun_first=first + 10, srun_last=first + 190, folder=folder,
        user=os.getuid(), nodes="\n".join(nodes), partitions="\n".join(partitions),
    )  # fmt: skip
    (folder / "slurm.conf").write_text(text)
    # a device that exists stands for a GPU: Slurm only looks at it, and accepts nothing but devices
    devices = ("/dev/null", "/dev/zero")[:GPUS]
    lines = ["AutoDetect=off", *(f"Name=gpu File={device}" for device in devices)]
    (folder / "gres.conf").write_text("\n".join(lines) + "\n")


def _commands(folder: Path) -> dict[str, str]:
    """Wrappers that name the configuration: the executor drops SLURM_CONF inside of jobs."""
    (folder / "bin").mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo"):
        wrapper = folder / "bin" / name
        program = shutil.which(name, path=SEARCH)
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n')
        wrapper.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}/bin:{SEARCH}", "SLURM_CONF": f"{folder}/slurm.conf"}


def _daemon(cluster: Cluster, program: str, *arguments: str) -> None:
    name = "-".join([program, *(a for a in arguments if a in NODES)])
    with open(cluster.folder / f"{name}.out", "w") as out:
        daemon = subprocess.Popen(
            [shutil.which(program, path=SEARCH), *arguments], env=cluster.environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            preexec_fn=_die_with_the_test,
        )  # fmt: skip
    cluster.daemons.append(daemon)


def _die_with_the_test() -> None:
    """A daemon ends when the tests are killed, and does not see their Ctrl-C before they do."""
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _until(cluster: Cluster, command: str, said: str = "", seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(
            shlex.split(command), env=cluster.environment, capture_output=True, text=True
        )
        if done.returncode == 0 and said in done.stdout:
            return
        dead = [d.args[0] for d in cluster.daemons if d.poll() is not None]
        if dead or time.monotonic() > deadline:
            logs = [*cluster.folder.glob("*.log"), *cluster.folder.glob("*.out")]
            ends = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
            why = f"{dead[0]} ended" if dead else f"no answer to {command!r}: {done.stderr}"
            raise RuntimeError(f"Slurm did not start: {why}\n{ends}")
        time.sleep(0.1)
