"""The micro study, run once for all tests that look at a finished workflow."""

import shutil

import pytest
from runner import Workflow


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The finished study; do not change it, use `copy`."""
    workflow = Workflow(tmp_path_factory.mktemp("finished"))
    workflow.output = workflow.run()
    return workflow


@pytest.fixture
def copy(finished, tmp_path) -> Workflow:
    """A copy of the finished study that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    return Workflow(folder)
