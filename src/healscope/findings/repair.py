"""What edits of the weights repair, and at what cost (fig_repair)."""

import pandas as pd

from healscope import stats
from healscope.config import Statistics
from healscope.edit_kinds import STRAIGHT
from healscope.evaluation.schemas import DISTANCES, TURNED
from healscope.findings import measures
from healscope.findings.columns import ALL_SEEDS, EDIT_COLUMNS, KINDS
from healscope.findings.edit_controls import against_rl, controls, sibling, splices
from healscope.findings.finding import Finding
from healscope.findings.measures import LOSS
from healscope.findings.reversions import MEASURED, PLACE, around_edits, edited
from healscope.findings.rows import at_landmarks, first_attempts
from healscope.markdown import cell, estimate, grid
from healscope.schema import IN_NATS, IN_SHARES, TRACK, Column, change, flag, real, table, text
from healscope.verdicts import MARGIN

STAGE = "sft"
"""The stage of edits that puts back what SFT changed."""

SHARE = 0.8
"""Of the lost OOD accuracy: an edit gives the loss back if it gives back at least so much."""

SHARES = (0.5, SHARE)
"""Shares of the lost OOD accuracy for which the cheapest edit is looked for."""

FURTHEST = 1.05
"""An edit that goes further than the parent is away is not cheap, whatever it gives back."""

PICK = "cheapest for {:.0%}"
"""Name of the row of the cheapest edit for a share."""


