"""Where the workflow and its configs are: beside the package in a checkout, inside it where it is
installed."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "shipped"
_ROOT = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parents[1]

SNAKEFILE = _ROOT / "workflow/Snakefile"
CONFIG = _ROOT / "config"
PROFILE = _ROOT / "profiles/default"  # of Snakemake
WORKFLOW = ["--snakefile", str(SNAKEFILE), "--workflow-profile", str(PROFILE)]  # for Snakemake
ENVIRONMENT = _ROOT / "envs/core.yaml"  # of conda; in a checkout alone
