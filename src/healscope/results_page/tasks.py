"""Sections on several tasks: tables of a study as Markdown, each from one table."""

import pandas as pd

from healscope import artifacts
from healscope.claims import tasks
from healscope.markdown import estimate, grid
from healscope.tasks.cards.neighbours import KINDS


def claims(table: pd.DataFrame) -> str:
    """All tasks at a glance, then question by question."""
    lines = [tasks.INTRO, "", *tasks.at_a_glance(table, "claim")]
    for question in tasks.asked(table):
        lines += [f"**{tasks.QUESTIONS[question]}**", "", *tasks.intervals(table, question)]
    return "\n".join(lines).strip()


def landmarks(table: pd.DataFrame) -> str:
    own = table[table["seed"] == "all"]
    at = own.set_index(["task", "rule", "landmark"])
    rows = [
        (task, rule.upper(), *(_at(at, (task, rule, name)) for name in artifacts.LANDMARK_NAMES),
         int(own.loc[(own["task"] == task) & (own["rule"] == rule), "instances"].max()))
        for task in own["task"].unique()
        for rule in ("id", "ood")
    ]  # fmt: skip
    names = artifacts.LANDMARK_NAMES.values()
    return grid(["task", "rule", *names, "instances"], rows)


def curves(table: pd.DataFrame) -> str:
    """A column for each checkpoint: SFT by its step, RL by the step it starts from."""
    own = table[table["seed"] == "all"].sort_values(["stage", "step"], key=_sft_first)
    at = own.set_index(["task", "rule", "checkpoint"])
    checkpoints = list(dict.fromkeys(own["checkpoint"]))
    rows = [
        (task, rule.upper(), *(_at(at, (task, rule, name)) for name in checkpoints))
        for task in table["task"].unique()
        for rule in ("id", "ood")
    ]
    return grid(["task", "rule", *checkpoints], rows)


def episodes(table: pd.DataFrame) -> str:
    own = table[(table["seed"] == "all") & table["split"].isin(["held_out", "any"])]
    own = own[(own["split"] == "any") == own["protocol"].isin(_drawn(own))]
    own = own.sort_values(["protocol", "stage", "step"], key=_sft_first)
    at = own.set_index(["protocol", "checkpoint", "rule", "way", "measure"])
    measured = list(dict.fromkeys(zip(own["way"], own["measure"], strict=True)))
    rows = [
        (protocol, variant, rule.upper(),
         *(_at(at, (protocol, variant, rule, *m), "share") for m in measured))
        for protocol, variant in dict.fromkeys(zip(own["protocol"], own["checkpoint"], strict=True))
        for rule in ("id", "ood")
    ]  # fmt: skip
    head = [f"{measure}, {way}".replace("_", " ") for way, measure in measured]
    return grid(["protocol", "checkpoint", "rule", *head], rows)


def neighbours(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    levels = whole[whole["since"] == ""]
    keys = ["neighbour", "distance"]
    at = whole.set_index([*keys, "landmark", "since"])
    kinds = sorted(set(levels[keys].itertuples(index=False, name=None)), key=_place)
    points = [p for p in ("base", *artifacts.LANDMARK_NAMES) if p in set(levels["landmark"])]
    changes = [
        (before, after) for before, after in artifacts.STAGES.values()
        if ((whole["since"] == before) & (whole["landmark"] == after)).any()
    ]  # fmt: skip
    rows = [
        (kind, distance, *(_at(at, (kind, distance, p, "")) for p in points),
         *(_at(at, (kind, distance, after, before), form="+.1f") for before, after in changes))
        for kind, distance in kinds
    ]  # fmt: skip
    names = {"base": "Base", **artifacts.LANDMARK_NAMES}
    head = [*(names[p] for p in points), *(f"{names[b]} to {names[a]}" for b, a in changes)]
    return grid(["differs in", "distance", *head], rows)


def _place(neighbour: tuple[str, int]) -> tuple[int, int]:
    kind, distance = neighbour
    return list(KINDS).index(kind), distance


def _drawn(table: pd.DataFrame) -> set[str]:
    """Protocols that draw their problems: these alone have split "any"."""
    return set(table.loc[table["split"] == "any", "protocol"])


def _at(table: pd.DataFrame, key: tuple, column: str = "accuracy", form: str = ".1f") -> str:
    return estimate(table.loc[key], column, form) if key in table.index else "–"


def _sft_first(column: pd.Series) -> pd.Series:
    return column.map({"sft": 0, "rl": 1}) if column.name == "stage" else column
