"""Recipes side by side: how they trained (fig11, fig12), what they healed and what that took."""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.tables.rows import (
    WINDOW,
    at_last,
    branch_logs,
    failures,
    first_attempts,
    of_seed,
    with_steps,
)

FACTS = ("kind", "main", "reward")  # of a recipe, that training logs are read with
RULES = {"ood": ("healing", ""), "id": ("id_change", "id_")}  # rule -> column, prefix of limits


def training(files: list[str], recipes: dict[str, dict], landmark: str) -> pd.DataFrame:
    """Everything logged along all branches, with facts of their recipes (fig11, fig12).

    `recipes`: as `config.RL.facts` has them; `landmark`: the branch behind landmark `rl`.
    """
    rows = branch_logs(files)
    facts = {fact: {n: r[fact] for n, r in recipes.items()} for fact in FACTS}
    return rows.assign(
        seed=rows["seed"].astype(str),
        landmark=rows["run"] == landmark,
        **{fact: rows["recipe"].map(known) for fact, known in facts.items()},
    )


def recipes(
    evaluations: list[str],
    files: list[str],
    recipes: dict[str, dict],
    settings: Statistics,
) -> pd.DataFrame:
    """What each branch changed on held-out deals, paired with its start, and what it cost.

    A branch is there for being logged: where its run failed it has no answers, so `failed` says why
    and its accuracies are missing. Row "all" has the mean of the seeds that were evaluated, and the
    mean cost of those that ran to their end (of all, where none did).
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    out = []
    for (model, recipe, start), runs in branch_logs(files).groupby(["track", "recipe", "start"]):
        own = rows[rows["track"] == model]
        before = own[own["checkpoint"] == artifacts.sft(start)]
        after = own[own["checkpoint"] == artifacts.branch(recipe, start)]
        place = {"track": model, "recipe": recipe, "start": start}
        place |= {fact: recipes[recipe][fact] for fact in ("algorithm", *FACTS)}
        for seed in ("all", *sorted(map(int, runs["seed"].unique()))):
            change = _changes(of_seed(before, seed), of_seed(after, seed), settings)
            out.append({**place, "seed": str(seed), **change, **_cost(of_seed(runs, seed))})
    return pd.DataFrame(out)


def _changes(before: pd.DataFrame, after: pd.DataFrame, settings: Statistics) -> dict:
    found: dict = {"seeds": after["seed"].nunique()}
    for rule, (name, prefix) in RULES.items():
        ends = [part[part["rule"] == rule] for part in (before, after)]
        e = stats.bootstrap(stats.paired(*ends), "change", settings)
        found |= {
            f"{rule}_after": ends[1].groupby("seed")["correct"].mean().mean(),
            name: e.value,
            f"{prefix}low": e.low,
            f"{prefix}high": e.high,
        }
    return found


def _cost(runs: pd.DataFrame) -> dict:
    """Tokens and time of one run, or means over seeds; and how runs ended."""
    spent = runs.groupby("seed")[
        ["generated_tokens", "trained_tokens", "sampling_seconds", "training_seconds"]
    ].sum(min_count=1)
    whole = [seed for seed, run in runs.groupby("seed") if not failures(run)]
    spent = spent.loc[whole or list(spent.index)].mean()
    seconds = spent[["sampling_seconds", "training_seconds"]].sum(min_count=1)
    seeds = [run for _, run in runs.groupby("seed")]
    late = [run[run["iteration"] > run["iteration"].max() - WINDOW] for run in seeds]
    return {
        "generated_tokens": spent["generated_tokens"],
        "trained_tokens": spent["trained_tokens"],
        "seconds": seconds,
        "generated_per_second": spent["generated_tokens"] / spent["sampling_seconds"],
        "trained_per_second": spent["trained_tokens"] / spent["training_seconds"],
        "sampling_share": spent[["sampling_seconds"]].fillna(0).iloc[0] / seconds,
        "reward_last": pd.Series([run["reward_mean"].mean() for run in late]).mean(),
        "kl_from_start_nats": pd.Series([at_last(r, "kl_from_start_nats") for r in seeds]).mean(),
        "hacking": any(at_last(run, "hacking_alarm") for run in seeds),
        "failed": failures(runs),
    }
