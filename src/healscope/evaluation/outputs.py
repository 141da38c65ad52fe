"""From a workflow job's inputs and outputs to what `evaluate` needs."""

from pathlib import Path

import pandas as pd

from healscope import provenance
from healscope.config import GeneralPointsTask
from healscope.evaluation.evaluate import Target
from healscope.tasks import build
from healscope.tasks.generalpoints import GeneralPoints


def variant_names(outputs: list[str]) -> list[str]:
    """The variants that a job's output files belong to, each once, in order."""
    return list(dict.fromkeys(Path(f).parent.name for f in outputs))


def targets(
    sources: dict[str, dict],
    tasks: list[str],
    problems: list[str],
    outputs: list[str],
    config: dict,
    columns: dict,
) -> list[Target]:
    """One target for each variant and task, in the order of `outputs` (tasks vary fastest).

    `sources`: variant -> {"inputs": files its weights come from, "config": what else makes it}.
    """
    found, files = [], iter(outputs)
    hashes = provenance.hashes([*problems, *{f for s in sources.values() for f in s["inputs"]}])
    for variant, source in sources.items():
        for task, problem_file in zip(tasks, problems, strict=True):
            record = provenance.record(
                {
                    **source["config"],
                    "evaluation": config["evaluation"],
                    "task": config["tasks"][task],
                },
                {"sampling": config["evaluation"]["seed"]},
                {f: hashes[f] for f in [*source["inputs"], problem_file]},
            )
            names = {**columns, "variant": variant, "task": task}
            found.append(Target(variant, task, next(files), record, names))
    return found


def read_tasks(
    settings: dict[str, dict], problems: list[str], splits: tuple[str, ...] = ("train", "held_out")
) -> dict[str, tuple[GeneralPoints, pd.DataFrame]]:
    """name -> (task, its problems of the given splits)."""
    found = {}
    for (name, section), file in zip(settings.items(), problems, strict=True):
        table = provenance.read_table(file)
        task = build(name, GeneralPointsTask.model_validate(section))
        found[name] = task, table[table["split"].isin(splits)].reset_index(drop=True)
    return found
