"""Outcomes by rewards: planted changes, rewards that all do the same, and what was never there."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import contrasts, what_breaks
from healscope.schema import check

SETTINGS = Statistics(resamples=400)
PAID = {"ppo": "verdict", **{f"pays_{name}": name for name in ("binary", "canonical", "format")}}
RECIPES = {
    name: {"reward": paid, "main": name == "ppo", "reward_alone": name != "ppo"}
    for name, paid in PAID.items()
} | {"other": {"reward": "binary", "main": False, "reward_alone": False}}


def rows(after, before=0.4, outcome="ood", draw=0, seeds=3, problems=120):
    """Answers before and after RL: recipe -> share right after. Each seed moves all by its own."""
    rng, parts = np.random.default_rng(draw), []
    luck = rng.normal(0, 0.03, (seeds, len(after)))
    known = {"sft-59": np.full(seeds, before)}
    known |= {
        f"{name}-from-59": share + luck[:, i] for i, (name, share) in enumerate(after.items())
    }
    chance = rng.random((seeds, problems))  # hard problems are hard to all
    seed, problem = (a.ravel() for a in np.indices((seeds, problems)))
    for checkpoint, share in known.items():
        noise = rng.random((seeds, problems))
        value = 0.5 * chance + 0.5 * noise < share[:, None]
        parts.append(
            pd.DataFrame(
                {
                    "track": "t", "seed": seed, "draw": 0, "sample": 0,
                    "problem_id": [f"p{p}" for p in problem],
                    "instance_id": [f"i{p // 2}" for p in problem],
                    "half": np.array(["a", "b"])[problem // 2 % 2], "retried": False,
                    "checkpoint": checkpoint, "outcome": outcome, "value": 1.0 * value.ravel(),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def claim(*given, **more):
    found = what_breaks.claims_of(rows(*given, **more), RECIPES, SETTINGS)
    return next(c for c in found if not c["claim"].endswith("right-ones"))


def test_a_reward_that_breaks_something_decides_it():
    after = {"ppo": 0.45, "pays_binary": 0.45, "pays_canonical": 0.42, "pays_format": 0.1}
    every, _, right, _ = what_breaks.claims_of(rows(after), RECIPES, SETTINGS)
    assert every["claim"] == "reward-decides-ood"
    assert every["verdict"] == "held"
    assert every["low"] > 0.1
    assert "pays_format (format) -" in every["detail"]
    # no reward that pays right answers does
    assert right["claim"] == "reward-decides-ood-among-right-ones"
    assert right["verdict"] != "held"
    assert "format" not in right["detail"]


def test_where_nothing_breaks_no_reward_decides_what_does():
    """Rewards that differ in how much they help break nothing."""
    gains = {"ppo": 0.8, "pays_binary": 0.8, "pays_canonical": 0.8, "pays_format": 0.45}
    breaks, moves = what_breaks.claims_of(rows(gains), RECIPES, SETTINGS)[:2]
    assert breaks["low"] > 0.1
    assert breaks["verdict"] != "held"
    assert moves["claim"] == "reward-moves-ood"  # though it decides what RL does
    assert moves["verdict"] == "held"


def test_rewards_that_do_the_same_decide_nothing():
    """The best and the worst of four always differ; picked elsewhere, they do by nothing."""
    same = dict.fromkeys(PAID, 0.3)  # all of them break it
    both = [what_breaks.claims_of(rows(same, draw=d), RECIPES, SETTINGS)[:2] for d in range(12)]
    assert abs(np.mean([moves["effect"] for _, moves in both])) < 0.03
    for which in (0, 1):
        assert [claims[which]["verdict"] for claims in both].count("held") <= 1
    spread = []
    for draw in range(12):
        made = rows(same, draw=draw)
        means = [what_breaks.changes(made, f"{n}-from-59", "ood")["change"].mean() for n in PAID]
        spread.append(max(means) - min(means))
    assert np.mean(spread) > 0.03  # which is what picking without a second half would claim


def test_of_outcomes_that_are_worse_where_they_rise_the_sign_turns():
    found = claim({"ppo": 0.4, "pays_format": 0.9}, outcome="one formula")
    assert found["verdict"] == "held"
    assert found["effect"] < -0.3
    assert claim({"ppo": 0.4, "pays_format": 0.1}, outcome="one formula")["verdict"] != "held"


def test_what_was_never_there_cannot_be_lost():
    assert claim({"ppo": 0.09, "pays_binary": 0.001}, before=0.09)["verdict"] == "undecided"
    assert claim({"ppo": 0.3, "pays_binary": 0.04}, before=0.3)["verdict"] == "held"


def test_a_branch_that_lacks_seeds_is_named_and_compared_in_the_others():
    after = {"ppo": 0.45, "pays_binary": 0.45, "pays_canonical": 0.45, "pays_format": 0.1}
    made = rows(after)
    gone = (made["checkpoint"] == "pays_canonical-from-59") & (made["seed"] > 0)
    whole = what_breaks.claims_of(made, RECIPES, SETTINGS)[0]
    lacking = what_breaks.claims_of(made[~gone], RECIPES, SETTINGS)[0]
    assert lacking["verdict"] == whole["verdict"] == "held"
    assert lacking["effect"] == pytest.approx(whole["effect"], abs=0.06)
    assert "not in all seeds: pays_canonical-from-59" in lacking["detail"]


def test_a_reward_that_breaks_all_seeds_but_the_one_that_failed_is_seen():
    after = {"ppo": 0.45, "pays_binary": 0.45, "pays_canonical": 0.45, "pays_format": 0.1}
    made = rows(after)
    gone = (made["checkpoint"] == "pays_format-from-59") & (made["seed"] == made["seed"].max())
    whole, lacking = (what_breaks.claims_of(r, RECIPES, SETTINGS)[0] for r in (made, made[~gone]))
    assert lacking["detail"].count("pays_format-from-59") == 1
    assert 0.5 < lacking["effect"] / whole["effect"] < 0.8  # two seeds of three


def test_formulas_follow_on_the_problems_that_were_right_before():
    """An answer that is wrong by now still counts; one that cannot be begun is asked nothing."""
    made = []
    for name, follow in {"sft-59": (1, 1, 0, 0), "ppo-from-59": (1, None, 1, 0)}.items():
        for p, value in enumerate(follow):
            own = {"track": "t", "seed": 0, "checkpoint": name, "problem_id": f"p{p}", "rule": "id",
                   "instance_id": f"i{p}", "half": "a", "follows": False}  # fmt: skip
            right = p < 3 if name == "sft-59" else p == 3
            made.append(own | {"intervention": "", "correct": right})
            if value is not None:
                forced = {"intervention": "counterfactual", "correct": right}
                made.append(own | forced | {"follows": bool(value)})
    found = what_breaks.follows(pd.DataFrame(made)).set_index(["checkpoint", "problem_id"])["value"]
    assert found.loc["sft-59"].to_dict() == {"p0": 1, "p1": 1, "p2": 0}
    assert found.loc["ppo-from-59"].drop("p1").to_dict() == {"p0": 1, "p2": 1}
    assert np.isnan(found.loc[("ppo-from-59", "p1")])


def test_formulas_that_cannot_be_begun_are_no_loss():
    """Before RL and after it the same shares follow, and cannot be begun."""
    rng, made = np.random.default_rng(0), []
    for name in ("sft-59", "ppo-from-59"):
        for p in range(3000):
            own = {
                "track": "t", "seed": 0, "checkpoint": name, "problem_id": f"p{p}", "rule": "id",
                "instance_id": f"i{p}", "half": "a", "follows": False, "correct": True,
            }  # fmt: skip
            made.append(own | {"intervention": ""})
            if rng.random() < 0.9:
                said = {"intervention": "counterfactual", "follows": rng.random() < 0.6}
                made.append(own | said)
    found = what_breaks.follows(pd.DataFrame(made)).pivot(
        index="problem_id", columns="checkpoint", values="value"
    )
    change = found["ppo-from-59"] - found["sft-59"]
    assert change.mean() == pytest.approx(0, abs=0.04)


def test_recipes_that_differ_in_more_than_the_reward_are_left_out():
    made = rows({"ppo": 0.4, "pays_binary": 0.4, "other": 0.9})
    assert contrasts.rewards_alone(RECIPES, made["checkpoint"].unique()[1:])[59] == {
        "ppo-from-59": "verdict", "pays_binary-from-59": "binary",
    }  # fmt: skip
    assert contrasts.rewards_alone(RECIPES, ["ppo-from-9", "pays_format-from-59"])[59] == {
        "pays_format-from-59": "format"
    }


def test_the_table_has_a_row_for_each_outcome_and_reward():
    after = {"ppo": 0.5, "pays_format": 0.1}
    made = pd.concat([rows(after), rows(after, outcome="miscalibration", draw=1)])
    table = what_breaks.table_of(made, RECIPES, SETTINGS)
    check(table, what_breaks.SCHEMA)
    whole = table[table["seed"] == "all"].set_index(["reward", "outcome"])
    assert len(whole) == 4
    twice = pd.concat([table, table.assign(track="u")])  # two tracks, and two recipes of one reward
    again = table[table["recipe"] == "ppo"].assign(recipe="again")
    assert what_breaks.section(pd.concat([twice, again])).count("| ood |") == 2
    nothing = what_breaks.table_of(made[made["checkpoint"] == "sft-59"], RECIPES, SETTINGS)
    assert nothing.empty
    assert whole.loc[("format", "ood"), "change"] == pytest.approx(-0.3, abs=0.08)
    assert "| ood |" in what_breaks.section(table)
