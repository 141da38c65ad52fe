"""Measurements over checkpoints that train nothing, a module each.

A module of this package is a measurement if it has a `SCHEMA`. It has

- `SCHEMA`: the columns of its table, whose files are `artifacts.probe(NAME)`;
- `TABLES`: kind -> pattern of the tables that it reads, beside checkpoints;
- `OF_OWN_SFT = True`, if it asks what SFT has read: given checkpoints do not say that;
- `reads(study)`: names of the checkpoints and landmarks that it reads;
- `settings(study, track)`: all other values that its table depends on;
- `cost(study)`: what a plan counts;
- `measure(inputs, settings, seed, label)`: its table, without track and seed.

The workflow imports all of them when it plans, so torch is imported within functions.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """What a measurement reads: name -> manifest of a checkpoint, and kind -> table."""

    checkpoints: dict[str, str]
    tables: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Cost:
    """What a measurement of one run costs: checkpoints loaded, sequences read by a model, and
    checkpoints decomposed."""

    loads: int
    sequences: int
    svds: int = 0


@cache
def measurements() -> dict[str, ModuleType]:
    """Return the module of every measurement by its name."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "SCHEMA")}