def repair(
    edits: list[str],
    evaluations: list[str],
    keeper_edits: list[str],
    keeper_files: list[str],
    landmark_files: list[str],
    stages: dict[str, dict[str, str]],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return what each edit of stage sft changes in ID and OOD accuracy, and in that on keepers,
    paired by problem.

    Beside the edits (kinds as in their names): "parent", what going back altogether changes; "rl",
    what RL changes; and "pick", the cheapest edit that gives back at least a share of the OOD
    accuracy that was lost from parent to target, as other seeds and instances pick it (`pick`).
    `front`: no edit but a control gives more OOD accuracy for at most the same loss of ID accuracy.
    """
    points = stages["sft"]
    around, rows = _answers(edits, evaluations, landmark_files, points)
    if keeper_files:  # each as a rule of its own name
        kept = _answers(keeper_edits, keeper_files, landmark_files, points)
        kept = [part[part["rule"] == "id"] for part in kept]
        more_around, more = (part.assign(rule=part["task"]) for part in kept)
        around, rows = pd.concat([around, more_around]), pd.concat([rows, more])
    found = []
    for model, own in rows.groupby("track"):
        target = around[(around["kind"] == "none") & (around["track"] == model)]
        changes = changes_of(own, target)
        said = own.drop_duplicates("name").set_index("name")
        far = own.groupby("name")[MEASURED].mean()
        tables = []
        for name, own_change in changes.items():
            place = said.loc[name, PLACE].to_dict()
            tables.append({"name": name, "picked": "", **place, **far.loc[name].to_dict()})
            ends = changes[points["parent"]], target[target["rule"] == "id"]
            tables[-1] |= _repaired(own_change, *ends, statistics)
        table = pd.DataFrame(tables)
        candidates = (table["control"] == "") & ~table["kind"].isin(["parent", "rl"])
        table["front"] = candidates & ~_dominated(table, table[candidates])
        parent, picks = changes[points["parent"]], []
        for share in SHARES:
            names = table.loc[offered(table), "name"]
            if names.empty:
                continue
            own, names = pick({n: changes[n] for n in names}, parent, share)
            picks.append(
                {"name": PICK.format(share), "picked": " or ".join(names), "kind": "pick",
                 "axis": "", "amount": share, "control": "", "matched": "", "front": False,
                 **_repaired(own, *ends, statistics)}
            )  # fmt: skip
        both = pd.concat([table, pd.DataFrame(picks)], ignore_index=True)
        able = {rule: measures.can_lose(rows) for rule, rows in target.groupby("rule")}
        both["unharmed"] = [[name for name in names if able[name]] for names in both["unharmed"]]
        found.append(both.assign(track=model, seed="all"))
    return pd.concat(found, ignore_index=True)


def _answers(
    edits: list[str], evaluations: list[str], landmark_files: list[str], points: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return first attempts of target and parent, and of all that is compared with the target."""
    around = around_edits(evaluations, landmark_files, points)
    healed = first_attempts(evaluations)
    healed = at_landmarks(healed[healed["split"] == "held_out"], landmark_files, ["rl"])
    healed = healed.assign(kind="rl", name="rl", axis="", amount=0.0, control="", matched="")
    return around, pd.concat([edited(edits), around[around["kind"] == "parent"], healed])


RULES = ("id", "ood")

Changes = dict[str, pd.DataFrame]
"""rule, or name of a keeper -> change of each problem."""


def changes_of(rows: pd.DataFrame, target: pd.DataFrame) -> dict[str, Changes]:
    """name -> what each problem's answer changes by, under either rule and on each keeper."""
    asked = dict.fromkeys([*RULES, *target["rule"].unique()])
    return {
        name: {
            rule: measures.paired(target[target["rule"] == rule], own[own["rule"] == rule])
            for rule in asked
        }
        for name, own in rows.groupby("name", sort=False)
    }


def offered(table: pd.DataFrame) -> pd.Series:
    """Return whether a row is an edit that can be picked (`pickable`)."""
    edits = ~table["kind"].isin(["parent", "rl", "pick"])
    able = map(pickable, table["control"], table["from_target"])
    return edits & pd.Series(list(able), table.index, dtype=bool)


def pickable(control: str, from_target: float) -> bool:
    """Return whether an edit can be picked: no control but a straight step, and none that goes
    further than the parent is away."""
    return control in ("", *STRAIGHT) and not from_target > FURTHEST


def chosen(table: pd.DataFrame, share: float) -> str:
    """Return the name of the edit that is worth most (`worth`) by all problems of one model; empty
    where none is offered. What it gives is flattered by the choice: the row `PICK` is not."""
    edits = table[offered(table)]
    lost = float(table.loc[table["kind"] == "parent", "ood_change"].iloc[0])
    by_worth = {
        row.name: worth_of(row.ood_change, lost, row.id_change, share)
        for row in edits.itertuples(index=False)
    }
    return max(by_worth, key=by_worth.__getitem__, default="")


def _repaired(
    change: Changes, parent: Changes, target: pd.DataFrame, statistics: Statistics
) -> dict:
    """Changes under both rules and on keepers, with intervals, and the share of the loss that is
    given back; `target` holds its answers under the ID rule."""
    found = {}
    changed = {rule: measures.change(rows, statistics) for rule, rows in change.items()}
    for rule in RULES:
        e = changed.pop(rule)
        found |= {f"{rule}_change": e.value, f"{rule}_low": e.low, f"{rule}_high": e.high}
        found[f"{rule}_by_seed"] = list(e.by_seed.values())
    kept = {name: e for name, e in changed.items() if e.by_seed}
    found["keepers"] = list(kept)
    found["keepers_unit"] = [e.unit for e in kept.values()]
    for key, end in (("change", "value"), ("low", "low"), ("high", "high")):
        found[f"keepers_{key}"] = [getattr(e, end) for e in kept.values()]
    found["unharmed"] = [name for name, e in kept.items() if e.low > -MARGIN]
    lost = _mean(parent["ood"])
    found["restored"] = found["ood_change"] / lost if lost > 0 else float("nan")
    return found | {
        "healed": _healed(change["ood"], parent["ood"]),
        "kept": _still_right(change["id"], target),
    }


def _healed(change: pd.DataFrame, parent: pd.DataFrame) -> float:
    """Return the share of the answers that the target has lost to its parent that are right
    again; NaN where none was lost."""
    both = change.merge(parent[[*stats.UNIT, "change"]], on=stats.UNIT, suffixes=("", "_parent"))
    lost = both["change_parent"].clip(lower=0)
    again = both["change"].clip(lower=0).clip(upper=lost)
    return float(again.sum() / lost.sum()) if lost.any() else float("nan")


def _still_right(change: pd.DataFrame, target: pd.DataFrame) -> float:
    """Return the share of the target's right answers that stay right; NaN where it has none."""
    both = change.merge(target[[*stats.UNIT, "correct"]], on=stats.UNIT)
    right = both["correct"].astype(float)
    stay = (right + both["change"]).clip(lower=0).clip(upper=right)
    return float(stay.sum() / right.sum()) if right.any() else float("nan")


def _dominated(table: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Return whether another edit is at least as good under both rules, and better under one."""
    found = []
    for row in table.itertuples():
        least = (others["id_change"] >= row.id_change) & (others["ood_change"] >= row.ood_change)
        more = (others["id_change"] > row.id_change) | (others["ood_change"] > row.ood_change)
        found.append(bool((least & more).any()))
    return pd.Series(found, table.index)


def pick(offered: dict[str, Changes], parent: Changes, share: float) -> tuple[Changes, list[str]]:
    """Pick the edit that is worth most (`worth`), for each seed and half by what others show.

    Return the changes at what was picked, and the names of that, each once.
    """

    def elsewhere(name: str, seeds: list[int], half: str) -> tuple[bool, float, float]:
        ends = (
            {rule: stats.of_part(rows, seeds, half) for rule, rows in changes.items()}
            for changes in (offered[name], parent)
        )
        return worth(*ends, share)

    picked = stats.picked_elsewhere(elsewhere, list(offered), sorted(set(parent["ood"]["seed"])))
    own = {
        rule: stats.at_picked({name: c[rule] for name, c in offered.items()}, picked)
        for rule in parent
    }
    return own, list(dict.fromkeys(n for halves in picked.values() for n in halves.values()))


def worth(edit: Changes, parent: Changes, share: float) -> tuple[bool, float, float]:
    """Return how good an edit is for giving back a share of what going back to the parent would:
    first whether it gives so much, then how little ID accuracy it costs, or else how much OOD
    accuracy it gives; of equal ones the other counts."""
    return worth_of(*(_mean(rows) for rows in (edit["ood"], parent["ood"], edit["id"])), share)


def worth_of(gain: float, lost: float, price: float, share: float) -> tuple[bool, float, float]:
    """Return `worth` by the mean changes: what the edit gives, what the parent would, and what the
    edit changes in ID accuracy."""
    enough = lost > 0 and gain >= share * lost
    return (enough, price, gain) if enough else (enough, gain, price)


def _mean(rows: pd.DataFrame) -> float:
    """Return mean change: of the seeds' means."""
    return float(rows.groupby("seed")["change"].mean().mean())


def section(table: pd.DataFrame, whole: bool = False) -> str:
    """Return what each edit changes, and the share of the lost OOD accuracy that it gives back; of
    all edits and controls with `whole`, else of those that no other beats."""
    shown = table[table["front"] | table["kind"].isin(["parent", "rl", "pick"])]
    shown = table if whole else shown
    keepers = list(dict.fromkeys(name for names in table["keepers"] for name in names))
    rows = [
        (
            r["name"] + (f": {r['picked']}" if r["picked"] else ""),
            *(
                estimate(r, f"{rule}_change", prefix=f"{rule}_")
                for rule in ("id", "ood")
            ),
            cell(100 * r["restored"], ".0f"),
            cell(100 * r["healed"], ".0f"),
            cell(100 * r["kept"], ".0f"),
            *(
                at_keeper(r, keeper) + (" unharmed" if keeper in list(r["unharmed"]) else "")
                for keeper in keepers
            ),
        )
        for r in shown.sort_values("ood_change", ascending=False).to_dict("records")
    ]  # fmt: skip
    listed = "All edits and controls" if whole else "Edits that no other beats"
    note = (
        f"{listed}, a full return to the parent, RL, and the cheapest edits. These were picked on "
        "other problems than those shown; the best of the others was not, and looks better than it "
        "is. *Healed*: "
        "of the OOD answers that were lost from parent to target, the share that is right again; "
        "*kept*: of the target's right ID answers, the share that stays right."
    )
    if keepers:
        note += (
            f" For keepers, their change, for texts in nats per token; *unharmed*: a loss of "
            f"{LOSS} or more is excluded."
        )
    header = ["weights", "ID change", "OOD change", "of the loss given back, %"]
    header += ["healed, %", "kept, %", *keepers]
    return note + "\n\n" + grid(header, rows)


def at_keeper(row: dict, keeper: str) -> str:
    """Return the change on a keeper that a row of the table has; a dash where it was not asked."""
    names = list(row["keepers"])
    if keeper not in names:
        return cell(float("nan"), "")
    at = names.index(keeper)
    own = {key: row[f"keepers_{key}"][at] for key in ("unit", "change", "low", "high")}
    return estimate(own, "change")


SCHEMA = table(
    "repair",
    "What one edit of stage sft changes in held-out accuracy, what going back to the parent or "
    "RL would, and what the cheapest edit for a share of the loss does.",
    (
        text("name", "of the edit; of the landmark or checkpoint; of the share"),
        text(
            "picked",
            "the edit picked for a share of the loss by other seeds and instances; "
            "else empty",
        ),
        text("kind", f"{KINDS}; of a sum, joined by +; parent; rl; pick"),
        *EDIT_COLUMNS, *DISTANCES, TURNED,
        *(
            column
            for rule in ("id", "ood")
            for column in (
                change(f"{rule}_change", f"{rule.upper()} accuracy less that of the target"),
                change(f"{rule}_low", "lower limit of the interval"),
                change(f"{rule}_high", "upper limit of the interval"),
                Column(f"{rule}_by_seed", "floats", "in each seed", "difference of shares"),
            )
        ),
        real("restored", "ood_change, of what was lost from parent to target", "ratio", True),
        real(
            "healed", "of the OOD answers that the parent has right and the target has not, those "
            "that are right again", "ratio", True,
        ),
        real("kept", "of the target's right ID answers, those that stay right", "ratio", True),
        Column("keepers", "strings", "names of the study's keepers"),
        Column(
            "keepers_unit",
            "strings",
            "of each keeper, the unit of the next three columns: of accuracies, or of texts",
            allowed=(IN_SHARES, IN_NATS),
        ),
        *(
            Column(f"keepers_{key}", "floats", f"of each keeper, {about}", "as keepers_unit says")
            for key, about in (
                ("change", "its level less that of the target, lost where negative"),
                ("low", "lower limit of the interval"),
                ("high", "upper limit of the interval"),
            )
        ),
        Column(
            "unharmed",
            "strings",
            f"keepers whose interval excludes a loss of {LOSS} or more, and of which the target "
            "has something to lose",
        ),
        flag("front", "no edit (no control) gives more OOD accuracy at no more ID cost"),
        TRACK, ALL_SEEDS,
    ),
    "track", "name", "kind",
)  # fmt: skip

FINDING = Finding(
    name="repair",
    schema=SCHEMA,
    make=repair,
    inputs=lambda files: {
        "edits": files.edits("sft"),
        "evaluations": [*files.evaluations(files.at_landmarks), *files.around("sft")],
        "keeper_edits": files.keeper_edits("sft"),
        "keeper_files": files.of_keepers([*files.at_landmarks, *files.checkpoints_around("sft")]),
        "landmark_files": files.landmarks(),
    },
    asked=lambda files: "sft" in files.study.edits.stages,
    target=lambda files: not files.trained,
    order=9,
    claims=(sibling, controls, splices, against_rl),
    claim_names=(
        "(top-directions|first-layers)-restore-.+",
        "[a-z]+-beat-.+",
        "(orthonormal|exact)-directions-do-the-same-.+",
        "values-add-nothing-.+",
        "rl-beats-the-best-edit",
    ),
    title="What edits repair, and at what cost",
    section=section,
)
