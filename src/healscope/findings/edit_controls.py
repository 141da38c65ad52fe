"""Is it the directions? Edits held against controls, against RL, and against what was claimed.

The share of a loss that an edit gives back is a ratio of two changes. It is judged without dividing
(Fieller 1954): "at least 70%" is "the edit's change minus 70% of what going back altogether brings
is above 0", paired problem by problem.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from healscope import edit_names, stats
from healscope.edit_kinds import CONTROLS, KINDS, STRAIGHT
from healscope.findings.contrasts import Data, row
from healscope.stats import Estimate
from healscope.verdicts import (
    NO,
    YES,
    Verdict,
    above,
    margin,
    negligible,
    positive,
    signed,
)

SHARE = 0.2
"""Of the directions: where the sibling paper (arXiv 2508.16546) looks."""

RESTORED = 0.7
"""At least so much of the lost OOD accuracy its edits give back (70 to 80%)."""


def sibling(d: Data) -> list[dict]:
    """arXiv 2508.16546: the top 20% of directions, or the first 25% of layers, restore 70-80%.

    Asked of every stage that puts a later SFT checkpoint back to MaxOOD.
    """
    return [
        _restored(d, stage, claim, name, what)
        for stage, points in d.stages.items()
        if points["parent"] == "maxood"
        for claim, name, what in _asked(d, stage)
        if not d.edited(stage, name, "ood").empty
    ]


def _asked(d: Data, stage: str) -> list[tuple[str, str, str]]:
    """(claim, edit, what it puts back)."""
    top = edit_names.along("directions", "rank", SHARE)
    asked = [("top-directions-restore", top, f"the leading {SHARE:.0%} of singular directions")]
    if layers := _amounts(d, stage, "layers"):
        n = min(layers, key=lambda n: abs(n - max(layers) / 4))
        what = f"the singular directions of the first quarter of the layers (here the first {n:g})"
        asked.append(("first-layers-restore", edit_names.along("directions", "layers", n), what))
    return asked


def _restored(d: Data, stage: str, claim: str, name: str, what: str) -> dict:
    before, parent = d.ends(stage, "ood")
    after, lost = d.edited(stage, name, "ood"), d.change(before, parent)
    known = positive(lost) in YES and d.explains(stage, "ood")
    e = _beyond(d, before, after, parent, RESTORED)
    share = _share(d, before, after, parent) if known else "cannot be told"
    return row(
        f"{claim}-{stage}",
        f"Putting back {what} gives back at least {RESTORED:.0%} of the lost OOD accuracy "
        f"({stage.upper()} stage; arXiv 2508.16546)",
        e,
        above(e).only_if(known),
        f"the edit's change minus {RESTORED:.0%} of the loss; change "
        f"{signed(d.change(before, after))}, lost {signed(lost)}, share given back {share}"
        + ("" if known else ": no clear loss to give back"),
    )


def _amounts(d: Data, stage: str, axis: str) -> list[float]:
    """Return where along an axis the study puts directions back."""
    edits = [edit_names.parse(name) for name in d.edit_names(stage)]
    plain = [e for e in edits if e.kind == "directions" and not e.control]
    return sorted(e.axis[1] for e in plain if e.axis[0] == axis)


def _beyond(
    d: Data, before: pd.DataFrame, after: pd.DataFrame, parent: pd.DataFrame, share: float
) -> Estimate:
    """Return the edit's change less a share of what going back to the parent changes."""
    own, whole = stats.paired(before, after), stats.paired(before, parent)
    both = own.merge(whole[[*stats.UNIT, "change"]], on=stats.UNIT, suffixes=("", "_whole"))
    both = both.assign(change=both["change"] - share * both["change_whole"])
    return stats.bootstrap(both, "change", d.settings).among(d.landmarks)


def _share(d: Data, before: pd.DataFrame, after: pd.DataFrame, parent: pd.DataFrame) -> str:
    """Return the share given back, with the interval of all shares that the data allow."""

    def crossing(value: Callable[[Estimate], float], least: float = -3, most: float = 4) -> float:
        """Return the share at which a falling quantity is 0."""
        for _ in range(12):
            middle = (least + most) / 2
            up = value(_beyond(d, before, after, parent, middle)) > 0
            least, most = (middle, most) if up else (least, middle)
        return (least + most) / 2

    value = crossing(lambda e: e.value)
    low, high = crossing(lambda e: e.low), crossing(lambda e: e.high)
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"


@dataclass(frozen=True)
class Held:
    """One kind of edit of a stage beside one control, judged at `edit_kinds.Kind.judged_at` of the
    directions, or where the study makes it first.

    `difference` is the edit less its control, towards the parent; `elsewhere` the same at other
    places; `own` and `other` are what either changes, `gap` what going back altogether does.
    """

    kind: str
    control: str
    name: str
    matched: str
    difference: Estimate
    own: Estimate
    other: Estimate
    gap: Estimate
    elsewhere: dict[str, Estimate]
    explains: bool  # `Data.explains`

    @property
    def verdict(self) -> Verdict:
        return positive(self.difference, margin(self.gap)).only_if(self.explains)


def controls(d: Data) -> list[dict]:
    """Return every kind of edit against each of its controls: what is as far, or as far and as
    turned, without being that edit."""
    return [row_of(stage, held) for stage in d.stages for held in held_against_controls(d, stage)]


