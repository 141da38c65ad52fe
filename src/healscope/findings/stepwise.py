"""Whether paying single steps helps where no whole answer is right.

RL that pays how similar each step is to an expert's is said to learn from problems that neither SFT
nor RL with outcomes learns from (arXiv 2510.25992; secondary sources, no official code). Arms go on
from the same answers that an expert has begun, and differ in what is paid: the next step's
similarity to one expert's or to any, whether it leaves a right answer possible (exact, which no
text metric is), or the outcome alone. SFT learns the same steps; another arm is paid for steps of
another problem's expert, so that what it gains no expert taught; GRPO answers whole. How hard a
held-out problem is to a seed is told by the starts of the other seeds.
"""

import pandas as pd

from healscope import artifacts
from healscope.config import Statistics
from healscope.files import Files
from healscope.findings.columns import SEED, START, N, interval
from healscope.findings.contrasts import never_there, of_seeds, of_tracks, row
from healscope.findings.finding import Finding
from healscope.findings.hard_samples import HARD, PLACE, POOLS, contrast, pools
from healscope.findings.rows import branch_logs, first_attempts, summarise
from healscope.markdown import crossed
from healscope.schema import TRACK, choice, share, table
from healscope.verdicts import every, negative, positive

ARMS = {
    "start": "before",
    "sft": "SFT on the same steps",
    "whole": "RL on whole answers, paid for right ones",
    "outcome": "RL on answers begun by an expert, paid for right ones",
    "similar": "paid for the next step's similarity to the expert's",
    "similar_any": "to that of any correct answer",
    "reachable": "paid if a right answer stays possible",
    "another": "paid for similarity to another problem's expert",
}

MEASURES = {
    "accuracy": "greedy first answers to held-out problems, whole",
    "signal": "share of sampled groups whose rewards differ, over training",
}


def _branches(files: Files) -> list[str]:
    known = files.study.rl.step_arms() if files.study.rl else {}
    return [b for b in files.study.branches if artifacts.parse_branch(b)[0] in known]


def _inputs(files: Files) -> dict[str, list[str]]:
    starts = [artifacts.sft(artifacts.parse_branch(b)[1]) for b in _branches(files)]
    names = list(dict.fromkeys([*starts, *_branches(files)]))
    return {"evaluations": files.evaluations(names), "logs": files.logs(_branches(files))}


def _lacking(files: Files) -> str:
    arms = set(files.study.rl.step_arms().values()) if files.study.rl else set()
    if not {"similar", "outcome", "whole", "another"} <= arms:
        return (
            "branches of {like: ppo, samples_per_prompt: 8, reward: {binary: 1.0}, credit: {}}, of "
            "the same with prefixes: expert, of that with reward: {similar: 1.0}, and of that with "
            "prefixes: another"
        )
    if len({artifacts.parse_branch(b)[1] for b in _branches(files)}) > 1:
        return "its branches to have one start, where problems are hard or easy"
    return ""


def read(evaluations: list[str], arms: dict[str, str]) -> pd.DataFrame:
    """Return greedy answers to held-out problems, with the arm of each and the pool it is in."""
    rows = first_attempts(evaluations, faceless=True)
    rows = rows[rows["split"] == "held_out"].reset_index(drop=True)
    rows = rows.merge(pools(evaluations), how="left", on=PLACE)
    rows.loc[rows["rule"] == "ood", "pool"] = "ood"
    names = {name: _arm(name, arms) for name in rows["checkpoint"].unique()}
    starts = {artifacts.stage_and_step(c)[1] for c in rows["checkpoint"]}
    return rows.dropna(subset=["pool"]).assign(
        arm=rows["checkpoint"].map(names), start=next(iter(starts))
    )


def _arm(checkpoint: str, arms: dict[str, str]) -> str:
    if artifacts.stage_and_step(checkpoint)[0] != "rl":
        return "start"
    return arms[artifacts.parse_branch(checkpoint)[0]]


def signal(logs: list[str], arms: dict[str, str]) -> pd.DataFrame:
    """Return the mean share of groups with different rewards, of each arm, track and seed."""
    rows = branch_logs(logs).dropna(subset=["zero_variance_share"])
    rows = rows.assign(arm=rows["recipe"].map(arms), value=1 - rows["zero_variance_share"])
    return rows.groupby(["track", "start", "arm", "seed"])["value"].mean().reset_index()


