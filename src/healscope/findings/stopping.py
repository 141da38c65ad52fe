"""Could the OOD peak be seen without OOD labels? Signals along SFT, and the regret of trust.

The paper says that the forgetting "cannot be captured by the loss" (arXiv 2509.12235, section 3.2)
and leaves open what could.
"""

import numpy as np
import pandas as pd

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.evaluation import landmarks as marks
from healscope.findings.columns import ALL_SEEDS, SEED, SFT_STEP, by_seed, interval
from healscope.findings.contrasts import Data, row
from healscope.findings.finding import Finding
from healscope.findings.rows import at_landmarks, first_attempts, trained_on, with_steps
from healscope.markdown import grid, level
from healscope.measuring.signals import COLUMNS as SIGNAL_COLUMNS
from healscope.schema import TRACK, change, choice, count, share, table, text
from healscope.verdicts import margin, positive

# signal -> its natural optimum, if it has one
SIGNALS = {
    "id_train_loss_nats": "min",
    "id_test_loss_nats": "min",
    "id_train_accuracy": "max",
    "id_test_accuracy": "max",
    "id_entropy_nats": None,
    "id_kl_from_base_nats": None,
    "neutral_kl_from_base_nats": None,
    "weight_drift": None,
    "rotation_degrees": None,
}

LABELS, NO_LABELS = "OOD labels of other runs", "nothing"

BEST = "the rule that did best on other runs"


def signals(
    evaluations: list[str], signal_files: list[str], pools: list[str], sft: dict
) -> pd.DataFrame:
    """One row for each SFT checkpoint and seed ("all": mean): every signal, and OOD accuracy.

    Training accuracy is that on instances the seed was trained on, as its loss is.
    """
    rows = with_steps(trained_on(first_attempts(evaluations), pools, sft))
    rows = rows[rows["stage"] == "sft"].assign(seed=lambda r: r["seed"].astype(str))
    place = ["track", "seed", "step"]
    table = pd.concat([provenance.read_table(f) for f in signal_files], ignore_index=True)
    table = table.assign(seed=table["seed"].astype(str))
    for column, rule, split in (
        ("id_train_accuracy", "id", "train"),
        ("id_test_accuracy", "id", "held_out"),
        ("ood_test_accuracy", "ood", "held_out"),
    ):
        chosen = rows[(rows["rule"] == rule) & (rows["split"] == split)]
        share = chosen.groupby(place)["correct"].mean().rename(column)
        table = table.merge(share, on=place, how="left", validate="one_to_one")
    keep = [*place, *SIGNALS, "ood_test_accuracy"]
    whole = table.groupby(["track", "step"], as_index=False)[keep[3:]].mean().assign(seed="all")
    return pd.concat([whole, table[keep]], ignore_index=True)[keep]


def stopping(
    evaluations: list[str],
    signal_files: list[str],
    pools: list[str],
    landmark_files: list[str],
    sft: dict,
    statistics: Statistics,
) -> pd.DataFrame:
    """Return the regret of each stopping rule: OOD accuracy lost against the peak, ranked.

    Rules: "optimum", the lowest loss or best accuracy; "knee", where the signal's curve over the
    square root of the step is farthest from its chord; "level", the checkpoint nearest to the
    signal's mean level at the OOD peak of the other seeds, so it needs their OOD labels. Beside
    them the last checkpoint, one picked blindly (the mean over all), and "best": of the rules that
    need no labels the one with the least regret on other seeds and the other half of the instances,
    which is what following the top of this ranking would have cost. Every peak is the one that
    other seeds and instances pick (`marks.picked`).
    """
    logged = signals(evaluations, signal_files, pools, sft)
    found_marks = [provenance.read_json(f) for f in landmark_files]
    rows = with_steps(first_attempts(evaluations))
    rows = rows[(rows["stage"] == "sft") & (rows["rule"] == "ood") & (rows["split"] == "held_out")]
    peaks = at_landmarks(rows, landmark_files, ["maxood"])
    out = []
    for model, log in logged[logged["seed"] != "all"].groupby("track"):
        own, best = (part[part["track"] == model] for part in (rows, peaks))
        found = []
        known = {m["seed"]: m["landmarks"] for m in found_marks if m["track"] == model}
        for (signal, rule), steps in _stops(log, known).items():
            stop = [
                artifacts.sft(steps[str(seed)][half])
                for seed, half in zip(own["seed"], own["half"], strict=True)
            ]
            needs = LABELS if rule == "level" else NO_LABELS
            lost = stats.paired(own[own["checkpoint"] == stop], best)
            found.append((signal, rule, needs, ", ".join(map(_either, steps.values())), lost))
        blind = pd.concat(
            [stats.paired(part, best) for _, part in own.groupby("step")], ignore_index=True
        )
        found.append(("any checkpoint, picked blindly", "none", NO_LABELS, "", blind))
        found.append(_best(found))
        out += _ranked(model, found, statistics)
    return pd.DataFrame(out)


def _best(found: list[tuple]) -> tuple:
    """Return the rule without labels that other seeds and instances pick, as one more rule."""
    offered = {f"{signal}, {rule}": lost for signal, rule, needs, _, lost in found
               if rule in ("optimum", "knee") and needs == NO_LABELS}  # fmt: skip
    seeds = sorted({seed for lost in offered.values() for seed in lost["seed"]})
    picked = stats.picked_elsewhere(
        lambda name, seeds, half: (
            -stats.mean_of_seeds(stats.of_part(offered[name], seeds, half), "change")
        ),
        list(offered),
        seeds,
    )
    return BEST, "best", NO_LABELS, "", stats.at_picked(offered, picked)


