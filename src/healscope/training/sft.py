"""Supervised fine-tuning with TRL's SFTTrainer: loss on the completion only, exact resume.

Equation: L = -sum log p(y | x) over response tokens (arXiv 2509.12235, section 2.1); a method
(`training.methods`) adds to it, or holds the weights.
"""

import copy
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from healscope import artifacts, provenance
from healscope.config import DFT, SFT, LoRA, SFTMethod
from healscope.evaluation.attempts import format_error_rate
from healscope.evaluation.losses import cross_entropy
from healscope.models import checkpoints, tokens
from healscope.models.stored import follow_umask
from healscope.progress import Bar
from healscope.tasks.generalpoints import GeneralPoints, from_row, prompt, renderings
from healscope.tasks.problems import any_answers, sft_examples
from healscope.training import methods
from healscope.training.state import Workspace

WHOLE = "whole"  # marks a Trainer state whose files were all written


def paraphrase(examples: pd.DataFrame, task: GeneralPoints, seed: int) -> pd.DataFrame:
    """The same rows, each prompt in a rendering of its own; the answers stay (the arm `diverse`).

    The control of arXiv 2510.00237: is forgetting an effect of one fixed prompt?
    """
    drawn = np.random.default_rng([seed, 5]).integers(renderings(task), size=len(examples))
    prompts = [
        prompt(task, from_row(row), rendering=int(rendering))
        for row, rendering in zip(examples.to_dict("records"), drawn, strict=True)
    ]
    return examples.assign(prompt=prompts)


