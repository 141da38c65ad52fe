"""Trains in rounds: what a round learns from is made by the model that the one before left.

Every round has an optimizer of its own, since its data and its loss are new. So the model alone is
enough to repeat a killed round exactly.
"""

from collections.abc import Callable

import numpy as np

from healscope.models import checkpoints
from healscope.progress import Bar
from healscope.training import health, state, stop
from healscope.training.branch import Branch
from healscope.training.references import references


def run(recipe, branch: Branch, learn: Callable[..., dict]) -> list[dict]:
    """Run all rounds of a recipe from `branch.start` and stage the checkpoint `branch.name`.

    `learn(model, tokenizer, others, r, iterations, rows, bar)` trains round `r` and returns its
    row: `others` are the models that KL is measured from, `iterations` the numbers of the round's,
    `rows` those of the rounds before; it moves the bar on. Return all rows. Raises Diverged if a
    number is not finite any more, and Stopped on a signal.
    """
    model, tokenizer = checkpoints.load_model(branch.start)
    checkpoints.freeze(model, recipe.freeze)
    others = references(recipe, branch)
    done, rows = state.restore(branch.work, {"model": model}, {})
    rounds = np.array_split(np.arange(recipe.iterations), min(recipe.rounds, recipe.iterations))
    with Bar(recipe.iterations, branch.label, done=rows[-1]["iteration"] if rows else 0) as bar:
        for r in range(done, len(rounds)):
            if health.spent(rows, recipe):
                break
            row = learn(model, tokenizer, others, r, rounds[r], rows, bar)
            health.log(rows, row, branch.name)
            state.keep(branch.work, r + 1, {"model": model}, {}, rows)
            if r + 1 < len(rounds) and stop.wanted():
                raise stop.Stopped(f"round {r + 1} of {len(rounds)}")
    with branch.work.stage(branch.name) as folder:
        checkpoints.save_weights(folder, model, tokenizer)
    return rows
