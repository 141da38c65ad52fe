"""A study of given checkpoints on benchmarks, from folders to the page."""

from pathlib import Path

import pytest
import torch
import yaml
from conftest import CAPITALS, SUMS, Benchmarks, capitals, sums
from runner import ROOT, Workflow
from transformers import LlamaConfig, LlamaForCausalLM

from healscope import provenance
from healscope.evaluation.losses import response_loss
from healscope.models import tokens


class Study(Workflow):
    """Sums are ID and capitals OOD; a model that knows capitals learns sums, and forgets."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.config = {
            "study": "bench",
            "tasks": {
                "bench": {
                    "family": "lm_eval",
                    "id": ["sums"],
                    "ood": ["capitals"],
                    "include": "tasks",
                }
            },
            "train_on": "bench",
            "models": {
                "mine": {
                    "source": "given/base",
                    "check_random": False,
                    "sft": {20: "given/sft-20", 60: "given/sft-60"},
                }
            },
            "evaluation": {
                "batch_size": 64,
                "max_new_tokens": 8,
                "protocols": {
                    "exhaustive": {"samples": 1, "attempts": 2, "feedback": ["outcome"]},
                },
            },
            "edits": {
                "axes": {"rank": [1.0], "strength": [0.5]},
                "controls": {"directions": ["interpolation", "rotation"]},
                "controlled": {"rank": [1.0]},
            },
            "spectra": {"controls": ["noise"]},
            "hidden_states": {"problems": 6},
            "statistics": {"resamples": 100},
        }


def train(model, tokenizer, pairs: list[tuple[str, str]], steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        some = [pairs[i] for i in torch.randint(len(pairs), (16,)).tolist()]
        response_loss(model, *tokens.encode_pairs(tokenizer, some)).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study, finished."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("study")
    local = Benchmarks(folder)
    local.add("sums", sums(40), sums(9, 40), num_fewshot=1, **SUMS)
    local.add("capitals", capitals(40), **CAPITALS)
    task = local.task(["sums"], ["capitals"])
    asked = {rule: [(task.prompt(p), f" {p.answer}") for p in task.problems(rule)]
             for rule in ("id", "ood")}  # fmt: skip
    both = asked["id"] + asked["ood"]
    tokenizer = tokens.text_tokenizer([a + b for a, b in both])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48,
                num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            )
        )  # fmt: skip
        for name, pairs, steps in (
            ("base", asked["ood"], 150),
            ("sft-20", asked["id"], 20),
            ("sft-60", asked["id"], 40),
        ):
            train(model, tokenizer, pairs, steps)
            model.save_pretrained(folder / "given" / name)
            tokenizer.save_pretrained(folder / "given" / name)
    workflow = Study(folder)
    workflow.output = workflow.run()
    return workflow


def rows(study, checkpoint: str):
    place = f"results/evals/exhaustive/mine/seed-0/{checkpoint}/bench.parquet"
    return provenance.read_table(study.folder / place)


def test_it_ends_with_the_page_and_has_nothing_more_to_do(study):
    page = (study.folder / "results/tables/diagnosis.md").read_text()
    assert page.startswith("# Diagnosis: mine")
    assert "greedy first attempts at task bench, on 40 held-out instances" in page
    assert page.strip() in study.output
    assert study.plan() == {}


def test_landmarks_and_curves_are_of_both_rules(study):
    marks = provenance.read_json(study.folder / "results/landmarks/mine/seed-0.json")["landmarks"]
    by_step = marks["maxood"]["ood_accuracy_by_step"]
    assert set(by_step) == {"0", "20", "60"}
    assert by_step["0"] > by_step["60"] + 0.2
    assert marks["maxood"]["checkpoint"] == "sft-0"
    assert marks["end"]["checkpoint"] == "sft-60"
    curves = provenance.read_table(study.folder / "results/tables/curves.parquet")
    assert set(curves["rule"]) == {"id", "ood"}
    drawn = {file.stem for file in (study.folder / "results/figures").glob("*.png")}
    assert {"fig1", "fig3a", "fig3b", "fig4", "fig13", "fig15"} <= drawn


def test_what_is_written_is_sampled_and_retried_and_what_is_chosen_is_not(study):
    for checkpoint in ("sft-0", "sft-60"):
        found = rows(study, checkpoint)
        assert set(found["split"]) == {"held_out"}
        chosen = found[found["rule"] == "ood"]
        assert len(chosen) == 40
        assert (chosen["attempt"] == 1).all()
        texts = {c for document in capitals(40) for c in document["choices"]}
        assert set(chosen["text"]) <= texts
        assert set(chosen["outcome"]) <= {"correct", "wrong"}
        written = found[found["rule"] == "id"]
        first = written[(written["sample"] == 0) & (written["attempt"] == 1)]
        assert len(first) == 40
        assert (written["sample"] == 1).sum() == 40
        assert (written["attempt"] == 2).sum() == (~first["correct"]).sum()
    firsts = "rule == 'id' and sample == 0 and attempt == 1"
    before, after = (rows(study, c).query(firsts)["correct"] for c in ("sft-0", "sft-60"))
    assert after.sum() > before.sum()


def test_a_change_of_a_local_task_is_noticed(study):
    def planned() -> set[str]:
        return set(study.plan())

    remade = {"task_tables", "posed", "evaluate_sft_exhaustive_1"}
    file = study.folder / "tasks/sums.yaml"
    text = file.read_text()
    file.write_text(text.replace("+", "plus"))
    assert planned() >= remade
    file.write_text(text)
    assert planned() == set()
    data = study.folder / "data/capitals-test.jsonl"
    lines = data.read_text()
    data.write_text(lines.replace("land 0", "land 9"))
    assert planned() >= remade
    data.write_text(lines)
    (study.folder / "tasks/another.yaml").write_text("task: another\n")
    assert planned() == set()


def test_what_is_wrong_is_said_before_or_by_the_first_job(study):
    study.config["tasks"]["bench"]["include"] = "task"
    message = study.fails()
    assert "tasks.bench: include: task is no folder" in message
    study.config["tasks"]["bench"] |= {"include": "tasks", "id": ["summs"]}
    message = study.fails("--until", "task_tables")
    assert "no task, group or tag 'summs'; near it are" in message
    assert "Traceback" not in message
    study.config["tasks"]["bench"]["id"] = ["sums"]


def test_nothing_is_trained_on_benchmarks(study, tmp_path):
    """A study that trains may evaluate on them, beside the task that it trains on."""
    other = Study(tmp_path)
    other.config = yaml.safe_load((ROOT / "config/micro.yaml").read_text())
    bench = study.config["tasks"]["bench"]
    other.config["tasks"]["bench"] = {**bench, "include": str(study.folder / "tasks")}
    other.config["train_on"] = "bench"
    message = other.fails()
    assert "train_on: 'bench' has no reference answers to train on; it can only be" in message
    other.config["train_on"] = "gp3"
    assert "results/tasks/bench" not in str(other.plan())  # a model from scratch cannot read it
