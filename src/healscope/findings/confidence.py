"""Whether a Brier reward makes a stated confidence worth something, and what it costs.

Answers end with how sure the model is (`tasks.*.confidence`); SFT teaches the line with confidences
drawn at random. RL that is paid for right answers alone gives the word no gradient on average; RL
that is also paid `brier` is said to calibrate it without loss (RLCR, arXiv 2507.16806; released
code and result files). A model that always states its accuracy has no calibration error and knows
nothing, and a map fitted afterwards mends reliability for nothing, so these two are what the Brier
score has to beat.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings import calibration
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, N, interval
from healscope.findings.contrasts import FLOOR, never_there, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, with_steps
from healscope.findings.structured import as_read
from healscope.markdown import crossed
from healscope.schema import TRACK, Column, choice, table, text
from healscope.verdicts import negative, negligible

MEASURES = calibration.MEASURES | {
    "accuracy": "share of greedy answers that are right",
    "confidence": "mean confidence that answers state; of none, 0",
}
TERM, ALONE = "brier", "binary"
"""The reward that is asked about, and what is paid beside it and in the control."""


def arms(branches: list[str], recipes: dict[str, dict]) -> dict[str, str]:
    """Return branch paid with TERM -> the branch from the same start, by the same algorithm, that
    is paid ALONE."""
    facts = {b: recipes[artifacts.parse_branch(b)[0]] for b in branches}
    found = {}
    for one, about in facts.items():
        if f" {TERM}" not in f" {about['reward']}":
            continue
        for other, beside in facts.items():
            alike = about["algorithm"] == beside["algorithm"] and beside["reward"] == ALONE
            if alike and artifacts.parse_branch(one)[1] == artifacts.parse_branch(other)[1]:
                found.setdefault(one, other)
    return found


def _pairs(files: Files) -> dict[str, str]:
    return arms(files.study.branches, files.study.rl.facts()) if files.study.rl else {}


def _asked(files: Files) -> list[str]:
    """Return the tracks whose answers state a confidence."""
    return [t for t in files.cards if files.study.tasks[files.study.task_of(t)].confidence]


def _inputs(files: Files) -> dict[str, list[str]]:
    pairs = _pairs(files)
    starts = [artifacts.sft(artifacts.parse_branch(b)[1]) for b in pairs]
    names = list(dict.fromkeys([*starts, *pairs, *pairs.values()]))
    return {
        "evaluations": files.evaluations(names, _asked(files)),
        "posed": files.each(artifacts.POSED, _asked(files), protocol=EXHAUSTIVE),
    }


def _lacking(files: Files) -> str:
    if not _asked(files):
        return "a card game whose answers state a confidence (tasks.*.confidence: true)"
    if not _pairs(files):
        return (
            "a branch paid {binary: 0.5, brier: 0.5} and one paid {binary: 1.0}, by the same "
            "algorithm from the same start"
        )
    return ""


def read(evaluations: list[str], posed: list[str], tasks: dict[str, dict]) -> pd.DataFrame:
    """Return greedy answers to held-out ID problems with what `calibration.scored` adds.

    An answer that states no confidence is as sure as one that states 0, so it is paid as one.
    """
    rows = first_attempts(evaluations, ["text"])
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "id")].reset_index(drop=True)
    stated = {"stated": lambda task, problem, text: task.confidence_in(problem, text)}
    rows = as_read(rows, posed, tasks, **stated)
    sure = pd.to_numeric(rows["stated"]).astype(float)
    return calibration.scored(rows.assign(confidence=sure.fillna(0.0)))


def measure(
    evaluations: list[str], posed: list[str], tasks: dict[str, dict], statistics: Statistics
) -> pd.DataFrame:
    """Return accuracy, confidence and the Brier score with its parts, of every checkpoint."""
    answers = with_steps(read(evaluations, posed, tasks))
    return calibration.summary(answers, statistics).drop(columns="rule")


# Claims.


def judge(
    evaluations: list[str],
    posed: list[str],
    tasks: dict[str, dict],
    recipes: dict[str, dict],
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track about its first branch that is paid the Brier term."""
    answers = read(evaluations, posed, tasks)
    found = []
    for track, own in answers.groupby("track"):
        names = [name for name in own["checkpoint"].unique() if "-from-" in name]
        for paid, control in list(arms(names, recipes).items())[:1]:
            found += [
                {"track": track, **claim} for claim in claims_of(own, paid, control, statistics)
            ]
    return found


def claims_of(answers: pd.DataFrame, paid: str, control: str, statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from what `read` returns."""
    one, other = (answers[answers["checkpoint"] == name] for name in (paid, control))
    right = float(other["correct"].mean())
    said = {
        name: f"accuracy {100 * own['correct'].mean():.0f}%, confidence "
        f"{100 * own['confidence'].mean():.0f}%, Brier score {own['brier'].mean():.3f}"
        for name, own in ((control, other), (paid, one))
    }
    told = "; ".join(f"{name}: {words}" for name, words in said.items())
    told += f"; below {100 * FLOOR:.0f}% accuracy, or above {100 - 100 * FLOOR:.0f}%, there is "
    told += "nothing to tell apart"
    seen = min(right, 1 - right)

    def change(before: pd.DataFrame, column: str, after: str = "") -> stats.Estimate:
        pairs = (before.assign(value=before[column]), one.assign(value=one[after or column]))
        known = (part.dropna(subset=["value"]) for part in pairs)
        return stats.bootstrap(stats.paired(*known, "value"), "change", statistics)

    repaired, knows = change(other, "recalibrated", "brier"), change(one, "constant", "brier")
    accuracy = change(other.assign(accuracy=1.0 * other["correct"]), "accuracy")
    return [
        row(
            "brier-reward-beats-recalibration",
            "RL that is also paid the Brier score states confidences that are better than those of "
            "RL without, after a map fitted on other problems (arXiv 2507.16806)",
            repaired,
            never_there(negative(repaired), seen),
            told,
        ),
        row(
            "brier-reward-knows-which",
            "RL that is paid the Brier score knows which of its answers are right: it beats one "
            "confidence for all, its accuracy on other problems",
            knows,
            never_there(negative(knows), seen),
            told,
        ),
        row(
            "brier-reward-costs-no-accuracy",
            "RL that is also paid the Brier score is right as often as RL without",
            accuracy,
            negligible(accuracy),
            told,
        ),
    ]


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    return crossed(whole, "checkpoint", "measure", MEASURES, "value")


SCHEMA = table(
    "confidence",
    "How sure the answers of one checkpoint say they are, and how right that is.",
    (
        TRACK,
        STAGE,
        STEP,
        text("recipe", "recipe that made it; empty of SFT"),
        CHECKPOINT,
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        SEED,
        N,
        Column("value", "float", "of the measure", "share", low=-1, high=1, nullable=True),
        *interval(lambda name, about, nullable: Column(
            name, "float", about, "share", low=-1, high=1, nullable=nullable), nullable=True),
    ),
    "track", "checkpoint", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name="confidence",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and _asked(files) and _pairs(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "brier-reward-beats-recalibration",
        "brier-reward-knows-which",
        "brier-reward-costs-no-accuracy",
    ),
    order=37,
    title="Stated confidence",
    section=section,
)
