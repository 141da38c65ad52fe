"""Repairs after a critique: which problems count, planted effects, leaks and floors."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import RL, Statistics
from healscope.findings import critique
from healscope.schema import check

SETTINGS = Statistics(resamples=500)
N = 160


def frame(said, right, rng, checkpoint="sft-9", attempt=2):
    seed, problem = (a.ravel() for a in np.indices((3, N)))
    return pd.DataFrame(
        {
            "track": "t", "seed": seed, "problem_id": [f"p{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem], "draw": problem, "sample": 0,
            "half": np.array(["a", "b"])[problem % 2], "rule": "id", "retried": True,
            "checkpoint": checkpoint, "said": said, "attempt": attempt, "split": "held_out",
            "correct": rng.random(3 * N) < right,
        }
    )  # fmt: skip


def second(draw=0, **right):
    rng = np.random.default_rng(draw)
    usual = {"none": 0.05, "leak": 0.1, "critique": 0.1, "another": 0.05} | right
    return pd.concat([frame(said, r, rng) for said, r in usual.items()], ignore_index=True)


def after(draw=0, **right):
    rng = np.random.default_rng([draw, 1])
    usual = {"start": 0.3, "grpo": 0.4, "critique": 0.4, "leak": 0.4, "none": 0.4} | right
    names = {"start": "sft-9"}
    parts = [
        frame(s, r, rng, names.get(s, f"{s}-from-9"), attempt=1).assign(attempt=1)
        for s, r in usual.items()
    ]
    return pd.concat(parts, ignore_index=True)


def verdicts(repaired, learned):
    return {c["claim"]: c["verdict"] for c in critique.claims_of(repaired, learned, SETTINGS)}


def test_a_planted_critique_repairs_beyond_its_leak():
    said = verdicts(second(critique=0.5), after(critique=0.6))
    assert set(said.values()) == {"held"}
    assert len(said) == 3


def test_where_what_is_shown_repairs_as_much_words_do_not():
    said = verdicts(second(critique=0.5, leak=0.5), after(critique=0.6, leak=0.6))
    assert said["critique-repairs"] == "held"
    assert said["critique-repairs-beyond-its-leak"] != "held"
    said = verdicts(second(critique=0.5), after())
    assert said["critique-adds-to-rl"] != "held"
    other = verdicts(second(critique=0.5, another=0.5), after())
    assert other["critique-repairs-beyond-its-leak"] != "held"


def test_where_nothing_is_repaired_nothing_is_decided():
    said = verdicts(second(critique=0.06, leak=0.0, none=0.0), after(critique=0.6))
    assert set(said.values()) == {"undecided"}


def test_a_critique_that_repairs_less_than_what_it_shows_did_not_hold():
    """Though it repairs less than what can be seen by itself."""
    said = verdicts(second(critique=0.05, leak=0.6), after())
    assert said["critique-repairs-beyond-its-leak"] == "did not hold"


def test_messages_that_do_the_same_are_seldom_told_apart():
    alike = dict.fromkeys(("none", "leak", "critique", "another"), 0.2)
    said = [verdicts(second(draw, **alike), after(draw)) for draw in range(10)]
    for claim in said[0]:
        assert [v[claim] for v in said].count("held") <= 1, claim


def test_only_problems_whose_first_answers_were_all_wrong_count(monkeypatch):
    place = {"track": "t", "seed": 0, "rule": "id", "draw": 0, "episode_id": None}
    place |= {"split": "held_out"}
    made = [
        {"problem_id": problem, "sample": sample, "attempt": 1, "feedback": "", "correct": right}
        for problem, rights in {"never": (0, 0), "sampled": (0, 1)}.items()
        for sample, right in enumerate(rights)
    ]
    made += [
        {"problem_id": problem, "sample": 0, "attempt": 2, "feedback": "critique", "correct": 1}
        for problem in ("never", "sampled")
    ]
    rows = pd.DataFrame([place | row for row in made]).astype({"correct": bool})
    monkeypatch.setattr(critique, "steps", lambda *_: rows)
    found = critique.repairs([])
    assert list(found["problem_id"]) == ["never"]
    assert list(found["said"]) == ["critique"]


def test_the_table_has_repairs_and_accuracies(monkeypatch):
    monkeypatch.setattr(critique, "repairs", lambda *_: second(critique=0.5))
    monkeypatch.setattr(critique, "accuracies", lambda *_: after())
    table = critique.measure([], [], {}, SETTINGS)
    check(table, critique.SCHEMA)
    whole = table[table["seed"] == "all"].set_index(["measure", "said"])["share"]
    assert whole["repair", "critique"] == pytest.approx(0.5, abs=0.05)
    assert whole["accuracy", "grpo"] == pytest.approx(0.4, abs=0.05)
    assert "critique" in critique.section(table)


def test_arms_are_read_from_the_recipes_also_of_tracks_beside():
    own = {"like": "ppo", "samples_per_prompt": 8, "reward": {"binary": 1.0}, "credit": {}}
    recipes = {
        "plain": own,
        "critic": {"like": "plain", "off_policy": {}},
        "leaky": {"like": "critic", "off_policy": {"feedback": "leak"}},
        "no_spread": {"like": "plain", "credit": {"spread": False}},
    }
    beside = {"talker": dict.fromkeys(recipes, [9])}
    study = RL.model_validate({"recipes": recipes, "branches": {"ppo": [9]}, "branches_of": beside})
    assert study.retry_arms() == {"plain": "grpo", "critic": "critique", "leaky": "leak"}
