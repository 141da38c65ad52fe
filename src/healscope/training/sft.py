"""Supervised fine-tuning with TRL's SFTTrainer: loss on the completion only, exact resume.

L = -sum log p(y | x) over response tokens (arXiv 2509.12235, section 2.1). A method
(`training.methods`) adds a penalty, or restricts how weights change.
"""

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate.data_loader import DataLoaderShard, SeedableRandomSampler
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from healscope.config import SFT, SFTMethod
from healscope.config.training import Early
from healscope.errors import HealscopeError
from healscope.models import checkpoints, tokens
from healscope.tasks.tables import any_answers, sft_examples
from healscope.tasks.task import Task
from healscope.training import early, methods, processes, stop
from healscope.training.compute import ONE_PROCESS, Compute
from healscope.training.recording import Measure, Recorder, step_of
from healscope.training.state import Workspace


def paraphrase(examples: pd.DataFrame, task: Task, seed: int) -> pd.DataFrame:
    """Return the same rows, each prompt in a drawn wording (the arm `diverse`).

    The control of arXiv 2510.00237: is forgetting an effect of one fixed prompt? Raises
    HealscopeError if the task has one wording only.
    """
    wordings = [task.paraphrases(task.read(row)) for row in examples.to_dict("records")]
    if all(len(prompts) == 1 for prompts in wordings):
        raise HealscopeError(
            "arm 'diverse': the training task has one way to state a problem; take the arm out of "
            "sft.arms, or give the task paraphrases"
        )
    draws = np.random.default_rng([seed, 5])
    counts = [len(prompts) for prompts in wordings]
    # one number where all have as many: the same draws, whatever a table of numbers would do
    drawn = draws.integers(counts[0] if len(set(counts)) == 1 else counts, size=len(counts))
    return examples.assign(prompt=[p[int(i)] for p, i in zip(wordings, drawn, strict=True)])


def all_solutions(
    examples: pd.DataFrame, settings: SFT, task: Task, seed: int
) -> list[pd.DataFrame]:
    """Return the same rows for each epoch, with answers drawn anew (the arm `solutions`).

    Tests whether cross-entropy forgets because it punishes every correct answer except the one
    that it is shown (arXiv 2509.12235, section 3.2). Raises HealscopeError if every problem has
    one correct answer only.
    """
    if all(len(task.answers(task.read(row))) == 1 for row in examples.to_dict("records")):
        raise HealscopeError(
            "arm 'solutions': every problem of the training task has one correct answer; take the "
            "arm out of sft.arms"
        )
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
    task: Task,
    max_new_tokens: int,
    seed: int,
    work: Workspace,
    label: str,
    compute: Compute = ONE_PROCESS,
) -> list[dict]:
    """Fine-tunes the checkpoint with manifest `start`; stages every step of the grid.

    `arm` is "sft", one of config.CONTROLS, or one of `settings.methods`. All go through the same
    problems in the same order, but for `replay`, which adds rows; the prompts of `diverse` and the
    answers of `solutions` differ, and methods differ in how they train.

    Return the logged rows, one each `log_every` steps: losses in nats a token, on the canonical
    answers, and rates as shares. Raises Stopped on a signal, and HealscopeError if the arm cannot
    be trained with the DeepSpeed settings of `compute`.
    """
    method = settings.methods.get(arm)
    if method and (reason := method.refusal(compute.zero)):
        raise HealscopeError(f"arm '{arm}': {reason}")
    model, tokenizer = checkpoints.load_model(start)
    checkpoints.freeze(model, settings.freeze)
    setup = methods.setup(method, model, seed)
    compute.checkpointed(model)
    examples = sft_examples(pool, settings.deals, settings.examples, seed)
    if arm == "diverse":
        examples = paraphrase(examples, task, seed)
    measure = Measure(settings, model, tokenizer, examples, problems, task, max_new_tokens, seed)
    epochs = [setup.examples(examples, tokenizer, task, seed)]
    if arm == "solutions":
        epochs = all_solutions(examples, settings, task, seed)
    if isinstance(method, Early):
        micro = min(compute.launch.micro_batch or 1, settings.batch_size)
        given = examples, pool, tokenizer, task, seed, micro
        epochs, settings = early.steps(method, settings, *given)
    folder = work.folder / "trainer"
    trainer = _trainer(settings, method, setup, tokenizer, epochs, seed, folder, compute)
    recorder = Recorder(
        settings, arm, measure, work, setup.whole, tokenizer, label, trainer, compute
    )
    trainer.add_callback(recorder)
    latest = recorder.resume(folder)
    if latest is None or step_of(latest) < settings.steps:  # else it is all done
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pin_memory and schedulers, not of results
            trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    recorder.bar.close()
    if recorder.stopped_at is not None:
        raise stop.Stopped(f"step {recorder.stopped_at} of {settings.steps}")
    return recorder.rows


