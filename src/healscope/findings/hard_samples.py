"""Whether RL on overly hard problems harms what was easy before, and why.

RL on problems that are hardly ever solved is said to harm earlier abilities (arXiv 2605.28388; text
and secondary sources, no code). Two explanations stand beside the hardness itself: a verifier that
leaks pays answers that solve nothing, and dividing by the spread of a group's rewards makes a lone
success count most. Arms differ in one thing each. How hard a held-out problem is to a seed is taken
from the starts of the *other* seeds: what one model happens to be right on it tends to lose
whatever is trained.
"""

from collections.abc import Iterable

import pandas as pd

from healscope import artifacts, stats
from healscope.config import EXHAUSTIVE, Statistics
from healscope.files import Files
from healscope.findings.columns import SEED, START, N, interval
from healscope.findings.contrasts import of_tracks, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, steps, summarise
from healscope.findings.structured import as_read
from healscope.markdown import estimate, grid
from healscope.schema import TRACK, change, choice, table, text
from healscope.stats import Estimate
from healscope.verdicts import every, negative

EASY, HARD = 0.6, 0.3
"""Pass rates from which on a held-out problem is easy, and up to which it is hard."""

POOLS = {
    "easy": "held-out ID problems that the starts of other seeds solve in at least "
    f"{100 * EASY:.0f}% of their samples",
    "medium": "those between",
    "hard": f"those that they solve in at most {100 * HARD:.0f}%",
    "ood": "held-out OOD problems",
}

MEASURES = {
    "accuracy": "accuracy of greedy first answers after RL, minus that before",
    "one formula": "share of answers that state the commonest formula of the checkpoint, whatever "
    "the cards are, after minus before",
    "no number line": "share of answers whose number line is missing or breaks the rule, after "
    "minus before",
}

PLACE = ["track", "seed", "problem_id"]


def branches(files: Files) -> list[str]:
    """Return the branches whose problems are chosen by how hard they are."""
    chosen = files.study.rl.pool_facts() if files.study.rl else {}
    return [b for b in files.study.branches if artifacts.parse_branch(b)[0] in chosen]


def _inputs(files: Files) -> dict[str, list[str]]:
    starts = [artifacts.sft(artifacts.parse_branch(b)[1]) for b in branches(files)]
    both = list(dict.fromkeys([*starts, *branches(files)]))
    return {
        "evaluations": files.evaluations(both),
        "posed": files.each(artifacts.POSED, protocol=EXHAUSTIVE),
    }


def _lacking(files: Files) -> str:
    if not branches(files):
        return (
            "branches on problems of a measured hardness, as {like: grpo, problems: {pass_rate: "
            "[0, 0.1]}}"
        )
    if len({artifacts.parse_branch(b)[1] for b in branches(files)}) > 1:
        return "its branches to have one start, where problems are hard or easy"
    if not files.study.evaluation.protocols[EXHAUSTIVE].samples:
        return "samples of protocol exhaustive, which say how hard held-out problems are"
    return ""


def pool_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return for each seed and held-out problem the pool it is in, by samples at the starts of
    other seeds; of a single seed, by its own. Columns track, seed, problem_id, pool."""
    sampled = rows[rows["sample"] > 0]
    rates = sampled.groupby(PLACE)["correct"].mean().reset_index()
    found = []
    for seed in rates["seed"].unique():
        others = rates[rates["seed"] != seed]
        others = rates if others.empty else others
        mean = others.groupby(["track", "problem_id"])["correct"].mean().reset_index()
        pool = pd.Series("medium", mean.index)
        pool[mean["correct"] >= EASY] = "easy"
        pool[mean["correct"] <= HARD] = "hard"
        found.append(mean.assign(seed=seed, pool=pool)[[*PLACE, "pool"]])
    return pd.concat(found, ignore_index=True)


def pools(evaluations: list[str]) -> pd.DataFrame:
    """Return `pool_of` the held-out ID problems, from evaluations of which those of SFT are of the
    start."""
    rows = steps([f for f in evaluations if artifacts.variant(f).startswith("sft-")])
    return pool_of(rows[(rows["split"] == "held_out") & (rows["rule"] == "id")])


def read(evaluations: list[str], posed: list[str], tasks: dict[str, dict]) -> pd.DataFrame:
    """Return greedy answers to held-out problems with the pool of each, and by measure what is
    counted of it (columns of MEASURES)."""
    rows = first_attempts(evaluations, ["text", "follows_rule"])
    rows = rows[rows["split"] == "held_out"].reset_index(drop=True)
    rows = rows.merge(pools(evaluations), how="left", on=PLACE)
    rows.loc[rows["rule"] == "ood", "pool"] = "ood"
    said = {"solution": lambda task, problem, text: task.solution(problem, text)}
    rows = as_read(rows.dropna(subset=["pool"]), posed, tasks, **said)
    return rows.assign(
        **{
            "accuracy": 1.0 * rows["correct"],
            "one formula": one_for_all(rows),
            "no number line": 1.0 * ~rows["follows_rule"].fillna(False).astype(bool),
        }
    )


def one_for_all(rows: pd.DataFrame) -> pd.Series:
    """Return 1.0 for each answer that states the commonest solution of its checkpoint on the other
    half of the problems, else 0.0; that there is none counts as one."""
    place = ["track", "seed", "checkpoint"]
    named = rows.assign(solution=rows["solution"].fillna("none"))
    common = named.groupby([*place, "half"])["solution"].agg(lambda names: names.mode().iloc[0])
    other = rows["half"].map({"a": "b", "b": "a"})
    keys = pd.MultiIndex.from_arrays([*(rows[name] for name in place), other])
    return 1.0 * (named["solution"] == common.reindex(keys).to_numpy())


def changes(rows: pd.DataFrame, branch: str, measure: str) -> pd.DataFrame:
    """Return the change of a measure from the start of a branch to its end, by problem of one
    track."""
    start = artifacts.sft(artifacts.parse_branch(branch)[1])
    before, after = (rows[rows["checkpoint"] == name] for name in (start, branch))
    return stats.paired(before, after, measure, carried=("track", "pool"))


def measure(
    evaluations: list[str],
    posed: list[str],
    tasks: dict[str, dict],
    hardness: dict[str, dict],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return what each arm changes on problems that were easy, medium and hard at the start."""
    rows = read(evaluations, posed, tasks)
    out = []
    for (track, branch), _ in rows[rows["checkpoint"].isin(_branches(rows))].groupby(
        ["track", "checkpoint"], sort=False
    ):
        own = rows[rows["track"] == track]
        recipe, start = artifacts.parse_branch(branch)
        facts = hardness[recipe]
        place = {"recipe": recipe, "start": start, "trained_on": words(facts["problems"]),
                 "reward": facts["reward"], "algorithm": facts["algorithm"]}  # fmt: skip
        for name in MEASURES:
            found = changes(own, branch, name)
            summary = summarise(found, ["track", "pool"], statistics, "change")
            out.append(summary.assign(measure=name, **place))
    return pd.concat(out, ignore_index=True).rename(columns={"mean": "change"})


