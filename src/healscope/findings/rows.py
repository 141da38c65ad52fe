"""Reads files of answers: which of them count, at which step they stand, means with intervals.

Everywhere: `seed` is a string, "all" for the mean over seeds; `low` and `high` bound the interval
of `healscope.stats`.
"""

from collections.abc import Iterable
from typing import get_args

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.evaluation import landmarks
from healscope.files import Files
from healscope.tasks.problem import Said
from healscope.tasks.tables import rules_differ, sft_examples
from healscope.training.schemas import RL_LOG, WINDOW

COLUMNS = [
    "track", "seed", "checkpoint", "problem_id", "instance_id", "split", "half", "rule",
    "n_faces", "draw", "retried", "sample", "attempt", "correct",
]  # fmt: skip
SINCE = ("episode_id", "task", "group", "twin", "logprob", "tokens")
"""Columns that evaluations of earlier versions, or of tasks without episodes, need not have."""

_OF_EPISODES = {"correct": "all", "parsed": "all", "told_rule": "any", "retried": "any",
                "draw": "min", "text": "\n".join}  # fmt: skip


def steps(files: Iterable[str], extra: Iterable[str] = ()) -> pd.DataFrame:
    """Read evaluation files: the columns that tables need, a row for each step of an episode."""
    columns = list(dict.fromkeys([*COLUMNS, *SINCE, *extra]))
    parts = [provenance.read_table(f, columns, SINCE) for f in files]
    return pd.concat(parts, ignore_index=True)


def attempts(files: Iterable[str], extra: Iterable[str] = ()) -> pd.DataFrame:
    """Read evaluation files with one row for each episode. `extra` must hold "feedback"."""
    return episodes(steps(files, extra))


def episodes(rows: pd.DataFrame) -> pd.DataFrame:
    """Join the steps of each episode (rows with an episode_id) into one row: right if all are.

    A step that was right at one attempt is not asked again, so a later attempt at an episode is
    right once every step has been, up to that attempt and under that feedback. Rows of tasks
    without episodes stay as they are; column episode_id goes.
    """
    single = rows["episode_id"].isna()
    if single.all():
        return rows.drop(columns="episode_id")
    parts = rows[~single]
    place = [c for c in ("track", "seed", "protocol", "checkpoint", "stage") if c in parts]
    place += ["rule", "episode_id"]
    found = [_joined(parts[parts["attempt"] == 1], [*place, "sample"])]
    first = parts[(parts["sample"] == 0) & (parts["attempt"] == 1)]
    later = parts[parts["attempt"] > 1]
    step = [*place, "problem_id"]
    told = sorted({*zip(later["feedback"], later["attempt"], strict=True)}) if len(later) else []
    for level, attempt in told:
        own = later[later["feedback"] == level]
        so_far = pd.concat([first, own[own["attempt"] <= attempt]])
        right = pd.MultiIndex.from_frame(so_far.loc[so_far["correct"], step])
        done = first.assign(done=pd.MultiIndex.from_frame(first[step]).isin(right))
        done = done.groupby(place)["done"].all()
        asked = _joined(own[own["attempt"] == attempt], place).join(done, on=place)
        found.append(asked.assign(correct=asked["done"]))
    whole = pd.concat(found, ignore_index=True)
    whole = whole.assign(problem_id=whole["episode_id"])[list(rows)]
    return pd.concat([rows[single], whole], ignore_index=True).drop(columns="episode_id")


