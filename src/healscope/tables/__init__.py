"""Tidy tables: every figure is drawn from exactly one of them."""

from collections.abc import Callable

import pandas as pd

from healscope import gate, provenance
from healscope.config import Statistics
from healscope.tables import accuracy, errors, factorial, protocols, published, stopping, weights

Inputs = dict[str, list[str]]


def training(files: list[str]) -> pd.DataFrame:
    """Everything logged along SFT, all seeds (fig2a, fig2b, fig8)."""
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))


# table -> how it is made from its input files by kind, the statistics and the SFT settings
_MAKERS: dict[str, Callable[[Inputs, Statistics, dict], pd.DataFrame]] = {
    "landmarks": lambda i, s, _: accuracy.landmarks(i["evaluations"], i["landmarks"], s),
    "curves": lambda i, s, _: accuracy.curves(i["evaluations"], s),
    "rl-window": lambda i, s, _: accuracy.rl_window(i["evaluations"], s),
    "diversity": lambda i, s, _: accuracy.diversity(i["evaluations"], s),
    "sft-training": lambda i, _s, _: training(i["training"]),
    "errors": lambda i, s, _: errors.errors(i["evaluations"], i["signals"], s),
    "factorial": lambda i, s, _: factorial.factorial_design(i["evaluations"], s),
    "protocols": lambda i, s, _: protocols.protocols(i["evaluations"], s),
    "exposure": lambda i, _s, sft: protocols.exposure(i["evaluations"], i["pool"], sft),
    "signals": lambda i, _s, _: stopping.signals(i["evaluations"], i["signals"]),
    "stopping": lambda i, s, _: stopping.stopping(
        i["evaluations"], i["signals"], i["landmarks"], s
    ),
    "published": lambda i, s, _: published.comparison(
        i["published"], i["evaluations"], i["landmarks"], s
    ),
    "gate": lambda i, s, _: gate.measure(i["evaluations"], i["landmarks"], s),
    "singular-values": lambda i, _s, _: weights.singular_values(i["comparisons"]),
    "principal-angles": lambda i, _s, _: weights.principal_angles(i["comparisons"]),
    "hidden-states": lambda i, _s, _: weights.hidden_states(i["states"]),
}


def build(name: str, inputs: Inputs, settings: Statistics, sft: dict) -> pd.DataFrame:
    """The table of that name. `sft` holds how many deals and examples SFT draws."""
    if name.startswith("reversion-"):
        stage = name.split("-")[1]
        files = inputs["edits"], inputs["evaluations"], inputs["landmarks"]
        return accuracy.reversion(*files, stage, settings)
    return _MAKERS[name](inputs, settings, sft)
