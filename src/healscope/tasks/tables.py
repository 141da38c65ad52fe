"""Make the tables of a task: the problems that are evaluated, and what SFT and RL draw from.

The list of problems is fixed, so evaluation is on all of it, ID and OOD paired where a task poses
an instance under both rules. The unit of the hold-out and of the halves is the instance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from healscope.errors import HealscopeError
from healscope.tasks.problem import SIDES, Half, Problem, Split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from healscope.tasks.task import Task

Unit = TypeVar("Unit", bound=Hashable)

COLUMNS = (
    "problem_id",
    "pair_id",
    "instance_id",
    "episode_id",
    "split",
    "half",
    "rule",
    "group",
    "twin",
    "data",
    "prompt",
    "response",
)
"""Of the tables of a task that does not bring its own."""

SINCE = ("group", "twin")
"""Columns that tables of earlier versions lack."""

_HALF_STREAM = 4  # of random numbers; `Task.splits` has stream 1


def problem_table(task: Task) -> pd.DataFrame:
    """Make the table of problems that are evaluated, in the order of the task.

    The OOD problem of a pair follows its ID problem. The table has all problems of held-out
    instances, which include the instances that only the OOD rule has. Of training instances it has
    the ID problems, and the OOD problems paired with one (or, of a task with episodes, all OOD
    problems of the same instance). Columns are COLUMNS. Raises HealscopeError where the
    task has no problem, or none of a split that it should have.
    """
    splits = task.splits()
    problems = {rule: task.listed(rule) for rule in SIDES}
    if not any(problems.values()):
        raise HealscopeError(f"task {task.name!r} has no problems")
    _require_splits(task, splits)
    halves = halve(task, problems, splits)

    def unit(problem: Problem) -> str:
        return problem.instance_id if task.episodes else problem.pair_id

    seen = {unit(p) for p in problems["id"]}
    paired: dict[str, list[Problem]] = {}
    alone = []
    for problem in problems["ood"]:
        if unit(problem) in seen:
            paired.setdefault(problem.pair_id, []).append(problem)
        elif splits.get(problem.instance_id, "held_out") == "held_out":
            alone.append(problem)
    order = []
    for problem in problems["id"]:
        order += problem, *paired.pop(problem.pair_id, ())
    order += (problem for left in paired.values() for problem in left)
    return frame(task, [*order, *alone], splits, halves)


def sft_table(task: Task) -> pd.DataFrame:
    """Make the pool of SFT examples and RL prompts: every ID problem of the training instances.

    Columns are COLUMNS; `instance_id` is the unit from which an SFT run samples. RL has the
    responses as well: some rewards compare with them.
    """
    splits = task.splits()
    problems = {rule: task.listed(rule) for rule in SIDES}
    trained = [p for p in problems["id"] if splits[p.instance_id] == "train"]
    return frame(task, trained, splits, halve(task, problems, splits))


def halve(
    task: Task, problems: dict[str, list[Problem]], splits: dict[str, Split]
) -> dict[str, Half]:
    """Assign every instance to half "a" or "b": choose checkpoints on one, report on the other.

    In each split the halves differ by at most one instance, and so they do among the instances
    that have problems under the same rules, and of the same groups.
    """
    rules: dict[str, str] = {}
    for rule, posed in problems.items():
        kinds = {(p.instance_id, f"{rule}{task.group_of(p) or ''}") for p in posed}
        for instance, kind in sorted(kinds):
            rules[instance] = rules.get(instance, "") + kind
    instances = sorted(rules)
    shuffled = [instances[i] for i in task.stream(_HALF_STREAM).permutation(len(instances))]
    return in_halves(shuffled, lambda i: splits.get(i, "held_out"), rules.__getitem__)


def in_halves(
    shuffled: list[Unit], split: Callable[[Unit], Split], kind: Callable[[Unit], Any]
) -> dict[Unit, Half]:
    """Assign units, given in random order, to halves in turns: in each split, and by kind.

    So the units of a split, and those of one kind in it, are balanced as well as can be.
    """
    halves: dict[Unit, Half] = {}
    for side in ("train", "held_out"):
        members = sorted((unit for unit in shuffled if split(unit) == side), key=kind)
        halves |= {unit: "ab"[turn % 2] for turn, unit in enumerate(members)}
    return halves


def rules_differ(problems: pd.DataFrame) -> pd.Series:
    """Return a mask of rows whose two rules ask for different answers.

    These are all rows but hands of the card game without a face card.
    """
    import pandas as pd

    if "n_faces" not in problems:
        return pd.Series(True, index=problems.index)
    return problems["n_faces"].isna() | (problems["n_faces"] > 0)


def held_out(problems: pd.DataFrame, rules: Sequence[str] = SIDES) -> pd.Series:
    """Return a mask of held-out problems under some rules, where the two rules differ."""
    own = (problems["split"] == "held_out") & problems["rule"].isin(rules)
    return own & rules_differ(problems)


def draw(pool: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw n rows of a pool without repeats (all rows, if it holds fewer).

    Every `instance_id` has the same weight, however many problems it has; a uniform draw of rows
    would deal mostly face cards.
    """
    weights = 1.0 / pool.groupby("instance_id")["instance_id"].transform("count").to_numpy()
    n = min(n, len(pool))
    picked = rng.choice(len(pool), n, replace=False, p=weights / weights.sum())
    return pool.iloc[picked].reset_index(drop=True)


