"""Nothing is recomputed that stands, and nothing stands that is stale."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from test_plans import FACTORS, drawn


def test_a_finished_study_has_nothing_to_do(finished):
    assert finished.plan() == {}


def test_every_figure_exists(finished):
    folder = finished.folder / "results/figures"
    for name in drawn(finished):
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


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
    from healscope import evidence, provenance
    from healscope.errors import HealscopeError

    page = tmp_path / "page.md"
    micro = Path(__file__).parents[2] / "config/micro.yaml"
    page.write_text(f"mine\n<!-- evidence: {micro} -->\nold\n{evidence.END}\nmine too\n")
    assert evidence.Page.of(page).stale
    assert evidence.main([str(page), "--write", "--folder", str(finished.folder)]) == 0
    text = page.read_text()
    assert f"- {evidence.VERSION} {provenance.RESULTS_VERSION}, settings " in text
    assert not evidence.Page.of(page).stale
    claims = provenance.read_table(finished.folder / "results/tables/claims.parquet")
    assert all(statement in text for statement in claims["statement"])
    assert text.startswith("mine\n")
    assert text.endswith("mine too\n")
    assert "old" not in text.split("mine too")[0].replace("threshold", "").split()
    page.write_text("<!-- evidence: micro.yaml; claims -->\n")
    with pytest.raises(HealscopeError, match="needs one line"):
        evidence.Page.of(page)


def test_the_run_says_where_to_look(finished):
    assert "figures are in results/figures/" in finished.output
    assert re.search(r"\d+ of \d+ steps \(100%\) done", finished.output)


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


def test_published_values_are_drawn_over_without_measuring_again(touched, copy):
    for workflow in (touched, copy):
        workflow.config["figures"] = {"published": "llama-3.2-11b"}
    assert touched.plan() == dict.fromkeys(drawn(touched), 1)
    copy.run("results/figures/fig3a.pdf")


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


def test_the_report_is_one_file(finished, copy):
    copy.run("--report", "report.html")
    html = (copy.folder / "report.html").read_text()
    assert len(html) > 500_000
    for name in drawn(finished):
        assert f"{name}.png" in html
    assert "claims.txt" in html


def test_a_trained_study_can_have_the_page_too(copy):
    page = "results/tables/diagnosis.md"
    assert copy.plan(page) == {"diagnosis": 1}
    copy.run(page)
    assert (copy.folder / page).read_text().startswith("# Diagnosis: micro")
