"""The paper's claims (arXiv 2509.12235), each measured and judged by a rule written here.

A claim that a change is positive holds when the interval of the change lies above 0 and every seed
agrees in sign; it does not hold when the interval lies below 0; else it is undecided. MaxOOD is
picked on the deals it is judged on, which favours 'falls from the peak'. A claim that
nothing changes holds when the whole interval lies within `MARGIN` of 0, and does not hold when it
lies outside. Only these rules write a verdict.
"""

from dataclasses import dataclass

import pandas as pd

from healscope import artifacts, provenance, stats, tables
from healscope.config import Statistics
from healscope.stats import Estimate

MARGIN = 0.05
"""Changes of accuracy smaller than this count as no change."""

HELD, FAILED, OPEN = "held", "did not hold", "undecided"


@dataclass(frozen=True)
class Data:
    """What the claims of one model are measured on."""

    rows: pd.DataFrame  # held-out attempts of SFT and RL checkpoints, with stage and step
    train_rows: pd.DataFrame  # the same on training deals
    edits: pd.DataFrame  # held-out attempts of edited models, variant = stage:edit
    training: pd.DataFrame  # what was logged along SFT
    landmarks: dict[int, dict]  # seed -> landmark -> {checkpoint, step}
    settings: Statistics

    @property
    def last(self) -> int:
        return int(self.rows.loc[self.rows["stage"] == "sft", "step"].max())

    def attempts(self, rule: str, checkpoint: dict[int, str], train: bool = False) -> pd.DataFrame:
        """Attempts under one rule, at one checkpoint for each seed."""
        rows = self.train_rows if train else self.rows
        wanted = rows["seed"].map(checkpoint)
        return rows[(rows["rule"] == rule) & (rows["variant"] == wanted)]

    def landmark(self, name: str) -> dict[int, str]:
        return {s: marks[name]["checkpoint"] for s, marks in self.landmarks.items()}

    def everywhere(self, checkpoint: str) -> dict[int, str]:
        return dict.fromkeys(self.landmarks, checkpoint)

    def change(self, before: pd.DataFrame, after: pd.DataFrame) -> Estimate:
        return stats.bootstrap(stats.paired(before, after), "change", self.settings)


def positive(e: Estimate) -> str:
    """Verdict on 'it rises'."""
    if e.low > 0 and all(v > 0 for v in e.by_seed.values()):
        return HELD
    return FAILED if e.high < 0 else OPEN


def negative(e: Estimate) -> str:
    """Verdict on 'it falls'."""
    flipped = {seed: -value for seed, value in e.by_seed.items()}
    return positive(Estimate(-e.value, -e.high, -e.low, flipped))


def negligible(e: Estimate) -> str:
    """Verdict on 'it does not change'."""
    if e.low > -MARGIN and e.high < MARGIN:
        return HELD
    return FAILED if e.low > MARGIN or e.high < -MARGIN else OPEN


def _forgetting(d: Data) -> list[dict]:
    peak = {s: m["maxood"]["step"] for s, m in d.landmarks.items()}
    peaks = d.landmark("maxood")
    last = d.everywhere(artifacts.sft(d.last))
    fall = d.change(d.attempts("ood", peaks), d.attempts("ood", last))
    early = all(step <= d.last / 3 for step in peak.values())
    where = ", ".join(str(p) for p in peak.values())
    verdict = negative(fall)
    if not early and verdict == HELD:
        verdict = FAILED
    rows = [
        _row(
            "ood-peaks-early-then-falls",
            "OOD accuracy peaks in the first third of SFT and then falls (section 3.2)",
            fall,
            verdict,
            f"peak at step {where} of {d.last}; change from there to the end. The peak is picked "
            "on these deals, which flatters it",
        )
    ]
    for train, which in ((True, "training deals"), (False, "held-out deals")):
        rise = d.change(d.attempts("id", peaks, train), d.attempts("id", last, train))
        rows.append(
            _row(
                f"id-rises-meanwhile-{'train' if train else 'held-out'}",
                f"ID accuracy on {which} rises while OOD falls (section 3.2)",
                rise,
                positive(rise),
                "change of ID accuracy from the OOD peak to the end",
            )
        )
    return rows


