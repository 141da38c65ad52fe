"""Stated confidence: planted policies that know, that guess, and that always say the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from healscope import config
from healscope.config import Statistics
from healscope.config.files import read_together
from healscope.findings import calibration, confidence
from healscope.schema import check

ROOT = Path(__file__).parents[2]
SETTINGS = Statistics(resamples=400)
ALONE = {"main": False, "reward_alone": True}
RECIPES = {
    "plain": {"reward": "binary"} | ALONE,
    "sure": {"reward": "0.5 binary + 0.5 brier"} | ALONE,
    "group": {"reward": "binary", "main": False, "reward_alone": False},
}


def answers(checkpoint, says, right=(0.2, 0.8), draw=0, seeds=3, problems=160):
    """Greedy answers: problems are of two kinds, each right with its chance; `says` gives the
    confidence of a kind, a random one where it is None."""
    rng = np.random.default_rng([draw, len(checkpoint)])
    seed, problem = (a.ravel() for a in np.indices((seeds, problems)))
    kind = problem // 4 % 2
    said = rng.integers(0, 11, len(seed)) / 10
    if says is not None:
        said = np.asarray(says, float)[kind]
    rows = pd.DataFrame(
        {
            "track": "t", "seed": seed, "checkpoint": checkpoint, "rule": "id", "draw": problem,
            "sample": 0, "retried": False, "problem_id": [f"p{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem],
            "half": np.array(["a", "b"])[problem // 2 % 2], "confidence": said,
            "correct": rng.random(len(seed)) < np.asarray(right)[kind],
        }
    )  # fmt: skip
    return confidence.with_silent(rows)


def claims(says, right=(0.2, 0.8), control=None, control_right=(0.2, 0.8), draw=0):
    rows = pd.concat(
        [
            answers("plain-from-9", control, control_right, draw),
            answers("sure-from-9", says, right, draw + 100),
        ]
    )
    made = confidence.claims_of(rows, "sure-from-9", "plain-from-9", SETTINGS)
    return {c["claim"].removeprefix("brier-reward-"): c["verdict"] for c in made}


def test_a_policy_that_says_its_chances_knows_which():
    found = claims((0.2, 0.8))
    assert found["beats-recalibration"] == found["knows-which"] == "held"


def test_a_policy_that_always_says_its_accuracy_knows_nothing():
    """It has no calibration error at all."""
    rows = answers("sure-from-9", (0.5, 0.5))
    parts = calibration.murphy(rows["confidence"].to_numpy(), rows["correct"].to_numpy(float))
    assert parts["reliability"] < 0.002
    found = claims((0.5, 0.5))
    assert found["knows-which"] != "held"
    assert found["beats-recalibration"] != "held"


def test_a_control_that_a_map_can_mend_is_not_beaten():
    """Far too sure, but it knows which: the map makes it as good as the planted policy."""
    assert claims((0.2, 0.8), control=(0.9, 1.0))["beats-recalibration"] != "held"


def test_guesses_are_no_knowledge_and_a_lost_skill_has_a_price():
    assert claims(None)["knows-which"] == "did not hold"
    assert claims((0.1, 0.4), right=(0.1, 0.4))["costs-no-accuracy"] == "did not hold"


@pytest.mark.parametrize("right", [(0.02, 0.02), (0.98, 0.98)])
def test_where_all_answers_are_alike_nothing_is_decided(right):
    found = claims(right, right, control_right=right)
    assert found["beats-recalibration"] == found["knows-which"] == "undecided"
    # the gate is on both arms
    assert claims(right, right, control_right=(0.5, 0.5))["beats-recalibration"] == "undecided"


def test_lost_accuracy_is_no_calibration():
    """A low accuracy makes a low Brier score of any constant."""
    found = claims((0.2, 0.2), right=(0.2, 0.2), control_right=(0.5, 0.5))
    assert found["beats-recalibration"] != "held"
    assert found["knows-which"] != "held"


def test_one_confidence_for_all_is_also_that_of_silent_answers():
    n = np.arange(400)
    stated = n % 2 == 0  # 80% of these are right, and none of the others
    rows = answers("sure-from-9", (0.2, 0.8)).drop(columns=["brier", "unstated"]).head(1)
    rows = pd.concat([rows] * 400, ignore_index=True).assign(
        problem_id=n.astype(str), half=np.where(n // 20 % 2, "b", "a"),
        correct=stated & (n // 2 % 5 < 4), confidence=np.where(stated, 0.8, np.nan),
    )  # fmt: skip
    found = confidence.with_silent(rows)
    assert found["constant"].mean() == pytest.approx(0.4 * 0.6)


def test_an_answer_that_states_nothing_loses_all():
    rows = answers("sure-from-9", (0.2, 0.8)).drop(columns=["brier", "unstated"])
    wrong = ~rows["correct"] & (rows["draw"] % 3 == 0)
    found = confidence.with_silent(rows.assign(confidence=rows["confidence"].mask(wrong)))
    silent = found[found["unstated"] == 1]
    assert len(silent) == wrong.sum() > 20
    assert (silent["brier"] == 1.0).all()
    assert (silent["recalibrated"] == silent["constant"]).all()
    assert (
        found["brier"].mean()
        > rows.assign(b=(rows["confidence"] - rows["correct"]) ** 2)["b"].mean()
    )


def test_the_control_is_the_branch_paid_for_right_answers_alone():
    names = ["group-from-9", "plain-from-9", "plain-from-21", "sure-from-9"]
    assert confidence.arms(names, RECIPES) == {"sure-from-9": "plain-from-9"}
    assert confidence.arms(["sure-from-9", "group-from-9"], RECIPES) == {}


def test_the_study_compares_two_recipes_that_differ_in_their_reward_alone():
    shipped = ["config/config.yaml", "config/what-breaks.yaml"]
    study = config.load(read_together([str(ROOT / file) for file in shipped]))
    pairs = confidence.arms(study.branches, study.rl.facts())
    assert pairs == {"pays_brier-from-59": "pays_binary-from-59"}


def test_the_table_has_all_measures(monkeypatch):
    rows = pd.concat([answers("plain-from-9", None), answers("sure-from-9", (0.2, 0.8))])
    monkeypatch.setattr(confidence, "read", lambda *_: rows)
    table = confidence.measure([], [], {}, SETTINGS)
    check(table, confidence.SCHEMA)
    one = table[(table["checkpoint"] == "sure-from-9") & (table["seed"] == "all")]
    one = one.set_index("measure")["value"]
    assert set(one.index) == set(confidence.MEASURES)
    assert one["reliability"] < 0.01 < 0.05 < one["resolution"]
    assert "sure-from-9" in confidence.section(table)
    # a model that states nothing has no confidence to be split
    silent = rows.reset_index(drop=True).assign(confidence=float("nan"))
    monkeypatch.setattr(confidence, "read", lambda *_: confidence.with_silent(silent))
    table = confidence.measure([], [], {}, SETTINGS)
    check(table, confidence.SCHEMA)
    assert table.loc[table["measure"] == "resolution", "value"].isna().all()
    assert (table.loc[table["measure"] == "unstated", "value"] == 1).all()
