"""The main claims, task by task: nothing is measured here, all is taken from other tables."""

from textwrap import fill

import pandas as pd

from healscope import artifacts, provenance
from healscope.config import Statistics
from healscope.findings.columns import effect
from healscope.findings.contrasts import row
from healscope.findings.finding import Finding, Page
from healscope.findings.tasks import TASK_COLUMNS, Tracks
from healscope.markdown import estimate, padded, points
from healscope.schema import choice, table, text
from healscope.stats import Estimate
from healscope.verdicts import FAILED, HELD, HERE, NOT_HERE, OPEN, VERDICTS, at_most, margin

_CLAIMS = {
    "forgetting": ("gate-forgetting", "OOD falls from MaxOOD to End"),
    "id": ("id-rises-meanwhile-held-out", "ID rises meanwhile, to the end"),
    "healing": ("gate-recovery", "RL from End heals"),
    "window": ("rl-heals-inside-a-window", "RL heals from a window of starts"),
    "peak": ("rl-does-not-exceed-the-peak", "RL does not exceed the SFT peak"),
    **{
        f"{kind}-{stage}": (claim.format(stage), f"{what}, {stage.upper()}")
        for stage in artifacts.STAGES
        for kind, claim, what in (
            ("values", "values-reversion-{}-ood", "values put back change nothing"),
            ("directions", "directions-reversion-{}-ood", "directions put back change OOD"),
            (
                "pinned",
                "pinned-beat-interpolation-{}",
                "directions beat an equally long straight step",
            ),
        )
    },
}  # question -> the claim that answers it, and what it says in short

_FALL = "ood-falls-after-its-peak"
"""The claim whose effect is the gap that a change is measured by."""

_HELD_OUT_OOD = [_CLAIMS[name][0] for name in ("forgetting", "healing", "window")]

_STARTS = {
    "early": "RL from the first start does not",
    "late": "RL from the last start does not",
}

_SHORT = {name: short for name, (_, short) in _CLAIMS.items()} | _STARTS

_FIRST = ("forgetting", "id", "healing", "early", "late")

QUESTIONS = {name: _SHORT[name] for name in dict.fromkeys([*_FIRST, *_SHORT])}
"""Short name of a question -> what is judged, in a few words."""

_WORDS = {HELD: "yes", HERE: "yes*", FAILED: "no", NOT_HERE: "no*", OPEN: "?"}

_MEASURED = ["effect", "low", "high", "by_seed", "seeds", "instances", "detectable"]


def measure(
    claims: pd.DataFrame, window: pd.DataFrame, tracks: Tracks, statistics: Statistics
) -> pd.DataFrame:
    """One row for each track and question: rows of table `claims` and, for the first and the last
    start, of `rl-window`, judged as claim rl-heals-inside-a-window judges them."""
    found = []
    for track, facts in tracks.items():
        own = claims[claims["track"] == track].set_index("claim")
        for question in QUESTIONS:
            judged = None
            if question in _STARTS:
                judged = _start(question, window[window["track"] == track], own, statistics)
            elif (claim := _CLAIMS[question][0]) in own.index:
                judged = {**own.loc[claim].to_dict(), "source": f"claims: {claim}"}
            if judged:
                kept = {n: judged[n] for n in ("statement", "verdict", "source", *_MEASURED)}
                found.append({"track": track, **facts, "question": question, **kept})
    return pd.DataFrame(found)


def _start(
    question: str, window: pd.DataFrame, claims: pd.DataFrame, statistics: Statistics
) -> dict | None:
    """Return what RL changes from the first or the last start of the main recipe."""
    window = window[window["rule"] == "ood"]
    if window["start"].nunique() < 2:
        return None
    start = window["start"].min() if question == "early" else window["start"].max()
    rows = window[window["start"] == start].set_index("seed")
    whole, seeds = rows.loc["all"], rows.drop(index="all")
    limits = zip(seeds["low"], seeds["high"], strict=True)
    e = Estimate(
        value=whole["change"],
        low=whole["low"],
        high=whole["high"],
        by_seed=seeds["change"].to_dict(),
        limits=dict(zip(seeds.index, limits, strict=True)),
        # of the claims about the same problems; others are about those of training, or drawn ones
        instances=int(claims["instances"].reindex(_HELD_OUT_OOD).max()),
        confidence=statistics.confidence,
    )
    statement = (
        f"RL from step {start}, its {'first' if question == 'early' else 'last'} start, does not "
        "raise OOD accuracy"
    )
    nan = float("nan")
    fall = Estimate(claims["effect"].get(_FALL, nan), nan, nan, {})
    judged = row(question, statement, e, at_most(e, margin(fall)), detail="")
    return {**judged, "source": f"rl-window: start {start}"}


