"""What runs again after a change, of a finished study whose files are empty."""

import re

from hollow import Hollow

NUMBERED = {
    "fig1", "fig2a", "fig2b", "fig3a", "fig3b", "fig4", "fig5", "fig6", "fig7", "fig8", "fig10",
    "fig11", "fig12", "fig13", "fig14", "fig15",
}  # fmt: skip
"""The paper's figures. Others stand beside them."""
BRANCHES = 15  # of the micro study
FACTORS = ("factors_sft", "factors_rl")


def figures(plan):
    return {rule for rule in plan if rule.startswith("fig")}


def drawn(workflow) -> set[str]:
    """Names of the figures of a study that was run."""
    found = {file.stem for file in (workflow.folder / "results/figures").glob("*.pdf")}
    assert found > NUMBERED
    return found


def test_one_figure_needs_only_its_own_branch_of_the_graph(server, tmp_path):
    fresh = Hollow(tmp_path, server)
    plan = fresh.plan("results/figures/fig2a.pdf")
    assert plan == {"task_tables": 1, "base_model": 1, "sft": 1, "table": 1, "fig2a": 1}
    plan = fresh.plan("results/figures/fig3a.pdf")
    assert plan["rl"] == 4
    assert plan["fig3a"] == 1
    assert not {*FACTORS, "measure_hidden_states", "compare"} & set(plan)
    assert (
        fresh.plan("results/figures/fig15.pdf")["measure_hidden_states"] == 1
    )  # all landmarks at once


def test_with_one_edit_a_job_the_plan_holds_exactly_that_edit(touched):
    touched.config["evaluation"]["variants_per_job"] = 1
    assert touched.plan() == {}  # how many share a process is not a reason to rerun
    edit = "edits/micro/seed-0/rl/values-rank-1/gp3.parquet"
    (touched.folder / "results" / edit).unlink()
    plan = touched.plan("results/figures/fig5.pdf")
    (job,) = (name for name in plan if re.fullmatch(r"edit_rl_\d+", name))
    assert plan == {job: 1, "table": 1, "fig5": 1}


def test_how_training_is_launched_is_no_reason_to_train_again(touched):
    touched.config["models"]["micro"]["launch"] = {"micro_batch": 4, "gradient_checkpointing": True}
    assert touched.plan() == {}
    touched.config["models"]["micro"]["launch"] = {"precision": "bfloat16"}
    plan = touched.plan()
    assert plan["sft"] == 1
    assert plan["rl"] == BRANCHES
    assert "base_model" not in plan


def test_a_new_style_redraws_and_no_more(touched):
    touched.config["figures"] = {"palette": "deep"}
    assert touched.plan() == dict.fromkeys(drawn(touched), 1)


def test_a_new_rate_of_one_recipe_reruns_its_branches_and_what_shows_them(touched):
    touched.config["rl"]["recipes"]["grpo"] = {"optimizer": {"learning_rate": 3e-4}}
    plan = touched.plan()
    assert plan["rl"] == 1
    assert plan["evaluate_rl_exhaustive"] == 1
    assert {"fig_recipes", "fig12"} <= figures(plan)
    others = {"task_tables", "base_model", "sft", "evaluate_sft_exhaustive_1", "landmarks"}
    spectral = {*FACTORS, "measure_hidden_states", "compare", "edit_rl_1", "fig13", "fig1", "fig4"}
    assert not {"fig2a", "fig3a", "fig10", "evaluate_rl_paper", *others, *spectral} & set(plan)


def test_a_new_rate_of_the_main_recipe_also_reruns_what_hangs_on_the_landmark(touched):
    touched.config["rl"]["recipes"]["ppo"]["optimizer"] = {"learning_rate": 3e-4}
    plan = touched.plan()
    assert plan["rl"] == 6  # four starts, and two recipes that are like it
    assert plan["evaluate_rl_paper"] == 1  # other protocols: SFT, and RL at its landmark
    assert plan["factors_rl"] == 1
    assert plan["measure_hidden_states"] == 1  # all landmarks at once
    assert "edit_rl_1" in plan
    assert {"fig1", "fig3a", "fig5", "fig7", "fig10", "fig_window"} <= figures(plan)
    assert not {"sft", "factors_sft", "edit_sft_1", "fig2a", "fig2b", "fig8"} & set(plan)


def test_any_recipe_can_be_asked_for_from_any_start(touched):
    target = "results/evals/exhaustive/micro/seed-0/dr_grpo-from-4/gp3.parquet"
    assert touched.plan(target) == {"rl": 1, "evaluate_rl_exhaustive": 1}
    assert "No rule to produce" in touched.fails("--dry-run", target.replace("from-4", "from-5"))


def test_a_new_sft_rate_keeps_the_base_model(touched):
    touched.config["sft"]["optimizer"] = {"learning_rate": 1e-4}
    plan = touched.plan()
    assert plan["sft"] == 1
    assert plan["rl"] == BRANCHES
    assert not {"task_tables", "base_model"} & set(plan)


