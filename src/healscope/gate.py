"""The phenomenon gate: is there anything to explain, before weights are taken to explain it?

An independent attempt to repeat the published curves found no clear peak and decline in eight runs,
so a study has to show forgetting and recovery before its spectra and edits are interpreted. Figures
of those stages carry the gate's answer.
"""

import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.errors import HealscopeError
from healscope.tables.rows import at_landmarks, first_attempts
from healscope.verdicts import FAILED, HELD, HERE, NOT_HERE, OPEN, margin, negative, positive

# phenomenon -> (stage of the edits that explain it, the rule that judges it)
PHENOMENA = {"forgetting": ("sft", negative), "recovery": ("rl", positive)}
ANSWERS = {
    HELD: "present",
    HERE: "present in each of these seeds",
    FAILED: "absent",
    NOT_HERE: "absent in each of these seeds",
    OPEN: "undecided",
}


def measure(
    evaluations: list[str], landmark_files: list[str], settings: Statistics
) -> pd.DataFrame:
    """One row for each model and phenomenon: the change of held-out OOD accuracy and the answer.

    Forgetting is the change from MaxOOD to End, recovery that from End to RL. "present": the
    interval lies on the claimed side of 0 and most seeds agree; "absent": it excludes a change as
    large as `verdicts.margin` (of recovery, of the gap that forgetting left); either "in these
    seeds": each seed shows it, but too few to speak for others; else "undecided". Recovery is asked
    of where there is a landmark of RL. Raises HealscopeError where no RL run came to its end.
    """
    there = set().union(*(provenance.read_json(f)["landmarks"] for f in landmark_files))
    rows = first_attempts(evaluations)
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "ood")]
    rows = at_landmarks(rows, landmark_files, ["maxood", "end", "rl"])
    out = []
    for model, own in rows.groupby("track"):
        gap = None
        for phenomenon, (stage, judge) in PHENOMENA.items():
            if not set(artifacts.STAGES[stage]) <= there:
                continue
            before, after = (own[own["landmark"] == name] for name in artifacts.STAGES[stage])
            if after.empty:
                raise HealscopeError(
                    f"{model}: the branch behind landmark 'rl' failed in every seed: change its "
                    "recipe, or set landmarks.rl to another branch"
                )
            e = stats.bootstrap(stats.paired(before, after), "change", settings)
            out.append(
                {"track": model, "phenomenon": phenomenon, "stage": stage,
                 "answer": ANSWERS[judge(e, margin(gap))],
                 "effect": e.value, "low": e.low, "high": e.high,
                 "by_seed": list(e.by_seed.values()), "seeds": len(e.by_seed),
                 "instances": e.instances, "detectable": e.detectable}
            )  # fmt: skip
            gap = gap or e
    return pd.DataFrame(out)


def sentences(table: pd.DataFrame, stages: tuple[str, ...] = ("sft", "rl")) -> list[str]:
    """The gate's answers in words, one line for each model and phenomenon of `stages`."""
    lines = []
    for row in table[table["stage"].isin(stages)].to_dict("records"):
        first, second = (artifacts.LANDMARK_NAMES[name] for name in artifacts.STAGES[row["stage"]])
        lines.append(
            f"{row['track']}: OOD {row['phenomenon']} {row['answer']} "
            f"({first} to {second} {100 * row['effect']:+.1f} points "
            f"[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}], {row['seeds']} "
            f"seed{'s' if row['seeds'] > 1 else ''}, {row['instances']} instances; by itself, not "
            "corrected for the number of claims)"
        )
    return lines
