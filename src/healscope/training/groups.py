"""GRPO, DAPO, Dr. GRPO, GSPO and RLOO: TRL's trainers on responses that we sample.

TRL computes advantages, losses and updates; prompts, sampling, rewards, the learning rate and what
is logged are those of PPO, so that recipes differ in the algorithm alone. A_g is the advantage of
response g of the G of one prompt, with rewards r:

    grpo     A_g = (r_g - mean r) / (sd r + 1e-4); mean over a response's tokens, then over
             responses (arXiv 2402.03300, eq. 3)
    dapo     the same A_g; mean over all tokens of the batch, an upper clip of its own, no loss on
             truncated responses (arXiv 2503.14476, eq. 8); with `most_draws` its dynamic sampling
             (eq. 11), with `overlong` its soft penalty of long responses (eq. 13)
    dr_grpo  A_g = r_g - mean r; sum over tokens, over the longest response that could be (arXiv
             2503.20783, section 3.2)
    gspo     the same A_g; the ratio of a response is the geometric mean of its tokens', and clipped
             as one (arXiv 2507.18071, eq. 5 and 7)
    rloo     A_g = r_g - mean of the others' r; one ratio for a whole response (arXiv 2402.14740)

KL from the start is k3 in the loss (2402.03300, eq. 4); of rloo, the log-ratio of a response in its
reward. With one step on each batch all ratios are 1, and no clip does anything.
"""

import time
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.rewards import get_soft_overlong_punishment

from healscope.config import Group
from healscope.draws import seeded
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.progress import Bar
from healscope.tasks.tables import draw
from healscope.training import health, processes, state, stop
from healscope.training.branch import Branch
from healscope.training.compute import ROWS_AT_ONCE, whole
from healscope.training.optimization import adamw
from healscope.training.references import distances, due, references
from healscope.training.trainers import (
    arguments,
    at_once,
    fit,
    means,
    scheduled,
)
from healscope.training.turns import Turn, advantage_statistics, summary


def train(recipe: Group, branch: Branch) -> list[dict]:
    """Run the algorithm from `branch.start` and stage the checkpoint `branch.name`.

    An iteration samples `responses` responses and takes `epochs` passes over them, in `minibatches`
    steps each. Every iteration draws from its own named streams: a resumed run repeats nothing.

    Return one row for each iteration. Raises Diverged if a number is not finite any more or
    success is lost, and Stopped on a signal.
    """
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    branch.compute.checkpointed(model)
    optimizer = adamw(recipe, trained)
    with Bar(recipe.iterations, branch.label) as bar:
        run = _Iterations(recipe, branch, model, tokenizer, optimizer, bar)
        if not run.finished():
            fit(_trainer(recipe, branch, run))
        run.stage()
    return run.rows


