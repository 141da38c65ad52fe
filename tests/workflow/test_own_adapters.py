"""A user's day: from a base, a folder of three LoRA checkpoints and two JSONL files to the
diagnosis."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from runner import Workflow

from healscope import artifacts, cli, diagnose, provenance
from healscope.models.stored import Stored

WORDS = ["red", "blue", "cat", "dog", "sun", "moon", "salt", "tea", "one", "two", "yes", "no"]


class Day(Workflow):
    """What `healscope diagnose base run --data id.jsonl --ood ood.jsonl` writes, made small."""

    def __init__(self, folder: Path, server=None):
        super().__init__(folder, server)
        keys = {"prompt": "question", "answer": "answer", "verdict": "exact"}
        asked = diagnose.data_task(
            folder, str(folder / "id.jsonl"), [str(folder / "ood.jsonl")], keys
        )
        places = str(folder / "base"), [str(folder / "run")]
        self.config = diagnose.study(folder, *places, [], asked, max_new_tokens=4)
        self.config["models"]["mine"]["check_random"] = False
        self.config |= {"statistics": {"resamples": 50}, "hidden_states": {"problems": 4}}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with the base, the run and the files."""
    import transformers
    from peft import LoraConfig, get_peft_model

    from healscope.models import tokens

    folder = tmp_path_factory.mktemp("given") / "study"
    tokenizer = tokens.text_tokenizer([" ".join([*WORDS, *map(str.upper, WORDS), "Say"])] * 9, 350)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
        model.save_pretrained(folder / "base")
        tokenizer.save_pretrained(folder / "base")
        lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = get_peft_model(model, lora)
        for step in (10, 20, 30):
            with torch.no_grad():
                for weight in tuned.parameters():
                    if weight.requires_grad:
                        weight += 0.05 * torch.randn(weight.shape)
            place = folder / f"run/checkpoint-{step}"
            tuned.save_pretrained(place)
            change(place / "adapter_config.json", base_model_name_or_path="base")
            (place / "optimizer.pt").write_bytes(b"not read")
            (place / "trainer_state.json").write_text("{}")
    for name, said in (("id", str), ("ood", str.upper)):
        rows = [{"question": f"Say {said(word)}", "answer": said(word)} for word in WORDS]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def change(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.long
def test_three_adapters_and_two_files_end_with_the_diagnosis(given, forks, tmp_path, capsys):
    day = Day(shutil.copytree(given, tmp_path / "study"), forks)
    day.run()
    diagnose.write(day.folder, day.config)
    given = ["diagnose", "--out", str(day.folder), "--cores", "1"]
    left = day.folder / ".snakemake/locks/0.output.lock"  # as a run that was killed leaves one
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("results/tables/diagnosis.md\n")
    code = cli.main([*given, "--fail-if", "any < -100", "--fail-if", "sft-10: ood < 100"])
    said = capsys.readouterr().out  # all of it is there: the page is shown again
    assert said.startswith("# Diagnosis: mine")
    assert not left.exists()
    assert "- any < -100 (sft-30): fine" in said
    assert "- sft-10: ood < 100 (sft-10): worse" in said
    assert code == 1
    report = json.loads((day.folder / "compare.json").read_text())
    assert [one["name"] for one in report["sources"]] == ["base", "sft-10", "sft-20", "sft-30"]
    assert {one["name"]: one["items"] for one in report["benchmarks"]} == {"id": 12, "ood": 12}
    assert cli.main([*given, "--fail-if", "odd < -3"]) == 3
    assert "there is no benchmark odd, but id, ood" in capsys.readouterr().err
    page = (day.folder / "results/tables/diagnosis.md").read_text()
    assert page.startswith("# Diagnosis: mine")
    place = day.folder / "results/checkpoints/mine/seed-0"
    steps = ("base", "sft-0", "sft-10", "sft-20", "sft-30")
    assert sorted(p.name for p in place.iterdir()) == sorted(steps)
    for step in steps[2:]:
        assert not (place / step / "optimizer.pt").exists()
        assert not list((place / step).glob("model*"))
    distances = [
        sum(
            float((Stored(place / step)[n] - w).square().sum())
            for n, w in Stored(place / "base").items()
        )
        for step in steps[2:]
    ]
    assert 0 < distances[0] < distances[1] < distances[2]
    file = artifacts.path(
        artifacts.EVALUATION,
        protocol="exhaustive", track="mine", seed=0, checkpoint="sft-30", task="asked",
    )  # fmt: skip
    assert len(provenance.read_table(day.folder / file)) == 2 * len(WORDS)
    assert day.plan() == {}
    assert "data:image/png;base64," in (day.folder / "compare.html").read_text()
    made = tmp_path / "repaired"
    edit = ["--edit", "swap-strength-0.5", "--out", str(made)]
    assert cli.main(["repair", str(day.folder), *edit]) == 0
    marks = provenance.read_json(day.folder / "results/landmarks/mine/seed-0.json")["landmarks"]
    ends = [Stored(place / marks[end]["checkpoint"]) for end in ("maxood", "end")]
    name = "model.layers.0.mlp.down_proj.weight"
    half = (ends[0][name] + ends[1][name]) / 2
    assert torch.allclose(Stored(made)[name], half, atol=1e-6)
    assert not (made / "adapter_config.json").exists()  # merged
    assert "`swap-strength-0.5`" in (made / "README.md").read_text()
    assert not (made / "mergekit.yaml").exists()  # mergekit takes no adapter alone


def test_a_run_is_planned_by_its_folder_and_a_changed_adapter_is_noticed(given, server, tmp_path):
    day = Day(shutil.copytree(given, tmp_path / "study"), server)
    target = artifacts.path(artifacts.LANDMARKS, track="mine", seed=0)
    assert day.plan(target)["take"] == 5
    day.run(target)
    assert day.plan(target) == {}
    file = day.folder / "run/checkpoint-20/adapter_model.safetensors"
    file.write_bytes(file.read_bytes() + b" ")
    assert day.plan(target)["take"] == 1


def test_an_adapter_for_another_model_stops_before_any_job(given, server, tmp_path):
    day = Day(shutil.copytree(given, tmp_path / "study"), server)
    file = day.folder / "run/checkpoint-20/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    message = day.fails()
    assert "models.mine: sft.20 (run/checkpoint-20): " in message
    assert "is cut short" in message
    assert "Traceback" not in message
    assert not (day.folder / "results").exists()
