"""Sections of the page about weights: is the loss rotation, and which edit gives it back?"""

import shlex
from pathlib import Path

import pandas as pd

from healscope import artifacts, edit_names
from healscope.config import Spectra
from healscope.edit_kinds import CONTROLS, KINDS
from healscope.findings.diagnosis.words import (
    Model,
    Section,
    paragraph,
    step,
    word,
)
from healscope.findings.repair import SHARE, STAGE
from healscope.markdown import estimate, padded
from healscope.verdicts import NO, YES

HEAD = ["put back", "OOD, points", "beside it", "OOD, points", "difference", ""]

WHOLE = 0.05
"""An edit that comes so near to the parent, of the distance between the two, is the parent."""


def rotation(m: Model) -> Section | None:
    if m.one("rotation", "whole") is None:
        return None
    verdicts, rows = _beside_controls(m, ("values", "directions"))
    values = m.one("rotation", "values")
    if values is not None:
        rows.append([values["after"], estimate(values), "", "", "", word(values)])
    body = [*padded(HEAD, rows), *paragraph(_reading(values))]
    return Section("Is the loss rotation of singular vectors?", _answer(m, verdicts), body)


def _beside_controls(
    m: Model, figures: tuple[str, ...]
) -> tuple[dict[str, tuple[str, str]], list[list[str]]]:
    """Return (verdict, word) by kind and control, and rows under HEAD, of the kinds of `figures`
    (`edit_kinds.Kind.figure`)."""
    held = m.rows[(m.rows["part"] == "rotation") & m.rows["name"].str.endswith("less its control")]
    verdicts, rows = {}, []
    for row in held.to_dict("records"):
        pair = row["name"].split(":")[0]
        kind, control = pair.split()
        if KINDS[kind].figure not in figures:
            continue
        verdicts[pair] = row["verdict"], word(row)
        own, other = (m.one("rotation", f"{pair}: {what}") for what in ("itself", "the control"))
        label = CONTROLS[control].label
        rows.append(
            [row["before"], estimate(own), label, estimate(other), estimate(row), word(row)]
        )
    return verdicts, rows


def _answer(m: Model, verdicts: dict[str, tuple[str, str]]) -> str:
    """By (verdict, word) of each kind and control; by an edit that keeps vectors orthonormal where
    there is one, since the published splice overshoots."""
    if not m.lost:
        return "There is no established loss that rotation could explain."
    kinds = ("pinned", "orthonormal", "directions")
    straight = _first(verdicts, [f"{kind} interpolation" for kind in kinds])
    turned = _first(verdicts, [f"{k} {c}" for c in ("rotation", "noise") for k in kinds])
    if not straight or not turned:
        return (
            "Whether the loss is rotation was not asked: that takes directions put back, "
            "with the controls interpolation and rotation (edits.controls)."
        )
    line, other = (CONTROLS[name.split()[1]].than for name in (straight, turned))
    (straight, turned), said = zip(verdicts[straight], verdicts[turned], strict=True)
    if straight in YES and turned in YES:
        return (
            "It looks like rotation: putting the leading singular vectors back gives back more OOD "
            f"accuracy than {line}, and more than {other}."
        )
    if straight in NO:
        more = f", though more than {other}" if turned in YES else ""
        return (
            "These edits cannot tell rotation from any small update undone: putting the leading "
            f"singular vectors back gives back no more OOD accuracy than {line}{more}."
        )
    return (
        "Whether the loss is rotation is undecided: then the leading singular vectors would give "
        f"back more than {line} ({said[0]}) and more than {other} ({said[1]})."
    )


def _first(verdicts: dict, names: list[str]) -> str:
    """Return the first name that has a verdict; empty where none has."""
    return next((name for name in names if name in verdicts), "")


def _reading(values: pd.Series | None) -> str:
    said = (
        "Changes are from the unedited checkpoint; each control is matched to its edit, matrix "
        "by matrix. That vectors have turned and values have not says nothing by itself: any small "
        "update does that (docs/is-it-rotation.md)."
    )
    if values is None:
        return said
    what = "may or may not change OOD accuracy"
    if values["verdict"] in (*YES, *NO):
        what = "changes OOD accuracy" if values["verdict"] in YES else "changes nothing"
    far = values["from_target"]
    return f"{said} Putting singular values back {what}; it goes only {far:.2f} of the way."


