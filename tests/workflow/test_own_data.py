"""A study on a user's own files, from docs/your-data.md and config/your-data.example.yaml to its
figures; and what a changed file runs again."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from runner import ROOT, Workflow

from healscope import artifacts, provenance

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class OwnData(Workflow):
    """The example's task, and a small chat model beside its files."""

    def __init__(self, folder: Path, server=None):
        super().__init__(folder, server)
        self.config = yaml.safe_load((ROOT / "config/your-data.example.yaml").read_text())
        self.config["models"] = {"mine": {"source": "model", "check_random": False}}
        self.config["sft"] |= {"steps": 8, "checkpoints": [0, 4, 8], "freeze": []}
        self.config["sft"] |= {
            "log_every": 4,
            "state_every": 4,
            "optimizer": {"learning_rate": 1.0e-3},
        }
        self.config["rl"] = {
            "branches": {"ppo": [8]}, "defaults": {"iterations": 2, "responses": 8}
        }  # fmt: skip
        self.config["evaluation"]["max_new_tokens"] = 4
        self.config["statistics"] = {"resamples": 100}

    @property
    def task(self) -> dict:
        return self.config["tasks"]["support"]

    def table(self, name: str):
        return provenance.read_table(self.folder / artifacts.path(artifacts.TABLE, table=name))


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with the example's files and a chat model."""
    import transformers

    from healscope.models import tokens

    folder = tmp_path_factory.mktemp("given") / "study"
    shutil.copytree(ROOT / "config/your-data", folder / "config/your-data")
    files = sorted((folder / "config/your-data").iterdir())
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    tokenizer = tokens.text_tokenizer([" ".join(row.values()) for row in rows], 400)
    tokenizer.chat_template = TEMPLATE
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer), num_attention_heads=2,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes,
        )  # fmt: skip
        transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder


FIGURES = [f"results/figures/{name}.pdf" for name in ("fig1", "fig3a", "fig_groups")]


@pytest.mark.long
def test_own_files_give_forgetting_curves(given, forks, tmp_path):
    study = OwnData(shutil.copytree(given, tmp_path / "study"), forks)
    study.run(*FIGURES)
    assert all((study.folder / figure).exists() for figure in FIGURES)
    curves = study.table("curves")
    assert set(curves["checkpoint"]) == {"sft-0", "sft-4", "sft-8", "ppo-from-8"}
    asked = curves[curves["seed"] == "0"].groupby(["split", "rule"])["n"].first()
    assert asked.to_dict() == {
        ("held_out", "id"): 60,
        ("held_out", "ood"): 120,
        ("train", "id"): 200,
    }
    sets = study.table("groups").query("seed == '0' and rule == 'ood' and checkpoint == 'sft-8'")
    assert dict(zip(sets["group"], sets["n"], strict=True)) == {
        "all": 120,
        "german": 60,
        "long": 60,
    }
    log = provenance.read_table(study.folder / "results/training/mine/seed-0/sft.parquet")
    assert log["id_train_loss_nats"].iloc[-1] < log["id_train_loss_nats"].iloc[0]
    recorded = provenance.read_provenance(
        study.folder / artifacts.path(artifacts.PROBLEMS, task="support")
    )
    german = study.folder / "config/your-data/german.jsonl"
    assert recorded["config"]["hashes"]["ood.german"] == f"sha256:{provenance.sha256(german)}"
    assert study.plan(*FIGURES) == {}


@pytest.mark.long
def test_a_changed_file_runs_again_what_depends_on_it(given, server, tmp_path):
    study = OwnData(shutil.copytree(given, tmp_path / "study"), server)
    study.run(*FIGURES)
    assert study.plan(*FIGURES) == {}
    os.utime(study.folder / "config/your-data/german.jsonl")  # the same bytes
    assert study.plan(*FIGURES) == {}
    with open(study.folder / "config/your-data/german.jsonl", "a") as file:
        file.write('{"question": "Wie viel ist 1 plus 1?", "answer": "2"}\n')
    again = study.plan(*FIGURES)
    assert {"task_tables", "posed", "evaluate_sft_exhaustive_1", "fig3a"} <= again.keys()
    assert "base" not in again


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "x"', "ood.german: .*german.jsonl, line 61: this is not JSON"),
        (
            '{"question": "x", "answer": "no"}',
            "ood.german: .*line 61: the answer 'no' is not an answer for",
        ),
    ],
)
def test_bad_rows_stop_the_study_before_its_first_job(server, tmp_path, line, said):
    study = OwnData(tmp_path / "study", server)
    shutil.copytree(ROOT / "config/your-data", study.folder / "config/your-data")
    with open(study.folder / "config/your-data/german.jsonl", "a") as file:
        file.write(line + "\n")
    output = study.fails(*FIGURES)
    (sentence,) = [line for line in output.splitlines() if "german.jsonl" in line]
    assert re.search(said, sentence)
    assert not (study.folder / "results").exists()


@pytest.mark.long
def test_only_id_and_ood_files_serve_given_checkpoints(given, server, tmp_path):
    study = OwnData(shutil.copytree(given, tmp_path / "study"), server)
    for step in (4, 8):
        shutil.copytree(study.folder / "model", study.folder / f"sft-{step}")
    study.config = {
        "study": "own", "train_on": "support",
        "tasks": {"support": {k: v for k, v in study.task.items() if k != "sft"}},
        "models": {"mine": {"source": "model", "check_random": False,
                            "sft": {4: "sft-4", 8: "sft-8"}}},
        "evaluation": study.config["evaluation"],
    }  # fmt: skip
    plan = study.plan()
    assert plan["evaluate_sft_exhaustive_1"] == 1
    assert "sft" not in plan
    assert "fig_groups" in plan
