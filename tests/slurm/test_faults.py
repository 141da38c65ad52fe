"""Jobs that are killed from outside: the user reads what happened, and a rerun loses nothing."""

import re

from scenarios import HUNGRY_MB, TARGETS
from study import megabytes

TRAINED = [name for name in TARGETS if name != "refused"]


def paragraph(said: str, model: str) -> str:
    """What the end of a run says of the job of one model."""
    at_the_end = said.split("Exiting because a job execution failed")[1]
    (found,) = re.findall(rf"healscope: rule .*/{model}/.*\n.*\n.*(?:\n  .*)?", at_the_end)
    return found


def test_a_failed_run_says_so_and_publishes_nothing_of_the_failed_jobs(faults):
    assert faults.status != 0
    assert not [file for file in faults.outputs if "/base" in file]


def test_out_of_memory_is_named_with_what_to_change(faults):
    said = paragraph(faults.said, "hungry")
    assert "rule base_model ran out of memory" in said
    assert "raise models.hungry.needs.base.mem_mb" in said


def test_a_time_limit_is_named_with_what_to_change(faults):
    said = paragraph(faults.said, "frozen")
    assert "rule base_model ran into its time limit" in said
    assert "raise models.frozen.needs.base.runtime" in said


def test_a_cancelled_job_is_called_that(faults):
    assert "rule base_model was cancelled" in paragraph(faults.said, "cancelled")


def test_a_warned_job_stops_with_its_state_saved(faults):
    assert "rule base_model was told to stop, and saved its state" in paragraph(
        faults.said, "warned"
    )
    log = " ".join(said.read_text() for said in _slurm_logs(faults, "warned"))
    step = re.search(r"stopped by SIGTERM at step (\d+) of \d+, with its state saved", log)
    assert int(step[1]) > 0
    assert faults.states["warned"] == 1


def _slurm_logs(faults, model):
    """Of the failed jobs: those of the others are gone."""
    return faults.study.folder.glob(f".snakemake/slurm_logs/rule_base_model/{model}_0/*.log")


def test_what_slurm_refuses_is_told_in_its_words(faults):
    said = paragraph(faults.said, "refused")
    assert "rule base_model was refused by Slurm" in said
    assert re.search(r"Slurm said: sbatch: error: .*[Mm]emory", said)
    assert "models.refused.needs.base" in said


def test_logs_are_where_the_message_says(faults):
    for model in TRAINED:
        own, slurm = re.search(
            r"log: (\S+); Slurm's log: (\S+)", paragraph(faults.said, model)
        ).groups()
        assert own == f"results/logs/base_model-{model}-0.log"
        assert (faults.study.folder / own).exists() or model == "hungry"  # killed while it started
        assert (faults.study.folder / slurm).read_text()


def test_training_keeps_its_states_and_the_rerun_completes_it(faults):
    assert faults.states["cancelled"]
    assert faults.status_after == 0, faults.said_after
    outputs = faults.study.outputs()
    for model in TRAINED:
        assert f"training/{model}/seed-0/base.parquet" in outputs
        assert f"checkpoints/{model}/seed-0/base/checkpoint.json" in outputs


def test_a_retry_asks_for_twice_the_memory_until_it_is_enough(faults):
    jobs = [job for _, job in sorted(faults.study.jobs("rule_base_model/hungry_0/").items())]
    asked = [megabytes(job) for job in jobs[1:]]  # of the rerun; the first is of the run before
    assert len(asked) > 1
    assert asked == [HUNGRY_MB * 2**n for n in range(len(asked))]
    assert [job["JobState"] for job in jobs[1:]] == ["FAILED"] * (len(asked) - 1) + ["COMPLETED"]


def test_what_is_done_is_not_done_again(faults):
    for model in TRAINED:
        states = [j["JobState"] for j in faults.study.jobs(f"rule_base_model/{model}_0/").values()]
        assert states.count("COMPLETED") == 1


def test_a_draining_node_finishes_its_job_and_gets_no_other(leaving):
    assert leaving.drained["JobState"] == "RUNNING"
    assert leaving.drained["NodeList"] == leaving.node
    assert leaving.meanwhile != leaving.node


def test_a_job_moves_when_its_node_goes_down(leaving):
    assert leaving.status == 0, leaving.study.said
    (job,) = leaving.study.jobs().values()  # the same one, for Snakemake too
    assert job["JobState"] == "COMPLETED"
    assert int(job["Restarts"]) == 1
    assert job["NodeList"] != leaving.node
    assert "training/moved/seed-0/base.parquet" in leaving.study.outputs()


def test_a_job_may_ask_for_more_cores_than_the_host_of_snakemake_has(leaving):
    (job,) = leaving.study.jobs().values()
    asked = leaving.study.config["models"]["moved"]["needs"]["base"]["threads"]
    assert int(job["NumCPUs"]) == asked
