"""What a protocol makes of the same checkpoints: first attempts, samples, feedback, exposure."""

from typing import get_args

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.findings.columns import CHECKPOINT, ONE_SEED, SEED, STAGE, STEP
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import any_attempt, attempts, seen, sft_first, with_steps
from healscope.markdown import grid, percent
from healscope.schema import TRACK, Column, choice, count, share, table
from healscope.tasks.problem import Split
from healscope.tasks.schemas import PROTOCOL, RULE
from healscope.tasks.tables import rules_differ
from healscope.verdicts import margin, negative

BY = ["track", "protocol", "stage", "step", "checkpoint", "rule"]

LEVELS = ("none", "outcome", "full")

PROBLEM = ["seed", "problem_id", "draw"]


def protocols(evaluations: list[str], drawn: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return accuracy of every checkpoint under every protocol, each way of counting in its own
    columns.

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
                e = stats.bootstrap(of_seed, "value", statistics)
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
    """Return what the problems of each protocol had to do with training, and what feedback gave
    away.

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


def drawn_hands(d: Data) -> list[dict]:
    """Return what protocols that draw hands, as the published one does, say of the fall."""
    found = []
    for rows in (part for part in d.drawn if len(part)):
        protocol, tries = rows["protocol"].iloc[0], int(rows["attempt"].max())
        solved = any_attempt(rows)
        before = d.at("ood", d.landmark("maxood"), solved)
        after = d.at("ood", d.everywhere(artifacts.sft(d.steps[-1])), solved)
        fall = d.change(before, after)
        changes = stats.paired(before, after)
        # one hand of each instance, as hands of one are not independent
        single = changes.drop_duplicates(["seed", "instance_id"])
        apart = sum(
            stats.mcnemar(own["change"] < 0, own["change"] > 0) < 0.05
            for _, own in single.groupby("seed")
        )
        later = rows[rows["attempt"] > 1]["correct"]
        found.append(
            row(
                f"ood-falls-under-protocol-{protocol}",
                f"OOD success falls from the peak, as protocol '{protocol}' counts it (section 3)",
                fall,
                negative(fall, margin(d.fall)),
                f"{before['draw'].nunique()} drawn problems, right in any of {tries} attempts "
                f"({later.mean():.1%} of those after feedback are right); taken alone, {apart} of "
                f"{len(d.landmarks)} seeds would call the change significant (McNemar, p < 0.05)",
            )
        )
    return found


def protocols_section(table: pd.DataFrame) -> str:
    drawn = set(table.loc[table["split"] == "any", "protocol"])
    whole = table[(table["seed"] == "all") & table["split"].isin(["held_out", "any"])]
    whole = whole[(whole["split"] == "any") == whole["protocol"].isin(drawn)]
    measures = {
        "first_attempt": "first attempt", "pass_at_1": "pass@1, sampled", "pass_at_k": "pass@k",
        "after_none": "after no feedback", "after_outcome": "after right or wrong",
        "after_full": "after full feedback", "later_parsed": "later attempts in the format",
    }  # fmt: skip
    order = ["protocol", "rule", "stage", "step"]
    rows = [
        (r["protocol"], r["checkpoint"], r["rule"].upper(), *(percent(r[m]) for m in measures))
        for r in whole.sort_values(order, key=sft_first).to_dict("records")
    ]
    tries = table.groupby("protocol")["attempts"].max().items()
    note = (
        f"pass@k: any of {int(table['k'].max())} samples. After feedback: right in the first or a "
        f"later attempt, of at most {', '.join(f'{n} ({p})' for p, n in tries)}. First attempts "
        "count all problems, the others those that are retried.\n\n"
    )
    return note + grid(["protocol", "checkpoint", "rule", *measures.values()], rows)


def exposure_section(table: pd.DataFrame) -> str:
    means = table.groupby(["protocol", "rule"], sort=False).mean(numeric_only=True).reset_index()
    shares = {
        "training_side_share": "on the training side", "trained_on_share": "trained on",
        "accuracy_trained_on": "accuracy there", "accuracy_not_trained_on": "and elsewhere",
        "told_rule_share": "messages that name a rule value",
        "accuracy_after_told": "right after those", "accuracy_after_not_told": "after others",
    }  # fmt: skip
    rows = [
        (r["protocol"], r["rule"].upper(), f"{r['problems']:.0f}", f"{r['distinct_instances']:.0f}",
         *(percent(r[s]) for s in shares))
        for r in means.to_dict("records")
    ]  # fmt: skip
    note = "Last SFT checkpoint, mean of the seeds, in percent of first attempts or messages.\n\n"
    return note + grid(["protocol", "rule", "problems", "instances", *shares.values()], rows)


def _ways_of_counting() -> tuple[Column, ...]:
    """Return the columns of `protocols`, each way of counting with its interval."""
    found = []
    for name, about in {
        "first_attempt": "right at the first attempt",
        "first_attempt_retried": "the same, on problems that are also sampled and retried",
        "pass_at_1": "mean over the samples",
        "pass_at_k": "right in at least one of k samples",
        **{
            f"after_{level}": f"right within `attempts` attempts, with feedback {level}"
            for level in LEVELS
        },
    }.items():
        nullable = name != "first_attempt"  # a protocol need not sample or retry
        found.append(share(name, about, nullable))
        found += [
            share(f"{name}_{end}", f"{which} limit of the interval", nullable)
            for end, which in (("low", "lower"), ("high", "upper"))
        ]
    return tuple(found)


PROTOCOLS_SCHEMA = table(
    "protocols",
    "Accuracy of one checkpoint under one protocol, rule and split, in every way of counting.",
    (
        TRACK, PROTOCOL, STAGE, STEP, CHECKPOINT, RULE,
        choice("split", ("any", *get_args(Split)), "side of the hold-out; any: all hands"),
        SEED,
        count("k", "samples behind pass_at_k", "samples"),
        count("attempts", "attempts in one conversation", "attempts", low=1),
        share("later_parsed", "attempts after feedback that are in the answer format", True),
        *_ways_of_counting(),
    ),
    "track", "protocol", "checkpoint", "rule", "split", "seed",
)  # fmt: skip

EXPOSURE_SCHEMA = table(
    "exposure",
    "What one protocol's problems had to do with training, at the last SFT checkpoint.",
    (
        TRACK, PROTOCOL, ONE_SEED, RULE,
        count("problems", "problems posed", "problems"),
        count("distinct_instances", "instances among them", "instances"),
        share("training_side_share", "problems on the training side of the hold-out"),
        share("trained_on_share", "problems whose ID values this seed was trained on"),
        share("accuracy_trained_on", "first attempts at these", True),
        share("accuracy_not_trained_on", "first attempts at the others", True),
        count("messages", "messages of feedback `full`", "messages"),
        share("told_rule_share", "messages that named an unused value of a face card", True),
        share("accuracy_after_told", "attempts right once such a message had come", True),
        share("accuracy_after_not_told", "attempts right where none had come yet", True),
    ),
    "track", "protocol", "seed", "rule",
)  # fmt: skip

PROTOCOLS = Finding(
    name="protocols",
    schema=PROTOCOLS_SCHEMA,
    make=protocols,
    inputs=lambda files: {
        "evaluations": [*files.evaluations(files.along), *files.under_other_protocols()]
    },
    target=lambda _: True,
    order=7,
    claims=(drawn_hands,),
    claim_names=("ood-falls-under-protocol-.+",),
    title="The same checkpoints under each protocol",
    section=protocols_section,
)
EXPOSURE = Finding(
    name="exposure",
    schema=EXPOSURE_SCHEMA,
    make=exposure,
    inputs=lambda files: {
        "evaluations": [
            *files.evaluations(files.sft()[-1], files.cards),
            *files.under_other_protocols(files.cards, files.sft()[-1:]),
        ],
        "pools": files.pools(files.cards),
    },
    asked=lambda files: files.trained and bool(files.cards),
    target=lambda _: True,
    order=7.5,
    title="What the problems had to do with training",
    section=exposure_section,
)
