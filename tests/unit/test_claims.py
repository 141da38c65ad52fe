"""Verdicts follow their rules on made worlds where the truth is known."""

import pandas as pd
import pytest

from healscope import claims
from healscope.config import Statistics
from healscope.stats import Estimate


@pytest.mark.parametrize(
    ("low", "high", "seeds", "rises", "falls", "still"),
    [
        (0.10, 0.20, [0.14, 0.16], "held", "did not hold", "did not hold"),
        (-0.20, -0.10, [-0.14, -0.16], "did not hold", "held", "did not hold"),
        (-0.01, 0.02, [0.0, 0.01], "undecided", "undecided", "held"),
        (-0.10, 0.20, [-0.1, 0.2], "undecided", "undecided", "undecided"),
        (0.01, 0.20, [-0.01, 0.2], "undecided", "did not hold", "undecided"),
    ],
)
def test_verdicts(low, high, seeds, rises, falls, still):
    e = Estimate(sum(seeds) / 2, low, high, {str(i): v for i, v in enumerate(seeds)})
    assert claims.positive(e) == rises
    assert claims.negative(e) == falls
    assert claims.negligible(e) == still


GRID = [0, 10, 50, 100]


def world(ood, rl_ood, id_train=(0.0, 0.4, 0.6, 0.9)):
    """Attempts whose accuracy is as given, on 200 deals, two seeds; RL starts at every step."""
    rows = []

    def add(variant, rule, split, share, seed):
        for deal in range(200):
            rows.append(
                {"model": "m", "seed": seed, "variant": variant, "problem_id": f"{deal}:{rule}",
                 "deal_id": str(deal), "split": split, "rule": rule, "sample": 0,
                 "correct": deal < share * 200}
            )  # fmt: skip

    for seed in (0, 1):
        for i, step in enumerate(GRID):
            add(f"sft-{step}", "ood", "held_out", ood[i], seed)
            add(f"sft-{step}", "id", "held_out", 0.3, seed)
            add(f"sft-{step}", "id", "train", id_train[i], seed)
            add(f"ppo-from-{step}", "ood", "held_out", rl_ood[i], seed)
    from healscope import tables

    rows = tables.with_steps(pd.DataFrame(rows))
    best = GRID[max(range(4), key=lambda i: ood[i])]
    marks = {
        "maxood": {"checkpoint": f"sft-{best}", "step": best},
        "end": {"checkpoint": "sft-50", "step": 50},
        "rl": {"checkpoint": "ppo-from-50"},
    }
    log = pd.DataFrame(
        {"step": GRID * 2, "seed": [0] * 4 + [1] * 4,
         "id_test_loss_nats": [4, 3, 2, 1] * 2, "id_train_loss_nats": [4, 3, 2, 1] * 2}
    )  # fmt: skip
    return claims.Data(
        rows=rows[rows["split"] == "held_out"],
        train_rows=rows[rows["split"] == "train"],
        edits=rows.head(0),
        training=log,
        landmarks={0: marks, 1: marks},
        settings=Statistics(resamples=200),
    )


def verdict_of(rows, claim):
    return next(r["verdict"] for r in rows if r["claim"] == claim)


def test_the_papers_world_holds():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    forgetting = claims._forgetting(d)
    assert verdict_of(forgetting, "ood-peaks-early-then-falls") == "held"
    assert verdict_of(forgetting, "id-rises-meanwhile-train") == "held"
    assert verdict_of(forgetting, "id-rises-meanwhile-held-out") == "undecided"
    assert verdict_of(claims._loss(d), "test-loss-misses-the-peak") == "held"
    window = claims._window(d)
    assert verdict_of(window, "rl-heals-inside-a-window") == "held"
    assert verdict_of(window, "rl-does-not-exceed-the-peak") == "held"


def test_other_worlds_do_not():
    rising = world(ood=(0, 0.1, 0.3, 0.5), rl_ood=(0.3, 0.4, 0.4, 0.7))
    assert verdict_of(claims._forgetting(rising), "ood-peaks-early-then-falls") != "held"
    assert verdict_of(claims._loss(rising), "test-loss-misses-the-peak") != "held"
    assert verdict_of(claims._window(rising), "rl-heals-inside-a-window") == "did not hold"
    above = world(ood=(0, 0.3, 0.2, 0.1), rl_ood=(0, 0.3, 0.6, 0.1))
    assert verdict_of(claims._window(above), "rl-does-not-exceed-the-peak") == "did not hold"


def test_the_branch_that_ends_highest_is_held_against_the_peak():
    d = world(
        ood=(0, 0.5, 0.2, 0.1), rl_ood=(0, 0.7, 0.4, 0.1)
    )  # from 50 heals more, from 10 ends higher
    rows = claims._window(d)
    assert verdict_of(rows, "rl-does-not-exceed-the-peak") == "did not hold"


def test_no_window_without_a_middle():
    assert claims._window_verdict([], [Estimate(0, 0, 0, {}), Estimate(0, 0, 0, {})]) == "undecided"


def test_wide_ends_leave_the_window_open():
    """That an end is not shown to be healed does not show that it is not."""
    healed = Estimate(0.2, 0.1, 0.3, {"0": 0.2})
    unknown = Estimate(0.1, -0.1, 0.3, {"0": 0.1})
    nothing = Estimate(0.0, -0.01, 0.01, {"0": 0.0})
    assert claims._window_verdict([healed], [nothing, unknown]) == "undecided"
    assert claims._window_verdict([healed], [nothing, nothing]) == "held"
    assert claims._window_verdict([healed], [healed, nothing]) == "did not hold"
    assert claims._window_verdict([nothing], [nothing, nothing]) == "did not hold"


def reverted(change, gap):
    row = claims._reverted("sft", change[0], "ood", *(Estimate(v, v - 0.01, v + 0.01, {"0": v})
                                                     for v in (change[1], gap)))  # fmt: skip
    return row["verdict"]


def test_a_reversion_is_judged_only_where_there_is_something_to_revert():
    assert reverted(("values", 0.0), gap=0.3) == "held"
    assert reverted(("values", 0.3), gap=0.3) == "did not hold"
    assert reverted(("directions", 0.3), gap=0.3) == "held"
    assert reverted(("directions", 0.0), gap=0.3) == "did not hold"
    assert reverted(("values", 0.0), gap=0.0) == "undecided"
    assert reverted(("directions", 0.0), gap=0.0) == "undecided"


def test_a_late_peak_is_no_early_peak():
    d = world(ood=(0, 0.2, 0.5, 0.2), rl_ood=(0, 0.2, 0.5, 0.2))
    assert verdict_of(claims._forgetting(d), "ood-peaks-early-then-falls") == "did not hold"
