"""Rule and composition, apart: the paper's OOD test changes both at once.

Its ID hands are any cards, its OOD hands hold at least one face card (arXiv 2509.12235, appendix
C.1). Here the same held-out deals are asked under both rules, so four cells can be filled and the
two factors told apart. Deals (which both rules solve) weigh by the number of hands that show them;
a target counts as much as its deals do.
"""

from collections import Counter
from math import factorial, prod

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.findings.columns import (
    CHECKPOINT,
    INSTANCES,
    SEED,
    STAGE,
    STEP,
    interval,
)
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, with_steps
from healscope.markdown import estimate, grid
from healscope.schema import (
    TRACK,
    change,
    choice,
    table,
)
from healscope.verdicts import margin, negative, signed

BY = ["track", "stage", "step", "checkpoint"]

# name -> (cells added, cells taken away): each a (rule, composition)
EFFECTS = {
    "rule, any hand": (("ood", "any"), ("id", "any")),
    "rule, hands with a face card": (("ood", "face"), ("id", "face")),
    "composition, ID rule": (("id", "face"), ("id", "any")),
    "composition, OOD rule": (("ood", "face"), ("ood", "any")),
    "published contrast (both at once)": (("ood", "face"), ("id", "any")),
}


def factorial_design(evaluations: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return the four cells (kind "cell") and the effects between them (kind "effect"), with
    intervals."""
    rows = with_steps(first_attempts(evaluations, faceless=True))
    rows = rows[(rows["split"] == "held_out") & rows["stage"].isin(["sft", "rl"])]
    out = []
    for key, group in rows.groupby(BY):
        place, deals = dict(zip(BY, key, strict=True)), design(group)
        for rule in ("id", "ood"):
            for composition in ("any", "face"):
                name = f"{rule}/{composition}"
                out += _rows(place, "cell", name, deals, statistics, weight=name)
        for name, (plus, minus) in EFFECTS.items():
            weights = {"weight": "/".join(plus), "minus": "/".join(minus)}
            out += _rows(place, "effect", name, deals, statistics, **weights)
    return pd.DataFrame(out)


def design(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each seed, deal and rule at one checkpoint, with the deal's weight in each
    cell.

    Columns seed, instance_id, rule, correct (mean over the orders: deals with a face card are asked
    in several) and the weights "id/any", "id/face", "ood/any", "ood/face".
    """
    hand = rows["problem_id"].map(hand_of)
    units = ["seed", "rule", "instance_id", "hand", "n_faces"]
    deals = rows.assign(hand=hand).groupby(units, as_index=False)["correct"].mean()
    ways = deals["hand"].map(ways_to_deal)
    for rule in ("id", "ood"):
        asked = deals["rule"] == rule
        deals[f"{rule}/any"] = ways.where(asked, 0.0)
        # the forced face card can be any of the hand's
        deals[f"{rule}/face"] = (ways * deals["n_faces"]).where(asked, 0.0)
    return deals


def _rows(
    place: dict, kind: str, name: str, group: pd.DataFrame, statistics: Statistics, **weights: str
) -> list[dict]:
    found = []
    for seed in ("all", *map(str, sorted(group["seed"].unique()))):
        own = group if seed == "all" else group[group["seed"].astype(str) == seed]
        e = stats.bootstrap(own, "correct", statistics, **weights)
        found.append(
            {**place, "kind": kind, "name": name, "seed": seed, "value": e.value,
             "low": e.low, "high": e.high, "instances": e.instances}
        )  # fmt: skip
    return found


def hand_of(problem_id: str) -> tuple[str, ...]:
    """Return the cards of a problem ("A-5-K>24:id") whatever their order."""
    return tuple(sorted(problem_id.split(">")[0].split("-")))


def ways_to_deal(cards: tuple[str, ...]) -> float:
    """Return the number of orders in which these cards can come: their weight among iid hands."""
    return factorial(len(cards)) / prod(factorial(n) for n in Counter(cards).values())


def composition(d: Data) -> list[dict]:
    """Return the control that the published test lacks: same hands, other rule (of the card
    game)."""
    if not d.cards:
        return []
    last = d.faceless[d.faceless["checkpoint"] == artifacts.sft(d.steps[-1])]
    names = {"weight": "ood/face", "minus": "id/face"}
    rule = stats.bootstrap(design(last), "correct", d.settings, **names)
    names = {"weight": "ood/face", "minus": "id/any"}
    both = stats.bootstrap(design(last), "correct", d.settings, **names)
    return [
        row(
            "the-gap-is-the-rule",
            "After SFT the OOD rule costs accuracy on the very same hands (control: the published "
            "OOD test changes rule and hands at once)",
            rule,
            negative(rule, margin(d.fall)),
            f"OOD minus ID at the end of SFT, hands with a face card; as published, against any "
            f"hands under the ID rule: {signed(both)}",
        )
    ]


def section(table: pd.DataFrame) -> str:
    sft = table[(table["stage"] == "sft") & (table["seed"] == "all")]
    last = sft[sft["step"] == sft["step"].max()]
    rows = [
        (r["name"], estimate(r, "value", "+.1f" if r["kind"] == "effect" else ".1f"))
        for r in last.to_dict("records")
    ]
    return grid(["cell or effect", "accuracy or change"], rows)


SCHEMA = table(
    "factorial",
    "One cell of rule by hands (cell), or a difference between two (effect), at one "
    "checkpoint, on held-out deals weighed as the published sampling draws them.",
    (
        TRACK, STAGE, STEP, CHECKPOINT,
        choice("kind", ("cell", "effect"), "which of them"),
        choice(
            "name",
            (
                *("/".join((r, c)) for r in ("id", "ood") for c in ("any", "face")),
                *EFFECTS,
            ),
            "the cell, as rule/hands, or the effect",
        ),
        SEED,
        change("value", "accuracy, or a difference; missing where no deal has weight", True),
        *interval(change, True),
        INSTANCES,
    ),
    "track", "checkpoint", "kind", "name", "seed",
)  # fmt: skip

FINDING = Finding(
    name="factorial",
    schema=SCHEMA,
    make=factorial_design,
    inputs=lambda files: {"evaluations": files.evaluations(files.along, files.cards)},
    asked=lambda files: bool(files.cards),
    order=3,
    claims=(composition,),
    claim_names=("the-gap-is-the-rule",),
    title="Rule and composition, at the last SFT step",
    section=section,
)
