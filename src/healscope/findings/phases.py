"""Which errors RL removes first: those of execution, or those of plans.

RL is said to have two phases, in which execution is consolidated before planning is explored (arXiv
2509.03646; from the paper's text, its repository holds no code). Where the task says word by word
what is a plan and what is execution, both have a hazard: the share of answers that make their first
error there, of those that get there. So an early error of execution hides no later error of a plan.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Sampling, Statistics
from healscope.files import Files
from healscope.findings.columns import SEED, START, interval
from healscope.findings.contrasts import FLOOR, of_seeds, row
from healscope.findings.finding import Finding
from healscope.findings.structured import Reader
from healscope.markdown import cell, grid, level
from healscope.schema import (
    IN_ITERATIONS,
    IN_NATS,
    TRACK,
    Column,
    choice,
    count,
    nats,
    table,
    text,
)
from healscope.tasks.decisions import decisions, token_kinds
from healscope.tasks.problem import Decision
from healscope.verdicts import above, at_most

KINDS = ("plan", "execution")

READ = (
    "track", "seed", "run", "iteration", "instance_id", "kind", "reached", "error", "surprise",
    "tokens",
)  # fmt: skip
"""Columns of `read`."""

WINDOW = 2
"""Kept iterations at each end that a fall is measured between."""

SAME_ENTROPY = 0.02
"""Changes of entropy smaller than this, in nats a token, count as none."""


def _kept(files: Files) -> list[str]:
    """Return the branches of the main recipe, if it keeps responses."""
    recipe = files.study.rl.recipes[files.study.rl.main] if files.study.rl else None
    keeps = isinstance(recipe, Sampling) and recipe.keep_answers
    return files.study.main_branches if keeps else []


def _inputs(files: Files) -> dict[str, list[str]]:
    return {
        "manifests": files.each(artifacts.CHECKPOINT, files.cards, checkpoint=_kept(files)),
        "prompts": files.each(artifacts.RL_POOL, files.cards),
    }


def _lacking(files: Files) -> str:
    if not files.cards:
        return "models trained on the card game"
    if not _kept(files):
        return f"responses that RL keeps: set rl.recipes.{files.study.rl.main}.keep_answers"
    return ""


def read(
    manifests: list[str],
    prompts: list[str],
    tasks: dict[str, dict],
    followed: dict[str, dict],
) -> pd.DataFrame:
    """Return every kept first response, with run, its first error, and by kind (column `kind`)
    whether it got to a decision of the kind, and surprise and number of the tokens in these."""
    readers = {artifacts.parse(artifacts.RL_POOL, file)["task"]: file for file in prompts}
    readers = {task: Reader(task, tasks[task], [file]) for task, file in readers.items()}
    parts = [pd.DataFrame(columns=list(READ))]
    for manifest in manifests:
        place = artifacts.parse(artifacts.CHECKPOINT, manifest)
        file = Path(manifest).with_name(Path(artifacts.ANSWERS).name)
        if not file.is_file():  # a run that failed has none
            continue
        rows = provenance.read_table(file)
        rows = rows[rows["attempt"] == 1].assign(run=place["checkpoint"])
        parts.append(_of_kinds(rows, readers[followed[place["track"]]["task"]]))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _of_kinds(rows: pd.DataFrame, reader: Reader) -> pd.DataFrame:
    errors = reader.of_each(rows, lambda t, p, said: t.first_error(p, said))
    decided = reader.of_each(rows, decisions)
    problems = [reader.instance(p) for p in rows["problem_id"]]
    found = []
    tokens = zip(decided, rows["logprobs"], rows["token_ends"], rows["text"], strict=True)
    surprises = [surprise(*of_row) for of_row in tokens]
    for kind in KINDS:
        reached = [any(d.kind == kind for d in ds) for ds in decided]
        found.append(
            pd.DataFrame(
                {
                    "track": rows["track"], "seed": rows["seed"], "run": rows["run"],
                    "iteration": rows["iteration"], "instance_id": problems, "kind": kind,
                    "reached": reached, "error": [e == kind for e in errors],
                    "surprise": [s[kind][0] for s in surprises],
                    "tokens": [s[kind][1] for s in surprises],
                }
            )
        )  # fmt: skip
    return pd.concat(found, ignore_index=True)


def surprise(
    decided: tuple[Decision, ...], logprobs: list[float], ends: list[int], said: str
) -> dict[str, tuple[float, int]]:
    """Return kind -> (summed surprise of the tokens in its decisions in nats, their number).

    Sampled tokens have the entropy of their distribution as expected surprise.
    """
    found = {kind: (0.0, 0) for kind in KINDS}
    for logprob, kind in zip(logprobs, token_kinds(decided, ends, said), strict=True):
        if kind:
            total, number = found[kind]
            found[kind] = total - logprob, number + 1
    return found


def measure(
    manifests: list[str],
    prompts: list[str],
    tasks: dict[str, dict],
    followed: dict[str, dict],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return hazard and entropy of plans and of execution, by kept iteration of RL."""
    rows = read(manifests, prompts, tasks, followed)
    out = []
    for (track, run, iteration, kind), own in rows.groupby(["track", "run", "iteration", "kind"]):
        recipe, start = artifacts.parse_branch(run)
        place = {"track": track, "recipe": recipe, "start": start, "iteration": iteration}
        for seed in ("all", *sorted(own["seed"].unique())):
            part = own if seed == "all" else own[own["seed"] == seed]
            reached = part[part["reached"]]
            e = stats.bootstrap(reached.assign(value=1.0 * reached["error"]), "value", statistics)
            out.append(
                {
                    **place, "kind": kind, "seed": str(seed), "n": len(reached),
                    "hazard": e.value, "low": e.low, "high": e.high,
                    "entropy_nats": _entropy(part),
                }
            )  # fmt: skip
    return pd.DataFrame(out)


