"""Synthetic tables of a study on four tasks, with what was published beside."""

from pathlib import Path

import numpy as np
import pandas as pd

from healscope import published
from healscope.tasks import registry

FAMILIES = {"gp3": "generalpoints", "nav": "navigation", "rank": "rank", "det": "determinant"}
TRACKS = {
    "tiny" if name == "gp3" else f"tiny.{name}": {"model": "tiny", "task": name, "family": family}
    for name, family in FAMILIES.items()
}
SEEDS = (("0", -0.03), ("1", 0.01), ("2", 0.02), ("all", 0.0))
STEPS = (0, 3, 9, 21, 40, 59, 116, 192, 286, 400)
STARTS = (0, 21, 116, 400)
PEAKS = {"gp3": 0.33, "nav": 0.8, "rank": 0.55, "det": 0.2}
INSTANCES = {"gp3": 111, "nav": 60, "rank": 160, "det": 180}
OTHERS = {"rank": 400, "det": 400}  # where more instances are posed under the OOD rule


def _rows(task: str, value: float, width: float = 0.05, **place) -> list[dict]:
    posed = INSTANCES | (OTHERS if place["rule"] == "ood" else {})
    return [
        {"track": f"tiny.{task}", "model": "tiny", "task": task, "family": FAMILIES[task],
         **place, "seed": seed,
         "n": 4 * posed[task], "instances": posed[task],
         "accuracy": float(np.clip(value + shift, 0, 1)),
         "low": max(value - width, 0), "high": min(value + width, 1)}
        for seed, shift in SEEDS
    ]  # fmt: skip


def task_landmarks() -> pd.DataFrame:
    names = {"maxood": "sft-9, sft-21", "end": "sft-400", "rl": "ppo-from-400"}
    rows = []
    for task, peak in PEAKS.items():
        levels = {"id": (0.8, 1.1, 1.2), "ood": (1.0, 0.3, 0.6)}
        for rule, shares in levels.items():
            for (name, checkpoint), share in zip(names.items(), shares, strict=True):
                place = {"kind": "measured", "landmark": name, "rule": rule, "source": "",
                         "checkpoint": checkpoint}  # fmt: skip
                rows += _rows(task, peak * share, **place)
    measured = pd.DataFrame(rows)
    values = published.counts(published.read(Path(__file__).parents[1] / "config/published"))
    parts = [measured]
    for task, family in FAMILIES.items():
        own = values[values["figure"].isin(registry.published(family)[:1])]
        own = own.rename(columns={"stage": "landmark", "split": "rule", "value": "accuracy"})
        own = own.assign(
            track="", task=task, family=family, kind="published", seed="all", instances=own["n"]
        )
        parts.append(own.assign(checkpoint=None)[list(measured)])
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def task_curves() -> pd.DataFrame:
    rows = []
    for task, peak in PEAKS.items():
        for step in STEPS:
            rise = 1 - np.exp(-step / 6)
            levels = {"id": rise * peak * (0.8 + step / 1000),
                      "ood": rise * peak * (0.25 + 0.8 * np.exp(-step / 120))}  # fmt: skip
            for rule, level in levels.items():
                place = {"step": step, "rule": rule}
                rows += _rows(task, level, stage="sft", checkpoint=f"sft-{step}", **place)
                if step in STARTS:
                    more = 0.0 if step in (0, 400) else 0.25 * peak
                    name = f"ppo-from-{step}"
                    rows += _rows(task, level + more, stage="rl", checkpoint=name, **place)
    return pd.DataFrame(rows)
