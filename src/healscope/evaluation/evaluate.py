"""Verdicts of a stream of variants on fixed problems, under one protocol.

Each variant on each task has one output file; those that stand are left alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch

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
    start: Mapping[str, torch.Tensor],
) -> None:
    """Evaluates the variants whose targets do not stand yet; writes each target as it is done.

    `model` is the skeleton whose weights are replaced in place, one variant after the other;
    `start` those that it came with. A variant answers once for all names that its weights have.
    """
    missing = [t for t in targets if not t.stands()]
    names = {t.variant for t in missing}
    wanted = [v for v in variants if names & {v.name, *v.also} and not v.failed]
    for variant in track(load_each(model, wanted, start), label, len(wanted)):
        own = [t for t in missing if t.variant in (variant.name, *variant.also)]
        for name in dict.fromkeys(t.task for t in own):
            task, problems = tasks[name]
            here = [t for t in own if t.task == name]
            # protocol, model, seed, variant, task
            stream = provenance.fingerprint(here[0].columns)
            ask = Asker(model, tokenizer, settings, protocol, stream)
            rows = attempts(ask, task, problems, protocol).assign(**variant.measured)
            for target in here:
                table = rows.assign(**target.columns)
                provenance.write_table(target.file, table, target.record, target.schema)
