"""Claims, measured and judged: the table, and the text that a run ends with."""

from pathlib import Path
from textwrap import fill

import pandas as pd

from healscope import artifacts, gate, provenance, verdicts
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
from healscope.verdicts import FAILED, HELD

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
        name: [f for f in inputs["evaluations"] if _protocol(f) == name]
        for name in (EXHAUSTIVE, *settings.drawn)
    }
    judged = ["parsed", "follows_rule"]
    rows = with_steps(first_attempts(files[EXHAUSTIVE], judged, faceless=True))
    drawn = [with_steps(attempts(files[n], ["protocol", "feedback"])) for n in settings.drawn]
    edits = first_attempts(inputs["edits"], ["stage"])
    edits = edits.assign(checkpoint=edits["stage"] + ":" + edits["checkpoint"])
    logged = pd.concat([provenance.read_table(f) for f in inputs["signals"]], ignore_index=True)
    logs = branch_logs(inputs["logs"])
    marks = [provenance.read_json(f) for f in inputs["landmarks"]]
    found = []
    for model, own in rows.groupby("track"):
        differ, held_out = rules_differ(own), own["split"] == "held_out"
        data = Data(
            rows=own[differ & held_out],
            train_rows=trained_on(own[differ & ~held_out], inputs["pool"], settings.sft),
            faceless=own[held_out],
            drawn=[part[part["track"] == model] for part in drawn],
            edits=edits[edits["track"] == model],
            signals=logged[logged["track"] == model],
            logs=logs[logs["track"] == model],
            recipes=settings.recipes,
            landmarks={m["seed"]: m["landmarks"] for m in marks if m["track"] == model},
            stages=settings.stages,
            settings=settings.statistics,
            contrast=settings.contrast,
        )
        for part in PARTS:
            found += [{"track": model, **row} for row in part(data)]
    table = pd.DataFrame(found)
    return verdicts.corrected(table, settings.primary, settings.statistics.confidence)


def _protocol(file: str) -> str:
    return artifacts.parse(artifacts.EVALUATION, file)["protocol"]


_INTRO = (
    "Claims of arXiv 2509.12235, as measured in this study. Changes are in accuracy points (100 = "
    "all problems), on held-out problems unless said otherwise. Intervals count both instances "
    "(sets of card values, routes, matrices) and seeds. What is picked for being best is judged on "
    "other seeds and the other half of the instances, except for edits, which start from one "
    "checkpoint of each seed. 'Seen in each of these seeds' describes the models that were trained "
    "and is no evidence about others. docs/statistics.md says what each verdict is worth."
)
_FAMILIES = {
    "primary": "Primary claims, declared in the config (claims.primary); p adjusted by Holm's "
    "method, so that the chance of any wrong verdict among them is at most {rate:.0%}",
    "other": "Other claims; p adjusted by the method of Benjamini and Hochberg, so that at most "
    "{rate:.0%} of those judged are expected to be wrong",
}


def text(
    claims: pd.DataFrame, answers: pd.DataFrame, record: dict, added: list[list[int]] = ()
) -> str:
    """Writes the gate's answers and the claims as plain text, and what they were made from.

    `added`: the seeds that earlier claims of this study were made from, where they were others.
    """
    rate = 1 - record["config"]["statistics"]["confidence"]
    lines = [fill(_INTRO, 100), "", fill(_seeds(claims, rate, added), 100), ""]
    lines += ["Is there anything to explain?"]
    lines += [f"  {sentence}" for sentence in gate.sentences(answers)]
    for family, about in _FAMILIES.items():
        own = claims[claims["family"] == family]
        if len(own):
            lines += ["", fill(about.format(rate=rate) + ".", 100), ""]
            lines += [line for row in own.to_dict("records") for line in _lines(row)]
    unmade = ", ".join(sorted(set(record["config"]["primary"]) - set(claims["claim"])))
    if unmade:
        lines += [f"Declared as primary, but this study has nothing to judge: {unmade}", ""]
    lines.append("")
    lines.append(f"{provenance.made_by(record)}; the metadata of claims.parquet say more.\n")
    return "\n".join(lines)


def seeds_before(file: str, seeds: list[int]) -> list[list[int]]:
    """Returns the seeds that earlier claims were made from, if others, and stores these.

    `file` is a JSON list that outlives the claims themselves, which are made anew.
    """
    known = provenance.read_json(file) if Path(file).is_file() else []
    if seeds not in known:
        provenance.write_json(file, [*known, seeds])
    return [before for before in known if before != seeds]


def _seeds(claims: pd.DataFrame, rate: float, added: list[list[int]]) -> str:
    """What verdicts assume of seeds, and whether the study had others before."""
    seeds = int(claims["seeds"].max())
    if seeds < 2:
        said = "There is one seed: every verdict speaks of this one training run alone."
    else:
        # a kind of seed so common would be among those drawn with a chance of 1 - rate
        missed = 1 - rate ** (1 / seeds)
        said = (
            f"'Held' and 'did not hold' assume that other seeds vary around the mean of these "
            f"{seeds}. A kind of seed that behaves otherwise in up to {missed:.0%} of runs may not "
            "have been drawn."
        )
    if added:
        before = "; ".join(", ".join(map(str, seeds)) for seeds in added)
        said += (
            f" In this folder claims had been made before, from seeds {before}: where seeds were "
            "added after a look at them, p and intervals are too favourable."
        )
    return said


def _lines(row: dict) -> list[str]:
    """The lines about one claim."""
    lines = [f"[{row['verdict'].upper()}] {row['statement']}"]
    if pd.isna(row["effect"]):
        measured = ["nothing to measure"]
    else:
        seeds = ", ".join(f"{100 * v:+.1f}" for v in row["by_seed"])
        alone = f", alone: {row['verdict_alone']}" if row["verdict_alone"] != row["verdict"] else ""
        measured = [
            f"{100 * row['effect']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] "
            f"(by seed: {seeds}) {row['track']}",
            f"p {_p(row['p'])}, adjusted {_p(row['p_adjusted'])}{alone}",
        ]
    lines += [f"    {line}" for line in measured]
    if row["verdict"] in (HELD, FAILED):
        lines.append(f"    assumes that other seeds vary around the mean of these {row['seeds']}")
    lines.append(fill(row["detail"], 100, initial_indent="    ", subsequent_indent="    "))
    if not pd.isna(row["effect"]):
        lines.append(
            f"    detectable: {100 * row['detectable']:.1f} points, with {POWER:.0%} power "
            f"({row['seeds']} seed{'s' if row['seeds'] > 1 else ''}, {row['instances']} instances)"
        )
    return [*lines, ""]


def _p(p: float) -> str:
    if pd.isna(p):
        return "unknown"
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"
