"""The model card of a repaired model: what was done to it, what that gave and cost, and how it was
picked."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import yaml

from healscope.edit_kinds import CONTROLS, KINDS
from healscope.edit_names import Edit, parse
from healscope.findings.repair import PICK, at_keeper, offered
from healscope.markdown import cell, estimate, grid
from healscope.repair.export import rounded

MERGEKIT = (
    "`mergekit.yaml` makes the same weights with mergekit; put the paths or hub ids of the two "
    "models in it. mergekit takes tokenizer and chat template from its base model, here `{}`: "
    "copy those of this folder over them."
)


@dataclass(frozen=True)
class About:
    """What a card is about: what target and parent are called, the edit, whether it was named and
    not picked, whether mergekit can make it, the confidence of intervals, the share of the loss
    that a repair has to give back, and what the checkpoint is called that RL started from."""

    target: str
    parent: str
    edit: str
    by_hand: bool
    with_recipe: bool
    confidence: float
    share: float
    rl_start: str = ""


def text(rows: pd.DataFrame, about: About, measured: Mapping[str, float]) -> str:
    """Return the card of an edit of one model.

    `rows` are those of table `repair`; `measured` are distances of the edit (`export`).
    """
    by_name = {row["name"]: row for row in rows.to_dict("records")}
    target, parent, edit = f"`{about.target}`", f"`{about.parent}`", f"`{about.edit}`"
    front = {
        "base_model": [about.target, about.parent],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["healscope", "repair"],
    }
    away = rounded(measured)
    lines = [
        "---", yaml.safe_dump(front, sort_keys=False).strip(), "---", "",
        f"# {about.target}, repaired", "",
        f"The weights of {target} after one edit, {edit}, which is made from {parent}. Nothing was "
        f"trained. {_what(parse(about.edit))} The edit goes {measured['from_target']:.2f} of the "
        "distance between the two.", "",
        *([f"**Take care:** {away}.", ""] if away else []),
        "## Measured", "",
        f"Changes of accuracy beside {target}, in points, with {about.confidence:.0%} intervals, "
        f"{_of(by_name[about.edit])}.", "",
        *_table(rows, by_name, about), "",
        *_how(rows, by_name, about), "",
        *([MERGEKIT.format(about.parent), ""] if about.with_recipe else []),
        "`checkpoint.json` holds the edit, its distances and the hashes of all files that it was "
        "made from. Made with healscope.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _of(row: dict) -> str:
    seeds = len(row["ood_by_seed"])
    return f"means over {seeds} seeds, of which this is one" if seeds > 1 else "of this one run"


def _what(edit: Edit) -> str:
    """Return in words what an edit puts back."""
    parts = []
    for term in edit.terms:
        kind = KINDS[term.kind]
        means = kind.means
        if term.is_step and not edit.control:
            means = f"{term.strength:.0%} of the whole update (WiSE-FT, arXiv 2109.01903)"
        elif term.strength != 1:
            means += f", at strength {term.strength:g}"
        chosen = [f"{name} {value}" for name, value in term.selected]
        means += f" (chosen by {', '.join(chosen)})" if chosen else ""
        parts.append(means + (f", {kind.source}" if kind.source else ""))
    said = "; and ".join(parts)
    if edit.control:
        return (
            f"It is the control `{edit.control}` of an edit ({said}): "
            f"{CONTROLS[edit.control].formula}."
        )
    return f"It puts back: {said}."


def _table(rows: pd.DataFrame, by_name: dict, about: About) -> list[str]:
    edit, picked = about.edit, by_name.get(PICK.format(about.share))
    keepers = list(by_name[edit]["keepers"])
    shown = []
    if picked is not None and not about.by_hand:
        shown.append(("a repair picked in this way, on problems that did not pick it", picked))
    on = "" if about.by_hand else ", on the problems that picked it"
    shown.append((f"`{edit}`{on}", by_name[edit]))
    for control in CONTROLS:
        name = f"{edit}-as-{control}"
        if name in by_name:
            shown.append((f"control: `{name}`", by_name[name]))
    back = rows[rows["kind"] == "parent"].to_dict("records")
    shown += [(f"`{about.parent}` itself, the best on these problems", row) for row in back]
    healed = rows[rows["kind"] == "rl"].to_dict("records")
    shown += [(f"RL from `{about.rl_start}`", row) for row in healed]
    lines = [
        (
            name,
            estimate(row, "id_change", prefix="id_"),
            estimate(row, "ood_change", prefix="ood_"),
            cell(100 * row["healed"], ".0f"),
            cell(100 * row["kept"], ".0f"),
            *(at_keeper(row, keeper) for keeper in keepers),
        )
        for name, row in shown
    ]
    header = ["weights", "trained task (ID)", "what it should not lose (OOD)"]
    header += ["lost answers right again, %", "right answers kept, %", *keepers]
    return grid(header, lines).split("\n")


def _how(rows: pd.DataFrame, by_name: dict, about: About) -> list[str]:
    picked = by_name.get(PICK.format(about.share))
    if about.by_hand or picked is None:
        return ["The edit was named by hand; its numbers are those of all problems."]
    said = (
        f"Of {int(offered(rows).sum())} edits and steps as long straight back, the one that costs "
        f"least ID accuracy among those that give back {about.share:.0%} of what `{about.parent}` "
        "itself would; where none does, the one that gives back most. What is picked for being "
        "best looks better than it is on the problems that picked it: the first row holds each "
        "half of the problems at what the other half picks "
        f"({picked['picked'].replace(' or ', ' and ')}). That `{about.parent}` is what edits go "
        "back to was picked by all of them. If it is at hand, it may be the better repair: compare "
        "its row."
    )
    if not picked["ood_low"] > 0:
        said += " **By the first row the repair is not established.**"
    if about.edit not in picked["picked"].split(" or "):
        said += " This edit is not among those that the halves pick."
    return [said]
