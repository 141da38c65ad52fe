"""The validated study, wildcards, and the few helpers that rules share."""

import functools
import glob
import os
import re
import sys
from functools import partial

from snakemake.logging import logger

import healscope.config
from healscope import artifacts, provenance, slurm
from healscope.config import CONTROLS, EXHAUSTIVE, Sampling, files, given
from healscope.errors import HealscopeError
from healscope.evaluation import unfinished
from healscope.figures.catalogue import FIGURES
from healscope.measuring import measurements

DEEPSPEED = os.path.join(workflow.basedir, "config/deepspeed")  # files that `launch` names

if re.search(r"[\s'\"]", sys.executable):
    sys.exit(
        f"healscope: Python is {sys.executable}, and jobs cannot be started where its path has a "
        "space or a quote; set the environment up in a folder without"
    )

try:
    for file in workflow.overwrite_configfiles:
        files.read(file)
    study = healscope.config.load(config)
    for launched in (m.launch.deepspeed for m in study.models.values()):
        if launched:
            healscope.config.read_deepspeed(launched, DEEPSPEED)
except HealscopeError as error:
    sys.exit(f"healscope: {error}")

TRACKS, FOLLOWED = study.tracks, study.followed
failures = slurm.Failures({name: track.model for name, track in TRACKS.items()})
if workflow.nodes:
    # on a cluster, the cores of this host are no limit to what a job may ask for
    workflow.global_resources["_cores"] = None
    if workflow.is_main_process:
        logger.addHandler(failures)

SEEDS = study.seeds
SEVERAL_TASKS = len(study.trained_on) > 1
# tracks of the card game, of which alone some tables tell
CARDS = [t for t in FOLLOWED if study.tasks[TRACKS[t].task].family == "generalpoints"]
# tracks whose problems are steps of episodes; none of them need be followed
EPISODIC = [t for t in TRACKS if study.tasks[TRACKS[t].task].task_class.episodes]
EPISODIC = [t for t in EPISODIC if t in FOLLOWED] or EPISODIC
PROTOCOLS = study.evaluation.protocols
# protocols that ask for neighbours of the card game: these have a table of their own
NEIGHBOURS = [name for name, p in PROTOCOLS.items() if p.problems == "neighbours"]
NEAR = NEIGHBOURS if CARDS else []
OTHERS = [name for name in PROTOCOLS if name not in (EXHAUSTIVE, *NEIGHBOURS)]
PUBLISHED_FILES = sorted(glob.glob(os.path.join(workflow.basedir, "config/published/*.csv")))
BRANCHES, MAIN_BRANCHES = study.branches, study.main_branches
HEALED = study.rl_landmark is not None  # there is RL from End
OPTIONAL = {  # figures that a study must ask for, or cannot have
    "fig_arms": bool(set(CONTROLS) & set(study.sft.arms)),
    "fig_methods": bool(set(study.sft.methods) & set(study.sft.arms)),
    **{f: "sft" in study.edits.stages for f in ("fig4", "fig6", "fig_repair")},
    **{f: "rl" in study.edits.stages for f in ("fig5", "fig7")},
    "fig10": bool(MAIN_BRANCHES),
    # all tracks, also those that are not followed: then they are trained for these figures
    **{f: SEVERAL_TASKS and set(TRACKS) == set(FOLLOWED) for f in ("fig9", "fig_tasks")},
    "fig_neighbours": bool(NEAR),
    "fig_episodes": bool(set(EPISODIC) & set(FOLLOWED)),
    "fig_protocols": bool(OTHERS)
    or PROTOCOLS[EXHAUSTIVE] != PROTOCOLS[EXHAUSTIVE].first_attempts(),
}
TRAINED_ONLY = {  # tables made from training logs, or from what SFT read
    *("sft-training", "rl-training", "window", "recipes", "signals", "stopping"),
    *("exposure", "published", "claims", "arms"),
}
# tables on parts of its answers, and on its neighbours
CARDS_ONLY = {"exposure", "errors", "factorial", "published", "neighbours"}
ABSENT = {*(TRAINED_ONLY if study.taken else ()), *(() if CARDS else CARDS_ONLY)}
SHOWN = [n for n, f in FIGURES.items() if OPTIONAL.get(n, True) and f.table not in ABSENT]
RECIPES = [given.RECIPE] if study.taken else list(study.rl.recipes)