def test_a_new_reward_reruns_rl_and_no_sft(touched):
    touched.config["tasks"]["gp3"]["rewards"] = {"wrong_value": -0.5}
    plan = touched.plan()
    assert plan["rl"] == BRANCHES
    assert not {"base_model", "sft"} & set(plan)


def test_neighbours_have_a_figure_where_a_protocol_asks_for_them(touched):
    near = touched.config["evaluation"]["protocols"]["near"]
    near["per_kind"] = 3
    own = {"evaluate_sft_near_1": 1, "evaluate_rl_near": 1, "table": 1, "fig_neighbours": 1}
    assert touched.plan() == {"posed": 1, **own}
    del touched.config["evaluation"]["protocols"]["near"]
    assert touched.plan() == {}
    near["samples"] = 2
    touched.config["evaluation"]["protocols"]["near"] = near
    assert "protocols.near: neighbours are asked once" in touched.fails()


def test_an_arm_of_sft_is_one_line_and_a_run_of_its_own(touched):
    for asked in (["diverse"], ["solutions", "diverse"], ["rpsft"], ["lora", "diverse"]):
        touched.config["sft"]["arms"] = asked
        runs = {"sft": len(asked), "evaluate_sft_exhaustive_1": len(asked)}
        controls, methods = {"diverse", "solutions"} & set(asked), {"rpsft", "lora"} & set(asked)
        figures = {"fig_arms": 1} if controls else {}
        figures |= {"fig_methods": 1} if methods else {}
        assert touched.plan() == {**runs, "table": 1, **figures}


def test_the_settings_of_a_method_touch_no_other_run(touched):
    touched.config["sft"]["methods"] = {
        "mine": {"like": "l2", "strength": 2.0},
        "kl": {"strength": 3},
    }
    assert touched.plan() == {}
    assert touched.plan("results/training/micro/seed-0/mine.parquet") == {"sft": 1}


def test_the_statistics_do_not_retrain(touched):
    touched.config["statistics"]["confidence"] = 0.9
    plan = touched.plan()
    assert not {"base_model", "sft", "rl", "evaluate_rl_exhaustive", *FACTORS} & set(plan)


def test_a_second_training_task_makes_nothing_of_the_first_again(touched):
    """Files of the first keep their names; the second has a base, SFT and RL of its own."""
    second = {**touched.config["tasks"]["gp3"], "targets": [10, 12]}
    touched.config["tasks"]["more"] = second
    touched.config["train_on"] = ["gp3", "more"]
    plan = touched.plan()
    assert plan["base_model"] == plan["sft"] == plan["landmarks"] == plan["task_tables"] == 1
    assert plan["rl"] == plan["evaluate_rl_exhaustive_micro_more"] == BRANCHES
    assert plan["task_claims"] == plan["fig9"] == plan["fig_tasks"] == 1
    assert not {"evaluate_sft_exhaustive_1", "evaluate_rl_exhaustive", "edit_sft_1"} & set(plan)


def test_a_task_beside_is_trained_on_only_where_it_is_asked_for(touched):
    nav = {"family": "navigation", "rendering": "compact", "generated": 30, "legs": [2, 2]}
    touched.config["tasks"]["nav"] = nav
    assert touched.plan() == {}
    plan = touched.plan("results/figures/fig9.pdf")
    assert plan["base_model"] == plan["sft"] == plan["rl"] == plan["fig9"] == 1
    assert plan["table"] == 1
    touched.config["train_on"] = "nav"  # without the card game there is nothing on its answers
    absent = {"fig_errors", "fig_factorial"}
    assert not absent & set(touched.plan())


def test_a_bad_config_stops_before_any_job(touched):
    touched.config["sft"]["checkpoints"] = [0, 4, 99]
    message = touched.fails()
    assert "sft: checkpoints: step 99 is beyond steps=12" in message
    assert "Traceback" not in message


def test_the_slurm_profile_is_found_by_name(server, tmp_path):
    code, output = server.call(
        ["--profile", "slurm", "--dry-run", "--directory", str(tmp_path),
         "--configfile", "config/micro.yaml"]
    )  # fmt: skip
    assert code == 0, output
    assert re.search(r"Using profiles? slurm", output)


def test_an_engine_asks_again_and_where_it_runs_does_not(touched):
    touched.config["vllm"] = {"python": "elsewhere", "memory_share": 0.5, "dtype": "float16"}
    assert touched.plan() == {}  # nothing of it is used
    touched.config["evaluation"]["engine"] = "vllm"
    asked = touched.plan()
    assert {"evaluate_sft_exhaustive_1", "evaluate_rl_paper", "edit_rl_1"} <= set(asked)
    assert not {"base_model", "sft", "rl"} & set(asked)
    touched.config["evaluation"]["engine"], touched.config["rl"]["engine"] = "hf", "vllm"
    assert touched.plan()["rl"] == BRANCHES - 2  # sft_more and average sample nothing
