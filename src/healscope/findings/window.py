"""What a start has that heals: the state of RL in its first iterations beside what it healed.

The paper explains the window of starts by "balanced" rewards, 40% to 80% of them positive, and by a
policy whose entropy has not collapsed (arXiv 2509.12235, section 3.2).
"""

from collections.abc import Callable

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.findings.columns import FAILED_RUNS, SEED, START, interval
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import (
    at_first,
    at_last,
    branch_logs,
    failures,
    first_attempts,
    of_seed,
    with_steps,
)
from healscope.markdown import cell, estimate, grid, percent
from healscope.schema import TRACK, change, count, nats, share, table
from healscope.stats import Estimate
from healscope.training.schemas import WINDOW, logged
from healscope.verdicts import margin, positive

BALANCED = (0.4, 0.8)
"""Share of positive rewards at which RL heals, as the paper proposes."""

AT_FIRST = (
    "positive_share",
    "advantage_std",
    "advantage_entropy_nats",
    "entropy_nats",
    "zero_variance_share",
    "clip_share",
)

AT_LAST = {
    "entropy_end_nats": "entropy_nats",
    "kl_from_start_nats": "kl_from_start_nats",
    "kl_from_base_nats": "kl_from_base_nats",
}  # column here -> column of the log


def window(evaluations: list[str], logs: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return change of held-out OOD accuracy by the main recipe, for each start, beside its
    training.

    `evaluations` and `logs` hold no other recipe. Where a run failed, `failed`
    says why and what follows it is missing. Row "all" has means over seeds.
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "ood")]
    out = []
    for (model, run, start), runs in branch_logs(logs).groupby(["track", "run", "start"]):
        own = rows[rows["track"] == model]
        before, after = (own[own["checkpoint"] == name] for name in (artifacts.sft(start), run))
        state = pd.DataFrame({int(seed): _state(part) for seed, part in runs.groupby("seed")}).T
        for seed in ("all", *state.index):
            ends = [of_seed(part, seed) for part in (before, after)]
            if len(ends[1]):  # else the start alone is known
                ends[0] = ends[0][ends[0]["seed"].isin(ends[1]["seed"])]
            e = stats.change(*ends, statistics)
            accuracies = [part.groupby("seed")["correct"].mean().mean() for part in ends]
            out.append(
                {"track": model, "start": start, "seed": str(seed),
                 "seeds": len(e.by_seed), "healing": e.value, "low": e.low, "high": e.high,
                 "before": accuracies[0], "after": accuracies[1],
                 **(state.mean() if seed == "all" else state.loc[seed]),
                 "failed": failures(of_seed(runs, seed))}
            )  # fmt: skip
    return pd.DataFrame(out)


def _state(run: pd.DataFrame) -> pd.Series:
    """One run at its first iterations, and at its end."""
    early = {column: at_first(run, column) for column in AT_FIRST}
    return pd.Series(early | {name: at_last(run, column) for name, column in AT_LAST.items()})


def balanced_rewards(d: Data) -> list[dict]:
    """RL needs a balance of positive and negative rewards."""
    low, high = BALANCED

    def inside(shares: pd.Series) -> pd.Series:
        return shares.between(low, high).map({True: 1.0, False: -1.0})

    return _contrast(
        d,
        "healing-needs-balanced-rewards",
        f"RL heals more from starts where {low:.0%} to {high:.0%} of its rewards are positive at "
        "first than from others (section 3.2)",
        "positive_share",
        f"positive rewards between {low:g} and {high:g}",
        inside,
    )


def entropy(d: Data) -> list[dict]:
    """RL needs a policy that has not collapsed."""

    def above(values: pd.Series) -> pd.Series:
        return (values > values.median()).astype(float) - (values < values.median())

    return _contrast(
        d,
        "healing-needs-entropy",
        "RL heals more from starts where the policy has more entropy at first (section 3.2)",
        "entropy_nats",
        "entropy above the seed's median",
        above,
    )


