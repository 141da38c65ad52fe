"""Plain REINFORCE (Williams 1992) with the mean of the batch as its baseline.

    L = -mean over responses of (r - mean r) log pi(response)

One step on each batch, so that there is nothing to clip. Shape suffixes: B rows, L prompt and
response, T response tokens, V vocabulary.
"""

import time
from functools import partial

import numpy as np
import torch

from healscope.config.recipes import Reinforce
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints
from healscope.progress import Bar
from healscope.tasks.tables import draw
from healscope.training import health, state, stop
from healscope.training.branch import Branch
from healscope.training.compute import ROWS_AT_ONCE
from healscope.training.learner import Learner
from healscope.training.optimization import adamw, scale
from healscope.training.references import distances, due, references
from healscope.training.turns import (
    Turn,
    advantage_statistics,
    encode,
    micro_batch_count,
    micro_batches,
    summary,
)


def train(recipe: Reinforce, branch: Branch) -> list[dict]:
    """Runs REINFORCE from `branch.start` and stages the checkpoint `branch.name`.

    Prompts and samples are those of PPO. Returns one row for each iteration. Raises Diverged if a
    number is not finite any more or success is lost, and Stopped on a signal.
    """
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    branch.compute.checkpointed(model)
    others = references(recipe, branch)
    optimizer = adamw(recipe, trained)
    learner = Learner(branch.compute, model, optimizer, recipe.optimizer.max_grad_norm)
    kept = {"model": model}, {"optimizer": optimizer}
    first, rows = state.restore(branch.work, *kept)
    pool, sampler = branch.prompt_pool(recipe), branch.sampler(recipe)
    with Bar(recipe.iterations, branch.label, done=first) as bar:
        for i in range(first, recipe.iterations):
            if health.spent(rows, recipe):
                break
            rate = recipe.optimizer.learning_rate * scale(recipe, i)
            learner.rate(rate)
            began = time.perf_counter()
            problems = draw(pool, recipe.prompts, np.random.default_rng([branch.seed, 4, i]))
            with health.finite_sampling(rows, branch.name), branch.compute.autocast():
                turns = sampler.sample(model, tokenizer, problems, (branch.seed, 5, i))
            sampled = time.perf_counter()
            row = {
                "iteration": i + 1,
                **summary(turns, recipe.samples_per_prompt),
                **update(recipe, learner, tokenizer, turns),
                "learning_rate": rate,
                "sampling_seconds": sampled - began,
                "training_seconds": time.perf_counter() - sampled,
            }
            last = i + 1 == recipe.iterations or health.spent([*rows, row], recipe)
            if due(recipe, i, last):
                row |= distances(others, model, tokenizer, turns, recipe.temperature)
            health.log(rows, row, branch.name)
            bar.note(reward=row["reward_mean"], correct=row["correct_share"])
            bar.update()
            keep = partial(state.keep, branch.work, i + 1, *kept, rows)
            where = f"iteration {i + 1} of {recipe.iterations}"
            stop.at_step(keep, i + 1, recipe.state_every, last, where)
    with branch.work.stage(branch.name) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return rows


def update(recipe: Reinforce, learner: Learner, tokenizer, turns: list[Turn]) -> dict[str, float]:
    """Takes one step on a batch of turns; returns what is logged of it."""
    rewards_B = np.array([t.reward for t in turns])
    advantages_B = rewards_B - rewards_B.mean()
    model, compute = learner.module, learner.compute
    number = micro_batch_count(len(turns), compute.launch.micro_batch or ROWS_AT_ONCE)
    batches = micro_batches(turns, np.arange(len(turns)), number)
    loss, entropy = 0.0, 0.0
    model.train()
    learner.start()
    for k, batch in enumerate(batches):
        ids_BL, mask_BL, width, real_BT = encode(tokenizer, [turns[b] for b in batch], model.device)
        with compute.autocast():
            now_BT, all_BTV = response_logprobs(model, ids_BL, mask_BL, width, recipe.temperature)
        gains_B = torch.tensor(advantages_B[batch], dtype=torch.float32, device=model.device)
        part = -(gains_B * (now_BT * real_BT).sum(1)).sum() / len(turns)
        learner.backward(part, last=k + 1 == len(batches))
        loss += part.item()
        entropy -= ((all_BTV.detach().exp() * all_BTV.detach()).sum(-1) * real_BT).sum().item()
    tokens = sum(len(t.response_ids) for t in turns)
    return {
        **advantage_statistics(advantages_B),
        "policy_loss": loss,
        "entropy_nats": entropy / tokens,
        "gradient_norm": learner.step(),
        "trained_tokens": tokens,
    }
