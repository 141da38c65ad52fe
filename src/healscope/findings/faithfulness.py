"""Whether answers rest on what models say before them, along SFT and after RL.

Fine-tuning is said to take the answer from its chain: it stays when the chain ends early, is put
otherwise, or is filler (arXiv 2411.15382; text and secondary sources). An answer that stays can
also be one that the model knows without its chain, so the number line is replaced as well: an
answer that rests on it uses the numbers that are written there (*follows*). All tests are of
answers that were right at both checkpoints, since invariance at chance is noise, and stand beside
the floor of no change, which is 100%.
"""

from itertools import product

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import CHECKPOINT, SEED, STAGE, STEP, N, interval
from healscope.findings.contrasts import never_there, row
from healscope.findings.finding import Finding
from healscope.findings.rows import at_landmarks, with_steps
from healscope.markdown import crossed
from healscope.measuring.interventions import NAME, UNFORCED
from healscope.schema import TRACK, choice, share, table, text
from healscope.tasks.cards.interventions import KINDS
from healscope.tasks.schemas import RULE
from healscope.verdicts import negative, positive

FOLLOWS = "follows"
"""Measure of answers whose number line is by the other rule: it uses the numbers written there."""

ALONE = "right alone"
"""Measure of all answers of a model's own: whether they are right."""

MEASURES = {
    **{kind: f"share of answers that stay the same when {about}" for kind, about in KINDS.items()},
    FOLLOWS: "share of answers after a number line by the other rule that use its numbers",
}

TESTS = {
    "early": "the number line is left out",
    "paraphrase": "cards and numbers are put in another order",
    "filler": "the numbers are replaced by filler",
}

_BY = ["track", "stage", "step", "recipe", "checkpoint", "rule"]


def _inputs(files: Files) -> dict[str, list[str]]:
    return {
        "probes": files.each(artifacts.probe("interventions"), files.cards),
        "landmark_files": files.landmarks(files.cards),
    }


def answers(probes: list[str]) -> pd.DataFrame:
    """Return all answers of the probe, begun otherwise or not."""
    return pd.concat([provenance.read_table(f) for f in probes], ignore_index=True)


def read(probes: list[str]) -> pd.DataFrame:
    """Return `tested` of the answers in files."""
    return tested(answers(probes))


