"""How often `healscope.stats.bootstrap` holds the truth, in worlds where the truth is known.

    OPENBLAS_NUM_THREADS=1 python benchmarks/coverage.py [--worlds 800] [--verdicts]

Prints the tables of docs/statistics.md: coverage of the interval, with and without its guess of
how seeds differ, beside two simpler ones; how often each verdict is given and wrong; the smallest
effects that can be shown; and how much picking the best checkpoint flatters it. Threads only slow
such small matrices down.

An answer is right where level + deal + seed + seed-by-deal + order > 0, all drawn from normal
distributions (standard deviations 1 for deals, a half for seed-by-deal, 1 for card orders). Then
the share of right answers over all seeds and deals follows in closed form.
"""

import argparse
import platform
from bisect import bisect_left
from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from healscope import stats, verdicts
from healscope.config import Statistics

DEALS, ORDERS = 110, 4
SD_DEAL, SD_BOTH, SD_ORDER = 1.0, 0.5, 1.0
WITHIN = float(np.hypot(np.hypot(SD_DEAL, SD_BOTH), SD_ORDER))
LEVELS = {"share": (-0.3,), "change": (-0.3, 0.1)}
"""Of one checkpoint, or of the two that are compared: 42% right, and 53% after."""
SEEDS = (2, 3, 5)
SPREADS = (0, 0.034, 0.10, 0.20)
"""By how much seeds truly differ (SD); 3.4 points are one sampling error of one seed."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def truth(levels: tuple[float, ...], spread: float) -> float:
    """Share right over all seeds and deals; of two levels, the change from the first."""
    shares = norm.cdf(np.array(levels) / np.hypot(WITHIN, spread))
    return float(shares[-1] - (shares[0] if len(shares) > 1 else 0))


def spread_for(levels: tuple[float, ...], wanted: float) -> float:
    """The spread of seeds in the model that makes their true values differ by `wanted` (SD)."""

    def excess(spread: float) -> float:
        shares = [norm.cdf((level + spread * _NODES) / WITHIN) for level in levels]
        return sum(_WEIGHTS @ s**2 - (_WEIGHTS @ s) ** 2 for s in shares) - wanted**2

    return brentq(excess, 0, 10) if wanted else 0.0


@dataclass(frozen=True)
class Worlds:
    """Results of `n` independent studies: worlds (N) by seeds (S) by deals (D) by orders (O)."""

    values_NSDO: np.ndarray
    truth_N: np.ndarray
    own_NS: np.ndarray
    """The truth of each seed that was drawn, over all deals."""
    column: str = "correct"
    """Or "change": what `bootstrap` knows logical bounds by."""

    def frames(self):
        """One table for each world, as `bootstrap` takes it."""
        _, seeds, deals, orders = self.values_NSDO.shape
        keys = np.indices((seeds, deals, orders)).reshape(3, -1)
        for values_SDO in self.values_NSDO:
            frame = pd.DataFrame({"seed": keys[0], "deal_id": keys[1]})
            yield frame.assign(**{self.column: values_SDO.ravel()})


def draw(
    rng: np.random.Generator,
    n: int,
    seeds: int,
    levels: tuple[float, ...],
    spread: float,
    deals: int = DEALS,
    orders: int = ORDERS,
) -> Worlds:
    """Right or not; with two levels the change of each problem, in {-1, 0, 1}.

    A single seed says nothing of others, so there the truth is that of the seed drawn.
    """
    deal_N1D1 = rng.normal(0, SD_DEAL, (n, 1, deals, 1))
    right, own = [], []
    for level in levels:
        seed_NS = rng.normal(0, spread, (n, seeds))
        latent = level + seed_NS[:, :, None, None] + deal_N1D1
        latent = latent + rng.normal(0, SD_BOTH, (n, seeds, deals, 1))
        right.append((latent + rng.normal(0, SD_ORDER, (n, seeds, deals, orders)) > 0) * 1.0)
        own.append(norm.cdf((level + seed_NS) / WITHIN))
    values, own_NS = (x[-1] - (x[0] if len(levels) > 1 else 0) for x in (right, own))
    known = own_NS[:, 0] if seeds == 1 else np.full(n, truth(levels, spread))
    return Worlds(values, known, own_NS, "change" if len(levels) > 1 else "correct")


def scenario(rng, n: int, what: str, seeds: int, differ: float) -> Worlds:
    """Worlds whose true values differ between seeds by `differ` (SD)."""
    return draw(rng, n, seeds, LEVELS[what], spread_for(LEVELS[what], differ))


def rise(rng, n: int, seeds: int, points: float, differ: float, deals: int = DEALS) -> Worlds:
    """Worlds with a true rise, whose true changes differ between seeds by `differ` (SD)."""
    level = LEVELS["change"][0]
    spread = spread_for((level, level), differ)
    scale = np.hypot(WITHIN, spread)
    after = float(norm.ppf(norm.cdf(level / scale) + points) * scale)
    return draw(rng, n, seeds, (level, after), spread, deals)


def estimates(worlds: Worlds, settings: Statistics) -> list[stats.Estimate]:
    return [stats.bootstrap(frame, worlds.column, settings) for frame in worlds.frames()]


def covered(estimates: list[stats.Estimate], worlds: Worlds) -> np.ndarray:
    pairs = zip(estimates, worlds.truth_N, strict=True)
    return np.array([e.low <= t <= e.high for e, t in pairs])


def naive(rng, worlds: Worlds, of_seeds: str, resamples: int = 500) -> float:
    """Coverage of the percentile bootstrap that redraws deals.

    Seeds are "fixed", or "redrawn" like deals, or get noise of the "estimated" variance between
    them, with Student's t for how little few seeds tell.
    """
    n, seeds, deals, _ = worlds.values_NSDO.shape
    drawn_RD = rng.multinomial(deals, np.full(deals, 1 / deals), resamples) / deals
    means_NSD = worlds.values_NSDO.mean(3)
    means_NRS = drawn_RD @ means_NSD.transpose(0, 2, 1)
    resampled_NR = means_NRS.mean(2)
    if of_seeds == "redrawn":
        shares_NRS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), (n, resamples)) / seeds
        resampled_NR = (means_NRS * shares_NRS).sum(2)
    elif of_seeds == "estimated":
        residual_NSD = means_NSD - means_NSD.mean(2, keepdims=True)
        both_NSD = residual_NSD - residual_NSD.mean(1, keepdims=True)
        noise_N = np.square(both_NSD).sum((1, 2)) / ((seeds - 1) * (deals - 1)) / deals
        between_N = np.maximum(means_NSD.mean(2).var(1, ddof=1) - noise_N, 0)
        t_NR = rng.standard_t(seeds - 1, (n, resamples))
        resampled_NR = resampled_NR + np.sqrt(between_N / seeds)[:, None] * t_NR
    low_N, high_N = np.quantile(resampled_NR, [0.025, 0.975], axis=1)
    return float(((low_N <= worlds.truth_N) & (worlds.truth_N <= high_N)).mean())


def coverage_table(n: int, settings: Statistics) -> None:
    print(
        "| what | seeds | seeds differ by | coverage | width | without guess: coverage | width "
        "| seeds redrawn: coverage | deals only: coverage |"
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
                found = estimates(worlds, kind)
                cells.append(f"{100 * covered(found, worlds).mean():.1f}%")
                cells.append(f"{100 * np.median([e.high - e.low for e in found]):.0f}")
            for simpler in ("redrawn", "fixed"):
                known = seeds > 1 or simpler == "fixed"
                cells.append(f"{100 * naive(rng, worlds, simpler):.1f}%" if known else "-")
            print(f"| {what} | {seeds} | {' | '.join(cells)} |", flush=True)


def verdict_table(n: int, settings: Statistics) -> None:
    """Verdicts on 'it rises' (where nothing changes: on 'it changes'), how often "held in these
    seeds" is not true of all these seeds, and verdicts on 'it does not change'."""
    print(
        "| true change | seeds | differ by | held | held in these seeds | and is wrong of them "
        "| undecided | did not hold | did not hold in these seeds | no change: held |"
    )
    print("|" + "--:|" * 10)
    rng = np.random.default_rng(4)
    for points in (0.0, 0.10, 0.15):
        # where a verdict can be wrong of others, also seeds that differ by more than is guessed
        spreads = (0.0, 0.05) if points else (0.0, 0.05, 0.10, 0.20)
        rule = verdicts.positive if points else verdicts.moves
        for differ, seeds in product(spreads, SEEDS):
            worlds = rise(rng, n, seeds, points, differ)
            found = estimates(worlds, settings)
            said_N = np.array([rule(e) for e in found])
            sign_N = np.array([1.0 if points else np.sign(e.value) for e in found])
            true_N = (worlds.own_NS * sign_N[:, None] > 0).all(1)
            still = np.mean([verdicts.negligible(e) == verdicts.HELD for e in found])
            shares = [
                (said_N == verdicts.HELD).mean(),
                (said_N == verdicts.HERE).mean(),
                ((said_N == verdicts.HERE) & ~true_N).mean(),
                *((said_N == v).mean() for v in (verdicts.OPEN, *verdicts.NO)),
                still,
            ]
            cells = " | ".join(f"{100 * share:.1f}%" for share in shares)
            print(f"| {100 * points:.0f} | {seeds} | {100 * differ:.0f} | {cells} |", flush=True)


