"""Recipes side by side: how they trained (fig11, fig12), what they healed, and what that took.

RL is held against controls that cost as much, or nothing.
"""

from collections.abc import Callable

import pandas as pd

from healscope import artifacts, stats
from healscope.config import ALGORITHMS, Statistics
from healscope.findings.columns import FAILED_RUNS, ONE_SEED, SEED, START, interval
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import (
    at_last,
    branch_logs,
    failures,
    first_attempts,
    of_seed,
    with_steps,
)
from healscope.markdown import cell, estimate, grid, percent, thousands
from healscope.schema import TRACK, change, choice, count, flag, nats, real, share, table, text
from healscope.stats import Estimate
from healscope.training.schemas import ALARM, FAILURE, RL_LOG_COLUMNS, WINDOW, logged
from healscope.verdicts import Verdict, margin, positive, signed

FACTS = ("kind", "main", "reward")  # of a recipe, that training logs are read with

RULES = {"ood": ("healing", ""), "id": ("id_change", "id_")}  # rule -> column, prefix of limits


def training(logs: list[str], recipes: dict[str, dict], landmark: str) -> pd.DataFrame:
    """Everything logged along all branches, with facts of their recipes (fig11, fig12).

    `recipes`: as `config.RL.facts` has them; `landmark`: the branch behind landmark `rl`.
    """
    rows = branch_logs(logs)
    facts = {fact: {n: r[fact] for n, r in recipes.items()} for fact in FACTS}
    return rows.assign(
        seed=rows["seed"].astype(str),
        landmark=rows["run"] == landmark,
        **{fact: rows["recipe"].map(known) for fact, known in facts.items()},
    )


def recipes(
    evaluations: list[str],
    logs: list[str],
    recipes: dict[str, dict],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return what each branch changed on held-out deals, paired with its start, and what it cost.

    Every logged branch has rows, but for planted ones, which heal nothing. Where its run failed it
    has no answers: `failed` says why, and its accuracies are missing. Row "all" has the mean of the
    seeds that were evaluated, and the mean cost of those that ran to their end (of all, where none
    did).
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    out = []
    for (model, recipe, start), runs in branch_logs(logs).groupby(["track", "recipe", "start"]):
        if recipes[recipe]["kind"] == "planted":
            continue
        own = rows[rows["track"] == model]
        before = own[own["checkpoint"] == artifacts.sft(start)]
        after = own[own["checkpoint"] == artifacts.branch(recipe, start)]
        place = {"track": model, "recipe": recipe, "start": start}
        place |= {fact: recipes[recipe][fact] for fact in ("algorithm", *FACTS)}
        for seed in ("all", *sorted(map(int, runs["seed"].unique()))):
            change = _changes(of_seed(before, seed), of_seed(after, seed), statistics)
            out.append({**place, "seed": str(seed), **change, **_cost(of_seed(runs, seed))})
    return pd.DataFrame(out)


def _changes(before: pd.DataFrame, after: pd.DataFrame, statistics: Statistics) -> dict:
    found: dict = {"seeds": after["seed"].nunique()}
    for rule, (name, prefix) in RULES.items():
        ends = [part[part["rule"] == rule] for part in (before, after)]
        e = stats.change(*ends, statistics)
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


def against_controls(d: Data) -> list[dict]:
    """Is it RL that heals? Against what costs as much, or nothing, from the same start."""
    tried = set(d.logs.loc[d.logs["start"] == d.rl_start, "recipe"])
    here = {name: facts for name, facts in d.recipes.items() if name in tried}
    if d.rl_start not in d.branches:
        return []
    found = []
    for name, facts in here.items():
        if facts["kind"] == "control":
            claim, what = f"rl-heals-more-than-{name}", ALGORITHMS[facts["algorithm"]].does
            pace = ", in RL's own steps at its rate" if facts["matched"] else ""
            statement = f"RL heals more than {what} from the same start (control {name}{pace})"
            found.append(_against(d, name, claim, statement, positive))
    for name, facts in here.items():
        if facts["reward_alone"] and facts["reward"] == "canonical":
            claim = "alternative-solutions-heal"
            statement = (
                "RL heals more if it is paid for every correct answer than if it is paid for the "
                "one that SFT teaches (section 3.2)"
            )
            found.append(_against(d, name, claim, statement, positive))
        elif facts["reward_alone"]:
            claim = f"verified-success-heals-more-than-{name}"
            statement = (
                f"RL heals more if it is paid for what the verifier says than for reward "
                f"'{facts['reward']}' ({name})"
            )
            found.append(_against(d, name, claim, statement, positive))
    return found


def _against(
    d: Data, name: str, claim: str, statement: str, judge: Callable[[Estimate, float], Verdict]
) -> dict:
    """Return the main recipe minus another one, both from where landmark `rl` starts."""
    start = d.rl_start
    other = artifacts.branch(name, start)
    before, after, beside = (
        d.at("ood", d.everywhere(n)) for n in (artifacts.sft(start), d.branches[start], other)
    )
    e = d.change(beside, after)
    detail = f"OOD accuracy after {d.main} minus after {name}, both from step {start}"
    if e.by_seed:
        healed = [signed(d.change(before, end)) for end in (after, beside)]
        detail += f"; changes from there: {' and '.join(healed)}"
    for run in (d.branches[start], other):
        if why := failures(d.logs[d.logs["run"] == run]):
            detail += f"; {run} failed: {why}"
    return row(claim, statement, e, judge(e, margin(d.fall)), detail)


def of_ones_own(d: Data) -> list[dict]:
    """Claims that the config makes: one branch or step of SFT ends above another
    (`claims.compare`)."""
    found = []
    for first, second in d.compare:
        for rule in ("id", "ood"):
            ends = [d.rows[(d.rows["checkpoint"] == c) & (d.rows["rule"] == rule)]
                    for c in (second, first)]  # fmt: skip
            e = d.change(*ends)
            found.append(
                row(
                    f"{first}-above-{second}-{rule}",
                    f"{first} ends above {second}, {rule.upper()}",
                    e,
                    positive(e),
                    "accuracy of the first minus that of the second, on the same problems; named "
                    "in claims.compare",
                )
            )
    return found


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].sort_values(
        ["start", "kind", "healing"], ascending=[True, False, False]
    )
    rows = [
        (
            r["recipe"],
            r["algorithm"],
            r["start"],
            *(percent(r[f"{rule}_after"]) for rule in ("id", "ood")),
            estimate(r, "healing"),
            estimate(r, "id_change", prefix="id_"),
            thousands(r["generated_tokens"]),
            thousands(r["trained_tokens"]),
            cell(r["seconds"], ".0f"),
            cell(r["generated_per_second"], ".0f"),
            cell(r["trained_per_second"], ".0f"),
            cell(r["kl_from_start_nats"], ".2f"),
            "yes" if r["hacking"] else "",
            r["failed"],
        )
        for r in whole.to_dict("records")
    ]
    note = (
        "Held-out problems, mean of the seeds. Tokens in thousands; seconds of sampling and "
        "training, one thread of a shared machine; KL from the start in nats a token; hacking: the "
        "reward rose and success did not.\n\n"
    )
    header = [
        "recipe", "algorithm", "start", "ID", "OOD", "OOD change (healing)", "ID change",
        "generated", "trained on", "seconds", "generated a second", "trained a second", "KL",
        "hacking", "failed",
    ]  # fmt: skip
    return note + grid(header, rows)