def all_solutions(
    examples: pd.DataFrame, settings: SFT, task: GeneralPoints, seed: int
) -> list[pd.DataFrame]:
    """The same rows for each epoch, with answers drawn anew (the arm `solutions`).

    Tests what arXiv 2509.12235 (section 3.2) says of cross-entropy: that it punishes every correct
    answer but the one it is shown. Here none is left out for good.
    """
    steps_an_epoch = -(-len(examples) // settings.batch_size)
    epochs = -(-settings.steps // steps_an_epoch)
    return [
        any_answers(examples, task, np.random.default_rng([seed, 9, epoch]))
        for epoch in range(epochs)
    ]


def train(
    settings: SFT,
    arm: str,
    start: str,
    pool: pd.DataFrame,
    problems: pd.DataFrame,
    task: GeneralPoints,
    max_new_tokens: int,
    seed: int,
    work: Workspace,
    label: str,
) -> list[dict]:
    """Fine-tunes the checkpoint behind manifest `start`; stages every step of the grid.

    `arm` is "sft", one of config.CONTROLS, or one of `settings.methods`. All go through the same
    problems in the same order; the prompts of `diverse` and the answers of `solutions` differ, and
    methods differ in how they train. Returns the logged rows, one each `log_every` steps: losses
    in nats a token, on the canonical answers, and rates as shares.
    """
    method = settings.methods.get(arm)
    model, tokenizer = checkpoints.load_model(start)
    checkpoints.freeze(model, settings.freeze)
    trained, whole = _with_adapters(model, method, seed)
    examples = sft_examples(pool, settings.deals, settings.examples, seed)
    if arm == "diverse":
        examples = paraphrase(examples, task, seed)
    measure = _Measure(settings, model, tokenizer, examples, problems, task, max_new_tokens, seed)
    recorder = _Recorder(settings, arm, measure, work, whole, tokenizer, label)
    epochs = all_solutions(examples, settings, task, seed) if arm == "solutions" else [examples]
    trainer = _trainer(settings, method, trained, tokenizer, epochs, seed, work.folder / "trainer")
    trainer.add_callback(recorder)
    latest = recorder.resume(work.folder / "trainer")
    if latest is None or int(latest.name.split("-")[1]) < settings.steps:  # else it is all done
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pin_memory and schedulers, not of results
            trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    recorder.bar.close()
    return recorder.rows


def _with_adapters(model, method: SFTMethod | None, seed: int) -> tuple:
    """(what to train, what gives the model as a whole, to be saved)."""
    if not isinstance(method, LoRA):
        return model, lambda: model
    plain = copy.deepcopy(model)
    trained = methods.adapted(model, method, seed)
    return trained, lambda: methods.merge(trained, plain)


def _trainer(
    settings: SFT, method: SFTMethod | None, model, tokenizer, epochs, seed: int, folder: Path
) -> SFTTrainer:
    """Trains on `epochs`, one table of examples for each; a single one serves all epochs."""

    def encode(prompt: str, response: str) -> dict:
        before, after = (
            tokens.prompt_ids(tokenizer, prompt),
            tokens.response_ids(tokenizer, response),
        )
        return {"input_ids": before + after, "labels": [-100] * len(before) + after}

    data = Dataset.from_list(
        [
            encode(prompt, response)
            for examples in epochs
            for prompt, response in zip(examples["prompt"], examples["response"], strict=True)
        ]
    )
    cpu = checkpoints.device() == "cpu"
    optimizer = settings.optimizer
    args = SFTConfig(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=(method and method.learning_rate) or optimizer.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=optimizer.warmup_steps,
        weight_decay=optimizer.weight_decay,
        adam_beta2=optimizer.beta2,
        max_grad_norm=optimizer.max_grad_norm,
        optim="adamw_torch",
        seed=seed,
        data_seed=seed,
        max_length=None,
        packing=False,
        logging_steps=settings.log_every,
        save_strategy="steps",
        save_steps=settings.state_every,
        save_total_limit=2,
        use_cpu=cpu,
        bf16=False,  # float32 masters: spectra of bf16 checkpoints show rounding, not training
        gradient_checkpointing=False,
        loss_type="dft" if isinstance(method, DFT) else "nll",
        dataloader_pin_memory=not cpu,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = methods.trainer(
        method, model, args=args, train_dataset=data, processing_class=tokenizer
    )
    if len(epochs) > 1:
        order = _OrderOfEpochs(len(epochs[0]), seed)
        trainer._get_train_sampler = lambda _dataset: order
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


class _OrderOfEpochs(Sampler):
    """Row numbers where each epoch has n rows of its own, in the order that they have where it has
    not: the Trainer's own order of n rows, moved on by the epoch's first row."""

    def __init__(self, n: int, seed: int):
        self.n = n
        self.order = SeedableRandomSampler(range(n), data_seed=seed)

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        first = self.n * self.order.epoch
        return (first + row for row in self.order)

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)


class _Measure:
    """What is watched during SFT, on fixed problems: losses and format errors, ID and OOD."""

    def __init__(self, settings, model, tokenizer, examples, problems, task, max_new_tokens, seed):
        self.model, self.tokenizer, self.task = model, tokenizer, task
        self.max_new_tokens = max_new_tokens
        rng = np.random.default_rng([seed, 3])

        def some(frame: pd.DataFrame) -> pd.DataFrame:
            n = min(settings.log_problems, len(frame))
            return frame.iloc[np.sort(rng.choice(len(frame), n, replace=False))]

        held_out = problems[(problems["split"] == "held_out") & (problems["n_faces"] > 0)]
        self.problems = {
            "id_train": some(examples),
            "id_test": some(held_out[held_out["rule"] == "id"]),
            "ood_test": some(held_out[held_out["rule"] == "ood"]),
        }

    def __call__(self) -> dict[str, float]:
        self.model.eval()
        row = {}
        for name, frame in self.problems.items():
            pairs = list(zip(frame["prompt"], frame["response"], strict=True))
            row[f"{name}_loss_nats"] = cross_entropy(self.model, self.tokenizer, pairs)
            if name != "id_train":
                row[f"{name}_format_error_share"] = format_error_rate(
                    self.model, self.tokenizer, self.task, frame, self.max_new_tokens
                )
        self.model.train()
        return row


class _Recorder(TrainerCallback):
    """Logs rows, stages grid checkpoints, and marks Trainer states that are whole."""

    def __init__(
        self,
        settings: SFT,
        arm: str,
        measure: _Measure,
        work: Workspace,
        whole: Callable,
        tokenizer,
        label: str,
    ):
        self.settings, self.arm, self.measure, self.work = settings, arm, measure, work
        self.whole, self.tokenizer = whole, tokenizer
        self.rows: list[dict] = []
        self.bar = Bar(settings.steps, label)

    def resume(self, folder: Path) -> Path | None:
        """The latest whole Trainer state; removes broken ones and reads the rows of that moment."""
        states = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        for broken in [s for s in states if not (s / WHOLE).is_file()]:
            shutil.rmtree(broken)
            states.remove(broken)
        if not states:
            return None
        self.rows = provenance.read_json(states[-1] / WHOLE)
        self.bar.update(int(states[-1].name.split("-")[1]))
        return states[-1]

    def _stage(self, step: int) -> None:
        if step in self.settings.checkpoints:
            with self.work.stage(artifacts.sft(step, self.arm)) as folder:
                checkpoints.save_weights(folder, self.whole(), self.tokenizer)

    def on_train_begin(self, _args, state, _control, **_):
        if state.global_step == 0:
            self.rows = [{"step": 0, **self.measure()}]
            self._stage(0)

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

    def on_step_end(self, _args, state, _control, **_):
        self._stage(state.global_step)
        self.bar.update()

    def on_save(self, args, state, _control, **_):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        follow_umask(*folder.glob("*.safetensors"))
        provenance.write_json(folder / WHOLE, self.rows)
