"""Nothing is recomputed that stands, and nothing stands that is stale."""

import json
import re

import pandas as pd
import pytest
from hollow import Hollow

FIGURES = [
    "1", "2a", "2b", "3a", "3b", "4", "5", "6", "7", "8", "10", "11", "12", "13", "14", "15",
    "_delta", "_errors", "_factorial", "_neighbours", "_protocols", "_recipes", "_repair",
    "_signals", "_stopping", "_window",
]  # fmt: skip
BRANCHES = 15  # of the micro study
FACTORS = ("factors_sft", "factors_rl")


def figures(plan):
    return {rule for rule in plan if rule.startswith("fig")}


def test_a_finished_study_has_nothing_to_do(finished):
    assert finished.plan() == {}


def test_every_figure_exists(finished):
    folder = finished.folder / "results/figures"
    for number in FIGURES:
        assert (folder / f"fig{number}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"fig{number}.png").read_bytes().startswith(b"\x89PNG")


def test_figures_and_claims_say_what_they_came_from(finished):
    from PIL import Image

    from healscope import provenance

    results = finished.folder / "results"
    table = results / "tables/curves.parquet"
    record = json.loads(Image.open(results / "figures/fig3a.png").text["healscope"])
    assert list(record["inputs"].values()) == [provenance.sha256(table)]
    assert record["config"]["palette"] == "colorblind"
    assert b"/Keywords" in (results / "figures/fig3a.pdf").read_bytes()
    stored = provenance.read_provenance(results / "tables/claims.parquet")
    assert stored["fingerprint"][:16] in (results / "tables/claims.txt").read_text()


def test_every_table_is_what_its_schema_says(finished):
    import pyarrow.parquet as pq

    from healscope import schemas
    from healscope.schema import check

    files = sorted((finished.folder / "results").rglob("*.parquet"))
    assert {"evaluation", "edit-evaluation", "rl-log", "gate"} <= {
        schemas.by_path(f).name for f in files
    }
    for file in files:
        table = pq.read_table(file)
        schema = schemas.by_path(file).of(table.column_names)
        assert table.schema.equals(schema.arrow()), file
        for column in schema.columns:
            assert table.schema.field(column.name).metadata[b"unit"].decode() == column.unit
        check(table.to_pandas(), schema)


def test_answers_become_a_page(finished, tmp_path):
    from healscope import provenance, results_page
    from healscope.errors import HealscopeError

    page = tmp_path / "page.md"
    page.write_text(f"mine\n{results_page.BEGIN}\nold\n{results_page.END}\nmine too\n")
    results_page.update(finished.folder, page)
    text = page.read_text()
    claims = provenance.read_table(finished.folder / "results/tables/claims.parquet")
    assert all(statement in text for statement in claims["statement"])
    assert text.startswith("mine\n")
    assert text.endswith("mine too\n")
    assert "old" not in text.split("mine too")[0].replace("threshold", "").split()
    page.write_text("no markers")
    with pytest.raises(HealscopeError, match="needs one line"):
        results_page.update(finished.folder, page)


def test_the_run_says_where_to_look(finished):
    assert "figures are in results/figures/" in finished.output
    assert re.search(r"\d+ of \d+ steps \(100%\) done", finished.output)


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


def test_a_deleted_edit_reruns_that_edit_its_table_and_its_figure(copy):
    edit = "edits/micro/seed-0/sft/directions-rank-0.5/gp3.parquet"
    (copy.folder / "results" / edit).unlink()
    figure = "results/figures/fig6.pdf"
    assert copy.plan(figure) == {"edit_sft_1": 1, "table": 1, "fig6": 1}
    before = copy.inodes()
    copy.run(figure)
    after = copy.inodes()
    changed = {f for f in after if before.get(f) != after[f]}
    assert changed == {edit, "tables/reversion-sft.parquet", "figures/fig6.pdf", "figures/fig6.png"}


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


def test_any_edit_can_be_asked_for_by_its_name(copy):
    edit = (
        "results/edits/micro/seed-0/sft/values-tail-0.5+swap-layer-1-roles-q-as-noise/gp3.parquet"
    )
    assert copy.plan(edit) == {"edit_sft": 1}
    copy.run(edit)
    rows = pd.read_parquet(copy.folder / edit)
    assert len(rows)
    assert 0 < rows["from_target"].iloc[0] < 1 < rows["from_parent"].iloc[0]
    wrong = "results/edits/micro/seed-0/sft/values-half/gp3.parquet"
    assert "'values-half' is not KIND-SELECTOR-VALUE" in copy.fails(wrong)


def test_another_pair_of_checkpoints_is_a_stage_of_its_own(copy):
    copy.config["edits"]["stages"] = {"late": {"target": "sft-12", "parent": "base"}}
    plan = copy.plan("results/tables/reversion-late.parquet")
    assert plan["edit_late_1"] == plan["table"] == 1
    assert not {"sft", "rl", "evaluate_sft_exhaustive_1"} & set(plan)
    assert not {"fig4", "fig5", "fig6", "fig7", "fig_repair"} & set(copy.plan())
    copy.run("results/tables/reversion-late.parquet")
    table = pd.read_parquet(copy.folder / "results/tables/reversion-late.parquet")
    assert set(table.loc[table["kind"].isin(["none", "parent"]), "name"]) == {"sft-12", "base"}


def test_a_new_style_redraws_and_no_more(touched):
    touched.config["figures"] = {"palette": "deep"}
    assert touched.plan() == {f"fig{n}": 1 for n in FIGURES}


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


def test_a_branch_that_diverges_is_marked_and_stops_nothing(copy):
    """Its log is kept, its answers are none, and tables and figures say that it failed."""
    copy.config["rl"]["branches"]["diverging"] = [8]
    targets = [
        f"results/{kind}"
        for kind in ("tables/recipes.parquet", "figures/fig_recipes.pdf", "figures/fig12.pdf")
    ]
    output = copy.run(*targets)
    assert "the study goes on without diverging-from-8" in output
    results = copy.folder / "results"
    log = pd.read_parquet(results / "training/micro/seed-0/diverging-from-8.parquet")
    assert re.search("lower the recipe's optimizer.learning_rate", log["failure"].iloc[-1])
    answers = results / "evals/exhaustive/micro/seed-0/diverging-from-8/gp3.parquet"
    assert len(pd.read_parquet(answers)) == 0
    table = pd.read_parquet(results / "tables/recipes.parquet")
    failed = table[table["recipe"] == "diverging"]
    assert len(failed)
    assert failed["failed"].str.contains("lower the recipe's").all()
    assert failed["ood_after"].isna().all()
    copy.config["rl"]["branches"]["ppo"] = [0, 4, 12]
    copy.config["rl"]["main"] = "diverging"
    assert "holds no weights, its run failed" in copy.fails("results/figures/fig13.pdf")
    assert "set landmarks.rl to another branch" in copy.fails("results/tables/gate.parquet")


def test_a_new_sft_rate_keeps_the_base_model(touched):
    touched.config["sft"]["optimizer"] = {"learning_rate": 1e-4}
    plan = touched.plan()
    assert plan["sft"] == 1
    assert plan["rl"] == BRANCHES
    assert not {"task_tables", "base_model"} & set(plan)


def test_a_base_from_a_folder_is_copied_and_watched(finished, tmp_path):
    import shutil

    mine = tmp_path / "model"
    shutil.copytree(finished.folder / "results/checkpoints/micro/seed-0/base", mine)
    workflow = type(finished)(tmp_path / "study", finished.server)
    workflow.config["models"] = {"mine": {"source": str(mine), "check_random": False}}
    target = "results/checkpoints/mine/seed-0/base/checkpoint.json"
    workflow.run(target)
    copied = (workflow.folder / target).parent / "model.safetensors"
    assert copied.read_bytes() == (mine / "model.safetensors").read_bytes()
    assert workflow.plan(target) == {}
    config = mine / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert workflow.plan(target) == {"base_model": 1}


def test_a_new_reward_reruns_rl_and_no_sft(touched):
    touched.config["tasks"]["gp3"]["rewards"] = {"wrong_value": -0.5}
    plan = touched.plan()
    assert plan["rl"] == BRANCHES
    assert not {"base_model", "sft"} & set(plan)


def test_a_new_protocol_is_evaluated_without_retraining(copy):
    """Any protocol on any checkpoint; answers under the other protocols stay."""
    quick = {"problems": "drawn", "hands": 3, "seed": 7}
    copy.config["evaluation"]["protocols"]["quick"] = quick
    plan = copy.plan()
    assert plan["posed"] == 1
    assert plan["evaluate_sft_quick_1"] == 1
    untouched = {"task_tables", "base_model", "sft", "rl", "measure_signals", "landmarks", *FACTORS}
    assert not {*untouched, "evaluate_sft_exhaustive_1"} & set(plan)
    before = copy.inodes()
    copy.run("results/evals/quick/micro/seed-0/sft-4/gp3.parquet")
    after = copy.inodes()
    changed = {f for f in after if before.get(f) != after[f]}
    assert changed == {
        "tasks/gp3/protocols/quick.parquet",
        *(f"evals/quick/micro/seed-0/sft-{step}/gp3.parquet" for step in (0, 4, 8, 12)),
    }


def test_neighbours_have_a_table_of_their_own(finished):
    """No other table reads them."""
    folder = finished.folder / "results/tables"
    for other in ("protocols", "exposure"):
        assert set(pd.read_parquet(folder / f"{other}.parquet")["protocol"]) == {
            "exhaustive", "paper"
        }  # fmt: skip
    table = pd.read_parquet(folder / "neighbours.parquet")
    assert set(table["landmark"]) == {"base", "maxood", "end", "rl"}


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


def test_published_values_are_drawn_over_without_measuring_again(touched, copy):
    for workflow in (touched, copy):
        workflow.config["figures"] = {"published": "llama-3.2-11b"}
    assert touched.plan() == {f"fig{n}": 1 for n in FIGURES}
    copy.run("results/figures/fig3a.pdf")


def test_the_statistics_do_not_retrain(touched):
    touched.config["statistics"]["confidence"] = 0.9
    plan = touched.plan()
    assert not {"base_model", "sft", "rl", "evaluate_rl_exhaustive", *FACTORS} & set(plan)


def test_a_truncated_evaluation_is_measured_again(copy):
    """A file cut short by a full disk does not count as one that stands."""
    name = "evals/exhaustive/micro/seed-0/sft-4/gp3.parquet"
    file = copy.folder / "results" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:500])
    message = copy.fails("results/tables/curves.parquet", "--forcerun", "table")
    assert "sft-4/gp3.parquet is not a readable Parquet file" in message
    assert "delete it and rerun" in message
    file.unlink()
    copy.run("results/tables/curves.parquet")
    assert file.read_bytes() == whole  # the same rows, to the byte


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
    assert plan["table_of_tasks"] == 1
    touched.config["train_on"] = "nav"  # without the card game there is nothing on its answers
    absent = {"fig_errors", "fig_factorial"}
    assert not absent & set(touched.plan())


def test_a_bad_config_stops_before_any_job(touched):
    touched.config["sft"]["checkpoints"] = [0, 4, 99]
    message = touched.fails()
    assert "sft: checkpoints: step 99 is beyond steps=12" in message
    assert "Traceback" not in message


def test_the_report_is_one_file(finished, copy):
    copy.run("--report", "report.html")
    html = (copy.folder / "report.html").read_text()
    assert len(html) > 500_000
    for number in FIGURES:
        assert f"fig{number}.png" in html
    assert "claims.txt" in html


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
