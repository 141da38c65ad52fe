"""The table of groups of problems: each set by itself, all together, and without near twins."""

import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import groups
from healscope.schema import check

SETTINGS = Statistics(resamples=100)
RIGHT = {  # set -> whether each problem is right, and whether it has a near twin in training
    "german": [(True, True), (True, False), (False, False), (False, False)],
    "long": [(True, False), (True, False)],
}


def attempt(rule, group, number, right, twin, seed):
    return {
        "track": "m", "seed": seed, "checkpoint": "sft-5", "problem_id": f"{group}{number}:{rule}",
        "instance_id": f"{group}{number}", "half": "a", "episode_id": None, "split": "held_out",
        "rule": rule, "n_faces": None, "draw": number, "retried": True, "sample": 0, "attempt": 1,
        "group": group, "twin": "sft:1" if twin else None, "correct": right,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    rows = []
    for seed in (0, 1):
        rows.append(attempt("id", "id", 0, True, False, seed))
        rows.append(attempt("id", "sft", 9, True, True, seed) | {"split": "train"})
        for group, problems in RIGHT.items():
            rows += [attempt("ood", group, i, *p, seed) for i, p in enumerate(problems)]
    pd.DataFrame(rows).to_parquet(tmp_path / "answers.parquet")
    found = groups.by_group([str(tmp_path / "answers.parquet")], SETTINGS)
    check(found, groups.SCHEMA)
    return found


def test_every_set_counts_by_itself_and_each_problem_once_in_all(table):
    own = table[table["seed"] == "0"].set_index(["rule", "group", "twins"])
    assert own["n"].to_dict() == {
        ("id", "all", "kept"): 1, ("id", "all", "left_out"): 1,
        ("ood", "all", "kept"): 6, ("ood", "all", "left_out"): 5,
        ("ood", "german", "kept"): 4, ("ood", "german", "left_out"): 3,
        ("ood", "long", "kept"): 2, ("ood", "long", "left_out"): 2,
    }  # fmt: skip
    accuracy = own["accuracy"]
    assert accuracy["ood", "all", "kept"] == pytest.approx(4 / 6)
    assert accuracy["ood", "german", "kept"] == pytest.approx(2 / 4)
    assert accuracy["ood", "german", "left_out"] == pytest.approx(1 / 3)


def test_the_page_counts_near_twins_and_shows_each_set(table):
    text = groups.section(table)
    assert "0 of 1 ID problems and 1 of 6 OOD problems have a near twin" in text
    head, _, row = text.splitlines()[2:]
    assert head == (
        "| checkpoint | ID | ID without near twins | OOD | OOD without near twins | OOD, german | "
        "OOD, long |"
    )
    assert row.startswith("| sft-5 | 100.0 ")
    without = table[table["twins"] == "kept"]
    assert "near twin" not in groups.section(without)
