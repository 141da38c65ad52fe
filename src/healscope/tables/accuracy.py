"""Accuracy of checkpoints: curves, the RL window, landmarks, arms.

All from greedy first attempts at deals with a face card, ID and OOD paired.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.tables.rows import (
    at_landmarks,
    first_attempts,
    summarise,
    trained_on,
    with_steps,
)


def curves(
    evaluations: list[str], pools: list[str], sft: dict, settings: Statistics
) -> pd.DataFrame:
    """Accuracy along SFT and after RL from each start, by rule and split (fig3a, fig3b).

    Split "train" holds deals that the seed's SFT was trained on.
    """
    rows = with_steps(trained_on(first_attempts(evaluations), pools, sft))
    by = ["track", "stage", "step", "checkpoint", "split", "rule"]
    return summarise(rows, by, settings).rename(columns={"mean": "accuracy"})


def rl_window(evaluations: list[str], settings: Statistics) -> pd.DataFrame:
    """Change of held-out accuracy by RL, paired by problem, for each start (fig10).

    `mcnemar_p` tests each seed on one problem of each instance, as problems of one instance are not
    independent.
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    before, after = rows[rows["stage"] == "sft"], rows[rows["stage"] == "rl"]
    out = []
    for (model, start, rule), changed in after.groupby(["track", "step", "rule"]):
        same = (before["track"] == model) & (before["step"] == start) & (before["rule"] == rule)
        unchanged = before[same]
        change = stats.paired(unchanged, changed).assign(track=model, start=start, rule=rule)
        table = summarise(change, ["track", "start", "rule"], settings, "change")
        for seed, name in [("all", None), *((str(s), s) for s in changed["seed"].unique())]:
            pick = table["seed"] == seed
            for column, part in (("before", unchanged), ("after", changed)):
                chosen = part if name is None else part[part["seed"] == name]
                table.loc[pick, column] = chosen.groupby("seed")["correct"].mean().mean()
            if name is not None:
                own = change[change["seed"] == name].drop_duplicates("instance_id")["change"]
                table.loc[pick, "mcnemar_p"] = stats.mcnemar(own < 0, own > 0)
        out.append(table.rename(columns={"mean": "change"}))
    return pd.concat(out, ignore_index=True)


def landmarks(
    evaluations: list[str], landmark_files: list[str], settings: Statistics
) -> pd.DataFrame:
    """Accuracy at MaxOOD, End and RL, by rule (fig1).

    Landmark "maxood" is corrected for having been picked; "maxood_uncorrected" is what the answers
    that picked it say.
    """
    names = ["maxood", "maxood_uncorrected", "end", "rl"]
    return at_landmark(landmark_rows(evaluations, landmark_files, names), settings)


def landmark_rows(
    evaluations: list[str], landmark_files: list[str], names: list[str]
) -> pd.DataFrame:
    """Held-out first attempts at the landmarks of these names."""
    rows = first_attempts(evaluations)
    return at_landmarks(rows[rows["split"] == "held_out"], landmark_files, names)


def at_landmark(rows: pd.DataFrame, settings: Statistics) -> pd.DataFrame:
    """Means of such rows, with the checkpoints behind them."""
    table = summarise(rows, ["track", "landmark", "rule"], settings)
    found = rows.assign(seed=rows["seed"].astype(str)).groupby(["track", "seed", "landmark"])
    checkpoints = found["checkpoint"].agg(lambda v: ", ".join(sorted(set(v), key=_step)))
    table = table.merge(
        checkpoints.rename("checkpoint"), on=["track", "seed", "landmark"], how="left"
    )
    return table.rename(columns={"mean": "accuracy"})


def _step(checkpoint: str) -> int:
    return artifacts.stage_and_step(checkpoint)[1]


def arms(evaluations: list[str], settings: Statistics) -> pd.DataFrame:
    """Held-out accuracy along SFT of every arm (kind "level"), by rule (fig_arms, fig_methods).

    Kind "difference": another arm minus arm "sft", paired on the same problems.
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"].rename(columns={"stage": "arm"})
    by = ["track", "arm", "kind", "step", "rule"]
    out = [summarise(rows.assign(kind="level"), by, settings)]
    for (model, step, rule), group in rows.groupby(["track", "step", "rule"]):
        main = group[group["arm"] == "sft"]
        for arm, control in group[group["arm"] != "sft"].groupby("arm"):
            at = {"track": model, "arm": arm, "kind": "difference", "step": step, "rule": rule}
            out.append(summarise(stats.paired(main, control).assign(**at), by, settings, "change"))
    return pd.concat(out, ignore_index=True).rename(columns={"mean": "accuracy"})
