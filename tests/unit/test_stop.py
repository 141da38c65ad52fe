"""SIGTERM ends a run with a state, and the run that goes on from there is the unbroken one."""

import os
import signal
import threading
import time

import pandas as pd
import pytest
import torch

from healscope.config import PPO, Supervised
from healscope.models import checkpoints
from healscope.training import base, jobs, sft, stop
from healscope.training.state import Workspace


@pytest.fixture
def sigterm():
    """Start to wait for a state in a folder, and then send SIGTERM to this process."""

    def start(folder, pattern):
        def send():
            while not list(folder.glob(pattern)):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=send, daemon=True).start()

    return start


def stopped_and_resumed(run, folder, pattern, sigterm):
    """(rows, weights) of a run that was stopped, and went on."""
    sigterm(folder, pattern)
    with (
        pytest.raises(stop.Stopped, match="stopped by SIGTERM at .* rerun or requeue"),
        stop.heeded(),
    ):
        run(folder)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    return run(folder)


def weights(work, name):
    return checkpoints.load_file(work.staged(name) / checkpoints.WEIGHTS)


def same(a, b):
    frames = [pd.DataFrame(rows) for rows, _ in (a, b)]
    frames = [f.drop(columns=[c for c in f if c.endswith("_seconds")]) for f in frames]
    assert frames[0].equals(frames[1])
    assert all(torch.equal(tensor, b[1][key]) for key, tensor in a[1].items())


def test_pretraining(study, task, tmp_path, sigterm):
    scratch = study.models["micro"].scratch
    longer = scratch.pretraining.model_copy(update={"steps": 60, "state_every": 10})
    scratch = scratch.model_copy(update={"pretraining": longer})

    def run(folder):
        work = Workspace(folder, "x")
        try:
            return base.pretrain(scratch, task, 0, work, "base"), weights(work, "base")
        finally:
            work._lock.close()

    same(stopped_and_resumed(run, tmp_path / "a", "state-*", sigterm), run(tmp_path / "b"))


@pytest.mark.parametrize("arm", ["sft", "kl"])
def test_sft_between_two_rows_of_its_log(
    arm, study, base_manifest, tables, task, tmp_path, sigterm
):
    settings = study.sft.model_copy(
        update={"steps": 40, "checkpoints": [0, 40], "log_every": 20, "state_every": 20,
                "log_problems": 2}
    )  # fmt: skip

    def run(folder):
        work = Workspace(folder, "x")
        try:
            rows = sft.train(
                settings, arm, base_manifest, tables[1], tables[0], task, 3, 0, work, arm
            )
            return rows, weights(work, f"{arm}-40")
        finally:
            work._lock.close()

    started = stopped_and_resumed(run, tmp_path / "a", "checkpoints/*-0", sigterm)
    same(started, run(tmp_path / "b"))


@pytest.mark.parametrize(
    "recipe",
    [
        PPO(algorithm="ppo", iterations=12, responses=8, state_every=2),
        Supervised(algorithm="sft", iterations=40, responses=8, state_every=2, kl_every=None),
    ],
    ids=["ppo", "sft_more"],
)
def test_a_branch(recipe, branch_at, tmp_path, sigterm):
    def run(folder):
        own = branch_at(folder.name)
        try:
            return jobs.run_recipe(recipe, own), weights(own.work, own.name)
        finally:
            own.work._lock.close()

    same(stopped_and_resumed(run, tmp_path / "a", "state-*", sigterm), run(tmp_path / "b"))
