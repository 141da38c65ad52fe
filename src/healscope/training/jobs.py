"""The two training jobs of the workflow: from values and files to logged rows and checkpoints.

A job is plain JSON, so that it means the same in the process that Snakemake started and in those
that were launched from there:

    kind     "sft" or "rl"
    name     of the run; with `track` and `seed`
    params   the rule's values: what results depend on
    files    name -> path of the rule's inputs
    engine   of RL, if vLLM samples: how its process runs
"""

import os
import pkgutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import TypeAdapter

from healscope import provenance
from healscope.config import SFT, Recipe, Sampling
from healscope.engines import VLLM, Process
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.tasks import build, task_settings
from healscope.tasks.tables import sft_examples
from healscope.training import kept, processes
from healscope.training.branch import Branch
from healscope.training.compute import Compute
from healscope.training.sampling import PROMPTS_AT_ONCE
from healscope.training.state import Workspace

ENGINE = "engine.json"  # of the state folder: which engine sampled, for the provenance


def run(job: dict, work: Workspace, compute: Compute) -> list[dict]:
    """Train and stage checkpoints in `work`; return the logged rows.

    Raises Stopped on a signal, and Diverged if RL cannot go on.
    """
    params, files = job["params"], job["files"]
    task = build("train", params["task"])
    label = f"{job['name']} {job['track']} seed {job['seed']}"
    if job["kind"] == "sft":
        from healscope.training import sft  # imports TRL, which most RL does not need

        return sft.train(
            SFT.model_validate(params["sft"]),
            job["name"],
            files["start"],
            provenance.read_table(files["pool"]),
            provenance.read_table(files["problems"]),
            task,
            params["max_new_tokens"],
            job["seed"],
            work,
            label,
            compute,
        )
    pool = provenance.read_table(files["sft_pool"])
    keys = type(task_settings(params["task"])).model_fields.keys() & {*task.dealing_only}
    branch = Branch(
        name=job["name"],
        start=files["start"],
        base=files["base"],
        prompts=provenance.read_table(files["prompts"]),
        sft_pool=pool,
        sft_rows=sft_examples(pool, **params["examples"], seed=job["seed"]),
        task=task,
        max_new_tokens=params["max_new_tokens"],
        seed=job["seed"],
        work=work,
        label=label,
        compute=compute,
        masked_by=files.get("mask"),
        pass_rates=provenance.read_table(files["pool"]) if files.get("pool") else None,
        not_given=tuple(sorted(keys - params["task"].keys())),
    )
    recipe = TypeAdapter(Recipe).validate_python(params["recipe"])
    return run_recipe(recipe, branch, _engine_process(job))


def run_recipe(recipe: Recipe, branch: Branch, process: Process | None = None) -> list[dict]:
    """Run the trainer of a recipe, which stages the checkpoint `branch.name`.

    `process` is that of vLLM, if it samples. Return the logged rows. Raises Diverged if training
    cannot go on, Stopped on a signal, and HealscopeError if the recipe cannot be trained on the
    task, or with the DeepSpeed settings of `branch.compute`.
    """
    reason = recipe.refusal(branch.compute.zero)
    if reason := reason or recipe.misfit(branch.task.name, branch.task.offers):
        raise HealscopeError(f"{branch.name}: {reason}")
    train = pkgutil.resolve_name(recipe.trainer)
    if process is None or not isinstance(recipe, Sampling):
        return train(recipe, branch)
    share = process.settings.rl_memory_share
    with VLLM(Path(branch.start).parent, process, PROMPTS_AT_ONCE, share) as engine:
        if processes.first():
            provenance.write_json(branch.work.folder / ENGINE, engine.facts)
        return train(recipe, replace(branch, engine=engine))


def publish(work: Workspace, run: dict, manifest: str, record: dict, failure: str) -> None:
    """Publish the staged checkpoint of a branch, with what it kept; or, of a failed run, the
    reason. `run` is the job, of which it takes name, track and seed.

    The study goes on without a failed branch.
    """
    name = run["name"]
    if (work.folder / ENGINE).is_file():
        record = {**record, "engine": provenance.read_json(work.folder / ENGINE)}
    if failure:
        print(f"healscope: {failure} (the study goes on without {name})", file=sys.stderr)
        checkpoints.publish_failure(failure, manifest, record)
    else:
        kept.join(work.folder, work.staged(name), record, run["track"], run["seed"])
        checkpoints.publish(work.staged(name), manifest, record)
    work.close()


def _engine_process(job: dict) -> Process | None:
    """Return the vLLM process of this process; of several, each has one on its own GPU."""
    if not job.get("engine"):
        return None
    gpu = None
    if processes.size() > 1 and torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        device = torch.cuda.current_device()
        gpu = visible.split(",")[device] if visible else str(device)
    return Process.read(job["engine"], processes.rank(), gpu)
