"""The two training jobs of the workflow, from values and files to rows and staged checkpoints.

A job is plain JSON, so that it is the same thing in the process that Snakemake started and in those
that were launched from there:

    kind     "sft" or "rl"
    name     of the run; with `model` and `seed`
    params   the rule's values: what results depend on
    files    name -> path of the rule's inputs
    engine   of RL, where engine vllm samples: how its process runs
"""

import os

import torch
from pydantic import TypeAdapter

from healscope import provenance
from healscope.config import SFT, Recipe
from healscope.engines import Process
from healscope.tasks import build
from healscope.tasks.tables import sft_examples
from healscope.training import branch, processes, sft
from healscope.training.compute import Compute
from healscope.training.state import Workspace


def run(job: dict, work: Workspace, compute: Compute) -> list[dict]:
    """Trains and stages checkpoints in `work`; returns the logged rows.

    Raises Stopped on a signal, Diverged where RL cannot go on.
    """
    params, files = job["params"], job["files"]
    task = build("train", params["task"])
    label = f"{job['name']} {job['track']} seed {job['seed']}"
    if job["kind"] == "sft":
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
    own = branch.Branch(
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
        process=_engine(job),
    )
    return branch.run(TypeAdapter(Recipe).validate_python(params["recipe"]), own)


def _engine(job: dict) -> Process | None:
    """That of this process: of several, each has an engine on its own GPU."""
    if not job.get("engine"):
        return None
    gpu = None
    if processes.size() > 1 and torch.cuda.is_available():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        here = torch.cuda.current_device()
        gpu = seen.split(",")[here] if seen else str(here)
    return Process.read(job["engine"], processes.rank(), gpu)
