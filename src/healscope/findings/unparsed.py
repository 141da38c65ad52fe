"""How many answers do not even have the answer format, along SFT and after RL."""

import pandas as pd

from healscope.config import Statistics
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, N, interval
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, with_steps
from healscope.markdown import grid, level
from healscope.schema import TRACK, share, table
from healscope.tasks.schemas import RULE

BY = ["track", "stage", "step", "checkpoint", "rule"]


def unparsed(evaluations: list[str], statistics: Statistics) -> pd.DataFrame:
    """Share of first attempts on held-out problems that do not parse, by checkpoint and rule."""
    rows = with_steps(first_attempts(evaluations, ["parsed"]))
    rows = rows[rows["split"] == "held_out"]
    rows = rows.assign(unparsed=1.0 - rows["parsed"].astype(float))
    return summarise(rows, BY, statistics, "unparsed").rename(columns={"mean": "unparsed"})


def section(table: pd.DataFrame) -> str:
    """The last SFT step of each track, in a line for each rule."""
    whole = table[(table["seed"] == "all") & (table["stage"] == "sft")]
    last = whole[whole["step"] == whole.groupby("track")["step"].transform("max")]
    rows = last.to_dict("records")
    return grid(
        ["model", "checkpoint", "rule", "no format (%)"],
        [(r["track"], r["checkpoint"], r["rule"], level(r, "unparsed")) for r in rows],
    )


SCHEMA = table(
    "unparsed",
    "Share of one checkpoint's answers under one rule that do not have the answer format.",
    (
        TRACK,
        STAGE,
        STEP,
        CHECKPOINT,
        RULE,
        SEED,
        N,
        share("unparsed", "greedy first attempts at held-out problems without the format"),
        *interval(),
    ),
    "track", "checkpoint", "rule", "seed",
)  # fmt: skip

FINDING = Finding(
    name="unparsed",
    schema=SCHEMA,
    make=unparsed,
    inputs=lambda files: {"evaluations": files.evaluations(files.along)},
    target=lambda _: True,
    title="Answers without a format",
    section=section,
    order=8,
)
