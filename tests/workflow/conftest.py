"""The micro study, run once for all tests that look at a finished workflow."""

import fcntl
import os
import shutil

import pytest
from runner import Workflow


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The finished study, run by one of the processes that test; do not change it, use `copy`."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    workflow, said = Workflow(shared / "finished"), shared / "finished.txt"
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            said.write_text(workflow.run())
    workflow.output = said.read_text()
    return workflow


@pytest.fixture
def copy(finished, tmp_path) -> Workflow:
    """A copy of the finished study that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    return Workflow(folder)
