"""kill -9 at the worst moments, then a rerun: the same rows and the same weights, to the bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runner import ROOT, Workflow

from healscope import provenance

RUNS = {
    "base": "state-*/rows.json",
    "sft": "trainer/checkpoint-*/whole",
    "lora": "trainer/checkpoint-*/whole",
    "ppo-from-50": "state-*/rows.json",
    "grpo-from-50": "state-*/rows.json",
    "dpo-from-50": "state-*/rows.json",
}


def study(folder) -> Workflow:
    """Long enough in each stage for a kill to land inside it."""
    workflow = Workflow(folder)
    workflow.config["models"]["micro"]["scratch"]["pretraining"] |= {"steps": 150}
    workflow.config["sft"] |= {"steps": 100, "checkpoints": [0, 50, 100], "log_every": 10,
                               "state_every": 10}  # fmt: skip
    workflow.config["rl"] = {
        "defaults": {"iterations": 60, "responses": 32, "state_every": 5},
        "recipes": {"dpo": {"rounds": 12, "batch_size": 8}},
        "branches": {"ppo": [50]},
    }
    workflow.config["landmarks"] = {"end": 50}
    return workflow


def outputs(workflow):
    root = workflow.folder / "results"
    rows = {
        run: provenance.read_table(root / f"training/micro/seed-0/{run}.parquet") for run in RUNS
    }
    weights = {
        file.parent.name: provenance.sha256(file)
        for file in root.glob("checkpoints/micro/seed-0/*/model.safetensors")
    }
    return rows, weights


def kill_group(process, state: Path, pattern: str) -> None:
    """SIGKILL to Snakemake and its jobs, as soon as the run has a state to lose."""
    deadline = time.monotonic() + 120
    while not list(state.glob(pattern)):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def unlock(workflow) -> subprocess.CompletedProcess:
    """What `make figures` does first."""
    arguments = workflow.command()[3:]  # less `python -m snakemake`
    return subprocess.run(
        [sys.executable, str(ROOT / "workflow/unlock.py"), *arguments], cwd=workflow.folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def target_of(run: str) -> str:
    return f"results/training/micro/seed-0/{run}.parquet"


TARGETS = [target_of(run) for run in RUNS if run not in ("base", "sft")]  # these come with others


@pytest.mark.long
def test_killed_in_every_stage_the_result_is_the_same(tmp_path):
    whole, killed = study(tmp_path / "whole"), study(tmp_path / "killed")
    whole.run(*TARGETS)
    for run, pattern in RUNS.items():
        target = target_of(run)
        state = killed.folder / "results/.state/micro/seed-0" / run
        kill_group(killed.start(target), state, pattern)
        assert not (killed.folder / f"results/training/micro/seed-0/{run}.parquet").exists()
        unlock(killed)
    killed.run(*TARGETS)
    rows, weights = outputs(whole)
    rows_again, weights_again = outputs(killed)
    assert weights == weights_again
    assert len(weights) == 10  # base, three steps of both arms, three branches
    for run in RUNS:
        timeless = [c for c in rows[run] if not c.endswith("_seconds")]
        assert rows[run][timeless].equals(rows_again[run][timeless]), run
    assert not list((killed.folder / "results/.state/micro/seed-0").iterdir()) or all(
        p.suffix == ".lock" for p in (killed.folder / "results/.state/micro/seed-0").iterdir()
    )


@pytest.mark.long
def test_the_lock_of_a_live_run_is_left_alone(tmp_path):
    workflow = study(tmp_path)
    process = workflow.start(TARGETS[0])
    locks = workflow.folder / ".snakemake/locks"
    deadline = time.monotonic() + 60
    while not any(locks.glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused = unlock(workflow)
    assert refused.returncode != 0
    assert "already" in refused.stderr
    assert any(locks.glob("*"))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    lifted = unlock(workflow)
    assert lifted.returncode == 0, lifted.stdout + lifted.stderr
    assert "an earlier run was killed" in lifted.stdout
    assert not any(locks.glob("*"))


@pytest.mark.parametrize("torn", ["no mark", "empty weights"])
def test_a_state_cut_off_while_written_is_not_used(tmp_path, torn):
    import torch

    from healscope.training.state import Workspace

    work = Workspace(tmp_path / "w", "x")
    work.save(3, {"a": torch.ones(2)}, [{"step": 3}])
    part = tmp_path / "w" / "state-000000006.part"
    part.mkdir()
    if torn == "empty weights":
        (part / "tensors").touch()
    assert work.latest().step == 3


def test_another_config_starts_afresh(tmp_path):
    import torch

    from healscope.training.state import Workspace

    work = Workspace(tmp_path / "w", "one")
    work.save(3, {"a": torch.ones(2)}, [])
    work._lock.close()
    assert Workspace(tmp_path / "w", "two").latest() is None


def test_two_writers_are_refused(tmp_path):
    from healscope.errors import HealscopeError
    from healscope.training.state import Workspace

    first = Workspace(tmp_path / "w", "x")
    with pytest.raises(HealscopeError, match="another process works on"):
        Workspace(tmp_path / "w", "x")
    first.close()
    Workspace(tmp_path / "w", "x")
