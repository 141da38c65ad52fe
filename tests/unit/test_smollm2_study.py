"""The files of config/smollm2: the same numbers under three questions, none of them trained on."""

from pathlib import Path

import pytest
import yaml

from healscope import config
from healscope.tasks import build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def posed(monkeypatch):
    """(the task that is trained on, the keeper in which somebody loses something)."""
    monkeypatch.chdir(ROOT)
    tasks = config.load(yaml.safe_load((ROOT / "config/smollm2.yaml").read_text())).tasks
    return tuple(build(name, tasks[name]) for name in ("stories", "losses"))


def test_numbers_that_are_asked_are_never_trained_on(posed):
    stories, losses = posed
    table = stories.problem_table()
    held = table[table["split"] == "held_out"]
    asked = {rule: set(rows["instance_id"]) for rule, rows in held.groupby("rule")}
    trained = set(stories.sft_table()["instance_id"])
    assert len(asked["id"]) == 96
    assert asked["id"] == asked["ood"]
    assert set(losses.problem_table()["instance_id"]) == asked["id"]
    assert len(trained) > 150
    assert trained.isdisjoint(asked["id"])
    assert held["twin"].isna().all()


def test_what_is_taught_adds_and_the_others_subtract(posed):
    stories, losses = posed
    for task, rule, sign in ((stories, "id", 1), (stories, "ood", -1), (losses, "id", -1)):
        for problem in task.problems(rule):
            a, b = map(int, problem.instance_id.split(","))
            assert task.verify(problem, f"that makes {a + sign * b}").outcome == "correct"
            assert task.verify(problem, f"that makes {a - sign * b}").outcome != "correct"
