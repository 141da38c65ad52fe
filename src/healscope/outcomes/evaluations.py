"""Read the answers of a study's checkpoints: `results/evals/PROTOCOL/TRACK/seed-N/CHECKPOINT`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from healscope import artifacts
from healscope.errors import HealscopeError
from healscope.outcomes.answers import Answer, shown


def is_evaluation(path: Path) -> bool:
    """Return whether a file has the name of a study's evaluation."""
    try:
        artifacts.parse(artifacts.EVALUATION, path.as_posix())
    except ValueError:
        return False
    return True


def read(path: Path) -> list[Answer]:
    """Return the first answers to the held-out problems of one task.

    Benchmarks are the sets of the task, `id` and `ood` or the names of its OOD sets; of a keeper it
    is the keeper's name. Questions are those of the study's table of problems, if it is there.
    Raises HealscopeError where the file is no evaluation.
    """
    import pandas as pd

    try:
        rows = pd.read_parquet(path)
        asked = rows[
            (rows["split"] == "held_out")
            & (rows["attempt"] == 1)
            & (rows["sample"] == 0)
            & ~rows["told_rule"]
        ]
    except (OSError, ValueError, KeyError) as error:
        raise HealscopeError(
            f"{path} is no evaluation of a study ({str(error).splitlines()[0]}); make it again"
        ) from None
    task = artifacts.parse(artifacts.EVALUATION, path.as_posix())["task"]
    problems = _problems(path, task)
    one_sided = asked["rule"].nunique() == 1
    return [_answer(row, task if one_sided else "", problems) for row in _records(asked)]


def benchmark(row: Mapping[str, Any]) -> str:
    """Return the set that a problem of a two-sided task is of."""
    group = row.get("group")
    return group.partition("/")[0] if isinstance(group, str) and group else row["rule"]


def _records(table) -> Iterator[dict]:
    return iter(table.to_dict("records"))


def _problems(path: Path, task: str) -> dict[str, dict]:
    """Return problem_id -> row of the study's table of problems; empty if it is not there."""
    import pandas as pd

    root = path.parents[len(Path(artifacts.EVALUATION).parts) - 1]
    file = root / artifacts.path(artifacts.PROBLEMS, task=task)
    if not file.is_file():
        return {}
    return {row["problem_id"]: row for row in _records(pd.read_parquet(file))}


def _answer(row: dict, keeper: str, problems: dict[str, dict]) -> Answer:
    problem = problems.get(row["problem_id"], {})
    question, target = shown(problem.get("prompt", "")), shown(problem.get("response", ""))
    return Answer(
        benchmark=keeper or benchmark(row),
        item=row["problem_id"],
        correct=float(row["correct"]),
        instance=row["instance_id"],
        unread=row["outcome"] == "no_answer",
        text=shown(row["text"]),
        question=question,
        target=target,
        document=question and shown([question, target]),
    )
