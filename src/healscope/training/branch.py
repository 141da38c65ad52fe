"""One branch: a recipe carried out from one SFT checkpoint, whatever its algorithm."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from healscope import provenance
from healscope.config import Average, Recipe, Rewarded, Sampling, unshared
from healscope.engines import VLLM, Process
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.tasks.rewards import scorer
from healscope.tasks.task import Task
from healscope.training import groups, ppo, processes, rounds, supervised
from healscope.training.compute import ONE_PROCESS, Compute
from healscope.training.sampling import ROWS_AT_ONCE, Sampler
from healscope.training.state import Workspace


@dataclass(frozen=True)
class Branch:
    """What a recipe works on.

    Attributes:
        name: of the branch, and of the checkpoint it stages.
        start, base: manifests of the checkpoint it starts from, and of the base model.
        prompts: rows of the RL pool that problems may be drawn from.
        sft_pool: rows of the SFT pool.
        sft_rows: those that SFT was trained on, for this seed.
        task, max_new_tokens, seed, work, label, compute: as everywhere.
        process: of engine vllm, where it samples; `run` starts it, as `engine`.
    """

    name: str
    start: str
    base: str
    prompts: pd.DataFrame
    sft_pool: pd.DataFrame
    sft_rows: pd.DataFrame
    task: Task
    max_new_tokens: int
    seed: int
    work: Workspace
    label: str
    compute: Compute = ONE_PROCESS
    process: Process | None = None
    engine: VLLM | None = None

    def prompt_pool(self, recipe: Sampling) -> pd.DataFrame:
        """Problems that the recipe samples: on all training instances, or on those that SFT saw."""
        if recipe.problems == "sft":
            seen = set(self.sft_rows["instance_id"])
            return self.prompts[self.prompts["instance_id"].isin(seen)].reset_index(drop=True)
        return self.prompts

    def sampler(self, recipe: Sampling, **more) -> Sampler:
        """How the recipe samples episodes; `more`: what its algorithm adds (attempts, …)."""
        paid = isinstance(recipe, Rewarded)
        return Sampler(
            task=self.task,
            score=scorer(self.task, recipe.reward if paid else {"verdict": 1.0}),
            max_new_tokens=self.max_new_tokens,
            temperature=recipe.temperature,
            samples_per_prompt=recipe.samples_per_prompt,
            length_neutral=paid and recipe.length_neutral,
            engine=self.engine,
            **more,
        )


ENGINE = "engine.json"  # of the state folder: what sampled, as it says

TRAINERS: dict[str, Callable[[Recipe, Branch], list[dict]]] = {
    "ppo": ppo.train,
    "grpo": groups.train,
    "dapo": groups.train,
    "dr_grpo": groups.train,
    "gspo": groups.train,
    "rloo": groups.train,
    "dpo": rounds.train,
    "rft": rounds.train,
    "sft": supervised.train,
}


def run(recipe: Recipe, branch: Branch) -> list[dict]:
    """Carries the recipe out and stages the checkpoint `branch.name`; returns the logged rows.

    Raises Diverged where training cannot go on, Stopped on a signal, and HealscopeError where the
    recipe cannot be trained as `branch.compute` says.
    """
    if isinstance(recipe, Average):
        return _average(recipe, branch)
    if reason := unshared(branch.compute.zero, recipe):
        raise HealscopeError(f"{branch.name}: {reason}")
    train = TRAINERS[recipe.algorithm]
    if branch.process is None or not isinstance(recipe, Sampling):
        return train(recipe, branch)
    share = branch.process.settings.rl_memory_share
    with VLLM(Path(branch.start).parent, branch.process, ROWS_AT_ONCE, share) as engine:
        if processes.first():
            provenance.write_json(branch.work.folder / ENGINE, engine.facts)
        return train(recipe, replace(branch, engine=engine))


def publish(work: Workspace, name: str, manifest: str, record: dict, failure: str) -> None:
    """Publishes what a run staged, or, where it failed, why; the study goes on without it."""
    if (work.folder / ENGINE).is_file():
        record = {**record, "engine": provenance.read_json(work.folder / ENGINE)}
    if failure:
        print(f"healscope: {failure} (the study goes on without {name})", file=sys.stderr)
        checkpoints.publish_failure(failure, manifest, record)
    else:
        checkpoints.publish(work.staged(name), manifest, record)
    work.close()


def _average(recipe: Average, branch: Branch) -> list[dict]:
    """Weights between start and base, as WiSE-FT has them (arXiv 2109.01903, eq. 1)."""
    model, tokenizer = checkpoints.load_model(branch.start)
    base = checkpoints.load_weights(branch.base)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in base:
                tensor.lerp_(base[name].to(tensor), recipe.base_share)
    with branch.work.stage(branch.name) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return [{"iteration": 1}]
