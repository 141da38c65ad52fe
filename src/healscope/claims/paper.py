"""The paper's claims (arXiv 2509.12235), each measured and judged by the rules of `verdicts`.

A checkpoint that is picked for its accuracy is judged on instances and seeds that did not pick it.
"""

import pandas as pd

from healscope import artifacts, gate, stats, verdicts
from healscope.claims.contrasts import Data, mean
from healscope.stats import Choice, Estimate
from healscope.tables.factorial import design
from healscope.tables.rows import any_attempt
from healscope.verdicts import (
    OPEN,
    YES,
    Verdict,
    at_most,
    margin,
    moves,
    negative,
    negligible,
    positive,
    signed,
)


def forgetting(d: Data) -> list[dict]:
    """Section 3.2: OOD accuracy peaks early and falls, while ID accuracy rises."""
    last, peaks = d.everywhere(artifacts.sft(d.steps[-1])), d.landmark("maxood")
    where = ", ".join(map(str, d.peak_steps()))
    found = [
        row(
            "ood-falls-after-its-peak",
            "OOD accuracy falls from its peak along SFT to the end (section 3.2)",
            d.fall,
            negative(d.fall),
            f"from {_names(peaks)} as other seeds and instances pick it (the seeds' own peaks: "
            f"step {where}) to {d.steps[-1]}" + d.picked_by_itself,
        ),
        *_between_fixed_steps(d),
        *_peaks_early(d),
    ]
    for rows, which in ((d.train_rows, "train"), (d.rows, "held-out")):
        rise = d.change(d.at("id", peaks, rows), d.at("id", last, rows))
        problems = "problems it was trained on" if which == "train" else "held-out problems"
        found.append(
            row(
                f"id-rises-meanwhile-{which}",
                f"ID accuracy on {problems} rises while OOD falls (section 3.2)",
                rise,
                positive(rise, margin(d.fall)),
                "change of ID accuracy from the OOD peak to the end",
            )
        )
    return found


def _between_fixed_steps(d: Data) -> list[dict]:
    """The same fall between two steps that the config fixes: nothing is picked."""
    if d.contrast is None or not set(d.contrast) <= set(d.steps):
        return []
    first, second = (d.at("ood", d.everywhere(artifacts.sft(step))) for step in d.contrast)
    fall = d.change(first, second)
    return [
        row(
            "ood-falls-between-fixed-steps",
            f"OOD accuracy falls from step {d.contrast[0]} to step {d.contrast[1]} of SFT, which "
            "the config names (claims.contrast)",
            fall,
            negative(fall, margin(d.fall)),
            "nothing is picked, so nothing flatters it",
        )
    ]


def _peaks_early(d: Data) -> list[dict]:
    """Whether the best step of the first third of SFT is better than the best of the others."""
    third = d.steps[-1] / 3
    early, late = ([s for s in d.steps if s > 0 and (s <= third) == side] for side in (True, False))
    if not early or not late:
        return []
    best = [
        d.everywhere(artifacts.sft(steps[0]))
        if len(steps) == 1
        else d.pick([artifacts.sft(s) for s in steps], _ood, d.sft)
        for steps in (late, early)
    ]
    more = d.change(*(d.at("ood", choice) for choice in best))
    return [
        row(
            "ood-peaks-early",
            "OOD accuracy is better at the best step of the first third of SFT than at the best of "
            "the rest (section 3.2)",
            more,
            positive(more, margin(d.fall)),
            f"{len(early)} of the steps looked at lie in the first third ({_names(best[1])} is "
            f"picked), {len(late)} later ({_names(best[0])})" + d.picked_by_itself,
        )
    ]


def _ood(rows: pd.DataFrame, checkpoint: str) -> float:
    return mean(rows, "ood", checkpoint)


def _names(choice: Choice) -> str:
    """Checkpoints of a choice, each once, by step."""
    names = {name for halves in choice.values() for name in halves.values()}
    return " or ".join(sorted(names, key=lambda n: artifacts.stage_and_step(n)[1]))


