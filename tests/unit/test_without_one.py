"""Hands with a card less: each solvable by brute force, planted gains and collapses, and floors."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import without_one
from healscope.schema import check
from healscope.tasks.cards import neighbours
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.solver import formulas

SETTINGS = Statistics(resamples=500)
WHOLE, LESS = without_one.HANDS.values()
GAME = GeneralPoints(name="g", cards=3, targets=(6, 12, 24), rendering="compact")


def test_every_hand_with_a_card_less_is_part_of_its_hand_and_can_be_solved():
    table = neighbours.without_one(GAME, 40, 0)
    whole, less = (table[table["distance"] == d].reset_index(drop=True) for d in (0, -1))
    assert len(whole) == len(less) >= 20
    for one, other in zip(whole.to_dict("records"), less.to_dict("records"), strict=True):
        assert len(other["cards"]) == len(one["cards"]) - 1
        rest = list(one["cards"])
        for card in other["cards"]:
            rest.remove(card)
        assert formulas(other["values"], other["target"])
        assert (one["instance_id"], one["half"]) == (other["instance_id"], other["half"])
    assert set(table["split"]) == {"held_out"}
    assert table["problem_id"].is_unique
    assert table.equals(neighbours.without_one(GAME, 40, 0))
    trained = set(GAME.sft_table()["instance_id"])
    assert not trained & set(whole["instance_id"])


def test_hands_to_be_taught_are_left_of_training_hands():
    pool = GAME.less_table()
    whole = GAME.sft_table()
    assert list(pool.columns) == list(whole.columns)
    assert pool["problem_id"].is_unique
    pairs = {(*sorted(row.cards), row.target) for row in pool.itertuples()}
    left = {
        (*sorted(row.cards[:i] + row.cards[i + 1 :]), row.target)
        for row in whole.itertuples()
        for i in range(3)
    }
    assert pairs == {hand for hand in left if formulas(GAME.id_rule.values(hand[:2]), hand[2])}
    for row in pool.head(40).to_dict("records"):
        assert GAME.verify(GAME.read(row), row["response"]).outcome == "correct"
        assert row["prompt"].split()[:6] == whole["prompt"].iloc[0].split()[:6]


def test_a_control_is_the_ceiling_of_hands_with_a_card_less(monkeypatch):
    found = rows({"sft-9": (0.5, 0.4), "ppo-from-9": (0.6, 0.2), "sft_less-from-9": (0.3, 0.9)})
    found = found.assign(neighbour=found["hand"].map({WHOLE: neighbours.ANCHOR,
                                                      LESS: neighbours.WITHOUT_ONE}))  # fmt: skip
    monkeypatch.setattr(without_one, "first_attempts", lambda *_, **__: found)
    facts = {"ppo": {"kind": "rl"}, "sft_less": {"kind": "control"}}
    read = without_one.read([], facts)
    assert set(read.loc[read["checkpoint"] == "sft_less-from-9", "hand"]) == {without_one.CEILING}
    assert set(read.loc[read["checkpoint"] == "ppo-from-9", "hand"]) == {WHOLE, LESS}
    (*_, claim) = without_one.claims_of(read, "sft-9", "ppo-from-9", SETTINGS)
    taught = 100 * read.loc[read["hand"] == without_one.CEILING, "correct"].mean()
    assert f"taught such hands, SFT reaches {taught:.0f}%" in claim["detail"]


def test_a_hand_of_two_cards_has_none_to_spare():
    with pytest.raises(ValueError, match="none to spare"):
        neighbours.without_one(GeneralPoints(name="g", cards=2, targets=(6,)), 4, 0)


def rows(shares, draw=0):
    """Answers of checkpoints: name -> share right of whole hands, and of those with a card less."""
    rng, parts = np.random.default_rng(draw), []
    for checkpoint, of_hands in shares.items():
        for hand, right in zip((WHOLE, LESS), of_hands, strict=True):
            seed, problem = (a.ravel() for a in np.indices((3, 160)))
            parts.append(
                pd.DataFrame(
                    {
                        "track": "t", "seed": seed, "draw": problem, "sample": 0,
                        "problem_id": [f"{hand}{p}" for p in problem],
                        "instance_id": [f"i{p // 2}" for p in problem],
                        "half": np.array(["a", "b"])[problem % 2], "retried": False, "hand": hand,
                        "checkpoint": checkpoint, "correct": rng.random(len(seed)) < right,
                        "stage": "rl" if "from" in checkpoint else "sft", "step": 9,
                        "recipe": "ppo" if "from" in checkpoint else "",
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def verdicts(start, end, draw=0):
    found = rows({"sft-9": start, "ppo-from-9": end}, draw)
    claims = without_one.claims_of(found, "sft-9", "ppo-from-9", SETTINGS)
    return {c["claim"]: c["verdict"] for c in claims}


def test_gain_and_collapse_are_two_things():
    said = verdicts((0.4, 0.4), (0.9, 0.4))
    assert said["rl-gain-does-not-carry-over"] == "held"
    assert said["rl-gain-does-not-carry-over-where-wrong"] == "held"
    assert said["rl-collapses-on-a-card-less"] != "held"
    said = verdicts((0.4, 0.5), (0.4, 0.2))
    assert said["rl-collapses-on-a-card-less"] == "held"


def test_equal_gains_carry_over():
    said = [verdicts((0.4, 0.4), (0.6, 0.6), draw) for draw in range(8)]
    for claim in said[0]:
        assert [s[claim] for s in said].count("held") <= 1, claim


def test_a_memory_of_trained_hands_gains_on_whole_hands_alone():
    """From a start at 0 it has nothing to lose: undecided, whatever the difference."""
    found = rows({"sft-9": (0.0, 0.0), "ppo-from-9": (1.0, 0.0)})
    claims = without_one.claims_of(found, "sft-9", "ppo-from-9", SETTINGS)
    assert claims[0]["effect"] == 1.0
    assert {c["verdict"] for c in claims} == {"undecided"}


def test_the_table_has_both_hands(monkeypatch):
    found = rows({"sft-9": (0.4, 0.5), "ppo-from-9": (0.6, 0.3)})
    monkeypatch.setattr(without_one, "read", lambda *_: found)
    table = without_one.measure([], {}, SETTINGS)
    check(table, without_one.SCHEMA)
    assert set(table["hand"]) == {WHOLE, LESS}
    assert "ppo-from-9" in without_one.section(table)
