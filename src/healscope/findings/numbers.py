"""Does SFT forget other rules, or to compute with card values that its answers never have?

The published OOD rule changes both at once: it asks for a rule other than the trained one, and for
card values (11, 12, 13) that no card has in answers of SFT. Neighbours of the training rule tell
them apart: rules at the same distance from it, on either side, whose values cards do or do not have
in answers of SFT.
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, N, interval
from healscope.findings.contrasts import FLOOR, never_there, of_tracks, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, with_steps
from healscope.markdown import crossed
from healscope.schema import TRACK, Column, choice, share, table, text
from healscope.tasks.cards.neighbours import ANCHOR
from healscope.verdicts import negative, positive, signed

TRAINED, SEEN, UNSEEN = "training rule", "numbers seen", "numbers unseen"
NUMBERS = (TRAINED, SEEN, UNSEEN)

ALL = "all"
"""Kind of neighbour, at distance 0: all matched rules together."""

_RULES = ("equal rule", "unequal rule")
_BY = ["track", "stage", "step", "checkpoint", "numbers", "neighbour", "distance"]


def read(evaluations: list[str], tasks: dict[str, dict]) -> pd.DataFrame:
    """Return greedy answers under the training rule, and under rules of which some at the same
    distance have card values that occur in answers of SFT and some have not; with column `numbers`.
    Of a track without such pairs, all rules of seen values count and no others: these may be nearer
    or farther away, so that nothing can be compared.

    A number is seen if a card counts as much under the training rule. `tasks`: name -> settings.
    """
    columns = ["neighbour", "distance", "follows_rule"]
    rows = with_steps(first_attempts(evaluations, columns, faceless=True))
    rows = rows[rows["neighbour"].isin((ANCHOR, *_RULES))]
    values = rows["problem_id"].str.rpartition(":")[2]
    seen = {task: {*range(1, 11), *section["id_rule"].values()} for task, section in tasks.items()}

    def of(task: str, said: str, neighbour: str) -> str:
        if neighbour == ANCHOR:
            return TRAINED
        return SEEN if {int(v) for v in said.split("-")} <= seen[task] else UNSEEN

    named = zip(rows["task"], values, rows["neighbour"], strict=True)
    rows = rows.assign(numbers=[of(*one) for one in named])
    sides = rows.groupby(["track", "neighbour", "distance"])["numbers"].transform("nunique")
    matched = sides > 1
    alone = ~matched.groupby(rows["track"]).transform("any")
    kept = matched | (alone & (rows["numbers"] == SEEN)) | (rows["numbers"] == TRAINED)
    return rows[kept].reset_index(drop=True)


def measure(evaluations: list[str], tasks: dict[str, dict], statistics: Statistics) -> pd.DataFrame:
    """Return accuracy at every checkpoint under the training rule, and under rules of seen and of
    unseen numbers: all that are matched together, and those of each kind and distance."""
    rows = read(evaluations, tasks)
    together = rows.assign(neighbour=ALL, distance=0)
    parts = [together, rows[rows["numbers"] != TRAINED]]
    return summarise(pd.concat(parts), _BY, statistics).rename(columns={"mean": "accuracy"})


def judge(
    evaluations: list[str],
    tasks: dict[str, dict],
    landmark: str | None,
    contrast: tuple[int, int],
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track, between the two steps of `contrast`, and about RL."""
    rows = read(evaluations, tasks)
    ends = [(*map(artifacts.sft, contrast), "SFT")]
    if landmark is not None:
        start = artifacts.sft(artifacts.parse_branch(landmark)[1])
        ends.append((start, landmark, "RL"))
    return of_tracks(rows, claims_of, ends, statistics)


