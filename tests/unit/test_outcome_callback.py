"""The example of docs/examples compares a model with its start while a trainer trains it."""

import importlib.util
import json
from pathlib import Path

import torch
from given import WORDS, miniature
from transformers import Trainer, TrainingArguments

EXAMPLE = Path(__file__).parents[2] / "docs/examples/forgetting.py"


def test_training_stops_when_too_much_is_lost(tmp_path):
    spec = importlib.util.spec_from_file_location("forgetting", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model, tokenizer = miniature("Llama")
    item = {"group": "own", "question": "cards answer"}

    def asking(trainer, items, folder):
        return example.Forgetting(trainer, tokenizer, items, folder, ["own < -5"], 4)

    probe = asking(None, [{**item, "target": ""}], tmp_path)
    said = json.loads(probe.ask(model, "probe").read_text())["text"]
    assert said
    other = next(word for word in WORDS if word not in said)
    ids = torch.tensor(tokenizer(" ".join(["cards answer", *[other] * 6]))["input_ids"])
    rows = [{"input_ids": ids, "labels": ids}] * 32
    arguments = TrainingArguments(
        str(tmp_path / "run"), max_steps=30, learning_rate=0.1, per_device_train_batch_size=8,
        eval_strategy="steps", eval_steps=10, save_strategy="no", report_to="none", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows[:2])
    items = [{"item": i, **item, "target": said} for i in range(12)]
    folder = tmp_path / "outcomes"
    trainer.add_callback(asking(trainer, items, folder))
    trainer.train()
    assert trainer.state.global_step == 10
    assert sorted(p.name for p in folder.iterdir()) == ["base.jsonl", "step-10.jsonl"]
    (logged,) = [entry for entry in trainer.state.log_history if "own/change" in entry]
    assert (logged["own/change"], logged["own/lost"]) == (-1, 12)
