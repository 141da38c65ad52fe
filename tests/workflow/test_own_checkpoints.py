"""A study of given checkpoints, from folders to the page and the model that its command writes."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from runner import ROOT, Workflow

from healscope import artifacts, provenance


class Own(Workflow):
    """The micro study's task and a pair of checkpoints that were made elsewhere."""

    def __init__(self, folder: Path, server):
        super().__init__(folder, server)
        micro = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
        self.config = {
            "study": "own",
            "tasks": {"gp3": micro["tasks"]["gp3"]},
            "train_on": "gp3",
            "models": {
                "mine": {
                    "source": "given/base",
                    "check_random": False,
                    "sft": {5: "given/sft-5", 9: "given/sft-9"},
                }
            },
            "evaluation": {
                "batch_size": 256,
                "max_new_tokens": 4,
                "protocols": {"exhaustive": {}},
            },
            "edits": {
                "axes": {"rank": [0.5, 1.0], "strength": [0.5]},
                "controls": {"directions": ["interpolation", "rotation"]},
                "controlled": {"rank": [0.5]},
            },
            "hidden_states": {"problems": 4},
            "statistics": {"resamples": 100},
        }


@pytest.fixture(scope="module")
def given(tmp_path_factory, task) -> Path:
    """A folder with the checkpoints."""
    import transformers

    from healscope.models import tokens

    given = tmp_path_factory.mktemp("given")
    tokenizer = tokens.word_tokenizer(task.words())
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8,
             "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.Qwen3Config(
            vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes
        )
        model = transformers.Qwen3ForCausalLM(config)
        for name in ("base", "sft-5", "sft-9"):
            folder = given / "given" / name
            model.save_pretrained(folder, max_shard_size="8KB")
            tokenizer.save_pretrained(folder)
            with torch.no_grad():
                for weight in model.parameters():
                    weight += 0.02 * torch.randn(weight.shape)
    return given


@pytest.fixture(scope="module")
def own(given, forks, tmp_path_factory) -> Own:
    """The study, finished."""
    workflow = Own(shutil.copytree(given, tmp_path_factory.mktemp("own") / "study"), forks)
    workflow.output = workflow.run("--skip-script-cleanup")
    return workflow


@pytest.fixture(scope="module")
def hollow_own(given, server, tmp_path_factory) -> Own:
    """The study, finished, of empty files."""
    workflow = Own(shutil.copytree(given, tmp_path_factory.mktemp("hollow") / "study"), server)
    workflow.run()
    return workflow


@pytest.mark.long
def test_it_ends_with_the_page_and_has_nothing_more_to_do(own):
    page = (own.folder / "results/tables/diagnosis.md").read_text()
    assert page.startswith("# Diagnosis: mine")
    assert page.strip() in own.output
    for title in ("Where did OOD accuracy peak?", "What was lost since?", "Is the loss rotation"):
        assert title in page
    assert "RL give back" not in page  # none was given
    assert own.plan() == {}


@pytest.mark.long
def test_only_figures_that_such_a_study_has_are_drawn(own):
    drawn = {file.stem for file in (own.folder / "results/figures").glob("*.png")}
    assert drawn == {
        "fig1", "fig3a", "fig3b", "fig4", "fig6", "fig13", "fig14", "fig15", "fig_delta",
        "fig_errors", "fig_factorial", "fig_repair",
    }  # fmt: skip
    assert not (own.folder / "results/training").exists()


@pytest.mark.long
def test_its_scripts_run_in_new_processes(own, tmp_path):
    assert own.copied(tmp_path / "copy").fresh() >= {"take.py", "table.py"}


@pytest.mark.long
def test_the_printed_command_writes_the_edited_model(own):
    """Nothing was ever right here, so nothing is lost; the command is asked of any edit."""
    from healscope.findings.diagnosis import weights
    from healscope.findings.diagnosis.words import Model, Study
    from healscope.models.stored import Stored

    marks = provenance.read_json(own.folder / "results/landmarks/mine/seed-0.json")["landmarks"]
    frame = provenance.read_table(own.folder / "results/tables/diagnosis.parquet")
    roles = ["q", "k", "v", "o", "gate", "up", "down"]
    points = {"sft": {"target": "end", "parent": "maxood"}}
    model = Model("mine", frame, {0: marks}, Study("gp3", {}, points, roles, 0.95))
    seed, target, parent = model.ends()
    assert (target, parent) == ("sft-9", "sft-0")  # of equals the first
    lines = weights.command(model, seed, target, parent, "swap-strength-0.5")
    words = shlex.split("\n".join(lines).replace("\\\n", ""))
    assert words[0] == "healscope"
    subprocess.run([sys.executable, "-m", "healscope.cli", *words[1:]], cwd=own.folder, check=True)
    edited, base, last = (
        Stored(own.folder / name) for name in ("mine-repaired", "given/base", "given/sft-9")
    )
    for name, tensor in edited.items():
        between = (base[name] + last[name]) / 2 if "_proj" in name else last[name]
        assert torch.allclose(tensor, between, atol=1e-6), name


@pytest.mark.long
def test_what_a_failed_job_has_evaluated_stands(own):
    """One job evaluates all three; the last of them has lost a shard when its turn comes."""
    evaluations = [
        artifacts.path(
            artifacts.EVALUATION,
            protocol="exhaustive", track="mine", seed=0, checkpoint=f"sft-{step}", task="gp3",
        )
        for step in (0, 5, 9)
    ]  # fmt: skip
    for file in evaluations[1:]:
        (own.folder / file).unlink()
    before = own.inodes()
    shard = min((own.folder / "results/checkpoints/mine/seed-0/sft-9").glob("*.safetensors"))
    kept = shard.rename(own.folder / "kept.safetensors")
    assert "is missing" in own.fails(*evaluations)
    made = own.inodes()
    assert [(own.folder / file).exists() for file in evaluations] == [True, True, False]
    assert (
        made[evaluations[0].removeprefix("results/")]
        == before[evaluations[0].removeprefix("results/")]
    )
    kept.rename(shard)
    assert own.plan(*evaluations) == {"evaluate_sft_exhaustive_1": 1}
    own.run(*evaluations)
    after = own.inodes()
    assert {file: after[file] for file in made} == made  # nothing was made twice
    assert evaluations[2].removeprefix("results/") in after


def test_a_change_of_a_given_folder_is_noticed(hollow_own):
    config = hollow_own.folder / "given/sft-5/generation_config.json"
    text = config.read_text()
    config.write_text(text.replace("{", '{ "note": 1,', 1))
    plan = hollow_own.plan()
    assert plan["take"] == 1
    assert plan["evaluate_sft_exhaustive_1"] == 1
    config.write_text(text)


def test_a_wrong_folder_stops_before_any_job(hollow_own):
    hollow_own.config["models"]["mine"]["sft"][9] = "given/sft-10"
    message = hollow_own.fails()
    assert re.search(r"sft\.9 \(given/sft-10\): no folder of this name, but given holds", message)
    assert "Traceback" not in message
