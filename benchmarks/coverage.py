"""How often intervals hold the truth and verdicts are wrong, in worlds where the truth is known.

    OPENBLAS_NUM_THREADS=1 python benchmarks/coverage.py [--worlds 400] [coverage|nulls|power ...]

Prints the tables of docs/statistics.md: coverage of the interval of `healscope.stats.bootstrap`,
with and without its guess of how seeds differ, beside simpler ones; nulls in which nothing happens
and "held" is wrong; effects that are planted; and the smallest effects that can be shown.

The studies are simulated by `worlds.py`.
"""

import argparse
import platform
from collections.abc import Callable
from itertools import product
from time import perf_counter

import numpy as np
import pandas as pd
from worlds import (
    LEVELS,
    SEEDS,
    SIZES,
    SPREADS,
    Worlds,
    estimate,
    rise,
    scenario,
    two_kinds,
    wandering,
)

from healscope import stats, verdicts
from healscope.config import Statistics
from healscope.stats import Estimate


def covered(estimates: list[Estimate], truth_N: np.ndarray) -> np.ndarray:
    return np.array([e.low <= t <= e.high for e, t in zip(estimates, truth_N, strict=True)])


def naive(rng, worlds: Worlds, of_seeds: str, resamples: int = 500) -> float:
    """Coverage of the percentile bootstrap that redraws instances.

    Seeds are "fixed", or "redrawn" like instances, or get noise of the "estimated" variance between
    them, with Student's t for how little few seeds tell.
    """
    n, seeds, instances = worlds.after_NSI.shape
    total_NSI = worlds.after_NSI - (0 if worlds.before_NSI is None else worlds.before_NSI)
    drawn_RI = rng.multinomial(instances, np.full(instances, 1 / instances), resamples)
    means_NRS = (drawn_RI @ total_NSI.transpose(0, 2, 1)) / (drawn_RI @ worlds.sizes_I)[:, None]
    resampled_NR = means_NRS.mean(2)
    if of_seeds == "redrawn":
        shares_NRS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), (n, resamples)) / seeds
        resampled_NR = (means_NRS * shares_NRS).sum(2)
    elif of_seeds == "estimated":
        mean_NS = total_NSI.sum(2) / worlds.sizes_I.sum()
        residual = (total_NSI - mean_NS[..., None] * worlds.sizes_I) / worlds.sizes_I.mean()
        both_NSI = residual - residual.mean(1, keepdims=True)
        noise_N = np.square(both_NSI).sum((1, 2)) / ((seeds - 1) * (instances - 1)) / instances
        between_N = np.maximum(mean_NS.var(1, ddof=1) - noise_N, 0)
        t_NR = rng.standard_t(seeds - 1, (n, resamples))
        resampled_NR = resampled_NR + np.sqrt(between_N / seeds)[:, None] * t_NR
    low_N, high_N = np.quantile(resampled_NR, [0.025, 0.975], axis=1)
    return float(((low_N <= worlds.truth_N) & (worlds.truth_N <= high_N)).mean())


def coverage_table(n: int, settings: Statistics) -> None:
    print(
        "| what | seeds | seeds differ by | coverage | width | without guess: coverage | width "
        "| seeds redrawn: coverage | instances only: coverage |"
    )
    print("|---|" + "--:|" * 8)
    rng = np.random.default_rng(1)
    pure = settings.model_copy(update={"seed_sd": None})
    for what in LEVELS:
        for seeds, differ in [(1, 0.05), *product(SEEDS, SPREADS)]:
            worlds = scenario(rng, n, what, seeds, differ)
            cells = [f"{100 * differ:.3g}" if seeds > 1 else "-"]
            for kind in (settings, pure):
                if seeds == 1 and kind is pure:  # one seed has no guess to leave out
                    cells += ["-", "-"]
                    continue
                found = worlds.estimates(kind)
                cells.append(f"{100 * covered(found, worlds.truth_N).mean():.1f}%")
                cells.append(f"{100 * np.median([e.high - e.low for e in found]):.0f}")
            for simpler in ("redrawn", "fixed"):
                known = seeds > 1 or simpler == "fixed"
                cells.append(f"{100 * naive(rng, worlds, simpler):.1f}%" if known else "-")
            print(f"| {what} | {seeds} | {' | '.join(cells)} |", flush=True)


