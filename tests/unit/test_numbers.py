"""Numbers that answers of SFT never contain, beside other rules: planted both ways."""

import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import numbers
from healscope.schema import check
from healscope.tasks.cards import deals, neighbours
from healscope.tasks.cards.game import FaceRule
from healscope.tasks.cards.generalpoints import GeneralPoints

SETTINGS = Statistics(resamples=300)
TASKS = {"gp3": {"id_rule": {"J": 10, "Q": 10, "K": 10}}}
RULES = {  # rule -> kind, distance
    "id": ("training rule", 0),
    "9-9-9": ("equal rule", 3),
    "11-11-11": ("equal rule", 3),
    "7-8-9": ("unequal rule", 6),
    "11-12-13": ("unequal rule", 6),
    "9-10-11": ("unequal rule", 2),  # no rule of seen numbers is as near
    "5-5-5": ("equal rule", 15),  # and none of unseen numbers as far
}
UNSEEN = ("11-11-11", "11-12-13")


def files(folder, right, seeds=3, hands=40):
    """Answers to `hands` hands under each rule, of which right(checkpoint, rule) are right."""
    made = []
    for checkpoint in ("sft-14", "sft-59", "sft-400", "ppo-from-59"):
        rows = [
            {
                "track": "tiny", "task": "gp3", "seed": seed, "checkpoint": checkpoint,
                "problem_id": f"hand{d}:{rule}", "instance_id": f"{d}", "split": "held_out",
                "half": "ab"[d % 2], "rule": "id" if rule == "id" else "ood", "n_faces": 1,
                "episode_id": None, "draw": d, "retried": False, "sample": 0, "attempt": 1,
                "neighbour": kind, "distance": distance, "follows_rule": d % 4 > 0,
                "correct": (7 * d + seed) % hands < round(hands * right(checkpoint, rule)),
            }
            for seed in range(seeds)
            for rule, (kind, distance) in RULES.items()
            for d in range(hands)
        ]  # fmt: skip
        made.append(str(folder / f"{checkpoint}.parquet"))
        pd.DataFrame(rows).to_parquet(made[-1])
    return made


def claims(folder, right):
    found = numbers.judge(files(folder, right), TASKS, "ppo-from-59", (14, 400), SETTINGS)
    return {row["claim"]: row for row in found}


def unseen_forgotten(checkpoint, rule):
    lost = 0.35 if checkpoint == "sft-400" and rule in UNSEEN else 0.0
    healed = 0.3 if checkpoint.startswith("ppo") and rule not in UNSEEN else 0.0
    return 0.5 - lost + healed


def rules_forgotten(checkpoint, rule):
    return 0.5 - (0.35 if checkpoint == "sft-400" and rule != "id" else 0.0)


def test_numbers_are_told_from_rules(tmp_path):
    said = claims(tmp_path, unseen_forgotten)
    assert said["sft-forgets-unseen-numbers"]["verdict"] == "held"
    assert said["sft-forgets-unseen-numbers"]["effect"] == pytest.approx(-0.35)
    assert said["sft-forgets-other-rules"]["verdict"] == "undecided"  # 0, of 40 instances
    assert said["rl-heals-seen-numbers-more"]["verdict"] == "held"
    assert said["rl-raises-other-rules"]["verdict"] == "held"
    assert (
        "number lines that follow the rule: 75% to 75%" in said["rl-raises-other-rules"]["detail"]
    )


def test_rules_are_told_from_numbers(tmp_path):
    said = claims(tmp_path, rules_forgotten)
    assert said["sft-forgets-unseen-numbers"]["verdict"] != "held"
    assert said["sft-forgets-unseen-numbers"]["effect"] == pytest.approx(0)
    assert said["sft-forgets-other-rules"]["verdict"] == "held"
    assert said["rl-heals-seen-numbers-more"]["effect"] == pytest.approx(0)


def test_what_was_hardly_there_cannot_be_lost(tmp_path):
    said = claims(tmp_path, lambda c, r: 0.05 if c != "sft-400" else 0.0)
    assert said["sft-forgets-other-rules"]["verdict"] == "undecided"


