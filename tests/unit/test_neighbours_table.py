"""Table `neighbours` against planted truths: landmarks, halves, pairs, kinds apart."""

import pandas as pd
import pytest

from healscope import provenance
from healscope.config import Statistics
from healscope.findings.neighbours import neighbours
from healscope.schema import check
from healscope.schemas import SCHEMAS

SETTINGS = Statistics(resamples=50)
PLACES = (("training rule", 0), ("cards", -1), ("cards", 1))
# checkpoint -> half -> problems right, of 5 in each half
RIGHT = {
    "sft-0": {"a": 0, "b": 0},
    "sft-5": {"a": 1, "b": 5},
    "sft-9": {"a": 5, "b": 2},
    "sft-20": {"a": 1, "b": 0},
    "ppo-from-20": {"a": 3, "b": 2},
}
SHARES = {  # half "a" picks step 9, half "b" step 5
    half: {v.removeprefix("sft-"): right[half] / 5 for v, right in RIGHT.items() if "sft-" in v}
    for half in "ab"
}
CHOSEN = {
    "base": {"checkpoint": "base"},
    "maxood": {"checkpoint": "sft-9", "ood_by_half": SHARES},
    "end": {"checkpoint": "sft-20"},
    "rl": {"checkpoint": "ppo-from-20"},
}


def evaluation(folder, variant, seed, protocol="near"):
    """10 problems of each kind and distance; `cards` 1 is one better in half "a"."""
    rows = [
        {
            "track": "m", "seed": seed, "checkpoint": variant, "protocol": protocol,
            "problem_id": f"{kind}{distance}/{d}", "instance_id": f"{d}",
            "split": "held_out", "half": "ab"[d % 2], "rule": "id", "n_faces": 1,
            "episode_id": None, "draw": 10 * place + d, "retried": False, "sample": 0,
            "attempt": 1, "neighbour": kind, "distance": distance,
            "correct": d // 2 < RIGHT[variant]["ab"[d % 2]] + (distance == 1 and d % 2 == 0),
        }
        for place, (kind, distance) in enumerate(PLACES)
        for d in range(10)
    ]  # fmt: skip
    file = folder / f"{protocol}-{variant}-{seed}.parquet"
    pd.DataFrame(rows).to_parquet(file)
    return str(file)


def marks(folder, seed):
    file = folder / f"marks-{seed}.json"
    provenance.write_json(file, {"track": "m", "seed": seed, "landmarks": CHOSEN})
    return str(file)


@pytest.fixture
def table(tmp_path):
    files = [evaluation(tmp_path, variant, seed) for variant in RIGHT for seed in (0, 1)]
    return neighbours(files, [marks(tmp_path, seed) for seed in (0, 1)], SETTINGS)


def at(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_it_is_what_its_schema_says(table):
    check(table, SCHEMAS["neighbours"])
    assert set(table["seed"]) == {"all", "0", "1"}
    assert len(table) == len(PLACES) * (4 + 2) * 3  # levels and changes; all and each seed


def test_maxood_is_reported_where_the_other_half_picks_it(table):
    place = {"neighbour": "training rule", "distance": 0, "since": "", "seed": "all"}
    assert at(table, landmark="maxood", **place)["accuracy"] == pytest.approx((1 + 2) / 10)
    assert at(table, landmark="base", **place)["accuracy"] == 0
    assert at(table, landmark="end", **place)["accuracy"] == pytest.approx(0.1)
    assert at(table, landmark="rl", **place)["accuracy"] == pytest.approx(0.5)


def test_kinds_and_distances_are_kept_apart(table):
    place = {"neighbour": "cards", "landmark": "end", "since": "", "seed": "1"}
    assert at(table, distance=-1, **place)["accuracy"] == pytest.approx(0.1)
    assert at(table, distance=1, **place)["accuracy"] == pytest.approx(0.2)
    assert at(table, distance=1, **place)["n"] == 10


def test_changes_are_paired_by_problem(table):
    place = {"neighbour": "training rule", "distance": 0, "seed": "all"}
    lost = at(table, landmark="end", since="maxood", **place)
    assert lost["accuracy"] == pytest.approx(0.1 - 0.3)
    assert lost["low"] < lost["accuracy"] < lost["high"]
    assert at(table, landmark="rl", since="end", **place)["accuracy"] == pytest.approx(0.4)


def test_a_landmark_that_was_not_evaluated_is_left_out(tmp_path):
    files = [evaluation(tmp_path, v, 0) for v in ("sft-5", "sft-9", "sft-20")]
    table = neighbours(files, [marks(tmp_path, 0)], SETTINGS)
    assert set(table["landmark"]) == {"maxood", "end"}
    assert set(table["since"]) == {"", "maxood"}


def test_protocols_are_kept_apart(tmp_path):
    files = [evaluation(tmp_path, "sft-20", 0, p) for p in ("near", "nearer")]
    table = neighbours(files, [marks(tmp_path, 0)], SETTINGS)
    assert list(table.groupby("protocol").size()) == [6, 6]
