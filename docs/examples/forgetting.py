"""Compare a model with its start while it trains, and stop when it has lost too much.

    trainer.add_callback(Forgetting(trainer, tokenizer, items, "outcomes", ["any < -5"]))

`items` are rows with item, group (the benchmark), question and target. They are asked before
training and at every evaluation of the trainer (`eval_strategy`); an answer is right that contains
the target. Numbers go where `report_to` of the trainer says.
"""

import json
from pathlib import Path

import torch
from transformers import TrainerCallback

from healscope.outcomes.comparing import compare
from healscope.outcomes.gate import WORSE


class Forgetting(TrainerCallback):
    def __init__(self, trainer, tokenizer, items, folder, fail_if=(), max_new_tokens=64):
        self.trainer, self.tokenizer, self.items = trainer, tokenizer, items
        self.folder, self.fail_if, self.max_new_tokens = Path(folder), fail_if, max_new_tokens

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        if not (self.folder / "base.jsonl").exists():  # else training goes on
            self.ask(model, "base")

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        now = self.ask(model, f"step-{state.global_step}")
        report = compare([(p.stem, [p]) for p in (self.folder / "base.jsonl", now)],
                         fail_if=self.fail_if)  # fmt: skip
        numbers = ("change", "low", "high", "lost", "gained")
        self.trainer.log(
            {f"{c['benchmark']}/{n}": c[n] for c in report["changes"] for n in numbers}
        )
        print(report["answer"])
        if report["gate"] and report["gate"]["code"] == WORSE:
            control.should_training_stop = True

    @torch.inference_mode()
    def ask(self, model, name):
        training, lines = model.training, []
        model.eval()
        for row in self.items:
            asked = self.tokenizer(
                row["question"], return_tensors="pt", return_token_type_ids=False
            ).to(model.device)
            found = model.generate(**asked, max_new_tokens=self.max_new_tokens, do_sample=False)
            start = asked["input_ids"].shape[1]
            text = self.tokenizer.decode(found[0, start:], skip_special_tokens=True)
            lines.append(json.dumps({**row, "text": text, "correct": row["target"] in text}) + "\n")
        model.train(training)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(lines))
        return path
