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
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, N
from healscope.findings.contrasts import FLOOR, never_there, rewards_alone, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, with_steps
from healscope.findings.structured import as_read
from healscope.markdown import crossed
from healscope.schema import TRACK, choice, table, text
from healscope.verdicts import every, negative, negligible

MEASURES = calibration.MEASURES | {
    "accuracy": "share of greedy answers that are right",
    "confidence": "mean confidence that answers state",
    "unstated": "share of answers that state none, which lose 1 in the Brier score",
}
TERM, ALONE = "brier", "binary"
"""The reward that is asked about, and what is paid beside it and in the control."""


def arms(branches: list[str], recipes: dict[str, dict]) -> dict[str, str]:
    """Return branch paid with TERM -> the branch from the same start that is paid ALONE; both
    differ from the main recipe in nothing but the reward."""
    found = {}
    for paid in rewards_alone(recipes, branches).values():
        control = next((branch for branch, reward in paid.items() if reward == ALONE), None)
        if control:
            found |= {branch: control for branch, reward in paid.items() if TERM in reward.split()}
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

    An answer without a stated confidence loses 1, since the reward pays it 0; a map could give it
    no other confidence than the one for all.
    """
    rows = first_attempts(evaluations, ["text"])
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "id")].reset_index(drop=True)
    said = {"confidence": lambda task, problem, text: task.confidence_in(problem, text)}
    rows = as_read(rows, posed, tasks, **said)
    return with_silent(rows.assign(confidence=pd.to_numeric(rows["confidence"]).astype(float)))


def with_silent(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `calibration.scored` of answers that state a confidence, and of the others."""
    silent = rows["confidence"].isna()
    every = calibration.scored(rows.assign(confidence=0.0))
    others = every[silent].assign(confidence=float("nan"), overconfidence=float("nan"), brier=1.0)
    others = others.assign(recalibrated=others["constant"])
    both = pd.concat([calibration.scored(rows[~silent]), others])
    both = both.assign(constant=every["constant"])
    return both.assign(unstated=both["confidence"].isna().astype(float)).sort_index()


def measure(
    evaluations: list[str], posed: list[str], tasks: dict[str, dict], statistics: Statistics
) -> pd.DataFrame:
    """Return accuracy, confidence and the Brier score with its parts, of every checkpoint."""
    answers = with_steps(read(evaluations, posed, tasks))
    return calibration.summary(answers, statistics, MEASURES).drop(columns="rule")


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
    """Return the claims of one track, from what `read` returns.

    Brier scores are compared after what one confidence for all would have in the same arm: it is
    p (1 - p), which falls where accuracy p leaves one half.
    """
    one, other = (answers[answers["checkpoint"] == name] for name in (paid, control))
    said = {
        name: f"accuracy {100 * own['correct'].mean():.0f}%, confidence "
        f"{100 * own['confidence'].mean():.0f}% (unstated {100 * own['unstated'].mean():.0f}%), "
        f"Brier score {own['brier'].mean():.3f}, of one for all {own['constant'].mean():.3f}"
        for name, own in ((control, other), (paid, one))
    }
    told = "; ".join(f"{name}: {words}" for name, words in said.items())
    told += f"; below {100 * FLOOR:.0f}% accuracy, or above {100 - 100 * FLOOR:.0f}%, there is "
    told += "nothing to tell apart"
    right = [float(own["correct"].mean()) for own in (one, other)]
    seen = min(min(share, 1 - share) for share in right)

    def change(before: pd.Series, after: pd.Series) -> stats.Estimate:
        parts = (other.assign(value=before), one.assign(value=after))
        known = (part.dropna(subset=["value"]) for part in parts)
        return stats.change(*known, statistics, "value")

    beyond = one["brier"] - one["constant"]
    repaired = change(other["recalibrated"] - other["constant"], beyond)
    knows = stats.bootstrap(
        one.assign(change=beyond).dropna(subset=["change"]), "change", statistics
    )
    accuracy = change(1.0 * other["correct"], 1.0 * one["correct"])
    return [
        row(
            "brier-reward-beats-recalibration",
            "RL that is also paid the Brier score states confidences that beat one for all, and by "
            "more than those of RL without do after a map fitted on other problems "
            "(arXiv 2507.16806)",
            repaired,
            never_there(every(negative(repaired), negative(knows)), seen),
            told,
        ),
        row(
            "brier-reward-knows-which",
            "After RL that is also paid the Brier score, stated confidence beats one for all, the "
            "accuracy on other problems",
            knows,
            never_there(negative(knows), seen),
            told,
        ),
        row(
            "brier-reward-costs-no-accuracy",
            "RL that is also paid the Brier score is right as often as RL without",
            accuracy,
            never_there(negligible(accuracy), right[1]),
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
        *calibration.VALUE,
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
