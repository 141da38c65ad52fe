"""The paper's claims (arXiv 2509.12235), each measured and judged by the rules of `verdicts`.

A checkpoint that is picked for its accuracy is judged on the half of the deals that did not pick
it.
"""

import pandas as pd

from healscope import artifacts, gate, stats, verdicts
from healscope.claims.contrasts import Data, mean
from healscope.stats import Estimate
from healscope.tables.factorial import design
from healscope.tables.rows import any_attempt
from healscope.verdicts import (
    FAILED,
    OPEN,
    YES,
    at_most,
    moves,
    negative,
    negligible,
    positive,
    signed,
)


def forgetting(d: Data) -> list[dict]:
    """Section 3.2: OOD accuracy peaks early and falls, while ID accuracy rises."""
    last, peaks = d.everywhere(artifacts.sft(d.steps[-1])), d.landmark("maxood")
    fall = d.change(d.at("ood", peaks), d.at("ood", last))
    verdict = negative(fall)
    if verdict in YES and any(step > d.steps[-1] / 3 for step in d.peak_steps()):
        verdict = FAILED
    where = ", ".join(map(str, d.peak_steps()))
    found = [
        row(
            "ood-peaks-early-then-falls",
            "OOD accuracy peaks in the first third of SFT and then falls (section 3.2)",
            fall,
            verdict,
            f"peak at step {where} of {d.steps[-1]}; change from the peak to the end",
        )
    ]
    for rows, which in ((d.train_rows, "train"), (d.rows, "held-out")):
        rise = d.change(d.at("id", peaks, rows), d.at("id", last, rows))
        problems = "problems it was trained on" if which == "train" else "held-out problems"
        found.append(
            row(
                f"id-rises-meanwhile-{which}",
                f"ID accuracy on {problems} rises while OOD falls (section 3.2)",
                rise,
                positive(rise),
                "change of ID accuracy from the OOD peak to the end",
            )
        )
    return found


def phenomena(d: Data) -> list[dict]:
    """What the gate asks: is there anything that the weights of a stage could explain?"""
    found = []
    for phenomenon, (stage, judge) in gate.PHENOMENA.items():
        first, second = artifacts.STAGES[stage]
        change = d.change(d.at("ood", d.landmark(first)), d.at("ood", d.landmark(second)))
        names = artifacts.LANDMARK_NAMES
        found.append(
            row(
                f"gate-{phenomenon}",
                f"Gate: there is OOD {phenomenon} between {names[first]} and {names[second]}",
                change,
                judge(change),
                f"what is said of the weights in the {stage.upper()} stage explains something only "
                "where this held",
            )
        )
    return found


def composition(d: Data) -> list[dict]:
    """The control that the published test lacks: same hands, other rule (of the card game)."""
    if not d.cards:
        return []
    last = d.faceless[d.faceless["variant"] == artifacts.sft(d.steps[-1])]
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
            negative(rule),
            f"OOD minus ID at the end of SFT, hands with a face card; as published, against any "
            f"hands under the ID rule: {signed(both)}",
        )
    ]


def steps(d: Data) -> list[dict]:
    """Appendix D.1: the number step forgets the rule while the formula step improves (of the card
    game, whose answers have these steps)."""
    if not d.cards:
        return []
    last, peaks = d.everywhere(artifacts.sft(d.steps[-1])), d.landmark("maxood")
    parts = {"number": [], "formula": []}
    for choice in (peaks, last):
        rows = d.at("ood", choice)
        parsed = rows[rows["parsed"]]
        parts["number"].append(parsed.assign(value=parsed["follows_rule"].astype(float)))
        known = parsed[parsed["follows_rule"]]
        parts["formula"].append(known.assign(value=known["correct"].astype(float)))
    found = []
    for name, condition, judge, says in (
        ("number", "a well-formed answer", negative, "gets worse"),
        ("formula", "a right number line", positive, "gets better"),
    ):
        both = pd.concat(
            [f.assign(before=float(i == 0), after=float(i == 1)) for i, f in enumerate(parts[name])]
        )
        change = stats.bootstrap(both, "value", d.settings, weight="after", minus="before")
        found.append(
            row(
                f"{name}-step",
                f"OOD, the {name} step {says} as SFT goes on (appendix D.1)",
                change,
                judge(change),
                f"share of right {name} steps given {condition}; change from the OOD peak to the "
                "end (the paper describes the checkpoints before the peak)",
            )
        )
    return found


def loss(d: Data) -> list[dict]:
    """Section 3.2: the loss does not show where OOD accuracy peaks."""
    found = []
    for column, which in (("id_test_loss_nats", "test"), ("id_train_loss_nats", "training")):
        best = {
            seed: int(log.loc[log[column].idxmin(), "step"])
            for seed, log in d.signals.groupby("seed")
        }
        stop = d.by_seed({seed: artifacts.sft(step) for seed, step in best.items()})
        regret = d.change(d.at("ood", stop), d.at("ood", d.landmark("maxood")))
        found.append(
            row(
                f"{which}-loss-misses-the-peak",
                f"The ID {which} loss does not show the best OOD checkpoint (section 3.2)",
                regret,
                positive(regret),
                f"lowest loss at step {', '.join(map(str, best.values()))}; OOD accuracy lost by "
                "stopping there instead of at the peak",
            )
        )
    return found