_RECIPE = text("recipe", "name of the recipe in the config")

_FACT_COLUMNS = (
    choice("kind", ("rl", "control"), "control: it samples no responses"),
    flag("main", "it is the recipe of the figures that show one"),
    text("reward", "reward functions and their weights; empty for controls"),
)


TRAINING_SCHEMA = table(
    "rl-training",
    "One iteration of one branch of one seed, as it was logged.",
    (
        *RL_LOG_COLUMNS,
        flag("hacking_alarm", ALARM),
        TRACK, ONE_SEED,
        text("run", "name of the branch"),
        _RECIPE, START, *_FACT_COLUMNS,
        flag("landmark", "it is the branch behind landmark rl"),
        FAILURE,
    ),
    "track", "seed", "run", "iteration",
)  # fmt: skip

RECIPES_SCHEMA = table(
    "recipes",
    "What one recipe made of one start on held-out deals, paired by problem, and what it cost. "
    "Of all seeds: accuracies are means of those evaluated, costs of those that ran to their "
    "end.",
    (
        TRACK, _RECIPE, START, SEED,
        choice("algorithm", tuple(ALGORITHMS), "algorithm of the recipe"),
        *_FACT_COLUMNS,
        count("seeds", "seeds that were evaluated", "seeds"),
        share("ood_after", "OOD accuracy after it", True),
        change("healing", "OOD accuracy after minus before", True),
        *interval(change, True),
        share("id_after", "ID accuracy after it", True),
        change("id_change", "ID accuracy after minus before", True),
        change("id_low", "lower limit of its interval", True),
        change("id_high", "upper limit of its interval", True),
        logged("generated_tokens", "sampled in the whole run", "tokens"),
        logged("trained_tokens", "response tokens that the optimizer saw", "tokens"),
        logged("seconds", "wall time of sampling and training", "seconds"),
        logged("generated_per_second", "sampled in a second of sampling", "tokens per second"),
        logged("trained_per_second", "learned in a second of training", "tokens per second"),
        share("sampling_share", "of that time, in sampling", True),
        real("reward_last", "mean reward of the last 10 iterations", "reward", True),
        nats("kl_from_start_nats", "KL(now || start) at the end", True),
        flag("hacking", "the alarm of reward hacking was on at the end of a run"),
        FAILED_RUNS,
    ),
    "track", "recipe", "start", "seed",
)  # fmt: skip

TRAINING = Finding(
    name="rl-training",
    schema=TRAINING_SCHEMA,
    make=training,
    inputs=lambda files: {"logs": files.logs(files.study.branches)},
    asked=lambda files: files.trained,
)
RECIPES = Finding(
    name="recipes",
    schema=RECIPES_SCHEMA,
    make=recipes,
    inputs=lambda files: {
        "evaluations": files.evaluations([*files.sft(), *files.study.branches]),
        "logs": files.logs(files.study.branches),
    },
    asked=lambda files: files.trained,
    order=11,
    claims=(against_controls, of_ones_own),
    claim_names=(
        ".+-[0-9]+-above-.+-[0-9]+-(id|ood)",
        "rl-heals-more-than-.+",
        "alternative-solutions-heal",
        "verified-success-heals-more-than-.+",
    ),
    title="What each recipe changed, and what it took",
    section=section,
)
