"""How often intervals hold the truth and verdicts are wrong, in worlds where the truth is known.

    OPENBLAS_NUM_THREADS=1 python benchmarks/coverage.py [--worlds 400] [coverage|nulls|power ...]

Prints the tables of docs/statistics.md: coverage of the interval of `healscope.stats.bootstrap`,
with and without its guess of how seeds differ, beside simpler ones; nulls in which nothing happens
and "held" is wrong; effects that are planted; and the smallest effects that can be shown.

Problems are those of the default study: 403 held-out problems of the card game in 58 instances of 3
to 34 problems. A problem is right where level + instance + seed + seed-by-instance + order > 0, all
drawn from normal distributions (standard deviations 1 for instances, a half for seed-by-instance, 1
for orders). Then the share of right answers over all seeds and instances follows in closed form.
"""

import argparse
import platform
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from healscope import stats, verdicts
from healscope.config import Statistics
from healscope.stats import Estimate, Layout

SIZES = np.repeat([34, 23, 21, 11, 8, 7, 6, 4, 3], [1, 1, 5, 1, 8, 1, 1, 33, 7])
"""Problems of each instance (I): the held-out ones with a face card of config/config.yaml."""
SD_INSTANCE, SD_BOTH, SD_ORDER = 1.0, 0.5, 1.0
WITHIN = float(np.sqrt(SD_INSTANCE**2 + SD_BOTH**2 + SD_ORDER**2))
LEVELS = {"share": (-0.3,), "change": (-0.3, 0.1)}
"""Of one checkpoint, or of the two that are compared: 42% right, and 53% after."""
SEEDS = (2, 3, 5, 10)
SPREADS = (0, 0.034, 0.10, 0.20)
"""By how much seeds truly differ (SD); 3.4 points are about one sampling error of one seed."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def truth(levels: tuple[float, ...], spread: float) -> float:
    """Share right over all seeds and instances; of two levels, the change from the first."""
    shares = norm.cdf(np.array(levels) / np.hypot(WITHIN, spread))
    return float(shares[-1] - (shares[0] if len(shares) > 1 else 0))


def spread_for(levels: tuple[float, ...], wanted: float) -> float:
    """The spread of seeds in the model that makes their true values differ by `wanted` (SD)."""

    def excess(spread: float) -> float:
        shares = [norm.cdf((level + spread * _NODES) / WITHIN) for level in levels]
        return sum(_WEIGHTS @ s**2 - (_WEIGHTS @ s) ** 2 for s in shares) - wanted**2

    return brentq(excess, 0, 10) if wanted else 0.0


@dataclass(frozen=True)
class Answers:
    """Right answers of worlds (N), seeds (S) and checkpoints (C) to instances (I)."""

    right_NSCI: np.ndarray
    sizes_I: np.ndarray

    @property
    def shares_NSCI(self) -> np.ndarray:  # noqa: N802
        return self.right_NSCI / self.sizes_I


def answers(rng, level_NSC: np.ndarray, sizes_I: np.ndarray = SIZES) -> Answers:
    """Answers at these levels (a probit scale); what makes an instance hard is there for all."""
    n, seeds, checkpoints = level_NSC.shape
    instance = rng.normal(0, SD_INSTANCE, (n, 1, 1, len(sizes_I)))
    both = rng.normal(0, SD_BOTH, (n, seeds, checkpoints, len(sizes_I)))
    chance = norm.cdf((level_NSC[..., None] + instance + both) / SD_ORDER)
    return Answers(rng.binomial(sizes_I, chance).astype(float), sizes_I)


@dataclass(frozen=True)
class Worlds:
    """Results of `n` independent studies of one number: a share, or a change."""

    after_NSI: np.ndarray
    """Right answers to each instance; of a change those after it."""
    before_NSI: np.ndarray | None
    sizes_I: np.ndarray
    truth_N: np.ndarray
    own_NS: np.ndarray
    """The truth of each seed that was drawn, over all instances."""

    def estimates(self, settings: Statistics) -> list[Estimate]:
        """What `stats.bootstrap` makes of the rows."""
        found = []
        for i, after_SI in enumerate(self.after_NSI):
            before_SI = None if self.before_NSI is None else self.before_NSI[i]
            found.append(estimate(after_SI, before_SI, self.sizes_I, settings))
        return found

    def frame(self, i: int) -> pd.DataFrame:
        """The rows of one study, as `stats.bootstrap` takes them."""
        rows = []
        for seed, after_I in enumerate(self.after_NSI[i]):
            for instance, (right, size) in enumerate(zip(after_I, self.sizes_I, strict=True)):
                problems = np.arange(size)
                values = (problems < right) * 1.0
                column = "correct"
                if self.before_NSI is not None:  # which of them changed is the same to sums
                    values -= problems < self.before_NSI[i, seed, instance]
                    column = "change"
                rows.append(pd.DataFrame({"seed": seed, "instance_id": instance, column: values}))
        return pd.concat(rows, ignore_index=True)


def estimate(
    after_SI: np.ndarray, before_SI: np.ndarray | None, sizes_I: np.ndarray, settings: Statistics
) -> Estimate:
    """`stats.bootstrap` from right answers by seed and instance."""
    total_SI = after_SI - (0 if before_SI is None else before_SI)
    layout = Layout(
        list(range(len(after_SI))), total_SI, np.tile(sizes_I, (len(after_SI), 1)) * 1.0
    )
    mean = total_SI.sum() / layout.counts_SI.sum()
    if before_SI is None:
        variance, bounds = mean * (1 - mean), (0.0, 1.0)
    else:  # answers before and after are independent within an instance
        one, two = after_SI / sizes_I, before_SI / sizes_I
        square = ((one + two - 2 * one * two) * sizes_I).sum() / layout.counts_SI.sum()
        variance, bounds = square - mean**2, (-1.0, 1.0)
    return stats.estimate([layout], float(variance), bounds, settings)


def draw(
    rng, n: int, seeds: int, levels: tuple[float, ...], spread: float, sizes_I: np.ndarray = SIZES
) -> Worlds:
    """Studies of a share, or of the change between two levels.

    A single seed says nothing of others, so there the truth is that of the seed drawn.
    """
    level_NSC = np.array(levels) + rng.normal(0, spread, (n, seeds, len(levels)))
    right_NSCI = answers(rng, level_NSC, sizes_I).right_NSCI
    own_NSC = norm.cdf(level_NSC / WITHIN)
    change = len(levels) > 1
    own_NS = own_NSC[..., -1] - (own_NSC[..., 0] if change else 0)
    known = own_NS[:, 0] if seeds == 1 else np.full(n, truth(levels, spread))
    before = right_NSCI[:, :, 0] if change else None
    return Worlds(right_NSCI[:, :, -1], before, sizes_I, known, own_NS)


def scenario(rng, n: int, what: str, seeds: int, differ: float) -> Worlds:
    """Worlds whose true values differ between seeds by `differ` (SD)."""
    return draw(rng, n, seeds, LEVELS[what], spread_for(LEVELS[what], differ))


def rise(
    rng, n: int, seeds: int, points: float, differ: float, sizes_I: np.ndarray = SIZES
) -> Worlds:
    """Worlds with a true rise, whose true changes differ between seeds by `differ` (SD)."""
    level = LEVELS["change"][0]
    spread = spread_for((level, level), differ)
    scale = np.hypot(WITHIN, spread)
    after = float(norm.ppf(norm.cdf(level / scale) + points) * scale)
    return draw(rng, n, seeds, (level, after), spread, sizes_I)


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


def slope(level: float) -> float:
    """Change of accuracy for a change of the level."""
    return float(norm.pdf(level / WITHIN) / WITHIN)


def wandering(
    rng, n: int, seeds: int, candidates: int, tau: float, fall: float = 0.0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Studies of SFT whose checkpoints wander by `tau` (SD, share) around a curve: the first half
    of the candidates at one level, the others at `fall` below it.

    Returns, for each study, right answers (S, I) at the peak and at the last checkpoint, the peak
    picked by `stats.picked_elsewhere`.
    """
    level = LEVELS["change"][0]
    curve_C = np.where(np.arange(candidates) < candidates / 2, 0.0, -fall) / slope(level)
    wander = rng.normal(0, tau / slope(level), (n, seeds, candidates))
    found = answers(rng, level + curve_C + wander)
    return [_at_peak(right_SCI, found.sizes_I) for right_SCI in found.right_NSCI]