def detectable_table(n: int, settings: Statistics) -> None:
    """The smallest rise that is shown in 80% of studies, and, where nothing changes, the median of
    what `Estimate.detectable` says."""
    columns = [(1, 0.0), *((s, d) for d in (0.0, 0.05) for s in SEEDS)]
    heads = ["1 seed", *(f"{s} seeds, differ by {100 * d:.0f}" for s, d in columns[1:])]
    print("| deals |", " | ".join(heads), "|")
    print("|--:|" + "--:|" * len(columns))
    rises = np.arange(1, 41) / 100
    for deals in (50, 110, 500):
        cells = []
        for seeds, differ in columns:

            def study(points, seeds=seeds, differ=differ, deals=deals):
                rng = np.random.default_rng(2)  # the same chance for every rise
                return estimates(rise(rng, n, seeds, points, differ, deals), settings)

            def found(points, study=study):
                return np.mean([e.low > 0 for e in study(points)]) >= stats.POWER

            shown = bisect_left(rises, True, key=found)
            least = f"{100 * rises[shown]:.0f}" if shown < len(rises) else "over 40"
            said = 100 * np.median([e.detectable for e in study(0.0)])
            cells.append(f"{least} ({said:.0f})")
        print(f"| {deals} | {' | '.join(cells)} |", flush=True)