def one_of(names):
    """Regular expression of these names."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    track=one_of(TRACKS),
    task=one_of(study.tasks),
    seed=r"\d+",
    arm="|".join(["sft", *CONTROLS, *study.sft.methods]),
    protocol="|".join(PROTOCOLS),
    branch=f"({'|'.join(RECIPES)})-from-({'|'.join(map(str, study.sft.checkpoints))})",
    landmark="base|maxood|end|rl",


def section(*names):
    """The plain values of config sections: what a rule depends on, as its params."""
    return {name: getattr(study, name).model_dump(mode="json") for name in names}


def task_settings(name, without=()):
    """The values of a task section, but for kinds of those that a rule does not use."""
    task = study.tasks[name]
    unused = {key for kind in without for key in getattr(task.task_class, kind)}
    return task.model_dump(mode="json", exclude=unused)


def own_task(*without):
    """The same, of the task that a track is trained on."""
    return lambda w: task_settings(study.task_of(w.track), without)


def sft_settings(arm):
    """The values of SFT that an arm uses: of all methods, its own."""
    plain = study.sft.model_dump(mode="json", exclude={"arms", "methods"})
    if arm not in study.sft.methods:
        return plain
    return plain | {"methods": {arm: study.sft.methods[arm].model_dump(mode="json")}}


def recipe_settings(branch):
    """The values of the recipe of a branch."""
    return study.rl.recipes[artifacts.parse_branch(branch)[0]].model_dump(mode="json")


def sampling_engine(branch):
    """What engine vllm adds to the values that a branch depends on, where it samples."""
    recipe = study.rl.recipes[artifacts.parse_branch(branch)[0]]
    values = study.engine_values(study.rl.engine) if isinstance(recipe, Sampling) else {}
    return values.get("vllm")


# Values of a protocol that decide which problems it poses.
POSING = {"problems", "hands", "per_kind", "seed", "retried_orders"}


sft_checkpoints = study.sft_checkpoints


def each(pattern, of=FOLLOWED, **wildcards):
    """`pattern` for each of some tracks, every seed and every combination of `wildcards`.

    {task} is the track's own, unless it is given. A function gives values for each track.
    """
    found = []
    for track in of:
        named = {"task": study.task_of(track), **wildcards}
        named = {key: v(track) if callable(v) else v for key, v in named.items()}
        found += expand(pattern, track=track, seed=SEEDS, **named)
    return found


def here(pattern, **wildcards):
    """`pattern` with model and seed left open, for every combination of `wildcards`.

    {task} is the track's own, unless it is given: then files are known once the track is.
    """
    if "{task}" in pattern and "task" not in wildcards:
        return lambda w: here(pattern, task=study.task_of(w.track), **wildcards)
    return expand(pattern, track="{track}", seed="{seed}", **wildcards)


def evaluations(checkpoints, of=FOLLOWED):
    """Evaluations of checkpoints on the training task, for tracks and all seeds."""
    return each(artifacts.EVALUATION, of, protocol=EXHAUSTIVE, checkpoint=checkpoints)


def protocols_of(track):
    """Names of the protocols under which a track is evaluated on its own task."""
    return [name for name in PROTOCOLS if study.poses(study.task_of(track), name)]


def other_protocols(track):
    """The same but for the main one, and those of neighbours."""
    return [name for name in protocols_of(track) if name in OTHERS]


def under_other_protocols(of=FOLLOWED):
    """Evaluations under these: SFT, and RL where its landmark is."""
    asked = [*sft_checkpoints(), *RL_LANDMARK]
    return each(artifacts.EVALUATION, of, protocol=other_protocols, checkpoint=asked)


def signal_files(of=FOLLOWED):
    """What SFT read, and losses on it, are known of SFT that was done here."""
    return [] if study.taken else each(artifacts.probe("signals"), of)


def sft_pools(of=FOLLOWED):
    """What SFT drew its examples from, a file for each task."""
    return [] if study.taken else list(dict.fromkeys(each(artifacts.SFT_POOL, of)))


def this(pattern, **wildcards):
    """As `here`, for one file."""
    if "{task}" in pattern and "task" not in wildcards:
        return lambda w: this(pattern, task=study.task_of(w.track), **wildcards)
    return artifacts.path(pattern, track="{track}", seed="{seed}", **wildcards)


def manifest(checkpoint):
    return this(artifacts.CHECKPOINT, checkpoint=checkpoint)


def manifests(checkpoints):
    return here(artifacts.CHECKPOINT, checkpoint=checkpoints)


RL_LANDMARK = [study.rl_landmark] if HEALED else []
LANDMARK_CHECKPOINTS = study.landmark_checkpoints
ROLES = {*LANDMARK_CHECKPOINTS} - {"base"}  # landmarks that are known once they are chosen
MEASUREMENTS = {
    name: module
    for name, module in measurements().items()
    if not (study.taken and getattr(module, "OF_OWN_SFT", False))
}


def settings_of(measurement, wildcards):
    """What a measurement depends on, beside its files."""
    return measurement.settings(study, wildcards.track)




def behind(*points):
    """Checkpoints that landmarks may be, each once; of another name, the one of that name."""
    return list(dict.fromkeys(c for p in points for c in LANDMARK_CHECKPOINTS.get(p, [p])))


def factor_points():
    """Landmarks and checkpoints whose factors the study needs: all landmarks, and what is edited."""
    edited = [p for stage in study.edits.stages.values() for p in (stage.target, stage.parent)]
    return list(dict.fromkeys([*LANDMARK_CHECKPOINTS, *edited]))


def files_in(folder):
    """The files of a model that lies in a folder here; none where it is made or fetched."""
    files = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, f) for f in sorted(files) if f.endswith((".json", ".safetensors"))]


MODEL_FILES = {track: files_in(study.model_of(track).source) for track in TRACKS}


def batches(items):
    """Chunks of as many variants as one process evaluates."""
    size = study.evaluation.variants_per_job
    return [items[i : i + size] for i in range(0, len(items), size)]


def model_settings(track):
    """The values of a model that its base is made from: one that is trained here is not checked."""
    model = study.model_of(track)
    unused = {"needs", "launch", *({"check_random"} if model.scratch else ())}
    return model.model_dump(mode="json", exclude=unused)


def evaluated_alike(protocol):
    """(ending of rules' names, tasks, tracks) of tracks that are asked the same under a protocol.

    A rule names its outputs alike for all that it makes, so each of these has rules of its own.
    """
    alike = {}
    for track in TRACKS:
        tasks = tuple(t for t in study.evaluated(track) if study.poses(t, protocol))
        alike.setdefault(tasks, []).append(track)
    names = [re.sub(r"\W", "_", tracks[0]) for tracks in alike.values()]
    endings = ["", *(f"_{name}" for name in names[1:])]
    if len(set(endings)) < len(endings):  # my-model and my.model
        endings = ["", *(f"_{number}_{name}" for number, name in enumerate(names[1:], 2))]
    return [(end, *found) for end, found in zip(endings, alike.items()) if found[0]]


def posed(protocol, tasks):
    """Files of a protocol's problems, task by task."""
    return expand(artifacts.POSED, protocol=protocol, task=tasks)


def evaluation_outputs(protocol, checkpoints, tasks):
    """Files of checkpoints and tasks, in the order in which a job fills them."""
    wanted = here(artifacts.EVALUATION, protocol=protocol, checkpoint=checkpoints, task=tasks)
    return [update(f) for f in wanted]


def protocol_settings(protocol, only=None):
    """The values of a protocol, or `only` some, but for those that its problems do not use."""
    unused = set() if protocol.problems == "neighbours" else {"per_kind"}
    return protocol.model_dump(mode="json", include=only, exclude=unused)


def evaluation_params(protocol, tasks, first_attempts=False):
    """All config values that evaluations on tasks under a protocol depend on."""
    chosen = PROTOCOLS[protocol]
    if first_attempts:
        chosen = chosen.first_attempts()
    return {
        "evaluation": study.evaluation.model_dump(
            mode="json", exclude={"variants_per_job", "protocols"}
        ),
        "protocols": {protocol: protocol_settings(chosen)},
        "tasks": {name: task_settings(name) for name in tasks},
        **study.engine_values(study.evaluation.engine),
    }


exists = functools.cache(os.path.exists)  # most files go into many tables


@functools.cache  # one answer for planning and for running
def lost_inputs(table):
    """How often a table has been made again because one of its inputs was lost.

    A param of the rules that gather many files: Snakemake alone takes a lost intermediate file for
    no longer needed. The count goes up while an input of a standing table is missing, and stays.
    """
    file = artifacts.path(artifacts.TABLE, table=table)
    if not os.path.exists(file):
        return 0
    before = (provenance.read_provenance(file) or {}).get("lost_inputs", 0)
    inputs = [f for files in TABLES[table].values() for f in files]
    return before + (not all(map(exists, inputs)))


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


EDITS = study.edits.names()
STAGES = study.edits.stages


def stage_evaluations(stage):
    """Evaluations of all that the target and parent of a stage may be."""
    names = behind(STAGES[stage].target, STAGES[stage].parent)
    # the base is evaluated as the start of SFT
    return evaluations(dict.fromkeys(artifacts.sft(0) if n == "base" else n for n in names))


def stage_points():
    """Target and parent of each stage of edits."""
    return {name: points.model_dump(mode="json") for name, points in STAGES.items()}


def edit_files(stage):
    return each(artifacts.EDIT, stage=stage, edit=EDITS)


# What happens to weights, by `checkpoints.keep`
ARMS = [sft_checkpoints(arm) for arm in ["sft", *study.sft.arms]]
EDITED = [p for stage in study.edits.stages.values() for p in (stage.target, stage.parent)]
STAYING = {artifacts.sft(study.end_step), study.rl_landmark, *EDITED}
PASSING = [c for c in [*sum(ARMS, []), *BRANCHES] if c not in STAYING]
# given checkpoints are links: there is nothing to delete
GOING = PASSING if study.checkpoints.keep == "landmarks" and not study.taken else []


def made_from(track, checkpoint):
    """What reads the weights of a checkpoint without a role, and which one MaxOOD is."""
    arm = next((names for names in ARMS if checkpoint in names), [checkpoint])
    files = [artifacts.LANDMARKS]  # which is made from all of SFT under the main protocol
    protocols = [EXHAUSTIVE]
    if arm == ARMS[0]:
        protocols = [name for name in protocols_of(track) if name != EXHAUSTIVE]
        after = [b for b in BRANCHES if artifacts.sft(artifacts.parse_branch(b)[1]) == checkpoint]
        files += [m.SCHEMA.path for m in MEASUREMENTS.values() if checkpoint in m.reads(study)]
        files += manifests(after)
    # of all of its arm, since one job evaluates several
    task = study.task_of(track)
    files += here(artifacts.EVALUATION, protocol=protocols, checkpoint=arm, task=task)
    return files
