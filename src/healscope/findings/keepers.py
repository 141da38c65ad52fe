"""What SFT takes from abilities that it does not train, and what RL and edits leave of them.

Keepers are sets of problems, or texts, that are never trained on (docs/keepers.md). The table has
them beside the two rules of the training task: the forgetting of abilities beside the forgetting of
a rule.
"""

import math
from collections.abc import Iterator

import pandas as pd

from healscope import artifacts, stats
from healscope.artifacts import POINT_NAMES
from healscope.config import Statistics
from healscope.findings import measures
from healscope.findings.columns import SEED, N, in_unit, interval
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import at_landmarks, first_attempts, with_steps
from healscope.markdown import cell, estimate, grid, level
from healscope.schema import (
    IN_NATS,
    IN_SHARES,
    TRACK,
    Column,
    change,
    choice,
    count,
    number,
    share,
    table,
    text,
)
from healscope.stats import Estimate
from healscope.verdicts import YES, margin, negative, positive

BASE = artifacts.sft(0)
"""The base is evaluated as the start of SFT."""

_SET = ["track", "kind", "keeper"]


def keepers(
    evaluations: list[str],
    keeper_files: list[str],
    landmark_files: list[str],
    statistics: Statistics,
) -> pd.DataFrame:
    """Accuracy on each keeper and under each rule, or how probable a text is, at every checkpoint
    and landmark, and what changed since the base: paired by problem, with the problems lost and
    gained.

    MaxOOD is, as everywhere, what other seeds and instances pick (`rows.at_landmarks`).
    """
    rows = with_steps(side_by_side(evaluations, keeper_files))
    names = list(POINT_NAMES)
    marked = at_landmarks(rows, landmark_files, names).assign(at="landmark")
    marked = marked.assign(checkpoint=marked["landmark"], step=None, stage="")
    everywhere = rows.assign(at="checkpoint")
    found = []
    for place, own in pd.concat([everywhere, marked]).groupby([*_SET, "at"], sort=False):
        base = rows[(rows[_SET] == list(place[:-1])).all(axis=1) & (rows["checkpoint"] == BASE)]
        for name, here in own.groupby("checkpoint", sort=False):
            about = dict(zip([*_SET, "at"], place, strict=True)) | {"checkpoint": name}
            about |= here.iloc[0][["stage", "step", "recipe"]].to_dict()
            found += [about | values for values in _since(base, here, statistics)]
    return pd.DataFrame(found).astype({"step": "Int64"})


def side_by_side(evaluations: list[str], keeper_files: list[str]) -> pd.DataFrame:
    """Return held-out first attempts at the training task and at keepers, with columns `kind`
    (rule or keeper) and `keeper` (name of the keeper; id or ood)."""
    own, kept = first_attempts(evaluations), answers_to(keeper_files)
    own = own[own["split"] == "held_out"]
    own = own.assign(kind="rule", keeper=own["rule"])
    return pd.concat([own, kept.assign(kind="keeper", keeper=kept["task"])], ignore_index=True)


def answers_to(keeper_files: list[str]) -> pd.DataFrame:
    """Return first attempts at keepers; column `task` has their names."""
    rows = first_attempts(keeper_files)
    return rows[(rows["split"] == "held_out") & (rows["rule"] == "id")]


def _since(base: pd.DataFrame, here: pd.DataFrame, statistics: Statistics) -> Iterator[dict]:
    """Yield the values of all seeds together ("all"), then of each."""
    both, unit = measures.paired(base, here), measures.unit_of(base)
    counted = exchanged(base, here)
    if unit != IN_SHARES:  # a passage is neither right nor wrong
        counted = counted * math.nan
    parts = [("all", here, both, counted.mean(numeric_only=True))]
    for seed, own in here.groupby("seed"):
        parts.append((str(seed), own, both[both["seed"] == seed], counted.loc[seed]))
    for seed, own, pairs, numbers in parts:
        yield {
            "seed": seed,
            "n": len(own),
            "unit": unit,
            **_limits(measures.level(own, statistics), "value", ""),
            **_limits(measures.change(pairs, statistics), "change", "change_"),
            **numbers.to_dict(),
        }


def _limits(e: Estimate, name: str, prefix: str) -> dict[str, float]:
    return {name: e.value, f"{prefix}low": e.low, f"{prefix}high": e.high}


