"""Plans and execution along RL: every token is counted once, planted phases, and their null."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import phases
from healscope.schema import check
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.decisions import decisions

SETTINGS = Statistics(resamples=500)
KEPT = np.arange(1, 100, 5)
GAME = GeneralPoints(name="g", cards=3, targets=(12,), rendering="compact", grade_number_line=True)
PROBLEM = make_problem(GAME, ("3", "4", "5"), "id", 12)


def responses(plan, execution, seeds=3, answers=256, draw=0):
    """First responses whose hazards along RL are these curves (functions of the iteration)."""
    rng, parts = np.random.default_rng(draw), []
    for seed in range(seeds):
        for iteration in KEPT:
            slips = rng.random(answers) < execution(iteration)
            fails = ~slips & (rng.random(answers) < plan(iteration))
            for kind, reached, error in (
                ("execution", np.full(answers, True), slips),
                ("plan", ~slips, fails),
            ):
                parts.append(
                    pd.DataFrame(
                        {
                            "track": "t", "seed": seed, "run": "ppo-from-9",
                            "iteration": iteration,
                            "instance_id": [f"i{i % 64}" for i in range(answers)],
                            "kind": kind, "reached": reached, "error": error,
                            "surprise": 0.2 * 5, "tokens": 5,
                        }
                    )
                )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def decay(start, end, rate):
    return lambda i: end + (start - end) * np.exp(-i / rate)


def verdict(plan, execution, draw=0):
    rows = responses(plan, execution, draw=draw)
    found = {c["claim"]: c for c in phases.claims_of("ppo-from-9", rows, SETTINGS)}
    return found["execution-errors-fall-first"]


def test_the_time_of_a_fall_is_that_of_its_curve():
    grid = np.arange(0.0, 400.0)
    assert phases.time_of_fall(grid, np.exp(-grid / 30)) == pytest.approx(30, rel=0.05)
    step = (grid < 120).astype(float)
    assert phases.time_of_fall(grid, step) == pytest.approx(119.5)
    assert np.isnan(phases.time_of_fall(grid, grid))


def test_planted_phases_are_seen_both_ways():
    fast, slow = decay(0.4, 0.02, 8), decay(0.4, 0.02, 40)
    first = verdict(slow, fast)
    assert first["verdict"] == "held"
    assert first["unit"] == "iterations"
    assert 10 < first["effect"] < 30
    assert verdict(fast, slow)["verdict"] == "did not hold"


def test_equal_relative_decay_is_no_phase():
    """Whatever their levels: 60 and 15%, the rarer one being the noisier."""
    said = [
        verdict(decay(0.6, 0.06, 20), decay(0.15, 0.015, 20), draw)["verdict"] for draw in range(12)
    ]
    assert said.count("held") <= 1
    swapped = [
        verdict(decay(0.15, 0.015, 20), decay(0.6, 0.06, 20), draw)["verdict"] for draw in range(12)
    ]
    assert swapped.count("held") <= 1


def test_what_was_never_there_is_undecided():
    gone = verdict(decay(0.4, 0.02, 40), decay(0.05, 0.0, 8))
    assert gone["verdict"] == "undecided"
    assert "execution 5% at the start" in gone["detail"] or "4%" in gone["detail"]


def test_one_seed_says_nothing_of_the_order():
    rows = responses(decay(0.4, 0.02, 40), decay(0.4, 0.02, 8), seeds=1)
    (first, *_) = phases.claims_of("ppo-from-9", rows, SETTINGS)
    assert first["verdict"] == "undecided"


def test_every_token_belongs_to_the_word_that_it_begins():
    said = "cards 3 4 5 number 3 4 5 formula ( 3 + 5 ) + 4 = 12"
    words = said.split()
    ends = np.cumsum([len(w) + (i > 0) for i, w in enumerate(words)]).tolist()
    logprobs = [-float(2**i) for i in range(len(words))]
    decided = decisions(GAME, PROBLEM, said)
    # with the end of the response, a token without a character
    found = phases.surprise(decided, [*logprobs, -0.5], [*ends, len(said)], said)
    plans = [i for i, d in enumerate(decided) if d.kind == "plan"]
    assert found["plan"] == (sum(2.0**i for i in plans), len(plans))
    assert found["execution"][1] == len(words) + 1 - len(plans)
    assert found["plan"][0] + found["execution"][0] == 2.0 ** len(words) - 1 + 0.5


def test_tokens_after_the_first_illegal_word_count_nowhere():
    said = "cards 3 4 6 number"
    ends = [5, 7, 9, 11, 18]
    found = phases.surprise(decisions(GAME, PROBLEM, said), [-1.0] * 5, ends, said)
    assert found == {"plan": (0.0, 0), "execution": (4.0, 4)}


def test_thought_before_the_answer_shifts_the_words():
    said = "<think> hm </think>cards 3"
    decided = decisions(GAME, PROBLEM, said)
    assert [said[d.start : d.end] for d in decided] == ["cards", "3", ""]


def test_the_table_holds_hazards_by_kind(monkeypatch):
    rows = responses(decay(0.4, 0.02, 40), decay(0.2, 0.02, 8))
    monkeypatch.setattr(phases, "read", lambda *_: rows)
    table = phases.measure([], [], {}, {}, Statistics(resamples=50))
    check(table, phases.SCHEMA)
    first = table[(table["iteration"] == 1) & (table["seed"] == "all")].set_index("kind")
    assert first.loc["execution", "hazard"] == pytest.approx(0.18, abs=0.03)
    assert first.loc["plan", "n"] == pytest.approx(3 * 256 * 0.82, rel=0.1)
    assert first["entropy_nats"].tolist() == pytest.approx([0.2, 0.2])
    assert "execution" in phases.section(table)


def test_seeds_as_units_have_honest_intervals():
    """Three seeds around 0 leave it out in about 5% of studies."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(400):
        values = dict(zip("012", rng.standard_normal(3), strict=True))
        e = phases.of_seeds(values, Statistics(resamples=400), 3, "iterations")
        missed += not e.low < 0 < e.high
    assert missed / 400 < 0.08
