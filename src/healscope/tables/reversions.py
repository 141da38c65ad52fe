"""Edited models: accuracy along sweeps (fig4 to fig7), and what it costs to repair (fig_repair)."""

import pandas as pd

from healscope import edit_kinds, edit_names, stats
from healscope.config import Statistics
from healscope.tables.rows import at_landmarks, first_attempts, summarise

PLACE = ["kind", "axis", "amount", "control", "matched"]
BY = ["track", "stage", "name", *PLACE]
DISTANCES = ["from_target", "from_parent"]
MEASURED = [*DISTANCES, "turned_degrees"]

SHARES = (0.5, 0.8)
"""Shares of the lost OOD accuracy for which the cheapest edit is looked for."""


def reversion(
    edits: list[str],
    evaluations: list[str],
    landmark_files: list[str],
    stage: str,
    points: dict[str, str],
    settings: Statistics,
) -> pd.DataFrame:
    """Held-out accuracy of edited models, of the unedited target (kind "none") and of the parent.

    `points` names the stage's target and parent. An edit starts from one checkpoint, so a MaxOOD
    among them is here each seed's own, which all its instances pick.
    """
    rows = pd.concat([_around(evaluations, landmark_files, points), edited(edits)])
    rows = rows.assign(stage=stage)
    table = summarise(rows, [*BY, "rule"], settings).rename(columns={"mean": "accuracy"})
    return table.merge(_distances(rows), on=["track", "seed", "name"])


def edited(files: list[str]) -> pd.DataFrame:
    """First attempts of edited models, with what the names of their edits say."""
    rows = first_attempts(files, MEASURED)
    named = {name: edit_names.parse(name) for name in rows["checkpoint"].unique()}
    said = pd.DataFrame(
        [
            {"checkpoint": name, "name": name, "kind": edit.kind, "axis": edit.axis[0],
             "amount": edit.axis[1], "control": edit.control,
             "matched": edit_kinds.matched(edit.control)}
            for name, edit in named.items()
        ]
    )  # fmt: skip
    return rows.merge(said, on="checkpoint")