def _loss(d: Data) -> list[dict]:
    rows = []
    grid = sorted(d.rows.loc[d.rows["stage"] == "sft", "step"].unique())
    for column, which in (("id_test_loss_nats", "test"), ("id_train_loss_nats", "training")):
        chosen, steps = {}, []
        for seed in d.landmarks:
            log = d.training[d.training["seed"] == seed].set_index("step")[column]
            best = int(log.idxmin())
            chosen[seed] = artifacts.sft(min(grid, key=lambda s, best=best: (abs(s - best), s)))
            steps.append(best)
        regret = d.change(d.attempts("ood", chosen), d.attempts("ood", d.landmark("maxood")))
        rows.append(
            _row(
                f"{which}-loss-misses-the-peak",
                f"The ID {which} loss does not show the best OOD checkpoint (section 3.2)",
                regret,
                positive(regret),
                f"lowest loss at step {', '.join(map(str, steps))}; OOD accuracy lost by stopping "
                "at the nearest checkpoint instead of the peak, which is picked on these deals",
            )
        )
    return rows


def _window(d: Data) -> list[dict]:
    rl = d.rows[d.rows["stage"] == "rl"]
    branches = dict(sorted(zip(rl["step"], rl["variant"], strict=True)))
    starts = list(branches)
    healing = {}
    for start, branch in branches.items():
        before = d.attempts("ood", d.everywhere(artifacts.sft(start)))
        healing[start] = d.change(before, d.attempts("ood", d.everywhere(branch)))
    shown = "; ".join(f"from {s} {_signed(e)}" for s, e in healing.items())
    middle, ends = starts[1:-1], [starts[0], starts[-1]]
    best = max(middle or starts, key=lambda s: healing[s].value)
    rows = [
        _row(
            "rl-heals-inside-a-window",
            "RL raises OOD accuracy above its start for some starts, but neither for the earliest "
            "nor for the latest (section 3.2)",
            healing[best],
            _window_verdict([healing[s] for s in middle], [healing[s] for s in ends]),
            f"best start {best}; all: {shown}",
        )
    ]
    after = {s: d.attempts("ood", d.everywhere(name)) for s, name in branches.items()}
    highest = max(after, key=lambda s: after[s]["correct"].mean())
    above = d.change(d.attempts("ood", d.landmark("maxood")), after[highest])
    rows.append(
        _row(
            "rl-does-not-exceed-the-peak",
            "RL does not exceed the OOD accuracy of the best SFT checkpoint (section 3.2)",
            above,
            HELD if above.high < MARGIN else FAILED if above.low > 0 else OPEN,
            f"RL from {highest}, which ends highest, minus the SFT peak; both are picked on these "
            "deals",
        )
    )
    return rows


def _window_verdict(middle: list[Estimate], ends: list[Estimate]) -> str:
    """Held: some middle start is healed, and the ends are shown not to be (by more than MARGIN)."""
    if not middle:
        return OPEN
    if any(positive(e) == HELD for e in ends) or all(e.high < MARGIN for e in middle):
        return FAILED
    healed = any(positive(e) == HELD for e in middle)
    return HELD if healed and all(e.high < MARGIN for e in ends) else OPEN


def _reversion(d: Data) -> list[dict]:
    rows = []
    for stage, (parent, target) in artifacts.EDIT_STAGES.items():
        for kind in ("values", "directions"):
            for rule in ("id", "ood"):
                name = f"{stage}:{artifacts.edit(kind, 'rank', 1.0)}"
                after = d.edits[(d.edits["variant"] == name) & (d.edits["rule"] == rule)]
                if after.empty:  # this study does not revert all directions
                    continue
                before = d.attempts(rule, d.landmark(target))
                gap = d.change(before, d.attempts(rule, d.landmark(parent)))
                rows.append(_reverted(stage, kind, rule, d.change(before, after), gap))
    return rows