def _at_peak(right_SCI: np.ndarray, sizes_I: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seeds, candidates, instances = right_SCI.shape
    half_I = np.arange(instances) % 2
    size = {h: sizes_I[half_I == k].sum() for k, h in enumerate("ab")}
    share = {h: right_SCI[:, :, half_I == k].sum(2) / size[h] for k, h in enumerate("ab")}
    picked = stats.picked_elsewhere(
        lambda c, others, half: share[half][others, c].mean(), range(candidates), range(seeds)
    )
    peak_SI = np.empty((seeds, instances))
    for seed, halves in picked.items():
        for k, half in enumerate("ab"):
            peak_SI[seed, half_I == k] = right_SCI[seed, halves[half], half_I == k]
    return peak_SI, right_SCI[:, -1]


def falls(studies, settings: Statistics) -> list[Estimate]:
    """The change from the peak to the last checkpoint of each study."""
    return [estimate(last, peak, SIZES, settings) for peak, last in studies]


def wandering_verdicts(studies, settings: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """(verdict on 'it falls from its peak', measured fall) of each study."""
    found = falls(studies, settings)
    return np.array([str(verdicts.negative(e)) for e in found]), np.array([e.value for e in found])


def two_kinds(rng, n: int, seeds: int, differ: float, share: float = 0.25) -> Worlds:
    """Studies whose seeds are of two kinds: a `share` of them collapses, the others gain.

    The change is 0 in the mean over all seeds, and changes differ by `differ` (SD).
    """
    level = LEVELS["change"][0]
    gain = differ * np.sqrt(share / (1 - share))
    fallen = rng.random((n, seeds)) < share
    change_NS = np.where(fallen, -gain * (1 - share) / share, gain)
    before = norm.cdf(level / WITHIN)
    after_NS = norm.ppf(np.clip(before + change_NS, 1e-3, 1 - 1e-3)) * WITHIN
    level_NSC = np.stack([np.full((n, seeds), level), after_NS], 2)
    right = answers(rng, level_NSC).right_NSCI
    mean = share * (norm.cdf(after_NS[fallen][:1] / WITHIN) - before).sum() if fallen.any() else 0
    mean += (1 - share) * gain
    return Worlds(right[:, :, 1], right[:, :, 0], SIZES, np.full(n, mean), change_NS)


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
