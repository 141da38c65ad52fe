"""Forms of answers: a policy that is known, selection alone as null, and planted effects."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import forms
from healscope.schema import check

SETTINGS = Statistics(resamples=500)
SHARES, RIGHT = {"fA": 0.2, "fB": 0.8}, {"fA": 0.6, "fB": 0.3}
PROBLEMS, SAMPLES = 120, 32


def answers(shares, right, checkpoint, seeds=3, rng=None):
    """Sampled answers of a policy with these shares of forms and accuracies of each."""
    rng = rng or np.random.default_rng(0)
    size = (seeds, PROBLEMS, SAMPLES)
    names = np.array(list(shares))
    used = rng.choice(len(names), size, p=list(shares.values()))
    correct = rng.random(size) < np.array([right[n] for n in names])[used]
    seed, problem, sample = (a.ravel() for a in np.indices(size))
    return pd.DataFrame(
        {
            "track": "t", "seed": seed, "rule": "id", "draw": problem, "sample": sample + 1,
            "problem_id": [f"p{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem],
            "half": np.array(["a", "b"])[problem % 2], "retried": True, "checkpoint": checkpoint,
            "form": names[used].ravel(), "right": correct.ravel(),
        }
    )  # fmt: skip


def verdicts(after_shares, after_right=RIGHT, draws=0):
    rng = np.random.default_rng(draws)
    before = answers(SHARES, RIGHT, "sft-0", rng=rng)
    after = answers(after_shares, after_right, "ppo-from-0", rng=rng)
    found = forms.claims_of("ppo-from-0", before, after, SETTINGS)
    return {c["claim"]: c for c in found}


def test_what_selection_gives_is_that_of_the_formula():
    """It is the limit, as beta goes to 0, of the policy that is best for 0/1 rewards."""
    counted = forms.by_problem(answers(SHARES, RIGHT, "sft-0"))
    expected = 0.2 * 0.6 / (0.2 * 0.6 + 0.8 * 0.3)
    assert counted[counted["form"] == "fA"]["selected"].mean() == pytest.approx(expected, abs=0.02)

    def best(beta):
        weights = {f: s * (1 + RIGHT[f] * np.expm1(1 / beta)) for f, s in SHARES.items()}
        return weights["fA"] / sum(weights.values())

    assert best(1.0) == pytest.approx(0.251, abs=5e-4)
    assert best(0.5) == pytest.approx(0.293, abs=5e-4)
    assert best(0.01) == pytest.approx(expected, abs=1e-6)


def test_selection_alone_amplifies_and_goes_no_further():
    wrongly = 0
    for draw in range(8):
        found = verdicts({"fA": 1 / 3, "fB": 2 / 3}, draws=draw)
        assert found["rl-amplifies-a-form"]["verdict"] == "held"
        assert "form fA" in found["rl-amplifies-a-form"]["detail"]
        beyond = found["rl-amplifies-beyond-selection"]
        assert abs(beyond["effect"]) < 0.03
        wrongly += beyond["verdict"] == "held"
    assert wrongly <= 1


def test_more_than_selection_is_seen():
    found = verdicts({"fA": 0.9, "fB": 0.1})
    assert found["rl-amplifies-beyond-selection"]["verdict"] == "held"
    assert found["rl-amplifies-beyond-selection"]["effect"] == pytest.approx(0.9 - 1 / 3, abs=0.03)
    assert found["rl-raises-pass-at-1"]["verdict"] == "held"


def test_a_form_that_the_start_hardly_has_cannot_be_amplified():
    """It reads undecided, not "did not hold"."""
    rng = np.random.default_rng(1)
    before = answers({"fA": 0.01, "fB": 0.99}, RIGHT, "sft-0", rng=rng)
    after = answers({"fA": 0.5, "fB": 0.5}, RIGHT, "ppo-from-0", rng=rng)
    found = {c["claim"]: c for c in forms.claims_of("ppo-from-0", before, after, SETTINGS)}
    assert found["rl-amplifies-a-form"]["verdict"] == "undecided"
    assert found["rl-amplifies-a-form"]["effect"] > 0.4


def test_new_solutions_are_told_from_chance():
    """Rare successes look new in any second draw: the null says how many do."""
    rare = {"fA": 0.02, "fB": 0.02}
    before = answers(SHARES, rare, "sft-0")
    first, second = forms._halves(before)
    by_chance = forms._new(first, second)["value"].mean()
    assert by_chance > 0.5
    assert forms._new(first, first)["value"].mean() == 0.0


def test_the_table_has_every_measure(monkeypatch):
    rng = np.random.default_rng(2)
    rows = pd.concat(
        [
            answers(SHARES, RIGHT, "sft-0", rng=rng),
            answers({"fA": 0.5, "fB": 0.5}, RIGHT, "ppo-from-0", rng=rng),
        ]
    )
    monkeypatch.setattr(forms, "read", lambda *_: rows)
    table = forms.measure([], [], {}, SETTINGS)
    assert set(table["measure"]) == set(forms.MEASURES)
    check(table, forms.SCHEMA)
    whole = table[(table["seed"] == "all") & (table["form"] == "fA")].set_index("measure")["value"]
    assert whole["share at the start"] == pytest.approx(0.2, abs=0.02)
    assert whole["share"] == pytest.approx(0.5, abs=0.02)
    assert whole["accuracy"] == pytest.approx(0.6, abs=0.02)
    assert "fA" in forms.section(table)


def test_a_failed_run_of_one_seed_loses_nothing():
    rng = np.random.default_rng(3)
    before = answers(SHARES, RIGHT, "sft-0", rng=rng)
    after = answers(SHARES, RIGHT, "ppo-from-0", rng=rng)
    found = {
        c["claim"]: c
        for c in forms.claims_of("ppo-from-0", before, after[after["seed"] < 2], SETTINGS)
    }
    assert found["rl-adds-no-solved-problem"]["seeds"] == 2
    assert abs(found["rl-adds-no-solved-problem"]["effect"]) < 0.05
    assert abs(found["rl-amplifies-a-form"]["effect"]) < 0.05


def test_a_form_that_is_gone_after_rl_has_no_share_there():
    found = verdicts({"fA": 1.0})
    assert found["rl-amplifies-a-form"]["effect"] == pytest.approx(0.8, abs=0.03)
    rng = np.random.default_rng(5)
    new = answers({"fC": 1.0}, {"fC": 0.5}, "ppo-from-0", rng=rng)
    both = forms.changes(answers(SHARES, RIGHT, "sft-0", rng=rng), new)
    assert both.groupby("form")["share"].mean().to_dict() == {"fA": 0.0, "fB": 0.0, "fC": 1.0}
    assert both["samples"].notna().all()
