"""Where OOD accuracy peaked, what was lost since, whether that is rotation, what gives it back.

What is picked for being best, the peak or the cheapest edit, is reported on instances and, where
there are several, on seeds that did not pick it (`stats.picked_elsewhere`).
"""

import pandas as pd

from healscope import artifacts, edit_names, provenance, stats
from healscope.config import Statistics
from healscope.findings.contrasts import Data, effect_of, names_of
from healscope.findings.edit_controls import held_against_controls
from healscope.findings.repair import SHARE, STAGE, changes_of, pick, pickable, worth
from healscope.findings.reversions import DISTANCE_NAMES
from healscope.findings.rows import first_attempts, with_steps
from healscope.stats import Estimate
from healscope.verdicts import above, moves, negative, positive

PARTS = ("peak", "lost", "groups", "rl", "rotation", "repair", "twins")
"""Sections of the page."""


def measure(
    evaluations: list[str],
    edits: list[str],
    landmark_files: list[str],
    stages: dict[str, dict[str, str]],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return all numbers of the page, from files of evaluations (SFT and branches), edits and
    landmarks.

    Edits are those of stage `sft`, where the study makes it put End back to MaxOOD. What counts as
    no change (column margin) is a share of the OOD accuracy lost from MaxOOD to End, with a floor
    (`verdicts.margin`).
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    edited = pd.DataFrame(columns=["track", "checkpoint", "rule"])
    if edits:
        edited = first_attempts(edits, DISTANCE_NAMES)
        names = edited["checkpoint"]
        edited = edited.assign(name=names, checkpoint=f"{STAGE}:" + names)
    marks = [provenance.read_json(file) for file in landmark_files]
    nothing = rows.iloc[:0]
    found = []
    for model, own in rows.groupby("track"):
        data = Data(
            rows=own, train_rows=nothing, faceless=own, drawn=[],
            edits=edited[edited["track"] == model], signals=nothing, logs=nothing, recipes={},
            landmarks={m["seed"]: m["landmarks"] for m in marks if m["track"] == model},
            stages={k: v for k, v in stages.items() if k == STAGE}, settings=statistics,
        )  # fmt: skip
        parts = [*_peak(data), *_lost(data), *_groups(data), *_healed(data), *_twins(data)]
        if len(data.edits):
            parts += [*_rotation(data), *_repair(data)]
        found += [{"track": model, "margin": data.least, **row} for row in parts]
    return pd.DataFrame(found)


def _row(
    part: str, name: str, rule: str, e: Estimate, verdict: str = "", **more: str | float
) -> dict:
    return {
        "part": part, "name": name, "rule": rule, "before": "", "after": "", "verdict": verdict,
        **effect_of(e), "from_target": float("nan"), "from_parent": float("nan"), **more,
    }  # fmt: skip


def _peak(d: Data) -> list[dict]:
    """Return accuracy along SFT; at MaxOOD, as other seeds and instances pick it; and the way
    up."""
    found = []
    for step in d.steps:
        for rule in ("ood", "id"):
            at = d.at(rule, d.everywhere(artifacts.sft(step)))
            e = stats.bootstrap(at, "correct", d.settings)
            found.append(_row("peak", "accuracy", rule, e, after=artifacts.sft(step)))
    picked = d.landmark("maxood")
    for rule in ("ood", "id"):
        e = stats.bootstrap(d.at(rule, picked), "correct", d.settings)
        found.append(_row("peak", "maxood", rule, e, after=names_of(picked)))
    start = d.everywhere(artifacts.sft(d.steps[0]))
    rise = d.change(d.at("ood", start), d.at("ood", picked))
    ends = {"before": names_of(start), "after": names_of(picked)}
    return [*found, _row("peak", "rise", "ood", rise, positive(rise, d.least), **ends)]


def _lost(d: Data) -> list[dict]:
    """From MaxOOD to End, paired."""
    start, end = d.landmark("maxood"), d.landmark("end")
    found = []
    ends = {"before": names_of(start), "after": names_of(end)}
    for rule, judge in (("ood", negative), ("id", moves)):
        e = d.lost if rule == "ood" else d.change(d.at(rule, start), d.at(rule, end))
        found.append(_row("lost", "since", rule, e, judge(e, d.least), **ends))
    return found


def _groups(d: Data) -> list[dict]:
    """Return the same for each set of OOD problems, where there are several, and accuracy at both
    ends."""
    sets = sorted(d.rows.loc[d.rows["rule"] == "ood", "group"].dropna().unique())
    start, end = d.landmark("maxood"), d.landmark("end")
    found = []
    for name in sets if len(sets) > 1 else ():
        rows = d.rows[d.rows["group"] == name]
        base = d.everywhere(artifacts.sft(d.steps[0]))
        for at, what in ((base, "base"), (start, "maxood"), (end, "end")):
            e = stats.bootstrap(d.at("ood", at, rows), "correct", d.settings)
            found.append(_row("groups", f"{name}: {what}", "ood", e, after=names_of(at)))
        e = d.change(d.at("ood", start, rows), d.at("ood", end, rows))
        ends = {"before": names_of(start), "after": names_of(end)}
        found.append(_row("groups", name, "ood", e, negative(e, d.least), **ends))
    return found


def _twins(d: Data) -> list[dict]:
    """Share of problems that have a near twin among training examples, where any has one."""
    found = []
    for rule in ("id", "ood") if d.rows["twin"].notna().any() else ():
        rows = d.at(rule, d.landmark("end"))
        e = stats.bootstrap(rows.assign(near=rows["twin"].notna()), "near", d.settings)
        found.append(_row("twins", "share", rule, e))
    return found


def _healed(d: Data) -> list[dict]:
    """By RL from each start, and how far that is from MaxOOD."""
    found = []
    branches = d.rows[d.rows["stage"] == "rl"].drop_duplicates("checkpoint").sort_values("step")
    for name, step in zip(branches["checkpoint"], branches["step"], strict=True):
        start, end = d.everywhere(artifacts.sft(int(step))), d.everywhere(name)
        picked, ends = d.landmark("maxood"), {"before": artifacts.sft(int(step)), "after": name}
        for rule, judge in (("ood", positive), ("id", moves)):
            e = d.change(d.at(rule, start), d.at(rule, end))
            found.append(_row("rl", "healed", rule, e, judge(e, d.least), **ends))
        e = d.change(d.at("ood", picked), d.at("ood", end))
        ends["before"] = names_of(picked)
        found.append(_row("rl", "beside maxood", "ood", e, moves(e, d.least), **ends))
    return found


def _distances(d: Data, name: str) -> dict[str, float]:
    """Return mean distances of an edit; an edit that the halves do not agree on has none."""
    own = d.edits[d.edits["name"] == name]
    return {column: float(own.groupby("seed")[column].mean().mean()) for column in DISTANCE_NAMES}


def _rotation(d: Data) -> list[dict]:
    """Singular values put back; singular directions put back, beside each control."""
    before, parent = d.ends(STAGE, "ood")
    points = d.point(d.stages[STAGE]["parent"])
    gap = d.change(before, parent)
    found = [_row("rotation", "whole", "ood", gap, moves(gap, d.least), after=names_of(points))]
    edits = {name: edit_names.parse(name) for name in d.edit_names(STAGE)}
    values = [n for n, e in edits.items() if e.kind == "values" and not e.control]
    if values:
        name = max(values, key=lambda n: _distances(d, n)["from_target"])
        e = d.change(before, d.edited(STAGE, name, "ood"))
        about = {"after": name, **_distances(d, name)}
        found.append(_row("rotation", "values", "ood", e, moves(e, d.least), **about))
    for held in held_against_controls(d, STAGE):
        name = f"{held.kind} {held.control}"
        for what, e, verdict, edit in (
            ("less its control", held.difference, held.verdict, held.matched),
            ("itself", held.own, positive(held.own, d.least), held.name),
            ("the control", held.other, positive(held.other, d.least), held.matched),
        ):
            ends = {"before": held.name, "after": edit, **_distances(d, edit)}
            found.append(_row("rotation", f"{name}: {what}", "ood", e, verdict, **ends))
    return found


def _repair(d: Data) -> list[dict]:
    """Going back altogether; the cheapest edit that gives the loss back."""
    ends = {rule: d.ends(STAGE, rule) for rule in ("id", "ood")}
    target = pd.concat([before for before, _ in ends.values()])
    rows = d.edits[d.edits["rule"].isin(ends)]
    changes = changes_of(rows, target)
    parent = {rule: stats.paired(*pair) for rule, pair in ends.items()}
    point = names_of(d.point(d.stages[STAGE]["parent"]))
    found = [_judged("going back", rule, parent[rule], d, after=point) for rule in ends]
    offered = {
        name: change
        for name, change in changes.items()
        if pickable(edit_names.parse(name).control, _distances(d, name)["from_target"])
    }
    if not offered:
        return found

    best = max(offered, key=lambda name: worth(offered[name], parent, SHARE))
    own, picked = pick(offered, parent, SHARE)
    by_halves = " or ".join(picked)
    enough = worth(offered[best], parent, SHARE)[0]
    about = {"before": by_halves, "after": best, **_distances(d, best)}
    name = "cheapest" if enough else "most"
    found += [_judged(name, rule, own[rule], d, **about) for rule in ends]
    kept = _less(own["id"], parent["id"])
    found.append(_judged("kept", "id", kept, d, **about))
    e = stats.bootstrap(_less(own["ood"], parent["ood"], SHARE), "change", d.settings)
    found.append(_row("repair", "beyond the share", "ood", e, above(e), **about))
    return found


def _less(change: pd.DataFrame, other: pd.DataFrame, share: float = 1.0) -> pd.DataFrame:
    """Return a change less a share of another, problem by problem."""
    both = change.merge(other[[*stats.UNIT, "change"]], on=stats.UNIT, suffixes=("", "_other"))
    return both.assign(change=both["change"] - share * both["change_other"])


def _judged(name: str, rule: str, change: pd.DataFrame, d: Data, **more: str | float) -> dict:
    e = stats.bootstrap(change, "change", d.settings)
    return _row("repair", name, rule, e, (positive if rule == "ood" else moves)(e, d.least), **more)
