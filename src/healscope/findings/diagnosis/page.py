"""The page that a study of given checkpoints ends with: markdown that also reads well on a screen.

Every number is a row of the table that `measure` makes; what is said of it hangs on its verdict.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import pandas as pd

from healscope import artifacts, provenance
from healscope.config import Statistics
from healscope.findings.diagnosis.weights import repair, rotation
from healscope.findings.diagnosis.words import (
    WIDTH,
    Model,
    Section,
    Study,
    paragraph,
    step,
    word,
)
from healscope.markdown import estimate, level, padded
from healscope.verdicts import NO, YES

__all__ = ["Study", "text", "write"]


def write(
    table: pd.DataFrame,
    record: dict,
    landmark_files: list[str],
    manifests: list[str],
    followed: dict[str, dict[str, str]],
    given: dict[str, dict[str, str]],
    stages: dict[str, dict[str, str]],
    matrices: list[str],
    statistics: Statistics,
) -> str:
    """Write the page about all models from the files and values of a study."""
    tasks = {track: facts["task"] for track, facts in followed.items()}
    by_model: dict[str, dict[str, str]] = {}
    for file in manifests:
        place = artifacts.parse(artifacts.CHECKPOINT, file)
        by_model.setdefault(place["track"], {})[place["checkpoint"]] = file
    alike = {model: same_weights(of_model) for model, of_model in by_model.items()}
    resized = {model: other_rows(of_model) for model, of_model in by_model.items()}
    study = Study(tasks, given, stages, matrices, statistics.confidence, alike, resized)
    return text(table, landmark_files, study, record)


def text(frame: pd.DataFrame, landmark_files: list[str], study: Study, record: dict) -> str:
    """Return the page about all models."""
    marks = [provenance.read_json(file) for file in landmark_files]
    lines = []
    for model, rows in frame.groupby("track"):
        seeds = {m["seed"]: m["landmarks"] for m in marks if m["track"] == model}
        lines += _about(Model(model, rows, seeds, study))
    table = artifacts.path(artifacts.TABLE, table="diagnosis")
    lines += paragraph(f"{provenance.made_by(record)}. All numbers: {table}.")
    return "\n".join(lines)


def same_weights(manifests: Mapping[str, str | Path]) -> list[list[str]]:
    """Return names of checkpoints whose files of weights are the same bytes, groups of two and
    more."""
    groups: dict[frozenset[str], list[str]] = {}
    for name, manifest in manifests.items():
        content = provenance.read_json(manifest)
        files, base = content["files"], content.get("reading", {}).get("base", "")
        held = frozenset(f["sha256"] for n, f in files.items() if n.endswith(".safetensors"))
        if held:
            groups.setdefault(held | {base}, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def other_rows(manifests: Mapping[str, str | Path]) -> dict[str, int]:
    """Checkpoint -> rows of its embeddings, where these are read with others than it has."""
    reading = {n: provenance.read_json(m).get("reading", {}) for n, m in manifests.items()}
    return {name: how["rows"] for name, how in reading.items() if "rows" in how}


def _named(checkpoint: str) -> str:
    if checkpoint == "base":
        return "the base (step 0)"
    stage, number = artifacts.stage_and_step(checkpoint)
    return f"step {number}" if stage == "sft" else f"RL from step {number}"


def _about(m: Model) -> list[str]:
    found = _peak(m), _lost(m), _groups(m), _healed(m), rotation(m), repair(m)
    parts = [part for part in found if part]
    lines = [f"# Diagnosis: {m.name}", ""]
    for number, part in enumerate(parts, 1):
        lines.append(fill(part.lead, WIDTH, initial_indent=f"{number}. ", subsequent_indent="   "))
    lines += ["", *paragraph(_intro(m))]
    for names in m.study.alike.get(m.name, []):
        lines += paragraph(
            f"{' and '.join(map(_named, names))} hold the same weights, byte for byte: on this "
            "page they are one checkpoint under several names. If that is not what you meant, "
            f"correct models.{m.name}."
        )
    if resized := m.study.resized.get(m.name):
        lines += paragraph(
            f"Vocabularies differ in size: {' and '.join(map(_named, resized))} "
            f"{'is' if len(resized) == 1 else 'are'} asked and compared with the "
            f"{next(iter(resized.values()))} rows that all share. Rows that no token of the "
            "tokenizer needs are left out; rows of tokens that were added later are the mean of a "
            "checkpoint's others."
        )
    for number, part in enumerate(parts, 1):
        lines += [f"## {number}. {part.title}", "", *paragraph(f"**{part.lead}**"), *part.body]
    return [*lines, "## What this cannot tell", "", *_limits(m)]


def _intro(m: Model) -> str:
    row, own = m.one("peak", "maxood"), m.one("peak", "maxood", "id")["instances"]
    asked = (
        f"{row['instances']} held-out instances where the rules differ: ID, the rule of training, "
        "and OOD, the other one"
    )
    if own != row["instances"]:  # of files, or of benchmarks
        asked = (
            f"{own} held-out instances like those of training (ID) and {row['instances']} others "
            "(OOD)"
        )
    seeds = (
        "Intervals count instances and seeds."
        if row["seeds"] > 1
        else "There is one run, so intervals count instances alone: 'established' speaks of these "
        "checkpoints, not of what another run would do."
    )
    return (
        f"Accuracy is that of greedy first attempts at task {m.task}, on {asked}. Brackets are "
        f"intervals of {100 * m.study.confidence:g}%. {seeds} A change within {m.margin} counts as "
        "none: a quarter of the OOD accuracy that was lost from MaxOOD to End, and at least 2 "
        "points."
    )


def _peak(m: Model) -> Section:
    rise, since, best = m.one("peak", "rise"), m.one("lost", "since"), m.one("peak", "maxood")
    up, down = rise["verdict"] in YES, m.lost
    at_end = set(best["after"].split(" or ")) == {since["after"]}
    more = ""
    if up and down and m.picked == m.peak:
        lead = f"OOD accuracy peaked at {m.peak}, and has fallen since."
    elif up and down:
        lead = (
            f"OOD accuracy peaked around {m.peak}, and has fallen since; instances do not "
            f"agree on which step is best ({m.picked})."
        )
    elif down and m.peak == "step 0":
        lead = "OOD accuracy was best before SFT, and has fallen since."
    elif down:
        lead = f"OOD accuracy was best at {m.peak}, and has fallen since."
        more = f" That it had risen above the base's accuracy before is {word(rise)}."
    elif at_end:
        lead = f"No peak: OOD accuracy is best at {m.end}, the last step looked at."
    elif since["verdict"] in NO:
        lead = f"No peak is established: after {m.peak}, the best, OOD accuracy does not fall."
    else:
        lead = f"No peak is established: {m.peak} is the best, and a fall after it may be chance."
        more = (
            f" With so many instances a fall of {100 * since['detectable']:.0f} points or more "
            "would probably have shown."
        )
    if m.runs > 1:
        fair = (
            "What is best in some is less so in others: each run and half of the instances is "
            f"reported at the step that the other runs pick on the other half ({m.picked})."
        )
    else:
        fair = (
            f"Each half of the instances is reported at the step that the other half picks "
            f"({m.picked}), so lucky instances flatter no number. Luck in training does: with one "
            "run a checkpoint that happened to come out well is both picked and judged, which one "
            "run cannot tell from a peak."
        )
    at_peak, rows = m.one("peak", "maxood", "id"), []
    for row in m.all("peak", "accuracy").to_dict("records"):
        own = row["after"].removeprefix("sft-")
        other = m.one("peak", "accuracy", "id", row["after"])
        rows.append(
            ["0, the base" if own == "0" else own, level(row, "effect"), level(other, "effect")]
        )
    body = [
        *padded(["SFT step", "OOD accuracy, %", "ID accuracy, %"], rows),
        *paragraph(
            f"At the peak: OOD {level(best, 'effect')}, ID {level(at_peak, 'effect')}. From the "
            f"base to it: OOD {estimate(rise)} points ({word(rise)}).{more} {fair}"
        ),
    ]
    return Section("Where did OOD accuracy peak?", lead, body)


def _lost(m: Model) -> Section:
    ood, own = m.one("lost", "since"), m.one("lost", "since", "id")
    title = "What was lost since?"
    if set(ood["before"].split(" or ")) == {ood["after"]}:
        lead = f"Nothing was lost: {m.end} is the best step."
        return Section(title, lead, paragraph("Later checkpoints would show more."))
    if own["verdict"] in YES:
        meanwhile = "gained" if own["effect"] > 0 else "lost as well"
    else:
        meanwhile = f"within {m.margin}" if own["verdict"] in NO else "undecided"
    found = "No loss is established"
    if m.lost:
        found = f"A loss is {word(ood)}".replace("is in", "is there in")
    lead = (
        f"{found} from {m.picked} to {m.end}: OOD accuracy "
        f"changes by {estimate(ood)} points; ID accuracy by {estimate(own)} ({meanwhile})."
    )
    body = paragraph(
        "Paired on the same problems, on instances that did not pick the step it is counted from."
    )
    return Section(title, lead, body)


def _groups(m: Model) -> Section | None:
    """Return what each set of OOD problems lost, where there are several."""
    own = m.rows[m.rows["part"] == "groups"]
    changes = own[~own["name"].str.contains(": ", regex=False)]
    if changes.empty:
        return None
    rows, lost = [], []
    for row in changes.to_dict("records"):
        ends = [own[own["name"] == f"{row['name']}: {end}"] for end in ("base", "maxood", "end")]
        lost += [row["name"]] if row["verdict"] in YES else []
        levels = [level(end.iloc[0], "effect") for end in ends]
        rows.append([row["name"], *levels, estimate(row), word(row)])
    lead = (
        f"Of {len(changes)} OOD sets, a loss since the peak is established for {', '.join(lost)}."
        if lost
        else f"For none of {len(changes)} OOD sets is a loss since the peak established by itself."
    )
    head = ["set", "base, %", "peak, %", "end, %", "since the peak, points", ""]
    body = padded(head, rows)
    body += paragraph(
        "The peak is that of all OOD problems together, as picked by other instances."
    )
    return Section("Which sets of OOD problems lost?", lead, body)


def _healed(m: Model) -> Section | None:
    branches = m.all("rl", "healed")
    if branches.empty:
        return None
    rows, healing = [], []
    for row in branches.to_dict("records"):
        own = m.one("rl", "healed", "id", row["after"])
        beside = m.one("rl", "beside maxood", "ood", row["after"])
        healing += [step(row["before"])] if row["verdict"] in YES else []
        cells = [(estimate(x), word(x)) for x in (row, own, beside)]
        rows.append([step(row["before"]), *(cell for pair in cells for cell in pair)])
    lead = (
        f"RL gave back OOD accuracy from {', '.join(healing)}."
        if healing
        else "That RL gave back OOD accuracy is not established from any of its starts."
    )
    head = ["RL from", "OOD, points", "", "ID, points", "", "OOD beside the peak", ""]
    return Section("What did RL give back?", lead, padded(head, rows))


def _limits(m: Model) -> list[str]:
    said = [
        f"Only problems of {m.task} were asked: other skills may have been lost or kept.",
        f"Edits touch {', '.join(m.study.matrices)}; embeddings, head and norms stay as they are.",
    ]
    for rule in ("id", "ood"):
        if (twin := m.one("twins", "share", rule)) is not None and twin["effect"] > 0:
            said.append(
                f"{100 * twin['effect']:.1f}% of the {rule.upper()} problems nearly repeat an "
                "example of the training file: table `groups` has accuracies without them."
            )
    if m.study.given:
        said.append(
            "What your SFT read is not known here. If these problems were part of it, ID accuracy "
            "is in part memory; OOD accuracy is not, unless it read that rule too."
        )
        said.append("Checkpoints between the steps that were given may be better than any of them.")
    return [*(fill(s, WIDTH, initial_indent="- ", subsequent_indent="  ") for s in said), ""]
