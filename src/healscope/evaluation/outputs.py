"""Evaluates variants into the output files of a workflow job."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from healscope import artifacts, provenance
from healscope.config import Evaluation, Protocol
from healscope.engines import Process, evaluating
from healscope.evaluation import unfinished
from healscope.evaluation.evaluate import Target, evaluate
from healscope.models.variants import Variant
from healscope.tasks import build


@dataclass(frozen=True)
class Sections:
    """Plain config values that evaluations depend on, by name of protocol and task; `vllm` is None
    for engine hf, and `rules` where problems of both rules are asked."""

    evaluation: dict
    protocols: dict[str, dict]
    tasks: dict[str, dict]
    vllm: dict | None = None
    rules: list[str] | None = None


def variant_names(outputs: list[str]) -> list[str]:
    """Return the variants of a job's output files, each once, in order."""
    return list(dict.fromkeys(map(artifacts.variant, outputs)))


def evaluate_outputs(
    variants: list[Variant],
    sources: dict[str, dict],
    start: str,
    sections: Sections,
    problems: list[str],
    outputs: list[str],
    columns: dict,
    label: str,
    process: Process | None,
    keep: Callable[[pd.DataFrame], pd.Series] | None = None,
) -> None:
    """Evaluate variants into a job's output files, except those that are up to date.

    `sources`: variant -> {"inputs": files its weights come from, "config": what else makes it};
    `start` is the manifest of the skeleton. `problems` holds one file, and `outputs` one for each
    variant, for every protocol and task, tasks varying fastest. `keep` picks problems. A variant
    that failed has a file without rows. `process` is that of engine vllm; None: hf. What is written
    stands when a later variant fails (`healscope.evaluation.unfinished`).
    """
    wanted = targets(sources, sections, problems, outputs, columns)
    folder = unfinished.begin({t.file: t.record["fingerprint"] for t in wanted})
    staged = [replace(t, file=str(unfinished.staged(folder, t.file))) for t in wanted]
    _fill(staged, variants, start, sections, problems, label, process, keep)
    unfinished.publish(folder)


def _fill(
    wanted: list[Target],
    variants: list[Variant],
    start: str,
    sections: Sections,
    problems: list[str],
    label: str,
    process: Process | None,
    keep: Callable[[pd.DataFrame], pd.Series] | None,
) -> None:
    """Evaluate variants into targets, those that do not stand; arguments of `evaluate_outputs`."""
    failed = {v.name: v.failed for v in variants if v.failed}
    for target in (t for t in wanted if t.variant in failed and not t.stands()):
        provenance.write_table(target.file, target.schema.empty(), target.record, target.schema)
        print(f"healscope: {target.variant} is not evaluated, its run failed", file=sys.stderr)
    if len(failed) == len(variants):
        return
    settings = Evaluation.model_validate(sections.evaluation)
    files = iter(problems)
    precision = settings.precision
    with evaluating(start, settings.batch_size, process, precision) as (engine, tokenizer):
        for name, section in sections.protocols.items():
            tasks = {t: _read(t, s, next(files), keep) for t, s in sections.tasks.items()}
            evaluate(
                engine,
                tokenizer,
                variants,
                tasks,
                [t for t in wanted if t.columns["protocol"] == name],
                Protocol.model_validate(section),
                settings,
                f"{label}, {name}",
            )


def targets(
    sources: dict[str, dict],
    sections: Sections,
    problems: list[str],
    outputs: list[str],
    columns: dict,
) -> list[Target]:
    """One target for each protocol, variant and task, in the order of `outputs`."""
    found, files, lists = [], iter(outputs), iter(problems)
    hashes = provenance.hashes([*problems, *{f for s in sources.values() for f in s["inputs"]}])
    for protocol, settings in sections.protocols.items():
        posed = {task: next(lists) for task in sections.tasks}
        for variant, source in sources.items():
            for task, problem_file in posed.items():
                record = provenance.record(
                    {
                        **source["config"],
                        "evaluation": sections.evaluation,
                        "protocol": settings,
                        "task": sections.tasks[task],
                        **({"vllm": sections.vllm} if sections.vllm else {}),
                        **({"rules": list(sections.rules)} if sections.rules else {}),
                    },
                    {"sampling": settings["seed"]},
                    {f: hashes[f] for f in [*source["inputs"], problem_file]},
                )
                names = {**columns, "protocol": protocol, "checkpoint": variant, "task": task}
                found.append(Target(variant, task, next(files), record, names))
    return found


def _read(name: str, section: dict, file: str, keep: Callable | None) -> tuple:
    """(task, its problems)."""
    table = provenance.read_table(file)
    if keep:
        table = table[keep(table)].reset_index(drop=True)
    return build(name, section), table