def words(problems: str | list[float]) -> str:
    """Return which problems an arm trains on, in words."""
    if isinstance(problems, str):
        return problems
    low, high = (f"{100 * share:g}" for share in problems)
    return f"pass rate {low} to {high}%"


def _branches(rows: pd.DataFrame) -> list[str]:
    return [c for c in rows["checkpoint"].unique() if "-from-" in c]


# Claims.


def arms(hardness: dict[str, dict], known: Iterable[str]) -> dict[str, str]:
    """Return role -> recipe of the arms that claims compare, as far as `known` has them.

    Roles: "medium" and "hard", under an exact verifier; "hard leaky", under one that leaks; "hard
    without spread", the same with advantages that are not divided by the spread of their group.
    """
    found: dict[str, str] = {}
    for recipe in known:
        facts = hardness.get(recipe)
        if facts is None or isinstance(facts["problems"], str):
            continue
        role = "hard" if facts["problems"][1] <= HARD else "medium"
        if "value_only" in facts["reward"]:
            role += " leaky"
        if not facts["spread"]:
            role += " without spread"
        found.setdefault(role, recipe)
    return found


_CLAIMS = (
    (
        "hard-samples-harm",
        "RL on hard problems loses what was easy, and more than RL on medium ones "
        "(arXiv 2605.28388)",
        "hard",
        "medium",
    ),
    (
        "a-leaky-verifier-harms",
        "On hard problems a verifier that leaks loses what was easy, more than an exact one",
        "hard leaky",
        "hard",
    ),
    (
        "spread-amplifies",
        "On hard problems dividing by the spread of a group loses what was easy, more than not",
        "hard",
        "hard without spread",
    ),
)


def judge(
    evaluations: list[str],
    posed: list[str],
    tasks: dict[str, dict],
    hardness: dict[str, dict],
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track."""
    rows = read(evaluations, posed, tasks)
    return of_tracks(rows, claims_of, hardness, statistics)


def claims_of(rows: pd.DataFrame, hardness: dict[str, dict], statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from what `read` returns."""
    by_recipe = {artifacts.parse_branch(b)[0]: b for b in _branches(rows)}
    roles = arms(hardness, by_recipe)
    found = []
    for claim, statement, one, other in _CLAIMS:
        if one in roles and other in roles:
            first, second = (by_recipe[roles[role]] for role in (one, other))
            easy = rows[rows["pool"] == "easy"]
            e = contrast(easy, second, first, statistics)
            since = {b: changes(easy, b, "accuracy") for b in (first, second)}
            seeds = easy["seed"].unique()
            lost = stats.bootstrap(since[first], "change", statistics).among(seeds)
            told = ", ".join(f"{b} {100 * c['change'].mean():+.1f}" for b, c in since.items())
            found.append(
                row(
                    claim,
                    statement,
                    e,
                    # an arm that learns nothing harms nothing, beside one that gains
                    every(negative(e), negative(lost)),
                    f"accuracy on held-out problems easy at the start, {first} minus {second}, on "
                    f"the same problems; changes since the start: {told}",
                )
            )
    return found


def contrast(rows: pd.DataFrame, before: str, after: str, statistics: Statistics) -> Estimate:
    """Return accuracy of checkpoint `after` minus that of `before`, on the same problems."""
    pair = (rows[rows["checkpoint"] == name] for name in (before, after))
    return stats.change(*pair, statistics)


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    rows = [
        (r["recipe"], r["trained_on"], r["reward"], r["pool"], r["measure"],
         estimate(r, "change"))
        for r in whole.to_dict("records")
    ]  # fmt: skip
    return grid(["recipe", "trained on", "reward", "problems", "change of", "points"], rows)


SCHEMA = table(
    "hard-samples",
    "What RL on problems of one hardness changes on held-out problems that were easy, medium or "
    "hard before.",
    (
        TRACK,
        text("recipe", "recipe of RL"),
        START,
        text("trained_on", "problems of its pool, by how often its start solves them"),
        text("reward", "what it is paid for"),
        text("algorithm", "of the recipe"),
        choice("pool", POOLS, "; ".join(f"{name}: {about}" for name, about in POOLS.items())),
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        SEED,
        N,
        change("change", "of the measure"),
        *interval(change),
    ),
    "track", "recipe", "start", "pool", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name="hard-samples",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and branches(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=tuple(claim for claim, *_ in _CLAIMS),
    order=33,
    title="RL on hard problems",
    section=section,
)
