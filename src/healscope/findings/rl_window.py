"""What RL changes, by the SFT step that it starts from (section 3.2 of the paper)."""

import pandas as pd

from healscope import artifacts, stats, verdicts
from healscope.config import Statistics
from healscope.findings.columns import SEED, N, interval
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import first_attempts, summarise, with_steps
from healscope.schema import TRACK, Column, change, count, share, table
from healscope.stats import Choice, Estimate
from healscope.tasks.schemas import RULE
from healscope.verdicts import at_most, margin, signed


def rl_window(evaluations: list[str], statistics: Statistics) -> pd.DataFrame:
    """Return change of held-out accuracy by RL, paired by problem, for each start (fig10).

    `mcnemar_p` tests each seed on one problem of each instance, as problems of one instance are not
    independent.
    """
    rows = with_steps(first_attempts(evaluations))
    rows = rows[rows["split"] == "held_out"]
    before, after = rows[rows["stage"] == "sft"], rows[rows["stage"] == "rl"]
    out = []
    for (model, start, rule), changed in after.groupby(["track", "step", "rule"]):
        same = (before["track"] == model) & (before["step"] == start) & (before["rule"] == rule)
        unchanged = before[same & before["seed"].isin(changed["seed"])]
        change = stats.paired(unchanged, changed).assign(track=model, start=start, rule=rule)
        table = summarise(change, ["track", "start", "rule"], statistics, "change")
        for seed, name in [("all", None), *((str(s), s) for s in changed["seed"].unique())]:
            pick = table["seed"] == seed
            for column, part in (("before", unchanged), ("after", changed)):
                chosen = part if name is None else part[part["seed"] == name]
                table.loc[pick, column] = chosen.groupby("seed")["correct"].mean().mean()
            if name is not None:
                own = change[change["seed"] == name].drop_duplicates("instance_id")["change"]
                table.loc[pick, "mcnemar_p"] = stats.mcnemar(own < 0, own > 0)
        out.append(table.rename(columns={"mean": "change"}))
    return pd.concat(out, ignore_index=True)


def window_of_starts(d: Data) -> list[dict]:
    """Section 3.2: RL heals from a window of starts, and does not exceed the SFT peak."""
    healing = {
        start: d.change(
            d.at("ood", d.everywhere(artifacts.sft(start))), d.at("ood", d.everywhere(branch))
        )
        for start, branch in d.branches.items()
    }
    if not healing:  # no run ended well
        return []
    starts, found = list(healing), []
    if len(starts) > 2:  # with fewer there is nothing between the ends
        found = [_inside(d, healing)]
    last = artifacts.sft(d.steps[-1])
    highest = d.pick(starts, lambda rows, s: _gained(rows, last, d.branches[s]), d.rows)
    above = d.change(d.at("ood", d.landmark("maxood")), d.at("ood", d.started(highest, after=True)))
    return [
        *found,
        row(
            "rl-does-not-exceed-the-peak",
            "RL does not exceed the OOD accuracy of the best SFT checkpoint (section 3.2)",
            above,
            at_most(above, margin(d.fall)),
            f"RL from the start that ends highest, {_starts(highest)}, minus the SFT peak"
            + d.picked_by_itself,
        ),
    ]


def _inside(d: Data, healing: dict[int, Estimate]) -> dict:
    """Return the claim that RL heals from starts between the ends alone; `healing` is the change of
    OOD accuracy from each start."""
    starts = list(healing)
    best = d.pick(
        starts[1:-1], lambda rows, s: _gained(rows, artifacts.sft(s), d.branches[s]), d.rows
    )
    effect = d.change(
        d.at("ood", d.started(best, after=False)), d.at("ood", d.started(best, after=True))
    )
    ends = [healing[starts[0]], healing[starts[-1]]]
    shown = "; ".join(f"from {s} {signed(e)}" for s, e in healing.items())
    return row(
        "rl-heals-inside-a-window",
        "RL raises OOD accuracy above its start for some starts, but neither for the earliest "
        "nor for the latest (section 3.2)",
        effect,
        verdicts.window(effect, ends, margin(d.fall)),
        f"best start between the ends, {_starts(best)}; all: {shown}" + d.picked_by_itself,
    )


def _gained(rows: pd.DataFrame, before: str, after: str) -> float:
    """Return the change of OOD accuracy between two checkpoints, of the seeds that have both."""
    rows = rows[rows["rule"] == "ood"]
    ends = (rows[rows["checkpoint"] == name] for name in (before, after))
    return stats.mean_of_seeds(stats.paired(*ends), "change")


def _starts(choice: Choice) -> str:
    """SFT steps of a choice, each once."""
    return " or ".join(map(str, sorted({s for halves in choice.values() for s in halves.values()})))


SCHEMA = table(
    "rl-window",
    "Change of held-out accuracy by RL from one start, paired by problem.",
    (
        TRACK,
        count("start", "SFT step where RL starts", "steps"),
        RULE, SEED, N,
        change("change", "accuracy after minus before"),
        *interval(change),
        share("before", "accuracy at the start"),
        share("after", "accuracy after RL"),
        Column(
            "mcnemar_p",
            "float",
            "McNemar's test on one problem of each instance; for single seeds",
            "probability",
            low=0,
            high=1,
            nullable=True,
        ),
    ),
    "track", "start", "rule", "seed",
)  # fmt: skip

FINDING = Finding(
    name="rl-window",
    schema=SCHEMA,
    make=rl_window,
    inputs=lambda files: {"evaluations": files.evaluations(files.along)},
    asked=lambda files: bool(files.study.main_branches),
    order=6,
    claims=(window_of_starts,),
    claim_names=(
        "rl-heals-inside-a-window",
        "rl-does-not-exceed-the-peak",
    ),
)