def _contrast(
    d: Data,
    claim: str,
    statement: str,
    column: str,
    condition: str,
    side: Callable[[pd.Series], pd.Series],
) -> list[dict]:
    """Return the healing from starts on one side of a condition on `column`, minus the others'.

    `side`: values of one seed's starts -> 1, -1, or 0 where a start counts on neither side. Seeds
    without starts on both sides say nothing, nor does a study with one start.
    """
    if len(d.branches) < 2:
        return []
    healed = _healing(d)
    main = d.logs[d.logs["recipe"] == d.main]
    runs = {key: at_first(run, column) for key, run in main.groupby(["seed", "start"])}
    answered = healed[["seed", "start"]].drop_duplicates()
    known = answered.assign(value=[runs.get(key) for key in answered.itertuples(index=False)])
    known = known.astype({"value": float}).dropna()
    known["side"] = known.groupby("seed")["value"].transform(side)
    healed = healed.merge(known, on=["seed", "start"])
    less, more = (
        healed[healed["side"] == s]
        .groupby([*stats.UNIT, *stats.CARRIED], as_index=False)["change"]
        .mean()
        .rename(columns={"change": "correct"})
        for s in (-1.0, 1.0)
    )
    e = d.change(less, more)
    return [row(claim, statement, e, positive(e, margin(d.fall)), _sides(known, condition, e))]


def _healing(d: Data) -> pd.DataFrame:
    """Return change of OOD answers by the main recipe: a row for each seed, problem and start."""
    parts = []
    for start, branch in d.branches.items():
        ends = (d.at("ood", d.everywhere(name)) for name in (artifacts.sft(start), branch))
        parts.append(stats.paired(*ends).assign(start=start))
    return pd.concat(parts, ignore_index=True)


def _sides(known: pd.DataFrame, condition: str, e: Estimate) -> str:
    """Return which starts were on which side, in words."""
    found = [
        f"from {start} {own['value'].mean():.2f} (yes in {int((own['side'] > 0).sum())} of "
        f"{len(own)} seeds)"
        for start, own in known.groupby("start")
    ]
    listed = ", ".join(found) or "not logged by this recipe"
    said = f"{condition}, mean of the first {WINDOW} iterations: {listed}"
    if not e.by_seed:
        return f"{said}; no seed has starts on both sides, so nothing can be compared"
    return f"{said}; seeds with starts on both sides: {len(e.by_seed)}"


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].sort_values("start")
    rows = [
        (
            r["start"],
            estimate(r, "healing"),
            percent(r["before"]),
            percent(r["after"]),
            percent(r["positive_share"]),
            *(cell(r[c], ".2f") for c in _STATE),
            r["failed"],
        )
        for r in whole.to_dict("records")
    ]
    note = "Main recipe; rewards, advantages and entropy are means of the first ten iterations.\n\n"
    header = [
        "start", "OOD change", "OOD before", "after", "positive rewards", *_STATE.values(),
        "failed",
    ]  # fmt: skip
    return note + grid(header, rows)


_STATE = {
    "advantage_entropy_nats": "entropy of advantages",
    "entropy_nats": "entropy of the policy",
    "kl_from_start_nats": "KL from start, at the end",
    "kl_from_base_nats": "KL from base, at the end",
}

SCHEMA = table(
    "window",
    "Healing by the main recipe from one start, beside the state of its training: means over "
    "the first 10 iterations, unless said otherwise.",
    (
        TRACK, START, SEED,
        count("seeds", "seeds that were evaluated", "seeds"),
        change("healing", "held-out OOD accuracy after minus before", True),
        *interval(change, True),
        share("before", "OOD accuracy at the start", True),
        share("after", "OOD accuracy after the recipe", True),
        share("positive_share", "responses with a positive reward", True),
        logged("advantage_std", "standard deviation of the advantages", "reward"),
        logged("advantage_entropy_nats", "entropy of the advantages' histogram", "nats"),
        nats("entropy_nats", "entropy of the policy", True),
        share("zero_variance_share", "prompts whose samples have the same reward", True),
        share("clip_share", "probability ratios that were clipped", True),
        nats("entropy_end_nats", "entropy of the policy in the last iteration", True),
        nats("kl_from_start_nats", "KL(now || start) at the end", True),
        nats("kl_from_base_nats", "KL(now || base) at the end", True),
        FAILED_RUNS,
    ),
    "track", "start", "seed",
)  # fmt: skip

FINDING = Finding(
    name="window",
    schema=SCHEMA,
    make=window,
    inputs=lambda files: {
        "evaluations": files.evaluations(files.along),
        "logs": files.logs(files.study.main_branches),
    },
    asked=lambda files: files.trained,
    order=10,
    claims=(balanced_rewards, entropy),
    claim_names=("healing-needs-(balanced-rewards|entropy)",),
    title="The window of starts",
    section=section,
)
