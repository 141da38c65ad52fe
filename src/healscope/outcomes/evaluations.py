"""Read the answers of a study's checkpoints: `results/evals/PROTOCOL/TRACK/seed-N/CHECKPOINT`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from healscope import artifacts
from healscope.outcomes.answers import Answer, shown


def is_evaluation(path: Path) -> bool:
    """Return whether a file has the name of a study's evaluation."""
    try:
        artifacts.parse(artifacts.EVALUATION, path.as_posix())
    except ValueError:
        return False
    return True


def read(path: Path) -> list[Answer]:
    """Return the first answers to the held-out problems of one task, those that the study's own
    tables count (`findings.rows.first_attempts`); none of a text, whose passages are neither right
    nor wrong.

    Benchmarks are the sets of the task, `id` and `ood` or the names of its OOD sets; of a keeper it
    is the keeper's name. An episode is one item. Questions are those of the study's table of
    problems, if it is there. Raises HealscopeError where the file is no evaluation.
    """
    from healscope.findings.rows import first_attempts  # pandas and the config take a while

    rows = first_attempts([path], ["parsed", "text"])
    asked = rows[(rows["split"] == "held_out") & rows["logprob"].isna()]
    problems = _problems(path)
    one_sided = asked["rule"].nunique() == 1
    return [_answer(row, task_of(path) if one_sided else "", problems) for row in _records(asked)]


def task_of(path: Path) -> str:
    """Return the task of an evaluation, by its path."""
    return artifacts.parse(artifacts.EVALUATION, path.as_posix())["task"]


def benchmark(row: Mapping[str, Any]) -> str:
    """Return the set that a problem of a two-sided task is of."""
    group = row.get("group")
    return group.partition("/")[0] if isinstance(group, str) and group else row["rule"]


def _records(table) -> Iterator[dict]:
    return iter(table.to_dict("records"))


def _problems(path: Path) -> dict[str, dict]:
    """Return the rows of the study's table of problems by the name of problem or episode (its
    first); empty if it is not there."""
    import pandas as pd

    root = path.parents[len(Path(artifacts.EVALUATION).parts) - 1]
    file = root / artifacts.path(artifacts.PROBLEMS, task=task_of(path))
    if not file.is_file():
        return {}
    table = pd.read_parquet(file)
    names = table["problem_id"]
    if "episode_id" in table:  # empty for a problem that is no step of an episode
        names = table["episode_id"].fillna(names)
    return dict(reversed(list(zip(names, _records(table), strict=True))))


def _answer(row: dict, keeper: str, problems: dict[str, dict]) -> Answer:
    problem = problems.get(row["problem_id"], {})
    question, target = shown(problem.get("prompt", "")), shown(problem.get("response", ""))
    return Answer(
        benchmark=keeper or benchmark(row),
        item=row["problem_id"],
        correct=float(row["correct"]),
        sample=str(row["draw"]),
        instance=row["instance_id"],
        unread=not row["parsed"] and not row["correct"],
        text=shown(row["text"]),
        question=question,
        target=target,
        document=question and shown([question, target]),
    )