def _around(
    evaluations: list[str], landmark_files: list[str], points: dict[str, str]
) -> pd.DataFrame:
    """First attempts of target and parent, as edits that leave all and put all back."""
    rows = first_attempts(evaluations)
    rows = rows[rows["split"] == "held_out"]
    parts = []
    for kind, name, away in (("none", points["target"], 0.0), ("parent", points["parent"], 1.0)):
        landmark = "maxood_uncorrected" if name == "maxood" else name
        there = at_landmarks(rows, landmark_files, [landmark])
        parts.append(
            there.assign(
                kind=kind, name=name, axis="", amount=0.0, control="", matched="",
                from_target=away, from_parent=1.0 - away,
                turned_degrees=float("nan") if away else 0.0,
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _distances(rows: pd.DataFrame) -> pd.DataFrame:
    """The edits' distances by seed, and their means."""
    keys = ["track", "seed", "name"]
    single = rows.drop_duplicates(keys)[[*keys, *MEASURED]]
    whole = single.groupby(["track", "name"], as_index=False)[MEASURED].mean().assign(seed="all")
    return pd.concat([whole, single.assign(seed=single["seed"].astype(str))])


def repair(
    edits: list[str],
    evaluations: list[str],
    landmark_files: list[str],
    points: dict[str, str],
    settings: Statistics,
) -> pd.DataFrame:
    """What each edit of stage sft changes in ID and OOD accuracy, paired by problem.

    Beside the edits (kinds as in their names): "parent", what going back altogether changes; "rl",
    what RL changes; and "pick", the cheapest edit that gives back at least a share of the OOD
    accuracy that was lost from parent to target, as other seeds and instances pick it (`pick`).
    `front`: no edit but a control gives more OOD accuracy for at most the same loss of ID accuracy.
    """
    around = _around(evaluations, landmark_files, points)
    healed = first_attempts(evaluations)
    healed = at_landmarks(healed[healed["split"] == "held_out"], landmark_files, ["rl"])
    healed = healed.assign(kind="rl", name="rl", axis="", amount=0.0, control="", matched="")
    rows = pd.concat([edited(edits), around[around["kind"] == "parent"], healed])
    found = []
    for model, own in rows.groupby("track"):
        target = around[(around["kind"] == "none") & (around["track"] == model)]
        changes = changes_of(own, target)
        said = own.drop_duplicates("name").set_index("name")
        far = own.groupby("name")[MEASURED].mean()
        tables = []
        for name, change in changes.items():
            place = said.loc[name, PLACE].to_dict()
            tables.append({"name": name, "picked": "", **place, **far.loc[name].to_dict()})
            tables[-1] |= _repaired(change, changes[points["parent"]], settings)
        table = pd.DataFrame(tables)
        candidates = (table["control"] == "") & ~table["kind"].isin(["parent", "rl"])
        table["front"] = candidates & ~_dominated(table, table[candidates])
        offered = candidates | (table["control"] == "interpolation")
        parent, picks = changes[points["parent"]], []
        for share in SHARES:
            own, names = pick({n: changes[n] for n in table.loc[offered, "name"]}, parent, share)
            picks.append(
                {"name": f"cheapest for {share:.0%}", "picked": " or ".join(names), "kind": "pick",
                 "axis": "", "amount": share, "control": "", "matched": "", "front": False,
                 **_repaired(own, parent, settings)}
            )  # fmt: skip
        both = pd.concat([table, pd.DataFrame(picks)], ignore_index=True)
        found.append(both.assign(track=model, seed="all"))
    return pd.concat(found, ignore_index=True)


Changes = dict[str, pd.DataFrame]
"""rule -> change of each problem."""


def changes_of(rows: pd.DataFrame, target: pd.DataFrame) -> dict[str, Changes]:
    """name -> what each problem's answer changes by, under either rule."""
    return {
        name: {
            rule: stats.paired(target[target["rule"] == rule], own[own["rule"] == rule])
            for rule in ("id", "ood")
        }
        for name, own in rows.groupby("name", sort=False)
    }


def _repaired(change: Changes, parent: Changes, settings: Statistics) -> dict:
    """Changes under both rules with intervals, and the share of the loss that is given back."""
    found = {}
    for rule, rows in change.items():
        e = stats.bootstrap(rows, "change", settings)
        found |= {f"{rule}_change": e.value, f"{rule}_low": e.low, f"{rule}_high": e.high}
        found[f"{rule}_by_seed"] = list(e.by_seed.values())
    lost = _mean(parent["ood"])
    found["restored"] = found["ood_change"] / lost if lost > 0 else float("nan")
    return found


def _dominated(table: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Whether another edit is at least as good under both rules, and better under one."""
    found = []
    for row in table.itertuples():
        least = (others["id_change"] >= row.id_change) & (others["ood_change"] >= row.ood_change)
        more = (others["id_change"] > row.id_change) | (others["ood_change"] > row.ood_change)
        found.append(bool((least & more).any()))
    return pd.Series(found, table.index)


def pick(offered: dict[str, Changes], parent: Changes, share: float) -> tuple[Changes, list[str]]:
    """Picks the edit that is worth most (`worth`), for each seed and half by what others show.

    Returns the changes at what was picked, and the names of that, each once.
    """

    def elsewhere(name: str, seeds: list[int], half: str) -> tuple[bool, float]:
        ends = (
            {rule: stats.of_part(rows, seeds, half) for rule, rows in changes.items()}
            for changes in (offered[name], parent)
        )
        return worth(*ends, share)

    picked = stats.picked_elsewhere(elsewhere, list(offered), sorted(set(parent["ood"]["seed"])))
    own = {
        rule: stats.at_picked({name: c[rule] for name, c in offered.items()}, picked)
        for rule in ("id", "ood")
    }
    return own, list(dict.fromkeys(n for halves in picked.values() for n in halves.values()))


def worth(edit: Changes, parent: Changes, share: float) -> tuple[bool, float]:
    """How good an edit is for giving back a share of what going back to the parent would: whether
    it gives so much, then the less ID accuracy it costs; else the more OOD accuracy it gives."""
    gain, lost, price = (_mean(rows) for rows in (edit["ood"], parent["ood"], edit["id"]))
    enough = lost > 0 and gain >= share * lost
    return enough, price if enough else gain


def _mean(rows: pd.DataFrame) -> float:
    """Mean change: of the seeds' means."""
    return float(rows.groupby("seed")["change"].mean().mean())
