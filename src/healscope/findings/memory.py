"""What a memory of successes and failures before a problem is worth, and in which form.

SkillRL is said to gain by keeping successes as they are and failures as lessons (arXiv 2602.08234;
released code; there both are distilled, and nothing isolates the asymmetry). Here all four ways to
keep them stand before the same held-out hands under a rule that the prompt only names, in as many
tokens each. A memory of another rule and the words of the right one in another order are the
controls: what they gain as well is no use of what was learned. A text that names what a face card
of the hand counts as is marked: it tells the rule, and is knowledge rather than skill.
"""

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import CHECKPOINT, SEED, N, interval
from healscope.findings.contrasts import FLOOR, never_there, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise
from healscope.markdown import crossed
from healscope.schema import TRACK, choice, count, share, table
from healscope.stats import Estimate
from healscope.tasks.cards.contexts import CELLS, KINDS, OTHER, SHUFFLED, cell, leaks
from healscope.tasks.cards.game import from_row
from healscope.verdicts import every, positive

MIXED = cell("verbatim", "lesson")
SYMMETRIC = [cell(kept, kept) for kept in ("verbatim", "lesson")]


def _tracks(files: Files) -> dict[str, list[str]]:
    """Return track that is asked after texts -> the checkpoints where its branches start."""
    study = files.study
    protocols = _protocols(files)
    return {
        track: list(dict.fromkeys(artifacts.sft(artifacts.parse_branch(b)[1]) for b in names))
        for track, names in files.beside.items()
        if any(study.poses(study.task_of(track), name) for name in protocols)
    }


def _protocols(files: Files) -> list[str]:
    protocols = files.study.evaluation.protocols.items()
    return [name for name, p in protocols if p.problems == "contexts"][:1]


def _inputs(files: Files) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"evaluations": [], "posed": []}
    for track, starts in _tracks(files).items():
        place = {"of": [track], "protocol": _protocols(files)}
        found["evaluations"] += files.each(artifacts.EVALUATION, **place, checkpoint=starts)
        found["posed"] += files.each(artifacts.POSED, **place)
    return found


def _lacking(files: Files) -> str:
    if not _protocols(files):
        return "a protocol, as evaluation.protocols.told: {problems: contexts}"
    if not _tracks(files):
        return "a track in rl.branches_of on a task with rule_shown: name"
    return ""


def read(evaluations: list[str], posed: list[str]) -> pd.DataFrame:
    """Return greedy answers with the kind of text before them (`kind`), its tokens, and whether it
    leaks; of one hand all kinds are one problem."""
    rows = first_attempts(evaluations, ["pair_id", "neighbour", "distance"])
    marks = {}
    for file in posed:
        for problem in provenance.read_table(file).to_dict("records"):
            words = problem["prompt"].split()[: int(problem["distance"])]
            marks[problem["problem_id"]] = leaks(from_row(problem), " ".join(words))
    return rows.assign(
        leaks=rows["problem_id"].map(marks).astype(float),
        problem_id=rows["pair_id"],
        draw=0,
        kind=rows["neighbour"],
        tokens=rows["distance"].astype(int),
    )