def exchanged(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return, for each seed, how many problems were lost (right before, wrong after) and gained,
    and how many chance alone would exchange, as `stats.exchanged` counts them."""
    both = before[[*stats.UNIT, "correct"]].merge(
        after[[*stats.UNIT, "correct"]], on=stats.UNIT, suffixes=("_before", "_after")
    )
    found = {
        seed: stats.exchanged(
            *(own[f"correct_{end}"].to_numpy(float) for end in ("before", "after"))
        )
        for seed, own in both.groupby("seed")
    }
    return pd.DataFrame.from_dict(found, orient="index")


def falls_and_healing(d: Data) -> list[dict]:
    """Claim of each keeper that SFT takes something from it, and that RL gives that back."""
    found: list[dict] = []
    if d.keepers is None:
        return found
    base, end = d.everywhere(BASE), d.landmark("end")
    for name, rows in d.keepers.groupby("task", sort=False):
        before, after = (d.at("id", point, rows) for point in (base, end))
        what = _WHAT[measures.unit_of(rows)]
        fall = _change(d, before, after)
        able = measures.can_lose(before)
        fallen = negative(fall).only_if(able)
        found.append(
            row(
                f"keeper-{name}-falls",
                f"SFT takes from keeper {name}: {what} falls from the base to End",
                fall,
                fallen,
                _beside(d, before, after)
                + (
                    ""
                    if able
                    else "; the base has hardly any right answers, so there is nothing to lose"
                ),
            )
        )
        if not all("rl" in marks for marks in d.landmarks.values()):
            continue
        healing = _change(d, after, d.at("id", d.landmark("rl"), rows))
        lost = fallen in YES
        found.append(
            row(
                f"keeper-{name}-healed-by-rl",
                f"RL gives back to keeper {name}: {what} rises from End to RL",
                healing,
                positive(healing, margin(fall)).only_if(lost),
                "compared with what was lost from the base to End"
                + ("" if lost else ": no clear loss, so there is nothing to give back"),
            )
        )
    return found


_WHAT = {IN_SHARES: "its accuracy", IN_NATS: "the log-probability of its tokens"}


def _change(d: Data, before: pd.DataFrame, after: pd.DataFrame) -> Estimate:
    return measures.change(measures.paired(before, after), d.settings)


def _beside(d: Data, before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return what a claim says beside the change: problems lost and gained, or perplexity."""
    if measures.unit_of(before) == IN_NATS:
        levels = [measures.level(rows, d.settings).value for rows in (before, after)]
        return "its perplexity goes from {:.4g} to {:.4g}".format(*(math.exp(-x) for x in levels))
    numbers = exchanged(before, after).mean()
    return (
        f"of its problems {numbers['lost']:.1f} are lost and {numbers['gained']:.1f} gained in a "
        f"seed; chance alone would exchange {numbers['chance_lost']:.1f} and "
        f"{numbers['chance_gained']:.1f}"
    )


def section(table: pd.DataFrame) -> str:
    """Landmarks of each set: accuracy or perplexity, change since the base, problems lost and
    gained."""
    own = table[(table["seed"] == "all") & (table["at"] == "landmark")]
    own = own.sort_values("kind", key=lambda kind: kind != "rule", kind="stable")
    rows = [
        (
            r["keeper"].upper() if r["kind"] == "rule" else r["keeper"],
            POINT_NAMES[r["checkpoint"]],
            _level(r),
            estimate(r, "change", prefix="change_"),
            *(f"{cell(r[k], '.1f')} ({cell(r['chance_' + k], '.1f')})" for k in ("lost", "gained")),
        )
        for r in own.to_dict("records")
    ]
    note = (
        "Keepers are never trained on; ID and OOD are the rules of training. Problems lost and "
        "gained since the base, beside (in brackets) what chance alone would exchange."
    )
    if (own["unit"] == IN_NATS).any():
        note += " For texts, the level is perplexity, and the change is in nats per token."
    note += "\n\n"
    header = ["set", "weights", "level", "change since base", "lost", "gained"]
    return note + grid(header, rows)


def _level(row: dict) -> str:
    """Format an accuracy in percent, or a perplexity, with its interval."""
    if row["unit"] != IN_NATS:
        return level(row, "value")
    value, high, low = (cell(math.exp(-row[key]), ".4g") for key in ("value", "low", "high"))
    return f"perplexity {value} [{low}, {high}]"


def _problems(name: str, about: str) -> Column:
    about = f"{about}; of all seeds: their mean; missing of texts"
    return number(name, about, "problems", nullable=True)


SCHEMA = table(
    "keepers",
    "Accuracy of one checkpoint or landmark on one keeper, or under one rule of the training task, "
    "or how probable a text is to it, and what changed since the base.",
    (
        TRACK,
        choice("kind", ("rule", "keeper"), "what the problems are"),
        text("keeper", "name of the keeper; of a rule: id or ood"),
        choice("at", ("checkpoint", "landmark"), "what column checkpoint names"),
        text("checkpoint", "its name; of a landmark: base, maxood, end or rl"),
        choice("stage", ("sft", "rl", ""), "what made the checkpoint; empty of landmarks"),
        count(
            "step", "SFT step; where RL started from; missing of landmarks", "steps", nullable=True
        ),
        text("recipe", "recipe that made it; empty of SFT"),
        SEED, N,
        *in_unit(
            share(
                "value",
                "accuracy of first attempts; of a text the mean log-probability of a token, of "
                "which perplexity is exp(-value)",
            ),
            *interval(),
            change("change", "of value since the base, on the same problems or passages"),
            change("change_low", "lower limit of the interval"),
            change("change_high", "upper limit of the interval"),
        ),
        _problems("lost", "right at the base, wrong here"),
        _problems("gained", "wrong at the base, right here"),
        _problems("chance_lost", "lost if which problems are right were drawn anew"),
        _problems("chance_gained", "gained if which problems are right were drawn anew"),
    ),
    "track", "kind", "keeper", "at", "checkpoint", "seed",
)  # fmt: skip

FINDING = Finding(
    name="keepers",
    schema=SCHEMA,
    make=keepers,
    inputs=lambda files: {
        "evaluations": files.evaluations([*files.sft(), *files.study.branches]),
        "keeper_files": files.of_keepers([*files.sft(), *files.study.branches]),
        "landmark_files": files.landmarks(),
    },
    asked=lambda files: bool(files.keepers),
    target=lambda files: bool(files.keepers),
    order=3.5,
    claims=(falls_and_healing,),
    claim_names=("keeper-.+-(falls|healed-by-rl)",),
    title="What else was lost: keepers",
    section=section,
)
