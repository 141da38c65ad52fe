"""Where answers go wrong along training: format, number line, numbers of the formula, arithmetic.

The paper explains why OOD loss and OOD accuracy part by a "number" step that forgets the rule and a
"formula" step that still improves (arXiv 2509.12235, appendix D.1).
"""

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.findings.columns import SEED, STAGE, STEP
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, with_steps
from healscope.schema import TRACK, Column, choice, count, table
from healscope.tasks.cards.verifier import FIRST_ERRORS, first_errors
from healscope.tasks.schemas import RULE
from healscope.verdicts import margin, negative, positive

JUDGED = ["outcome", "parsed", "follows_rule", "uses_numbers"]

BY = ["track", "stage", "step", "rule", "kind", "name"]

# step -> (what must be right already, what is asked)
STEPS = {
    "format": (lambda r: r["parsed"].notna(), lambda r: r["parsed"]),
    "number step": (lambda r: r["parsed"], lambda r: r["follows_rule"]),
    "formula step": (lambda r: r["parsed"] & r["follows_rule"], lambda r: r["correct"]),
}


def errors(evaluations: list[str], signal_files: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return which errors answers make along SFT and after RL, on held-out deals, by rule.

    Kinds of rows:

    - "first error": share of answers whose first fault is this one ("none": correct);
    - "success": share that masters a step among those that mastered the steps before;
    - "loss": nats a token of the reference answer's number and formula steps (SFT only; the
      interval is the range of the seeds).
    """
    rows = with_steps(first_attempts(evaluations, JUDGED))
    rows = rows[(rows["split"] == "held_out") & rows["stage"].isin(["sft", "rl"])]
    rows = rows.assign(first_error=first_errors(rows))
    parts = [
        rows.assign(kind="first error", name=name, value=1.0 * (rows["first_error"] == name))
        for name in FIRST_ERRORS
    ]
    for name, (before, asked) in STEPS.items():
        reached = rows[before(rows)]
        parts.append(reached.assign(kind="success", name=name, value=asked(reached).astype(float)))
    shares = pd.concat([summarise(part, BY, statistics, "value") for part in parts])
    losses = [_losses(signal_files)] if signal_files else []  # given checkpoints have none
    table = pd.concat([shares, *losses], ignore_index=True)
    return table.rename(columns={"mean": "value"})


def _losses(files: list[str]) -> pd.DataFrame:
    logged = pd.concat([provenance.read_table(f) for f in files], ignore_index=True)
    parts = []
    for rule in ("id", "ood"):
        for step in ("number", "formula"):
            parts.append(
                logged[["track", "seed", "step"]].assign(
                    stage="sft", rule=rule, kind="loss", name=f"{step} step",
                    mean=logged[f"{rule}_{step}_step_loss_nats"],
                )
            )  # fmt: skip
    single = pd.concat(parts, ignore_index=True)
    whole = single.groupby(BY, as_index=False)["mean"].agg(["mean", "min", "max"])
    whole = whole.rename(columns={"min": "low", "max": "high"}).assign(seed="all")
    single = single.assign(seed=single["seed"].astype(str), low=single["mean"], high=single["mean"])
    return pd.concat([whole, single], ignore_index=True).assign(n=0)


def steps_of_the_answer(d: Data) -> list[dict]:
    """Appendix D.1: the number step forgets the rule while the formula step improves (of the card
    game, whose answers have these steps)."""
    if not d.cards:
        return []
    last, peaks = d.everywhere(artifacts.sft(d.steps[-1])), d.landmark("maxood")
    parts = {"number": [], "formula": []}
    for point in (peaks, last):
        rows = d.at("ood", point)
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


SCHEMA = table(
    "errors",
    "One share of held-out answers by the step that went wrong, or a loss of one step.",
    (
        TRACK, STAGE, STEP, RULE,
        choice(
            "kind",
            ("first error", "success", "loss"),
            "first error: answers whose first fault is `name`; success: those right in this "
            "step among those right in all before; loss: of the reference answer's step",
        ),
        choice(
            "name", dict.fromkeys((*FIRST_ERRORS, *STEPS)), "the fault or the step"
        ),
        SEED,
        count("n", "answers behind it; 0 for losses", "rows"),
        *(
            Column(
                name, "float", about, "share, or nats per token", low=0, nullable=True
            )
            for name, about in (
                ("value", "the share, or the loss"),
                ("low", "lower limit of the interval; of the seeds' range, for losses"),
                ("high", "upper limit of it"),
            )
        ),
    ),
    "track", "stage", "step", "rule", "kind", "name", "seed",
)  # fmt: skip

FINDING = Finding(
    name="errors",
    schema=SCHEMA,
    make=errors,
    inputs=lambda files: {
        "evaluations": files.evaluations(files.along, files.cards),
        "signal_files": files.signals(files.cards),
    },
    asked=lambda files: bool(files.cards),
    order=4,
    claims=(steps_of_the_answer,),
    claim_names=("(number|formula)-step",),
)
