"""What RL breaks under each reward: outcomes by rewards, where nothing but the reward differs.

The papers that `docs/what-breaks.md` goes through each blame RL for something. Here one algorithm
runs from one start under several rewards, and each of them is asked what it changes in all of these
outcomes. That rewards differ is then a claim with a null: the best and the worst reward for an
outcome are picked on other seeds and the other half of the problems, so that between rewards which
all do the same the difference is 0 on average.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings import confidence, faithfulness, hard_samples
from healscope.findings.columns import SEED, START, N, interval
from healscope.findings.contrasts import never_there, of_tracks, rewards_alone, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise
from healscope.findings.structured import as_read
from healscope.findings.without_one import HANDS, protocols
from healscope.markdown import at, grid
from healscope.schema import TRACK, change, choice, table, text
from healscope.tasks.cards.neighbours import WITHOUT_ONE
from healscope.verdicts import Verdict, every, negative, positive

OUTCOMES = {
    "id": "held-out ID problems that are right",
    "ood": "held-out OOD problems that are right",
    "a card less": "held-out hands with a card less that are right",
    "easy": "held-out ID problems that are right, of those that other seeds solve before RL",
    "follows": "formulas that use the numbers of a number line by the other rule, of problems that "
    "are right before RL",
    "one formula": "answers that state the commonest formula of the checkpoint's answers to other "
    "problems, whatever the cards",
    "miscalibration": "squared error of stated confidence, minus that of one confidence for all",
}
"""Name of an outcome -> what it is the share of; all greedy and of held-out problems."""

WORSE_UP = ("one formula", "miscalibration")
"""Outcomes of which more is worse."""

RIGHT = {"verdict", "binary", "canonical", "brier"}
"""Terms of rewards that pay most for a right answer; others pay what need not be right."""


def _inputs(files: Files) -> dict[str, list[str]]:
    start = artifacts.sft(artifacts.parse_branch(files.rl[0])[1])
    names = [start, *files.study.rewards_alone]
    less = files.each(
        artifacts.EVALUATION, files.cards, protocol=protocols(files)[:1], checkpoint=names
    )
    return {
        "evaluations": files.evaluations(names, files.cards),
        "posed": files.each(artifacts.POSED, files.cards, protocol=EXHAUSTIVE),
        "less": less,
        "probes": files.each(artifacts.probe("interventions"), files.cards),
    }


def _lacking(files: Files) -> str:
    if not files.cards:
        return "models trained on the card game"
    if len(files.study.rewards_alone) < 3:
        return (
            "at least two recipes that differ from the main one in their reward alone, as {like: "
            "ppo, reward: {binary: 1.0}}, from the start of landmark rl"
        )
    if not files.study.evaluation.protocols[EXHAUSTIVE].samples:
        return "samples of protocol exhaustive, which say which held-out problems are easy"
    return ""


def read(
    evaluations: list[str],
    posed: list[str],
    less: list[str],
    probes: list[str],
    tasks: dict[str, dict],
) -> pd.DataFrame:
    """Return a row for each answer and outcome, with its `value`."""
    greedy = first_attempts(evaluations, ["text"])
    greedy = greedy[greedy["split"] == "held_out"].reset_index(drop=True)
    said = {
        "solution": lambda task, problem, text: task.solution(problem, text),
        "confidence": lambda task, problem, text: task.confidence_in(problem, text),
    }
    greedy = as_read(greedy, posed, tasks, **said)
    stated = pd.to_numeric(greedy["confidence"]).astype(float)
    greedy = greedy.assign(confidence=stated, value=1.0 * greedy["correct"])
    own = greedy[greedy["rule"] == "id"]
    found = {
        "id": own,
        "ood": greedy[greedy["rule"] == "ood"],
        "easy": _easy(own, evaluations),
        "one formula": own.assign(value=hard_samples.one_for_all(own)),
    }
    if stated.notna().any():
        sure = confidence.with_silent(own.reset_index(drop=True))
        found["miscalibration"] = sure.assign(value=sure["brier"] - sure["constant"])
    if less:
        rows = first_attempts(less, ["neighbour"], faceless=True)
        rows = rows[rows["neighbour"].map(HANDS) == HANDS[WITHOUT_ONE]]
        found["a card less"] = rows.assign(value=1.0 * rows["correct"])
    if probes:
        compared = {artifacts.variant(file) for file in evaluations}
        answers = faithfulness.answers(probes)  # also along SFT
        found["follows"] = follows(answers[answers["checkpoint"].isin(compared)])
    kept = ["track", "checkpoint", *stats.UNIT, *stats.CARRIED, "value"]
    parts = [rows[kept].assign(outcome=name) for name, rows in found.items()]
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])


def follows(answers: pd.DataFrame) -> pd.DataFrame:
    """Return for every checkpoint whether its formula uses the numbers of a line by the other rule,
    on the problems that are right before RL. Answers are those of one SFT checkpoint and of
    branches from it.

    An answer that has no numbers to use does not follow. Of one that cannot be begun so the value
    is missing, before RL as after it.
    """
    answers = answers[answers["rule"] == "id"]
    place = ["track", "seed", "problem_id"]
    forced = answers[answers["intervention"] == "counterfactual"]
    own = answers[answers["intervention"] == faithfulness.UNFORCED]
    before = own[own["checkpoint"].str.startswith("sft-") & own["correct"]]
    asked = own.merge(before[place].drop_duplicates(), on=place)
    told = forced.assign(value=forced["follows"].fillna(False).astype(float))
    told = told[[*place, "checkpoint", "value"]]
    rows = asked.merge(told, how="left", on=[*place, "checkpoint"])
    return rows.assign(draw=0, sample=0, retried=True)


def _easy(rows: pd.DataFrame, evaluations: list[str]) -> pd.DataFrame:
    """Return the rows of problems that are easy to the starts of other seeds."""
    pools = hard_samples.pools(evaluations)
    easy = pools[pools["pool"] == "easy"]
    return rows.merge(easy[hard_samples.PLACE], on=hard_samples.PLACE)


def changes(rows: pd.DataFrame, branch: str, outcome: str) -> pd.DataFrame:
    """Return the change of an outcome from the start of a branch to its end, by problem."""
    own = rows[rows["outcome"] == outcome]
    start = artifacts.sft(artifacts.parse_branch(branch)[1])
    before, after = (own[own["checkpoint"] == name] for name in (start, branch))
    return stats.paired(before, after, "value", carried=("track",))


def measure(
    evaluations: list[str],
    posed: list[str],
    less: list[str],
    probes: list[str],
    tasks: dict[str, dict],
    recipes: dict[str, dict],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return the change of every outcome under every reward."""
    rows = read(evaluations, posed, less, probes, tasks)
    return table_of(rows, recipes, statistics)