def _ranked(model: str, found: list[tuple], statistics: Statistics) -> list[dict]:
    rows = []
    for signal, rule, needs, steps, lost in found:
        e = stats.bootstrap(lost, "change", statistics)
        rows.append(
            {"track": model, "seed": "all", "signal": signal, "rule": rule, "needs": needs,
             "stops_at": steps, "regret": e.value, "low": e.low, "high": e.high,
             "by_seed": list(e.by_seed.values())}
        )  # fmt: skip
    rows.sort(key=lambda r: r["regret"])
    return [{**row, "rank": i} for i, row in enumerate(rows, 1)]


def _either(halves: dict[str, int]) -> str:
    return "/".join(map(str, sorted(set(halves.values()))))


def _stops(
    log: pd.DataFrame, landmarks: dict[int, dict]
) -> dict[tuple[str, str], dict[str, dict[str, int]]]:
    """(signal, rule) -> seed -> half of the instances -> the SFT step where it stops.

    `landmarks`: those of each seed.
    """
    runs = {seed: run.sort_values("step") for seed, run in log.groupby("seed")}
    last = {seed: _both(run["step"].max()) for seed, run in runs.items()}
    found = {("last checkpoint", "none"): last}
    for signal, optimum in SIGNALS.items():
        curves = {s: (r["step"].to_numpy(), r[signal].to_numpy()) for s, r in runs.items()}
        if any(np.isnan(y).any() for _, y in curves.values()):
            continue  # not measured in this study
        if optimum:
            pick = np.argmin if optimum == "min" else np.argmax
            found[signal, "optimum"] = {s: _both(x[pick(y)]) for s, (x, y) in curves.items()}
        found[signal, "knee"] = {s: _both(knee(x, y)) for s, (x, y) in curves.items()}
        if len(runs) > 1:
            found[signal, "level"] = _levels(curves, landmarks)
    return found


def _both(step: int) -> dict[str, int]:
    return dict.fromkeys("ab", int(step))


def _levels(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], landmarks: dict[int, dict]
) -> dict[str, dict[str, int]]:
    """seed -> half -> the step nearest to the signal's mean level at the peaks of other seeds,
    which pick these peaks without it."""
    found: dict[str, dict[str, int]] = {}
    for seed, (x, y) in curves.items():
        others = {s: own for s, own in landmarks.items() if str(s) != seed}
        levels = {"a": [], "b": []}
        for other, halves in marks.picked(others).items():
            steps, values = curves[str(other)]
            for half, name in halves.items():
                levels[half].append(values[steps == artifacts.stage_and_step(name)[1]][0])
        found[seed] = {h: int(x[np.abs(y - np.mean(v)).argmin()]) for h, v in levels.items()}
    return found


def knee(steps: np.ndarray, values: np.ndarray) -> int:
    """Return the step where values, over the square root of the step, are farthest from their
    chord."""
    x = np.sqrt(steps.astype(float))
    chord = values[0] + (values[-1] - values[0]) * (x - x[0]) / (x[-1] - x[0])
    return int(steps[np.abs(values - chord).argmax()])


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


def section(table: pd.DataFrame) -> str:
    rows = [
        (r["rank"], r["signal"], r["rule"], r["needs"], r["stops_at"], level(r, "regret"))
        for r in table.to_dict("records")
    ]
    header = ["rank", "signal", "rule", "needs", "stops at (by seed)", "regret, OOD points"]
    return grid(header, rows)


_SIGNAL_COLUMNS = {
    **{column.name: column for column in SIGNAL_COLUMNS},
    "id_train_accuracy": share("id_train_accuracy", "ID accuracy on training deals"),
    "id_test_accuracy": share("id_test_accuracy", "ID accuracy on held-out deals"),
}

SIGNALS_SCHEMA = table(
    "signals",
    "One SFT checkpoint of one seed: every signal, and the OOD accuracy it might foretell.",
    (
        TRACK, SEED, SFT_STEP,
        *(_SIGNAL_COLUMNS[name] for name in SIGNALS),
        share("ood_test_accuracy", "OOD accuracy on held-out deals"),
    ),
    "track", "seed", "step",
)  # fmt: skip

STOPPING_SCHEMA = table(
    "stopping",
    "Regret of one stopping rule: OOD accuracy lost against the peak.",
    (
        TRACK, ALL_SEEDS,
        choice(
            "signal",
            ("last checkpoint", "any checkpoint, picked blindly", BEST,
             *SIGNALS),
            "what is watched",
        ),
        choice(
            "rule",
            ("none", "optimum", "knee", "level", "best"),
            "none; best value; farthest from the chord; mean level at other seeds' peaks; "
            "what did best on other seeds and instances",
        ),
        choice("needs", (LABELS, NO_LABELS), "what it takes beside a signal"),
        text("stops_at", "SFT step of each seed; empty for a blind pick"),
        change("regret", "OOD accuracy at the peak minus at the stop"),
        *interval(change),
        by_seed(),
        count("rank", "1: the least regret of this model", low=1),
    ),
    "track", "signal", "rule",
)  # fmt: skip

WATCHED = Finding(
    name="signals",
    schema=SIGNALS_SCHEMA,
    make=signals,
    inputs=lambda files: {
        "evaluations": files.evaluations(files.sft()),
        "signal_files": files.signals(),
        "pools": files.pools(),
    },
    asked=lambda files: files.trained,
)
STOPPING = Finding(
    name="stopping",
    schema=STOPPING_SCHEMA,
    make=stopping,
    inputs=lambda files: {
        "evaluations": files.evaluations(files.sft()),
        "signal_files": files.signals(),
        "pools": files.pools(),
        "landmark_files": files.landmarks(),
    },
    asked=lambda files: files.trained,
    order=5,
    claims=(loss,),
    claim_names=("(test|training)-loss-misses-the-peak",),
    title="Stopping without OOD labels, by regret",
    section=section,
)
