"""Evaluates a stream of variants on fixed problems, under one protocol.

Each variant on each task has one output file; those that stand are left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from healscope import provenance
from healscope.config import Evaluation, Protocol
from healscope.engines import Engine
from healscope.evaluation.attempts import Asker, attempts, require_room
from healscope.evaluation.schemas import EDIT_EVALUATION, EVALUATION
from healscope.models.variants import Variant
from healscope.progress import track
from healscope.schema import Schema
from healscope.tasks.task import Task


@dataclass(frozen=True)
class Target:
    """An output file: a variant on a task, with its provenance and the columns that name it."""

    variant: str
    task: str
    file: str
    record: dict
    columns: dict

    @property
    def schema(self) -> Schema:
        return EDIT_EVALUATION if "stage" in self.columns else EVALUATION

    def stands(self) -> bool:
        """Return whether the file exists and came from the same config and inputs."""
        stored = provenance.read_provenance(self.file)
        return stored is not None and stored["fingerprint"] == self.record["fingerprint"]


def evaluate(
    engine: Engine,
    tokenizer,
    variants: Iterable[Variant],
    tasks: dict[str, tuple[Task, pd.DataFrame]],
    targets: list[Target],
    protocol: Protocol,
    settings: Evaluation,
    label: str,
) -> None:
    """Evaluate the variants whose targets are missing; write each target as soon as it is done.

    The engine takes the weights of one variant after the other, in place. A variant answers once
    for all names that its weights have.
    """
    missing = [t for t in targets if not t.stands()]
    names = {t.variant for t in missing}
    wanted = [v for v in variants if names & {v.name, *v.also} and not v.failed]
    if protocol.problems == "neighbours":  # of another length than the answers of training
        for task, problems in tasks.values():
            require_room(tokenizer, task, problems, settings)
    for variant in track(engine.each(wanted), label, len(wanted)):
        own = [t for t in missing if t.variant in (variant.name, *variant.also)]
        for name in dict.fromkeys(t.task for t in own):
            task, problems = tasks[name]
            here = [t for t in own if t.task == name]
            stream = provenance.fingerprint([*here[0].columns.values()])
            put = task.chat_template, task.reasoning
            ask = Asker(engine, tokenizer, settings, protocol, stream, *put)
            rows = attempts(ask, task, problems, protocol).assign(**variant.measured)
            for target in here:
                table = rows.assign(**target.columns)
                record = target.record | ({"engine": engine.facts} if engine.facts else {})
                provenance.write_table(target.file, table, record, target.schema)
