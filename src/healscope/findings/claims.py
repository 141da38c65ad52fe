"""Claims, measured and judged: the table, and the text that a run ends with."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from textwrap import fill

import pandas as pd

from healscope import artifacts, provenance, verdicts
from healscope.config import EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings import gate as gates
from healscope.findings.columns import effect, in_unit
from healscope.findings.contrasts import Data
from healscope.findings.finding import Finding, Page
from healscope.findings.keepers import answers_to
from healscope.findings.measures import CALLED
from healscope.findings.rows import attempts, branch_logs, first_attempts, trained_on, with_steps
from healscope.markdown import bullets, chance, estimate, grid, limits, percent, points
from healscope.schema import TRACK, UNITS, choice, number, share, table, text
from healscope.stats import POWER
from healscope.tasks.tables import rules_differ
from healscope.verdicts import FAILED, HELD


def measure(
    parts: Iterable[Callable[[Data], list[dict]]],
    evaluations: list[str],
    logs: list[str],
    signal_files: list[str],
    pools: list[str],
    edits: list[str],
    keeper_files: list[str],
    landmark_files: list[str],
    statistics: Statistics,
    sft: dict,
    drawn: list[str],
    recipes: dict[str, dict],
    stages: dict[str, dict[str, str]],
    primary: list[str],
    contrast: tuple[int, int] | None,
    compare: list[tuple[str, str]] = (),
    further: Iterable[dict] = (),
) -> pd.DataFrame:
    """Measure and judge all claims of every track, and correct the verdicts for their number.

    `parts` make the claims: those of all findings. `further` are claims that were judged from
    other files.
    """
    by_protocol = {
        name: [f for f in evaluations if _protocol(f) == name] for name in (EXHAUSTIVE, *drawn)
    }
    judged = ["parsed", "follows_rule"]
    rows = with_steps(first_attempts(by_protocol[EXHAUSTIVE], judged, faceless=True))
    hands = [with_steps(attempts(by_protocol[n], ["protocol", "feedback"])) for n in drawn]
    edited = first_attempts(edits, ["stage"])
    edited = edited.assign(checkpoint=edited["stage"] + ":" + edited["checkpoint"])
    logged = pd.concat([provenance.read_table(f) for f in signal_files], ignore_index=True)
    runs = branch_logs(logs)
    kept = answers_to(keeper_files) if keeper_files else None
    found_marks = [provenance.read_json(f) for f in landmark_files]
    found = []
    for model, own in rows.groupby("track"):
        differ, held_out = rules_differ(own), own["split"] == "held_out"
        data = Data(
            rows=own[differ & held_out],
            train_rows=trained_on(own[differ & ~held_out], pools, sft),
            faceless=own[held_out],
            drawn=[part[part["track"] == model] for part in hands],
            edits=edited[edited["track"] == model],
            signals=logged[logged["track"] == model],
            logs=runs[runs["track"] == model],
            recipes=recipes,
            landmarks={m["seed"]: m["landmarks"] for m in found_marks if m["track"] == model},
            stages=stages,
            settings=statistics,
            contrast=contrast,
            compare=tuple(map(tuple, compare)),
            keepers=None if kept is None else kept[kept["track"] == model],
        )
        for part in parts:
            found += [{"track": model, **claim} for claim in part(data)]
    return verdicts.corrected(pd.DataFrame([*found, *further]), primary, statistics.confidence)


def _protocol(file: str) -> str:
    return artifacts.parse(artifacts.EVALUATION, file)["protocol"]


_INTRO = (
    "Claims of arXiv 2509.12235, as measured in this study. Changes are in accuracy points (100 = "
    "all problems), on held-out problems unless said otherwise; of a text in nats per token. "
    "Intervals count both instances "
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


def in_words(
    claims: pd.DataFrame, answers: pd.DataFrame, record: dict, added: list[list[int]] = ()
) -> str:
    """Write the gate's answers and the claims as plain text, and what they were made from.

    `added`: the seeds that earlier claims of this study were made from, where they were others.
    """
    rate = 1 - record["config"]["statistics"]["confidence"]
    lines = [fill(_INTRO, 100), "", fill(_seeds(claims, rate, added), 100), ""]
    lines += ["Is there anything to explain?"]
    lines += [f"  {sentence}" for sentence in gates.sentences(answers)]
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
    """Return the seeds that earlier claims were made from, if others, and store these.

    `file` is a JSON list that outlives the claims themselves, which are made anew.
    """
    known = provenance.read_json(file) if Path(file).is_file() else []
    if seeds not in known:
        provenance.write_json(file, [*known, seeds])
    return [before for before in known if before != seeds]


def _seeds(claims: pd.DataFrame, rate: float, added: list[list[int]]) -> str:
    """Return what verdicts assume of seeds, and whether the study had others before."""
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
    """Return the lines about one claim."""
    lines = [f"[{row['verdict'].upper()}] {row['statement']}"]
    if pd.isna(row["effect"]):
        measured = ["nothing to measure"]
    else:
        seeds = ", ".join(points(x, row["unit"]) for x in row["by_seed"])
        alone = f", alone: {row['verdict_alone']}" if row["verdict_alone"] != row["verdict"] else ""
        measured = [
            f"{estimate(row)} (by seed: {seeds}) {row['track']}",
            f"p {chance(row['p'])}, adjusted {chance(row['p_adjusted'])}{alone}",
        ]
    lines += [f"    {line}" for line in measured]
    if row["verdict"] in (HELD, FAILED):
        lines.append(f"    assumes that other seeds vary around the mean of these {row['seeds']}")
    lines.append(fill(row["detail"], 100, initial_indent="    ", subsequent_indent="    "))
    if not pd.isna(row["effect"]):
        least = percent(row["detectable"], row["unit"])
        lines.append(
            f"    detectable: {least} {CALLED[row['unit']]}, with {POWER:.0%} power "
            f"({row['seeds']} seed{'s' if row['seeds'] > 1 else ''}, {row['instances']} instances)"
        )
    return [*lines, ""]


def section(table: pd.DataFrame) -> str:
    table = table.sort_values("family", key=lambda f: f != "primary", kind="stable")
    header = ["claim", "family", "verdict", "p", "adjusted", "effect", "interval", "by seed",
              f"detectable ({POWER:.0%})"]  # fmt: skip
    rows = [
        (r["statement"], r["family"], r["verdict"], chance(r["p"]),
         chance(r["p_adjusted"]), points(r["effect"], r["unit"]), limits(r),
         ", ".join(points(x, r["unit"]) for x in r["by_seed"]),
         percent(r["detectable"], r["unit"]))
        for r in table.to_dict("records")
    ]  # fmt: skip
    details = [f"*{r['statement']}*: {r['detail']}." for r in table.to_dict("records")]
    return grid(header, rows) + "\n\nDetails:\n\n" + bullets(details)


_spread = partial(number, unit="difference of shares", nullable=True)

SCHEMA = table(
    "claims",
    "One claim of the paper in one model: how large the effect is, and whether it held.",
    (
        TRACK,
        text("claim", "short name"),
        text("statement", "the claim, in a sentence"),
        choice("verdict", verdicts.VERDICTS, "by `verdicts`, corrected for their number"),
        choice("verdict_alone", verdicts.VERDICTS, "the same before the correction"),
        choice("family", ("primary", "other"), "what it is corrected with"),
        share("p", "two-sided p of the verdict; missing where nothing was measured", True),
        share("p_adjusted", "by Holm (primary) or Benjamini and Hochberg (other)", True),
        *in_unit(
            *effect("the change that decides; missing where nothing was left to ask", True),
            _spread("margin", "largest change that counts as none, or the limit"),
            _spread("sd_seeds", "standard deviation of true values between seeds"),
            _spread("sd_instances", "of instances, alike in all seeds"),
            _spread("sd_both", "of what an instance is like in one seed"),
            _spread("sd_answers", "of single answers"),
            units=UNITS,
        ),
        choice("rule", ("", *verdicts.RULES), "what is claimed of the effect; empty: of several"),
        text("detail", "what was compared, and numbers beside it"),
    ),
    "track", "claim",
)  # fmt: skip


def write_text(table: pd.DataFrame, record: dict, gate: list[str], seeds: list[int]) -> str:
    """Write the text from the table, and store the seeds that its claims were made from."""
    added = seeds_before(artifacts.CLAIMED_SEEDS, seeds)
    return in_words(table, provenance.read_table(gate[0]), record, added)


def _checkpoints(files: Files) -> list[str]:
    """Return all of SFT and all branches, and what the config compares with them."""
    compared = (name for pair in files.study.claims.compare for name in pair)
    return list(dict.fromkeys([*files.sft(), *files.study.branches, *compared]))


FINDING = Finding(
    name="claims",
    schema=SCHEMA,
    make=measure,
    inputs=lambda files: {
        "evaluations": [
            *files.evaluations(_checkpoints(files)),
            *files.under_other_protocols(),
        ],
        "logs": files.logs(files.study.branches),
        "signal_files": files.signals(),
        "pools": files.pools(),
        "edits": [f for stage in files.study.edits.stages for f in files.edits(stage)],
        "keeper_files": files.of_keepers(files.at_landmarks),
        "landmark_files": files.landmarks(),
        "gate": [artifacts.path(artifacts.TABLE, table="gate")],
    },
    asked=lambda files: files.trained,
    target=lambda _: True,
    order=0,
    title="Claims",
    section=section,
    page=Page(artifacts.CLAIMS_TEXT, write_text, "Claims", "claims.rst"),
)
