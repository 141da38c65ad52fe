"""What RL breaks under each reward: outcomes by rewards, where nothing but the reward differs.

The papers that `docs/what-breaks.md` goes through each blame RL for something. Here one algorithm
runs from one start under several rewards, and each of them is asked what it changes in all of these
outcomes. That rewards differ is then a claim with a null: the best and the worst reward for an
outcome are picked on other seeds and the other half of the problems, so that between rewards which
all do the same the difference is 0 on average.
"""

from collections.abc import Iterable

import pandas as pd

from healscope import artifacts, stats
from healscope.config import EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings import faithfulness, hard_samples
from healscope.findings.columns import SEED, START, N, interval
from healscope.findings.contrasts import FLOOR, never_there, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, steps, summarise
from healscope.findings.structured import as_read
from healscope.findings.without_one import HANDS
from healscope.markdown import estimate, grid
from healscope.schema import TRACK, change, choice, table, text
from healscope.tasks.cards.neighbours import WITHOUT_ONE
from healscope.verdicts import positive

OUTCOMES = {
    "id": "held-out ID problems that are right",
    "ood": "held-out OOD problems that are right",
    "a card less": "held-out hands with a card less that are right",
    "easy": "held-out ID problems that are right, of those that other seeds solve before RL",
    "follows": "formulas that use the numbers of a number line by the other rule, of answers that "
    "are right by themselves",
    "one formula": "answers that state the commonest formula of the checkpoint, whatever the cards",
    "overconfidence": "stated confidence minus being right",
}
"""Name of an outcome -> what it is the share of; all greedy and of held-out problems."""

WORSE_UP = ("one formula", "overconfidence")
"""Outcomes of which more is worse."""


def rewards(recipes: dict[str, dict], branches: Iterable[str], start: int) -> dict[str, str]:
    """Return branch -> reward, of branches from `start` that differ from the main recipe in
    nothing but the reward; that of the main recipe first."""
    names = {b: artifacts.parse_branch(b) for b in branches}
    found = {
        b: recipes[recipe]["reward"]
        for b, (recipe, at) in names.items()
        if at == start and (recipes[recipe]["main"] or recipes[recipe]["reward_alone"])
    }
    return dict(sorted(found.items(), key=lambda item: not recipes[names[item[0]][0]]["main"]))


def _less(files: Files) -> list[str]:
    protocols = files.study.evaluation.protocols.items()
    return [name for name, p in protocols if p.problems == "without_one"]


def _inputs(files: Files) -> dict[str, list[str]]:
    start = artifacts.sft(artifacts.parse_branch(files.rl[0])[1])
    names = [start, *files.study.rewards_alone]
    less = files.each(artifacts.EVALUATION, files.cards, protocol=_less(files), checkpoint=names)
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
        "stated": lambda task, problem, text: task.confidence_in(problem, text),
    }
    greedy = as_read(greedy, posed, tasks, **said)
    own = greedy[greedy["rule"] == "id"]
    right = own["correct"].astype(float)
    found = {
        "id": own.assign(value=right),
        "ood": greedy[greedy["rule"] == "ood"].assign(value=lambda rows: 1.0 * rows["correct"]),
        "easy": _easy(own.assign(value=right), evaluations),
        "one formula": own.assign(value=_common(own)),
        "overconfidence": own.assign(value=pd.to_numeric(own["stated"]).astype(float) - right),
    }
    if less:
        rows = first_attempts(less, ["neighbour"], faceless=True)
        rows = rows[rows["neighbour"].map(HANDS) == HANDS[WITHOUT_ONE]]
        found["a card less"] = rows.assign(value=1.0 * rows["correct"])
    if probes:
        rows = faithfulness.read(probes)
        asked = (rows["measure"] == faithfulness.FOLLOWS) & rows["right"] & (rows["rule"] == "id")
        found["follows"] = rows[asked]
    kept = ["track", "checkpoint", *stats.UNIT, *stats.CARRIED, "value"]
    parts = [rows[kept].assign(outcome=name) for name, rows in found.items()]
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])


def _easy(rows: pd.DataFrame, evaluations: list[str]) -> pd.DataFrame:
    """Return the rows of problems that are easy to the starts of other seeds."""
    before = steps([f for f in evaluations if artifacts.variant(f).startswith("sft-")])
    pools = hard_samples.pool_of(before[(before["split"] == "held_out") & (before["rule"] == "id")])
    easy = pools[pools["pool"] == "easy"]
    return rows.merge(easy[hard_samples.PLACE], on=hard_samples.PLACE)


