"""Parts of the weights put back: accuracy along sweeps (fig4 to fig7), and what the paper claims
(section 4)."""

import pandas as pd

from healscope import artifacts, edit_kinds, edit_names
from healscope.config import Statistics
from healscope.edit_kinds import CONTROLS
from healscope.evaluation.schemas import DISTANCES, EDIT_STAGE, TURNED
from healscope.findings.columns import ACCURACY, EDIT_COLUMNS, KINDS, SEED, N, interval
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import at_landmarks, first_attempts, summarise
from healscope.markdown import cell, estimate, grid, level
from healscope.schema import TRACK, Schema, text
from healscope.stats import Estimate
from healscope.tasks.schemas import RULE
from healscope.verdicts import margin, moves, negligible, signed

PLACE = ["kind", "axis", "amount", "control", "matched"]

BY = ["track", "stage", "name", *PLACE]

DISTANCE_NAMES = ["from_target", "from_parent"]

MEASURED = [*DISTANCE_NAMES, "turned_degrees"]


def reversion(
    edits: list[str],
    evaluations: list[str],
    landmark_files: list[str],
    stage: str,
    stages: dict[str, dict[str, str]],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return held-out accuracy of edited models, of the unedited target (kind "none") and of the
    parent.

    `stages` names the target and the parent of each stage. An edit starts from one checkpoint, so a
    MaxOOD among them is here each seed's own, which all its instances pick.
    """
    around = around_edits(evaluations, landmark_files, stages[stage])
    rows = pd.concat([around, edited(edits)])
    rows = rows.assign(stage=stage)
    table = summarise(rows, [*BY, "rule"], statistics).rename(columns={"mean": "accuracy"})
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


def around_edits(
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
    """Return the edits' distances by seed, and their means."""
    keys = ["track", "seed", "name"]
    single = rows.drop_duplicates(keys)[[*keys, *MEASURED]]
    whole = single.groupby(["track", "name"], as_index=False)[MEASURED].mean().assign(seed="all")
    return pd.concat([whole, single.assign(seed=single["seed"].astype(str))])


def reverting(d: Data) -> list[dict]:
    """Section 4: values reverted change nothing, directions reverted change everything."""
    found = []
    for stage in d.stages:
        for kind in ("values", "directions"):
            for rule in ("id", "ood"):
                after = d.edited(stage, f"{kind}-rank-1", rule)
                if after.empty:  # this study does not revert all directions
                    continue
                before, parent = d.ends(stage, rule)
                gap = d.change(before, parent)
                explained = d.explains(stage, rule)
                picked = d.flatters(stage)
                straight = d.edited(stage, f"{kind}-rank-1-as-interpolation", rule)
                beside = None if straight.empty else d.change(before, straight)
                change = d.change(before, after)
                found.append(_reverted(stage, kind, rule, change, gap, explained, picked, beside))
    return found


def _reverted(
    stage: str,
    kind: str,
    rule: str,
    change: Estimate,
    gap: Estimate,
    explained: bool,
    picked: bool,
    beside: Estimate | None = None,
) -> dict:
    """One edit's claim; it can only be judged where the two checkpoints differ at all. `beside` is
    what a step as long changes that goes straight towards the parent."""
    none = kind == "values"
    verdict = (negligible if none else moves)(change, margin(gap)).only_if(explained)
    return row(
        f"{kind}-reversion-{stage}-{rule}",
        f"Reverting all singular {kind} of the {stage.upper()} stage "
        f"{'does not change' if none else 'changes'} {rule.upper()} accuracy "
        f"(section 4.{2 if none else 3})",
        change,
        verdict,
        f"every singular {'value' if none else 'vector'} of every matrix put back; the checkpoint "
        f"that they come from differs by {signed(gap)}"
        + ("" if explained else ", no clear difference to explain")
        + (f"; an equally long straight step towards it changes {signed(beside)}" if beside else "")
        + ("; these instances picked it, which flatters it" if picked else ""),
    )


def section(table: pd.DataFrame) -> str:
    """Return accuracy of every edit, the OOD accuracy of its controls, and its distance from both
    parents.

    The unedited target comes first, the parent second.
    """
    whole = table[table["seed"] == "all"]
    by_name = {name: own.set_index("rule") for name, own in whole.groupby("name", sort=False)}
    plain = whole[whole["control"] == ""].drop_duplicates("name")
    plain = plain.sort_values("kind", key=lambda k: k.map({"none": 0, "parent": 1}).fillna(2),
                              kind="stable")  # fmt: skip
    rows = []
    for name in plain["name"]:
        own = by_name[name]
        beside = [by_name.get(f"{name}-as-{control}") for control in CONTROLS]
        rows.append(
            (
                name,
                *(level(own.loc[rule]) for rule in ("id", "ood")),
                *("–" if c is None else estimate(c.loc["ood"], "accuracy") for c in beside),
                *(cell(own[c].iloc[0], ".2f") for c in ("from_target", "from_parent")),
            )
        )
    note = (
        "The columns of controls hold OOD accuracy. Distances in units of that between target and "
        "parent.\n\n"
    )
    header = ["weights", "ID", "OOD", *CONTROLS, "from target", "from parent"]
    return note + grid(header, rows) + _matched(whole[whole["rule"] == "ood"])


def _matched(table: pd.DataFrame) -> str:
    """Return how far each control and its edit go, and how far either turns the chosen
    subspaces."""
    by_name = table.set_index("name")
    controls = table[table["control"] != ""]
    rows = []
    for r in controls.to_dict("records"):
        own = r["name"].removesuffix(f"-as-{r['control']}")
        if own in by_name.index:
            beside = by_name.loc[own]
            far, turned = (
                [cell(x[column], ".3f") for x in (beside, r)]
                for column in ("from_target", "turned_degrees")
            )
            rows.append((own, r["control"], r["matched"], *far, *turned))
    if not rows:
        return ""
    note = (
        "\n\nControls beside their edits: distance from the target, and root mean square of the "
        "principal angles (degrees) by which the chosen subspaces turn. A control shares with its "
        "edit, matrix by matrix, what it is matched in.\n\n"
    )
    header = ["edit", "control", "matched in", "from target", "control's", "turned", "control's"]
    return note + grid(header, rows)


SCHEMA = Schema(
    "reversion",
    artifacts.path(artifacts.TABLE, table="reversion-{stage}"),
    "Held-out accuracy of one edited model, of the unedited target (none) or of the checkpoint "
    "that parts are put back to (parent). There is one table for each stage of edits.",
    (
        TRACK,
        EDIT_STAGE,
        text("name", "of the edit; of the landmark or checkpoint, for target and parent"),
        text("kind", f"{KINDS}; of a sum, joined by +; none: the target; parent"),
        *EDIT_COLUMNS,
        RULE,
        SEED,
        N,
        ACCURACY,
        *interval(),
        *DISTANCES,
        TURNED,
    ),
    ("track", "name", "kind", "rule", "seed"),
)

FINDING = Finding(
    name="reversion-{stage}",
    schema=SCHEMA,
    make=reversion,
    inputs=lambda files, stage: {
        "edits": files.edits(stage),
        "evaluations": files.around(stage),
        "landmark_files": files.landmarks(),
    },
    per_stage=True,
    order=8,
    claims=(reverting,),
    claim_names=("[a-z]+-reversion-.+-(id|ood)",),
    title="Edits of stage {stage}",
    section=section,
)
