"""GPUs are asked for by the study's `needs`, scheduled by Slurm, and a script runs once."""

import re

import pytest
from cluster import GPUS
from scenarios import ASKED


@pytest.mark.parametrize(("stage", "gpus"), ASKED.items())
def test_a_job_gets_the_gpus_it_asked_for_and_starts_once(given, stage, gpus):
    said = (given.folder / f"given/micro-{stage}.txt").read_text()
    seen = re.search(r"^gpus(.*)$", said, re.MULTILINE)[1].strip()
    assert len(seen.split(",") if seen else []) == gpus
    assert (given.folder / f"{stage}.starts").read_text() == "start\n"
    job = given.jobs()[int(re.search(r"job (\d+)", said)[1])]
    assert job["JobState"] == "COMPLETED"
    assert job["NumTasks"] == job["NumCPUs"] == "1"  # not one for each GPU
    assert job["Partition"] == ("gpu" if gpus else "main")  # by the file of partitions
    assert job.get("TresPerJob") == (f"gres:gpu:{gpus}" if gpus else None)


def test_slurm_hands_out_no_more_gpus_than_it_has(cluster):
    hold = f"sbatch --parsable --output=/dev/null --gpus={GPUS} --wrap 'sleep 60'"
    first, second = (int(cluster.ask(hold)) for _ in range(2))
    try:
        states = [cluster.jobs()[job]["JobState"] for job in (first, second)]
        assert states[1] == "PENDING"
    finally:
        cluster.ask(f"scancel {first} {second}")
