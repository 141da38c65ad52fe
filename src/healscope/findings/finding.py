"""What a finding is: one question, the table that answers it, and where that is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import pandas as pd

from healscope import artifacts
from healscope.files import Files
from healscope.schema import Schema

Inputs = dict[str, list[str]]
"""Kind -> files. A kind is the name of a parameter of `Finding.make` or of `Finding.page`."""


@dataclass(frozen=True)
class Page:
    """A text that is made beside a table, for readers: `file`, written by `write`.

    `write` takes the table, the record of its provenance, and by name what else it uses of the
    inputs and of the study, as `Finding.make` does. `category` and `caption` are for the report.
    """

    file: str
    write: Callable[..., str]
    category: str
    caption: str


@dataclass(frozen=True)
class Finding:
    """A question that a study asks, and the table under results/tables that answers it.

    make: makes the table. It takes files by their kind (`inputs`), and values of the study by their
        name (`healscope.findings.VALUES`): a parameter is all it takes to get one.
    inputs: returns the files that the table is made from.
    asked: whether a study asks it; where not, there is no such table.
    target: whether a run without targets makes it, also where no figure shows it.
    per_stage: there is a table for each stage of edits: `name` has {stage} in it, and `inputs` and
        `make` take the stage.
    title, section: its section of a results page, written from the table.
    joint: whether that section is about all tracks together, and stands once.
    order: where this stands among the sections, and its claims among the claims.
    claims: functions from `claims.contrasts.Data` to claims (`claims.contrasts.row`).
    judge: makes further claims, from the same files as `make` and by the same rules. It returns
        rows of the table of claims before their correction, with their track.
    system: whether a study has it only if its `claims.systems` names it.
    lacking: returns what a study that names it lacks, or an empty text.
    claim_names: patterns of the names of these claims, which a config may declare as primary.
    page: a text that comes with the table.
    """

    name: str
    schema: Schema
    make: Callable[..., pd.DataFrame]
    inputs: Callable[..., Inputs]
    asked: Callable[[Files], bool] = lambda _: True
    target: Callable[[Files], bool] = lambda _: False
    per_stage: bool = False
    title: str = ""
    section: Callable[[pd.DataFrame], str] | None = None
    joint: bool = False
    order: float = 50
    claims: tuple[Callable, ...] = ()
    claim_names: tuple[str, ...] = ()
    judge: Callable[..., list[dict]] | None = None
    system: bool = False
    lacking: Callable[[Files], str] = lambda _: ""
    page: Page | None = None

    @property
    def file(self) -> str:
        return artifacts.path(artifacts.TABLE, table=self.name)

    def parameters(self) -> list[str]:
        """Return what `make` and the page's `write` take by name."""
        used = list(signature(self.make).parameters)
        if self.page:
            used += [p for p in signature(self.page.write).parameters if p not in GIVEN]
        return list(dict.fromkeys(used))


GIVEN = ("table", "record")
"""Parameters of `Page.write` that are neither files nor values of the study."""
