"""Tables against planted truths: what is compared with what, and landmarks."""

import pandas as pd
import pytest

from healscope import artifacts, provenance, tables
from healscope.config import Statistics
from healscope.evaluation import landmarks

SETTINGS = Statistics(resamples=100)


def attempts_file(folder, variant, seed, shares, stage=None):
    """An evaluation of 10 deals; `shares`: (rule, split) -> share correct."""
    rows = [
        {
            "model": "m", "seed": seed, "variant": variant, "problem_id": f"{d}:{rule}:{split}",
            "deal_id": f"{split}{d}", "split": split, "rule": rule, "sample": 0,
            "correct": d < share * 10,
        }
        for (rule, split), share in shares.items()
        for d in range(10)
    ]  # fmt: skip
    file = folder / f"{stage}-{variant}-{seed}.parquet"
    provenance.write_table(file, pd.DataFrame(rows).assign(stage=stage), {})
    return str(file)


def held_out(id_share, ood_share):
    return {("id", "held_out"): id_share, ("ood", "held_out"): ood_share, ("id", "train"): 1.0}


@pytest.fixture
def world(tmp_path):
    """Two seeds whose best OOD steps differ; RL from 5 adds 20 points OOD in seed 1 only."""
    files, marks = [], []
    for seed, ood in ((0, {0: 0.0, 5: 0.6, 9: 0.2}), (1, {0: 0.0, 5: 0.3, 9: 0.4})):
        for step, share in ood.items():
            files.append(attempts_file(tmp_path, f"sft-{step}", seed, held_out(0.5, share)))
        files.append(
            attempts_file(tmp_path, "ppo-from-5", seed, held_out(0.7, ood[5] + 0.2 * seed))
        )
        rows = tables.with_steps(tables.attempts(files[-4:-1]))
        chosen = landmarks.choose(rows, "auto", 5, "ppo-from-5")
        mark = tmp_path / f"marks-{seed}.json"
        provenance.write_json(mark, {"model": "m", "seed": seed, "landmarks": chosen})
        marks.append(str(mark))
    return files, marks


def cell(table, column, **where):
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table[column].item()


def test_curves_keep_splits_and_stages_apart(world):
    table = tables.curves(world[0], SETTINGS)
    at = {"rule": "id", "seed": "all", "stage": "sft", "step": 5}
    assert cell(table, "accuracy", split="train", **at) == 1.0
    assert cell(table, "accuracy", split="held_out", **at) == 0.5
    ood = {"rule": "ood", "split": "held_out", "stage": "sft", "step": 5}
    assert cell(table, "accuracy", seed="0", **ood) == 0.6
    assert cell(table, "accuracy", seed="all", **ood) == pytest.approx(0.45)


def test_the_window_pairs_rl_with_its_own_start(world):
    table = tables.rl_window(world[0], SETTINGS)
    for seed, before, change in (("0", 0.6, 0.0), ("1", 0.3, 0.2), ("all", 0.45, 0.1)):
        at = {"start": 5, "rule": "ood", "seed": seed}
        assert cell(table, "before", **at) == pytest.approx(before)
        assert cell(table, "change", **at) == pytest.approx(change)
        assert cell(table, "after", **at) == pytest.approx(before + change)


def test_each_seed_has_its_own_maxood(world):
    table = tables.landmarks(*world, SETTINGS)
    at = {"landmark": "maxood", "rule": "ood"}
    assert cell(table, "checkpoint", seed="0", **at) == "sft-5"
    assert cell(table, "checkpoint", seed="1", **at) == "sft-9"
    assert cell(table, "accuracy", seed="all", **at) == pytest.approx((0.6 + 0.4) / 2)


def test_reversion_shows_target_parent_and_edits(world, tmp_path):
    edits = [
        attempts_file(tmp_path, artifacts.edit("swap", "rank", 0.5), s, held_out(0.1, 0.9), "rl")
        for s in (0, 1)
    ]
    table = tables.reversion(edits, *world, "rl", SETTINGS)
    at = {"rule": "ood", "seed": "0"}
    assert cell(table, "accuracy", kind="none", **at) == pytest.approx(0.6)  # RL
    assert cell(table, "accuracy", kind="parent", **at) == pytest.approx(0.6)  # End
    at = {"rule": "ood", "seed": "1"}
    assert cell(table, "accuracy", kind="none", **at) == pytest.approx(0.5)
    assert cell(table, "accuracy", kind="parent", **at) == pytest.approx(0.3)
    assert cell(table, "accuracy", kind="swap", axis="rank", amount=0.5, **at) == 0.9


def test_maxood_takes_the_earliest_of_equals_and_obeys_a_pin(world):
    rows = tables.with_steps(tables.attempts(world[0][:3]))
    same = rows.assign(correct=True)
    assert landmarks.choose(same, "auto", 5, "x")["maxood"]["step"] == 0
    assert landmarks.choose(rows, 9, 5, "x")["maxood"]["checkpoint"] == "sft-9"
