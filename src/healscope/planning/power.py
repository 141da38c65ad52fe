"""`healscope power`: how likely a study with other seeds and problems would decide its claims.

A table of claims holds how large each effect is, and how much of its chance comes from seeds and
from instances (`stats.Sources`). Neither is known exactly: for each simulated study the variance
between seeds and the effect are drawn from what the table leaves open, so that the answer is an
expected power ("assurance", O'Hagan et al. 2005). Its answers are judged by the same intervals,
rules and corrections as real ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from healscope import provenance
from healscope.config import Statistics
from healscope.errors import HealscopeError
from healscope.progress import Bar
from healscope.schema import IN_SHARES
from healscope.stats import Layout, estimate
from healscope.verdicts import FAILED, HELD, RULES, Verdict, holm

STUDIES = 200
"""Simulated studies for each number of seeds and instances: standard errors of up to 3.5 points."""

ALL = "all of them"


def power(
    claims: pd.DataFrame,
    seeds: Iterable[int],
    instances: Iterable[int],
    statistics: Statistics,
    studies: int = STUDIES,
    others: int = 0,
) -> pd.DataFrame:
    """Simulate studies in which claims have the effects that a table says, and judge them.

    `claims` has rows of table `claims` that can be simulated (`simulable`). They are drawn
    independently of one another and corrected together by Holm's method, with `others` more that
    show nothing. `instances` are those of the claim that has most; others have as many fewer as in
    the table.

    Return one row for each number of seeds and instances and each claim: columns seeds, instances,
    claim, and the shares of studies in which it is held, failed, or decided, which is either. A
    last row, ALL, has the share of studies in which every claim is decided.
    """
    rows = claims.to_dict("records")
    most = max(row["instances"] for row in rows)
    cells = list(product(seeds, instances))
    found = []
    with Bar(len(cells) * studies, "simulated studies") as bar:
        for of_seeds, count in cells:
            words = np.empty((studies, len(rows)), dtype=object)
            for n in range(studies):
                rng = np.random.default_rng([statistics.seed, of_seeds, count, n])
                made = [
                    _judged(row, of_seeds, round(count * row["instances"] / most), rng, statistics)
                    for row in rows
                ]
                p = [1.0 if np.isnan(v.p) else v.p for v in made]
                small = (
                    holm(np.append(p, np.ones(others)))[: len(rows)] <= 1 - statistics.confidence
                )
                words[n] = [str(v) if ok else "" for v, ok in zip(made, small, strict=True)]
                bar.update()
            cell = {"seeds": of_seeds, "instances": count}
            for c, name in enumerate(claims["claim"]):
                held, failed = ((words[:, c] == word).mean() for word in (HELD, FAILED))
                either = {"held": held, "failed": failed, "decided": held + failed}
                found.append({**cell, "claim": name, **either})
            decided = np.isin(words, [HELD, FAILED]).all(1).mean()
            found.append({**cell, "claim": ALL, "decided": decided})
    return pd.DataFrame(found)


def simulable(claims: pd.DataFrame) -> pd.Series:
    """Return a mask of claims of which rule, effect and sources of chance are known.

    Not of those that were left open because what they are about was not there: they have no p.
    """
    known = claims[["effect", "p", "margin", "sd_seeds"]].notna().all(axis=1)
    return known & (claims["rule"] != "")


def table(file: str | Path, seeds: Sequence[int], instances: Sequence[int]) -> str:
    """Return the power of the primary claims of a file of claims as text.

    Without `instances` they are those of the file, twice and four times as many. Raises
    HealscopeError if the file says of no primary claim where its chance comes from.
    """
    if not Path(file).is_file():
        raise HealscopeError(f"there is no {file}; make a study's table claims, or name its file")
    made = provenance.read_provenance(file)
    claims = provenance.read_table(file) if made else pd.DataFrame()
    if "claim" not in claims:
        raise HealscopeError(f"{file} is no table of claims of a study; name that file")
    if "rule" not in claims:
        raise HealscopeError(f"{file} is of an earlier version; make it again by Snakemake")
    config = made["config"]
    claims = claims[claims["family"] == "primary"]
    unmade = sorted(set(config["primary"]) - set(claims["claim"]))
    if claims["track"].nunique() > 1:
        claims = claims.assign(claim=claims["track"] + ": " + claims["claim"])
    possible = simulable(claims)
    known = claims[possible]
    if known.empty:
        raise HealscopeError(
            f"{file} has no primary claim of which it is known how seeds differ: that takes two "
            "seeds or more, and claims in claims.primary of the config"
        )
    left = [*claims.loc[~possible, "claim"], *unmade]
    most, seeds = int(known["instances"].max()), sorted(set(seeds))
    counts = sorted(set(instances)) or [most, 2 * most, 4 * most]
    statistics = Statistics.model_validate(config["statistics"])
    found = power(known, seeds, counts, statistics, others=len(left))
    lines = [
        f"Held / did not hold, in % of {STUDIES} simulated studies, after Holm's correction for",
        f"{len(known) + len(left)} primary claims. What {known['seeds'].max()} seeds leave open of "
        "effect and variance is drawn anew for each.",
    ]
    width = max(len(name) for name in (*known["claim"], ALL)) + 2
    for count in counts:
        own = found[found["instances"] == count].set_index(["claim", "seeds"])
        lines += [
            "",
            f"{count} instances".ljust(width) + "".join(f"{s:>10}" for s in seeds) + " seeds",
        ]
        for name in known["claim"]:
            cells = (own.loc[(name, s)] for s in seeds)
            texts = (f"{100 * c['held']:.0f} / {100 * c['failed']:.0f}" for c in cells)
            lines.append(name.ljust(width) + "".join(f"{text:>10}" for text in texts))
        both = (f"{100 * own.loc[(ALL, s), 'decided']:.0f}" for s in seeds)
        lines.append("all are decided".ljust(width) + "".join(f"{text:>10}" for text in both))
    heads = ("effect", "margin", "seeds", "instances", "both", "answers")
    lines += ["", "points, and SDs".ljust(width) + "".join(f"{head:>10}" for head in heads)]
    for row in known.to_dict("records"):
        scale = 100 if row["unit"] == IN_SHARES else 1
        names = ("effect", "margin", *(f"sd_{head}" for head in heads[2:]))
        numbers = "".join(f"{scale * row[name]:10.1f}" for name in names)
        unit = "" if row["unit"] == IN_SHARES else f"  ({row['unit']})"
        lines.append(row["claim"].ljust(width) + numbers + unit)
    if left:
        lines.append(f"not simulated, and counted as showing nothing: {', '.join(left)}")
    return "\n".join(lines)


def _judged(
    row: dict, seeds: int, instances: int, rng: np.random.Generator, statistics: Statistics
) -> Verdict:
    """Return the verdict of one simulated study: seeds, instances and both vary normally."""
    effect, sd_seeds = _possible(row, rng, statistics)
    values_SI = (
        effect
        + sd_seeds * rng.standard_normal((seeds, 1))
        + row["sd_instances"] * rng.standard_normal(instances)
        + row["sd_both"] * rng.standard_normal((seeds, instances))
    )
    bounds = (-1.0, 1.0) if row["unit"] == IN_SHARES else (-np.inf, np.inf)
    layout = Layout(list(range(seeds)), values_SI, np.ones_like(values_SI))
    made = replace(estimate([layout], row["sd_answers"] ** 2, bounds, statistics), unit=row["unit"])
    return RULES[row["rule"]](made, row["margin"])


def _possible(row: dict, rng: np.random.Generator, statistics: Statistics) -> tuple[float, float]:
    """Draw an effect and a standard deviation between seeds that the table's row leaves possible.

    As in `stats.estimate`, seeds differ by what chi-squared allows, the guess being one seed more.
    """
    seeds, instances = row["seeds"], max(row["instances"], 1)
    noise = row["sd_both"] ** 2 / instances
    spread, known = row["sd_seeds"] ** 2 + noise, seeds - 1
    if statistics.seed_sd is not None:
        guess = (statistics.seed_sd * row["sd_answers"]) ** 2
        spread, known = (known * spread + guess + noise) / seeds, seeds
    between = max(spread * known / rng.chisquare(known) - noise, 0.0)
    error = (between + noise) / seeds + row["sd_instances"] ** 2 / instances
    return row["effect"] + np.sqrt(error) * rng.standard_normal(), float(np.sqrt(between))
