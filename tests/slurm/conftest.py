"""One Slurm for all tests here, and the three studies that run in it side by side."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cluster as slurm
import pytest
import scenarios
from study import Study


@pytest.fixture(scope="session")
def cluster():
    """A running Slurm; its folder has a short name, since sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="healscope-slurm-"))
    running = slurm.start(folder)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def happenings(cluster, tmp_path_factory):
    """scenario -> a future of what came of it; all of them start at once."""
    folder = tmp_path_factory.mktemp("studies")
    scenes = (
        scenarios.faults, scenarios.killed_snakemake, scenarios.leaving_node, scenarios.gpus,
    )  # fmt: skip
    studies = {scene: Study(folder / scene.__name__, cluster, {}) for scene in scenes}
    with ThreadPoolExecutor() as pool:
        yield {scene: pool.submit(scene, study) for scene, study in studies.items()}
    for study in studies.values():
        study.stop()


@pytest.fixture(scope="session")
def faults(happenings) -> scenarios.Faults:
    return happenings[scenarios.faults].result()


@pytest.fixture(scope="session")
def leaving(happenings) -> scenarios.Leaving:
    return happenings[scenarios.leaving_node].result()


@pytest.fixture(scope="session")
def killed(happenings) -> scenarios.Killed:
    return happenings[scenarios.killed_snakemake].result()


@pytest.fixture(scope="session")
def given(happenings) -> Study:
    return happenings[scenarios.gpus].result()