def _joined(rows: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """One row for each of `place`."""
    how = {c: _OF_EPISODES.get(c, "first") for c in rows.columns if c not in place}
    return rows.groupby(place, as_index=False, sort=False, dropna=False).agg(how)


def first_attempts(
    files: Iterable[str], extra: Iterable[str] = (), faceless: bool = False
) -> pd.DataFrame:
    """Read first attempts at problems where the two rules differ; `faceless`: at all problems.

    In the card game the rules differ where there is a face card.
    """
    rows = steps(files, extra)
    first = (rows["sample"] == 0) & (rows["attempt"] == 1)
    return episodes(rows[first & (faceless | rules_differ(rows))].reset_index(drop=True))


def seen(rows: pd.DataFrame, pools: list[str], sft: dict) -> pd.Series:
    """Return whether the SFT run of each row read examples of its instance.

    `pools` are the files that SFT drew its examples from, one for each task; `sft` says of how many
    instances how many examples (keys deals and examples).
    """
    tables = {
        artifacts.parse(artifacts.SFT_POOL, f)["task"]: provenance.read_table(f) for f in pools
    }
    tasks = rows["task"] if len(tables) > 1 else pd.Series(next(iter(tables)), rows.index)
    known = pd.Series(False, rows.index)
    for (task, seed), own in rows.groupby([tasks, rows["seed"]]):
        examples = sft_examples(tables[task], **sft, seed=int(seed))
        known[own.index] = own["instance_id"].isin(set(examples["instance_id"]))
    return known


def trained_on(rows: pd.DataFrame, pools: list[str], sft: dict) -> pd.DataFrame:
    """Drop the rows of the training side of the hold-out that their seed's SFT never saw.

    SFT draws its examples from part of the instances on that side (see `seen`), RL its prompts from
    the whole side. Without pools, as for SFT that was done elsewhere, nothing counts as seen.
    """
    held_out = rows["split"] == "held_out"
    if pools:
        held_out |= seen(rows, pools, sft)
    return rows[held_out].reset_index(drop=True)


def with_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Add stage (an arm of SFT, or "rl" for any branch), step (the SFT step, or where the branch
    started from) and recipe (empty for SFT)."""
    named = {v: artifacts.stage_and_step(v) for v in rows["checkpoint"].unique()}
    recipes = {
        v: artifacts.parse_branch(v)[0] if stage == "rl" else "" for v, (stage, _) in named.items()
    }
    return rows.assign(
        stage=rows["checkpoint"].map(lambda v: named[v][0]),
        step=rows["checkpoint"].map(lambda v: named[v][1]),
        recipe=rows["checkpoint"].map(recipes),
    )


def branch_logs(files: Iterable[str]) -> pd.DataFrame:
    """Read the training logs of branches, and add recipe and start; a missing alarm is none.

    What an earlier version did not log is missing.
    """
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    rows = RL_LOG.complete(rows)
    named = {run: artifacts.parse_branch(run) for run in rows["run"].unique()}
    return rows.assign(
        recipe=rows["run"].map(lambda run: named[run][0]),
        start=rows["run"].map(lambda run: named[run][1]),
        hacking_alarm=rows["hacking_alarm"].eq(True),
    )


def of_seed(rows: pd.DataFrame, seed: int | str) -> pd.DataFrame:
    """Return the rows of one seed, or with "all" of all."""
    return rows if seed == "all" else rows[rows["seed"] == seed]


def at_first(run: pd.DataFrame, column: str) -> float:
    """Averages `column` over the first WINDOW iterations of a run; NaN where it was not logged."""
    return float(run.loc[run["iteration"] <= WINDOW, column].mean())


def at_last(run: pd.DataFrame, column: str) -> float:
    """Return the last value of `column` in one run; NaN where it was not logged."""
    known = run.sort_values("iteration")[column].dropna()
    return float(known.iloc[-1]) if len(known) else float("nan")


def failure(run: pd.DataFrame) -> str:
    """Return why a run failed, or an empty string."""
    return run.loc[run["iteration"].idxmax(), "failure"]


def failures(runs: pd.DataFrame) -> str:
    """Why runs of several seeds failed, seed by seed; empty where none did."""
    found = {seed: failure(run) for seed, run in runs.groupby("seed")}
    return "; ".join(f"seed {seed}: {why}" for seed, why in found.items() if why)


def summarise(
    rows: pd.DataFrame, by: list[str], settings: Statistics, column: str = "correct", **weights: str
) -> pd.DataFrame:
    """Return the mean of `column`, with its interval, of each group of `by` (which holds track).

    Each group has a row for each seed, and one ("all") for the mean over seeds. `weights`: as in
    `stats.bootstrap`.
    """
    out = []
    for key, group in rows.groupby(by, sort=True, dropna=False):
        parts = [("all", group), *((str(s), g) for s, g in group.groupby("seed"))]
        for seed, part in parts:
            estimate = stats.bootstrap(part, column, settings, **weights)
            out.append(
                {
                    **dict(zip(by, key, strict=True)),
                    "seed": seed,
                    "n": len(part),
                    "mean": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                }
            )
    return pd.DataFrame(out)


def any_attempt(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each problem: whether the first attempt or one after feedback was right.

    Of several levels of feedback the last counts ("full", the published one, where it is there).
    """
    levels = [level for level in get_args(Said) if level in set(rows["feedback"])]
    own = rows[(rows["sample"] == 0) & rows["feedback"].isin(["", *levels[-1:]])]
    keys = ["track", "seed", "protocol", "checkpoint", "rule", "problem_id", "draw"]
    first = own[own["attempt"] == 1].set_index(keys)
    right = own.groupby(keys)["correct"].any()
    return first.assign(correct=right).reset_index()


def answers_at_landmarks(files: Files) -> dict[str, list[str]]:
    """Return the inputs of `at_landmarks`: answers of all that landmarks may be, and which are."""
    return {
        "evaluations": files.evaluations(files.at_landmarks),
        "landmark_files": files.landmarks(),
    }


def at_landmarks(rows: pd.DataFrame, landmark_files: list[str], names: list[str]) -> pd.DataFrame:
    """Return the rows of the checkpoints behind landmarks, with a column `landmark`.

    A name that is no landmark is that of a checkpoint; the base is evaluated as the start of SFT.

    A landmark that was picked for its accuracy is reported, for each seed and half of the
    instances, at the checkpoint that other seeds pick on the other half (`landmarks.picked`); under
    its name with "_uncorrected" it is reported on the very answers that picked it.
    """
    contents = [provenance.read_json(file) for file in landmark_files]
    picked = {
        model: landmarks.picked(
            {c["seed"]: c["landmarks"] for c in contents if c["track"] == model}
        )
        for model in {c["track"] for c in contents}
    }
    parts = []
    for content in contents:
        here = rows[(rows["track"] == content["track"]) & (rows["seed"] == content["seed"])]
        for name in names:
            landmark = name.removesuffix("_uncorrected")
            mark = content["landmarks"].get(landmark, {"checkpoint": name})
            variant = artifacts.sft(0) if name == "base" else mark["checkpoint"]
            if name == "maxood":
                variant = here["half"].map(picked[content["track"]][content["seed"]])
            parts.append(here[here["checkpoint"] == variant].assign(landmark=name))
    return pd.concat(parts, ignore_index=True)


def sft_first(column: pd.Series) -> pd.Series:
    """Sort key that puts SFT before RL in a column `stage`, and leaves other columns."""
    return column.map({"sft": 0, "rl": 1}) if column.name == "stage" else column
