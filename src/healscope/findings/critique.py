"""Whether a critique in words repairs what numbers and verdicts do not, and lifts RL by it.

RL that learns from answers after a critique is said to leave the plateau of RL with numbers alone
(arXiv 2506.03106; released code, whose critic reads the reference solution). A critique also shows
a part of the right answer. So it is held against as much of the answer shown without a word on the
error, against the critique of another problem, and against asking again. A repair is a right
second attempt at a problem of which all first answers were wrong. RL arms differ in what is said
before the second attempts that they learn from, and generate as many tokens.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import CRITIC, Statistics
from healscope.files import Files
from healscope.findings.columns import SEED, START, N, interval
from healscope.findings.contrasts import FLOOR, never_there, row
from healscope.findings.finding import Finding
from healscope.findings.hard_samples import contrast
from healscope.findings.rows import first_attempts, steps, summarise
from healscope.markdown import estimate, grid
from healscope.schema import TRACK, choice, share, table, text
from healscope.stats import Estimate
from healscope.tasks.schemas import RULE
from healscope.verdicts import every, positive

SAID = {
    "none": "asked again",
    "outcome": "told that it was wrong",
    "full": "told what is wrong with the numbers, or what the formula equals",
    "leak": "shown how a correct answer begins, as far as the wrong one does",
    "critique": "shown the same, and told which word is wrong behind it",
    "another": "told the critique of an answer to another problem",
}

GRPO = "grpo"
ARMS = {"start": "before RL", GRPO: "RL without second attempts"}

MEASURES = {
    "repair": "second attempts before RL that are right, of problems whose first answers were "
    "all wrong",
    "accuracy": "greedy first answers to held-out problems, after RL that learns from second "
    "attempts after the message",
}


def _tracks(files: Files) -> dict[str, list[str]]:
    """Return track -> its branches that learn from second attempts, and those beside them."""
    arms = files.study.rl.retry_arms() if files.study.rl else {}
    branches = {**dict.fromkeys(files.cards, files.study.branches), **files.beside}
    own = {t: [b for b in found if _recipe(b) in arms] for t, found in branches.items()}
    return {t: found for t, found in own.items() if any(arms[_recipe(b)] != GRPO for b in found)}


def _recipe(branch: str) -> str:
    return artifacts.parse_branch(branch)[0]


def _inputs(files: Files) -> dict[str, list[str]]:
    retries, evaluations = [], []
    for track, branches in _tracks(files).items():
        starts = list(dict.fromkeys(artifacts.sft(artifacts.parse_branch(b)[1]) for b in branches))
        retries += files.each(artifacts.EVALUATION, [track], protocol=CRITIC, checkpoint=starts)
        evaluations += files.evaluations([*starts, *branches], [track])
    return {"retries": retries, "evaluations": evaluations}


def _lacking(files: Files) -> str:
    if not _tracks(files):
        return "branches that learn from second attempts, as {like: ppo, off_policy: {}}"
    for branches in _tracks(files).values():
        if len({artifacts.parse_branch(b)[1] for b in branches}) > 1:
            return "one start for all branches of a track that learn from second attempts"
    if any(files.study.rl.recipes[n].token_budget is None for n in files.study.rl.retry_arms()):
        return "one token_budget for all recipes that are compared: second attempts cost tokens"
    critic = files.study.evaluation.protocols.get(CRITIC)
    if critic is None or not {"none", "leak", "critique", "another"} <= set(critic.feedback):
        return (
            "evaluation.protocols.critic: {problems: drawn, samples: 8, attempts: 2, feedback: "
            "[none, leak, critique, another]}"
        )
    return ""


def repairs(retries: list[str]) -> pd.DataFrame:
    """Return second attempts at problems of which all first answers, and samples, were wrong, none
    of them of the training side; column `said` has what was said in between."""
    rows = steps(retries, ["feedback"])
    rows = rows[rows["split"] == "held_out"]
    first = rows[rows["attempt"] == 1]
    place = ["track", "seed", "rule", "problem_id", "draw"]
    solved = first.groupby(place)["correct"].any().rename("solved").reset_index()
    second = rows[rows["attempt"] == 2].merge(solved, on=place)
    found = second[~second["solved"]].rename(columns={"feedback": "said"})
    return found.drop(columns=["solved", "episode_id"])


def accuracies(evaluations: list[str], arms: dict[str, str]) -> pd.DataFrame:
    """Return greedy answers to held-out problems; column `said` names the arm."""
    rows = first_attempts(evaluations, faceless=True)
    rows = rows[rows["split"] == "held_out"].reset_index(drop=True)
    named = {
        name: arms[_recipe(name)] if artifacts.stage_and_step(name)[0] == "rl" else "start"
        for name in rows["checkpoint"].unique()
    }
    return rows.assign(said=rows["checkpoint"].map(named))


def measure(
    retries: list[str], evaluations: list[str], retry_arms: dict[str, str], statistics: Statistics
) -> pd.DataFrame:
    """Return what each message repairs, and what RL makes of it."""
    found = []
    parts = {"repair": repairs(retries), "accuracy": accuracies(evaluations, retry_arms)}
    starts = {artifacts.stage_and_step(c)[1] for c in parts["repair"]["checkpoint"]}
    for name, rows in parts.items():
        made = summarise(rows, ["track", "said", "rule"], statistics)
        found.append(made.assign(measure=name, start=next(iter(starts))))
    return pd.concat(found, ignore_index=True).rename(columns={"mean": "share"})


# Claims.


def judge(
    retries: list[str], evaluations: list[str], retry_arms: dict[str, str], statistics: Statistics
) -> list[dict]:
    """Return the claims of each track."""
    second, after = repairs(retries), accuracies(evaluations, retry_arms)
    return [
        {"track": track, **claim}
        for track, own in after.groupby("track")
        for claim in claims_of(second[second["track"] == track], own, statistics)
    ]


def between(second: pd.DataFrame, one: str, other: str, statistics: Statistics) -> Estimate:
    """Return repairs after message `one` minus those after `other`, of the same wrong answers."""
    pair = (second[second["said"] == said].assign(attempt=1) for said in (other, one))
    return stats.change(*pair, statistics)


def claims_of(second: pd.DataFrame, after: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from what `repairs` and `accuracies` return."""
    second = second[second["rule"] == "id"]
    rates = second.groupby("said")["correct"].mean()
    told = ", ".join(f"{said} {rates[said]:.0%}" for said in SAID if said in rates)
    where = f"{second['problem_id'].nunique()} ID problems whose first answers were all wrong"
    found = []
    repaired = float(rates.get("critique", 0.0))
    for claim, than, statement in (
        ("critique-repairs", ["none"], "A critique repairs more than being asked again"),
        (
            "critique-repairs-beyond-its-leak",
            ["leak", "another"],
            "A critique repairs more than what it shows of the answer, and than that of another "
            "problem (arXiv 2506.03106)",
        ),
    ):
        if second.empty or not {"critique", *than} <= set(rates.index):
            continue
        e = [between(second, "critique", other, statistics) for other in than]
        most = max(float(rates[said]) for said in ("critique", *than))
        verdict = never_there(every(*map(positive, e)), most)
        detail = f"{where}; repaired: {told}; undecided where none repairs {FLOOR:.0%}"
        found.append(row(claim, statement, e[0], verdict, detail))
    names = dict(zip(after["said"], after["checkpoint"], strict=True))
    if {"critique", GRPO} <= set(names):
        known = after[after["rule"] == "id"]
        e = contrast(known, names[GRPO], names["critique"], statistics)
        shares = known.groupby("said")["correct"].mean()
        detail = "held-out ID problems; accuracy: " + ", ".join(
            f"{said} {share:.0%}" for said, share in shares.items()
        )
        verdict = never_there(positive(e), repaired)
        statement = (
            "RL that also learns from second answers after critiques ends above RL that does not, "
            "at as many tokens"
        )
        found.append(row("critique-adds-to-rl", statement, e, verdict, detail))
    return found


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    rows = [
        (r["measure"], r["rule"], r["said"], estimate(r, "share", ".1f"), r["n"])
        for r in whole.to_dict("records")
    ]
    return grid(["share of", "rule", "said, or arm", "%", "answers"], rows)


SCHEMA = table(
    "critique",
    "What a message after wrong answers repairs, and what RL that learns from it gains.",
    (
        TRACK,
        START,
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        text("said", "; ".join(f"{k}: {v}" for k, v in {**SAID, **ARMS}.items())),
        RULE,
        SEED,
        N,
        share("share", "of the measure"),
        *interval(),
    ),
    "track", "start", "measure", "said", "rule", "seed",
)  # fmt: skip

FINDING = Finding(
    name="critique",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and _tracks(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "critique-repairs",
        "critique-repairs-beyond-its-leak",
        "critique-adds-to-rl",
    ),
    order=38,
    title="Second attempts after a critique",
    section=section,
)
