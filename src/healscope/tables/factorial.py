"""Rule and composition, apart: the paper's OOD test changes both at once.

Its ID hands are any cards, its OOD hands hold at least one face card (arXiv 2509.12235, appendix
C.1). Here the same held-out deals are asked under both rules, so four cells can be filled and the
two factors told apart. Deals (which both rules solve) weigh by the number of hands that show them;
a target counts as much as its deals do.
"""

from collections import Counter
from math import factorial, prod

import pandas as pd

from healscope import stats
from healscope.config import Statistics
from healscope.tables.rows import first_attempts, with_steps

BY = ["track", "stage", "step", "checkpoint"]

# name -> (cells added, cells taken away): each a (rule, composition)
EFFECTS = {
    "rule, any hand": (("ood", "any"), ("id", "any")),
    "rule, hands with a face card": (("ood", "face"), ("id", "face")),
    "composition, ID rule": (("id", "face"), ("id", "any")),
    "composition, OOD rule": (("ood", "face"), ("ood", "any")),
    "published contrast (both at once)": (("ood", "face"), ("id", "any")),
}


def factorial_design(evaluations: list[str], settings: Statistics) -> pd.DataFrame:
    """The four cells (kind "cell") and the effects between them (kind "effect"), with intervals."""
    rows = with_steps(first_attempts(evaluations, faceless=True))
    rows = rows[(rows["split"] == "held_out") & rows["stage"].isin(["sft", "rl"])]
    out = []
    for key, group in rows.groupby(BY):
        place, deals = dict(zip(BY, key, strict=True)), design(group)
        for rule in ("id", "ood"):
            for composition in ("any", "face"):
                name = f"{rule}/{composition}"
                out += _rows(place, "cell", name, deals, settings, weight=name)
        for name, (plus, minus) in EFFECTS.items():
            weights = {"weight": "/".join(plus), "minus": "/".join(minus)}
            out += _rows(place, "effect", name, deals, settings, **weights)
    return pd.DataFrame(out)


def design(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each seed, deal and rule at one checkpoint, with the deal's weight in each cell.

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
    place: dict, kind: str, name: str, group: pd.DataFrame, settings: Statistics, **weights: str
) -> list[dict]:
    found = []
    for seed in ("all", *map(str, sorted(group["seed"].unique()))):
        own = group if seed == "all" else group[group["seed"].astype(str) == seed]
        e = stats.bootstrap(own, "correct", settings, **weights)
        found.append(
            {**place, "kind": kind, "name": name, "seed": seed, "value": e.value,
             "low": e.low, "high": e.high, "instances": e.instances}
        )  # fmt: skip
    return found


def hand_of(problem_id: str) -> tuple[str, ...]:
    """Returns the cards of a problem ("A-5-K>24:id") whatever their order."""
    return tuple(sorted(problem_id.split(">")[0].split("-")))


def ways_to_deal(cards: tuple[str, ...]) -> float:
    """Returns the number of orders in which these cards can come: their weight among iid hands."""
    return factorial(len(cards)) / prod(factorial(n) for n in Counter(cards).values())