def measure(evaluations: list[str], posed: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return accuracy after each kind of text."""
    rows = read(evaluations, posed)
    by = ["track", "checkpoint", "kind"]
    found = summarise(rows, by, statistics).rename(columns={"mean": "accuracy"})
    facts = rows.groupby(by).agg(tokens=("tokens", "max"), leaks=("leaks", "mean"))
    found = found.join(facts, on=by)
    order = list(KINDS)
    return found.sort_values("kind", key=lambda kinds: kinds.map(order.index), kind="stable")


# Claims.


def judge(evaluations: list[str], posed: list[str], statistics: Statistics) -> list[dict]:
    """Return the claims of each track."""
    rows = read(evaluations, posed)
    return [
        {"track": track, **claim}
        for (track, _), own in rows.groupby(["track", "checkpoint"])
        for claim in claims_of(own, statistics)
    ]


def claims_of(rows: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims about one checkpoint, from what `read` returns."""
    had = rows.groupby("kind")["correct"].mean()
    said = ", ".join(f"{kind} {100 * had[kind]:.0f}%" for kind in KINDS if kind in had.index)
    leaking = rows[rows["kind"] == MIXED].groupby("leaks")["correct"].mean()
    told = ", ".join(
        f"{100 * value:.0f}% where it {'names' if leak else 'does not name'} a value of the hand"
        for leak, value in leaking.items()
    )
    never = f"; below {100 * FLOOR:.0f}% it is not read"
    e = {kind: _gain(rows, kind, MIXED, statistics) for kind in ("none", OTHER, SHUFFLED)}
    other_rule = every(positive(e["none"]), positive(e[OTHER]))
    symmetric = stats.at_picked({k: rows[rows["kind"] == k] for k in SYMMETRIC}, better(rows))
    asymmetry = stats.change(symmetric, rows[rows["kind"] == MIXED], statistics)
    lesson = _of_failures(rows, statistics)
    return [
        row(
            "memory-helps",
            "A memory of other hands, whose lessons tell the rule, makes answers right more often "
            "than none, and than as long a memory of another rule",
            e[OTHER],
            never_there(other_rule, max(float(had[kind]) for kind in ("none", OTHER, MIXED))),
            f"{MIXED} minus {OTHER}; over none {100 * e['none'].value:+.1f}; right: {said}; "
            f"{told}{never}",
        ),
        row(
            "memory-is-more-than-its-words",
            "A memory makes answers right more often than none, and than its words in disorder",
            e[SHUFFLED],
            never_there(
                every(positive(e["none"]), positive(e[SHUFFLED])),
                max(float(had[kind]) for kind in ("none", SHUFFLED, MIXED)),
            ),
            f"{MIXED} minus {SHUFFLED}; right: {said}{never}",
        ),
        row(
            "asymmetric-memory-beats-symmetric",
            "Successes verbatim with failures as lessons beat the better of both kept alike "
            "(arXiv 2602.08234)",
            asymmetry,
            never_there(positive(asymmetry), max(float(had[kind]) for kind in [MIXED, *SYMMETRIC])),
            f"{MIXED} minus {' or '.join(sorted(set(symmetric['kind'])))}, picked by other seeds "
            f"and hands; right: {said}{never}",
        ),
        row(
            "failures-teach-as-lessons",
            "Failures teach more as lessons, which tell the rule, than verbatim, however successes "
            "are kept",
            lesson,
            never_there(positive(lesson), max(float(had[cell(*kept)]) for kept in CELLS)),
            f"mean of both ways to keep successes; right: {said}{never}",
        ),
    ]


def better(rows: pd.DataFrame) -> stats.Choice:
    """Return which symmetric memory is better, on other seeds and the other half of the hands."""

    def score(kind: str, seeds: list[int], half: str) -> float:
        return stats.mean_of_seeds(
            stats.of_part(rows[rows["kind"] == kind], seeds, half), "correct"
        )

    return stats.picked_elsewhere(score, SYMMETRIC, sorted(rows["seed"].unique()))


def _gain(rows: pd.DataFrame, before: str, after: str, statistics: Statistics) -> Estimate:
    one, other = (rows[rows["kind"] == kind] for kind in (before, after))
    return stats.change(one, other, statistics)


def _of_failures(rows: pd.DataFrame, statistics: Statistics) -> Estimate:
    changes = [
        stats.paired(*(rows[rows["kind"] == cell(kept, how)] for how in ("verbatim", "lesson")))
        for kept in ("verbatim", "lesson")
    ]
    return stats.bootstrap(pd.concat(changes, ignore_index=True), "change", statistics)


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    return crossed(whole, "kind", "checkpoint", whole["checkpoint"].unique(), "accuracy")


SCHEMA = table(
    "memory",
    "Accuracy of one checkpoint on held-out hands after one kind of text.",
    (
        TRACK,
        CHECKPOINT,
        choice("kind", KINDS, "; ".join(f"{kind}: {about}" for kind, about in KINDS.items())),
        SEED,
        N,
        share("accuracy", "greedy answers under a rule that the prompt only names"),
        *interval(),
        count("tokens", "of the text", "tokens"),
        share("leaks", "hands whose text names a number that one of their face cards counts as"),
    ),
    "track", "checkpoint", "kind", "seed",
)  # fmt: skip

FINDING = Finding(
    name="memory",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and _tracks(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "memory-(helps|is-more-than-its-words)",
        "asymmetric-memory-beats-symmetric",
        "failures-teach-as-lessons",
    ),
    order=38,
    title="Memory before a problem",
    section=section,
)
