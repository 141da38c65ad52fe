"""Compare a crossed mixed logit with `healscope.stats.bootstrap`, on studies whose truth is known.

    pip install --target /tmp/mixed numpyro
    PYTHONPATH=/tmp/mixed OMP_NUM_THREADS=1 python benchmarks/mixed_logit.py [--studies 24]

Prints two tables of 95% intervals for the change of accuracy between two checkpoints: one row for
each world (coverage and median width), and one for each number of seeds (with the mean interval
score of Gneiting and Raftery, 2007, eq. 43: the width, plus 40 times the distance by which the
interval misses the truth; lower is better). All methods see the same studies:

- *bootstrap*: `healscope.stats.bootstrap` with default settings.
- *t with prior*: Student's t interval of the seeds' means, with `statistics.seed_sd` as one more
  seed, plus the variance of instances that all seeds share.
- *t*: the same without the prior: the means of the seeds, and nothing else.
- *half-normal*: instances redrawn as the bootstrap does, and the standard deviation of seeds drawn
  from its posterior on a grid (normal means of seeds, half-normal prior whose median is 10 or 15
  points of accuracy): the seed level of the mixed logit without the logit.
- *mixed logit*: correct ~ checkpoint + (checkpoint | seed) + (checkpoint | instance), intercepts
  and slopes independent, sampled by NUTS (numpyro). The standard deviations of seeds have
  half-normal priors whose medians are about 10 points of accuracy (scale 1 on the logit scale) or
  5 points (scale 0.5; the draws of the first, reweighted). The change is integrated over seeds
  and instances in every draw.

An answer is right where level + instance + instance-by-checkpoint + seed + seed-by-instance +
order > 0, all drawn from normal distributions; the true change follows in closed form.
"""

import argparse
import os
from dataclasses import dataclass
from functools import partial
from itertools import product
from time import process_time

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm, t

from healscope import stats
from healscope.config import Statistics

os.environ.setdefault("JAX_PLATFORMS", "cpu")
try:
    import jax
    import numpyro.distributions as dist
    from numpyro import factor, sample
    from numpyro.diagnostics import split_gelman_rubin
    from numpyro.infer import MCMC, NUTS
except ImportError as error:
    raise SystemExit(
        f"{error}. This benchmark needs numpyro, which healscope itself does not: run\n"
        "    pip install --target /tmp/mixed numpyro\n"
        "and set PYTHONPATH=/tmp/mixed"
    ) from error

INSTANCES, MOST_PROBLEMS = 58, 6
SD_INSTANCE, SD_INSTANCE_CHECKPOINT, SD_BOTH, SD_ORDER = 1.0, 0.5, 0.5, 1.0
WITHIN = float(np.linalg.norm([SD_INSTANCE, SD_INSTANCE_CHECKPOINT, SD_BOTH, SD_ORDER]))
LEVELS = (-0.3, 0.1)
"""Before and after: 43% and 53% right."""
COLLAPSE = 2.0
"""By how much the level of a collapsed seed is lower after: 12% instead of 53% right."""
SEEDS = (2, 3, 5, 10)
SPREADS = (0.0, 0.034, 0.10, 0.20)
WORLDS = (*((spread, 0.0) for spread in SPREADS), (0.034, 0.25))
"""How much true changes differ between seeds (SD), and the share of seeds that collapse."""

WARMUP, DRAWS = 250, 400
SCALES = (1.0, 0.5)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Study:
    """Changes of `P` problems in `S` seeds, and the right answers by instance (D), before and
    after (C)."""

    change_SP: np.ndarray
    instance_P: np.ndarray
    right_SDC: np.ndarray
    problems_D: np.ndarray


def spread_for(wanted: float) -> float:
    """The spread of levels between seeds that makes true changes differ by `wanted` (SD)."""

    def excess(spread: float) -> float:
        shares = [norm.cdf((level + spread * _NODES) / WITHIN) for level in LEVELS]
        return sum(_WEIGHTS @ s**2 - (_WEIGHTS @ s) ** 2 for s in shares) - wanted**2

    return brentq(excess, 0, 10) if wanted else 0.0