class _Iterations(TrainerCallback):
    """Does what comes before and after TRL's steps: sampling; logging, saving and stopping."""

    def __init__(self, recipe: Group, branch: Branch, model, tokenizer, optimizer, bar):
        self.recipe, self.branch, self.bar = recipe, branch, bar
        self.model, self.tokenizer = model, tokenizer
        # DeepSpeed's engine keeps both itself, and exists once training begins
        alone = not branch.compute.zero
        self.modules = {"model": model} if alone else {}
        self.optimizers = {"optimizer": optimizer} if alone else {}
        self.optimizer, self.engine = optimizer, None
        self.first, self.rows = state.restore(branch.work, self.modules, self.optimizers)
        bar.update(self.first)
        self.references = references(recipe, branch)
        self.pool, self.sampler = branch.prompt_pool(recipe), branch.sampler(recipe)
        self.problems = min(recipe.prompts, len(self.pool))  # of an iteration
        self.turns: list[Turn] = []  # that are learned from
        self.sampled: list[Turn] = []  # all of the iteration
        self.advantages_B, self.learned_tokens = np.zeros(0), 0
        self.logs: list[dict] = []

    def finished(self) -> bool:
        """Return whether nothing is left to do, by the rows alone."""
        return len(self.rows) >= self.recipe.iterations or health.spent(self.rows, self.recipe)

    def on_train_begin(self, _args, _state, _control, **_):
        self.engine = self.trainer.deepspeed
        if self.engine is not None:
            state.restore(self.branch.work, {}, {}, self.engine)

    def whole(self):
        """Return a context in which every process can read all weights."""
        return whole(self.engine, self.model)

    def stage(self) -> None:
        """Stage the checkpoint."""
        with self.whole():
            if processes.first():
                with self.branch.work.stage(self.branch.name) as folder:
                    checkpoints.save_weights(folder, self.model, self.tokenizer)

    def sample(self) -> list[Turn]:
        """Sample the turns of this iteration, all responses to one prompt in a row.

        With dynamic sampling prompts are drawn again until enough groups hold different rewards, or
        `most_draws` is reached. Return the turns that this process learns from.
        """
        began, i, seed = time.perf_counter(), len(self.rows), self.branch.seed
        self.sampled, self.draws = [], 0
        groups, equal_groups = [], []  # to learn from, and with nothing to learn
        while self.draws < self.recipe.most_draws and len(groups) < self.problems:
            draw_stream = [self.draws] if self.draws else []  # the first draw has PPO's streams
            rng = np.random.default_rng([seed, 4, i, *draw_stream])
            problems = draw(self.pool, self.recipe.prompts, rng)
            with (
                health.finite_sampling(self.rows, self.branch.name),
                self.whole(),
                self.branch.compute.autocast(),
            ):
                stream = (seed, 5, i, *draw_stream)
                turns = self.sampler.sample(self.model, self.tokenizer, problems, stream)
            turns = not_overlong(turns, self.branch.max_new_tokens, self.recipe.overlong)
            for group in groups_of(turns, self.recipe.samples_per_prompt):
                useful = self.recipe.most_draws == 1 or rewards_differ(group)
                (groups if useful else equal_groups).append(group)
            self.sampled += turns
            self.draws += 1
        self.filled = max(0, self.problems - len(groups))  # with groups of equal rewards
        chosen = [*groups, *equal_groups][: self.problems]
        self.turns = [turn for group in chosen for turn in group]
        # TRL splits rows into micro-batches by the global state: give each iteration its own
        torch.manual_seed(seeded(seed, 6, i).initial_seed())
        self.model.train()
        self.sampling_ended = time.perf_counter()
        self.sampling_seconds = self.sampling_ended - began
        return self.own_turns()

    def own_turns(self) -> list[Turn]:
        """Return the turns that this process learns from: whole groups."""
        return processes.own(self.turns)

    def on_log(self, _args, _state, control, logs=None, **_):
        if "loss" not in (logs or {}):
            return  # TRL's summary at the end
        self.logs.append(logs)
        if len(self.logs) < self.recipe.steps:
            return
        i, recipe = len(self.rows), self.recipe
        row = {
            "iteration": i + 1,
            **summary(self.sampled, recipe.samples_per_prompt),
            **advantage_statistics(self.advantages_B),
            **means(self.logs),
            "trained_tokens": recipe.epochs * self.learned_tokens,
            "sampling_seconds": self.sampling_seconds,
            "training_seconds": time.perf_counter() - self.sampling_ended,
        }
        if recipe.most_draws > 1:
            row |= {"draws": self.draws, "filled_share": self.filled / self.problems}
        self.logs = []
        last = i + 1 == recipe.iterations or health.spent([*self.rows, row], recipe)
        if due(recipe, i, last):
            measured = self.model, self.tokenizer, self.turns, recipe.temperature
            with self.whole(), self.branch.compute.autocast():
                row |= distances(self.references, *measured)
        row = processes.agreed(row)
        health.log(self.rows, row, self.branch.name)
        self.bar.note(reward=row["reward_mean"], correct=row["correct_share"])
        self.bar.update()
        kept = self.modules, self.optimizers, self.rows, self.engine
        keep = partial(state.keep, self.branch.work, i + 1, *kept)
        where = f"iteration {i + 1} of {recipe.iterations}"
        stop.at_step(keep, i + 1, recipe.state_every, last, where)
        control.should_training_stop = last


def groups_of(turns: list[Turn], size: int) -> list[list[Turn]]:
    """Split turns into the responses to each prompt, which stand in a row."""
    return [turns[k : k + size] for k in range(0, len(turns), size)]


def rewards_differ(group: list[Turn]) -> bool:
    """Return whether a group's rewards differ; else all its advantages are 0."""
    return len({t.reward for t in group}) > 1


