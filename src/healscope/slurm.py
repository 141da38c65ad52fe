"""Slurm jobs of a study: why one failed, and which ones a killed run has left running."""

import getpass
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

LOGS = ".snakemake/slurm_logs"  # where Snakemake's executor puts what Slurm says of a job
SIGNATURE = ".snakemake/started-by"

STAGE_OF = {  # beginning of a rule's name -> the stage whose `needs` it asks for
    "base_model": "base", "take": "base", "sft": "sft", "rl": "rl", "evaluate": "evaluation",
    "edit": "edits", "factors": "spectra", "compare": "spectra", "measure": "probes",
}  # fmt: skip

MEMORY, TIME, GPU = "mem_mb", "runtime", "gpus"

# what Slurm writes -> (what happened, the resource to ask more of); the first that fits, since a
# job killed for its memory or time is also called cancelled
CAUSES = [
    (r"CUDA out of memory|torch.OutOfMemoryError", "ran out of the GPU's memory", GPU),
    (r"exceeded (job |step )?memory|oom[-_ ]kill|out[ _]of[ _]memory", "ran out of memory", MEMORY),
    (r"DUE TO TIME LIMIT|'TIMEOUT'", "ran into its time limit", TIME),
    (r"DUE TO NODE FAILURE|'NODE_FAIL'|'BOOT_FAIL'", "lost its node", None),
    (r"DUE TO PREEMPTION|'PREEMPTED'", "was preempted", None),
    (r"sbatch failed", "was refused by Slurm", None),
    (r"JOB \d+ ON \S+ CANCELLED|'CANCELLED'", "was cancelled", None),
    (r"healscope: stopped by SIG", "was told to stop, and saved its state", None),
    (r"CANCELLED", "was cancelled", None),
]


class Failures(logging.Handler):
    """A handler of Snakemake's log that explains each failed job of a cluster.

    Snakemake itself shows neither the reason nor, at the profile's verbosity, the failure.
    `models`: track -> the model whose `needs` its jobs ask for.
    """

    def __init__(self, models: Mapping[str, str]):
        super().__init__(logging.INFO)
        self.models = models
        self.standing: dict[int, str] = {}  # jobs that have failed and not succeeded since

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record.__dict__.get("event"), "name", None)
        if event == "JOB_FINISHED":
            self.standing.pop(record.job_id, None)
        elif event == "GROUP_ERROR":
            for job in record.job_error_info:
                self._failed({**job, "log": [*job["log"], *record.aux_logs]})
        elif event == "JOB_ERROR" and not record.indent:  # indented: told as part of its group
            self._failed(record.__dict__)

    def _failed(self, job: dict) -> None:
        text = explain(job, self.models)
        if text != self.standing.get(job["jobid"]):
            print(f"healscope: {text}", file=sys.stderr, flush=True)
        self.standing[job["jobid"]] = text

    def summary(self) -> str:
        """Return what failed for good, one paragraph per job; empty if nothing did."""
        return "\n".join(f"healscope: {text}" for text in self.standing.values())


def explain(job: dict, models: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return what happened to a job, where its logs are and what to change.

    `job` is what Snakemake logs of it: `rule_name`, `rule_msg`, `output`, `log`. `models`: track ->
    its model, where they are not called the same.
    """
    rule, said = job["rule_name"], job["rule_msg"] or ""
    own = [log for log in job["log"] if LOGS not in log]
    slurm = [log for log in job["log"] if LOGS in log]
    text = said + "".join(_read(log) for log in slurm)
    happened, resource = "failed", None
    for pattern, what, more in CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            happened, resource = what, more
            break
    else:
        reasons = [line for log in own for line in _read(log).splitlines() if "healscope:" in line]
        if reasons:
            happened += " (" + reasons[-1].split("healscope:", 1)[1].strip() + ")"
    refused = re.search(r"error message was '(.*?)'\.?$", said, re.MULTILINE | re.DOTALL)
    lines = [f"rule {rule} {happened}: {', '.join(job['output'][:1])}"]
    if refused:
        lines.append(f"  Slurm said: {' '.join(refused[1].split())}")
    lines.append(f"  log: {', '.join(own)}; Slurm's log: {', '.join(slurm) or 'none'}")
    track = re.search(r"/([^/]+)/seed-\d", " ".join(job["output"]))
    model = models.get(track[1], track[1]) if track else None
    lines.append(f"  {_advice(rule, model, resource, bool(refused))}")
    return "\n".join(lines)


def stage_of(rule: str) -> str | None:
    """Return the stage whose `needs` the jobs of a rule request; None for small jobs."""
    return next((s for start, s in STAGE_OF.items() if re.match(rf"{start}(_|$)", rule)), None)


def _advice(rule: str, model: str | None, resource: str | None, refused: bool) -> str:
    stage = stage_of(rule)
    if stage and model:
        asked = f"models.{model}.needs.{stage}"
        more = f"raise {asked}.{resource} in the study"
    else:
        asked = "default-resources of the profile"
        more = f"ask for more with --set-resources {rule}:{resource}=NUMBER"
    if resource == GPU:
        return "Lower the batch size in the study, or ask for GPUs with more memory. Then rerun."
    if resource:
        return f"Each retry asks for twice as much; if that is not enough, {more}, and rerun."
    if refused:
        return f"Compare with what the cluster offers: {asked}, partition, account. Then rerun."
    return "A retry or a rerun continues what was safe; if it happens again, see both logs."


def left_behind(folder: str | Path) -> dict[int, str]:
    """Return this user's Slurm jobs, waiting or running, that were started for the study in
    `folder`.

    Slurm job -> its state. Empty where there is no Slurm.
    """
    if shutil.which("squeue") is None:
        return {}
    command = ["squeue", f"--user={getpass.getuser()}", "--noheader"]
    command.append("--Format=JobID:.0|,State:.0|,StdOut:.0|")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    logs = f"{Path(folder).resolve() / LOGS}/"
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") >= 3]
    return {int(job): state for job, state, log, *_ in rows if log.strip().startswith(logs)}


def begin(folder: str | Path) -> None:
    """Note that Snakemake starts to work in `folder`; WorkflowError if jobs of an earlier run still
    do.

    It leaves word on which host: other hosts cannot see its process.
    """
    from snakemake_interface_common.exceptions import WorkflowError  # here: only Snakemake has it

    if jobs := left_behind(folder):
        raise WorkflowError(
            "healscope: Slurm jobs of an earlier run are still at work for this study: "
            f"{' '.join(map(str, jobs))}. Two writers would ruin results: call `python "
            "workflow/unlock.py` with the arguments of this command, or wait until they have ended."
        )
    (Path(folder) / SIGNATURE).write_text(f"{socket.gethostname()} {os.getpid()}", encoding="utf-8")


def signed(folder: str | Path) -> tuple[str, str]:
    """Return (host, process) of the last Snakemake that started in `folder`; empty if none did."""
    host, _, process = _read(str(Path(folder) / SIGNATURE)).partition(" ")
    return host, process


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