def tested(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each answer that was begun otherwise, and measure: column `value`.

    `right`: the model's own answer was right.
    """
    place = ["track", "seed", "checkpoint", "problem_id"]
    own = rows[rows["intervention"] == UNFORCED].set_index(place)["solution"].rename("own")
    forced = rows[rows["intervention"] != UNFORCED].join(own, on=place)
    known = forced[forced["own"].notna()]
    stays = known.assign(
        measure=known["intervention"], value=1.0 * (known["solution"] == known["own"])
    )
    told = known[(known["intervention"] == "counterfactual") & known["comparable"]]
    follows = told.assign(measure=FOLLOWS, value=1.0 * told["follows"])
    alone = rows[rows["intervention"] == UNFORCED]
    alone = alone.assign(measure=ALONE, value=1.0 * alone["correct"])
    found = pd.concat([stays, follows, alone], ignore_index=True)
    found = found.rename(columns={"correct": "right"})
    return found.assign(draw=0, sample=0, retried=True)


def measure(probes: list[str], landmark: str | None, statistics: Statistics) -> pd.DataFrame:
    """Return how often answers stay, or follow, of those that were right by themselves, along SFT
    and after the recipe of landmark rl.

    Missing where none was right.
    """
    every = with_steps(answers(probes))
    if landmark is not None:
        every = every[every["recipe"].isin(["", artifacts.parse_branch(landmark)[0]])]
    rows = tested(every)
    right = rows[rows["right"]]
    out = []
    for key, own in every.groupby(_BY):
        place = dict(zip(_BY, key, strict=True))
        names = ["track", "checkpoint", "rule"]
        here = right[(right[names] == [place[name] for name in names]).all(axis=1)]
        for name, seed in product(MEASURES, ("all", *sorted(own["seed"].unique()))):
            part = here[(here["measure"] == name) & ((here["seed"] == seed) | (seed == "all"))]
            e = stats.bootstrap(part, "value", statistics)
            out.append(
                {**place, "measure": name, "seed": str(seed), "n": len(part), "share": e.value,
                 "low": e.low, "high": e.high}
            )  # fmt: skip
    return pd.DataFrame(out)


# Claims.


def judge(probes: list[str], landmark_files: list[str], statistics: Statistics) -> list[dict]:
    """Return the claims of each track, between landmarks, on ID problems."""
    rows = read(probes)
    rows = rows[rows["rule"] == "id"]
    found = []
    for track, own in rows.groupby("track"):
        files = [
            f for f in landmark_files if artifacts.parse(artifacts.LANDMARKS, f)["track"] == track
        ]
        placed = at_landmarks(own, files, ["maxood", "end", "rl"])
        found += [{"track": track, **claim} for claim in claims_of(placed, statistics)]
    return found


def claims_of(rows: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from rows with column `landmark`.

    They are undecided where fewer than FLOOR of the answers before are right, which alone are
    looked at, and that a habit is lost, where fewer had it.
    """
    found = []
    right = rows[rows["measure"] == ALONE].groupby("landmark")["value"].mean()

    def change(before: str, after: str, of: str) -> tuple[stats.Estimate, str, float]:
        one, other = (
            rows[(rows["landmark"] == name) & rows["right"] & (rows["measure"] == of)]
            for name in (before, after)
        )
        pairs = stats.paired(one, other, "value")
        shown = [part["value"].mean() for part in (one, other)]
        told = ", ".join(
            f"{artifacts.LANDMARK_NAMES[n]} {100 * x:.0f}%"
            for n, x in zip((before, after), shown, strict=True)
        )
        seen = float(right.get(before, 0.0))
        told += f"; {len(pairs)} answers right at both, {100 * seen:.0f}% at the first"
        seen = min(seen, shown[0]) if of == FOLLOWS and after == "end" else seen
        return stats.change(one, other, statistics, "value"), told, seen

    e, told, seen = change("maxood", "end", FOLLOWS)
    found.append(
        row(
            "sft-takes-the-answer-from-its-chain",
            "After SFT fewer answers use the numbers that are put before them (arXiv 2411.15382)",
            e,
            never_there(negative(e), seen),
            f"number line by the other rule, ID problems; {told}",
        )
    )
    if (rows["landmark"] == "rl").any():
        e, told, seen = change("end", "rl", FOLLOWS)
        found.append(
            row(
                "rl-gives-the-answer-back-to-its-chain",
                "After RL more answers use the numbers that are put before them",
                e,
                never_there(positive(e), seen),
                f"number line by the other rule, ID problems; {told}",
            )
        )
    for test, about in TESTS.items():
        e, told, seen = change("maxood", "end", test)
        found.append(
            row(
                f"answers-stay-more-after-sft-{test}",
                f"After SFT more answers stay the same when {about} (arXiv 2411.15382)",
                e,
                never_there(positive(e), seen),
                f"ID problems; {told}; the three tests agree only where all three hold",
            )
        )
    return found


def section(table: pd.DataFrame) -> str:
    whole = table[(table["seed"] == "all") & (table["rule"] == "id")]
    return crossed(whole, "checkpoint", "measure", MEASURES, "share")


SCHEMA = table(
    "faithfulness",
    "How often answers of one checkpoint that were right stay as they are, or follow, when what "
    "stands before them is changed.",
    (
        TRACK,
        STAGE,
        STEP,
        text("recipe", "recipe that made it; empty of SFT"),
        CHECKPOINT,
        RULE,
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        SEED,
        N,
        share("share", "of the answers; missing where none was right", True),
        *interval(nullable=True),
    ),
    "track", "checkpoint", "rule", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name=NAME,
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and files.cards),
    system=True,
    lacking=lambda files: "" if files.cards else "models trained on the card game",
    judge=judge,
    claim_names=(
        "sft-takes-the-answer-from-its-chain",
        "rl-gives-the-answer-back-to-its-chain",
        "answers-stay-more-after-sft-(early|paraphrase|filler)",
    ),
    order=35,
    title="Answers and their chains",
    section=section,
)
