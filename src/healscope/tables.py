"""Tidy tables, one for each figure: from rows of attempts to shares with intervals.

Everywhere: `seed` is a string, "all" for the mean over seeds; `low` and `high` bound the interval
of `healscope.stats`; accuracies are shares of greedy first attempts that are correct.
"""

from collections.abc import Iterable

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.probes.pca import principal_components

OUTCOME_COLUMNS = ["model", "seed", "variant", "problem_id", "deal_id", "split", "rule", "sample"]


def attempts(files: Iterable[str], extra: Iterable[str] = ()) -> pd.DataFrame:
    """Evaluation rows of many files, only the columns that tables need."""
    columns = [*OUTCOME_COLUMNS, "correct", *extra]
    return pd.concat([provenance.read_table(f, columns) for f in files], ignore_index=True)


def with_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds stage ("sft" or "rl") and step (SFT step, or the SFT step RL started from)."""
    named = {v: artifacts.stage_and_step(v) for v in rows["variant"].unique()}
    return rows.assign(
        stage=rows["variant"].map(lambda v: named[v][0]),
        step=rows["variant"].map(lambda v: named[v][1]),
    )


def summarise(
    rows: pd.DataFrame, by: list[str], settings: Statistics, column: str = "correct"
) -> pd.DataFrame:
    """Mean of `column` with its interval for each group of `by` (which holds model), each seed
    alone and all together."""
    out = []
    for key, group in rows.groupby(by, sort=True, dropna=False):
        parts = [("all", group), *((str(s), g) for s, g in group.groupby("seed"))]
        for seed, part in parts:
            estimate = stats.bootstrap(part, column, settings)
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


def curves(evaluations: list[str], settings: Statistics) -> pd.DataFrame:
    """Accuracy along SFT and after RL from each start, by rule and split (fig3a, fig3b)."""
    rows = with_steps(attempts(evaluations))
    by = ["model", "stage", "step", "variant", "split", "rule"]
    return summarise(rows, by, settings).rename(
        columns={"mean": "accuracy", "variant": "checkpoint"}
    )


def rl_window(evaluations: list[str], settings: Statistics) -> pd.DataFrame:
    """Change of held-out accuracy by RL, paired by problem, for each start (fig10)."""
    rows = with_steps(attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    before, after = rows[rows["stage"] == "sft"], rows[rows["stage"] == "rl"]
    out = []
    for (model, start, rule), changed in after.groupby(["model", "step", "rule"]):
        same = (before["model"] == model) & (before["step"] == start) & (before["rule"] == rule)
        unchanged = before[same]
        change = stats.paired(unchanged, changed).assign(model=model, start=start, rule=rule)
        table = summarise(change, ["model", "start", "rule"], settings, "change")
        for seed, name in [("all", None), *((str(s), s) for s in changed["seed"].unique())]:
            pick = table["seed"] == seed
            for column, part in (("before", unchanged), ("after", changed)):
                chosen = part if name is None else part[part["seed"] == name]
                table.loc[pick, column] = chosen.groupby("seed")["correct"].mean().mean()
        out.append(table.rename(columns={"mean": "change"}))
    return pd.concat(out, ignore_index=True)


def at_landmarks(
    evaluations: list[str], landmark_files: list[str], names: list[str]
) -> pd.DataFrame:
    """Held-out rows of the checkpoints behind `names`, with a column `landmark`."""
    rows = attempts(evaluations)
    rows = rows[rows["split"] == "held_out"]
    parts = []
    for file in landmark_files:
        content = provenance.read_json(file)
        here = rows[(rows["model"] == content["model"]) & (rows["seed"] == content["seed"])]
        for name in names:
            checkpoint = content["landmarks"][name]["checkpoint"]
            parts.append(here[here["variant"] == checkpoint].assign(landmark=name))
    return pd.concat(parts, ignore_index=True)


def landmarks(
    evaluations: list[str], landmark_files: list[str], settings: Statistics
) -> pd.DataFrame:
    """Accuracy at MaxOOD, End and RL, by rule (fig1)."""
    rows = at_landmarks(evaluations, landmark_files, ["maxood", "end", "rl"])
    table = summarise(rows, ["model", "landmark", "rule"], settings)
    checkpoint = rows.assign(seed=rows["seed"].astype(str)).drop_duplicates(
        ["model", "seed", "landmark"]
    )[["model", "seed", "landmark", "variant"]]
    table = table.merge(checkpoint, on=["model", "seed", "landmark"], how="left")
    return table.rename(columns={"mean": "accuracy", "variant": "checkpoint"})


def reversion(
    edits: list[str],
    evaluations: list[str],
    landmark_files: list[str],
    stage: str,
    settings: Statistics,
) -> pd.DataFrame:
    """Held-out accuracy of edited models, the unedited target and the parent (fig4 to fig7)."""
    parent, target = artifacts.EDIT_STAGES[stage]
    around = at_landmarks(evaluations, landmark_files, [parent, target])
    kinds = {parent: "parent", target: "none"}
    around = around.assign(kind=around["landmark"].map(kinds), axis="", amount=0.0)
    rows = attempts(edits)
    rows = rows[rows["split"] == "held_out"]
    named = {v: artifacts.parse_edit(v) for v in rows["variant"].unique()}
    for i, column in enumerate(("kind", "axis", "amount")):
        rows = rows.assign(**{column: rows["variant"].map(lambda v, i=i: named[v][i])})
    both = pd.concat([around, rows], ignore_index=True).assign(stage=stage)
    table = summarise(both, ["model", "stage", "kind", "axis", "amount", "rule"], settings)
    return table.rename(columns={"mean": "accuracy"})


def training(files: list[str]) -> pd.DataFrame:
    """Everything logged along SFT, all seeds (fig2a, fig2b, fig8)."""
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    return rows.assign(seed=rows["seed"].astype(str))


def _comparisons(files: list[str], quantity: str) -> pd.DataFrame:
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    return rows[rows["quantity"] == quantity].assign(seed=lambda r: r["seed"].astype(str))


def singular_values(files: list[str]) -> pd.DataFrame:
    """Singular values before and after (fig13)."""
    keep = ["model", "seed", "pair", "layer", "role", "index", "sigma_a", "sigma_b"]
    return _comparisons(files, "sigma").rename(columns={"a": "sigma_a", "b": "sigma_b"})[keep]


def principal_angles(files: list[str]) -> pd.DataFrame:
    """Principal angles between leading singular subspaces (fig14)."""
    keep = ["model", "seed", "pair", "layer", "role", "side", "fraction", "index", "degrees"]
    return _comparisons(files, "angle").rename(columns={"b": "degrees"})[keep]


def hidden_states(files: list[str]) -> pd.DataFrame:
    """Two principal components of the states at the landmarks, for each seed (fig15)."""
    rows = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    parts = [
        principal_components(group).assign(model=model, seed=str(seed))
        for (model, seed), group in rows.groupby(["model", "seed"])
    ]
    return pd.concat(parts, ignore_index=True)


def build(name: str, inputs: dict[str, list[str]], settings: Statistics) -> pd.DataFrame:
    """The table of that name from its input files, by kind."""
    makers = {
        "landmarks": lambda: landmarks(inputs["evaluations"], inputs["landmarks"], settings),
        "curves": lambda: curves(inputs["evaluations"], settings),
        "rl-window": lambda: rl_window(inputs["evaluations"], settings),
        "sft-training": lambda: training(inputs["training"]),
        "singular-values": lambda: singular_values(inputs["comparisons"]),
        "principal-angles": lambda: principal_angles(inputs["comparisons"]),
        "hidden-states": lambda: hidden_states(inputs["states"]),
    }
    if name.startswith("reversion-"):
        stage = name.split("-")[1]
        files = inputs["edits"], inputs["evaluations"], inputs["landmarks"]
        return reversion(*files, stage, settings)
    return makers[name]()
