"""What SFT and RL do to the same hands with a card less.

RL is said to improve a task and to collapse on the same task with one part less (arXiv 2603.23004;
secondary sources alone). Every held-out hand is asked whole and with one card less, so that both
are compared on the same hands. "The gain does not carry over" and "it collapses" are two claims: of
a gain that is smaller with a card less, and of an accuracy that falls.
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
from healscope.schema import TRACK, choice, share, table, text
from healscope.tasks.cards.neighbours import ANCHOR, WITHOUT_ONE
from healscope.verdicts import every, negative, positive

HANDS = {ANCHOR: "whole", WITHOUT_ONE: "a card less"}
CEILING = "a card less, taught"
"""Hands with a card less, after SFT on such hands."""

_BY = ["track", "stage", "step", "recipe", "checkpoint", "hand"]


def protocols(files: Files) -> list[str]:
    """Return the protocols that ask hands with a card less; the first counts."""
    protocols = files.study.evaluation.protocols.items()
    return [name for name, p in protocols if p.problems == "without_one"]


def _inputs(files: Files) -> dict[str, list[str]]:
    return {
        "evaluations": files.each(
            artifacts.EVALUATION,
            files.cards,
            protocol=protocols(files)[:1],
            checkpoint=[*files.sft(), *files.study.main_branches, *_ceilings(files)],
        )
    }


def _ceilings(files: Files) -> list[str]:
    """Return the branches of SFT on hands with a card less: whether they can be learned."""
    recipes = files.study.rl.recipes if files.study.rl else {}
    less = [name for name, recipe in recipes.items() if getattr(recipe, "examples", "") == "less"]
    return [b for b in files.study.branches if artifacts.parse_branch(b)[0] in less]


def _lacking(files: Files) -> str:
    if not files.cards:
        return "models trained on the card game"
    if not protocols(files):
        return "a protocol, as evaluation.protocols.less: {problems: without_one}"
    return ""


def read(evaluations: list[str], recipes: dict[str, dict]) -> pd.DataFrame:
    """Return greedy answers to both kinds of hands, with column `hand`; CEILING after a control,
    since the only one that is read is SFT on hands with a card less."""
    rows = with_steps(first_attempts(evaluations, ["neighbour"], faceless=True))
    rows = rows.assign(hand=rows["neighbour"].map(HANDS))
    taught = rows["recipe"].map(lambda name: name and recipes[name]["kind"] == "control")
    taught = taught.astype(bool)
    rows.loc[taught & (rows["hand"] == HANDS[WITHOUT_ONE]), "hand"] = CEILING
    return rows[~taught | (rows["hand"] == CEILING)].reset_index(drop=True)


def measure(
    evaluations: list[str], recipes: dict[str, dict], statistics: Statistics
) -> pd.DataFrame:
    """Return accuracy on whole hands and on those with a card less, of every checkpoint."""
    found = summarise(read(evaluations, recipes), _BY, statistics)
    return found.rename(columns={"mean": "accuracy"})


# Claims.


def judge(
    evaluations: list[str],
    recipes: dict[str, dict],
    landmark: str | None,
    statistics: Statistics,
) -> list[dict]:
    """Return the claims of each track, on the branch behind landmark rl."""
    if landmark is None:
        return []
    rows = read(evaluations, recipes)
    start = artifacts.sft(artifacts.parse_branch(landmark)[1])
    return of_tracks(rows, claims_of, start, landmark, statistics)


def claims_of(rows: pd.DataFrame, start: str, end: str, statistics: Statistics) -> list[dict]:
    """Return the claims about RL from checkpoint `start` to `end`, of one track."""
    before, after = (rows[rows["checkpoint"] == name] for name in (start, end))
    changes = stats.paired(before, after, carried=("hand",))
    had = before.groupby("hand")["correct"].mean()
    left = float(had[HANDS[WITHOUT_ONE]])
    whole, less = (changes[changes["hand"] == hand] for hand in HANDS.values())
    asked = before["seed"].unique()

    def gained(rows: pd.DataFrame) -> stats.Estimate:
        """Return the change of whole hands minus that of hands with a card less."""
        e = stats.bootstrap(both(rows), "change", statistics, weight="whole", minus="less")
        return e.among(asked)

    gap = gained(changes)
    falls = stats.bootstrap(less, "change", statistics).among(asked)
    told = (
        f"{start} to {end}: whole hands {100 * had[HANDS[ANCHOR]]:.0f}% before, change "
        f"{100 * whole['change'].mean():+.1f}; with a card less {100 * left:.0f}%, change "
        f"{100 * less['change'].mean():+.1f}"
    )
    taught = rows[rows["hand"] == CEILING]
    if len(taught):
        told += f"; taught such hands, SFT reaches {100 * taught['correct'].mean():.0f}%"
    never = f"; below {100 * FLOOR:.0f}% at the start there is nothing to lose"
    wrong = _wrong_before(before, changes)
    at_equal = gained(wrong)
    return [
        row(
            "rl-gain-does-not-carry-over",
            "RL gains less on the same hands with a card less (arXiv 2603.23004)",
            gap,
            never_there(positive(gap), left),
            told + never,
        ),
        row(
            "rl-gain-does-not-carry-over-where-wrong",
            "RL corrects fewer of the hands with a card less, of those that were wrong before",
            at_equal,
            never_there(positive(at_equal), left),
            "share of hands wrong at the start that are right after, whole minus a card less: "
            "whatever share was right before; " + told,
        ),
        row(
            "rl-collapses-on-a-card-less",
            "RL lowers accuracy on the same hands with a card less, and changes whole ones by more "
            "(arXiv 2603.23004)",
            falls,
            never_there(every(negative(falls), positive(gap)), left),
            told + never,
        ),
    ]


def both(changes: pd.DataFrame) -> pd.DataFrame:
    """Return changes with the weights `whole` and `less`, whose difference is compared."""
    return changes.assign(
        whole=1.0 * (changes["hand"] == HANDS[ANCHOR]),
        less=1.0 * (changes["hand"] == HANDS[WITHOUT_ONE]),
    )


def _wrong_before(before: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    wrong = before.loc[~before["correct"], ["seed", "problem_id", "draw"]]
    return changes.merge(wrong, on=["seed", "problem_id", "draw"])


def section(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"]
    return crossed(whole, "checkpoint", "hand", [*HANDS.values(), CEILING], "accuracy")


SCHEMA = table(
    "without-one",
    "Accuracy of one checkpoint on held-out hands, whole and with a card less.",
    (
        TRACK,
        STAGE,
        STEP,
        text("recipe", "recipe that made it; empty of SFT"),
        CHECKPOINT,
        choice("hand", [*HANDS.values(), CEILING], "whether a card was taken; taught: after SFT "
               "on such hands, which most of these are among"),
        SEED,
        N,
        share("accuracy", "greedy first attempts, under the ID rule"),
        *interval(),
    ),
    "track", "checkpoint", "hand", "seed",
)  # fmt: skip

FINDING = Finding(
    name="without-one",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and files.cards and protocols(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "rl-gain-does-not-carry-over(-where-wrong)?",
        "rl-collapses-on-a-card-less",
    ),
    order=34,
    title="The same hands with a card less",
    section=section,
)
