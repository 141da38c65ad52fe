"""Is it the directions? Edits held against controls, against RL, and against what was claimed.

The share of a loss that an edit gives back is a ratio of two changes. It is judged without dividing
(Fieller 1954): "at least 70%" is "the edit's change minus 70% of what going back altogether brings
is above 0", paired problem by problem.
"""

from collections.abc import Callable

import pandas as pd

from healscope import edit_names, stats
from healscope.claims.contrasts import Data
from healscope.claims.paper import row
from healscope.stats import Estimate
from healscope.verdicts import OPEN, YES, above, moves, negligible, positive, signed

SHARE = 0.2
"""Of the directions: where the sibling paper (arXiv 2508.16546) looks, and controls are judged."""

RESTORED = 0.7
"""At least so much of the lost OOD accuracy its edits give back (70 to 80%)."""

_WHAT = {
    "interpolation": "going as far straight towards the parent",
    "noise": "going as far in a random direction",
    "rotation": "turning the same subspaces at random by the same angles",
    "shuffle": "the updates of the same edit in other layers",
}


def sibling(d: Data) -> list[dict]:
    """arXiv 2508.16546: the top 20% of directions, or the first 25% of layers, restore 70-80%."""
    if "sft" not in d.stages:
        return []
    top = edit_names.along("directions", "rank", SHARE)
    asked = [("top-directions-restore", top, f"the leading {SHARE:.0%} of singular directions")]
    if layers := _amounts(d, "sft", "layers"):
        n = min(layers, key=lambda n: abs(n - max(layers) / 4))
        what = f"the singular directions of the first quarter of the layers (here the first {n:g})"
        asked.append(("first-layers-restore", edit_names.along("directions", "layers", n), what))
    found = []
    for claim, name, what in asked:
        after = d.edited("sft", name, "ood")
        if after.empty:
            continue
        before, parent = d.ends("sft", "ood")
        lost = d.change(before, parent)
        known = positive(lost) in YES
        e = _beyond(d, before, after, parent, RESTORED)
        share = _share(d, before, after, parent) if known else "cannot be told"
        found.append(
            row(
                claim,
                f"Putting back {what} gives back at least {RESTORED:.0%} of the lost OOD accuracy "
                "(arXiv 2508.16546)",
                e,
                above(e) if known else OPEN,
                f"the edit's change less {RESTORED:.0%} of the loss; change "
                f"{signed(d.change(before, after))}, lost {signed(lost)}, share given back {share}"
                + ("" if known else ": no clear loss to give back"),
            )
        )
    return found


def _amounts(d: Data, stage: str, axis: str) -> list[float]:
    """Where along an axis the study puts directions back."""
    edits = [edit_names.parse(name) for name in d.edit_names(stage)]
    plain = [e for e in edits if e.kind == "directions" and not e.control]
    return sorted(e.axis[1] for e in plain if e.axis[0] == axis)


def _beyond(
    d: Data, before: pd.DataFrame, after: pd.DataFrame, parent: pd.DataFrame, share: float
) -> Estimate:
    """The edit's change less a share of what going back to the parent changes."""
    own, whole = stats.paired(before, after), stats.paired(before, parent)
    both = own.merge(whole[[*stats.UNIT, "change"]], on=stats.UNIT, suffixes=("", "_whole"))
    both = both.assign(change=both["change"] - share * both["change_whole"])
    return stats.bootstrap(both, "change", d.settings)


def _share(d: Data, before: pd.DataFrame, after: pd.DataFrame, parent: pd.DataFrame) -> str:
    """The share given back, with the interval of all shares that the data allow."""

    def crossing(value: Callable[[Estimate], float], least: float = -3, most: float = 4) -> float:
        """The share at which a falling quantity is 0."""
        for _ in range(12):
            middle = (least + most) / 2
            up = value(_beyond(d, before, after, parent, middle)) > 0
            least, most = (middle, most) if up else (least, middle)
        return (least + most) / 2

    value = crossing(lambda e: e.value)
    low, high = crossing(lambda e: e.low), crossing(lambda e: e.high)
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"


def controls(d: Data) -> list[dict]:
    """Directions put back against what is as far, as turned, or as large without being them."""
    found = []
    for stage in d.stages:
        edits = {name: edit_names.parse(name) for name in d.edit_names(stage)}
        for control in edit_names.CONTROLS:
            pairs = {
                name.removesuffix(f"-as-{control}"): name
                for name, edit in edits.items()
                if edit.control == control and edit.kind == "directions"
            }
            pairs = {own: name for own, name in pairs.items() if own in edits}
            if pairs:
                found.append(_held_against(d, stage, control, pairs))
    return found


