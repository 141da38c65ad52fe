"""Verdicts of a stream of variants on fixed problems, under one protocol.

Each variant on each task has one output file; those that stand are left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from healscope import provenance
from healscope.config import Evaluation, Protocol
from healscope.evaluation.attempts import Asker, attempts
from healscope.models.variants import Variant, load_each
from healscope.progress import track
from healscope.tasks.generalpoints import GeneralPoints


@dataclass(frozen=True)
class Target:
    """One output file: a variant on a task, what it came from, and columns that name it."""

    variant: str
    task: str
    file: str
    record: dict
    columns: dict

    @property
    def schema(self) -> str:
        return "edit-evaluation" if "stage" in self.columns else "evaluation"

    def stands(self) -> bool:
        """Whether the file is there and came from exactly the same config and inputs."""
        stored = provenance.read_provenance(self.file)
        return stored is not None and stored["fingerprint"] == self.record["fingerprint"]


def evaluate(
    model,
    tokenizer,
    variants: Iterable[Variant],
    tasks: dict[str, tuple[GeneralPoints, pd.DataFrame]],
    targets: list[Target],
    protocol: Protocol,
    settings: Evaluation,
    label: str,
) -> None:
    """Evaluates the variants whose targets do not stand yet; writes each target as it is done.

    `model` is the skeleton whose weights are replaced in place, one variant after the other.
    """
    missing = [t for t in targets if not t.stands()]
    names = {t.variant for t in missing}
    wanted = [v for v in variants if v.name in names and not v.failed]
    for name in track(load_each(model, wanted), label, len(wanted)):
        for target in (t for t in missing if t.variant == name):
            task, problems = tasks[target.task]
            stream = provenance.fingerprint(target.columns)  # protocol, model, seed, variant, task
            ask = Asker(model, tokenizer, settings, protocol, stream)
            rows = attempts(ask, task, problems, protocol)
            rows = rows.assign(**target.columns)
            provenance.write_table(target.file, rows, target.record, target.schema)
