"""SFT beside its other arms: controls, and methods."""

import pandas as pd

from healscope import stats
from healscope.config import Statistics
from healscope.findings.columns import SEED, SFT_STEP, N, interval
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, with_steps
from healscope.markdown import at, grid
from healscope.schema import TRACK, change, choice, table, text
from healscope.tasks.schemas import RULE


def arms(evaluations: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return held-out accuracy along SFT of every arm (kind "level"), by rule (fig_arms,
    fig_methods).

    Kind "difference": another arm minus arm "sft", paired on the same problems.
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"].rename(columns={"stage": "arm"})
    by = ["track", "arm", "kind", "step", "rule"]
    out = [summarise(rows.assign(kind="level"), by, statistics)]
    for (model, step, rule), group in rows.groupby(["track", "step", "rule"]):
        main = group[group["arm"] == "sft"]
        for arm, control in group[group["arm"] != "sft"].groupby("arm"):
            at = {"track": model, "arm": arm, "kind": "difference", "step": step, "rule": rule}
            out.append(
                summarise(stats.paired(main, control).assign(**at), by, statistics, "change")
            )
    return pd.concat(out, ignore_index=True).rename(columns={"mean": "accuracy"})


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["arm", "kind", "rule", "step"])
    arms = ["sft", *table.loc[table["arm"] != "sft", "arm"].unique()]
    columns = [(kind, rule) for kind in ("level", "difference") for rule in ("id", "ood")]
    rows = [
        (arm, step,
         *(at(whole, (arm, kind, rule, step), form=".1f" if kind == "level" else "+.1f")
           for kind, rule in columns))
        for arm in arms
        for step in sorted(table["step"].unique())
    ]  # fmt: skip
    note = (
        "diverse: paraphrased prompts; solutions: any correct answer, drawn anew each epoch; the "
        "others: methods (rotation-aware.md).\n\n"
    )
    header = ["arm", "SFT step", "ID", "OOD", "ID, minus sft", "OOD, minus sft"]
    return note + grid(header, rows)


SCHEMA = table(
    "arms",
    "Held-out accuracy along one arm of SFT (level), or that of another arm minus that of "
    "arm sft on the same problems (difference).",
    (
        TRACK,
        text(
            "arm",
            "sft: one prompt and one answer a problem; controls: diverse, paraphrased prompts; "
            "solutions, any correct answer; or a method of the config",
        ),
        choice("kind", ("level", "difference"), "which of them"),
        SFT_STEP, RULE, SEED, N,
        change("accuracy", "greedy first attempts; below 0 only as a difference"),
        *interval(change),
    ),
    "track", "arm", "kind", "step", "rule", "seed",
)  # fmt: skip

FINDING = Finding(
    name="arms",
    schema=SCHEMA,
    make=arms,
    inputs=lambda files: {
        "evaluations": files.evaluations(
            [c for arm in ["sft", *files.study.sft.arms] for c in files.sft(arm)]
        )
    },
    asked=lambda files: files.trained,
    order=12,
    title="SFT beside its other arms",
    section=section,
)
