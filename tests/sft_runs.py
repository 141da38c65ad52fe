"""Runs of SFT and of its methods as the micro study can try them."""

import pandas as pd

from healscope import config
from healscope.config.training import Early
from healscope.models import checkpoints
from healscope.training import sft
from healscope.training.state import Workspace

LIKE: dict[str, dict] = {
    "rpsft": {"strength": 10.0},
    "rpsft_normalised": {"strength": 10.0},
    "rotation": {"strength": 10.0},
    "l2": {"strength": 10.0},
    "lora": {"rank": 2, "alpha": 4.0},
}
"""Changes of built-in methods, so that a dozen steps show what they do."""


ON_CARDS = [arm for arm in config.METHODS if arm not in Early.labels]
"""Built-in methods that the card game can be trained by."""


def with_methods(study, **given):
    """The study's SFT with these changes of its methods."""
    return config.SFT.model_validate(study.sft.model_dump() | {"methods": given})


def run(settings, base_manifest, tables, task, folder, arm="sft"):
    """(rows, weights of every checkpoint)."""
    work = Workspace(folder, "x")
    rows = sft.train(settings, arm, base_manifest, tables[1], tables[0], task, 20, 0, work, arm)
    weights = {
        step: checkpoints.load_file(work.staged(f"{arm}-{step}") / checkpoints.WEIGHTS)
        for step in settings.checkpoints
    }
    return pd.DataFrame(rows), weights
