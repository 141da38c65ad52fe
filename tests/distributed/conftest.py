"""The training jobs of the micro study, by one process and by two (gloo, DeepSpeed)."""

import copy
import importlib.util
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from healscope.models import checkpoints
from healscope.training import launch
from healscope.training.state import Workspace

if importlib.util.find_spec("deepspeed") is None:
    pytest.exit("DeepSpeed is not there: `make test-train` installs it", 2)

ROOT = Path(__file__).parents[2]
DEEPSPEED = ROOT / "config/deepspeed"
TWO = {"processes": 2, "deepspeed": "zero2"}


@dataclass
class Run:
    """What a job has made: its log, and checkpoint -> tensors."""

    rows: pd.DataFrame
    weights: dict[str, dict]


@pytest.fixture(scope="session")
def config():
    return yaml.safe_load((ROOT / "config/micro.yaml").read_text())


@pytest.fixture(scope="session")
def files(tables, base_manifest, tmp_path_factory):
    """The inputs of the rules `sft` and `rl`, on disk."""
    folder = tmp_path_factory.mktemp("inputs")
    named = dict(zip(("problems", "pool", "prompts"), tables, strict=True))
    for name, table in named.items():
        table.to_parquet(folder / f"{name}.parquet")
    paths = {name: str(folder / f"{name}.parquet") for name in named}
    return {**paths, "sft_pool": paths["pool"], "start": base_manifest, "base": base_manifest}


@pytest.fixture(scope="session")
def train(config, study, files, tmp_path_factory):
    """Run a job: `train("sft", how, sft={…})`; `how` is what models.*.launch says."""

    def run(
        name: str, how: dict | None = None, folder=None, recipe=None, start=None, **changes
    ) -> Run:
        settings = copy.deepcopy(config)
        settings["models"]["micro"]["launch"] = how or {}
        settings["rl"]["branches"] = {"ppo": [8]}  # what else there is need not be shareable
        for section, values in changes.items():
            settings[section] |= values
        params = {
            "task": study.tasks["gp3"].model_dump(mode="json"),
            "max_new_tokens": 24,
        }
        job = {"name": name, "track": "micro", "seed": 0, "params": params}
        job["files"] = {**files, **({"start": start} if start else {})}
        if recipe is None:
            job["kind"] = "sft"
            params["sft"] = study.sft.model_validate(
                {**study.sft.model_dump(mode="json"), **changes.get("sft", {})}
            ).model_dump(mode="json")
        else:
            job["kind"] = "rl"
            params["recipe"] = recipe
            params["examples"] = {"deals": study.sft.deals, "examples": study.sft.examples}
        work = Workspace(folder or tmp_path_factory.mktemp("work") / "state", "x")
        try:
            rows = launch.run(job, settings, DEEPSPEED, 1, work)
        finally:
            work._lock.close()
        staged = sorted((work.folder / "checkpoints").iterdir())
        return Run(
            pd.DataFrame(rows),
            {f.name: checkpoints.load_file(f / checkpoints.WEIGHTS) for f in staged},
        )

    return run


@pytest.fixture(scope="session")
def learned(train, tmp_path_factory):
    """Manifest of a model that knows the layout of an answer: rewards of what it says differ."""
    folder = tmp_path_factory.mktemp("learned")
    steps = {"steps": 400, "checkpoints": [0, 8, 400], "log_every": 400, "state_every": 400,
             "log_problems": 2, "freeze": [], "optimizer": {"learning_rate": 5e-3}}  # fmt: skip
    train("sft", None, folder / "state", sft=steps)
    manifest = folder / "sft-400/checkpoint.json"
    checkpoints.publish(folder / "state/checkpoints/sft-400", manifest, {})
    return str(manifest)


@pytest.fixture(scope="session")
def zero3(tmp_path_factory):
    """ZeRO-3 that parts every weight; by default it leaves those of up to 100,000 numbers whole."""
    file = tmp_path_factory.mktemp("deepspeed") / "zero3.json"
    settings = {"stage": 3, "stage3_param_persistence_threshold": 0}
    file.write_text(json.dumps({"zero_optimization": settings}))
    return str(file)


@pytest.fixture(scope="session")
def branch_of_files(files, tables, study, task):
    from healscope.training.branch import Branch

    return Branch(
        name="ppo-from-0",
        start=files["start"],
        base=files["base"],
        prompts=tables[2],
        sft_pool=tables[1],
        sft_rows=tables[1],
        task=task,
        max_new_tokens=5,
        seed=0,
        work=None,
        label="test",
    )


@pytest.fixture
def signalled():
    """Send SIGTERM to this process as soon as the run in a folder has a state to go on from."""

    def start(folder: Path, pattern: str) -> None:
        def send():
            while not list(folder.glob(pattern)):
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=send, daemon=True).start()

    return start


@pytest.fixture
def identical():
    """Assert that two runs made the same rows and weights, to the bit; seconds aside."""

    def check(a: Run, b: Run) -> None:
        rows = [r.rows.drop(columns=[c for c in r.rows if c.endswith("_seconds")]) for r in (a, b)]
        pd.testing.assert_frame_equal(*rows, check_exact=True)
        assert list(a.weights) == list(b.weights)
        for name, tensors in a.weights.items():
            assert all(torch.equal(value, b.weights[name][key]) for key, value in tensors.items())

    return check
