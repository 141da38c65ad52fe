"""Sections of the page about weights: is the loss rotation, and which edit gives it back?"""

import shlex
from pathlib import Path

import pandas as pd

from healscope import artifacts
from healscope.claims.repair import WHAT
from healscope.config import Spectra
from healscope.diagnosis.measure import SHARE
from healscope.diagnosis.words import Model, paragraph, plain, points, step, word
from healscope.verdicts import NO, YES

WHOLE = 0.05
"""An edit that comes so near to the parent, of the distance between the two, is the parent."""

_CONTROLS = {
    "noise": "as far, at random",
    "rotation": "turned as far, at random",
    "shuffle": "the same in the next layer",
    "interpolation": "as far, straight back",
}


def rotation(m: Model) -> tuple[str, list[str]] | None:
    whole = m.one("rotation", "whole")
    if whole is None:
        return None
    held = m.rows[(m.rows["part"] == "rotation") & m.rows["name"].str.endswith("less its control")]
    verdicts = {row["name"].split(":")[0]: row["verdict"] for row in held.to_dict("records")}
    table = ["| put back | OOD | beside | OOD | difference | |", "|---|---|---|---|---|---|"]
    for row in held.to_dict("records"):
        kind = row["name"].split(":")[0]
        own, other = (m.one("rotation", f"{kind}: {what}") for what in ("itself", "the control"))
        control = _CONTROLS[kind.split()[1]]
        table.append(
            f"| {row['before']} | {points(own)} | {control} | {points(other)} | "
            f"{points(row)} | {word(row)} |"
        )
    values = m.one("rotation", "values")
    if values is not None:
        table.append(f"| {values['after']} | {points(values)} | | | | {word(values)} |")
    body = [*paragraph(_is_it_rotation(m, verdicts)), *table, "", *paragraph(_reading(values))]
    return "Is the loss rotation of singular vectors?", body


def _is_it_rotation(m: Model, verdicts: dict[str, str]) -> str:
    if not m.lost:
        return (
            "**There is no established loss that rotation could explain.** The edits of "
            f"{m.end} are listed, and explain nothing."
        )
    straight = verdicts.get("orthonormal interpolation", verdicts.get("directions interpolation"))
    turned = verdicts.get("directions rotation", verdicts.get("directions noise"))
    if straight is None or turned is None:
        return (
            "**Not asked**: it takes directions put back beside `interpolation` and `rotation` "
            "(edits.controls)."
        )
    if straight in YES and turned in YES:
        return (
            "**It looks like rotation**: putting the leading singular vectors back gives back more "
            f"OOD accuracy than {WHAT['interpolation']}, and more than {WHAT['rotation']}."
        )
    if straight in NO:
        more = (
            " What helps is undoing the update, in its own place and direction: random turns of "
            "the same size do less."
            if turned in YES
            else ""
        )
        return (
            "**Not rotation, as far as these edits tell**: putting the leading singular vectors "
            f"back gives back no more OOD accuracy than {WHAT['interpolation']}.{more}"
        )
    return (
        "**Undecided.** Rotation would mean that putting the leading singular vectors back gives "
        f"back more than {WHAT['interpolation']} ({plain(straight)}) and more than "
        f"{WHAT['rotation']} ({plain(turned)})."
    )


def _reading(values: pd.Series | None) -> str:
    said = (
        "Changes are in points, beside the unedited checkpoint; each control is matched to its "
        "edit, matrix by matrix. That vectors have turned and values have not says nothing by "
        "itself: any small update does that (docs/is-it-rotation.md)."
    )
    if values is None:
        return said
    what = {True: "changes OOD accuracy", False: "changes nothing"}.get(
        values["verdict"] in YES if values["verdict"] in (*YES, *NO) else None,
        "may or may not change OOD accuracy",
    )
    return (
        f"{said} Putting singular values back {what}; it goes only {values['from_target']:.2f} of "
        "the way."
    )


def repair(m: Model) -> tuple[str, list[str]] | None:
    back = m.one("repair", "going back")
    if back is None:
        return None
    seed, target, parent = m.ends()
    own = m.one("repair", "cheapest")
    pick = own if own is not None else m.one("repair", "most")
    title = "The cheapest edit that gives it back"
    if target == parent or pick is None:
        return title, paragraph("None is needed: the best step is the one that would be edited.")
    name = "cheapest" if own is not None else "most"
    cost, kept = m.one("repair", name, "id"), m.one("repair", "kept", "id")
    share, gives = m.one("repair", "beyond the share"), pick["verdict"] in YES
    asked = f"at least {SHARE:.0%} of what going back altogether does"
    if own is None:
        said = f"**No edit gives back {asked}.** The one that gives back most is `{pick['after']}`"
    elif gives and m.lost:
        said = f"**`{pick['after']}`**: of the edits that give back {asked}, it costs least ID"
    elif m.lost:
        said = (
            f"**None is established.** The best guess is `{pick['after']}`: of the edits that give "
            f"back {asked}, it costs least ID"
        )
    else:
        said = (
            "**There is no established loss to give back.** If you want to try: of the edits that "
            f"give back {asked}, `{pick['after']}` costs least ID"
        )
    halves = (
        f"The two halves of the deals pick {pick['before'].replace(' or ', ' and ')}."
        if " or " in pick["before"]
        else "Both halves of the deals pick it by themselves."
    )
    body = paragraph(
        f"{said}. It goes {pick['from_target']:.2f} of the distance from {step(target)} to "
        f"{step(parent)}. {halves} On deals that did not pick it: OOD {points(pick)} points "
        f"({word(pick)}), ID {points(cost)} ({word(cost)}); that it gives back {SHARE:.0%} is "
        f"{word(share)}."
    )
    place = m.study.given.get(m.name, {}).get(parent) or _folder(m, seed, parent)
    body += paragraph(
        f"Beside it, going back altogether, to {step(parent)} ({place}): OOD {points(back)}, ID "
        f"{points(m.one('repair', 'going back', 'id'))}; the edit keeps {points(kept)} points "
        f"more of ID accuracy ({word(kept)})."
        + (
            " The edit is that checkpoint in all but what is not edited: rather use it as it is."
            if pick["from_parent"] < WHOLE
            else ""
        )
    )
    body += paragraph("To write the edited model, in the type of the checkpoint's own files:")
    return title, [*body, "```sh", *_command(m, seed, target, parent, pick["after"]), "```", ""]


def _folder(m: Model, seed: str, checkpoint: str) -> str:
    manifest = artifacts.path(artifacts.CHECKPOINT, model=m.name, seed=seed, checkpoint=checkpoint)
    return str(Path(manifest).parent)


def _command(m: Model, seed: str, target: str, parent: str, edit: str) -> list[str]:
    options = {
        "--target": _folder(m, seed, target),
        "--parent": _folder(m, seed, parent),
        "--edit": edit,
        "--out": f"{m.name}-repaired",
    }
    if m.study.matrices != Spectra().matrices:
        options["--matrices"] = ",".join(m.study.matrices)
    parts = [shlex.join(pair) for pair in options.items()]
    return ["healscope export \\", *(f"  {part} \\" for part in parts[:-1]), f"  {parts[-1]}"]