def truth(spread: float, collapsing: float) -> float:
    """Mean change over all seeds and instances."""
    low, high = LEVELS
    before, after, collapsed = norm.cdf(
        np.array([low, high, high - COLLAPSE]) / np.hypot(WITHIN, spread)
    )
    return float((1 - collapsing) * after + collapsing * collapsed - before)


def draw(rng: np.random.Generator, seeds: int, spread: float, collapsing: float) -> Study:
    problems_D = rng.integers(1, MOST_PROBLEMS + 1, INSTANCES)
    instance_P = np.repeat(np.arange(INSTANCES), problems_D)
    hard_D = rng.normal(0, SD_INSTANCE, INSTANCES)
    falls_S = COLLAPSE * (rng.random(seeds) < collapsing)
    right_CSP = []
    for level, fall_S in zip(LEVELS, (0 * falls_S, falls_S), strict=True):
        seed_S = level - fall_S + rng.normal(0, spread, seeds)
        latent_D = hard_D + rng.normal(0, SD_INSTANCE_CHECKPOINT, INSTANCES)
        latent_SD = seed_S[:, None] + latent_D + rng.normal(0, SD_BOTH, (seeds, INSTANCES))
        order_SP = rng.normal(0, SD_ORDER, (seeds, len(instance_P)))
        right_CSP.append((latent_SD[:, instance_P] + order_SP > 0).astype(float))
    starts = np.cumsum(problems_D) - problems_D
    right_SDC = np.stack([np.add.reduceat(r, starts, axis=1) for r in right_CSP], -1)
    return Study(right_CSP[1] - right_CSP[0], instance_P, right_SDC, problems_D)


def bootstrap(study: Study, settings: Statistics) -> tuple[float, float]:
    seed, problem = np.indices(study.change_SP.shape).reshape(2, -1)
    frame = pd.DataFrame({"seed": seed, "instance_id": study.instance_P[problem]})
    found = stats.bootstrap(frame.assign(change=study.change_SP.ravel()), "change", settings)
    return found.low, found.high


def noise_and_shared(study: Study) -> tuple[float, float]:
    """Variance of a seed's mean from its own luck with the instances, and that of all seeds' mean
    from effects of instances that seeds share (two-way layout, method of moments)."""
    seeds, change_SD = len(study.change_SP), np.diff(study.right_SDC)[..., 0]
    means_S = study.change_SP.mean(1)
    residual_SD = (change_SD - means_S[:, None] * study.problems_D) / study.problems_D.mean()
    both_SD = residual_SD - residual_SD.mean(0)
    noise = (both_SD**2).sum() / (seeds - 1) / (INSTANCES - 1) / INSTANCES
    shared = residual_SD.mean(0).var(ddof=1) / INSTANCES - noise / seeds
    return float(noise), float(max(shared, 0.0))


def t_interval(study: Study, settings: Statistics | None) -> tuple[float, float]:
    """Student's t interval of the seeds' means; with settings, that of *t with prior* above."""
    seeds = len(study.change_SP)
    means_S = study.change_SP.mean(1)
    spread, known, shared = means_S.var(ddof=1), seeds - 1, 0.0
    if settings:
        noise, shared = noise_and_shared(study)
        guess = settings.seed_sd**2 * study.change_SP.var() + noise
        spread, known = (known * spread + guess) / (known + 1), known + 1
    half = t.ppf(0.975, known) * np.sqrt(spread / seeds + shared)
    return max(means_S.mean() - half, -1.0), min(means_S.mean() + half, 1.0)