def _entropy(rows: pd.DataFrame) -> float:
    """Return the mean surprise of a token, seed by seed."""
    sums = rows.groupby("seed")[["surprise", "tokens"]].sum()
    return float((sums["surprise"] / sums["tokens"].replace(0, np.nan)).mean())


# Claims.


def time_of_fall(iterations: np.ndarray, values: np.ndarray) -> float:
    """Return the mean iteration at which a curve falls; NaN where it does not.

    The share of the fall that is still to come, summed over iterations. The fall is that from the
    mean of the first WINDOW values to that of the last. (When half of it is done would depend on
    how noisy the curve is: the first crossing of a noisy one comes early.)
    """
    first, last = values[:WINDOW].mean(), values[-WINDOW:].mean()
    if not first > last:
        return float("nan")
    left = (values - last) / (first - last)
    return float(iterations[0] + np.trapezoid(left, iterations))


def judge(
    manifests: list[str],
    prompts: list[str],
    tasks: dict[str, dict],
    followed: dict[str, dict],
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track, on the branch with the earliest start, where there is most
    to mend."""
    rows = read(manifests, prompts, tasks, followed)
    runs = sorted(set(rows["run"]), key=lambda run: artifacts.parse_branch(run)[1])
    if not runs:
        return []
    run = runs[0]
    return [
        {"track": track, **claim}
        for track, own in rows[rows["run"] == run].groupby("track")
        for claim in claims_of(run, own, statistics)
    ]


def claims_of(run: str, rows: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims about one run, of all seeds."""
    curves = {kind: dict(_curves(rows[rows["kind"] == kind])) for kind in KINDS}
    instances = rows["instance_id"].nunique()
    later, start, rises = {}, {kind: [] for kind in KINDS}, {kind: {} for kind in KINDS}
    for seed in curves["plan"]:
        times = {}
        for kind in KINDS:
            curve = curves[kind][seed]
            values = curve["hazard"].to_numpy()
            start[kind].append(values[:WINDOW].mean())
            times[kind] = time_of_fall(curve.index.to_numpy(float), values)
            entropy = curve["entropy"].to_numpy()
            rises[kind][seed] = entropy[-WINDOW:].mean() - entropy[:WINDOW].mean()
        later[seed] = times["plan"] - times["execution"]
    found = []
    shown = ", ".join(f"{kind} {100 * np.mean(start[kind]):.0f}% at the start" for kind in KINDS)
    first = of_seeds(later, statistics, instances, IN_ITERATIONS)
    seen = min(np.mean(start[kind]) for kind in KINDS) >= FLOOR and first.by_seed
    verdict = above(first).only_if(seen)
    found.append(
        row(
            "execution-errors-fall-first",
            "RL removes errors of execution before those of plans (arXiv 2509.03646)",
            first,
            verdict,
            f"{run}: mean iteration at which the hazard of plans falls, minus that of execution; "
            f"hazards: {shown}; seeds where one of them does not fall do not count, and below "
            f"{100 * FLOOR:.0f}% nothing can be timed",
        )
    )
    for kind, judged, claim, says in (
        ("plan", above, "plan-entropy-rises", "rises"),
        ("execution", lambda e: at_most(e, SAME_ENTROPY), "execution-entropy-does-not-rise",
         "does not rise"),
    ):  # fmt: skip
        change = of_seeds(rises[kind], statistics, instances, IN_NATS)
        found.append(
            row(
                claim,
                f"The entropy of tokens that {'plan' if kind == 'plan' else 'execute'} {says} "
                "during RL",
                change,
                judged(change),
                f"{run}: last {WINDOW} kept iterations minus the first {WINDOW}",
            )
        )
    return found


def _curves(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each seed with hazard and entropy by iteration."""
    for seed, own in rows.groupby("seed"):
        reached = own[own["reached"]].groupby("iteration")["error"].mean()
        sums = own.groupby("iteration")[["surprise", "tokens"]].sum()
        entropy = sums["surprise"] / sums["tokens"].replace(0, np.nan)
        yield str(seed), pd.DataFrame({"hazard": reached, "entropy": entropy}).sort_index()


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    ends = whole.groupby(["recipe", "start"])["iteration"].transform
    shown = whole[(whole["iteration"] == ends("min")) | (whole["iteration"] == ends("max"))]
    rows = [
        (r["recipe"], r["start"], r["iteration"], r["kind"], level(r, "hazard"),
         cell(r["entropy_nats"], ".3f"))
        for r in shown.to_dict("records")
    ]  # fmt: skip
    header = ["recipe", "start", "iteration", "kind", "hazard (%)", "entropy (nats a token)"]
    return grid(header, rows)


SCHEMA = table(
    "phases",
    "How often plans, or execution, go wrong first in one kept iteration of RL, and how undecided "
    "the model is there.",
    (
        TRACK,
        text("recipe", "recipe of RL"),
        START,
        count("iteration", "iteration that sampled the responses", "iterations", low=1),
        choice("kind", KINDS, "of words: plan, where several are possible; execution, where one"),
        SEED,
        count("n", "responses that get to such a word without an error", "responses"),
        Column(
            "hazard", "float", "of these, the share whose first error is of the kind", "share",
            low=0, high=1, nullable=True,
        ),
        *interval(nullable=True),
        nats("entropy_nats", "mean entropy of the tokens of such words, as sampled", nullable=True),
    ),
    "track", "recipe", "start", "iteration", "kind", "seed",
)  # fmt: skip

FINDING = Finding(
    name="phases",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.cards and _kept(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "execution-errors-fall-first",
        "plan-entropy-rises",
        "execution-entropy-does-not-rise",
    ),
    order=31,
    title="Plans and execution",
    section=section,
)
