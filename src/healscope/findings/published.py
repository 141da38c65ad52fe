"""Published numbers beside what this study measured, with intervals on both sides."""

from pathlib import Path

import numpy as np
import pandas as pd

from healscope import published as paper_values
from healscope import stats
from healscope.artifacts import LANDMARK_NAMES
from healscope.config import EXHAUSTIVE, Statistics
from healscope.findings.columns import ALL_SEEDS, interval
from healscope.findings.finding import Finding
from healscope.findings.rows import any_attempt, at_landmarks, attempts
from healscope.markdown import estimate, grid
from healscope.schema import TRACK, Column, change, choice, count, flag, table
from healscope.tasks.schemas import PROTOCOL, RULE
from healscope.tasks.tables import rules_differ

LEVELS = tuple(LANDMARK_NAMES)


def comparison(
    published_files: list[str],
    evaluations: list[str],
    landmark_files: list[str],
    drawn: list[str],
    statistics: Statistics,
) -> pd.DataFrame:
    """Return accuracy at the landmarks and its changes: published, measured, compatible?

    Published values are those of figure 1: right in any of five attempts, on 234 drawn hands, so
    they stand beside the protocols named in `drawn`, counted like that; below, beside the first
    attempts at all held-out deals. `difference` is measured minus published, its interval as
    of normal and independent estimates. `compatible` is "no" where it leaves out zero, "undecided"
    where it also holds the opposite of what was published, else "yes". Levels of different models
    need not agree (`kind` "level"): a study of another model can only test the changes, which are
    the paper's claims. `published_alone` says whether a published change is told from zero by
    itself.
    """
    values = paper_values.counts(paper_values.read(Path(published_files[0]).parent))
    values = values[(values["figure"] == "fig1") & (values["metric"] == "accuracy")]
    changes = paper_values.changes(values)
    rows = attempts(evaluations, ["protocol", "feedback"])
    counted = [any_attempt(rows[rows["protocol"] == name]) for name in drawn]
    first = (rows["protocol"] == EXHAUSTIVE) & (rows["sample"] == 0) & (rows["attempt"] == 1)
    counted.append(rows[first & rules_differ(rows) & (rows["split"] == "held_out")])
    rows = at_landmarks(pd.concat(counted, ignore_index=True), landmark_files, list(LEVELS))
    out = []
    for (model, protocol, rule), own in rows.groupby(["track", "protocol", "rule"]):
        place = {"track": model, "seed": "all", "protocol": protocol, "rule": rule}
        at = {name: own[own["landmark"] == name] for name in LEVELS}
        for name in LEVELS:
            e = stats.bootstrap(at[name], "correct", statistics)
            same = values[(values["split"] == rule) & (values["stage"] == name)]
            for value in same.assign(said=same["value"], what=name).to_dict("records"):
                out.append({**place, "kind": "level", **_beside(value, e)})
        for before, after in paper_values.CONTRASTS["fig1"]:
            e = stats.change(at[before], at[after], statistics)
            name = f"{before}→{after}"
            same = changes[(changes["split"] == rule) & (changes["contrast"] == name)]
            for value in same.assign(said=same["change"], what=name).to_dict("records"):
                out.append({**place, "kind": "change", **_beside(value, e)})
    return pd.DataFrame(out)


def _beside(value: dict, e: stats.Estimate) -> dict:
    said, low, high = value["said"], value["low"], value["high"]
    difference, spread = e.value - said, np.hypot((high - low) / 2, (e.high - e.low) / 2)
    answer = "yes" if abs(difference) <= spread else "no"
    if answer == "yes" and abs(e.value + said) <= spread:
        answer = "undecided"
    return {
        "published_model": value["model"],
        "what": value["what"],
        "published": said,
        "published_low": low,
        "published_high": high,
        "published_n": value["n"],
        "published_alone": bool(value.get("establishes", True)),
        "measured": e.value,
        "low": e.low,
        "high": e.high,
        "difference": difference,
        "difference_low": difference - spread,
        "difference_high": difference + spread,
        "compatible": answer,
        "same_direction": bool(np.sign(e.value) == np.sign(said)),
    }


def section(table: pd.DataFrame) -> str:
    rows = [
        (r["published_model"], r["rule"].upper(), r["what"],
         estimate(r, "published", prefix="published_"),
         r["protocol"], estimate(r, "measured"), r["compatible"])
        for r in table[table["kind"] == "change"].to_dict("records")
    ]  # fmt: skip
    header = ["published model", "rule", "change", "published", "protocol", "measured",
              "compatible"]  # fmt: skip
    return grid(header, rows)


SCHEMA = table(
    "published",
    "One published accuracy at a landmark (level), or its change between two (change), beside "
    "what was measured.",
    (
        TRACK, ALL_SEEDS, PROTOCOL,
        choice("published_model", paper_values.ALLOWED["model"], "model of the paper"),
        RULE,
        choice("kind", ("level", "change"), "which of them"),
        choice(
            "what",
            (*LEVELS, *("→".join(c) for c in paper_values.CONTRASTS["fig1"])),
            "the landmark, or from which to which",
        ),
        change("published", "as published; a change counts after minus before"),
        change("published_low", "lower limit of its interval"),
        change("published_high", "upper limit of its interval"),
        count("published_n", "hands behind it", "hands", low=1),
        flag("published_alone", "the published change is told from 0 by itself"),
        change("measured", "the same in this study"),
        *interval(change),
        Column("difference", "float", "measured minus published", "share", low=-2, high=2),
        Column("difference_low", "float", "lower limit of its interval", "share"),
        Column("difference_high", "float", "upper limit of its interval", "share"),
        choice(
            "compatible",
            ("yes", "no", "undecided"),
            "no: the interval of the difference leaves out 0; undecided: it also holds the "
            "opposite of what was published",
        ),
        flag("same_direction", "the signs agree"),
    ),
    "track", "protocol", "published_model", "rule", "kind", "what", "published",
)  # fmt: skip

FINDING = Finding(
    name="published",
    schema=SCHEMA,
    make=comparison,
    inputs=lambda files: {
        "published_files": list(files.published),
        "evaluations": [
            *files.evaluations(files.at_landmarks, files.cards),
            *files.under_other_protocols(files.cards),
        ],
        "landmark_files": files.landmarks(files.cards),
    },
    asked=lambda files: files.trained and bool(files.cards),
    target=lambda _: True,
    order=13,
    title="Published and measured",
    section=section,
)
