"""Which way of teaching a rule by a text that tells it teaches the rule, and what else it costs.

RLAG is said to teach knowledge better than SFT on the same answers, and more coherently (arXiv
2509.20162; released code, results unread). Every way starts from one checkpoint, which reads the
text but does not know the rule that its name stands for, and reads as many tokens; SFT also takes
as many steps, since it learns from fewer tokens a step than RLAG. How coherent an answer is needs
no judge here: the formula of a right one follows a number line that obeys the rule, or it does not.
A model that is told false values by the rule's name should learn these: if accuracy under the true
rule rises as well, the text taught nothing.
"""

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import SEED, START, N, interval
from healscope.findings.contrasts import FLOOR, never_there, of_tracks, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise
from healscope.markdown import grid, level
from healscope.schema import TRACK, choice, count, share, table
from healscope.stats import Estimate
from healscope.tasks.cards.contexts import FALSE, KNOWLEDGE
from healscope.verdicts import at_most, every, negative, negligible, positive

START_ARM, TOLD_ARM = "the start", "the start, after the text"
WAYS = {
    ("rlag", KNOWLEDGE, "bare"): "RLAG",
    ("rlag", KNOWLEDGE, "text"): "RLAG as released",
    ("told_sft", KNOWLEDGE, "tokens"): "SFT on the same answers",
    ("told_sft", KNOWLEDGE, "steps"): "SFT in RLAG's steps",
    ("told_dpo", KNOWLEDGE, "tokens"): "DPO on the same pairs",
    ("told_text", KNOWLEDGE, "tokens"): "pretraining on the text",
    ("rlag", FALSE, "bare"): "RLAG, false text",
    ("told_sft", FALSE, "tokens"): "SFT, false text",
}
"""(algorithm, what the text tells, whether chosen answers are learned after it or in what it is
RLAG's equal) -> the way; others are no part of this."""
RLAG, RELEASED, SFT, SFT_IN_STEPS, DPO, TEXT, FALSE_RLAG, FALSE_SFT = WAYS.values()

MEASURES = {
    "the rule": "accuracy on held-out hands under the rule that is taught, by its name alone",
    "coherent": "of these answers that are right, the share whose number line obeys the rule",
    "other rules": "accuracy on held-out hands under the ID rule, which nobody teaches here",
}


def branches(files: Files) -> dict[str, list[str]]:
    """Return track -> branches that teach a rule by a text."""
    facts = files.study.rl.taught_facts() if files.study.rl else {}
    taught = {recipe for recipe, way in facts.items() if tuple(way) in WAYS}
    found = {
        track: [b for b in names if artifacts.parse_branch(b)[0] in taught]
        for track, names in files.beside.items()
    }
    return {track: names for track, names in found.items() if names}


def _starts(names: list[str]) -> list[str]:
    return list(dict.fromkeys(artifacts.sft(artifacts.parse_branch(b)[1]) for b in names))


def told_protocols(files: Files) -> list[str]:
    """Return the protocols that ask after texts."""
    protocols = files.study.evaluation.protocols.items()
    return [name for name, p in protocols if p.problems == "contexts"]


def _inputs(files: Files) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"evaluations": [], "told": [], "logs": []}
    for track, names in branches(files).items():
        starts = _starts(names)
        found["evaluations"] += files.evaluations([*starts, *names], of=[track])
        found["told"] += files.each(
            artifacts.EVALUATION, [track], protocol=told_protocols(files)[:1], checkpoint=starts
        )
        found["logs"] += files.each(artifacts.TRAINING, [track], run=names)
    return found


def _lacking(files: Files) -> str:
    found = branches(files)
    if not found:
        return (
            "a track with branches that teach a rule by a text, as rl.branches_of: {reader.named: "
            "{rlag: [0], told_sft: [0]}}"
        )
    if any(len(_starts(names)) > 1 for names in found.values()):
        return "these branches to have one start"
    if not told_protocols(files):
        return "a protocol, as evaluation.protocols.told: {problems: contexts}"
    return ""


