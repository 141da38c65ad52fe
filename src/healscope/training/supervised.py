"""Goes on with SFT, a control of RL with as many steps and tokens.

The loss in nats a response token is L = -log p(y | x) + c KL(reference || model), the second term
exact over the vocabulary at every prefix of y.

Shape suffixes: B rows, T response tokens, V vocabulary.
"""

import time
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from healscope.config import Supervised
from healscope.engines.generate import response_logprobs
from healscope.models import checkpoints, tokens
from healscope.progress import Bar
from healscope.tasks.tables import any_answers, draw
from healscope.training import health, state, stop
from healscope.training.branch import Branch
from healscope.training.compute import ROWS_AT_ONCE
from healscope.training.optimization import adamw, scale
from healscope.training.references import distances, due, references
from healscope.training.turns import Pair, by_length


def train(recipe: Supervised, branch: Branch) -> list[dict]:
    """Go on with SFT from `branch.start` and stage the checkpoint `branch.name`.

    Return one row for each step. `token_budget` counts the response tokens that were read. Raises
    Diverged if a number is not finite, and Stopped on a signal.
    """
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    others = references(recipe, branch, recipe.kl_from if recipe.kl_coefficient else None)
    optimizer = adamw(recipe, trained)
    parts, optimizers = {"model": model}, {"optimizer": optimizer}
    pool = [branch.prompt_pool(recipe)] if recipe.prefixes else []
    _, rows = state.restore(branch.work, parts, optimizers)
    with Bar(recipe.iterations, branch.label, done=len(rows)) as bar:
        while not _over(recipe, rows):
            i, began = len(rows), time.perf_counter()
            rate = recipe.optimizer.learning_rate * scale(recipe, i)
            for group in optimizer.param_groups:
                group["lr"] = rate
            examples = step_rows(recipe, branch, i, *pool)
            pairs = (_encode_steps if recipe.prefixes else _encode)(tokenizer, examples)
            row = {
                "iteration": i + 1,
                **_update(model, optimizer, tokenizer, pairs, recipe, others),
                "learning_rate": rate,
                "trained_tokens": sum(len(p.response_ids) for p in pairs),
                "training_seconds": time.perf_counter() - began,
            }
            last = _over(recipe, [*rows, row])
            if due(recipe, i, last):
                row |= distances(others, model, tokenizer, pairs, temperature=1.0)
            health.log(rows, row, branch.name)
            bar.note(loss=row["policy_loss"])
            bar.update()
            keep = partial(state.keep, branch.work, i + 1, parts, optimizers, rows)
            where = f"step {i + 1} of {recipe.iterations}"
            stop.at_step(keep, i + 1, recipe.state_every, last, where)
    with branch.work.stage(branch.name) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return rows


def step_rows(
    recipe: Supervised, branch: Branch, i: int, pool: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the examples of step i (from 0), each with the `response` that the step teaches.

    "same" goes through the rows of SFT in epochs, each in an order of its own; "fresh" draws
    problems from the random stream of RL's prompts, so that both see the same ones; "less" draws
    from training problems with a part less. A `pool`, if given, is drawn from instead.
    """
    if pool is not None:
        return draw(pool, recipe.responses, np.random.default_rng([branch.seed, 4, i]))
    if recipe.examples == "same":
        first = i * recipe.responses
        order = shuffled(len(branch.sft_rows), first, recipe.responses, branch.seed)
        drawn = branch.sft_rows.iloc[order]
    else:
        stream = np.random.default_rng([branch.seed, 4, i])
        pool = branch.less_pool if recipe.examples == "less" else branch.sft_pool
        drawn = draw(pool, recipe.responses, stream)
    if recipe.answers == "any":
        drawn = any_answers(drawn, branch.task, np.random.default_rng([branch.seed, 8, i]))
    return drawn


def shuffled(n: int, first: int, number: int, seed: int) -> np.ndarray:
    """Return `number` positions from the `first`-th on, of epochs that each shuffle 0 to n-1."""
    epochs = range(first // n, -(-(first + number) // n))
    orders = [np.random.default_rng([seed, 7, epoch]).permutation(n) for epoch in epochs]
    skipped = first - epochs.start * n
    return np.concatenate(orders)[skipped : skipped + number]


def _over(recipe: Supervised, rows: list[dict]) -> bool:
    """Return whether nothing is left to do, by the rows alone, so that a resumed run ends there
    too."""
    return len(rows) >= recipe.iterations or health.spent(rows, recipe)


def _encode(tokenizer, examples: pd.DataFrame) -> list[Pair]:
    return [
        Pair(tokens.prompt_ids(tokenizer, p), tokens.response_ids(tokenizer, r))
        for p, r in zip(examples["prompt"], examples["response"], strict=True)
    ]


def _encode_steps(tokenizer, examples: pd.DataFrame) -> list[Pair]:
    """Return steps of answers, each after the prompt and the steps before it."""
    found = []
    for row in examples.to_dict("records"):
        begun = tokens.prompt_ids(tokenizer, row["prompt"])
        begun += tokens.response_ids(tokenizer, row["begun"])[:-1]
        step = tokens.response_ids(tokenizer, row["expert"])
        found.append(Pair(begun, step if row["ends"] else step[:-1]))
    return found


def _update(
    model, optimizer, tokenizer, pairs: list[Pair], recipe: Supervised, others: dict
) -> dict[str, float]:
    """Take one step on the mean over all response tokens; return what is logged."""
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    n_tokens = sum(len(p.response_ids) for p in pairs)
    penalised = recipe.kl_coefficient > 0
    row = {"policy_loss": 0.0, **({"kl_penalty_nats": 0.0} if penalised else {})}
    model.train()
    optimizer.zero_grad(set_to_none=True)
    for batch in by_length(pairs, ROWS_AT_ONCE):
        ids_BL, mask_BL, width, real_BT = tokens.encode_ids(
            [p.prompt_ids for p in batch],
            [p.response_ids for p in batch],
            tokenizer.pad_token_id,
            model.device,
        )
        logps_BT, logps_BTV = response_logprobs(model, ids_BL, mask_BL, width)
        loss = -(logps_BT * real_BT).sum() / n_tokens
        row["policy_loss"] += loss.item()
        if penalised:
            with torch.no_grad():
                reference = others[recipe.kl_from]
                _, other_BTV = response_logprobs(reference, ids_BL, mask_BL, width)
            kl_BT = (other_BTV.exp() * (other_BTV - logps_BTV)).sum(-1)
            kl = (kl_BT * real_BT).sum() / n_tokens
            row["kl_penalty_nats"] += kl.item()
            loss = loss + recipe.kl_coefficient * kl
        loss.backward()
    norm = nn.utils.clip_grad_norm_(trained, recipe.optimizer.max_grad_norm)
    optimizer.step()
    return {**row, "gradient_norm": float(norm)}