def measure(
    evaluations: list[str], logs: list[str], step_arms: dict[str, str], statistics: Statistics
) -> pd.DataFrame:
    """Return the accuracy of every arm by pool, and the share of its groups with a signal."""
    rows = read(evaluations, step_arms)
    found = summarise(rows, ["track", "start", "arm", "pool"], statistics)
    found = [found.rename(columns={"mean": "share"}).assign(measure="accuracy")]
    for (track, start, arm), own in signal(logs, step_arms).groupby(["track", "start", "arm"]):
        values = dict(zip(own["seed"].astype(str), own["value"], strict=True))
        e = of_seeds(values, statistics, len(values), "share")
        place = {"track": track, "start": start, "arm": arm, "pool": "", "measure": "signal"}
        alone = [{"seed": s, "n": 1, "share": v, "low": v, "high": v} for s, v in values.items()]
        known = (e.low, e.high) if len(values) > 1 else (e.value, e.value)
        limits = [min(max(x, 0.0), 1.0) for x in known]
        whole = {"seed": "all", "n": len(values), "share": e.value}
        whole |= dict(zip(("low", "high"), limits, strict=True))
        found.append(pd.DataFrame([whole, *alone]).assign(**place))
    return pd.concat(found, ignore_index=True)


# Claims.


def judge(evaluations: list[str], step_arms: dict[str, str], statistics: Statistics) -> list[dict]:
    """Return the claims of each track."""
    rows = read(evaluations, step_arms)
    return of_tracks(rows, claims_of, statistics)


def claims_of(rows: pd.DataFrame, statistics: Statistics) -> list[dict]:
    """Return the claims of one track, from what `read` returns."""
    names = dict(zip(rows["arm"], rows["checkpoint"], strict=True))
    hard, known = rows[rows["pool"] == "hard"], rows[rows["rule"] == "id"]
    right = hard.groupby("arm")["correct"].mean()
    where = f"held-out problems that starts of other seeds solve in at most {HARD:.0%} of samples"
    found = []
    for claim, beside, statement in (
        (
            "step-rewards-help-where-all-fail",
            ("whole", "outcome", "sft"),
            "RL paid for single steps beats RL on whole answers, RL paid for outcomes on the same "
            "begun answers, and SFT on the same steps, where most answers fail (arXiv 2510.25992)",
        ),
        (
            "step-rewards-beat-outcomes",
            ("outcome",),
            "RL paid for single steps beats RL paid for outcomes on the same begun answers, where "
            "most answers fail",
        ),
    ):
        if not {"similar", *beside} <= set(names) or hard.empty:
            continue
        over = [contrast(hard, names[arm], names["similar"], statistics) for arm in beside]
        told = ", ".join(f"{arm} {share:.0%}" for arm, share in right.items())
        gaps = ", ".join(
            f"{arm} {100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
            for arm, e in zip(beside, over, strict=True)
        )
        found.append(
            row(
                claim,
                statement,
                over[0],
                never_there(
                    every(*map(positive, over)), max(right[arm] for arm in ("similar", *beside))
                ),
                f"{where}; minus {gaps}; accuracy: {told}",
            )
        )
    if {"similar", "similar_any"} <= set(names):
        e = contrast(known, names["similar_any"], names["similar"], statistics)
        share = known.groupby("arm")["correct"].mean()
        found.append(
            row(
                "one-reference-costs",
                "Paid for similarity to one expert, RL ends below RL paid for similarity to any",
                e,
                never_there(negative(e), float(share["similar_any"])),
                "held-out ID problems; accuracy: "
                + ", ".join(f"{arm} {x:.0%}" for arm, x in share.items()),
            )
        )
    return found


def section(table: pd.DataFrame) -> str:
    whole = table[(table["seed"] == "all") & (table["measure"] == "accuracy")]
    return crossed(whole, "arm", "pool", POOLS, "share")


SCHEMA = table(
    "steps",
    "What RL paid for single steps, and its controls, make of held-out problems.",
    (
        TRACK,
        START,
        choice("arm", ARMS, "; ".join(f"{name}: {about}" for name, about in ARMS.items())),
        choice("pool", ("", *POOLS), "as in table hard-samples; empty: of training"),
        choice("measure", MEASURES, "; ".join(f"{k}: {v}" for k, v in MEASURES.items())),
        SEED,
        N,
        share("share", "of the measure"),
        *interval(),
    ),
    "track", "start", "arm", "pool", "measure", "seed",
)  # fmt: skip

FINDING = Finding(
    name="steps",
    schema=SCHEMA,
    make=measure,
    inputs=_inputs,
    asked=lambda files: bool(files.trained and _branches(files)),
    system=True,
    lacking=_lacking,
    judge=judge,
    claim_names=(
        "step-rewards-help-where-all-fail",
        "step-rewards-beat-outcomes",
        "one-reference-costs",
    ),
    order=37,
    title="RL paid for single steps",
    section=section,
)