def claims_of(
    rows: pd.DataFrame, ends: list[tuple[str, str, str]], statistics: Statistics
) -> list[dict]:
    """Return the claims of one track. `ends`: checkpoints before and after, and "SFT" or "RL"."""
    if SEEN not in set(rows["numbers"]):
        return []
    found = []
    for first, second, what in ends:
        before, after = (rows[rows["checkpoint"] == name] for name in (first, second))
        changes = stats.paired(before, after, carried=("numbers", "neighbour"))
        asked = before["seed"].unique()
        had = before.groupby("numbers")["correct"].mean()
        seen, unseen = (
            stats.bootstrap(changes[changes["numbers"] == kind], "change", statistics).among(asked)
            for kind in (SEEN, UNSEEN)
        )
        told = (
            f"{first} to {second}: {signed(seen)} from {100 * had[SEEN]:.0f}%; number lines that "
            f"follow the rule: {_lines(before, after, SEEN)}"
        )
        if what == "SFT":
            found.append(
                row(
                    "sft-forgets-other-rules",
                    "SFT lowers accuracy under other rules whose card values its answers have",
                    seen,
                    never_there(negative(seen), float(had[SEEN])),
                    told,
                )
            )
        else:
            found.append(
                row(
                    "rl-raises-other-rules",
                    "RL on the training rule raises accuracy under other rules whose card values "
                    "its right answers have",
                    seen,
                    positive(seen),
                    told,
                )
            )
        if UNSEEN not in set(rows["numbers"]):
            continue
        equal = _gap(changes[changes["neighbour"] == "equal rule"], statistics)
        told = (
            f"{told}. With card values that they never have: {signed(unseen)} from "
            f"{100 * had[UNSEEN]:.0f}%, number lines {_lines(before, after, UNSEEN)}; the "
            f"difference where J, Q and K count alike: {signed(equal)}"
        )
        if what == "SFT":
            gap = _gap(changes, statistics).among(asked)
            found.append(
                row(
                    "sft-forgets-unseen-numbers",
                    "SFT lowers accuracy more under rules with card values that its answers never "
                    "have than under rules as far from the trained one without such values",
                    gap,
                    never_there(negative(gap), float(had[UNSEEN])),
                    f"{told}; below {100 * FLOOR:.0f}% at first there is nothing to lose",
                )
            )
        else:
            more = _gap(changes, statistics, SEEN, UNSEEN).among(asked)
            found.append(
                row(
                    "rl-heals-seen-numbers-more",
                    "RL on the training rule raises accuracy more under other rules whose card "
                    "values its right answers have than under rules as far away with others",
                    more,
                    positive(more),
                    told,
                )
            )
    return found


def _lines(before: pd.DataFrame, after: pd.DataFrame, numbers: str) -> str:
    """Return the share of answers whose number line follows the rule, before and after."""
    ends = (rows[rows["numbers"] == numbers]["follows_rule"] for rows in (before, after))
    return " to ".join(f"{100 * end.astype(float).mean():.0f}%" for end in ends)


def _gap(
    changes: pd.DataFrame, statistics: Statistics, one: str = UNSEEN, other: str = SEEN
) -> stats.Estimate:
    """Return the mean change under rules of the one kind minus that of the other."""
    weighed = changes.assign(
        one=1.0 * (changes["numbers"] == one), other=1.0 * (changes["numbers"] == other)
    )
    weighed = weighed[(weighed["one"] + weighed["other"]) > 0]
    return stats.bootstrap(weighed, "change", statistics, weight="one", minus="other")


def _inputs(files: Files) -> dict[str, list[str]]:
    checkpoints = [*files.sft(), *files.study.main_branches]
    protocol = files.neighbours[:1]
    return {
        "evaluations": files.each(
            artifacts.EVALUATION, files.cards, protocol=protocol, checkpoint=checkpoints
        )
    }


def _asked(files: Files) -> bool:
    there = files.trained and files.cards and files.neighbours
    return bool(there and files.study.claims.contrast)


def section(table: pd.DataFrame) -> str:
    whole = table[(table["seed"] == "all") & (table["neighbour"] == ALL)]
    return crossed(whole, "checkpoint", "numbers", NUMBERS, "accuracy")


SCHEMA = table(
    "numbers",
    "Accuracy of one checkpoint on held-out hands under the training rule, and under rules as far "
    "from it with and without card values that answers of SFT never have.",
    (
        TRACK,
        STAGE,
        STEP,
        CHECKPOINT,
        choice("numbers", NUMBERS, "whether a card has such values in answers of SFT"),
        text("neighbour", "equal rule: J, Q and K count alike; unequal rule; all: both together"),
        Column("distance", "int", "of the rule from the training rule; 0: all together"),
        SEED,
        N,
        share("accuracy", "greedy first attempts"),
        *interval(),
    ),
    "track", "checkpoint", "numbers", "neighbour", "distance", "seed",
)  # fmt: skip

FINDING = Finding(
    name="numbers",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=_asked,
    judge=judge,
    claim_names=(
        "sft-forgets-(unseen-numbers|other-rules)",
        "rl-(heals-seen-numbers-more|raises-other-rules)",
    ),
    order=21.5,
    title="Other rules, with and without card values that answers of SFT never have",
    section=section,
)
