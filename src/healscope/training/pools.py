"""Measures how hard training problems are to a checkpoint: their pass rates."""

import numpy as np
import pandas as pd

from healscope.models import checkpoints
from healscope.progress import track
from healscope.tasks.rewards import scorer
from healscope.tasks.tables import draw
from healscope.tasks.task import Task
from healscope.training.sampling import Sampler

_PROBLEMS_AT_ONCE = 64


def measure(
    manifest: str,
    prompts: pd.DataFrame,
    task: Task,
    problems: int,
    samples: int,
    max_new_tokens: int,
    seed: int,
    label: str,
) -> pd.DataFrame:
    """Sample `samples` answers of a checkpoint to `problems` training problems, at temperature 1.

    Problems are drawn as RL draws them, every instance with the same weight, and with their own
    random streams, which no training has. Return the columns of schema pass-rates, without track
    and seed.
    """
    model, tokenizer = checkpoints.load_model(manifest)
    chosen = draw(prompts, problems, np.random.default_rng([seed, 7]))
    sampler = Sampler(task, scorer(task, {"binary": 1.0}), max_new_tokens, 1.0, samples)
    found = []
    starts = range(0, len(chosen), _PROBLEMS_AT_ONCE)
    for start in track(starts, label, len(starts)):
        batch = chosen.iloc[start : start + _PROBLEMS_AT_ONCE]
        turns = sampler.sample(model, tokenizer, batch, (seed, 8, start))
        right = np.array([t.success for t in turns]).reshape(len(batch), samples).sum(1)
        found.append(batch[["problem_id", "instance_id"]].assign(samples=samples, correct=right))
    return pd.concat(found, ignore_index=True)