def _common(rows: pd.DataFrame) -> pd.Series:
    """Return 1.0 for each answer that states the commonest solution of its checkpoint."""
    place = [rows[name] for name in ("track", "seed", "checkpoint")]
    common = rows["solution"].groupby(place).transform(hard_samples.commonest)
    return 1.0 * (rows["solution"] == common)


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
            before = at_start.groupby("outcome")["value"].mean()
            for outcome in own["outcome"].unique():
                found = changes(own, branch, outcome)
                if len(found):
                    summary = summarise(found, ["track"], statistics, "change")
                    place = {"recipe": recipe, "start": start, "reward": paid, "outcome": outcome}
                    out.append(summary.assign(**place, before=float(before[outcome])))
    return pd.concat(out, ignore_index=True).rename(columns={"mean": "change"})


def _compared(rows: pd.DataFrame, recipes: dict[str, dict]) -> dict[str, str]:
    """Return branch -> reward, of the branches that rows have."""
    there = [name for name in rows["checkpoint"].unique() if "-from-" in name]
    return rewards(recipes, there, artifacts.parse_branch(there[0])[1]) if there else {}


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
    return [
        {"track": track, **claim}
        for track, own in rows.groupby("track")
        for claim in claims_of(own, recipes, statistics)
    ]


def claims_of(rows: pd.DataFrame, recipes: dict[str, dict], statistics: Statistics) -> list[dict]:
    """Return for each outcome the claim that the reward decides it, of one track."""
    paid = _compared(rows, recipes)
    found = []
    for outcome in [name for name in OUTCOMES if name in set(rows["outcome"])]:
        by_branch = {b: changes(rows, b, outcome) for b in paid}
        by_branch = {b: c for b, c in by_branch.items() if len(c)}
        if len(by_branch) < 2:
            continue
        every = pd.concat([c.assign(branch=b) for b, c in by_branch.items()], ignore_index=True)
        e = _best_minus_worst(every, list(by_branch), statistics)
        start = rows[(rows["outcome"] == outcome) & rows["checkpoint"].str.startswith("sft-")]
        level = float(start["value"].mean())
        means = {paid[b]: float(c["change"].mean()) for b, c in by_branch.items()}
        told = ", ".join(f"{name} {100 * value:+.1f}" for name, value in means.items())
        verdict = positive(e)
        if outcome not in WORSE_UP:
            verdict = never_there(verdict, level)
        found.append(
            row(
                f"reward-decides-{outcome.replace(' ', '-')}",
                f"What RL does to the share of {OUTCOMES[outcome]} depends on its reward",
                e,
                verdict,
                f"change under the reward that raises it most minus that under the one that lowers "
                f"it most, picked on other seeds and problems; before RL {100 * level:.0f}%, "
                f"changes: {told}; below {100 * FLOOR:.0f}% there is nothing to lose",
            )
        )
    return found


def _best_minus_worst(
    every: pd.DataFrame, names: list[str], statistics: Statistics
) -> stats.Estimate:
    """Return change under the best reward minus that under the worst, both picked elsewhere."""
    seeds = every["seed"].unique()

    def score(sign: int):
        def of(branch: str, known: list, half: str) -> float:
            own = stats.of_part(every[every["branch"] == branch], known, half)
            return sign * stats.mean_of_seeds(own, "change")

        return of

    picked = [stats.picked_elsewhere(score(sign), names, seeds) for sign in (1, -1)]
    best, worst = (
        every[[choice[s][h] == b for s, h, b in zip(*map(every.get, columns), strict=True)]]
        for choice in picked
        for columns in [("seed", "half", "branch")]
    )
    values = [part.assign(value=part["change"]).drop(columns="change") for part in (worst, best)]
    return stats.bootstrap(stats.paired(*values, "value"), "change", statistics)


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    paid = list(dict.fromkeys(whole["reward"]))
    rows = []
    for outcome in [name for name in OUTCOMES if name in set(whole["outcome"])]:
        own = whole[whole["outcome"] == outcome].set_index("reward")
        cells = [estimate(own.loc[name], "change") if name in own.index else "–" for name in paid]
        rows.append((outcome, f"{100 * own['before'].iloc[0]:.0f}", *cells))
    return grid(["share of", "before (%)", *paid], rows)


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
    claim_names=tuple(f"reward-decides-{name.replace(' ', '-')}" for name in OUTCOMES),
    order=32,
    title="What RL breaks under each reward",
    section=section,
)
