"""Whether RL makes models surer than they are right, by how their samples agree.

A binary reward is said to ruin calibration (arXiv 2507.16806; released code and result files). A
model that says no confidence still has one: how many of its samples agree. The answer is the
commonest solution of one half of the samples, and its confidence the share of the *other* half that
state it, since the share of the same samples would be too high by being picked. Confidences are
shares of a few samples, so Murphy's decomposition of the Brier score over their values is exact:
Brier = reliability - resolution + uncertainty, without bins.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from healscope import artifacts, stats
from healscope.config import DEEP, EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, N, interval
from healscope.findings.contrasts import never_there, of_tracks, row
from healscope.findings.finding import Finding
from healscope.findings.rows import with_steps
from healscope.findings.structured import as_read, sampled, sampled_answers, samples
from healscope.markdown import crossed
from healscope.schema import TRACK, Column, choice, table, text
from healscope.tasks.schemas import RULE
from healscope.verdicts import every, negligible, positive

MEASURES = {
    "accuracy": "share of problems whose commonest solution is right",
    "confidence": "share of the other samples that state it",
    "overconfidence": "confidence minus accuracy",
    "brier": "mean squared difference of confidence and being right",
    "recalibrated": "the same after a map from confidence to accuracy, fitted on the other half of "
    "the problems",
    "constant": "the same of one confidence for all, the accuracy on the other half",
    "reliability": "of the Brier score, what a map of confidences could mend",
    "resolution": "of the Brier score, how far accuracies at different confidences differ",
    "uncertainty": "of the Brier score, what accuracy alone brings",
}

BINS = 5
"""Levels of confidence of the fitted map: as many problems as can be in each."""

_PLACE = ["track", "seed", "checkpoint", "rule", "problem_id", "draw", "instance_id", "half"]
_BY = ["track", "stage", "step", "recipe", "checkpoint", "rule"]


def _lacking(files: Files) -> str:
    if not files.rl:
        return "a branch of RL from End (landmarks.rl)"
    if sampled(files).samples < 4:
        return f"at least 4 samples, under protocol '{DEEP}' or '{EXHAUSTIVE}'"
    return ""


def read(evaluations: list[str], posed: list[str], tasks: dict[str, dict]) -> pd.DataFrame:
    """Return every sampled answer with the name of its solution."""
    said = {"solution": lambda task, problem, text: task.solution(problem, text)}
    return as_read(samples(evaluations), posed, tasks, **said)


def votes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each problem of each checkpoint: whether its answer is right (`correct`),
    and how many of the other samples state it (`confidence`).

    The answer is the commonest solution of the first half of the samples; of equals the first by
    name. Answers without a solution agree with nothing. Problems without a solution in that half
    have no answer, which is wrong with confidence 0.
    """
    half = rows["sample"] <= rows["sample"].max() // 2
    named = rows[half & rows["solution"].notna()]
    counted = named.groupby([*_PLACE, "solution"]).agg(
        n=("correct", "size"), right=("correct", "max")
    )
    counted = counted.reset_index().sort_values(["n", "solution"], ascending=[False, True])
    answer = counted.drop_duplicates(_PLACE)[[*_PLACE, "solution", "right"]]
    others = rows[~half].groupby(_PLACE)["solution"].agg(list).rename("others").reset_index()
    both = others.merge(answer, on=_PLACE, how="left")
    stated = [
        np.mean([o == s for o in other]) if isinstance(s, str) else 0.0
        for other, s in zip(both["others"], both["solution"], strict=True)
    ]
    right = both["right"].fillna(False).astype(bool)
    return both[_PLACE].assign(confidence=stated, correct=right, sample=0, retried=True)


