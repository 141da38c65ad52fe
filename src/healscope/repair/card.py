"""The model card of a repaired model: what was done to it, what that gave and cost, and how it was
picked."""

import pandas as pd
import yaml

from healscope.edit_kinds import CONTROLS, KINDS
from healscope.edit_names import parse
from healscope.findings.repair import offered
from healscope.markdown import cell, estimate, grid

MERGEKIT = (
    "`mergekit.yaml` makes the same weights with mergekit; put the paths or hub ids of the two "
    "models in it. The tokenizer is that of the repaired model."
)


def text(
    rows: pd.DataFrame,
    edit: str,
    pick: str,
    named: list[str],
    confidence: float,
    with_recipe: bool,
) -> str:
    """Return the card of an edit of one model.

    `rows` are those of table `repair`; the row named `pick` has the changes at what other problems
    picked. `named`: what target and parent are called.
    """
    target, parent = named
    by_name = {row["name"]: row for row in rows.to_dict("records")}
    own, picked = by_name[edit], by_name.get(pick)
    front = {
        "base_model": target,
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["healscope", "repair"],
    }
    lines = [
        "---", yaml.safe_dump(front, sort_keys=False).strip(), "---", "",
        f"# {target}, repaired", "",
        f"The weights of `{target}` after one edit, `{edit}`, which goes back towards `{parent}`. "
        f"Nothing was trained. The edit takes {_what(edit)} It goes "
        f"{own['from_target']:.2f} of the distance between the two.", "",
        "## Measured", "",
        f"Changes of accuracy beside `{target}`, in points, with {confidence:.0%} intervals.", "",
        *_table(rows, by_name, edit, picked, parent), "",
        *_how(rows, edit, picked), "",
        *([MERGEKIT, ""] if with_recipe else []),
        "`checkpoint.json` holds the edit, both distances and the hashes of all files that it was "
        "made from. Made with [healscope](https://pypi.org/project/healscope/).", "",
    ]  # fmt: skip
    return "\n".join(lines)


def points(row: dict | pd.Series, rule: str) -> str:
    """Format a change with its interval, in points."""
    return estimate(row, f"{rule}_change", prefix=f"{rule}_")


def _what(edit: str) -> str:
    parsed = parse(edit)
    if not parsed.control and all(t.kind == "swap" and t.everything for t in parsed.terms):
        share = sum(t.strength for t in parsed.terms)
        return f"a straight step back, {share:.0%} of the way (WiSE-FT, arXiv 2109.01903)."
    means = "; ".join(
        KINDS[t.kind].means + (f" ({KINDS[t.kind].source})" if KINDS[t.kind].source else "")
        for t in parsed.terms
    )
    if parsed.control:
        return f"as long a step straight back as another edit would ({means})."
    strength = parsed.terms[0].strength
    return f"this back: {means}" + (f", by {strength:.0%}." if strength != 1 else ".")


def _table(rows, by_name: dict, edit: str, picked: dict | None, parent: str) -> list[str]:
    keepers = list(by_name[edit]["keepers"])
    shown = []
    if picked is not None:
        shown.append(("a repair picked in this way, on problems that did not pick it", picked))
    shown.append((f"`{edit}`, on the problems that picked it", by_name[edit]))
    for control in CONTROLS:
        name = f"{edit}-as-{control}"
        if name in by_name:
            shown.append((f"control: `{name}`", by_name[name]))
    back = rows[rows["kind"] == "parent"].to_dict("records")
    shown += [(f"`{parent}` itself", row) for row in back]
    shown += [("RL from there", row) for row in rows[rows["kind"] == "rl"].to_dict("records")]
    lines = [
        (
            name,
            points(row, "id"),
            points(row, "ood"),
            cell(100 * row["healed"], ".0f"),
            cell(100 * row["kept"], ".0f"),
            *(_keeper(row, keeper) for keeper in keepers),
        )
        for name, row in shown
    ]
    header = ["weights", "trained task (ID)", "what it should not lose (OOD)"]
    header += ["lost answers right again, %", "right answers kept, %", *keepers]
    return grid(header, lines).split("\n")


def _keeper(row: dict, keeper: str) -> str:
    names = list(row["keepers"])
    if keeper not in names:
        return "–"
    at = names.index(keeper)
    own = {key: row[f"keepers_{key}"][at] for key in ("unit", "change", "low", "high")}
    return estimate(own, "change")


def _how(rows: pd.DataFrame, edit: str, picked: dict | None) -> list[str]:
    tried = int(offered(rows).sum())
    if picked is None:
        return ["The edit was named by hand; its numbers are those of all problems."]
    said = (
        f"Of {tried} edits and steps as long straight back, the one that costs least ID accuracy "
        "among those that give back 80% of what going back altogether does; where none does, the "
        "one that gives back most. What is picked for being best looks better than it is on the "
        "problems that picked it: the first row holds each half of the problems at what the other "
        f"half picks ({picked['picked'].replace(' or ', ' and ')})."
    )
    if not picked["ood_low"] > 0:
        said += " **By that row the repair is not established.**"
    if edit not in picked["picked"].split(" or "):
        said += " This edit is not among those that the halves pick."
    return [said]
