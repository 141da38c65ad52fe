"""Where the workflow and its configs are: beside the package in a checkout, inside it where it is
installed."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "shipped"

WORKFLOW = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parents[1]
SNAKEFILE = WORKFLOW / "Snakefile"
CONFIG = WORKFLOW / "config"
ENVIRONMENT = WORKFLOW / "envs/core.yaml"  # of conda; in a checkout alone