def repair(m: Model) -> Section | None:
    back = m.one("repair", "going back")
    if back is None:
        return None
    title, (seed, target, parent) = "Which edit gives it back most cheaply?", m.ends()
    own = m.one("repair", "cheapest")
    pick = own if own is not None else m.one("repair", "most")
    if target == parent or pick is None:
        return Section(title, "No edit is needed: the best step is the one to be edited.", [])
    name = "cheapest" if own is not None else "most"
    cost, kept = m.one("repair", name, "id"), m.one("repair", "kept", "id")
    measured = f"OOD {estimate(pick)} points ({word(pick)}), ID {estimate(cost)} ({word(cost)})"
    if " or " in pick["before"]:
        measured += f", as {m.others} pick"
    if own is None:
        lead = f"No edit gives back {SHARE:.0%}; `{pick['after']}` gives back most: {measured}."
    elif not m.lost:
        lead = (
            "There is no established loss to give back; if you want to try "
            f"one, `{pick['after']}`: {measured}."
        )
    elif pick["verdict"] in YES and kept["verdict"] in YES and kept["effect"] > 0:
        lead = (
            f"`{pick['after']}` gives it back, and keeps more ID accuracy than {step(parent)} has: "
            f"{measured}."
        )
    elif pick["verdict"] in YES:
        lead = (
            f"`{pick['after']}` gives it back: {measured}. That it keeps more ID accuracy than "
            f"{step(parent)} itself has is not established: use that checkpoint instead."
        )
    else:
        lead = f"None is established; the best guess is `{pick['after']}`: {measured}."
    chosen = (
        "" if own is None else f"Of all edits that give back at least {SHARE:.0%} of what going "
        "back altogether does, and go no further, it costs least ID accuracy. "
    )  # fmt: skip
    names = pick["before"].replace(" or ", " and ")
    halves = (
        f"Each half of the instances is reported at what {m.others} pick ({names})."
        if m.runs > 1
        else f"Each half of the instances is reported at what the other half picks ({names}); with "
        "one run, luck in its training still flatters it."
    )
    body = paragraph(
        f"{chosen}{halves} That as much is given back there too is "
        f"{word(m.one('repair', 'beyond the share'))}. The edit goes {pick['from_target']:.2f} of "
        f"the distance from {step(target)} to {step(parent)}."
    )
    place = m.study.given.get(m.name, {}).get(parent) or _folder(m, seed, parent)
    body += paragraph(
        f"For comparison, going back altogether, to {step(parent)} ({place}): "
        f"OOD {estimate(back)}, ID {estimate(m.one('repair', 'going back', 'id'))}. "
        "ID accuracy of the edit minus that: "
        f"{estimate(kept)} ({word(kept)})."
        + (
            " The edit is that checkpoint except for what is not edited: use the checkpoint as it "
            "is instead."
            if pick["from_parent"] < WHOLE
            else ""
        )
    )
    if " or " in m.one("peak", "maxood")["after"]:
        body += paragraph(
            f"All instances together pick {step(parent)}, to which edits go back; that choice "
            "somewhat flatters what is said of the weights."
        )
    _, beside = _beside_controls(m, ("update",))
    if beside:
        body += paragraph(
            "Published repairs of an update (docs/edits.md), each with a control that goes as far:"
        )
        body += padded(HEAD, beside)
    body += paragraph(
        "To write the edited model, in the type of the checkpoint's own files, from the folder of "
        "this study (`healscope repair` adds a model card with what it gives and costs):"
    )
    lines = command(m, seed, target, parent, pick["after"])
    return Section(title, lead, [*body, "```sh", *lines, "```", ""])


def _folder(m: Model, seed: str, checkpoint: str) -> str:
    manifest = artifacts.path(artifacts.CHECKPOINT, track=m.name, seed=seed, checkpoint=checkpoint)
    return str(Path(manifest).parent)


def command(m: Model, seed: str, target: str, parent: str, edit: str) -> list[str]:
    """Return lines of the command that writes the edit of a target as a folder."""
    options = {
        "--target": _folder(m, seed, target),
        "--parent": _folder(m, seed, parent),
        "--edit": edit,
        "--out": f"{m.name}-repaired",
    }
    if any(KINDS[term.kind].drawn for term in edit_names.parse(edit).terms):
        options["--stream"] = f"{m.name} {seed} {STAGE}"  # the random numbers of the study
    if m.study.matrices != Spectra().matrices:
        options["--matrices"] = ",".join(m.study.matrices)
    parts = [shlex.join(pair) for pair in options.items()]
    return ["healscope export \\", *(f"  {part} \\" for part in parts[:-1]), f"  {parts[-1]}"]