def half_normal(study: Study, settings: Statistics, median: float) -> tuple[float, float]:
    """Interval of *half-normal* above; `median` of the prior in shares."""
    seeds, change_SD = len(study.change_SP), np.diff(study.right_SDC)[..., 0]
    means_S = study.change_SP.mean(1)
    spread_R = np.linspace(0, 1, 2001)
    total_R = spread_R**2 + noise_and_shared(study)[0]
    log_R = np.log(total_R) + means_S.var(ddof=1) / total_R
    log_R = -(seeds - 1) / 2 * log_R - (spread_R * norm.ppf(0.75) / median) ** 2 / 2
    below_R = np.cumsum(np.exp(log_R - log_R.max()))
    rng = np.random.default_rng(settings.seed)
    even = np.full(INSTANCES, 1 / INSTANCES)
    drawn_RD = rng.multinomial(INSTANCES, even, settings.resamples)
    change_R = (drawn_RD @ change_SD.T).mean(1) / (drawn_RD @ study.problems_D)
    at_R = np.searchsorted(below_R / below_R[-1], rng.random(settings.resamples))
    change_R += spread_R[at_R] / np.sqrt(seeds) * rng.standard_normal(settings.resamples)
    return tuple(np.clip(np.quantile(change_R, [0.025, 0.975]), -1, 1))


def mixed_logit(problems_D, right_SDC) -> None:
    """Declare the model to numpyro; checkpoints are coded -1/2 and 1/2."""
    seeds, instances, _ = right_SDC.shape
    level = sample("level", dist.Normal(0, 1.5))
    change = sample("change", dist.Normal(0, 1.5))
    sd_seed = sample("sd_seed", dist.HalfNormal(SCALES[0]).expand([2]))
    sd_instance = sample("sd_instance", dist.HalfNormal(2.0).expand([2]))
    seed = sample("seed", dist.Normal().expand([2, seeds]))
    instance = sample("instance", dist.Normal().expand([2, instances]))
    at_SD, by_SD = (
        fixed + sd_seed[i] * seed[i][:, None] + sd_instance[i] * instance[i]
        for i, fixed in enumerate((level, change))
    )
    for c, code in enumerate((-0.5, 0.5)):
        logit_SD = at_SD + code * by_SD
        right_SD = right_SDC[..., c]
        factor(f"at_{c}", (right_SD * logit_SD - problems_D * jax.nn.softplus(logit_SD)).sum())


@jax.jit
def posterior(key, problems_D, right_SDC):
    """Draws of the model's parameters, and how many of them diverged."""
    chain = MCMC(
        NUTS(mixed_logit, max_tree_depth=7),
        num_warmup=WARMUP,
        num_samples=DRAWS,
        progress_bar=False,
    )
    chain.run(key, problems_D, right_SDC, extra_fields=("diverging",))
    return chain.get_samples(), chain.get_extra_fields()["diverging"].sum()


def mixed_intervals(study: Study, key: int) -> tuple[list[tuple[float, float]], bool]:
    """An interval for each prior of SCALES, and whether the chain failed."""
    drawn, diverging = posterior(
        jax.random.PRNGKey(key), study.problems_D.astype(float), study.right_SDC
    )
    drawn = {name: np.asarray(values, float) for name, values in drawn.items()}
    shares = []
    for code in (-0.5, 0.5):
        mean_R = drawn["level"] + code * drawn["change"]
        effects_R2 = drawn["sd_seed"] ** 2 + drawn["sd_instance"] ** 2
        sd_R = np.sqrt(effects_R2 @ [1.0, code**2])
        shares.append(expit(mean_R[:, None] + sd_R[:, None] * _NODES) @ _WEIGHTS)
    change_R = shares[1] - shares[0]
    intervals = []
    order = np.argsort(change_R)
    for scale in SCALES:
        precision = 1 / scale**2 - 1 / SCALES[0] ** 2
        weight_R = np.exp(-precision * (drawn["sd_seed"] ** 2).sum(1) / 2)[order]
        below_R = (np.cumsum(weight_R) - weight_R / 2) / weight_R.sum()
        intervals.append(tuple(np.interp([0.025, 0.975], below_R, change_R[order])))
    failed = bool(diverging > DRAWS / 100 or split_gelman_rubin(change_R[None]) > 1.05)
    return intervals, failed