def scored(answers: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of MEASURES that each problem has by itself."""
    right = answers["correct"].astype(float)
    fitted, constant = _from_the_other_half(answers)
    return answers.assign(
        accuracy=right,
        overconfidence=answers["confidence"] - right,
        brier=(answers["confidence"] - right) ** 2,
        recalibrated=(fitted - right) ** 2,
        constant=(constant - right) ** 2,
    )


def _from_the_other_half(answers: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the accuracy of the other half of the problems: at as much confidence, and of all."""
    fitted, constant = (pd.Series(np.nan, answers.index) for _ in range(2))
    for _, own in answers.groupby(["track", "seed", "checkpoint", "rule"]):
        for half, other in (("a", "b"), ("b", "a")):
            here, there = own[own["half"] == half], own[own["half"] == other]
            if here.empty or there.empty:
                continue
            constant[here.index] = there["correct"].mean()
            edges = np.unique(np.quantile(there["confidence"], np.linspace(0, 1, BINS + 1)[1:-1]))
            levels = np.searchsorted(edges, there["confidence"], side="right")
            means = pd.Series(there["correct"].to_numpy(float)).groupby(levels).mean()
            at = np.searchsorted(edges, here["confidence"], side="right")
            fitted[here.index] = [means.get(level, there["correct"].mean()) for level in at]
    return fitted, constant


def murphy(confidence: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Split the Brier score over the values of confidence (Murphy 1973): reliability, resolution
    and uncertainty. Brier is exactly reliability - resolution + uncertainty. Answers without a
    confidence do not count; NaN where none has one."""
    known = ~np.isnan(confidence)
    confidence, right = confidence[known], right[known]
    if not len(right):
        return dict.fromkeys(("reliability", "resolution", "uncertainty"), float("nan"))
    values, which = np.unique(confidence, return_inverse=True)
    n = np.bincount(which)
    accuracy, base = np.bincount(which, right) / n, right.mean()
    return {
        "reliability": float((n * (values - accuracy) ** 2).sum() / n.sum()),
        "resolution": float((n * (accuracy - base) ** 2).sum() / n.sum()),
        "uncertainty": float(base * (1 - base)),
    }


def measure(
    evaluations: list[str], posed: list[str], tasks: dict[str, dict], statistics: Statistics
) -> pd.DataFrame:
    """Return confidence and calibration of every checkpoint.

    The parts of the Brier score have no interval: of all seeds, they are the mean of the seeds'.
    """
    return summary(with_steps(scored(votes(read(evaluations, posed, tasks)))), statistics)


def summary(
    answers: pd.DataFrame, statistics: Statistics, measures: Iterable[str] = MEASURES
) -> pd.DataFrame:
    """Return the table of measures of what `scored` returns, with steps; the parts of the Brier
    score are those of answers that have a confidence."""
    out = []
    for key, own in answers.groupby(_BY):
        place = dict(zip(_BY, key, strict=True))
        parts = {
            str(seed): murphy(part["confidence"].to_numpy(), part["correct"].to_numpy(float))
            for seed, part in own.groupby("seed")
        }
        parts["all"] = dict(pd.DataFrame(parts).mean(axis=1))
        for seed, split in parts.items():
            part = own if seed == "all" else own[own["seed"].astype(str) == seed]
            known = {**place, "seed": seed, "n": len(part)}
            for name in measures:
                if name in split:
                    out.append({**known, "measure": name, "value": split[name]})
                    continue
                known_rows = part.assign(change=part[name]).dropna(subset=["change"])
                e = stats.bootstrap(known_rows, "change", statistics)
                out.append(
                    {**known, "measure": name, "value": e.value, "low": e.low, "high": e.high}
                )
    return pd.DataFrame(out)


# Claims.


def judge(
    evaluations: list[str],
    posed: list[str],
    tasks: dict[str, dict],
    landmark: str | None,
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track, from the start of landmark rl to it, on ID problems."""
    if landmark is None:
        return []
    start = artifacts.sft(artifacts.parse_branch(landmark)[1])
    rows = read(evaluations, posed, tasks)
    rows = rows[(rows["rule"] == "id") & rows["checkpoint"].isin([start, landmark])]
    answers = scored(votes(rows))
    return of_tracks(answers, claims_of, start, landmark, statistics)


def claims_of(answers: pd.DataFrame, start: str, end: str, statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from what `scored` returns."""
    before, after = (answers[answers["checkpoint"] == name] for name in (start, end))
    found = {}
    for name in ("overconfidence", "brier", "recalibrated"):
        known = (part.dropna(subset=[name]) for part in (before, after))
        found[name] = stats.change(*known, statistics, name)
    told = ", ".join(
        f"{name} {100 * before[name].mean():.0f} to {100 * after[name].mean():.0f}%"
        for name in ("accuracy", "confidence")
    )
    right = float(before["accuracy"].mean())  # below FLOOR, any confidence is too much
    told = f"{start} to {end}, held-out ID problems, confidence by agreement of samples; {told}"
    # samples that scatter agree less than their commonest solution is right: a rise from there to
    # accuracy is no overconfidence
    level = stats.bootstrap(after.assign(change=after["overconfidence"]), "change", statistics)
    above = f"{100 * level.value:+.1f} points [{100 * level.low:+.1f}, {100 * level.high:+.1f}]"
    return [
        row(
            "rl-makes-samples-agree-too-much",
            "RL that is paid by the verifier makes confidence rise, and above accuracy "
            "(arXiv 2507.16806)",
            found["overconfidence"],
            never_there(every(positive(found["overconfidence"]), positive(level)), right),
            f"{told}; confidence minus accuracy after RL: {above}",
        ),
        row(
            "rl-worsens-the-brier-score",
            "RL that is paid by the verifier worsens the Brier score",
            found["brier"],
            never_there(positive(found["brier"]), right),
            told,
        ),
        row(
            "recalibration-mends-what-rl-changes",
            "With a map of confidences fitted on other problems, RL changes the Brier score by "
            "nothing",
            found["recalibrated"],
            negligible(found["recalibrated"]),
            f"{told}; a map mends reliability, never resolution",
        ),
    ]


def section(table: pd.DataFrame) -> str:
    whole = table[(table["seed"] == "all") & (table["rule"] == "id")]
    return crossed(whole, "checkpoint", "measure", MEASURES, "value")


VALUE = (
    Column("value", "float", "of the measure", "share", low=-1, high=1, nullable=True),
    *interval(
        lambda name, about, nullable: Column(
            name, "float", about, "share", low=-1, high=1, nullable=nullable
        ),
        nullable=True,
    ),
)
"""Value and interval of one of MEASURES."""

SCHEMA = table(
    "calibration",
    "How sure one checkpoint is, by the agreement of its samples, and how right that is.",
    (
        TRACK,
        STAGE,
        STEP,
        text("recipe", "recipe that made it; empty of SFT"),
        CHECKPOINT,
        RULE,
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        SEED,
        N,
        *VALUE,
    ),
    "track", "checkpoint", "rule", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name="calibration",
    schema=SCHEMA,
    make=measure,
    inputs=lambda files: sampled_answers(files, files.at_landmarks),
    asked=lambda files: bool(files.trained and files.rl),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "rl-makes-samples-agree-too-much",
        "rl-worsens-the-brier-score",
        "recalibration-mends-what-rl-changes",
    ),
    order=36,
    title="Calibration by agreement",
    section=section,
)
