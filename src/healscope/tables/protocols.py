"""What a protocol makes of the same checkpoints: first attempts, samples, feedback, exposure."""

import pandas as pd

from healscope import provenance, stats
from healscope.config import Statistics
from healscope.tables.rows import attempts, with_steps
from healscope.tasks.problems import sft_examples

BY = ["model", "protocol", "stage", "step", "variant", "rule"]
LEVELS = ("none", "outcome", "full")
PROBLEM = ["seed", "problem_id", "draw"]


def protocols(evaluations: list[str], settings: Statistics) -> pd.DataFrame:
    """Accuracy of every checkpoint under every protocol, each way of counting in its own columns.

    `first_attempt`: all problems with a face card, or all hands of a protocol that draws them. The
    others count the problems that are also sampled and retried: `first_attempt_retried`;
    `pass_at_1` and `pass_at_k`, of `k` samples; `after_none`, `after_outcome`, `after_full`: right
    within `attempts` attempts with that feedback in between. Each has `_low` and `_high`. Split
    "any" takes train and held_out together, as the published protocol does.
    """
    rows = with_steps(attempts(evaluations, ["protocol", "feedback"]))
    rows = rows[(rows["n_faces"] > 0) | rows["retried"]]
    parts = [rows.assign(split="any"), rows]
    out = []
    for (*key, split), group in pd.concat(parts).groupby([*BY, "split"]):
        measures = _measures(group)
        for seed in ("all", *map(str, sorted(group["seed"].unique()))):
            row = dict(zip([*BY, "split", "seed"], [*key, split, seed], strict=True))
            row |= {"k": int(group["sample"].max()), "attempts": int(group["attempt"].max())}
            for name, frame in measures.items():
                own = frame if seed == "all" else frame[frame["seed"].astype(str) == seed]
                e = stats.bootstrap(own, "value", settings) if len(own) else None
                for suffix, field in (("", "value"), ("_low", "low"), ("_high", "high")):
                    row[name + suffix] = getattr(e, field) if e else float("nan")
            out.append(row)
    return pd.DataFrame(out)


def _measures(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """measure -> one row for each problem and seed: seed, deal_id, value."""
    first = rows[(rows["sample"] == 0) & (rows["attempt"] == 1)]
    again = first[first["retried"]]
    samples = rows[rows["sample"] > 0].groupby(PROBLEM)["correct"].agg(["sum", "count"])
    found = {"first_attempt": first["correct"], "first_attempt_retried": again["correct"]}
    frames = {
        name: first.loc[values.index, ["seed", "deal_id"]].assign(value=values.astype(float))
        for name, values in found.items()
    }
    place = again.set_index(PROBLEM)
    for name, share in (
        ("pass_at_1", samples["sum"] / samples["count"]),
        ("pass_at_k", (samples["sum"] > 0).astype(float)),
    ):
        frames[name] = place.loc[share.index, ["deal_id"]].assign(value=share).reset_index()
    for level in LEVELS:
        told = rows[rows["feedback"] == level]
        if told.empty and not (rows["attempt"] > 1).any():
            frames[f"after_{level}"] = place.iloc[:0].reset_index().assign(value=0.0)
            continue
        later = told[told["correct"]].set_index(PROBLEM).index
        solved = place["correct"] | place.index.isin(later)
        frames[f"after_{level}"] = place.assign(value=solved.astype(float)).reset_index()
    return frames


def exposure(evaluations: list[str], pools: list[str], sft: dict) -> pd.DataFrame:
    """What the problems of each protocol had to do with training, and what feedback gave away.

    At the last SFT checkpoint, for each protocol, rule and seed: how many hands differ; the share
    whose ID values are on the training side of the hold-out, and the share whose ID values are
    among the examples that this seed was in fact trained on; accuracy of first attempts on those
    seen and those not; the share of feedback messages that named a value of a face card which the
    answer had not used, and how often the attempt after such a message was right.
    """
    rows = with_steps(attempts(evaluations, ["protocol", "feedback", "told_rule"]))
    rows = rows[(rows["stage"] == "sft") & ((rows["n_faces"] > 0) | rows["retried"])]
    rows = rows[rows["step"] == rows["step"].max()]
    pool = pd.concat([provenance.read_table(f) for f in pools], ignore_index=True)
    out = []
    for (model, protocol, seed, rule), group in rows.groupby(["model", "protocol", "seed", "rule"]):
        trained = set(sft_examples(pool, sft["deals"], sft["examples"], seed)["values_id"])
        first = group[(group["sample"] == 0) & (group["attempt"] == 1)]
        seen = first["values_id"].isin(trained)
        full = group[group["feedback"] == "full"]
        out.append(
            {
                "model": model,
                "protocol": protocol,
                "seed": str(seed),
                "rule": rule,
                "problems": len(first),
                "distinct_deals": first["deal_id"].nunique(),
                "training_side_share": float((first["split"] == "train").mean()),
                "trained_on_share": float(seen.mean()),
                "accuracy_trained_on": _mean(first[seen]["correct"]),
                "accuracy_not_trained_on": _mean(first[~seen]["correct"]),
                "messages": len(full),
                "told_rule_share": _mean(full["told_rule"]),
                "accuracy_after_told": _mean(full[full["told_rule"]]["correct"]),
                "accuracy_after_not_told": _mean(full[~full["told_rule"]]["correct"]),
            }
        )
    return pd.DataFrame(out)


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else float("nan")
