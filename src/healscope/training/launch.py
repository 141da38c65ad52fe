"""Runs a training job in this process, or in several by `accelerate launch`.

The processes read and write JSON in the run's state folder:

    launch/job.json             the job and its compute settings
    launch/stop                 the name of the signal that this process has received
    launch/result.json          the rows, and why training ended early
    launch/failed-{rank}.json   the error of one process, one sentence

The launched processes ignore signals: schedulers send them to some of a job's processes or to all,
and launchers kill theirs 30 seconds later. So only this process listens, and all stop at one step.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

from healscope import provenance
from healscope.config import ALGORITHMS, Launch, Training, load, read_deepspeed
from healscope.errors import HealscopeError
from healscope.training import jobs, stop
from healscope.training.compute import Compute
from healscope.training.health import Diverged
from healscope.training.state import Workspace

FOLDER = "launch"
LAYOUT = "layout.json"  # of the state folder: how many processes share its states
SECONDS = 0.1  # between two looks at the processes


def run(
    job: dict, config: dict, deepspeed_files: str | Path, threads: int, work: Workspace
) -> list[dict]:
    """Train with the `launch` settings of the job's model; return the logged rows.

    All processes together use as many CPU threads as the job has.

    Raises Stopped on SIGTERM or SIGUSR1, Diverged if RL cannot go on, and HealscopeError if a
    process failed, or if the saved state is that of another number of processes.
    """
    launch = load(config).model_of(job["track"]).launch
    recipe = job["params"].get("recipe")
    if recipe and not issubclass(ALGORITHMS[recipe["algorithm"]], Training):
        launch = Launch()  # nothing is trained
    _check_layout(launch, work)
    with stop.heeded():
        if launch.deepspeed is None:
            return jobs.run(job, work, Compute(launch))
        content = {
            "job": job,
            "launch": launch.model_dump(mode="json"),
            "deepspeed": read_deepspeed(launch.deepspeed, deepspeed_files),
            "threads": max(1, threads // launch.processes),
        }
        return _launched(content, work)


def _check_layout(launch: Launch, work: Workspace) -> None:
    """Raise HealscopeError if states were saved by another number of processes.

    Each process holds a part of a state.
    """
    layout = {"processes": launch.processes, "deepspeed": launch.deepspeed}
    file = work.folder / LAYOUT
    before = provenance.read_json(file) if file.is_file() else layout
    if before != layout:
        raise HealscopeError(
            f"the unfinished run in {work.folder} was trained with processes: "
            f"{before['processes']} and deepspeed: {before['deepspeed']}; set models.*.launch back "
            "to these to finish it, or delete that folder to start again"
        )
    provenance.write_json(file, layout)


def _launched(content: dict, work: Workspace) -> list[dict]:
    folder = work.folder / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    provenance.write_json(folder / "job.json", content)
    process = subprocess.Popen(
        _command(content["launch"]["processes"], content["threads"], folder / "job.json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(content["threads"]),
        pass_fds=[work.lock],  # as long as they live, nobody else may write here
        preexec_fn=_ignore_signals,
    )
    output: list[str] = []
    reader = Thread(target=_forward, args=(process.stdout, output), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            if stop.received() and not (folder / "stop").exists():
                part = folder / "stop.part"
                part.write_text(stop.received(), encoding="utf-8")
                part.rename(folder / "stop")
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                continue
    finally:
        _end(process)
        reader.join(timeout=5)
    return _result(folder, process.returncode, output)


def _command(processes: int, threads: int, job: Path) -> list[str]:
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--use_deepspeed", "--num_machines", "1", "--num_processes", str(processes),
        "--main_process_port", "0",  # a free one: several jobs may share a machine
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", str(threads),
        "--module", "healscope.training.worker", str(job),
    ]  # fmt: skip


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of the processes: signals, threads, and these sources."""
    sources = str(Path(__file__).resolve().parents[2])
    paths = [sources, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PET_SIGNALS_TO_HANDLE": "SIGINT,SIGHUP,SIGQUIT",  # torchrun: not SIGTERM
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _ignore_signals() -> None:
    for number in stop.SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _forward(stream, output: list[str]) -> None:
    """Pass lines on to this job's stderr, which is also its log; keep the last ones."""
    for line in stream:
        output[:] = [*output[-30:], line.rstrip()]
        sys.stderr.write(line)


def _end(process: subprocess.Popen) -> None:
    """End the processes if they still run, as this one was interrupted."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)  # the launcher ends the others
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _result(folder: Path, code: int, output: list[str]) -> list[dict]:
    """Return the rows, or raise what was raised in the processes."""
    for file in sorted(folder.glob("failed-*.json")):
        failed = provenance.read_json(file)
        raise HealscopeError(f"training process {failed['rank']} failed: {failed['error']}")
    if code or not (folder / "result.json").is_file():
        last = next((line for line in reversed(output) if "rror" in line), "it left no message")
        raise HealscopeError(f"a training process ended with code {code}: {last.strip()}")
    result = provenance.read_json(folder / "result.json")
    if result["stopped"]:
        raise stop.Stopped(result["stopped"], stop.received())
    if result["diverged"]:
        raise Diverged(result["diverged"], result["rows"])
    return result["rows"]
