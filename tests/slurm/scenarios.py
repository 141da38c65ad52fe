"""What happens to studies here; each function returns what is left for the tests to look at.

They take minutes, most of which Slurm spends waiting, so that they run side by side.
"""

import os
import signal
from dataclasses import dataclass

import yaml
from cluster import MEMORY_MB, PARTITIONS
from study import BASE, ROOT, Study, micro, models, processes, wait_for

STUDY_TARGETS = [
    "results/tables/claims.txt",
    *(f"results/figures/{figure}.pdf" for figure in ("fig1", "fig2a", "fig3a")),
]
TARGETS = {
    name: BASE.format(track=name) for name in ("cancelled", "warned", "hungry", "frozen", "refused")
}
STEPS = 150
WAIT_S = 900
HUNGRY_MB = 400  # less than torch takes
ASKED = {"probes": 1, "edits": 2, "spectra": 0}  # stage -> GPUs


@dataclass
class Faults:
    study: Study
    status: int  # of a run without retries
    said: str
    outputs: dict[str, int]
    states: dict[str, int]  # model -> states kept
    status_after: int  # of a rerun, as a user types it
    said_after: str


def faults(study: Study) -> Faults:
    """One job is cancelled, one warned, one needs more memory and one more time than it has, one is
    refused."""
    needs = {
        "cancelled": {"mem_mb": 4000},
        "warned": {"mem_mb": 4000},
        "hungry": {"mem_mb": HUNGRY_MB},
        "frozen": {"mem_mb": 4000, "runtime": 1},
        "refused": {"mem_mb": MEMORY_MB + 1},
    }
    study.config = micro()
    study.config["models"] = models(study.config, needs, steps=STEPS)
    run = study.start("--retries", "0", "--", *TARGETS.values())
    left = {"cancelled", "warned", "frozen"}

    def interfere() -> bool:
        if "warned" in left and (job := _at_work(study, "warned")):
            study.cluster.ask(f"scancel --signal=TERM {job}")  # as before a time limit
            left.remove("warned")
        if "cancelled" in left and (job := _at_work(study, "cancelled")):
            study.cluster.ask(f"scancel {job}")
            left.remove("cancelled")
        # on a slow machine its time may be over before its script has begun
        if "frozen" in left and any(map(_freeze, study.jobs("rule_base_model/frozen_0/"))):
            left.remove("frozen")
        return not left or run.poll() is not None

    wait_for(interfere)
    status = run.wait(timeout=WAIT_S)
    said, outputs = study.said, study.outputs()
    states = {name: len(study.states(f"{name}/seed-0/base")) for name in needs}
    run = study.start("--", *(file for name, file in TARGETS.items() if name != "refused"))
    status_after = run.wait(timeout=WAIT_S)
    return Faults(study, status, said, outputs, states, status_after, study.said)


@dataclass
class Leaving:
    study: Study
    node: str  # the one that left
    drained: dict[str, str]  # the job while its node drained
    meanwhile: str  # where a new job ran then
    status: int


def leaving_node(study: Study) -> Leaving:
    """The node of a job is drained, then goes down."""
    study.config = micro()
    study.config["models"] = models(
        study.config, {"moved": {"threads": os.cpu_count() + 1}}, steps=STEPS
    )
    run = study.start(
        "--set-resources", "base_model:slurm_partition=pair", "--", BASE.format(track="moved")
    )
    job = wait_for(lambda: _at_work(study, "moved"), run)
    assert _freeze(job)
    node = study.jobs()[job]["NodeList"]
    study.cluster.ask(f"scontrol update nodename={node} state=drain reason=test")
    meanwhile = study.cluster.ask("srun --partition=pair printenv SLURMD_NODENAME").strip()
    drained = study.jobs()[job]
    study.cluster.ask(f"scontrol update nodename={node} state=down reason=test")
    status = run.wait(timeout=WAIT_S)
    study.cluster.ask(f"scontrol update nodename={node} state=resume")
    assert node in PARTITIONS["pair"]
    return Leaving(study, node, drained, meanwhile, status)


@dataclass
class Killed:
    study: Study
    refused: str  # what a rerun says while jobs of the killed run are at work
    recovery: str  # what the recovery says
    orphan: int  # a job that was at work when Snakemake was killed
    before: dict[str, int]  # outputs -> inodes, after the recovery
    status: int
    said: str


def killed_snakemake(study: Study) -> Killed:
    """A study whose Snakemake is killed, once, while one job trains and another finishes."""
    study.config = micro()
    study.config["rl"]["defaults"]["iterations"] = 60  # more than it gets through while it is ended
    run = study.start("--", *STUDY_TARGETS)
    rl = "micro/seed-0/ppo-from-8"
    wait_for(lambda: study.states(rl), run)
    (orphan,) = study.jobs("rule_rl/")
    assert _freeze(orphan)
    run.kill()
    run.wait()
    finishing = ("rule_evaluate_sft_exhaustive_1/", "rule_measure_signals")
    wait_for(lambda: all(_ended(study, rule) for rule in finishing))
    arguments = study.arguments("--", *STUDY_TARGETS)
    unlocked = study.call("-m", "snakemake", "--unlock", *arguments)
    assert unlocked.returncode == 0, unlocked.stdout
    refused = study.call("-m", "snakemake", *arguments)
    assert refused.returncode != 0, refused.stdout
    recovery = study.call("workflow/unlock.py", *arguments)
    assert recovery.returncode == 0, recovery.stdout
    before = study.outputs()
    run = study.start("--", *STUDY_TARGETS)
    status = run.wait(timeout=WAIT_S)
    return Killed(study, refused.stdout, recovery.stdout, orphan, before, status, study.said)


def gpus(study: Study) -> Study:
    """Jobs that ask for GPUs by the study's `needs`."""
    study.config = micro()
    study.config["models"]["micro"]["needs"] = {stage: {"gpus": n} for stage, n in ASKED.items()}
    partitions = study.folder / "partitions.yaml"  # as the profile's comments have it
    partitions.write_text(yaml.safe_dump({"partitions": {"main": {}, "gpu": {"max_gpu": 2}}}))
    targets = [f"given/micro-{stage}.txt" for stage in ASKED]
    run = study.start(
        "--snakefile", str(ROOT / "tests/slurm/gpus.smk"),
        "--slurm-partition-config", str(partitions), "--", *targets,
    )  # fmt: skip
    assert run.wait(timeout=WAIT_S) == 0, study.said
    return study


def _at_work(study: Study, model: str) -> int | None:
    """The Slurm job that trains the base of a model, once it has a state to lose."""
    if not study.states(f"{model}/seed-0/base"):
        return None
    jobs = study.jobs(f"rule_base_model/{model}_0/")
    return next((n for n, job in jobs.items() if job["JobState"] == "RUNNING"), None)


def _ended(study: Study, rule: str) -> bool:
    jobs = study.jobs(rule).values()
    return bool(jobs) and all(job["JobState"] == "COMPLETED" for job in jobs)


def _freeze(job: int) -> bool:
    """Stop the script of a job, as a file system that hangs would; False if it has none yet."""
    scripts = [pid for pid, command in processes(job) if ".snakemake/scripts" in command]
    for pid in scripts:
        os.kill(pid, signal.SIGSTOP)
    return bool(scripts)
