"""Measures, logs and saves an SFT run: rows, checkpoints, states to resume from."""

import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import TrainerCallback
from trl import SFTTrainer

from healscope import artifacts, provenance
from healscope.config import SFT
from healscope.errors import HealscopeError
from healscope.evaluation.attempts import format_error_rate
from healscope.evaluation.losses import cross_entropy
from healscope.models import checkpoints, tokens
from healscope.models.stored import follow_umask
from healscope.progress import Bar
from healscope.tasks.tables import rules_differ
from healscope.training import processes, stop
from healscope.training.compute import Compute, whole
from healscope.training.state import Workspace

WHOLE = "whole"  # marks a Trainer state whose files were all written


def step_of(state: Path) -> int:
    """Return the number of steps of a Trainer's state."""
    return int(state.name.split("-")[1])


class Measure:
    """Measures losses and format errors during SFT on fixed problems, ID and OOD."""

    def __init__(self, settings, model, tokenizer, examples, problems, task, max_new_tokens, seed):
        self.model, self.tokenizer, self.task = model, tokenizer, task
        self.max_new_tokens = max_new_tokens
        rng = np.random.default_rng([seed, 3])

        def some(frame: pd.DataFrame) -> pd.DataFrame:
            n = min(settings.log_problems, len(frame))
            return frame.iloc[np.sort(rng.choice(len(frame), n, replace=False))]

        held_out = problems[(problems["split"] == "held_out") & rules_differ(problems)]
        self.problems = {
            "id_train": some(examples),
            "id_test": some(held_out[held_out["rule"] == "id"]),
            "ood_test": some(held_out[held_out["rule"] == "ood"]),
        }
        if missing := [name for name, frame in self.problems.items() if frame.empty]:
            raise HealscopeError(
                f"the training task has no problem to measure {', '.join(missing)} by; SFT needs "
                "training problems, and held-out ones under both rules"
            )

    def __call__(self) -> dict[str, float]:
        self.model.eval()
        row = {}
        for name, frame in self.problems.items():
            own = processes.own(frame)
            pairs = list(zip(own["prompt"], own["response"], strict=True))
            n_tokens = sum(len(tokens.response_ids(self.tokenizer, r)) for _, r in pairs)
            loss = cross_entropy(self.model, self.tokenizer, pairs) if pairs else 0.0
            row[f"{name}_loss_nats"] = processes.mean(loss, n_tokens)
            if name != "id_train":
                wrong = format_error_rate(
                    self.model, self.tokenizer, self.task, own, self.max_new_tokens
                ) if pairs else 0.0  # fmt: skip
                row[f"{name}_format_error_share"] = processes.mean(wrong, len(own))
        self.model.train()
        return row


class Recorder(TrainerCallback):
    """Logs rows, stages the checkpoints of the grid, marks whole states and stops on a signal.

    Every process has one, and all have the same rows; the first writes files.
    """

    def __init__(
        self,
        settings: SFT,
        arm: str,
        measure: Measure,
        work: Workspace,
        merged: Callable,
        tokenizer,
        label: str,
        trainer: SFTTrainer,
        compute: Compute,
    ):
        self.settings, self.arm, self.work = settings, arm, work
        self.measured, self.merged, self.tokenizer = measure, merged, tokenizer
        self.trainer, self.compute = weakref.proxy(trainer), compute  # it holds this one
        self.rows: list[dict] = []
        self.pending: dict = {}
        self.stopped_at: int | None = None
        self.bar = Bar(settings.steps, label)

    def resume(self, folder: Path) -> Path | None:
        """Return the latest whole Trainer state, and restore its rows; remove broken states."""
        states = sorted(folder.glob("checkpoint-*"), key=step_of)
        processes.wait()  # until all have looked
        for broken in [s for s in states if not (s / WHOLE).is_file()]:
            if processes.first():
                shutil.rmtree(broken)
            states.remove(broken)
        if not states:
            return None
        content = provenance.read_json(states[-1] / WHOLE)
        self.rows, self.pending = content["rows"], content["pending"][processes.rank()]
        self.bar.update(step_of(states[-1]))
        return states[-1]

    def measure(self) -> dict[str, float]:
        with whole(self.trainer.deepspeed, self.trainer.model), self.compute.autocast():
            return self.measured()

    def _stage(self, step: int) -> None:
        if step not in self.settings.checkpoints:
            return
        with whole(self.trainer.deepspeed, self.trainer.model):
            if processes.first():
                with self.work.stage(artifacts.sft(step, self.arm)) as folder:
                    checkpoints.save_weights(folder, self.merged(), self.tokenizer)

    def on_train_begin(self, _args, state, _control, **_):
        if state.global_step == 0:
            self.rows = [{"step": 0, **self.measure()}]
            self._stage(0)
        else:  # what the Trainer had summed for a row that was not yet logged
            self.trainer._tr_loss += self.pending["loss"]
            self.trainer._globalstep_last_logged = self.pending["since"]
            for name, values in self.pending["metrics"].items():
                self.trainer._metrics["train"][name].extend(values)

    def on_log(self, _args, state, _control, logs=None, **_):
        if "loss" in (logs or {}):
            added = {"penalty": logs["penalty"]} if "penalty" in logs else {}
            self.rows.append(
                {
                    "step": state.global_step,
                    "train_loss_nats": logs.get("task_loss", logs["loss"]),  # since the row before
                    **added,
                    "learning_rate": logs["learning_rate"],
                    "gradient_norm": logs.get("grad_norm"),
                    **self.measure(),
                }
            )

    def on_step_end(self, _args, state, control, **_):
        self._stage(state.global_step)
        self.bar.update()
        if state.global_step < self.settings.steps and stop.wanted():
            self.stopped_at = state.global_step
            control.should_save = control.should_training_stop = True

    def on_save(self, args, state, _control, **_):
        trainer = self.trainer
        pending = {
            "loss": trainer._tr_loss.item(),
            "since": trainer._globalstep_last_logged,
            "metrics": {k: [float(v) for v in vs] for k, vs in trainer._metrics["train"].items()},
        }
        everyone = processes.joined([pending])  # and so all have written their parts
        if processes.first():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            follow_umask(*folder.glob("*.safetensors"))
            provenance.write_json(folder / WHOLE, {"rows": self.rows, "pending": everyone})