def read(
    evaluations: list[str], told: list[str], logs: list[str], taught: dict[str, list[str]]
) -> pd.DataFrame:
    """Return greedy answers to held-out hands with the way that taught the model (`way`), whether
    they are right and obey the rule (`coherent`), and the tokens that the way has read.

    `taught`: recipe -> what WAYS is told by.
    """
    rows = first_attempts(evaluations, ["follows_rule"])
    rows = rows[rows["split"] == "held_out"]
    ways = {}
    for name in rows["checkpoint"].unique():
        recipe = artifacts.parse_branch(name)[0] if "-from-" in name else ""
        ways[name] = WAYS[tuple(taught[recipe])] if recipe else START_ARM
    rows = rows.assign(way=rows["checkpoint"].map(ways))
    after = first_attempts(told, ["follows_rule", "neighbour"])
    after = after[after["neighbour"] == KNOWLEDGE].assign(way=TOLD_ARM)
    rows = pd.concat([rows, after], ignore_index=True)
    read_by = pd.concat([provenance.read_table(f) for f in logs], ignore_index=True)
    spent = read_by.groupby(["track", "seed", "run"])["trained_tokens"].sum()
    keys = zip(rows["track"], rows["seed"], rows["checkpoint"], strict=True)
    obeys = rows["follows_rule"].fillna(False).astype(bool)
    return rows.assign(
        tokens=[int(spent.get(key, 0)) for key in keys],
        right=rows["correct"].astype(float),
        coherent=obeys.astype(float),
    )


