"""A whole study through Slurm, whose Snakemake is killed on the way."""

from scenarios import STUDY_TARGETS


def test_jobs_left_behind_keep_a_second_run_from_starting(killed):
    assert f"still at work for this study: {killed.orphan}." in killed.refused
    assert "python workflow/unlock.py" in killed.refused


def test_the_recovery_cancels_them_and_counts_what_finished_meanwhile(killed):
    assert f"cancelling the Slurm jobs it left behind: {killed.orphan}\n" in killed.recovery
    assert killed.study.jobs()[killed.orphan]["JobState"] == "CANCELLED"
    (stands,) = (line for line in killed.recovery.splitlines() if "finished after" in line)
    assert "results/evals/exhaustive/micro/seed-0/sft-12/gp3.parquet" in stands


def test_the_rerun_completes_the_study(killed):
    assert killed.status == 0, killed.said
    for target in STUDY_TARGETS:
        assert (killed.study.folder / target).stat().st_size
    assert "healscope: what stands above is in results/tables/claims.txt" in killed.said


def test_nothing_that_was_done_is_written_again(killed):
    """By inode: evaluations finished when nobody watched, and the training before them."""
    assert "evals/exhaustive/micro/seed-0/sft-12/gp3.parquet" in killed.before
    assert "checkpoints/micro/seed-0/sft-12/checkpoint.json" in killed.before
    after = killed.study.outputs()
    assert {file: after[file] for file in killed.before} == killed.before


def test_every_job_ran_once_but_the_one_that_was_cancelled(killed):
    jobs = killed.study.jobs()
    rules = [job["StdOut"].rsplit("/", 1)[0] for job in jobs.values()]
    twice = {rule for rule in rules if rules.count(rule) > 1}
    assert {rule.split("slurm_logs/")[1] for rule in twice} == {"rule_rl/micro_0_ppo-from-8"}
    states = [job["JobState"] for number, job in jobs.items() if number != killed.orphan]
    assert set(states) == {"COMPLETED"}


def test_tables_and_figures_share_jobs_that_a_small_node_can_run(killed):
    for group, members in (("tables", 4), ("figures", 3)):
        (job,) = killed.study.jobs(f"group_{group}").values()
        assert int(job["NumCPUs"]) == members
        assert job["MinMemoryNode"] == f"{2000 * members}M"


def test_what_finished_meanwhile_is_measured_again_when_its_settings_change(killed):
    killed.study.config["evaluation"]["max_new_tokens"] = 25
    target = "results/evals/exhaustive/micro/seed-0/sft-12/gp3.parquet"
    plan = killed.study.call(
        "-m", "snakemake", "--dry-run", *killed.study.arguments("--", target)
    ).stdout
    assert "evaluate_sft_exhaustive_1" in plan
