"""Sections on weights: tables of a study as Markdown, each from one table."""

import pandas as pd

from healscope.edit_kinds import CONTROLS
from healscope.markdown import estimate, grid, number

_CONTROLS = {"": "measured", "noise": "noise", "spectrum": "spectrum", "bf16": "bf16"}


def singular_values(table: pd.DataFrame) -> str:
    """Relative change of the spectrum by pair, beside that of the controls."""
    squares = table.assign(
        change=(table["sigma_b"] - table["sigma_a"]) ** 2, size=table["sigma_a"] ** 2
    )
    keys = ["pair", "control", "seed", "layer", "role"]
    sums = squares.groupby(keys)[["change", "size"]].sum()
    relative = 100 * (sums["change"] / sums["size"]) ** 0.5
    note = "‖Δσ‖/‖σ‖ in percent, median of seeds, layers and roles.\n\n"
    return note + _by_control(relative.groupby(["pair", "control"]).median(), ["pair"], ".2f")


def principal_angles(table: pd.DataFrame) -> str:
    """Median angle by pair and share of the directions, beside that of the controls."""
    middle = table.groupby(["pair", "fraction", "control"])["degrees"].median()
    note = "Degrees, median of angles, sides, seeds, layers and roles.\n\n"
    return note + _by_control(middle, ["pair", "leading share"], ".2f")


def updates(table: pd.DataFrame) -> str:
    """Size, rank and place of updates by pair, beside those of the controls."""
    keys = ["pair", "control", "seed", "layer", "role"]
    energy = table[table["quantity"] == "energy"]
    values = energy[energy["part"].str.startswith("diagonal")].groupby(keys)["value"].sum()
    head = energy[energy["part"].isin(["diagonal-head", "head-head"])]
    head = head.groupby(keys)[["value", "chance"]].sum()

    def of(quantity: str, part: str = "") -> pd.Series:
        rows = table[(table["quantity"] == quantity) & (table["part"] == part)]
        return rows.set_index(keys)["value"]

    shown = {
        "‖ΔW‖/‖W‖, percent": 100 * of("drift"),
        "effective rank of ΔW": of("effective_rank"),
        "stable rank of ΔW": of("stable_rank"),
        "entries equal in bf16, percent": 100 * of("unchanged", "bf16"),
        "entries equal in float32, percent": 100 * of("unchanged", "float32"),
        "energy of ΔW that changes singular values, percent": 100 * values,
        "energy of ΔW within the head, relative to chance": head["value"] / head["chance"],
    }
    middle = {name: found.groupby(["pair", "control"]).median() for name, found in shown.items()}
    note = "Medians of seeds, layers and roles. Head: the leading share of the directions.\n\n"
    return note + _by_control(pd.concat(middle), ["quantity", "pair"], ".2f")


def _by_control(values: pd.Series, names: list[str], form: str) -> str:
    """A row for each place, a column for each control (the last index level)."""
    wide = values.unstack("control")
    wide = wide[[c for c in _CONTROLS if c in wide]]
    rows = [
        (*(place if isinstance(place, tuple) else (place,)), *(number(v, form) for v in row))
        for place, row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return grid([*names, *(_CONTROLS[c] for c in wide)], rows)


def reversion(table: pd.DataFrame) -> str:
    """Accuracy of every edit, the OOD accuracy of its controls, and its distance from both parents.

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
                *(estimate(own.loc[rule], "accuracy") for rule in ("id", "ood")),
                *("–" if c is None else estimate(c.loc["ood"], "accuracy") for c in beside),
                *(number(own[c].iloc[0], ".2f") for c in ("from_target", "from_parent")),
            )
        )
    note = (
        "The columns of controls hold OOD accuracy. Distances in units of that between target and "
        "parent.\n\n"
    )
    header = ["weights", "ID", "OOD", *CONTROLS, "from target", "from parent"]
    return note + grid(header, rows) + _matched(whole[whole["rule"] == "ood"])


def _matched(table: pd.DataFrame) -> str:
    """How far each control and its edit go, and how far either turns the chosen subspaces."""
    by_name = table.set_index("name")
    controls = table[table["control"] != ""]
    rows = []
    for row in controls.to_dict("records"):
        own = row["name"].removesuffix(f"-as-{row['control']}")
        if own in by_name.index:
            beside = by_name.loc[own]
            far, turned = (
                [number(r[column], ".3f") for r in (beside, row)]
                for column in ("from_target", "turned_degrees")
            )
            rows.append((own, row["control"], row["matched"], *far, *turned))
    if not rows:
        return ""
    note = (
        "\n\nControls beside their edits: distance from the target, and root mean square of the "
        "principal angles (degrees) by which the chosen subspaces turn. A control shares with its "
        "edit, matrix by matrix, what it is matched in.\n\n"
    )
    header = ["edit", "control", "matched in", "from target", "control's", "turned", "control's"]
    return note + grid(header, rows)


def repair(table: pd.DataFrame) -> str:
    """What each edit changes, and the share of the lost OOD accuracy that it gives back."""
    shown = table[table["front"] | table["kind"].isin(["parent", "rl", "pick"])]
    rows = [
        (
            r["name"] + (f": {r['picked']}" if r["picked"] else ""),
            *(
                estimate(
                    {"change": r[f"{rule}_change"], "low": r[f"{rule}_low"],
                     "high": r[f"{rule}_high"]},
                    "change", "+.1f",
                )
                for rule in ("id", "ood")
            ),
            number(100 * r["restored"], ".0f"),
        )
        for r in shown.sort_values("ood_change", ascending=False).to_dict("records")
    ]  # fmt: skip
    note = "Edits that no other beats, going back altogether, RL, and the cheapest edits.\n\n"
    return note + grid(["weights", "ID change", "OOD change", "of the loss given back, %"], rows)
