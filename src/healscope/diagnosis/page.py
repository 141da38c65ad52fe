"""The page that a study of given checkpoints ends with: markdown that also reads well on a screen.

Every number is a row of the table that `measure` makes; what is said of it hangs on its verdict.
"""

from textwrap import fill

import pandas as pd

from healscope import artifacts, provenance
from healscope.diagnosis.weights import repair, rotation
from healscope.diagnosis.words import (
    MARGIN_POINTS,
    WIDTH,
    Model,
    Study,
    level,
    paragraph,
    points,
    step,
    word,
)
from healscope.verdicts import NO, YES

__all__ = ["Study", "text"]


def text(frame: pd.DataFrame, landmark_files: list[str], study: Study, record: dict) -> str:
    """The page about all models."""
    marks = [provenance.read_json(file) for file in landmark_files]
    lines = []
    for model, rows in frame.groupby("model"):
        seeds = {m["seed"]: m["landmarks"] for m in marks if m["model"] == model}
        lines += _about(Model(model, rows, seeds, study))
    code = record["code"]
    lines += paragraph(
        f"Made by healscope {code['healscope']}, commit {code['commit']}, from inputs with "
        f"fingerprint {record['fingerprint'][:16]}. All numbers: "
        f"{artifacts.path(artifacts.TABLE, table='diagnosis')}."
    )
    return "\n".join(lines)


def _about(m: Model) -> list[str]:
    parts = [_peak(m), _lost(m), _healed(m), rotation(m), repair(m)]
    lines = [f"# Diagnosis: {m.name}", "", *paragraph(_intro(m))]
    for number, (title, body) in enumerate((part for part in parts if part), 1):
        lines += [f"## {number}. {title}", "", *body]
    return [*lines, "## What this cannot tell", "", *_limits(m)]


def _intro(m: Model) -> str:
    row = m.one("peak", "maxood")
    seeds = (
        "Intervals count deals and seeds."
        if row["seeds"] > 1
        else "There is one run, so intervals count deals alone: 'established' is said of these "
        "checkpoints, not of what another run would do."
    )
    return (
        f"Accuracy is that of greedy first attempts at task {m.study.task}, on {row['deals']} "
        f"held-out deals with a face card, the same under both rules: ID, the rule of training, "
        f"and OOD, the other one. Brackets are intervals of {100 * m.study.confidence:g}%. {seeds} "
        f"A change within {MARGIN_POINTS} counts as none."
    )


def _peak(m: Model) -> tuple[str, list[str]]:
    rise, since, best = m.one("peak", "rise"), m.one("lost", "since"), m.one("peak", "maxood")
    up, down = rise["verdict"] in YES, m.lost
    at_end = set(best["after"].split(" or ")) == {since["after"]}
    if up and down:
        said = f"**OOD accuracy peaked at {m.peak}, and has fallen since.**"
    elif down and m.peak == "step 0":
        said = "**OOD accuracy was best before SFT, and has fallen since.** There is no peak."
    elif down:
        said = (
            f"**OOD accuracy was best at {m.peak}, and has fallen since.** That it had risen above "
            f"the base's before is {word(rise)}."
        )
    elif at_end:
        said = f"**No peak: OOD accuracy is best at {m.end}, the last step looked at.**"
    elif since["verdict"] in NO:
        said = f"**No peak is established**: after {m.peak}, the best one, OOD accuracy stays."
    else:
        said = (
            f"**No peak is established.** {m.peak.capitalize()} is the best one, but what came "
            f"after it may be chance: with so many deals a fall of "
            f"{100 * since['detectable']:.0f} points or more would probably have shown."
        )
    own = best["after"].replace("sft-", "step ")
    fair = (
        f"Both halves of the deals pick {own} by themselves, so the choice flatters no number here."
        if " or " not in own
        else "What is best on some deals is less so on others: each half of the deals is reported "
        f"at the step that the other half picks ({own})."
    )
    table = ["| SFT step | OOD accuracy, % | ID accuracy, % |", "|---|---|---|"]
    for row in m.all("peak", "accuracy").itertuples():
        other = m.one("peak", "accuracy", "id", row.after)
        step = row.after.removeprefix("sft-")
        name = {"0": "0, the base"}.get(step, step)
        table.append(f"| {name} | {level(row)} | {level(other)} |")
    body = [
        *paragraph(said),
        *table,
        "",
        *paragraph(
            f"At the peak: OOD {level(best)}%, ID {level(m.one('peak', 'maxood', 'id'))}%. From "
            f"the base to it: OOD {points(rise)} points ({word(rise)}). {fair}"
        ),
    ]
    return "Where OOD accuracy peaked", body


def _lost(m: Model) -> tuple[str, list[str]]:
    ood, own = m.one("lost", "since"), m.one("lost", "since", "id")
    if set(ood["before"].split(" or ")) == {ood["after"]}:
        return "What was lost since", paragraph(
            f"Nothing: {m.end} is the best step. Train on, or give later checkpoints, to see more."
        )
    said = {
        True: "**The loss is established**",
        False: "**No loss is established**" if ood["verdict"] not in NO else "**Nothing is lost**",
    }[m.lost]
    id_said = (
        f"no more than {MARGIN_POINTS} either way"
        if own["verdict"] in NO
        else "undecided"
        if own["verdict"] not in YES
        else "gained meanwhile"
        if own["effect"] > 0
        else "lost as well"
    )
    return "What was lost since", paragraph(
        f"{said}: from {m.peak} to {m.end}, on deals that did not pick that step, OOD accuracy "
        f"changes by {points(ood)} points, ID accuracy by {points(own)} ({id_said})."
    )


def _healed(m: Model) -> tuple[str, list[str]] | None:
    branches = m.all("rl", "healed")
    if branches.empty:
        return None
    table = [
        "| RL from | OOD, points | | ID, points | | OOD beside the peak | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in branches.to_dict("records"):
        own = m.one("rl", "healed", "id", row["after"])
        beside = m.one("rl", "beside maxood", "ood", row["after"])
        table.append(
            f"| {step(row['before'])} | {points(row)} | {word(row)} | {points(own)} | "
            f"{word(own)} | {points(beside)} | {word(beside)} |"
        )
    healing = [step(r["before"]) for r in branches.to_dict("records") if r["verdict"] in YES]
    said = (
        f"**RL gives back OOD accuracy** from {', '.join(healing)}."
        if healing
        else "**That RL gives back OOD accuracy is not established** from any of its starts."
    )
    return "What RL gave back", [*paragraph(said), *table, ""]


def _limits(m: Model) -> list[str]:
    said = [
        f"Only deals of {m.study.task} were asked: other skills may have been lost or kept.",
        f"Edits touch {', '.join(m.study.matrices)}; embeddings, head and norms stay as they are.",
    ]
    if m.study.given:
        said.append(
            "What your SFT read is not known here. If these deals were part of it, ID accuracy is "
            "in part memory; OOD accuracy is not, unless it read that rule too."
        )
        said.append("Checkpoints between the steps that were given may be better than any of them.")
    return [*(fill(s, WIDTH, initial_indent="- ", subsequent_indent="  ") for s in said), ""]
