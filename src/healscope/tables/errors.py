"""Where answers go wrong along training: format, number line, numbers of the formula, arithmetic.

The paper explains why OOD loss and OOD accuracy part by a "number" step that forgets the rule and a
"formula" step that still improves (arXiv 2509.12235, appendix D.1).
"""

import pandas as pd

from healscope import provenance
from healscope.config import Statistics
from healscope.tables.rows import first_attempts, summarise, with_steps
from healscope.tasks.cards.verifier import FIRST_ERRORS, first_errors

JUDGED = ["outcome", "parsed", "follows_rule", "uses_numbers"]
BY = ["track", "stage", "step", "rule", "kind", "name"]

# step -> (what must be right already, what is asked)
STEPS = {
    "format": (lambda r: r["parsed"].notna(), lambda r: r["parsed"]),
    "number step": (lambda r: r["parsed"], lambda r: r["follows_rule"]),
    "formula step": (lambda r: r["parsed"] & r["follows_rule"], lambda r: r["correct"]),
}


def errors(evaluations: list[str], signals: list[str], settings: Statistics) -> pd.DataFrame:
    """Along SFT and after RL, on held-out deals, ID and OOD. Kinds of rows:

    - "first error": share of answers whose first fault is this one ("none": correct);
    - "success": share that masters a step among those that mastered the steps before;
    - "loss": nats a token of the reference answer's number and formula steps (SFT only; the
      interval is the range of the seeds).
    """
    rows = with_steps(first_attempts(evaluations, JUDGED))
    rows = rows[(rows["split"] == "held_out") & rows["stage"].isin(["sft", "rl"])]
    rows = rows.assign(first_error=first_errors(rows))
    parts = [
        rows.assign(kind="first error", name=name, value=1.0 * (rows["first_error"] == name))
        for name in FIRST_ERRORS
    ]
    for name, (before, asked) in STEPS.items():
        reached = rows[before(rows)]
        parts.append(reached.assign(kind="success", name=name, value=asked(reached).astype(float)))
    shares = pd.concat([summarise(part, BY, settings, "value") for part in parts])
    losses = [_losses(signals)] if signals else []  # given checkpoints have none
    table = pd.concat([shares, *losses], ignore_index=True)
    return table.rename(columns={"mean": "value"})


def _losses(files: list[str]) -> pd.DataFrame:
    logged = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    parts = []
    for rule in ("id", "ood"):
        for step in ("number", "formula"):
            parts.append(
                logged[["track", "seed", "step"]].assign(
                    stage="sft", rule=rule, kind="loss", name=f"{step} step",
                    mean=logged[f"{rule}_{step}_step_loss_nats"],
                )
            )  # fmt: skip
    single = pd.concat(parts, ignore_index=True)
    whole = single.groupby(BY, as_index=False)["mean"].agg(["mean", "min", "max"])
    whole = whole.rename(columns={"min": "low", "max": "high"}).assign(seed="all")
    single = single.assign(seed=single["seed"].astype(str), low=single["mean"], high=single["mean"])
    return pd.concat([whole, single], ignore_index=True).assign(n=0)