def measure(
    evaluations: list[str],
    told: list[str],
    logs: list[str],
    taught: dict[str, list[str]],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return accuracy and coherence of each way of teaching."""
    rows = read(evaluations, told, logs, taught)
    rule, other = rows[rows["rule"] == "ood"], rows[rows["rule"] == "id"]
    parts = []
    for name, own, column in (
        ("the rule", rule, "correct"),
        ("coherent", rule[rule["correct"]], "coherent"),
        ("other rules", other, "correct"),
    ):
        if len(own):
            parts.append(summarise(own, ["track", "way"], statistics, column).assign(measure=name))
    found = pd.concat(parts, ignore_index=True).rename(columns={"mean": "value"})
    order = [START_ARM, TOLD_ARM, *WAYS.values()]
    found = found.sort_values("way", key=lambda ways: ways.map(order.index), kind="stable")
    spent = rows.groupby(["track", "way"])["tokens"].max()
    branch = rows[rows["checkpoint"].str.contains("-from-")]
    starts = {
        track: artifacts.parse_branch(name)[1]
        for track, name in zip(branch["track"], branch["checkpoint"], strict=True)
    }
    return found.assign(
        start=found["track"].map(starts),
        trained_tokens=[spent[key] for key in zip(found["track"], found["way"], strict=True)],
    )


# Claims.

_TEACHES = (
    (
        "rlag-teaches-more-than-sft",
        "RLAG teaches the rule better than SFT on the same answers, at one rate and on as many "
        "tokens (arXiv 2509.20162)",
        RLAG,
        SFT,
    ),
    (
        "rlag-teaches-more-than-sft-in-its-steps",
        "RLAG teaches the rule better than SFT on the same answers, at one rate and in as many "
        "steps",
        RLAG,
        SFT_IN_STEPS,
    ),
    (
        "released-rlag-teaches-more-than-sft",
        "RLAG whose chosen answers are learned after the text, as released, teaches the rule "
        "better than SFT on the same answers",
        RELEASED,
        SFT,
    ),
    (
        "rlag-teaches-more-than-dpo",
        "RLAG teaches the rule better than DPO on the same pairs",
        RLAG,
        DPO,
    ),
    (
        "rlag-teaches-more-than-its-text",
        "RLAG teaches the rule better than pretraining on its text",
        RLAG,
        TEXT,
    ),
)


def judge(
    evaluations: list[str],
    told: list[str],
    logs: list[str],
    taught: dict[str, list[str]],
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track."""
    rows = read(evaluations, told, logs, taught)
    return of_tracks(rows, claims_of, statistics)


def claims_of(rows: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from what `read` returns."""
    rule = rows[rows["rule"] == "ood"]
    had = rule.groupby("way")["right"].mean()
    reads = float(had.get(TOLD_ARM, 0.0))
    seen = ", ".join(f"{way} {100 * had[way]:.0f}%" for way in had.index)
    never = f"; below {100 * FLOOR:.0f}% there is nothing to compare"
    found = []

    def there(*ways: str) -> float:
        """Return the share of right answers that a claim can be about."""
        return min(reads, max(had[way] for way in ways))

    for claim, statement, way, other in _TEACHES:
        if {way, other} <= set(had.index):
            e = _contrast(rule, other, way, statistics)
            verdict = never_there(positive(e), there(way, other))
            found.append(row(claim, statement, e, verdict, f"right: {seen}{never}"))
    if {RLAG, SFT} <= set(had.index):
        e = coherence(rule, RLAG, SFT, statistics)
        found.append(
            row(
                "rlag-is-more-coherent-than-sft",
                "Of hands that RLAG and SFT both have right, more answers of RLAG follow a number "
                "line that obeys the rule",
                e,
                never_there(positive(e), min(reads, had[RLAG], had[SFT])),
                f"on hands that both have right; right: {seen}{never} in either",
            )
        )
    for claim, way, text_of in (
        ("rlag-forgets-no-other-rule", RLAG, "RLAG"),
        ("sft-on-told-answers-forgets-no-other-rule", SFT, "SFT on the same answers"),
    ):
        if way in set(had.index):
            other = rows[rows["rule"] == "id"]
            e = _contrast(other, START_ARM, way, statistics)
            before = float(other.loc[other["way"] == START_ARM, "right"].mean())
            found.append(
                row(
                    claim,
                    f"{text_of} leaves accuracy under another rule as it is",
                    e,
                    never_there(negligible(e), before),
                    f"ID rule, {100 * before:.0f}% before; the rule: {seen}",
                )
            )
    for claim, way, false in (
        ("rlag-learns-what-it-is-told", RLAG, FALSE_RLAG),
        ("sft-learns-what-it-is-told", SFT, FALSE_SFT),
    ):
        if {way, false} <= set(had.index):
            e = _contrast(rule, way, false, statistics)
            since = _contrast(rule, START_ARM, false, statistics)
            found.append(
                row(
                    claim,
                    f"{way} with a false text is right less often than with the true one, and no "
                    "more often than before",
                    e,
                    never_there(every(negative(e), at_most(since)), there(way)),
                    f"under the true rule; right: {seen}{never}",
                )
            )
    return found


def _contrast(rows: pd.DataFrame, one: str, other: str, statistics: Statistics) -> Estimate:
    """Return accuracy of the second way minus that of the first, on the same hands."""
    pair = (rows[rows["way"] == way] for way in (one, other))
    return stats.change(*pair, statistics)


def coherence(rows: pd.DataFrame, one: str, other: str, statistics: Statistics) -> Estimate:
    """Return the share of answers of way `one` whose number line obeys the rule, minus that of way
    `other`, on hands that both have right."""
    pair = [rows[(rows["way"] == way) & rows["right"].astype(bool)] for way in (other, one)]
    return stats.change(*pair, statistics, "coherent")


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    placed = {(r["way"], r["measure"]): level(r, "value") for r in whole.to_dict("records")}
    tokens = dict(zip(whole["way"], whole["trained_tokens"], strict=True))
    lines = [
        (way, *(placed.get((way, name), "–") for name in MEASURES), f"{tokens[way] / 1000:.0f}")
        for way in (START_ARM, TOLD_ARM, *WAYS.values())
        if way in tokens
    ]
    return grid(["taught by", *(f"{name} (%)" for name in MEASURES), "tokens read (k)"], lines)


SCHEMA = table(
    "knowledge",
    "What a way of teaching a rule by a text that tells it has taught, and left of another rule.",
    (
        TRACK,
        choice("way", (START_ARM, TOLD_ARM, *WAYS.values()), "what taught the model, or told it"),
        START,
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        SEED,
        N,
        share("value", "of the measure"),
        *interval(),
        count("trained_tokens", "tokens that it has learned from, at most of a seed", "tokens"),
    ),
    "track", "way", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name="knowledge",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and branches(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "(released-)?rlag-teaches-more-than-(sft|dpo|its-text)",
        "rlag-teaches-more-than-sft-in-its-steps",
        "rlag-is-more-coherent-than-sft",
        "(rlag|sft-on-told-answers)-forgets-no-other-rule",
        "(rlag|sft)-learns-what-it-is-told",
    ),
    order=37,
    title="Teaching a rule by a text",
    section=section,
)
