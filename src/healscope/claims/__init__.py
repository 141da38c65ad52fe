"""Claims, measured and judged: the table, and the text that a run ends with."""

from textwrap import fill

import pandas as pd

from healscope import gate, provenance
from healscope.claims import healing, paper, repair
from healscope.claims.contrasts import Data
from healscope.config import EXHAUSTIVE
from healscope.stats import POWER
from healscope.tables import Settings
from healscope.tables.rows import (
    attempts,
    branch_logs,
    first_attempts,
    trained_on,
    with_steps,
)
from healscope.tasks.tables import rules_differ

PARTS = (
    paper.phenomena,
    paper.forgetting,
    paper.composition,
    paper.steps,
    paper.loss,
    paper.window,
    paper.drawn_hands,
    paper.reversion,
    repair.sibling,
    repair.controls,
    repair.splices,
    repair.against_rl,
    healing.balanced_rewards,
    healing.entropy,
    healing.controls,
)


def measure(inputs: dict[str, list[str]], settings: Settings) -> pd.DataFrame:
    """All claims for every model, from evaluations (of all branches), training logs of branches,
    signal, edit, landmark and pool files."""
    files = {
        name: [f for f in inputs["evaluations"] if f"/{name}/" in f]
        for name in (EXHAUSTIVE, *settings.drawn)
    }
    judged = ["parsed", "follows_rule"]
    rows = with_steps(first_attempts(files[EXHAUSTIVE], judged, faceless=True))
    drawn = [with_steps(attempts(files[n], ["protocol", "feedback"])) for n in settings.drawn]
    edits = first_attempts(inputs["edits"], ["stage"])
    edits = edits.assign(variant=edits["stage"] + ":" + edits["variant"])
    logged = pd.concat([provenance.read_table(f) for f in inputs["signals"]], ignore_index=True)
    logs = branch_logs(inputs["logs"])
    marks = [provenance.read_json(f) for f in inputs["landmarks"]]
    found = []
    for model, own in rows.groupby("model"):
        differ, held_out = rules_differ(own), own["split"] == "held_out"
        data = Data(
            rows=own[differ & held_out],
            train_rows=trained_on(own[differ & ~held_out], inputs["pool"], settings.sft),
            faceless=own[held_out],
            drawn=[part[part["model"] == model] for part in drawn],
            edits=edits[edits["model"] == model],
            signals=logged[logged["model"] == model],
            logs=logs[logs["model"] == model],
            recipes=settings.recipes,
            landmarks={m["seed"]: m["landmarks"] for m in marks if m["model"] == model},
            stages=settings.stages,
            settings=settings.statistics,
        )
        for part in PARTS:
            found += [{"model": model, **row} for row in part(data)]
    return pd.DataFrame(found)


def text(claims: pd.DataFrame, answers: pd.DataFrame, record: dict) -> str:
    """The gate's answers and the claims as plain text, and what they were made from."""
    intro = (
        "Claims of arXiv 2509.12235, as measured in this study. Changes are in accuracy points "
        "(100 = all problems), on held-out problems unless said otherwise. Intervals count both "
        "instances (deals of cards, routes, matrices) and seeds, so with two seeds they are wide; "
        "'held in these seeds' says that every seed shows it by itself, yet they cannot speak for "
        "others. What is picked for being best is judged on the half of the instances that did not "
        "pick it, but for reversions, which start from one checkpoint. docs/statistics.md tells "
        "what the verdicts are worth."
    )
    lines = [fill(intro, 100), "", "Is there anything to explain?"]
    lines += [f"  {sentence}" for sentence in gate.sentences(answers)]
    lines.append("")
    for row in claims.to_dict("records"):
        seeds = ", ".join(f"{100 * v:+.1f}" for v in row["by_seed"])
        measured = (
            f"{100 * row['effect']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] "
            f"(by seed: {seeds}) {row['model']}"
        )
        detectable = (
            f"detectable: {100 * row['detectable']:.1f} points, with {POWER:.0%} power "
            f"({row['seeds']} seed{'s' if row['seeds'] > 1 else ''}, {row['deals']} instances)"
        )
        if pd.isna(row["effect"]):
            measured, detectable = "nothing to measure", ""
        lines += [
            f"[{row['verdict'].upper()}] {row['statement']}",
            f"    {measured}",
            fill(row["detail"], 100, initial_indent="    ", subsequent_indent="    "),
            *([f"    {detectable}"] if detectable else []),
            "",
        ]
    lines.append(f"{provenance.made_by(record)}; the metadata of claims.parquet say more.\n")
    return "\n".join(lines)
