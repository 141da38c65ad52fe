"""The micro study, run once for all tests that look at a finished workflow."""

import fcntl
import os

import pytest
from hollow import Hollow
from runner import Workflow
from warm import Server


@pytest.fixture(scope="session")
def forks():
    with Server("fork") as running:
        yield running


@pytest.fixture(scope="session")
def finished(forks, tmp_path_factory) -> Workflow:
    """The finished study, run by one of the processes that test; do not change it, use `copy`."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    workflow, said = Workflow(shared / "finished", forks), shared / "finished.txt"
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            said.write_text(workflow.run("--skip-script-cleanup"))
    workflow.output = said.read_text()
    return workflow


@pytest.fixture
def copy(finished, tmp_path) -> Workflow:
    """A copy of the finished study that a test may change."""
    return finished.copied(tmp_path / "copy")


@pytest.fixture(scope="session")
def server():
    with Server("touch") as running:
        yield running


@pytest.fixture(scope="session")
def hollow_micro(server, tmp_path_factory) -> Hollow:
    workflow = Hollow(tmp_path_factory.mktemp("hollow-micro"), server)
    workflow.run()
    return workflow


@pytest.fixture
def touched(hollow_micro, tmp_path) -> Hollow:
    """As `copy`, of a study whose files are empty: for what asks about plans alone."""
    return hollow_micro.copied(tmp_path / "touched")


@pytest.fixture(scope="session")
def hollow(server, tmp_path_factory) -> Hollow:
    """A finished study whose files are empty: the micro study with two arms of SFT, a pair of
    named checkpoints to edit, and fewer branches; do not run or change it, use `copied`."""
    workflow = Hollow(tmp_path_factory.mktemp("hollow"), server)
    workflow.config["sft"]["arms"] = ["kl", "diverse"]
    workflow.config["rl"]["branches"] = {
        "ppo": "all", "grpo": [8], "dpo": [8], "sft_more": [8], "average": [8]
    }  # fmt: skip
    workflow.config["edits"]["stages"] = {
        "sft": {"target": "end", "parent": "maxood"},
        "rl": {"target": "rl", "parent": "end"},
        "late": {"target": "sft-12", "parent": "sft-4"},
    }
    workflow.run()
    return workflow
