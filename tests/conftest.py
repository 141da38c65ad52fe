"""A world small enough to build in a moment: task, tables, a random model with its tokenizer."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here may wait for a network

from pathlib import Path

import pytest
import yaml
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from healscope import config

# the same examples each time, however slow the machine: what fails once fails again
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]


GROUPS = {
    "study": ["test_dag", "test_scripts", "test_weights"],  # the finished study
    "plans": ["test_plans", "test_reruns", "test_plan", "test_readme"],  # hollow ones
    "sft": ["test_sft", "test_methods"],  # runs of all arms
}
"""Files whose tests share what takes long to make: one process takes all of a group, in this order,
before other files. (Not xdist's `loadgroup`, which does nothing under pytest 9.)"""
OF_FILE = {file: group for group, files in GROUPS.items() for file in files}


class Grouped(LoadFileScheduling):
    """Gives each process a file of tests after another, or a group of files."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return OF_FILE.get(Path(file).stem, file)


def pytest_xdist_make_scheduler(config, log):
    return Grouped(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items):
    """What takes longest must not be the last that a process takes."""
    order = list(OF_FILE)

    def place(item):
        if item.path.stem in order:
            return order.index(item.path.stem)
        return len(order) + ("workflow" not in item.path.parts)

    items.sort(key=place)


@pytest.fixture(scope="session")
def study():
    return config.load(yaml.safe_load((ROOT / "config/micro.yaml").read_text()))


@pytest.fixture(scope="session")
def task(study):
    from healscope.tasks import build

    return build("gp3", study.tasks["gp3"])


@pytest.fixture(scope="session")
def tables(task):
    """(problems, sft pool, rl pool)"""
    return task.problem_table(), task.sft_table(), task.rl_table()


@pytest.fixture(scope="session")
def base_manifest(study, task, tmp_path_factory):
    """Manifest of an untrained base model, saved and published as the workflow does."""
    import torch

    from healscope.models import checkpoints, tokens
    from healscope.training.base import scratch_model

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    tokenizer = tokens.word_tokenizer(task.words())
    model = scratch_model(study.models["micro"].scratch.architecture, tokenizer, seed=0)
    checkpoints.save_weights(folder / "staged", model, tokenizer)
    manifest = folder / "base" / "checkpoint.json"
    checkpoints.publish(folder / "staged", manifest, {})
    return str(manifest)


@pytest.fixture
def model_and_tokenizer(base_manifest):
    from healscope.models import checkpoints

    return checkpoints.load_model(base_manifest)


@pytest.fixture
def branch_at(study, base_manifest, tables, task, tmp_path):
    """Make a branch with a state folder of its own: `branch_at("name", score)`.

    `score` replaces what the recipe's reward would be.
    """
    from dataclasses import dataclass, replace

    from healscope.tasks.tables import sft_examples
    from healscope.training.branch import Branch
    from healscope.training.state import Workspace

    @dataclass(frozen=True)
    class Paid(Branch):
        score: object = None

        def sampler(self, recipe, **more):
            usual = super().sampler(recipe, **more)
            return replace(usual, score=self.score) if self.score else usual

    def make(folder: str = "work", score=None, max_new_tokens: int = 3):
        return Paid(
            name="ppo-from-0",
            start=base_manifest,
            base=base_manifest,
            prompts=tables[2],
            sft_pool=tables[1],
            sft_rows=sft_examples(tables[1], study.sft.deals, study.sft.examples, 0),
            task=task,
            max_new_tokens=max_new_tokens,
            seed=0,
            work=Workspace(tmp_path / folder, "x"),
            label="test",
            score=score,
        )

    return make
