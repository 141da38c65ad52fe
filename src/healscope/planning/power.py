"""`healscope power`: how likely a study with other seeds and problems would decide its claims.

A table of claims holds how large each effect is, and how much of its chance comes from seeds and
from instances (`stats.Sources`). Studies with such effects are simulated and judged by the same
intervals, rules and corrections as real ones.
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
from healscope.stats import Estimate, Layout, Sources, estimate
from healscope.verdicts import FAILED, HELD, RULES, holm

STUDIES = 200
"""Simulated studies for each number of seeds and instances: standard errors of up to 3.5 points."""

ALL = "all of them"


def power(
    claims: pd.DataFrame,
    seeds: Iterable[int],
    instances: Iterable[int],
    statistics: Statistics,
    studies: int = STUDIES,
) -> pd.DataFrame:
    """Simulate studies in which claims have the effects that a table says, and judge them.

    `claims` has rows of table `claims` that were judged by one rule (`simulable`). They are drawn
    independently of one another and corrected together by Holm's method.

    Return one row for each number of seeds and instances and each claim, and one for ALL of them:
    columns seeds, instances, claim, and decided, the share of studies in which the verdict is
    "held" or "did not hold".
    """
    rows = claims.to_dict("records")
    cells = list(product(seeds, instances))
    found = []
    with Bar(len(cells) * studies, "simulated studies") as bar:
        for cell in cells:
            decided_NC = np.zeros((studies, len(rows)), dtype=bool)
            for n in range(studies):
                rng = np.random.default_rng([statistics.seed, *cell, n])
                made = [_judged(row, _drawn(row, *cell, rng, statistics)) for row in rows]
                adjusted_C = holm(np.nan_to_num([v.p for v in made], nan=1.0))
                small_C = adjusted_C <= 1 - statistics.confidence + 1e-12
                decided_NC[n] = [v in (HELD, FAILED) for v in made] & small_C
                bar.update()
            shares = [*decided_NC.mean(0), decided_NC.all(1).mean()]
            for name, share in zip([*claims["claim"], ALL], shares, strict=True):
                found.append(
                    {"seeds": cell[0], "instances": cell[1], "claim": name, "decided": share}
                )
    return pd.DataFrame(found)


def simulable(claims: pd.DataFrame) -> pd.Series:
    """Return a mask of claims of which rule, effect and sources of chance are known."""
    return (claims["rule"] != "") & claims[["effect", "margin", "sd_seeds"]].notna().all(axis=1)


def table(
    file: str | Path, seeds: Sequence[int], instances: Sequence[int], share: float = 1.0
) -> str:
    """Return the power of the primary claims of a file of claims as text.

    Without `instances` they are those of the file, twice and four times as many. `share`: of each
    measured effect, how much is there. Raises HealscopeError if the file says of no primary claim
    where its chance comes from.
    """
    claims = provenance.read_table(file)
    if "rule" not in claims:
        raise HealscopeError(f"{file} is of an earlier version; make it again by Snakemake")
    claims = claims[claims["family"] == "primary"]
    known = claims[simulable(claims)]
    if known.empty:
        raise HealscopeError(
            f"{file} has no primary claim of which it is known how seeds differ: that takes two "
            "seeds or more, and claims in claims.primary of the config"
        )
    most = int(known["instances"].max())
    counts = list(instances) or [most, 2 * most, 4 * most]
    config = provenance.read_provenance(file)["config"]["statistics"]
    assumed = "as measured" if share == 1 else f"{share:g} times as large as measured"
    known = known.assign(effect=share * known["effect"])
    found = power(known, seeds, counts, Statistics.model_validate(config))
    lines = [
        f"Chance, by simulation, that a claim is decided if its effect is {assumed},",
        f"after Holm's correction for {len(known)} primary claims; {STUDIES} studies each",
    ]
    for count in counts:
        own = found[found["instances"] == count].pivot(
            index="claim", columns="seeds", values="decided"
        )
        lines += ["", f"{count} instances".ljust(44) + "".join(f"{s:>6}" for s in seeds) + " seeds"]
        for name in [*known["claim"], ALL]:
            lines.append(f"{name:44}" + "".join(f"{own.loc[name, s]:6.0%}" for s in seeds))
    lines += ["", "effects in points, and SDs: between seeds, of instances, of both, of answers"]
    for row in known.to_dict("records"):
        scale = 100 if row["unit"] == IN_SHARES else 1
        numbers = [row["effect"], *(row[f"sd_{s}"] for s in Sources.__dataclass_fields__)]
        lines.append(f"{row['claim']:44}" + "".join(f"{scale * x:8.1f}" for x in numbers))
    left = ", ".join(claims.loc[~simulable(claims), "claim"])
    return "\n".join(lines + ([f"not simulated: {left}"] if left else []))


def _judged(row: dict, e: Estimate):
    return RULES[row["rule"]](e, row["margin"])


def _drawn(
    row: dict, seeds: int, instances: int, rng: np.random.Generator, statistics: Statistics
) -> Estimate:
    """Return the estimate of one simulated study: seeds, instances and both vary normally."""
    values_SI = (
        row["effect"]
        + row["sd_seeds"] * rng.standard_normal((seeds, 1))
        + row["sd_instances"] * rng.standard_normal(instances)
        + row["sd_both"] * rng.standard_normal((seeds, instances))
    )
    bounds = (-1.0, 1.0) if row["unit"] == IN_SHARES else (-np.inf, np.inf)
    layout = Layout(list(range(seeds)), values_SI, np.ones_like(values_SI))
    made = estimate([layout], row["sd_answers"] ** 2, bounds, statistics)
    return replace(made, unit=row["unit"])
