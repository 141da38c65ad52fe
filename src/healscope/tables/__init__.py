"""Tidy tables: every figure is drawn from exactly one of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from healscope import gate, provenance
from healscope.config import Statistics
from healscope.tables import (
    accuracy,
    episodes,
    errors,
    factorial,
    hidden,
    neighbours,
    protocols,
    published,
    recipes,
    reversions,
    stopping,
    tasks,
    weights,
    window,
)

Inputs = dict[str, list[str]]


def training(files: list[str]) -> pd.DataFrame:
    """Everything logged along SFT, all seeds (fig2a, fig2b, fig8)."""
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    rows = rows.drop(columns="penalty", errors="ignore")  # only methods have one
    return rows.assign(seed=rows["seed"].astype(str))


@dataclass(frozen=True)
class Settings:
    """What tables need to know of the study beside the files they are made from."""

    statistics: Statistics
    sft: dict  # how many deals and examples SFT draws
    drawn: list[str]  # names of the protocols that draw hands
    recipes: dict[str, dict] = field(default_factory=dict)  # of `config.RL.facts`
    landmark: str = ""  # the branch behind the landmark `rl`
    stages: dict[str, dict[str, str]] = field(default_factory=dict)  # of edits: target and parent
    tracks: tasks.Tracks = field(default_factory=dict)  # of tables that hold all of them
    primary: list[str] = field(default_factory=list)  # claims that the study was made for
    contrast: tuple[int, int] | None = None  # SFT steps that are compared without a pick


# table -> how it is made from its input files, by kind
_MAKERS: dict[str, Callable[[Inputs, Settings], pd.DataFrame]] = {
    "landmarks": lambda i, s: accuracy.landmarks(i["evaluations"], i["landmarks"], s.statistics),
    "curves": lambda i, s: accuracy.curves(i["evaluations"], i["pool"], s.sft, s.statistics),
    "rl-window": lambda i, s: accuracy.rl_window(i["evaluations"], s.statistics),
    "rl-training": lambda i, s: recipes.training(i["logs"], s.recipes, s.landmark),
    "window": lambda i, s: window.window(i["evaluations"], i["logs"], s.statistics),
    "recipes": lambda i, s: recipes.recipes(i["evaluations"], i["logs"], s.recipes, s.statistics),
    "arms": lambda i, s: accuracy.arms(i["evaluations"], s.statistics),
    "sft-training": lambda i, _: training(i["training"]),
    "errors": lambda i, s: errors.errors(i["evaluations"], i["signals"], s.statistics),
    "factorial": lambda i, s: factorial.factorial_design(i["evaluations"], s.statistics),
    "protocols": lambda i, s: protocols.protocols(i["evaluations"], s.drawn, s.statistics),
    "episodes": lambda i, s: episodes.episodes(i["evaluations"], s.drawn, s.statistics),
    "neighbours": lambda i, s: neighbours.neighbours(
        i["evaluations"], i["landmarks"], s.statistics
    ),
    "exposure": lambda i, s: protocols.exposure(i["evaluations"], i["pool"], s.sft, s.drawn),
    "signals": lambda i, s: stopping.signals(i["evaluations"], i["signals"], i["pool"], s.sft),
    "stopping": lambda i, s: stopping.stopping(
        i["evaluations"], i["signals"], i["pool"], i["landmarks"], s.sft, s.statistics
    ),
    "published": lambda i, s: published.comparison(
        i["published"], i["evaluations"], i["landmarks"], s.drawn, s.statistics
    ),
    "repair": lambda i, s: reversions.repair(
        i["edits"], i["evaluations"], i["landmarks"], s.stages["sft"], s.statistics
    ),
    "task-landmarks": lambda i, s: tasks.landmarks(
        i["evaluations"], i["landmarks"], i["published"], s.tracks, s.statistics
    ),
    "task-curves": lambda i, s: tasks.curves(i["evaluations"], s.tracks, s.statistics),
    "gate": lambda i, s: gate.measure(i["evaluations"], i["landmarks"], s.statistics),
    "singular-values": lambda i, _: weights.singular_values(i["comparisons"]),
    "principal-angles": lambda i, _: weights.principal_angles(i["comparisons"]),
    "hidden-states": lambda i, _: hidden.hidden_states(i["states"]),
    "weight-updates": lambda i, _: weights.updates(i["comparisons"]),
}


def build(name: str, inputs: Inputs, settings: Settings) -> pd.DataFrame:
    """The table of that name."""
    if name.startswith("reversion-"):
        stage = name.removeprefix("reversion-")
        files = inputs["edits"], inputs["evaluations"], inputs["landmarks"]
        return reversions.reversion(*files, stage, settings.stages[stage], settings.statistics)
    return _MAKERS[name](inputs, settings)