# --- nulls: nothing happens, so that "held" is wrong


def falls(studies, settings: Statistics) -> list[Estimate]:
    """The change from the peak to the last checkpoint of each study."""
    return [estimate(last, peak, SIZES, settings) for peak, last in studies]


def wandering_verdicts(studies, settings: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """(verdict on 'it falls from its peak', measured fall) of each study."""
    found = falls(studies, settings)
    return np.array([str(verdicts.negative(e)) for e in found]), np.array([e.value for e in found])


def null_table(n: int, settings: Statistics) -> None:
    """Every null of a single claim: how often a study says "held", and how often its interval holds
    the truth, no change."""
    print(
        "| nothing changes, but | candidates | seeds | held | seen in each seed | did not hold "
        "| measured, points | coverage |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    rng = np.random.default_rng(11)
    for tau, candidates, seeds in product((0, 0.04, 0.06), (4, 8), (3, 5, 10)):
        found = falls(wandering(rng, n, seeds, candidates, tau), settings)
        about = f"checkpoints wander by {100 * tau:.0f} | {candidates} | {seeds}"
        _print_null(about, found, verdicts.negative)
    for differ, seeds in product((0, 0.05, 0.10, 0.20), SEEDS):
        found = rise(rng, n, seeds, 0.0, differ).estimates(settings)
        _print_null(f"seeds differ by {100 * differ:.0f} | - | {seeds}", found, verdicts.moves)


def _print_null(about: str, found: list[Estimate], judge: Callable) -> None:
    said = np.array([str(judge(e)) for e in found])
    holds = np.array([e.low <= 0 <= e.high for e in found])
    shares = [said == v for v in (verdicts.HELD, verdicts.HERE, verdicts.FAILED)]
    print(
        f"| {about} | {' | '.join(map(_share, shares))} "
        f"| {100 * np.mean([e.value for e in found]):+.1f} | {_share(holds)} |",
        flush=True,
    )


def kinds_table(n: int, settings: Statistics) -> None:
    """One seed in four collapses, the mean change is 0: wrong of the mean, wrong of most seeds."""
    print(
        "| seeds | differ by | held | wrong of most seeds | no collapse drawn | held where one was "
        "| then named | coverage of the mean |"
    )
    print("|" + "--:|" * 8)
    rng = np.random.default_rng(12)
    for differ, seeds in product((0.10, 0.20), SEEDS):
        worlds = two_kinds(rng, n, seeds, differ)
        found = worlds.estimates(settings)
        held = np.array([verdicts.moves(e) == verdicts.HELD for e in found])
        falls = np.array([e.value < 0 for e in found])
        drawn = (worlds.own_NS < 0).any(1)
        single = (worlds.own_NS < 0).sum(1) == 1
        named = np.array([bool(e.outliers) for e in found])
        cells = [
            _share(held), _share(held & falls), _share(~drawn), _share(held & drawn),
            _share(named[single]) if seeds > 2 else "-",
            _share(covered(found, worlds.truth_N)),
        ]  # fmt: skip
        print(f"| {seeds} | {100 * differ:.0f} | {' | '.join(cells)} |", flush=True)


def family_table(n: int, settings: Statistics, claims: int = 40, primary: int = 4) -> None:
    """Studies of 40 independent claims, none of them true, four of them primary."""
    print(
        "| seeds | differ by | held without correction, of 40 | any of 40 | primary: any, "
        "uncorrected | primary: any, Holm | others: any, Benjamini–Hochberg | wrong, of 36 |"
    )
    print("|" + "--:|" * 8)
    rng = np.random.default_rng(13)
    names = [f"c{i}" for i in range(claims)]
    for differ, seeds in product((0.05, 0.10), (3, 5, 10)):
        raw, first, wrong = [], [], []
        for _ in range(n):
            judged = [
                verdicts.moves(e) for e in rise(rng, claims, seeds, 0.0, differ).estimates(settings)
            ]
            table = pd.DataFrame(
                {"claim": names, "verdict": [str(v) for v in judged], "p": [v.p for v in judged],
                 "weaker": [v.weaker for v in judged]}
            )  # fmt: skip
            found = verdicts.corrected(table, names[:primary], settings.confidence)
            held = (found["verdict"] == verdicts.HELD).to_numpy()
            alone = (found["verdict_alone"] == verdicts.HELD).to_numpy()
            raw.append((alone.sum(), alone.any(), alone[:primary].any()))
            first.append(held[:primary].any())
            wrong.append(held[primary:].sum())
        counts = np.array(raw, float).mean(0)
        print(
            f"| {seeds} | {100 * differ:.0f} | {counts[0]:.1f} | {100 * counts[1]:.0f}% "
            f"| {100 * counts[2]:.1f}% | {_share(np.array(first))} "
            f"| {_share(np.array(wrong) > 0)} | {np.mean(wrong):.2f} |",
            flush=True,
        )


def _share(said: np.ndarray) -> str:
    return f"{100 * np.mean(said):.1f}%"


# --- planted effects


def power_table(n: int, settings: Statistics) -> None:
    """A true fall from a peak that wanders, and a true rise between two fixed checkpoints."""
    print("| true change | how | seeds | held | seen in each seed | undecided | did not hold |")
    print("|--:|---|" + "--:|" * 5)
    rng = np.random.default_rng(14)
    for points, seeds in product((0.10, 0.15), SEEDS):
        said, _ = wandering_verdicts(wandering(rng, n, seeds, 6, 0.04, points), settings)
        fixed = rise(rng, n, seeds, points, 0.05).estimates(settings)
        rows = {
            f"-{100 * points:.0f} | peak picked of 6, all wander by 4": said,
            f"+{100 * points:.0f} | fixed steps, seeds differ by 5": np.array(
                [str(verdicts.positive(e)) for e in fixed]
            ),
        }
        for label, verdict_N in rows.items():
            kinds = (verdicts.HELD, verdicts.HERE, verdicts.OPEN, verdicts.FAILED)
            cells = [_share(verdict_N == kind) for kind in kinds]
            print(f"| {label} | {seeds} | {' | '.join(cells)} |", flush=True)


def detectable_table(n: int, settings: Statistics) -> None:
    """The smallest rise that is shown in 80% of studies, and, where nothing changes, the median of
    what `Estimate.detectable` says."""
    columns = [(1, 0.0), *((s, d) for d in (0.0, 0.05) for s in SEEDS)]
    heads = ["1 seed", *(f"{s} seeds, differ by {100 * d:.0f}" for s, d in columns[1:])]
    print("| instances |", " | ".join(heads), "|")
    print("|--:|" + "--:|" * len(columns))
    for times in (1, 5):
        cells = []
        for seeds, differ in columns:

            def study(points, seeds=seeds, differ=differ, times=times):
                rng = np.random.default_rng(2)  # the same chance for every rise
                worlds = rise(rng, n, seeds, points, differ, np.tile(SIZES, times))
                return worlds.estimates(settings)

            def shown(points, study=study):
                return np.mean([e.low > 0 for e in study(points)]) >= stats.POWER

            low, high = 0, 41  # the least whole number of points that is shown
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if shown(middle / 100) else (middle, high)
            least = f"{high}" if high < 41 else "over 40"
            said = 100 * np.median([e.detectable for e in study(0.0)])
            cells.append(f"{least} ({said:.0f})")
        print(f"| {times * len(SIZES)} | {' | '.join(cells)} |", flush=True)


TABLES = {
    "coverage": lambda n, s: coverage_table(n, s),
    "nulls": lambda n, s: null_table(n, s),
    "kinds": lambda n, s: kinds_table(n, s),
    "families": lambda n, s: family_table(max(n // 2, 2), s),
    "power": lambda n, s: power_table(n, s),
    "detectable": lambda n, s: detectable_table(max(n // 4, 2), s),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=400, help="studies for each row")
    parser.add_argument(
        "tables", nargs="*", default=[], help=f"of {', '.join(TABLES)}; all if none"
    )
    args = parser.parse_args()
    settings = Statistics()
    print(
        f"{args.worlds} studies a row, {len(SIZES)} instances, {SIZES.sum()} problems, python",
        end=" ",
    )
    print(platform.python_version(), f"numpy {np.__version__}")
    for name in args.tables or TABLES:
        start = perf_counter()
        print(f"\n{name}\n")
        TABLES[name](args.worlds, settings)
        print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
