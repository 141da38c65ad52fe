"""From a workflow job's inputs and outputs to what `evaluate` needs."""

from pathlib import Path

import pandas as pd

from healscope import provenance
from healscope.config import Evaluation, GeneralPointsTask
from healscope.evaluation.evaluate import Target, evaluate
from healscope.models import checkpoints
from healscope.models.variants import Variant
from healscope.tasks import build
from healscope.tasks.generalpoints import GeneralPoints


def variant_names(outputs: list[str]) -> list[str]:
    """The variants that a job's output files belong to, each once, in order."""
    return list(dict.fromkeys(Path(f).parent.name for f in outputs))


def evaluate_outputs(
    variants: list[Variant],
    sources: dict[str, dict],
    start: str,
    config: dict,
    problems: list[str],
    outputs: list[str],
    columns: dict,
    label: str,
    splits: tuple[str, ...] = ("train", "held_out"),
) -> None:
    """Evaluates variants into a job's output files, those that do not stand yet.

    `start` is the manifest of the skeleton, `config` holds the sections `evaluation` and `tasks`;
    `sources` as in `targets`, `splits` as in `read_tasks`.
    """
    wanted = targets(sources, list(config["tasks"]), problems, outputs, config, columns)
    model, tokenizer = checkpoints.load_model(start)
    tasks = read_tasks(config["tasks"], problems, splits)
    settings = Evaluation.model_validate(config["evaluation"])
    evaluate(model, tokenizer, variants, tasks, wanted, settings, label)


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
    settings: dict[str, dict], problems: list[str], splits: tuple[str, ...]
) -> dict[str, tuple[GeneralPoints, pd.DataFrame]]:
    """name -> (task, its problems of the given splits)."""
    found = {}
    for (name, section), file in zip(settings.items(), problems, strict=True):
        table = provenance.read_table(file)
        task = build(name, GeneralPointsTask.model_validate(section))
        found[name] = task, table[table["split"].isin(splits)].reset_index(drop=True)
    return found