def page(table: pd.DataFrame, record: dict) -> str:
    """Markdown that also reads well on a screen: all tasks at a glance, then question by question.

    `record` is the provenance of the table.
    """
    lines = ["# Claims, task by task", "", INTRO, ""]
    for model, own in table.groupby("model", sort=False):
        lines += at_a_glance(own, str(model))
        for question in asked(own):
            lines += [f"## {model}: {QUESTIONS[question]}", "", *intervals(own, question)]
    return "\n".join([*lines, fill(f"{provenance.made_by(record)}.", 100), ""])


INTRO = fill(
    "The main claims, on each task that models were trained on: whether each held, and the "
    "change that decides, in accuracy points on held-out problems. *: every seed shows it by "
    "itself, yet they cannot speak for others; ?: undecided. Intervals are below. Nothing was "
    "measured anew: all is taken from the tables that the last column names. Verdicts of claims "
    "are corrected for their number, those of single starts (rl-window) are not.",
    100,
)


def at_a_glance(own: pd.DataFrame, title: str) -> list[str]:
    """Return lines of a table with a row for each question and a column for each task of one
    model."""
    tasks = list(dict.fromkeys(own["task"]))
    at = own.set_index(["question", "task"])
    rows = [[QUESTIONS[q], *(_cell(at, q, t) for t in tasks)] for q in asked(own)]
    return padded([title, *tasks], rows)


def intervals(own: pd.DataFrame, question: str) -> list[str]:
    """Return lines of a table with a row for each task: the change that answers one question."""
    cells = [
        [r["task"], r["verdict"], estimate(r), str(r["seeds"]),
         str(r["instances"]), r["source"]]
        for r in own[own["question"] == question].to_dict("records")
    ]  # fmt: skip
    return padded(["task", "verdict", "points", "seeds", "instances", "from"], cells)


def asked(own: pd.DataFrame) -> list[str]:
    """Return the questions that a table answers, in the order of QUESTIONS."""
    return [q for q in QUESTIONS if q in set(own["question"])]


def _cell(at: pd.DataFrame, question: str, task: str) -> str:
    if (question, task) not in at.index:
        return "not asked"
    found = at.loc[(question, task)]
    if pd.isna(found["effect"]):
        return "?"
    return f"{_WORDS[found['verdict']]} {points(found['effect'])}"


def section(table: pd.DataFrame) -> str:
    """Return all tasks at a glance, then question by question."""
    lines = [INTRO, "", *at_a_glance(table, "claim")]
    for question in asked(table):
        lines += [f"**{QUESTIONS[question]}**", "", *intervals(table, question)]
    return "\n".join(lines).strip()


SCHEMA = table(
    "task-claims",
    "One question to one model on one training task, as the gate, the claims or the window of "
    "RL starts answer it.",
    (
        *TASK_COLUMNS,
        choice("question", QUESTIONS, "short name of what is asked"),
        text("statement", "what is judged, in a sentence"),
        choice("verdict", VERDICTS, "by `verdicts`"),
        text("source", "table and row that it is taken from"),
        *effect("change of held-out accuracy; missing where nothing was left to ask", True),
    ),
    "track", "task", "question",
)  # fmt: skip


def from_tables(
    claims: list[str], window: list[str], followed: Tracks, statistics: Statistics
) -> pd.DataFrame:
    """Make the table from the files of tables `claims` and `rl-window`."""
    tables = (provenance.read_table(file) for file in (*claims, *window))
    return measure(*tables, followed, statistics)


FINDING = Finding(
    name="task-claims",
    schema=SCHEMA,
    make=from_tables,
    inputs=lambda _: {
        "claims": [artifacts.path(artifacts.TABLE, table="claims")],
        "window": [artifacts.path(artifacts.TABLE, table="rl-window")],
    },
    asked=lambda files: len(files.study.trained_on) > 1,
    target=lambda _: True,
    order=19,
    title="Claims, task by task",
    section=section,
    page=Page(artifacts.TASKS_TEXT, page, "Claims", "task_claims.rst"),
)
