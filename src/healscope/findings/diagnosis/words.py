"""What sections of the page share: a model's numbers by name, and how numbers are written."""

from dataclasses import dataclass, field
from textwrap import fill

import pandas as pd

from healscope import artifacts
from healscope.findings.repair import STAGE
from healscope.verdicts import HERE, NO, YES

WIDTH = 100


@dataclass(frozen=True)
class Study:
    """What the page needs to know beside the numbers. `tasks`: model -> the task of its training;
    `given`: model -> checkpoint -> its source, of checkpoints that are not of our making; `alike`:
    model -> groups of these that hold the same weights; `resized`: model -> these whose
    vocabularies have other rows than they are read with, and the rows."""

    tasks: dict[str, str]
    given: dict[str, dict[str, str]]
    stages: dict[str, dict[str, str]]
    matrices: list[str]
    confidence: float
    alike: dict[str, list[list[str]]] = field(default_factory=dict)
    resized: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    name: str
    rows: pd.DataFrame
    landmarks: dict[int, dict]
    study: Study

    def one(self, part: str, name: str, rule: str = "ood", after: str = "") -> pd.Series | None:
        r = self.rows
        own = r[(r["part"] == part) & (r["name"] == name) & (r["rule"] == rule)]
        own = own[own["after"] == after] if after else own
        return own.iloc[0] if len(own) else None

    def all(self, part: str, name: str, rule: str = "ood") -> pd.DataFrame:
        r = self.rows
        return r[(r["part"] == part) & (r["name"] == name) & (r["rule"] == rule)]

    @property
    def task(self) -> str:
        return self.study.tasks[self.name]

    @property
    def end(self) -> str:
        return step(self.one("lost", "since")["after"])

    @property
    def peak(self) -> str:
        """The step that all problems pick."""
        steps = sorted({marks["maxood"]["step"] for marks in self.landmarks.values()})
        return "step " + " or ".join(map(str, steps))

    @property
    def picked(self) -> str:
        """The steps that other runs and instances pick, at which the peak is reported."""
        names = self.one("peak", "maxood")["after"].split(" or ")
        return "step " + " or ".join(name.rpartition("-")[2] for name in names)

    @property
    def margin(self) -> str:
        """What counts as no change."""
        return f"{100 * self.rows['margin'].iloc[0]:.1f} points"

    @property
    def runs(self) -> int:
        """How many training runs (seeds) there are."""
        return int(self.one("peak", "maxood")["seeds"])

    @property
    def others(self) -> str:
        """What picks for each run and half of the instances, in words."""
        return "other runs and instances" if self.runs > 1 else "the other instances"

    @property
    def lost(self) -> bool:
        """Whether a loss is established, on instances that did not pick the peak."""
        return self.one("lost", "since")["verdict"] in YES

    def ends(self) -> tuple[str, str, str]:
        """(seed, target, parent) of the edits, as names of checkpoints, of the first seed."""
        seed, marks = min(self.landmarks.items())
        points = self.study.stages[STAGE]
        names = [points[end] for end in ("target", "parent")]
        return str(seed), *(marks[n]["checkpoint"] if n in marks else n for n in names)


@dataclass(frozen=True)
class Section:
    """`lead`, its answer in a sentence, also stands on top of the page."""

    title: str
    lead: str
    body: list[str]


def paragraph(sentence: str) -> list[str]:
    return [fill(sentence, WIDTH, break_long_words=False, break_on_hyphens=False), ""]


def step(checkpoint: str) -> str:
    return f"step {artifacts.stage_and_step(checkpoint)[1]}" if "-" in checkpoint else checkpoint


def word(row) -> str:
    """Its verdict: what several seeds show, but cannot say of others, is told from the rest."""
    if row["verdict"] in NO:
        return "no change" if max(-row["low"], row["high"]) < row["margin"] else "not so"
    if row["verdict"] not in YES:
        return "undecided"
    return "in these seeds" if row["verdict"] == HERE and row["seeds"] > 1 else "established"