def sft_examples(pool: pd.DataFrame, deals: int, examples: int, seed: int) -> pd.DataFrame:
    """Draw the SFT rows of one seed: `examples` problems on `deals` distinct instances.

    Draws are without replacement; if the pool holds fewer, there are fewer.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 2])
    keys = np.sort(pool["instance_id"].unique())
    chosen = rng.choice(keys, min(deals, len(keys)), replace=False)
    return draw(pool[pool["instance_id"].isin(chosen)], examples, rng)


def any_answers(examples: pd.DataFrame, task: Task, rng: np.random.Generator) -> pd.DataFrame:
    """Replace the response of each row by one drawn evenly among the correct ones."""
    answers = []
    for row, pick in zip(examples.to_dict("records"), rng.random(len(examples)), strict=True):
        correct = task.answers(task.read(row))
        answers.append(correct[int(pick * len(correct))])
    return examples.assign(response=answers)


def _require_splits(task: Task, splits: dict[str, Split]) -> None:
    sides = set(splits.values())
    if splits and "held_out" not in sides:
        raise HealscopeError(
            f"task {task.name!r}: none of its {len(splits)} instances is held out; raise held_out"
        )
    if splits and task.trainable and task.held_out < 1 and "train" not in sides:
        raise HealscopeError(
            f"task {task.name!r}: all of its {len(splits)} instances are held out; lower held_out"
        )


def require_enough(name: str, problems: pd.DataFrame) -> None:
    """Raise HealscopeError if a problem table has too few held-out problems for a study.

    The best checkpoint is picked on one half of the held-out instances and judged on the other, so
    each half needs problems of both rules. `problems` has columns split, half, rule, instance_id.
    """
    held_out = problems[(problems["split"] == "held_out") & rules_differ(problems)]
    for rule in SIDES:
        own = held_out[held_out["rule"] == rule]
        if set(own["half"]) < {"a", "b"}:
            raise HealscopeError(
                f"task {name!r}: {own['instance_id'].nunique()} held-out instances have a problem "
                f"under the {rule.upper()} rule, and each of the two halves (one picks "
                "checkpoints, the other judges them) needs one; give the task more problems "
                "(or drop its limit), or raise held_out"
            )


def frame(
    task: Task, problems: list[Problem], splits: dict[str, Split], halves: dict[str, Half]
) -> pd.DataFrame:
    """Make the table of these problems; an instance that is missing in `splits` is held out."""
    import pandas as pd

    rows = [_row(task, p, splits.get(p.instance_id, "held_out"), halves) for p in problems]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(task: Task, problem: Problem, split: Split, halves: dict[str, Half]) -> dict[str, Any]:
    return {
        "problem_id": problem.problem_id,
        "pair_id": problem.pair_id,
        "instance_id": problem.instance_id,
        "episode_id": f"{problem.instance_id}:{problem.rule}" if task.episodes else None,
        "split": split,
        "half": halves[problem.instance_id],
        "rule": problem.rule,
        "group": task.group_of(problem),
        "twin": None,
        "data": json.dumps(dict(problem.data), allow_nan=False),
        "prompt": task.prompt(problem),
        "response": problem.answer,
    }
