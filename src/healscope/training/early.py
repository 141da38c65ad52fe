"""Arms of SFT that read what a model's own other actions would lead to.

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
from healscope.tasks.tables import draw
from healscope.tasks.task import Task


def epochs(
    method: Early,
    settings: SFT,
    examples: pd.DataFrame,
    pool: pd.DataFrame,
    tokenizer,
    task: Task,
    seed: int,
) -> tuple[list[pd.DataFrame], SFT]:
    """Return the rows of each epoch, and settings whose batches make trained tokens equal.

    The first `alternatives * epochs` tables are early experience, or in its controls as many rows
    in its place; the expert's examples follow. Every epoch of `reflection` is a mixture. Raises
    HealscopeError where the task has no actions to try, or no more of the expert's examples.
    """
    if "walks" not in task.problems_of:
        raise HealscopeError(
            f"arm '{method.method}': task {task.name!r} has no actions that could be tried; take "
            "navigation with moved_by: own"
        )
    rng = np.random.default_rng([seed, 12])
    first = method.alternatives * method.epochs
    if method.method == "more_expert":
        early = _more(examples, pool, first, rng)
    elif method.method == "reflection":
        early = _reflections(method, task, examples, rng)
    else:
        early = _predictions(method, task, examples, rng)

    def of_epoch(n: int) -> pd.DataFrame:
        if method.method == "reflection":
            told = rng.random(len(examples)) < 0.5
            return early[n % len(early)].where(told, examples)
        return early[n] if n < first else examples

    sizes = range(settings.batch_size // 2 + 1, 2 * settings.batch_size + 1)
    most = _epochs(settings.steps, sizes[-1], len(examples))
    made = [of_epoch(n)[["prompt", "response"]] for n in range(most)]

    @cache
    def length(text: str) -> int:
        return len(tokens.response_ids(tokenizer, text))

    counts = [sum(map(length, table["response"])) for table in made]
    plain = [sum(map(length, examples["response"]))] * most
    wanted = trained(settings.steps, settings.batch_size, len(examples), plain)
    batch = min(
        sizes, key=lambda b: abs(trained(settings.steps, b, len(examples), counts) - wanted)
    )
    used = made[: _epochs(settings.steps, batch, len(examples))]
    return used, settings.model_copy(update={"batch_size": batch})


def _epochs(steps: int, batch: int, rows: int) -> int:
    return -(-steps // -(-rows // batch))


def trained(steps: int, batch: int, rows: int, counts: list[int]) -> float:
    """Return how many response tokens so many steps train on, if epoch n of `rows` rows has
    `counts[n]`; those of the last one in proportion to its rows."""
    whole, rest = divmod(steps, -(-rows // batch))
    return sum(counts[:whole]) + (counts[whole] * rest * batch / rows if rest else 0.0)


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


def _tried(method: Early, task: Task, examples: pd.DataFrame, n: int, rng) -> list[list]:
    """Return for each row its problem and n outcomes of other actions."""
    found = []
    for row in examples.to_dict("records"):
        problem = task.read(row)
        outcomes = own.outcomes(task, problem)
        found.append((problem, chosen(outcomes, n, method.error_share, rng)))
    return found


def _predictions(method: Early, task: Task, examples: pd.DataFrame, rng) -> list[pd.DataFrame]:
    tried = _tried(method, task, examples, method.alternatives, rng)
    pairs = [
        own.prediction(task, problem, outcomes[n])
        for n in range(method.alternatives)
        for problem, outcomes in tried
    ]
    frame = pd.DataFrame(pairs, columns=["prompt", "response"])
    if method.method == "shuffled_world":
        frame["response"] = rng.permutation(frame["response"].to_numpy())
    tables = [
        frame.iloc[i : i + len(tried)].reset_index(drop=True)
        for i in range(0, len(frame), len(tried))
    ]
    return tables * method.epochs


def _reflections(method: Early, task: Task, examples: pd.DataFrame, rng) -> list[pd.DataFrame]:
    tried = _tried(method, task, examples, method.alternatives, rng)
    return [
        examples.assign(response=[own.reflection(task, p, found[n]) for p, found in tried])
        for n in range(method.alternatives)
    ]


def _more(examples: pd.DataFrame, pool: pd.DataFrame, n: int, rng) -> list[pd.DataFrame]:
    """Return n tables of other examples of the expert, each as long as the first ones."""
    rest = pool[~pool["problem_id"].isin(examples["problem_id"])]
    if rest.empty:
        raise HealscopeError(
            "arm 'more_expert': SFT reads all examples that there are; give the task more routes, "
            "or lower sft.deals"
        )
    other = draw(rest, len(rest), rng)
    rows = [i % len(other) for i in range(n * len(examples))]
    return [
        other.iloc[rows[i : i + len(examples)]].reset_index(drop=True)
        for i in range(0, len(rows), len(examples))
    ]