def phenomena(d: Data) -> list[dict]:
    """What the gate asks: is there anything that the weights of a stage could explain?"""
    found, gap = [], None
    for phenomenon, (stage, judge) in gate.PHENOMENA.items():
        first, second = artifacts.STAGES[stage]
        change = d.change(d.at("ood", d.landmark(first)), d.at("ood", d.landmark(second)))
        names = artifacts.LANDMARK_NAMES
        found.append(
            row(
                f"gate-{phenomenon}",
                f"Gate: there is OOD {phenomenon} between {names[first]} and {names[second]}",
                change,
                judge(change, margin(gap)),
                f"what is said of the weights in the {stage.upper()} stage explains something only "
                "where this held" + d.picked_by_itself,
            )
        )
        gap = gap or change
    return found


def composition(d: Data) -> list[dict]:
    """The control that the published test lacks: same hands, other rule (of the card game)."""
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
                judge(change, margin(d.fall)),
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
                positive(regret, margin(d.fall)),
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

    best = d.pick(middle, healed, d.rows)
    effect = d.change(
        d.at("ood", d.started(best, after=False)), d.at("ood", d.started(best, after=True))
    )
    highest = d.pick(starts, lambda rows, start: mean(rows, "ood", d.branches[start]), d.rows)
    above = d.change(d.at("ood", d.landmark("maxood")), d.at("ood", d.started(highest, after=True)))
    return [
        row(
            "rl-heals-inside-a-window",
            "RL raises OOD accuracy above its start for some starts, but neither for the earliest "
            "nor for the latest (section 3.2)",
            effect,
            verdicts.window(effect, ends, margin(d.fall)),
            f"best start between the ends, {_starts(best)}; all: {shown}" + d.picked_by_itself,
        ),
        row(
            "rl-does-not-exceed-the-peak",
            "RL does not exceed the OOD accuracy of the best SFT checkpoint (section 3.2)",
            above,
            at_most(above, margin(d.fall)),
            f"RL from the start that ends highest, {_starts(highest)}, minus the SFT peak"
            + d.picked_by_itself,
        ),
    ]


def _starts(choice: Choice) -> str:
    """SFT steps of a choice, each once."""
    return " or ".join(map(str, sorted({s for halves in choice.values() for s in halves.values()})))


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
        # one hand of each instance, as hands of one are not independent
        single = changes.drop_duplicates(["seed", "instance_id"])
        apart = sum(
            stats.mcnemar(own["change"] < 0, own["change"] > 0) < 0.05
            for _, own in single.groupby("seed")
        )
        later = rows[rows["attempt"] > 1]["correct"]
        found.append(
            row(
                f"ood-falls-under-protocol-{protocol}",
                f"OOD success falls from the peak, as protocol '{protocol}' counts it (section 3)",
                fall,
                negative(fall, margin(d.fall)),
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
    verdict = (negligible if none else moves)(change, margin(gap))
    explained = moves(gap) in YES
    if not explained:
        verdict = Verdict(OPEN)
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


def row(claim: str, statement: str, e: Estimate, verdict: Verdict, detail: str) -> dict:
    """Makes one row of the claims table, before it is corrected for the number of claims."""
    if e.outliers:
        unlike = ", ".join(f"seed {s} ({100 * e.by_seed[s]:+.1f})" for s in e.outliers)
        detail = f"{detail}; unlike the other seeds: {unlike}"
    return {
        "claim": claim,
        "statement": statement,
        "verdict": str(verdict),
        "p": verdict.p,
        "weaker": verdict.weaker,
        "effect": e.value,
        "low": e.low,
        "high": e.high,
        "by_seed": list(e.by_seed.values()),
        "seeds": len(e.by_seed),
        "instances": e.instances,
        "detectable": e.detectable,
        "detail": detail,
    }
