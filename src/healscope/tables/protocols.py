"""What a protocol makes of the same checkpoints: first attempts, samples, feedback, exposure."""

import pandas as pd

from healscope import stats
from healscope.config import Statistics
from healscope.tables.rows import attempts, seen, with_steps
from healscope.tasks.tables import rules_differ

BY = ["track", "protocol", "stage", "step", "checkpoint", "rule"]
LEVELS = ("none", "outcome", "full")
PROBLEM = ["seed", "problem_id", "draw"]


def protocols(evaluations: list[str], drawn: list[str], settings: Statistics) -> pd.DataFrame:
    """Accuracy of every checkpoint under every protocol, each way of counting in its own columns.

    `first_attempt`: all problems with a face card, or all hands of a protocol that draws them. The
    others count the problems that are also sampled and retried: `first_attempt_retried`;
    `pass_at_1` and `pass_at_k`, of `k` samples; `after_none`, `after_outcome`, `after_full`: right
    in the first of `attempts` attempts or in one after it, with that feedback in between. Each has
    `_low` and `_high`; what a protocol does not do is empty. `later_parsed`: share of the attempts
    after feedback that are answers in the format at all. Split "any" takes all hands of a protocol
    that draws them (named in `drawn`), as the published one does.
    """
    rows = with_steps(attempts(evaluations, ["protocol", "feedback", "parsed"]))
    rows = rows[rules_differ(rows) | rows["retried"]]
    told = rows.groupby("protocol")["feedback"].unique()
    whole = rows[rows["protocol"].isin(drawn)].assign(split="any")
    out = []
    for key, group in pd.concat([whole, rows]).groupby([*BY, "split"]):
        place = dict(zip([*BY, "split"], key, strict=True))
        measures = _measures(group, set(told[place["protocol"]]))
        for seed in ("all", *map(str, sorted(group["seed"].unique()))):
            own = group if seed == "all" else group[group["seed"].astype(str) == seed]
            row = {
                **place,
                "seed": seed,
                "k": int(group["sample"].max()),
                "attempts": int(group["attempt"].max()),
                "later_parsed": _mean(own[own["attempt"] > 1]["parsed"]),
            }
            for name, frame in measures.items():
                of_seed = frame if seed == "all" else frame[frame["seed"].astype(str) == seed]
                e = stats.bootstrap(of_seed, "value", settings)
                row |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
            out.append(row)
    return pd.DataFrame(out)


def _measures(rows: pd.DataFrame, told: set[str]) -> dict[str, pd.DataFrame]:
    """measure -> a row for each problem and seed: seed, instance_id, value; no rows if not done."""
    first = rows[(rows["sample"] == 0) & (rows["attempt"] == 1)]
    again = first[first["retried"]].set_index(PROBLEM)
    samples = rows[rows["sample"] > 0].groupby(PROBLEM)["correct"].agg(["sum", "count"])
    values = {
        "first_attempt": first.set_index(PROBLEM)["correct"],
        "first_attempt_retried": again["correct"],
        "pass_at_1": samples["sum"] / samples["count"],
        "pass_at_k": samples["sum"] > 0,
    }
    for level in LEVELS:
        later = rows[(rows["feedback"] == level) & rows["correct"]].set_index(PROBLEM).index
        solved = again["correct"] | again.index.isin(later)
        values[f"after_{level}"] = solved if level in told else solved.iloc[:0]
    instance = first.set_index(PROBLEM)["instance_id"]
    return {
        name: pd.DataFrame(
            {"instance_id": instance[value.index], "value": value.astype(float)}
        ).reset_index()
        for name, value in values.items()
    }


def exposure(evaluations: list[str], pools: list[str], sft: dict, drawn: list[str]) -> pd.DataFrame:
    """What the problems of each protocol had to do with training, and what feedback gave away.

    At the last SFT checkpoint, for each protocol, rule and seed: how many instances there are; the
    share whose ID values are on the training side of the hold-out, and the share of those among the
    examples that this seed was in fact trained on; accuracy of first attempts on those
    seen and those not; the share of feedback messages that named a value of a face card which the
    answer had not used, and how often attempts were right once such a message had come. Of
    protocols that ask all deals, the held-out ones, which are reported.
    """
    rows = with_steps(attempts(evaluations, ["protocol", "feedback", "told_rule"]))
    rows = rows[(rows["stage"] == "sft") & (rules_differ(rows) | rows["retried"])]
    reported = rows["protocol"].isin(drawn) | (rows["split"] == "held_out")
    rows = rows[(rows["step"] == rows["step"].max()) & reported]
    rows = rows.assign(seen=seen(rows, pools, sft))
    out = []
    for (model, protocol, seed, rule), group in rows.groupby(["track", "protocol", "seed", "rule"]):
        first = group[(group["sample"] == 0) & (group["attempt"] == 1)]
        full = group[group["feedback"] == "full"].sort_values("attempt")
        told = (
            full.groupby(["problem_id", "draw"])["told_rule"].cummax().astype(bool)
        )  # once told, it knows
        out.append(
            {
                "track": model,
                "protocol": protocol,
                "seed": str(seed),
                "rule": rule,
                "problems": len(first),
                "distinct_instances": first["instance_id"].nunique(),
                "training_side_share": float((first["split"] == "train").mean()),
                "trained_on_share": float(first["seen"].mean()),
                "accuracy_trained_on": _mean(first[first["seen"]]["correct"]),
                "accuracy_not_trained_on": _mean(first[~first["seen"]]["correct"]),
                "messages": len(full),
                "told_rule_share": _mean(full["told_rule"]),
                "accuracy_after_told": _mean(full[told]["correct"]),
                "accuracy_after_not_told": _mean(full[~told]["correct"]),
            }
        )
    return pd.DataFrame(out)


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else float("nan")