def table_of(rows: pd.DataFrame, recipes: dict[str, dict], statistics: Statistics) -> pd.DataFrame:
    """Return the table of what `read` returns."""
    out = []
    for _, own in rows.groupby("track", sort=False):
        for branch, paid in _compared(own, recipes).items():
            recipe, start = artifacts.parse_branch(branch)
            at_start = own[own["checkpoint"] == artifacts.sft(start)]
            for outcome in own["outcome"].unique():
                found = changes(own, branch, outcome)
                if len(found):
                    before = at_start[at_start["outcome"] == outcome]
                    before = before[before["seed"].isin(found["seed"])]
                    summary = summarise(found, ["track"], statistics, "change")
                    place = {"recipe": recipe, "start": start, "reward": paid, "outcome": outcome}
                    out.append(summary.assign(**place, before=float(before["value"].mean())))
    if not out:
        return SCHEMA.empty()
    return pd.concat(out, ignore_index=True).rename(columns={"mean": "change"})


def _compared(rows: pd.DataFrame, recipes: dict[str, dict]) -> dict[str, str]:
    """Return branch -> reward, of the branches that rows have."""
    there = [name for name in rows["checkpoint"].unique() if "-from-" in name]
    return next(iter(rewards_alone(recipes, there).values()), {})


# Claims.


def judge(
    evaluations: list[str],
    posed: list[str],
    less: list[str],
    probes: list[str],
    tasks: dict[str, dict],
    recipes: dict[str, dict],
    statistics: Statistics,
) -> list[dict]:
    """Return a claim for each track and outcome."""
    rows = read(evaluations, posed, less, probes, tasks)
    return of_tracks(rows, claims_of, recipes, statistics)


def claims_of(rows: pd.DataFrame, recipes: dict[str, dict], statistics: Statistics) -> list[dict]:
    """Return the claims of one track, for each outcome: that the reward decides whether RL breaks
    it, and that the reward moves it, for better or worse; among all rewards and among those that
    pay most for a right answer."""
    paid = _compared(rows, recipes)
    right = {b: reward for b, reward in paid.items() if set(reward.split()) & RIGHT}
    found = []
    for outcome in [name for name in OUTCOMES if name in set(rows["outcome"])]:
        for among, of in (("", paid), ("-among-right-ones", right)):
            judged = _judged(rows[rows["outcome"] == outcome], outcome, of, statistics)
            if judged is None:
                continue
            contrast, breaks, moves, detail = judged
            name = f"{outcome.replace(' ', '-')}{among}"
            which = "rewards that pay right answers most" if among else "rewards"
            statement = (
                f"Of {which}, one changes the share of {OUTCOMES[outcome]} for the worse, and "
                "another does not do so as much"
            )
            found.append(row(f"reward-decides-{name}", statement, contrast, breaks, detail))
            statement = (
                f"Of {which}, one leaves the share of {OUTCOMES[outcome]} better than another"
            )
            found.append(row(f"reward-moves-{name}", statement, contrast, moves, detail))
    return found


