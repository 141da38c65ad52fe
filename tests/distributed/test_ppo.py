"""PPO in two processes takes the steps that it takes in one, and goes on from its shared state."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from healscope.config import PPO, Launch
from healscope.models import checkpoints
from healscope.training.stop import Stopped

RATE = 1e-3
RECIPES = {
    "own": {"algorithm": "ppo", "responses": 15, "samples_per_prompt": 3, "epochs": 2,
            "minibatches": 3, "entropy_coefficient": 0.01, "kl": "loss", "kl_coefficient": 0.1},
    "shared": {"algorithm": "ppo", "responses": 15, "samples_per_prompt": 3, "minibatches": 3,
               "value_head": "shared", "logprob_precision": "float32"},
}  # fmt: skip
"""15 rows in three minibatches of 5: two processes have 2 and 3 of each."""


def update(name: str, branch, compute) -> tuple[dict, dict]:
    """(what is logged, weights) of one update on turns that all processes sample alike."""
    from healscope.training import ppo
    from healscope.training.learner import Learner

    recipe = PPO.model_validate(RECIPES[name])
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    head, optimizer, _ = ppo.value_head_and_optimizers(recipe, model, trained, seed=0)
    policy = ppo.Policy(model, None if name == "own" else head)
    learner = Learner(compute, policy, optimizer, max_grad_norm=1.0)
    learner.rate(RATE)
    others = ppo.references(recipe, branch, recipe.kl_from if recipe.kl != "none" else None)
    sampler = branch.sampler(recipe, prompt_states=True)
    problems = branch.prompts.iloc[: recipe.prompts]
    with learner.whole():
        turns = sampler._episodes(model, tokenizer, problems, (0, 5, 0))
    turns = [ppo.Turn(**{**vars(t), "reward": float(i % 4)}) for i, t in enumerate(turns)]
    judged = ppo.judge(recipe, head, tokenizer, turns, others)
    order = np.random.default_rng(0)
    row = ppo.update_policy(recipe, learner, tokenizer, turns, judged, others, order)
    with learner.whole():
        return row, {k: v.detach().clone() for k, v in policy.state_dict().items()}


def process(rank: int, port: int, branch, settings: dict, file: str) -> None:
    """One of two: every recipe under every DeepSpeed setting; the first saves what it got."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    from healscope.training.compute import Compute
    from healscope.training.worker import _start_group

    torch.set_num_threads(1)
    _start_group()
    made = {}
    for stage, content in settings.items():
        launch = Launch(processes=2, deepspeed=stage, micro_batch=2)
        for name in RECIPES:
            made[f"{stage} {name}"] = update(name, branch, Compute(launch, content))
    if rank == 0:
        torch.save(made, file)


@pytest.fixture(scope="module")
def by_two(branch_of_files, zero3, tmp_path_factory):
    file = str(tmp_path_factory.mktemp("update") / "made.pt")
    three = json.loads(Path(zero3).read_text())
    settings = {"zero2": {"zero_optimization": {"stage": 2}}, "zero3": three}
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, branch_of_files, settings, file), nprocs=2)
    return torch.load(file)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_an_update_of_two_processes_is_that_of_one(stage, name, by_two, branch_of_files):
    from healscope.training.compute import ONE_PROCESS

    row, weights = by_two[f"{stage} {name}"]
    expected, alone = update(name, branch_of_files, ONE_PROCESS)
    assert row == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert weights.keys() == alone.keys()
    for key, value in alone.items():  # of which AdamW moves each by about RATE
        assert float((weights[key] - value).abs().max()) < 0.02 * RATE, key


def test_a_signal_stops_ppo_and_the_same_run_goes_on(train, zero3, tmp_path, signalled, identical):
    settings = {"algorithm": "ppo", "iterations": 16, "responses": 16, "state_every": 1}
    recipe = PPO.model_validate(settings).model_dump(mode="json")
    how = {"processes": 2, "deepspeed": zero3}
    whole = train("ppo-from-0", how, None, recipe)
    signalled(tmp_path / "state", "state-*")
    with pytest.raises(Stopped, match=r"by SIGTERM at iteration \d+ of 16"):
        train("ppo-from-0", how, tmp_path / "state", recipe)
    resumed = train("ppo-from-0", how, tmp_path / "state", recipe)
    identical(resumed, whole)