def window(d: Data) -> list[dict]:
    """Section 3.2: RL heals from a window of starts, and does not exceed the SFT peak."""
    healing = {
        start: d.change(
            d.at("ood", d.everywhere(artifacts.sft(start))), d.at("ood", d.everywhere(branch))
        )
        for start, branch in d.branches.items()
    }
    if not healing:  # no run ended well
        return []
    starts = list(healing)
    shown = "; ".join(f"from {s} {signed(e)}" for s, e in healing.items())
    middle, ends = starts[1:-1] or starts, [healing[starts[0]], healing[starts[-1]]]

    def healed(rows: pd.DataFrame, start: int) -> float:
        before, after = artifacts.sft(start), d.branches[start]
        return mean(rows, "ood", after) - mean(rows, "ood", before)

    best = d.best_start(middle, healed)
    effect = d.change(
        d.at("ood", d.started(best, after=False)), d.at("ood", d.started(best, after=True))
    )
    highest = d.best_start(starts, lambda rows, start: mean(rows, "ood", d.branches[start]))
    above = d.change(d.at("ood", d.landmark("maxood")), d.at("ood", d.started(highest, after=True)))
    return [
        row(
            "rl-heals-inside-a-window",
            "RL raises OOD accuracy above its start for some starts, but neither for the earliest "
            "nor for the latest (section 3.2)",
            effect,
            verdicts.window(effect, ends),
            f"best start between the ends, {_either(best)}; all: {shown}",
        ),
        row(
            "rl-does-not-exceed-the-peak",
            "RL does not exceed the OOD accuracy of the best SFT checkpoint (section 3.2)",
            above,
            at_most(above),
            f"RL from the start that ends highest, {_either(highest)}, minus the SFT peak",
        ),
    ]


def _either(starts: dict[str, int]) -> str:
    return " or ".join(map(str, sorted(set(starts.values()))))


def drawn_hands(d: Data) -> list[dict]:
    """What protocols that draw hands, as the published one does, say of the fall."""
    found = []
    for rows in (part for part in d.drawn if len(part)):
        protocol, tries = rows["protocol"].iloc[0], int(rows["attempt"].max())
        solved = any_attempt(rows)
        before = d.at("ood", d.landmark("maxood"), solved)
        after = d.at("ood", d.everywhere(artifacts.sft(d.steps[-1])), solved)
        fall = d.change(before, after)
        changes = stats.paired(before, after)
        apart = sum(
            stats.mcnemar(own["change"] < 0, own["change"] > 0) < 0.05
            for _, own in changes.groupby("seed")
        )
        later = rows[rows["attempt"] > 1]["correct"]
        found.append(
            row(
                f"ood-falls-under-protocol-{protocol}",
                f"OOD success falls from the peak, as protocol '{protocol}' counts it (section 3)",
                fall,
                negative(fall),
                f"{before['draw'].nunique()} drawn problems, right in any of {tries} attempts "
                f"({later.mean():.1%} of those after feedback are right); taken alone, {apart} of "
                f"{len(d.landmarks)} seeds would call the change significant (McNemar, p < 0.05)",
            )
        )
    return found


def reversion(d: Data) -> list[dict]:
    """Section 4: values reverted change nothing, directions reverted change everything."""
    found = []
    for stage in d.stages:
        for kind in ("values", "directions"):
            for rule in ("id", "ood"):
                after = d.edited(stage, f"{kind}-rank-1", rule)
                if after.empty:  # this study does not revert all directions
                    continue
                before, parent = d.ends(stage, rule)
                gap = d.change(before, parent)
                picked = "maxood" in d.stages[stage].values()
                straight = d.edited(stage, f"{kind}-rank-1-as-interpolation", rule)
                beside = None if straight.empty else d.change(before, straight)
                change = d.change(before, after)
                found.append(_reverted(stage, kind, rule, change, gap, picked, beside))
    return found


def _reverted(
    stage: str,
    kind: str,
    rule: str,
    change: Estimate,
    gap: Estimate,
    picked: bool,
    beside: Estimate | None = None,
) -> dict:
    """One edit's claim; it can only be judged where the two checkpoints differ at all. `beside` is
    what a step as long changes that goes straight towards the parent."""
    none = kind == "values"
    verdict = negligible(change) if none else moves(change)
    explained = moves(gap) in YES
    if not explained:
        verdict = OPEN
    return row(
        f"{kind}-reversion-{stage}-{rule}",
        f"Reverting all singular {kind} of the {stage.upper()} stage "
        f"{'does not change' if none else 'changes'} {rule.upper()} accuracy "
        f"(section 4.{2 if none else 3})",
        change,
        verdict,
        f"every singular {'value' if none else 'vector'} of every matrix put back; the checkpoint "
        f"they come from differs by {signed(gap)}"
        + ("" if explained else ", no clear difference to explain")
        + (f"; a step as long straight towards it changes {signed(beside)}" if beside else "")
        + ("; these instances picked it, which flatters it" if picked else ""),
    )


def row(claim: str, statement: str, e: Estimate, verdict: str, detail: str) -> dict:
    """One row of the claims table."""
    return {
        "claim": claim,
        "statement": statement,
        "verdict": verdict,
        "effect": e.value,
        "low": e.low,
        "high": e.high,
        "by_seed": list(e.by_seed.values()),
        "seeds": len(e.by_seed),
        "deals": e.deals,
        "detectable": e.detectable,
        "detail": detail,
    }