def _judged(
    rows: pd.DataFrame, outcome: str, paid: dict[str, str], statistics: Statistics
) -> tuple[stats.Estimate, Verdict, Verdict, str] | None:
    """Return the contrast of the best and the worst reward for one outcome, whether one breaks it
    and another does so less, whether they differ at all, and the detail.

    A reward whose run failed in one seed is compared in the others. None with fewer than two
    branches that have the outcome.
    """
    by_branch = {b: changes(rows, b, outcome).assign(branch=b) for b in paid}
    by_branch = {b: c for b, c in by_branch.items() if len(c)}
    if len(by_branch) < 2:
        return None
    seeds = rows["seed"].unique()
    every_change = pd.concat(by_branch.values(), ignore_index=True)
    sign = -1 if outcome in WORSE_UP else 1
    least, most = (_picked(every_change, list(by_branch), s * sign) for s in (1, -1))
    values = [part.rename(columns={"change": "value"}) for part in (most, least)]
    contrast = stats.change(*values, statistics, "value", seeds)
    harm = stats.bootstrap(most, "change", statistics).among(seeds)
    level = float(rows.loc[rows["checkpoint"].str.startswith("sft-"), "value"].mean())
    differ, breaks = (positive, negative) if sign > 0 else (negative, positive)
    broken = breaks(harm) if sign < 0 else never_there(breaks(harm), level)
    named = ", ".join(
        f"{artifacts.parse_branch(b)[0]} ({paid[b]}) {100 * c['change'].mean():+.1f}"
        for b, c in by_branch.items()
    )
    partial = ", ".join(b for b, c in by_branch.items() if c["seed"].nunique() < len(seeds))
    detail = (
        f"change under the reward that is best for it minus that under the worst, picked "
        f"{'on the other half of the problems' if rows['seed'].nunique() < 2 else 'elsewhere'}; "
        f"under the worst {100 * harm.value:+.1f} [{100 * harm.low:+.1f}, {100 * harm.high:+.1f}]; "
        f"before RL {100 * level:.0f}%, changes: {named}"
        f"{f'; not in all seeds: {partial}' if partial else ''}"
    )
    if rows["seed"].nunique() < 2:
        detail += "; with one run the same training picks and judges"
    return contrast, every(differ(contrast), broken), differ(contrast), detail


def _picked(rows: pd.DataFrame, names: list[str], sign: int) -> pd.DataFrame:
    """Return for each seed and half the changes under the branch whose change is largest (sign 1)
    or smallest (-1) on other seeds and the other half, of those that the seed has."""

    def score(branch: str, seeds: list, half: str) -> float:
        own = stats.of_part(rows[rows["branch"] == branch], seeds, half)
        return sign * stats.mean_of_seeds(own, "change") if len(own) else float("-inf")

    there = set(zip(rows["seed"], rows["branch"], strict=True))
    choice = stats.picked_elsewhere(
        score, names, rows["seed"].unique(), lambda seed, branch: (seed, branch) in there
    )
    wanted = [choice[s][h] for s, h in zip(rows["seed"], rows["half"], strict=True)]
    return rows[rows["branch"] == wanted]


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["track", "recipe", "outcome"])
    named = table.drop_duplicates("recipe").set_index("recipe")["reward"]
    rows = []
    for track in table["track"].unique():
        for outcome in [name for name in OUTCOMES if name in set(table["outcome"])]:
            keys = [(track, recipe, outcome) for recipe in named.index]
            cells = [at(whole, key, "change", "+.1f") for key in keys]
            before = [whole.loc[key, "before"] for key in keys if key in whole.index]
            if before:
                rows.append((track, outcome, f"{100 * before[0]:.0f}", *cells))
    header = [f"{recipe} ({reward})" for recipe, reward in named.items()]
    return grid(["track", "outcome", "before (%)", *header], rows)


SCHEMA = table(
    "what-breaks",
    "What RL from one start changes under one reward, where nothing but the reward differs.",
    (
        TRACK,
        text("recipe", "recipe of RL"),
        START,
        text("reward", "what it is paid for"),
        choice("outcome", OUTCOMES, "; ".join(f"{k}: {v}" for k, v in OUTCOMES.items())),
        change("before", "the outcome before RL"),
        SEED,
        N,
        change("change", "after RL minus before, on the same problems"),
        *interval(change),
    ),
    "track", "recipe", "start", "outcome", "seed",
)  # fmt: skip

FINDING = Finding(
    name="what-breaks",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and files.cards and len(files.study.rewards_alone) > 2),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=tuple(
        f"reward-(decides|moves)-{name.replace(' ', '-')}(-among-right-ones)?" for name in OUTCOMES
    ),
    order=32,
    title="What RL breaks under each reward",
    section=section,
)