def _trainer(
    settings: SFT,
    method: SFTMethod | None,
    setup: methods.Setup,
    tokenizer,
    epochs: list[pd.DataFrame],
    seed: int,
    folder: Path,
    compute: Compute,
) -> SFTTrainer:
    """Make the trainer; `epochs` has one table of examples for each, or one for all epochs."""

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
    micro = compute.launch.share(settings.batch_size, "sft.batch_size")
    accumulation = settings.batch_size // processes.size() // micro
    args = SFTConfig(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        learning_rate=(method and method.learning_rate) or optimizer.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=optimizer.warmup_steps,
        weight_decay=optimizer.weight_decay,
        adam_beta2=optimizer.beta2,
        adam_epsilon=optimizer.epsilon,
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
        gradient_checkpointing=False,  # `compute` has seen to it
        deepspeed=compute.settings(micro, accumulation, optimizer.max_grad_norm),
        dataloader_pin_memory=not cpu,
        disable_tqdm=True,
        report_to="none",
        **{"loss_type": "nll", **setup.settings},
    )
    trainer = setup.trainer(
        model=setup.model, args=args, train_dataset=data, processing_class=tokenizer
    )
    trainer.compute_loss_context_manager = compute.autocast
    if compute.zero:  # its own files hold all that a resume needs
        trainer.save_model = lambda folder, **_: Path(folder).mkdir(parents=True, exist_ok=True)
    order = _OrderOfEpochs(len(epochs[0]), seed, len(epochs))
    if processes.size() > 1:
        batches = _OwnBatches(order, settings.batch_size, micro)
        trainer.get_train_dataloader = lambda: DataLoaderShard(
            trainer.train_dataset.select_columns(["input_ids", "labels"]),
            device=trainer.accelerator.device,
            batch_sampler=batches,
            collate_fn=trainer.data_collator,
        )
    elif len(epochs) > 1:
        trainer._get_train_sampler = lambda _dataset: order
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


class _OrderOfEpochs(Sampler):
    """Yields row numbers of an epoch, in the Trainer's own order of n rows.

    If each epoch has n rows of its own (`tables` > 1), numbers start at the epoch's first row.
    """

    def __init__(self, n: int, seed: int, tables: int):
        self.n, self.tables = n, tables
        self.order = SeedableRandomSampler(range(n), data_seed=seed)

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        first = self.n * self.order.epoch if self.tables > 1 else 0
        return (first + row for row in self.order)

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)


class _OwnBatches(Sampler):
    """Yields the micro-batches that this process reads, as lists of row numbers.

    Every batch holds the same rows as in a run of one process, also the shorter last one of an
    epoch. So runs take the same steps however many processes share them.
    """

    def __init__(self, order: _OrderOfEpochs, batch_size: int, micro: int):
        self.order, self.batch_size, self.micro = order, batch_size, micro
        last = len(order) % batch_size
        if last % processes.size():
            raise HealscopeError(
                f"the last batch of an epoch has {last} rows ({len(order)} examples, batches of "
                f"{batch_size}), which {processes.size()} processes cannot share evenly; change "
                "sft.examples or sft.batch_size"
            )

    def _parts(self, rows: int) -> int:
        """Return the number of micro-batches of each process for a batch of so many rows."""
        return math.ceil(rows / processes.size() / self.micro)

    def __len__(self) -> int:
        whole, last = divmod(len(self.order), self.batch_size)
        return whole * self._parts(self.batch_size) + self._parts(last)

    def __iter__(self):
        rows = list(self.order)
        for first in range(0, len(rows), self.batch_size):
            batch = rows[first : first + self.batch_size]
            for part in np.array_split(processes.own(batch), self._parts(len(batch))):
                yield part.tolist()

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)
