"""Sections on accuracy: tables of a study as Markdown, each from one table."""

import pandas as pd

from healscope import artifacts
from healscope.markdown import (
    bullets,
    estimate,
    grid,
    interval,
    number,
    percent,
    points,
    thousands,
)
from healscope.stats import POWER


def claims(claims: pd.DataFrame) -> str:
    header = ["claim", "family", "verdict", "p", "adjusted", "effect", "interval", "by seed",
              f"detectable ({POWER:.0%})"]  # fmt: skip
    rows = [
        (r["statement"], r["family"], r["verdict"], number(r["p"], ".3f"),
         number(r["p_adjusted"], ".3f"), points(r["effect"]), interval(r["low"], r["high"], "+.1f"),
         ", ".join(map(points, r["by_seed"])), percent(r["detectable"]))
        for r in claims.to_dict("records")
    ]  # fmt: skip
    details = [f"*{r['statement']}*: {r['detail']}." for r in claims.to_dict("records")]
    return grid(header, rows) + "\n\nDetails:\n\n" + bullets(details)


def landmarks(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["landmark", "rule"])
    names = {
        **artifacts.LANDMARK_NAMES,
        "maxood_uncorrected": "MaxOOD on the instances that picked it",
    }
    rows = [
        (label, *(estimate(whole.loc[(name, rule)], "accuracy") for rule in ("id", "ood")))
        for name, label in names.items()
    ]
    return grid(["landmark", "ID", "OOD"], rows)


def protocols(table: pd.DataFrame) -> str:
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
        for r in whole.sort_values(order, key=_sft_first).to_dict("records")
    ]
    tries = table.groupby("protocol")["attempts"].max().items()
    note = (
        f"pass@k: any of {int(table['k'].max())} samples. After feedback: right in the first or a "
        f"later attempt, of at most {', '.join(f'{n} ({p})' for p, n in tries)}. First attempts "
        "count all problems, the others those that are retried.\n\n"
    )
    return note + grid(["protocol", "checkpoint", "rule", *measures.values()], rows)


def _sft_first(column: pd.Series) -> pd.Series:
    return column.map({"sft": 0, "rl": 1}) if column.name == "stage" else column


def exposure(table: pd.DataFrame) -> str:
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


def factorial(table: pd.DataFrame) -> str:
    sft = table[(table["stage"] == "sft") & (table["seed"] == "all")]
    last = sft[sft["step"] == sft["step"].max()]
    rows = [
        (r["name"], estimate(r, "value", "+.1f" if r["kind"] == "effect" else ".1f"))
        for r in last.to_dict("records")
    ]
    return grid(["cell or effect", "accuracy or change"], rows)


def stopping(table: pd.DataFrame) -> str:
    rows = [
        (r["rank"], r["signal"], r["rule"], r["needs"], r["stops_at"], estimate(r, "regret"))
        for r in table.to_dict("records")
    ]
    header = ["rank", "signal", "rule", "needs", "stops at (by seed)", "regret, OOD points"]
    return grid(header, rows)


def published(table: pd.DataFrame) -> str:
    rows = [
        (r["published_model"], r["rule"].upper(), r["what"],
         f"{points(r['published'])} "
         + interval(r["published_low"], r["published_high"], "+.1f"),
         r["protocol"], estimate(r, "measured", "+.1f"), r["compatible"])
        for r in table[table["kind"] == "change"].to_dict("records")
    ]  # fmt: skip
    header = ["published model", "rule", "change", "published", "protocol", "measured",
              "compatible"]  # fmt: skip
    return grid(header, rows)


def arms(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["arm", "kind", "rule", "step"])
    arms = ["sft", *table.loc[table["arm"] != "sft", "arm"].unique()]
    columns = [(kind, rule) for kind in ("level", "difference") for rule in ("id", "ood")]
    rows = [
        (arm, step,
         *("–" if (arm, kind, rule, step) not in whole.index
           else estimate(whole.loc[(arm, kind, rule, step)], "accuracy",
                          ".1f" if kind == "level" else "+.1f")
           for kind, rule in columns))
        for arm in arms
        for step in sorted(table["step"].unique())
    ]  # fmt: skip
    note = (
        "diverse: paraphrased prompts; solutions: any correct answer, drawn anew each epoch; the "
        "others: methods (rotation-aware.md).\n\n"
    )
    header = ["arm", "SFT step", "ID", "OOD", "ID, minus sft", "OOD, minus sft"]
    return note + grid(header, rows)


def recipes(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].sort_values(
        ["start", "kind", "healing"], ascending=[True, False, False]
    )
    rows = [
        (
            r["recipe"],
            r["algorithm"],
            r["start"],
            *(percent(r[f"{rule}_after"]) for rule in ("id", "ood")),
            estimate(r, "healing", "+.1f"),
            "–"
            if pd.isna(r["id_change"])
            else f"{points(r['id_change'])} " + interval(r["id_low"], r["id_high"], "+.1f"),
            thousands(r["generated_tokens"]),
            thousands(r["trained_tokens"]),
            number(r["seconds"], ".0f"),
            number(r["generated_per_second"], ".0f"),
            number(r["trained_per_second"], ".0f"),
            number(r["kl_from_start_nats"], ".2f"),
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
        "recipe",
        "algorithm",
        "start",
        "ID",
        "OOD",
        "OOD change (healing)",
        "ID change",
        "generated",
        "trained on",
        "seconds",
        "generated a second",
        "trained a second",
        "KL",
        "hacking",
        "failed",
    ]
    return note + grid(header, rows)


def window(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].sort_values("start")
    rows = [
        (
            r["start"],
            estimate(r, "healing", "+.1f"),
            percent(r["before"]),
            percent(r["after"]),
            percent(r["positive_share"]),
            *(number(r[c], ".2f") for c in _STATE),
            r["failed"],
        )
        for r in whole.to_dict("records")
    ]
    note = "Main recipe; rewards, advantages and entropy are means of the first ten iterations.\n\n"
    header = [
        "start",
        "OOD change",
        "OOD before",
        "after",
        "positive rewards",
        *_STATE.values(),
        "failed",
    ]
    return note + grid(header, rows)


_STATE = {
    "advantage_entropy_nats": "entropy of advantages",
    "entropy_nats": "entropy of the policy",
    "kl_from_start_nats": "KL from start, at the end",
    "kl_from_base_nats": "KL from base, at the end",
}
