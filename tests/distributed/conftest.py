"""The training jobs of the micro study, by one process and by two (gloo, DeepSpeed)."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytest.importorskip("deepspeed", reason="make test-train installs it")

from healscope.models import checkpoints
from healscope.training import launch
from healscope.training.state import Workspace

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
    """Runs a job: `train("sft", how, sft={…})`; `how` is what models.*.launch says."""

    def run(name: str, how: dict | None = None, folder=None, recipe=None, **changes) -> Run:
        settings = copy.deepcopy(config)
        settings["models"]["micro"]["launch"] = how or {}
        settings["rl"]["branches"] = {"ppo": [8]}  # what else there is need not be shareable
        for section, values in changes.items():
            settings[section] |= values
        params = {
            "task": study.tasks["gp3"].model_dump(mode="json"),
            "max_new_tokens": 12,
        }
        job = {"name": name, "model": "micro", "seed": 0, "params": params, "files": files}
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