CHEAP = {
    "bootstrap": bootstrap,
    "t with prior": t_interval,
    "t": lambda study, _: t_interval(study, None),
    "half-normal, 10 points": partial(half_normal, median=0.10),
    "half-normal, 15 points": partial(half_normal, median=0.15),
}
METHODS = (*CHEAP, "mixed logit, 10 points", "mixed logit, 5 points")


def world(studies: int, seeds: int, differ: float, collapsing: float):
    """Limits (methods M, studies N, 2) less the truth, seconds of CPU for each method, and the
    number of chains that failed."""
    rng = np.random.default_rng([seeds, round(1000 * differ), round(100 * collapsing)])
    spread, settings = spread_for(differ), Statistics()
    limits, seconds, failures = [], [], 0
    for i in range(studies):
        study = draw(rng, seeds, spread, collapsing)
        found, clock = [], [process_time()]
        for method in CHEAP.values():
            found.append(method(study, settings))
            clock.append(process_time())
        intervals, failed = mixed_intervals(study, i)
        taken = np.diff([*clock, process_time()])
        limits.append([*found, *intervals])
        seconds.append([*taken, taken[-1]])  # one chain serves both priors
        failures += failed
    limits_MN2 = np.array(limits).transpose(1, 0, 2) - truth(spread, collapsing)
    return limits_MN2, np.array(seconds).T, failures


def covered(limits_MN2: np.ndarray) -> np.ndarray:
    return ((limits_MN2[..., 0] <= 0) & (limits_MN2[..., 1] >= 0)).mean(1)


def score(limits_MN2: np.ndarray) -> np.ndarray:
    """Mean interval score of each method."""
    missed_MN = np.maximum(limits_MN2[..., 0], 0) + np.maximum(-limits_MN2[..., 1], 0)
    return (np.diff(limits_MN2)[..., 0] + 2 / 0.05 * missed_MN).mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=24, help="for each row of the first table")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = parser.parse_args()
    print("| seeds | differ by | collapse |", " | ".join(METHODS), "|")
    print("|" + "--:|" * (3 + len(METHODS)), flush=True)
    kept = {}
    for seeds, (differ, collapsing) in product(args.seeds, WORLDS):
        found = world(args.studies, seeds, differ, collapsing)
        kept.setdefault(seeds, []).append(found)
        widths_M = np.median(np.diff(found[0])[..., 0], axis=1)
        pairs = zip(covered(found[0]), widths_M, strict=True)
        cells = " | ".join(f"{100 * c:.0f}%, {100 * width:.0f}" for c, width in pairs)
        print(f"| {seeds} | {100 * differ:.3g} | {100 * collapsing:.0f}% | {cells} |", flush=True)
    print("\n| seeds | method | coverage | median width | interval score | seconds | failed |")
    print("|--:|---|" + "--:|" * 5)
    for seeds, found in kept.items():
        limits_MN2 = np.concatenate([limits for limits, _, _ in found], 1)
        seconds_M = np.median(np.concatenate([s for _, s, _ in found], 1), axis=1)
        widths_M = np.median(np.diff(limits_MN2)[..., 0], axis=1)
        failed = 100 * sum(f for _, _, f in found) / limits_MN2.shape[1]
        rows = zip(
            METHODS, covered(limits_MN2), widths_M, score(limits_MN2), seconds_M, strict=True
        )
        for method, share, width, mean, second in rows:
            bad = f"{failed:.0f}%" if method.startswith("mixed") else "-"
            print(
                f"| {seeds} | {method} | {100 * share:.1f}% | {100 * width:.0f} "
                f"| {100 * mean:.0f} | {second:.2g} | {bad} |"
            )


if __name__ == "__main__":
    main()