def not_overlong(turns: list[Turn], most: int, share: float) -> list[Turn]:
    """Add the soft overlong penalty (arXiv 2503.14476, eq. 13) to the rewards of turns.

    It falls from 0 to -1 over the last `share` of the `most` tokens that a response may have.
    """
    cache = round(share * most)
    if not cache:
        return turns
    penalties = get_soft_overlong_punishment(most, cache)([t.response_ids for t in turns])
    return [replace(t, reward=t.reward + p) for t, p in zip(turns, penalties, strict=True)]


class _Sampled:
    """Replaces the generation of a TRL trainer, and its tokenisation, which would leave out the
    first token of every prompt."""

    run: _Iterations

    def _tokenize_prompts(self, _prompts):
        return [t.prompt_ids for t in self.run.sample()], None, {}

    def _generate_single_turn(self, *_):
        return [t.response_ids for t in self.run.own_turns()]

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        self.run.advantages_B = np.array(processes.joined(batch["advantages"].tolist()))
        self.run.learned_tokens = int(processes.total(batch["completion_mask"].sum()))
        return batch


class _RLOO(_Sampled, RLOOTrainer):
    pass


class _GRPO(_Sampled, GRPOTrainer):
    def _generate_single_turn(self, *_):
        return super()._generate_single_turn(), None  # None: TRL computes log-probabilities


def _trainer(recipe: Group, branch: Branch, run: _Iterations):
    responses = run.problems * recipe.samples_per_prompt // processes.size()
    if responses % recipe.minibatches:
        raise HealscopeError(
            f"{branch.name}: the pool has {len(run.pool)} problems, so that an iteration has "
            f"{responses} responses in each process; make that a multiple of the recipe's "
            f"minibatches ({recipe.minibatches})"
        )
    of_a_step = responses // recipe.minibatches
    rows = at_once(of_a_step, branch.compute.launch.micro_batch or ROWS_AT_ONCE)
    settings = {
        **arguments(recipe, branch),
        "deepspeed": branch.compute.settings(
            rows, of_a_step // rows, recipe.optimizer.max_grad_norm
        ),
        "max_steps": (recipe.iterations - run.first) * recipe.steps,
        "num_iterations": recipe.epochs,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": of_a_step // rows,
        "steps_per_generation": responses // rows,
        "num_generations": recipe.samples_per_prompt,
        "max_completion_length": branch.max_new_tokens,
        "temperature": recipe.temperature,
        "beta": recipe.kl_coefficient,
        "epsilon": recipe.clip,
        "epsilon_high": recipe.clip_high,
        "shuffle_dataset": False,
    }
    if recipe.algorithm == "rloo":
        kind, args = _RLOO, RLOOConfig(**settings)
    else:
        kind, args = (
            _GRPO,
            GRPOConfig(
                **settings,
                loss_type="grpo" if recipe.algorithm == "gspo" else recipe.algorithm,
                importance_sampling_level="sequence" if recipe.algorithm == "gspo" else "token",
                scale_rewards="none" if recipe.algorithm == "dr_grpo" else "group",
                mask_truncated_completions=recipe.algorithm == "dapo",
                use_bias_correction_kl=False,  # TRL's default has another gradient than the paper
            ),
        )

    def reward(**_) -> list[float]:
        return [t.reward for t in run.own_turns()]

    optimizers = scheduled(recipe, run.optimizer, lambda step: run.first + step // recipe.steps)
    trainer = kind(
        model=run.model,
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_dict({"prompt": [""] * run.problems}),  # `run` has the real ones
        processing_class=run.tokenizer,
        callbacks=[run],
        optimizers=optimizers,
    )
    trainer.run, run.trainer = run, weakref.proxy(trainer)
    trainer.compute_loss_context_manager = branch.compute.autocast
    if branch.compute.zero:
        _keep_ours(run, optimizers)
    return trainer


def _keep_ours(run: _Iterations, optimizers: tuple) -> None:
    """Make the Trainer use our optimizer and schedule; with DeepSpeed it would make its own."""
    optimizer, schedule = optimizers

    def optimizer_made(*_, **__):
        run.trainer.optimizer = optimizer
        return optimizer

    def schedule_made(*_, **__):
        run.trainer.lr_scheduler = schedule
        return schedule

    run.trainer.create_optimizer, run.trainer.create_scheduler = optimizer_made, schedule_made
