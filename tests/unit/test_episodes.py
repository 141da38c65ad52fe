"""The table of episodes, and its figure, by attempts whose counts are known."""

import pandas as pd
import pytest

from healscope.config import FigureStyle, Protocol, Statistics
from healscope.figures.catalogue import FIGURES
from healscope.findings.episodes import MEASURES, WAYS
from healscope.findings.episodes import success as episodes
from healscope.tasks.navigation.navigation import Navigation

SETTINGS = Statistics(resamples=100)

FIRST = {  # route -> which of its steps are right at the first try
    "r0": [True, True, True],
    "r1": [True, False, True, False],
    "r2": [False, True],
}
SECOND = {("r1", 1): True, ("r1", 3): True, ("r2", 0): False}  # and which at the second one


def attempt(route, part, variant="sft-5", **more):
    return {
        "track": "m", "seed": 0, "checkpoint": variant, "problem_id": f"{route}/{part}:ood",
        "pair_id": f"{route}/{part}", "instance_id": route, "half": "a",
        "episode_id": f"{route}:ood", "split": "held_out", "rule": "ood", "n_faces": None,
        "draw": part, "retried": True, "sample": 0, "attempt": 1, "feedback": "",
        "protocol": "exhaustive", **more,
    }  # fmt: skip


def table(tmp_path, found, drawn=()):
    file = tmp_path / "attempts.parquet"
    pd.DataFrame(found).to_parquet(file)
    rows = episodes([str(file)], list(drawn), SETTINGS)
    return rows[rows["seed"] == "all"].set_index(["checkpoint", "split", "way", "measure"])


@pytest.fixture
def found():
    rows = [
        attempt(route, part, correct=right)
        for route, steps in FIRST.items()
        for part, right in enumerate(steps)
    ]
    rows += [
        attempt(route, part, correct=right, attempt=2, feedback="full")
        for (route, part), right in SECOND.items()
    ]
    rows.append(attempt("r1", 1, correct=True, sample=1))  # a sample beside counts nowhere
    alone = attempt("d", 0, correct=False) | {"episode_id": None}  # no step of an episode
    return [*rows, alone]


def test_shares_of_episodes_steps_and_tries(found, tmp_path):
    shares = table(tmp_path, found).loc["sft-5", "held_out"]
    expected = {
        ("first", "episode"): (1, 3),
        ("first", "step"): (6, 9),
        ("first", "step_reached"): (4, 6),  # 3 of 3; 1 of 2, then it ends; 0 of 1
        ("after_full", "episode"): (2, 3),
        ("after_full", "step"): (8, 9),
        ("after_full", "step_reached"): (7, 11),  # 3 of 3; 4 of 6 tries; 0 of 2
    }
    assert set(shares.index) == set(expected)
    for key, (right, n) in expected.items():
        assert shares.loc[key, "share"] == pytest.approx(right / n), key
        assert shares.loc[key, "n"] == n


def test_feedback_counts_where_whole_episodes_are_asked_again(found, tmp_path):
    for row in found:
        row["retried"] = row["instance_id"] != "r1" or row["pair_id"] == "r1/0"
    shares = table(tmp_path, found).loc["sft-5", "held_out"]
    assert shares.loc[("first", "episode"), "n"] == 3
    assert shares.loc[("after_full", "episode"), "n"] == 2


def test_drawn_episodes_count_as_often_as_they_come(found, tmp_path):
    """Of a protocol that draws them, whatever side of the hold-out they are on."""
    again = [
        row | {"episode_id": "r0:ood#2", "draw": 90 + row["draw"]}
        for row in found
        if row["instance_id"] == "r0"
    ]
    for row in [*found, *again]:
        row["split"] = "train" if row["instance_id"] == "r2" else "held_out"
        row["protocol"] = "paper"
    shares = table(tmp_path, found + again, ["paper"]).loc["sft-5"]
    assert shares.loc[("any", "first", "episode"), "n"] == 4
    assert shares.loc[("any", "first", "episode"), "share"] == 0.5
    assert shares.loc[("train", "first", "episode"), "n"] == 1


def test_the_figure_shows_both_panels(found, tmp_path):
    rows = [
        row | {"checkpoint": variant, "seed": seed, "rule": rule}
        for row in found
        for variant in ("sft-0", "sft-5", "ppo-from-5")
        for seed in (0, 1)
        for rule in ("id", "ood")
    ]
    file = tmp_path / "attempts.parquet"
    pd.DataFrame(rows).to_parquet(file)
    frame = episodes([str(file)], [], SETTINGS)
    assert set(frame["measure"]) == set(MEASURES)
    assert set(frame["way"]) < set(WAYS)
    figure = FIGURES["fig_episodes"].draw(frame, FigureStyle())
    assert len(figure.axes) == 2
    labels = {label for ax in figure.axes for label in ax.get_legend_handles_labels()[1]}
    assert len(labels) == 5
    figure.savefig(tmp_path / "x.png")


def test_a_route_is_asked_again_as_a_whole():
    task = Navigation(name="nav", generated=10, legs=(2, 3))
    problems = task.problem_table()
    posed = task.posed(problems, Protocol(retried_orders=1))
    assert posed["retried"].equals(posed["split"] == "held_out")