def best_checkpoint(
    rng, n: int, levels: tuple[float, ...], deals: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the best checkpoint in `n` studies of one seed: accuracy on the deals that picked it, on
    the half that did not, and the true accuracy of what the halves picked."""
    deal_N1D1 = rng.normal(0, SD_DEAL, (n, 1, deals, 1))
    latent = np.array(levels)[:, None, None] + deal_N1D1
    latent = latent + rng.normal(0, SD_BOTH, (n, len(levels), deals, 1))
    order = rng.normal(0, SD_ORDER, (n, len(levels), deals, ORDERS))
    right_NCD = (latent + order > 0).mean(3)
    half_D = np.where(np.arange(deals) % 2, "b", "a")
    accuracy = {half: right_NCD[:, :, half_D == half].mean(2) for half in "ab"}
    share = {half: (half_D == half).mean() for half in "ab"}
    true_C = norm.cdf(np.array(levels) / WITHIN)
    candidates = list(range(len(levels)))
    crossed, chosen = np.zeros(n), np.zeros(n)
    for i in range(n):

        def score(candidate, half, i=i):
            return accuracy[half][i, candidate]

        for half, pick in stats.from_other_half(score, candidates).items():
            crossed[i] += share[half] * accuracy[half][i, pick]
            chosen[i] += share[half] * true_C[pick]
    return right_NCD.mean(2).max(1), crossed, chosen


def best_checkpoint_table(n: int) -> None:
    print(
        "| true accuracies of 9 checkpoints | best of them | picked and reported on all deals "
        "| reported on the other half | truth of what the halves picked |"
    )
    print("|---|--:|--:|--:|--:|")
    curves = {
        "all 40%": np.full(9, 0.40),
        "flat top": np.array([30, 36, 39, 40, 40, 39, 37, 35, 33]) / 100,
        "clear peak": np.array([20, 30, 40, 34, 28, 24, 20, 18, 16]) / 100,
    }
    rng = np.random.default_rng(3)
    for name, shares in curves.items():
        levels = tuple(norm.ppf(shares) * WITHIN)
        naive_N, crossed_N, chosen_N = best_checkpoint(rng, n, levels, 111)
        cells = [shares.max(), naive_N.mean(), crossed_N.mean(), chosen_N.mean()]
        print(f"| {name} |", " | ".join(f"{100 * c:.1f}%" for c in cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=800, help="for each row of the first table")
    parser.add_argument("--verdicts", action="store_true", help="only the table of verdicts")
    args = parser.parse_args()
    n = args.worlds
    start, settings = perf_counter(), Statistics()
    print(f"{n} worlds a row, {DEALS} deals, {ORDERS} orders each, python", end=" ")
    print(platform.python_version(), f"numpy {np.__version__}\n")
    if not args.verdicts:
        coverage_table(n, settings)
        print()
    verdict_table(max(n // 2, 2), settings)
    if not args.verdicts:
        print()
        detectable_table(max(n // 8, 2), settings)
        print()
        best_checkpoint_table(2 * n)
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
