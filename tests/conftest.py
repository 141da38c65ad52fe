"""A world small enough to build in a moment: task, tables, a random model with its tokenizer."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here may wait for a network

from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from healscope import config

# the same examples each time, however slow the machine: what fails once fails again
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]


GROUPS = {"finished": "study", "server": "plans"}
"""Fixtures that take long to make -> the group of the tests that need them."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Groups for `--dist loadgroup`: tests of one group are run by one process, one after another.

    A group is a file, but for tests with a group of their own, and for those that share what takes
    long to make. What takes longest must not be the last that a process takes.
    """
    order = [*GROUPS.values(), "sft"]
    for item in items:
        found = [group for name, group in GROUPS.items() if name in item.fixturenames]
        if not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(found[0] if found else item.path.stem))

    def place(item):
        group = next(item.iter_markers("xdist_group")).args[0]
        return order.index(group) if group in order else len(order)

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
    """Makes a branch with a state folder of its own: `branch_at("name", score)`.

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
