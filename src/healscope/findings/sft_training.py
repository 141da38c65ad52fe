"""What was logged along SFT (fig2a, fig2b, fig8)."""

import pandas as pd

from healscope import provenance
from healscope.findings.columns import ONE_SEED
from healscope.findings.finding import Finding
from healscope.schema import table, text
from healscope.training.schemas import SFT_LOG_COLUMNS


def training(logs: list[str]) -> pd.DataFrame:
    """Return the rows of the logs of all seeds."""
    rows = pd.concat([provenance.read_table(f) for f in logs], ignore_index=True)
    rows = rows.drop(columns="penalty", errors="ignore")  # only methods have one
    return rows.assign(seed=rows["seed"].astype(str))


SCHEMA = table(
    "sft-training",
    "One measurement along SFT of one seed.",
    (*SFT_LOG_COLUMNS, ONE_SEED, text("run", "arm of SFT")),
    "track", "seed", "step",
)  # fmt: skip

FINDING = Finding(
    name="sft-training",
    schema=SCHEMA,
    make=training,
    inputs=lambda files: {"logs": files.logs(["sft"])},
    asked=lambda files: files.trained,
)
