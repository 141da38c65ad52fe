"""The validated study, wildcards, and what rules share."""

import os
import re
import sys
from importlib.util import find_spec

from snakemake.logging import logger

import healscope.config
from healscope import artifacts, files, findings, slurm, values
from healscope.config import CONTROLS, EXHAUSTIVE, own_checkpoints
from healscope.config.files import read as read_config
from healscope.errors import HealscopeError
from healscope.evaluation import unfinished
from healscope.location import CONFIG, ENVIRONMENT
from healscope.measuring import measurements

DEEPSPEED = CONFIG / "deepspeed"  # files that `launch` names

if re.search(r"[\s'\"]", sys.executable):
    sys.exit(
        f"healscope: Python is {sys.executable}, and jobs cannot be started where its path has a "
        "space or a quote; set the environment up in a folder without"
    )

try:
    for file in workflow.overwrite_configfiles:
        read_config(file)
    study = healscope.config.load(config)
    findings.check_primary(study.claims.primary)
    for launched in (m.launch.deepspeed for m in study.models.values()):
        if launched:
            healscope.config.read_deepspeed(launched, DEEPSPEED)
except HealscopeError as error:
    sys.exit(f"healscope: {error}")
if not study.own_checkpoints and not find_spec("trl"):
    sys.exit("healscope: this study trains models; run pip install 'healscope[train]' first")
for note in study.notes if workflow.is_main_process else []:
    print(f"healscope: {note}", file=sys.stderr)

failures = slurm.Failures({name: track.model for name, track in study.tracks.items()})
if workflow.nodes:
    # on a cluster, the cores of this host are no limit to what a job may ask for
    workflow.global_resources["_cores"] = None
    if workflow.is_main_process:
        logger.addHandler(failures)

PUBLISHED_FILES = sorted(map(str, CONFIG.glob("published/*.csv")))
FILES = files.Files(study, tuple(PUBLISHED_FILES))
try:
    findings.check_systems(FILES)
except HealscopeError as error:
    sys.exit(f"healscope: {error}")
MEASUREMENTS = {
    name: module
    for name, module in measurements().items()
    if not (study.own_checkpoints and getattr(module, "OF_OWN_SFT", False))
}
# how much sooner jobs of the first seed start than others that are as ready
FIRST_SEED = 10


def first_seed(wildcards):
    return FIRST_SEED * (wildcards.seed == str(study.seeds[0]))


SEVERAL_TASKS = len(study.trained_on) > 1
RECIPES = [own_checkpoints.RECIPE] if study.own_checkpoints else list(study.rl.recipes)


def one_of(names):
    """Regular expression of these names."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    track=one_of(study.tracks),
    task=one_of(study.tasks),
    seed=r"\d+",
    arm="|".join(["sft", *CONTROLS, *study.sft.methods]),
    protocol="|".join(study.evaluation.protocols),
    branch=f"({'|'.join(RECIPES)})-from-({'|'.join(map(str, study.sft.checkpoints))})",
    landmark="base|maxood|end|rl",


def section(*names):
    """Sections of the config, as params."""
    return values.section(study, *names)


def own_task(*without):
    """The values of the task that a track is trained on, as a param."""
    return lambda w: values.task(study, study.task_of(w.track), without)


def here(pattern, **wildcards):
    """`pattern` with track and seed left open, for every combination of `wildcards`.

    {task} is the track's own, unless it is given: then files are known once the track is.
    """
    if "{task}" in pattern and "task" not in wildcards:
        return lambda w: here(pattern, task=study.task_of(w.track), **wildcards)
    return files.fill(pattern, track="{track}", seed="{seed}", **wildcards)


def this(pattern, **wildcards):
    """As `here`, for one file."""
    found = here(pattern, **wildcards)
    return (lambda w: found(w)[0]) if callable(found) else found[0]


def manifest(checkpoint):
    return this(artifacts.CHECKPOINT, checkpoint=checkpoint)


def manifests(checkpoints):
    return here(artifacts.CHECKPOINT, checkpoint=checkpoints)


def evaluation_outputs(protocol, checkpoints, tasks):
    """Files of checkpoints and tasks, in the order in which a job fills them."""
    wanted = here(artifacts.EVALUATION, protocol=protocol, checkpoint=checkpoints, task=tasks)
    return [update(f) for f in wanted]


def threads_of(stage):
    """CPU threads of a job of this stage."""
    return lambda w: study.model_of(w.track).need(stage).threads


def resources_of(stage):
    """What a scheduler is asked for; a job that ran out of memory or time gets twice as much."""

    def growing(what):
        return lambda w, attempt: getattr(study.model_of(w.track).need(stage), what) * 2 ** (
            attempt - 1
        )

    return {
        "gpu": lambda w: study.model_of(w.track).need(stage).gpus,
        "mem_mb": growing("mem_mb"),
        "runtime": growing("runtime"),
    }


# what jobs ask for that neither train nor load a model
SMALL = {
    "mem_mb": lambda w, attempt: 2000 * 2 ** (attempt - 1),
    "runtime": lambda w, attempt: 30 * 2 ** (attempt - 1),
}


def one_job(name):
    """On a cluster small jobs of one name share a job of the scheduler (`group-components`).

    Elsewhere Snakemake has no use for groups, and 10,000 jobs are planned in half the time.
    """
    return name if workflow.nodes else None


def log_of(job, *wildcards):
    """results/logs/{job}-{wildcard}-….log"""
    return artifacts.path(artifacts.LOG, job="-".join([job, *("{%s}" % w for w in wildcards)]))
