"""Paths of all artifacts. The names of files are the interface of the workflow, and are spelled
here only.

Patterns hold Snakemake wildcards; `path(PATTERN, track="tiny", ...)` fills them.
"""

import re
from functools import cache
from pathlib import Path

PROBLEMS = "results/tasks/{task}/problems.parquet"
SFT_POOL = "results/tasks/{task}/sft.parquet"
RL_POOL = "results/tasks/{task}/rl.parquet"
POSED = "results/tasks/{task}/protocols/{protocol}.parquet"  # the problems of a protocol

CHECKPOINTS = "results/checkpoints/{track}/seed-{seed}"
CHECKPOINT = CHECKPOINTS + "/{checkpoint}/checkpoint.json"  # written last: its folder is whole
ANSWERS = CHECKPOINTS + "/{checkpoint}/answers.parquet"  # of RL, where its recipe keeps them
DROPPED = CHECKPOINTS + "/{checkpoint}/dropped.json"  # which weights were deleted
TRAINING = "results/training/{track}/seed-{seed}/{run}.parquet"
POOL = "results/pools/{track}/seed-{seed}/{checkpoint}.parquet"  # how hard training problems are
STATE = "results/.state/{track}/seed-{seed}/{run}"  # resumable, unknown to Snakemake
UNFINISHED = "results/.state/.evaluations/{job}"  # what a job has evaluated so far
ENGINE_WEIGHTS = "results/.state/engine"  # on their way to an engine, files without a name

EVALUATION = "results/evals/{protocol}/{track}/seed-{seed}/{checkpoint}/{task}.parquet"
LANDMARKS = "results/landmarks/{track}/seed-{seed}.json"

FACTORS = "results/spectra/{track}/seed-{seed}/{point}/factors.json"  # a landmark or a checkpoint
FACTORS_CACHE = "results/spectra/cache"  # by content, one file per layer; unknown to Snakemake
COMPARISON = "results/comparisons/{track}/seed-{seed}.parquet"
EDIT = "results/edits/{track}/seed-{seed}/{stage}/{edit}/{task}.parquet"
PROBE = "results/probes/{probe}/{track}/seed-{seed}.parquet"

TABLE = "results/tables/{table}.parquet"
CLAIMS_TEXT = "results/tables/claims.txt"
CLAIMED_SEEDS = "results/tables/claimed-seeds.json"  # no rule makes it: it outlives claims
DIAGNOSIS = "results/tables/diagnosis.md"
TASKS_TEXT = "results/tables/tasks.md"
FIGURE = "results/figures/{figure}.{format}"
LOG = "results/logs/{job}.log"

TAKEN_NAMES = {Path(FACTORS_CACHE).name, Path(ENGINE_WEIGHTS).name}
"""Folders beside those of models, so that no model can be called so."""

LANDMARK_NAMES = {"maxood": "MaxOOD", "end": "End", "rl": "RL"}
"""Landmarks that are compared -> as they are written for readers."""

POINT_NAMES = {"base": "Base", **LANDMARK_NAMES}
"""The same with the base."""

STAGES = {"sft": ("maxood", "end"), "rl": ("end", "rl")}
"""stage -> the landmarks between which something happens that weights might explain."""


def path(pattern: str, **wildcards: object) -> str:
    """Fill every wildcard of `pattern`; a missing one raises KeyError."""
    return pattern.format(**wildcards)


def probe(name: str) -> str:
    """Return the pattern of the tables of a measurement, by its name."""
    return PROBE.replace("{probe}", name)


def parse(pattern: str, file: str) -> dict[str, str]:
    """Return the value of each wildcard of a path, the inverse of `path`; `file` may lie in any
    folder.

    Raises ValueError where the file is none of the pattern.
    """
    found = re.search(rf"(?:^|/){_regex(pattern)}$", file)
    if not found:
        raise ValueError(f"{file} is no {pattern}")
    return found.groupdict()


@cache
def _regex(pattern: str) -> str:
    """Return a regular expression of a pattern, with a group for each wildcard: one part of a
    path."""
    parts = re.split(r"\{(\w+)\}", pattern)
    named = [f"(?P<{name}>[^/]+?)" for name in parts[1::2]]
    texts = [re.escape(text) for text in parts[::2]]
    return "".join(sum(zip(texts, [*named, ""], strict=True), ()))


def variant(file: str) -> str:
    """Return the name of the checkpoint or edit whose answers a file holds."""
    try:
        return parse(EDIT, file)["edit"]
    except ValueError:
        return parse(EVALUATION, file)["checkpoint"]


def sft(step: int, arm: str = "sft") -> str:
    """Return the name of the checkpoint of an arm of SFT at `step`; the main arm is `sft`."""
    return f"{arm}-{step}"


def branch(recipe: str, start: int) -> str:
    """Return the name of the branch of a recipe that starts from the SFT checkpoint at step
    `start`."""
    return f"{recipe}-from-{start}"


def engine_log(log: str) -> str:
    """Return the log of the engine's process, beside the log of its job."""
    return log.removesuffix(".log") + "-engine.log"


def parse_branch(name: str) -> tuple[str, int]:
    """Return (recipe, start) of the name of a branch."""
    recipe, _, start = name.partition("-from-")
    return recipe, int(start)


def stage_and_step(checkpoint: str) -> tuple[str, int]:
    """Return ("sft", 140) for `sft-140`, and ("rl", 140), with the start, for `ppo-from-140`."""
    run, _, step = checkpoint.rpartition("-")
    return ("rl" if run.endswith("-from") else run), int(step)
