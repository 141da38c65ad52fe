"""Why RL heals: what the paper proposes (arXiv 2509.12235, section 3.2), held against controls.

Contrasts between starts are taken inside each seed, so that no seed stands for a start.
"""

from collections.abc import Callable

import pandas as pd

from healscope import artifacts, stats
from healscope.claims.contrasts import Data
from healscope.claims.paper import row
from healscope.config import ALGORITHMS
from healscope.stats import Estimate
from healscope.tables.rows import WINDOW, at_first, failures
from healscope.tables.window import BALANCED
from healscope.verdicts import Verdict, at_most, margin, positive, signed


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
    """Healing from starts on one side of a condition on `column`, at first, minus the others'.

    `side`: values of one seed's starts -> 1, -1, or 0 where a start counts on neither side. Seeds
    without starts on both sides say nothing.
    """
    if not d.branches:
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
    """Change of OOD answers by the main recipe: a row for each seed, problem and start."""
    parts = []
    for start, branch in d.branches.items():
        ends = (d.at("ood", d.everywhere(name)) for name in (artifacts.sft(start), branch))
        parts.append(stats.paired(*ends).assign(start=start))
    return pd.concat(parts, ignore_index=True)


def _sides(known: pd.DataFrame, condition: str, e: Estimate) -> str:
    """Which starts were on which side, in words."""
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


def controls(d: Data) -> list[dict]:
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
    fresh = [name for name, facts in here.items() if facts["fresh_any"]]
    fresh.sort(key=lambda name: not here[name]["matched"])  # the fairest of them
    for name in fresh[:1]:
        claim = "fresh-any-answers-explain"
        statement = (
            f"RL heals no more than SFT on fresh examples with any correct answer (control {name})"
        )
        found.append(_against(d, name, claim, statement, at_most))
    return found


def _against(
    d: Data, name: str, claim: str, statement: str, judge: Callable[[Estimate, float], Verdict]
) -> dict:
    """The main recipe minus another one, both from where landmark `rl` starts."""
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
    if why := failures(d.logs[d.logs["run"] == other]):
        detail += f"; failed: {why}"
    return row(claim, statement, e, judge(e, margin(d.fall)), detail)
