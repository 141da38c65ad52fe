"""How sparse the update of RL is, beside SFT that goes as far, and whether seeds share it.

Both are found for bf16 weights (arXiv 2505.11711: released code for the share of entries, the
overlap of seeds from secondary sources). Rounding alone hides small changes (arXiv 2509.04259), so
every share stands beside those of updates of the same length.
"""

import numpy as np
import pandas as pd

from healscope import artifacts, provenance
from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import SEED
from healscope.findings.contrasts import of_seeds, row
from healscope.findings.finding import Finding
from healscope.markdown import cell, grid
from healscope.measuring.sparsity import ARMS, CONTROL, STORED, control
from healscope.schema import IN_ENTRIES, TRACK, choice, number, share, table
from healscope.verdicts import above, every, positive

BEYOND = 0.1
"""By how much seeds have to share more entries than chance has, to share them."""

OVERLAP = artifacts.path(artifacts.TABLE, table="mask-overlap")


def _inputs(files: Files) -> dict[str, list[str]]:
    several = len(files.study.seeds) > 1
    return {
        "probes": files.each(artifacts.probe("sparsity")),
        "overlaps": [OVERLAP] if several else [],
    }


def _lacking(files: Files) -> str:
    if files.study.rl_landmark is None:
        return "a branch of RL from End (landmarks.rl)"
    if control(files.study) is None:
        return f"SFT of the same length: rl.branches {CONTROL}: [{files.study.end_step}]"
    return ""


def measure(probes: list[str]) -> pd.DataFrame:
    """Return the share of entries that stay as they are, over all matrices, of each update."""
    rows = pd.concat([provenance.read_table(f) for f in probes], ignore_index=True)
    by_run = rows.assign(
        kept=rows["unchanged"] * rows["entries"],
        squared=rows["norm"] ** 2,
        ranks=rows["rank"] * rows["entries"],
    ).groupby(["track", "arm", "stored", "seed"])[["kept", "squared", "ranks", "entries"]]
    sums = by_run.sum().reset_index()
    single = pd.DataFrame(
        {
            **{name: sums[name] for name in ("track", "arm", "stored")},
            "seed": sums["seed"].astype(str),
            "unchanged": sums["kept"] / sums["entries"],
            "norm": sums["squared"] ** 0.5,
            "rank": sums["ranks"] / sums["entries"],
        }
    )
    measured = ["unchanged", "norm", "rank"]
    whole = single.groupby(["track", "arm", "stored"], as_index=False)[measured].mean()
    return pd.concat([whole.assign(seed="all"), single], ignore_index=True)


# Claims.


def judge(probes: list[str], statistics: Statistics, overlaps: list[str] = ()) -> list[dict]:
    """Return the claims of each track."""
    shares = measure(probes)
    pairs = pd.concat([provenance.read_table(f) for f in overlaps]) if overlaps else None
    found = []
    for track, own in shares.groupby("track"):
        ours = None if pairs is None else pairs[pairs["track"] == track]
        found += [{"track": track, **c} for c in claims_of(own, ours, statistics)]
    return found


def claims_of(
    shares: pd.DataFrame, overlaps: pd.DataFrame | None, statistics: Statistics
) -> list[dict]:
    """Return the claims of one track, from rows of `measure` and of table mask-overlap."""
    single = shares[(shares["seed"] != "all") & (shares["stored"] == "bf16")]
    by_arm = single.pivot_table(index="seed", columns="arm", values="unchanged")
    found = []
    if "sft scaled" in by_arm:
        gap = (by_arm["rl"] - by_arm["sft scaled"]).to_dict()
        e = of_seeds(gap, statistics, len(gap), IN_ENTRIES)
        means = ", ".join(f"{arm} {100 * by_arm[arm].mean():.1f}%" for arm in by_arm)
        exact = shares[(shares["stored"] == "float32") & (shares["seed"] == "all")]
        told = ", ".join(
            f"{r['arm']} {100 * r['unchanged']:.1f}%" for r in exact.to_dict("records")
        )
        found.append(
            row(
                "rl-is-sparser-than-sft-as-long",
                "RL leaves more entries of bf16 weights as they are than SFT of the same length "
                "(arXiv 2505.11711)",
                e,
                positive(e),
                f"unchanged in bf16: {means}; in float32: {told}; with seeds as units",
            )
        )
    if overlaps is not None and len(overlaps):
        rounded, largest = (
            of_seeds(beyond, statistics, len(beyond), IN_ENTRIES)
            for beyond in (shared(overlaps, "bf16"), shared(overlaps, "largest"))
        )
        found.append(
            row(
                "seeds-change-the-same-entries",
                f"RL changes the same entries in several seeds, {100 * BEYOND:.0f} points more "
                "than chance, and not only where rounding shows small changes (arXiv 2505.11711)",
                largest,
                every(above(rounded, BEYOND), above(largest, BEYOND)),
                "overlap of the largest tenth of the changes from End to RL, minus what masks with "
                "as many changes in every row and column share; of entries changed in bf16, where "
                "small entries show smaller changes than large ones do, "
                f"{100 * rounded.value:+.1f} points; jackknife over seeds",
            )
        )
    return found


def shared(overlaps: pd.DataFrame, changed: str) -> dict[str, float]:
    """Return for each seed the jackknife pseudo-value of how much more than chance pairs share, of
    the entries that are `changed` so (`masks.changed`).

    A pair speaks of two seeds, so that pairs are no units. The mean of pseudo-values is that of all
    pairs, and their variance counts each seed in all of its pairs (U statistic, Sen 1960). With two
    seeds there is one pair, and no value.
    """
    own = overlaps[
        (overlaps["pair"] == "end--rl") & (overlaps["role"] == "all")
        & (overlaps["changed"] == changed)
    ]  # fmt: skip
    pairs = {
        frozenset(names): value
        for *names, value in zip(
            own["seed_a"], own["seed_b"], own["overlap"] - own["chance_in_lines"], strict=True
        )
    }
    seeds = sorted({seed for pair in pairs for seed in pair})
    n = len(seeds)
    if n < 3:
        return {}
    whole = np.mean(list(pairs.values()))
    without = {s: np.mean([v for pair, v in pairs.items() if s not in pair]) for s in seeds}
    return {s: float(n * whole - (n - 1) * without[s]) for s in seeds}


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    rows = [
        (r["arm"], r["stored"], cell(100 * r["unchanged"], ".2f"), cell(r["norm"], ".3g"),
         cell(100 * r["rank"], ".1f"))
        for r in whole.to_dict("records")
    ]  # fmt: skip
    return grid(["update", "stored", "unchanged (%)", "norm", "rank (%)"], rows)


SCHEMA = table(
    "sparsity",
    "How many entries of all decomposed matrices an update from End leaves as they are.",
    (
        TRACK,
        choice("arm", ARMS, "; ".join(f"{name}: {about}" for name, about in ARMS.items())),
        choice("stored", STORED, "format in which entries are compared; 1e-5: in float32, within "
               "so much"),
        SEED,
        share("unchanged", "of the entries"),
        number("norm", "Frobenius norm of the update over all matrices"),
        share("rank", "numerical rank, of the most there could be, weighted by entries"),
    ),
    "track", "arm", "stored", "seed",
)  # fmt: skip

FINDING = Finding(
    name="sparsity",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and files.rl),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=("rl-is-sparser-than-sft-as-long", "seeds-change-the-same-entries"),
    order=32,
    title="How sparse updates are",
    section=section,
)
