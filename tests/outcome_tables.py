"""Outcomes for tests: files of JSON lines, and benchmarks of known accuracy."""

import json
from pathlib import Path

import numpy as np

from healscope.outcomes.reading import Benchmark

FILES = Path(__file__).parent / "outcome_files"


def outcomes(path: Path, correct, group: str = "sums", **more) -> Path:
    """Add a line for each entry of `correct` to a file; `more`: key -> values."""
    with path.open("a") as file:
        for i, right in enumerate(correct):
            row = {"item": i, "group": group, "correct": right}
            row |= {key: values[i] for key, values in more.items()}
            file.write(json.dumps(row) + "\n")
    return path


def benchmark(name: str = "made", instances=None, **correct) -> Benchmark:
    """A benchmark whose models answered so."""
    correct = {model: np.asarray(values, float) for model, values in correct.items()}
    n = len(next(iter(correct.values())))
    instances = np.arange(n) if instances is None else np.asarray(instances)
    return Benchmark(
        name=name,
        items=[str(i) for i in range(n)],
        instances_I=instances,
        halves_I=instances % 2,
        correct=correct,
        unread=dict.fromkeys(correct),
        first={},
        prompts_differ=dict.fromkeys(correct, 0),
    )