def held_against_controls(d: Data, stage: str) -> list[Held]:
    """Return every kind of edit of a stage, beside each control that the study makes of it."""
    edits = {name: edit_names.parse(name) for name in d.edit_names(stage)}
    before, parent = d.ends(stage, "ood")
    gap, explains, found = d.change(before, parent), d.explains(stage, "ood"), []
    for kind in KINDS:
        for control in CONTROLS:
            pairs = {
                name.removesuffix(f"-as-{control}"): name
                for name, edit in edits.items()
                if (edit.kind, edit.control) == (kind, control)
            }
            pairs = {own: name for own, name in pairs.items() if own in edits}
            if pairs:
                found.append(_held(d, stage, kind, control, pairs, before, gap, explains))
    return found


def _held(
    d: Data,
    stage: str,
    kind: str,
    control: str,
    pairs: dict[str, str],
    before: pd.DataFrame,
    gap: Estimate,
    explains: bool,
) -> Held:
    towards_more = not gap.value < 0
    differences = {}
    for own, name in pairs.items():
        ends = [d.edited(stage, edit, "ood") for edit in (name, own)]
        differences[own] = d.change(*(ends if towards_more else reversed(ends)))
    usual = ("rank", KINDS[kind].judged_at)
    judged = (own for own in differences if edit_names.parse(own).axis == usual)
    name = next(judged, next(iter(differences)))
    own, other = (d.change(before, d.edited(stage, x, "ood")) for x in (name, pairs[name]))
    difference = differences.pop(name)
    return Held(
        kind, control, name, pairs[name], difference, own, other, gap, differences, explains
    )


def row_of(stage: str, held: Held) -> dict:
    others = "; ".join(f"{n} {signed(x)}" for n, x in held.elsewhere.items())
    return row(
        f"{held.kind}-beat-{held.control}-{stage}",
        f"{KINDS[held.kind].does} moves OOD accuracy further towards the parent's than "
        f"{CONTROLS[held.control].than} ({stage.upper()} stage)",
        held.difference,
        held.verdict,
        f"{held.name} less its control, towards the parent; changes {signed(held.own)} and "
        f"{signed(held.other)}; the parent differs by {signed(held.gap)}"
        + ("" if held.explains else ", no clear difference to explain")
        + (f"; elsewhere: {others}" if others else ""),
    )


def splices(d: Data) -> list[dict]:
    """Return what the published splice does beside its orthonormal version, and beside whole
    matrices."""
    found = []
    for stage in d.stages:
        for kind, claim, what in (
            ("orthonormal", "orthonormal-directions-do-the-same", ", kept orthonormal,"),
            ("pinned", "exact-directions-do-the-same", " exactly, the others orthonormal to them,"),
            ("swap", "values-add-nothing", " with their values"),
        ):
            names = [edit_names.along(k, "rank", SHARE) for k in ("directions", kind)]
            one, two = (d.edited(stage, name, "ood") for name in names)
            if one.empty or two.empty:
                continue
            e, before = d.change(one, two), d.ends(stage, "ood")[0]
            found.append(
                row(
                    f"{claim}-{stage}",
                    f"Singular directions put back{what} change OOD accuracy as the published "
                    f"splice does ({stage.upper()} stage)",
                    e,
                    negligible(e, margin(d.change(*d.ends(stage, "ood")))),
                    f"{names[1]} less {names[0]}; changes {signed(d.change(before, two))} and "
                    f"{signed(d.change(before, one))}",
                )
            )
    return found


def against_rl(d: Data) -> list[dict]:
    """RL beside the edit that gives back most, picked on other seeds and instances."""
    if d.stages.get("sft", {}).get("target") != "end":
        return []
    parsed = {name: edit_names.parse(name) for name in d.edit_names("sft")}
    offered = [name for name, edit in parsed.items() if edit.control in ("", *STRAIGHT)]
    healed = {rule: d.at(rule, d.landmark("rl")) for rule in ("id", "ood")}
    if not offered or healed["ood"].empty:
        return []
    edited = {n: {rule: d.edited("sft", n, rule) for rule in healed} for n in offered}
    picked = stats.picked_elsewhere(
        lambda name, seeds, half: stats.mean_of_seeds(
            stats.of_part(edited[name]["ood"], seeds, half), "correct"
        ),
        offered,
        d.landmarks,
    )
    best = {
        rule: stats.at_picked({name: rows[rule] for name, rows in edited.items()}, picked)
        for rule in healed
    }
    names = dict.fromkeys(name for halves in picked.values() for name in halves.values())
    e = d.change(best["ood"], healed["ood"])
    said = [
        f"{rule.upper()} {signed(d.change(d.ends('sft', rule)[0], rows[rule]))}"
        for rows in (best, healed)
        for rule in healed
    ]
    verdict = positive(e, margin(d.fall))
    flattered = d.flatters("sft")
    return [
        row(
            "rl-beats-the-best-edit",
            "RL gives back more OOD accuracy than the best edit of the weights, whatever that "
            "costs in ID accuracy",
            e,
            verdict.only_if(not (flattered and verdict in NO)),
            f"RL minus the edit, {' or '.join(names)}, picked on other seeds and the "
            f"other half of the instances{d.picked_by_itself}; the edit changes {said[0]}, "
            f"{said[1]}; RL {said[2]}, {said[3]}"
            + (
                "; edits go back to the MaxOOD that these instances picked, which flatters them, "
                "so that they are not said to do as well"
                if flattered
                else ""
            ),
        )
    ]
