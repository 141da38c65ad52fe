"""Answers that an expert has begun, of which the model writes the rest.

An answer of N steps makes N - 1 problems: the model goes on after 1, 2, … N - 1 of them (step-wise
RL, arXiv 2510.25992; from secondary sources). What was begun is part of the prompt: no loss on it.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from healscope.errors import HealscopeError
from healscope.tasks.rewards import Step, next_step
from healscope.tasks.task import Task
from healscope.training.turns import Turn


def instances(task: Task, problems: pd.DataFrame, of_another: bool, seed: int) -> pd.DataFrame:
    """Return a row for each problem and number of steps of its reference answer, less one.

    Column `begun` holds these steps, `expert` the next one, and `ends` whether the answer ends with
    it; with `of_another` it is that of another problem, drawn once. Raises HealscopeError where
    answers have no steps.
    """
    rows = problems.to_dict("records")
    texts = [task.answers(task.read(row))[0] for row in rows]
    answers = [task.steps(text) for text in texts]
    if any(len(steps) < 2 for steps in answers):
        raise HealscopeError(
            f"task {task.name!r}: its answers have no steps; leave out `prefixes` of the recipe "
            "(answers of the card game have some in rendering: compact)"
        )
    order = np.random.default_rng([seed, 12]).permutation(len(rows))
    shown = dict(zip(order, np.roll(order, 1), strict=True)) if of_another else {}
    found = []
    for i, (row, steps) in enumerate(zip(rows, answers, strict=True)):
        followed = answers[shown.get(i, i)]
        for k in range(1, len(steps)):
            expert = followed[min(k, len(followed) - 1)]
            begun, ends = " ".join(steps[:k]), " ".join(steps[: k + 1]) == texts[i]
            found.append({**row, "begun": begun, "expert": expert, "ends": ends})
    return pd.DataFrame(found)


def step_of(row: dict) -> Step | None:
    """Return what an answer to the problem in this row is begun with; None where it is not."""
    return Step(row["begun"], row["expert"]) if "begun" in row else None


def cut(task: Task, tokenizer, turn: Turn, step: Step) -> Turn:
    """Return a turn without what its response says after its next step, which is not paid.

    The tokens that are left out count as generated.
    """
    text = f"{step.begun} {next_step(task, turn.text, step)}"
    rest, n = text[len(step.begun) :], 0
    if len(text.split()) >= len(turn.text.split()):
        return turn
    while n < len(turn.response_ids):
        n += 1
        said = tokenizer.decode(turn.response_ids[:n], skip_special_tokens=True)
        if len(said.split()) >= len(rest.split()):
            break
    kept = {"response_ids": turn.response_ids[:n], "logprobs": turn.logprobs[:n]}
    gaps = turn.engine_gaps and turn.engine_gaps[:n]
    left_out = len(turn.response_ids) - n
    return replace(turn, **kept, text=text, engine_gaps=gaps, left_out=left_out)
