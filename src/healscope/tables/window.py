"""What a start has that heals: the state of RL in its first iterations beside what it healed.

The paper explains the window of starts by "balanced" rewards, 40% to 80% of them positive, and by a
policy whose entropy has not collapsed (arXiv 2509.12235, section 3.2).
"""

import pandas as pd

from healscope import artifacts, stats
from healscope.config import Statistics
from healscope.tables.rows import (
    at_first,
    at_last,
    branch_logs,
    failures,
    first_attempts,
    of_seed,
    with_steps,
)

BALANCED = (0.4, 0.8)
"""Share of positive rewards at which RL heals, as the paper proposes."""

AT_FIRST = (
    "positive_share",
    "advantage_std",
    "advantage_entropy_nats",
    "entropy_nats",
    "zero_variance_share",
    "clip_share",
)
AT_LAST = {
    "entropy_end_nats": "entropy_nats",
    "kl_from_start_nats": "kl_from_start_nats",
    "kl_from_base_nats": "kl_from_base_nats",
}  # column here -> column of the log


def window(evaluations: list[str], files: list[str], settings: Statistics) -> pd.DataFrame:
    """Change of held-out OOD accuracy by the main recipe, for each start, beside its training.

    `evaluations` and `files` (training logs) hold no other recipe. Where a run failed, `failed`
    says why and what follows it is missing. Row "all" has means over seeds.
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[(rows["split"] == "held_out") & (rows["rule"] == "ood")]
    out = []
    for (model, run, start), runs in branch_logs(files).groupby(["track", "run", "start"]):
        own = rows[rows["track"] == model]
        before, after = (own[own["checkpoint"] == name] for name in (artifacts.sft(start), run))
        state = pd.DataFrame({int(seed): _state(part) for seed, part in runs.groupby("seed")}).T
        for seed in ("all", *state.index):
            ends = [of_seed(part, seed) for part in (before, after)]
            if len(ends[1]):  # else the start alone is known
                ends[0] = ends[0][ends[0]["seed"].isin(ends[1]["seed"])]
            e = stats.bootstrap(stats.paired(*ends), "change", settings)
            accuracies = [part.groupby("seed")["correct"].mean().mean() for part in ends]
            out.append(
                {"track": model, "start": start, "seed": str(seed),
                 "seeds": len(e.by_seed), "healing": e.value, "low": e.low, "high": e.high,
                 "before": accuracies[0], "after": accuracies[1],
                 **(state.mean() if seed == "all" else state.loc[seed]),
                 "failed": failures(of_seed(runs, seed))}
            )  # fmt: skip
    return pd.DataFrame(out)


def _state(run: pd.DataFrame) -> pd.Series:
    """One run at its first iterations, and at its end."""
    early = {column: at_first(run, column) for column in AT_FIRST}
    return pd.Series(early | {name: at_last(run, column) for name, column in AT_LAST.items()})
