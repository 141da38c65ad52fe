"""What a user reads when a job of a cluster fails; tests/slurm has the real ones."""

import pytest

from healscope import slurm

LOG = "results/logs/a.log"


def failed(tmp_path, monkeypatch, slurm_log="", own_log="", rule="sft", message=None):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / slurm.LOGS / f"rule_{rule}/tiny_0/17.log"
    file.parent.mkdir(parents=True)
    file.write_text(slurm_log)
    (tmp_path / LOG).parent.mkdir(parents=True)
    (tmp_path / LOG).write_text(own_log)
    output = ["results/training/tiny/seed-0/sft.parquet"]
    return slurm.explain(
        {"rule_name": rule, "rule_msg": message, "output": output, "log": [LOG, str(file)]}
    )


@pytest.mark.parametrize(
    ("written", "what", "change"),
    [
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=17.0. Some of the step tasks "
            "have been OOM Killed.\nsrun: error: n1: task 0: Out Of Memory",
            "ran out of memory",
            "raise models.tiny.needs.sft.mem_mb",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            "ran out of the GPU's memory",
            "Lower the batch size",
        ),
        (
            "slurmstepd: error: *** JOB 17 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME "
            "LIMIT ***",
            "ran into its time limit",
            "raise models.tiny.needs.sft.runtime",
        ),
        (
            "slurmstepd: error: *** JOB 17 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE "
            "FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***",
            "lost its node",
            "rerun continues",
        ),
        (
            "slurmstepd: error: *** JOB 17 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***",
            "was cancelled",
            "rerun continues",
        ),
    ],
)
def test_what_slurm_wrote_becomes_a_sentence(tmp_path, monkeypatch, written, what, change):
    text = failed(tmp_path, monkeypatch, slurm_log=written)
    assert text.startswith(f"rule sft {what}: results/training/tiny/seed-0/sft.parquet")
    assert change in text
    assert LOG in text
    assert "rule_sft/tiny_0/17.log" in text


def test_a_job_that_says_itself_why_it_failed_is_quoted(tmp_path, monkeypatch):
    text = failed(tmp_path, monkeypatch, own_log="10%\nhealscope: no such model\n(log: x)")
    assert text.startswith("rule sft failed (no such model): ")


def test_a_small_job_is_given_more_by_its_rule(tmp_path, monkeypatch):
    text = failed(tmp_path, monkeypatch, "error: Exceeded job memory limit", rule="table")
    assert "--set-resources table:mem_mb=NUMBER" in text


@pytest.mark.parametrize(
    ("rule", "stage"),
    [
        ("base_model", "base"), ("sft", "sft"), ("rl", "rl"), ("compare", "spectra"),
        ("evaluate_sft_exhaustive_1", "evaluation"), ("evaluate_rl_paper", "evaluation"),
        ("edit_late_2", "edits"), ("factors_rl", "spectra"), ("measure_signals", "probes"),
    ],
)  # fmt: skip
def test_every_stage_is_found_by_its_rules(tmp_path, monkeypatch, rule, stage):
    text = failed(tmp_path, monkeypatch, "Exceeded job memory limit", rule=rule)
    assert f"raise models.tiny.needs.{stage}.mem_mb" in text


def test_where_there_is_no_slurm_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.left_behind(tmp_path) == {}
