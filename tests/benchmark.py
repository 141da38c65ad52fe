"""Loads a script of benchmarks/ as a module, so that tests and benchmarks draw the same worlds."""

import importlib.util
import sys
from types import ModuleType

from runner import ROOT


def load(name: str) -> ModuleType:
    """The module of `benchmarks/NAME.py`, under a name that no package has."""
    spec = importlib.util.spec_from_file_location(
        f"{name}_benchmark", ROOT / "benchmarks" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(ROOT / "benchmarks"))  # as for a script: one imports another
    spec.loader.exec_module(module)
    return module
