"""Arms of SFT that read what other actions than the expert's would lead to.

Early Experience (arXiv 2510.08558; method notes, data and results are released, no trainer): at the
states of the expert's examples other actions are tried in the simulator. A world model predicts
what is seen next before it imitates the expert; a reflection says in the answer what another action
would have led to. Arms take as many steps on as many trained tokens as plain SFT, and imitate the
same examples.
"""

from functools import cache

import numpy as np
import pandas as pd

from healscope.config import SFT
from healscope.config.training import Early
from healscope.errors import HealscopeError
from healscope.models import tokens
from healscope.tasks.navigation import own
from healscope.tasks.task import Task


def steps(
    method: Early,
    settings: SFT,
    examples: pd.DataFrame,
    pool: pd.DataFrame,
    tokenizer,
    task: Task,
    seed: int,
    micro: int = 1,
) -> tuple[list[pd.DataFrame], SFT]:
    """Return the rows of each step, and settings whose batches are as large as these.

    The first `alternatives * epochs` rows for each example are early experience, or in its controls
    as many rows in its place; then the expert's examples follow, in epochs. Each epoch of
    `reflection` has a reflection in half of its rows. Batches have the size, a multiple of `micro`,
    at which all steps train on as many tokens as plain SFT. Raises HealscopeError where the task
    has no actions to try, or no more of the expert's examples.
    """
    if reason := method.misfit(task.name, task.problems_of):
        raise HealscopeError(f"sft.arms: {reason}")
    rng = np.random.default_rng([seed, 12])
    first, told = [], []
    if method.method == "more_expert":
        first = _more(method, examples, pool, rng)
    elif method.method == "reflection":
        told = _reflections(method, task, examples, rng)
    else:
        first = _predictions(method, task, examples, rng)

    most, tables = 2 * settings.batch_size, [*first]
    for n in range(-(-settings.steps * most // len(examples))):
        own_rows = examples
        if told:
            half = pd.Series(rng.random(len(examples)) < 0.5)
            said = told[n % len(told)].where(half, examples["response"])
            own_rows = examples.assign(response=said)
        tables.append(own_rows.iloc[rng.permutation(len(examples))])
    rows = pd.concat([table[["prompt", "response"]] for table in tables], ignore_index=True)

    @cache
    def length(text: str) -> int:
        return len(tokens.response_ids(tokenizer, text))

    read = np.cumsum([length(text) for text in rows["response"]])
    whole, rest = divmod(settings.steps, -(-len(examples) // settings.batch_size))
    plain = sum(map(length, examples["response"]))
    wanted = plain * (whole + rest * settings.batch_size / len(examples))
    sizes = range(micro, most + 1, micro)
    batch = min(sizes, key=lambda size: abs(read[settings.steps * size - 1] - wanted))
    batches = [rows.iloc[i * batch : (i + 1) * batch] for i in range(settings.steps)]
    return batches, settings.model_copy(update={"batch_size": batch})


def chosen(
    found: list[own.Outcome], n: int, error_share: float, rng: np.random.Generator
) -> list[own.Outcome]:
    """Draw n outcomes, of which a share leads nowhere or ends the walk, as far as there are such;
    fewer than n are repeated."""
    mixed = [found[i] for i in rng.permutation(len(found)).tolist()]
    errors, moves = ([o for o in mixed if o.error is kind] for kind in (True, False))
    wanted = int(n * error_share + rng.random())
    picked = [*errors[:wanted], *moves[: n - min(wanted, len(errors))]]
    picked += [o for o in mixed if o not in picked][: n - len(picked)]
    order = rng.permutation(len(picked)).tolist()
    return [picked[order[i % len(order)]] for i in range(n)]


def _tried(method: Early, task: Task, examples: pd.DataFrame, rng) -> list[tuple]:
    """Return for each row its problem and the outcomes of the other actions that are tried."""
    found = []
    for row in examples.to_dict("records"):
        problem = task.read(row)
        outcomes = own.outcomes(task, problem)
        picked = chosen(outcomes, method.alternatives, method.error_share, rng)
        found.append((problem, picked))
    return found


def _predictions(method: Early, task: Task, examples: pd.DataFrame, rng) -> list[pd.DataFrame]:
    tried = _tried(method, task, examples, rng)
    pairs = [own.prediction(task, problem, o) for problem, outcomes in tried for o in outcomes]
    frame = pd.DataFrame(pairs, columns=["prompt", "response"])
    if method.method == "shuffled_world":
        frame["response"] = rng.permutation(frame["response"].to_numpy())
    return [frame.iloc[rng.permutation(len(frame))] for _ in range(method.epochs)]


def _reflections(method: Early, task: Task, examples: pd.DataFrame, rng) -> list[pd.Series]:
    """Return for each of the alternatives the answers to all examples that reflect on it."""
    tried = _tried(method, task, examples, rng)
    return [
        pd.Series([own.reflection(task, problem, outcomes[n]) for problem, outcomes in tried])
        for n in range(method.alternatives)
    ]


def _more(method: Early, examples: pd.DataFrame, pool: pd.DataFrame, rng) -> list[pd.DataFrame]:
    """Return examples of the expert on other instances, as many as the others have predictions;
    where there are fewer, they come again."""
    rest = pool[~pool["instance_id"].isin(examples["instance_id"])]
    if rest.empty:
        raise HealscopeError(
            "arm 'more_expert': SFT reads examples of all instances that there are; give the task "
            "more routes, or lower sft.deals"
        )
    wanted = method.alternatives * len(examples)
    again = [rng.permutation(len(rest)) for _ in range(-(-wanted // len(rest)))]
    rows = rest.iloc[np.concatenate(again)[:wanted]]
    return [rows.iloc[rng.permutation(wanted)] for _ in range(method.epochs)]