def _reverted(stage: str, kind: str, rule: str, change: Estimate, gap: Estimate) -> dict:
    """One edit's claim; it can only be judged where the two checkpoints differ at all."""
    none = kind == "values"
    verdict = negligible(change) if none else _moves(change)
    if _moves(gap) != HELD:
        verdict = OPEN
    return _row(
        f"{kind}-reversion-{stage}-{rule}",
        f"Reverting all singular {kind} of the {stage.upper()} stage "
        f"{'does not change' if none else 'changes'} {rule.upper()} accuracy "
        f"(section 4.{2 if none else 3})",
        change,
        verdict,
        f"every singular {'value' if none else 'vector'} of every matrix put back; the checkpoint "
        f"they come from differs by {_signed(gap)}"
        + ("" if _moves(gap) == HELD else ", no clear difference to explain"),
    )


def _moves(e: Estimate) -> str:
    """Verdict on 'it changes', in whichever direction."""
    if HELD in (positive(e), negative(e)):
        return HELD
    return FAILED if negligible(e) == HELD else OPEN


def measure(inputs: dict[str, list[str]], settings: Statistics) -> pd.DataFrame:
    """All claims for every model, from evaluation, training, edit and landmark files."""
    attempts = tables.with_steps(tables.attempts(inputs["evaluations"]))
    edits = tables.attempts(inputs["edits"], extra=["stage"])
    edits = edits.assign(variant=edits["stage"] + ":" + edits["variant"])
    training = tables.training(inputs["training"]).astype({"seed": int})
    marks = [provenance.read_json(f) for f in inputs["landmarks"]]
    found = []
    for model in attempts["model"].unique():
        rows = attempts[attempts["model"] == model]
        data = Data(
            rows=rows[rows["split"] == "held_out"],
            train_rows=rows[rows["split"] == "train"],
            edits=edits[(edits["model"] == model) & (edits["split"] == "held_out")],
            training=training[training["model"] == model],
            landmarks={m["seed"]: m["landmarks"] for m in marks if m["model"] == model},
            settings=settings,
        )
        for part in (_forgetting, _loss, _window, _reversion):
            found += [{"model": model, **row} for row in part(data)]
    return pd.DataFrame(found)


def text(claims: pd.DataFrame, record: dict) -> str:
    """The claims as plain text, one paragraph each, and what they were made from."""
    lines = [
        "Claims of arXiv 2509.12235, as measured in this study. Changes are in accuracy points "
        "(100 = all problems), on held-out deals unless said otherwise, with intervals from a "
        "bootstrap over seeds and deals. With fewer than about five seeds it knows too little of "
        "how seeds differ: read the seeds beside it.",
        "",
    ]
    for row in claims.to_dict("records"):
        seeds = ", ".join(f"{100 * v:+.1f}" for v in row["by_seed"])
        lines += [
            f"[{row['verdict'].upper()}] {row['statement']}",
            f"    {100 * row['effect']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] "
            f"(by seed: {seeds}) {row['model']}",
            f"    {row['detail']}",
            "",
        ]
    code = record["code"]
    lines.append(
        f"Made by healscope {code['healscope']}, commit {code['commit']}, from inputs with "
        f"fingerprint {record['fingerprint'][:16]}; the metadata of claims.parquet say more.\n"
    )
    return "\n".join(lines)


def _row(claim: str, statement: str, e: Estimate, verdict: str, detail: str) -> dict:
    return {
        "claim": claim,
        "statement": statement,
        "verdict": verdict,
        "effect": e.value,
        "low": e.low,
        "high": e.high,
        "by_seed": list(e.by_seed.values()),
        "detail": detail,
    }


def _signed(e: Estimate) -> str:
    return f"{100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