def _held_against(d: Data, stage: str, control: str, pairs: dict[str, str]) -> dict:
    """One control, judged where directions are put back to the share of SHARE or first."""
    before, parent = d.ends(stage, "ood")
    gap = d.change(before, parent)
    sign = -1.0 if gap.value < 0 else 1.0
    differences = {
        own: _signed_change(d, d.edited(stage, name, "ood"), d.edited(stage, own, "ood"), sign)
        for own, name in pairs.items()
    }
    usual = edit_names.along("directions", "rank", SHARE)
    name = usual if usual in differences else next(iter(differences))
    e = differences[name]
    own, other = (d.change(before, d.edited(stage, x, "ood")) for x in (name, pairs[name]))
    others = "; ".join(f"{n} {signed(x)}" for n, x in differences.items() if n != name)
    known = moves(gap) in YES
    return row(
        f"directions-beat-{control}-{stage}",
        f"Putting singular directions back ({stage.upper()} stage) moves OOD accuracy further "
        f"towards the parent's than {_WHAT[control]}",
        e,
        positive(e) if known else OPEN,
        f"{name} less its control, towards the parent; changes {signed(own)} and {signed(other)}; "
        f"the parent differs by {signed(gap)}"
        + ("" if known else ", no clear difference to explain")
        + (f"; elsewhere: {others}" if others else ""),
    )


def _signed_change(d: Data, before: pd.DataFrame, after: pd.DataFrame, sign: float) -> Estimate:
    change = stats.paired(before, after)
    return stats.bootstrap(change.assign(change=sign * change["change"]), "change", d.settings)


def splices(d: Data) -> list[dict]:
    """What the published splice does beside its orthonormal version, and beside whole matrices."""
    found = []
    for stage in d.stages:
        for kind, claim, what in (
            ("orthonormal", "orthonormal-directions-do-the-same", "kept orthonormal"),
            ("swap", "values-add-nothing", "with their values"),
        ):
            names = [edit_names.along(k, "rank", SHARE) for k in ("directions", kind)]
            one, two = (d.edited(stage, name, "ood") for name in names)
            if one.empty or two.empty:
                continue
            e, before = d.change(one, two), d.ends(stage, "ood")[0]
            found.append(
                row(
                    f"{claim}-{stage}",
                    f"Singular directions put back ({stage.upper()} stage) {what} change OOD "
                    "accuracy as the published splice does",
                    e,
                    negligible(e),
                    f"{names[1]} less {names[0]}; changes {signed(d.change(before, two))} and "
                    f"{signed(d.change(before, one))}",
                )
            )
    return found


def against_rl(d: Data) -> list[dict]:
    """RL beside the best edit that costs no more ID accuracy, picked on the other half of deals."""
    if d.stages.get("sft", {}).get("target") != "end":
        return []
    parsed = {name: edit_names.parse(name) for name in d.edit_names("sft")}
    offered = [name for name, edit in parsed.items() if edit.control in ("", "interpolation")]
    ends = {rule: d.ends("sft", rule)[0] for rule in ("id", "ood")}
    healed = {rule: d.at(rule, d.landmark("rl")) for rule in ("id", "ood")}
    if not offered or healed["ood"].empty:
        return []
    changes = {
        name: {rule: stats.paired(ends[rule], d.edited("sft", name, rule)) for rule in ends}
        for name in offered
    }
    by_rl = {rule: stats.paired(ends[rule], healed[rule]) for rule in ends}

    def score(name: str, half: str) -> tuple[bool, float]:
        cost, allowed, gain = (
            float(c.loc[c["half"] == half, "change"].mean())
            for c in (changes[name]["id"], by_rl["id"], changes[name]["ood"])
        )
        return cost >= allowed, gain if cost >= allowed else cost

    picked = stats.from_other_half(score, offered)
    rows = {
        rule: pd.concat(
            [part[part["half"] == half] for half, name in picked.items()
             for part in [d.edited("sft", name, rule)]]
        )
        for rule in ends
    }  # fmt: skip
    e = d.change(rows["ood"], healed["ood"])
    own = {rule: d.change(ends[rule], rows[rule]) for rule in ends}
    return [
        row(
            "rl-beats-the-best-edit",
            "RL gives back more OOD accuracy than the best edit of the weights that costs no more "
            "ID accuracy",
            e,
            positive(e),
            f"RL less the edit, {' or '.join(dict.fromkeys(picked.values()))}, picked on the other "
            f"half of the deals; the edit changes OOD by {signed(own['ood'])} and ID by "
            f"{signed(own['id'])}, RL by {signed(d.change(ends['ood'], healed['ood']))} and "
            f"{signed(d.change(ends['id'], healed['id']))}",
        )
    ]