def test_only_rules_at_equal_distances_are_compared(tmp_path):
    found = files(tmp_path, unseen_forgotten)
    rows = numbers.read(found, TASKS)
    used = rows.groupby("numbers")["problem_id"].agg(lambda ids: {i.split(":")[1] for i in ids})
    assert used.to_dict() == {
        "training rule": {"id"},
        "numbers seen": {"9-9-9", "7-8-9"},
        "numbers unseen": {*UNSEEN},
    }
    table = numbers.measure(found, TASKS, SETTINGS)
    check(table, numbers.SCHEMA)
    whole = table[(table["seed"] == "all") & (table["neighbour"] == "all")]
    at_end = whole[whole["checkpoint"] == "sft-400"].set_index("numbers")["accuracy"]
    assert at_end["numbers unseen"] == pytest.approx(0.15)
    assert at_end["numbers seen"] == at_end["training rule"] == pytest.approx(0.5)
    assert "| sft-400 |" in numbers.section(table)


def test_a_trained_number_is_seen_whatever_its_size(tmp_path):
    """Where 11, 12 and 13 are trained nothing is unseen: other rules are asked all together."""
    trained = {"gp3": {"id_rule": {"J": 11, "Q": 12, "K": 13}}}
    found = numbers.judge(
        files(tmp_path, rules_forgotten), trained, "ppo-from-59", (14, 400), SETTINGS
    )
    assert {r["claim"]: r["verdict"] for r in found} == {
        "sft-forgets-other-rules": "held",
        "rl-raises-other-rules": "undecided",
    }


def test_rules_at_other_distances_are_not_compared(tmp_path, monkeypatch):
    """Unseen values near, seen ones far, and a loss that grows with the distance alone."""
    for rule, near in {"9-9-9": False, "7-8-9": False, "11-11-11": True, "11-12-13": True}.items():
        kind, distance = RULES[rule]
        monkeypatch.setitem(RULES, rule, (kind, distance if near else distance + 20))

    def far(checkpoint, rule):
        return 0.6 - (0.02 * RULES[rule][1] if checkpoint == "sft-400" else 0.0)

    kinds = set(numbers.read(files(tmp_path, far), TASKS)["numbers"])
    assert kinds == {numbers.TRAINED, numbers.SEEN}
    said = claims(tmp_path, far)
    assert set(said) == {"sft-forgets-other-rules", "rl-raises-other-rules"}
    assert said["sft-forgets-other-rules"]["verdict"] == "held"


def test_neighbours_of_the_game_have_rules_on_both_sides():
    """The list that is asked holds matched rules; its names are those that are read."""
    table = neighbours.neighbours(GeneralPoints(name="g", cards=3, rendering="compact"), 20, 0)
    rows = table[table["neighbour"].isin(["equal rule", "unequal rule"])]
    said = rows["problem_id"].str.rpartition(":")[2]
    by_place = said.groupby([rows["neighbour"], rows["distance"]]).agg(set)
    assert by_place["unequal rule", 6] == {"7-8-9", "11-12-13"}
    assert by_place["equal rule", 3] == {"9-9-9", "11-11-11"}


@pytest.mark.parametrize("ood", [(11, 12, 13), (7, 8, 9), (10, 9, 10)])
def test_no_problem_under_another_rule_is_one_of_training_in_other_cards(ood):
    """J 7 2 under J = 5 is the training problem 5 7 2: same numbers, same formulas."""
    game = GeneralPoints(name="g", cards=3, targets=(6, 12), ood_rule=FaceRule.of(ood),
                         rendering="compact", held_out=0.5, orders=2)  # fmt: skip
    pool = game.sft_table()
    trained = {tuple(sorted(values)) for values in pool["values"]}
    near = neighbours.neighbours(game, 60, 0)
    posed = game.problem_table()
    faces = posed[(posed["split"] == "held_out") & (posed["n_faces"] > 0)]
    assert (len(posed), len(faces)) == deals.count_problems(game)
    for rows in (near, faces):
        assert len(rows) > 50
        assert not trained & {tuple(sorted(values)) for values in rows["values"]}
