"""Branches side by side: what is read of their logs, what they healed, what a start had."""

import numpy as np
import pandas as pd
import pytest

from healscope import config, provenance, stats
from healscope.config import Statistics
from healscope.findings import build
from healscope.findings.rows import WINDOW
from healscope.schema import check
from healscope.schemas import SCHEMAS
from healscope.training import health
from healscope.training.schemas import RL_LOG

FACTS = {
    "ppo": {"algorithm": "ppo", "kind": "rl", "main": True, "reward": "verdict"},
    "grpo": {"algorithm": "grpo", "kind": "rl", "main": False, "reward": "format"},
    "sft_more": {"algorithm": "sft", "kind": "control", "main": False, "reward": ""},
    "average": {"algorithm": "average", "kind": "control", "main": False, "reward": ""},
}
STUDY = {
    "statistics": Statistics(resamples=100).model_dump(),
    "recipes": FACTS,
    "landmark": "ppo-from-5",
}
# checkpoint -> OOD accuracy of each seed, on 10 deals; ID is 0.2 higher everywhere
OOD = {
    "sft-0": (0.0, 0.1),
    "sft-5": (0.4, 0.2),
    "ppo-from-0": (0.0, None),  # failed in one seed
    "ppo-from-5": (0.5, 0.5),
    "grpo-from-5": (None, None),  # failed in both
    "sft_more-from-5": (0.2, 0.2),
    "average-from-5": (0.4, 0.2),
}


def evaluation(folder, variant, seed, share):
    """Answers to 10 deals under both rules; none where `share` is None."""
    rows = [
        {"track": "m", "seed": seed, "checkpoint": variant, "problem_id": f"{d}:{rule}",
         "instance_id": str(d), "split": "held_out", "half": "ab"[d % 2],
         "rule": rule, "n_faces": 1, "draw": d, "retried": True, "sample": 0, "attempt": 1,
         "correct": d < round(10 * (share or 0)) + 2 * (rule == "id")}
        for rule in ("id", "ood")
        for d in range(10)
    ]  # fmt: skip
    file = folder / f"{variant}-{seed}-answers.parquet"
    frame = pd.DataFrame(rows)
    (frame.head(0) if share is None else frame).to_parquet(file)
    return str(file)


def log(folder, run, seed, rows, failure=""):
    """A training log as the workflow writes it: what was not logged is missing."""
    frame = pd.DataFrame(rows).assign(track="m", seed=seed, run=run)
    frame["failure"] = [*[""] * (len(frame) - 1), failure]
    file = folder / f"{run}-{seed}.parquet"
    provenance.write_table(file, RL_LOG.complete(frame), {}, RL_LOG)
    return str(file)


def iterations(n, positive=0.5, **more):
    """Rows of a run whose first WINDOW iterations differ from the rest."""
    return [
        {"iteration": i, "reward_mean": 0.1 * i, "correct_share": 0.3, "generated_tokens": 100,
         "positive_share": positive if i <= WINDOW else 1.0, "entropy_nats": 1 / i,
         "kl_from_start_nats": 0.01 * i if i % 5 == 0 else np.nan, "trained_tokens": 200,
         "sampling_seconds": 3.0, "training_seconds": 1.0, "hacking_alarm": i > 15, **more}
        for i in range(1, n + 1)
    ]  # fmt: skip


def trained(run, seed):
    """Rows of one run, and why it failed."""
    if run.startswith("average"):
        return [{"iteration": 1}], ""
    if run.startswith("sft_more"):
        steps = range(1, 4)
        return [{"iteration": i, "trained_tokens": 50, "training_seconds": 0.5} for i in steps], ""
    if OOD[run][seed] is None:
        return iterations(3, generated_tokens=7), f"{run}: loss is nan"
    return iterations(20, positive=0.6 if run.endswith("5") else 0.1 * seed), ""


@pytest.fixture
def files(tmp_path):
    """Files of the study: {"evaluations": […], "logs": […]}."""
    found = {"evaluations": [], "logs": []}
    for variant, shares in OOD.items():
        for seed, share in enumerate(shares):
            found["evaluations"].append(evaluation(tmp_path, variant, seed, share))
            if "from" in variant:
                rows, failure = trained(variant, seed)
                found["logs"].append(log(tmp_path, variant, seed, rows, failure))
    return found


def made(name, files):
    """The table, which its schema takes."""
    table = build(name, files, STUDY)
    check(table, SCHEMAS[name])
    return table


def row(table, **where):
    found = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_log_of_any_algorithm_fits_the_one_schema(files):
    table = made("rl-training", files)
    assert len(table) == 20 + 3 + 2 * 20 + 2 * 3 + 2 * 3 + 2  # every iteration of every run
    average = row(table, run="average-from-5", seed="1")
    assert np.isnan(average["reward_mean"])
    assert not average["hacking_alarm"]
    at = table[table["iteration"] == 1].drop_duplicates("run").set_index("run")
    assert list(at.index[at["main"]]) == ["ppo-from-0", "ppo-from-5"]
    assert list(at.index[at["landmark"]]) == ["ppo-from-5"]
    assert at.loc["grpo-from-5", "reward"] == "format"
    assert at.loc["sft_more-from-5", "kind"] == "control"
    failed = table[table["failure"] != ""]
    assert list(failed["run"]) == ["ppo-from-0", "grpo-from-5", "grpo-from-5"]
    assert set(failed["iteration"]) == {3}


def test_recipes_are_paired_with_their_start(files):
    table = made("recipes", files)
    for seed, healing in (("0", 0.1), ("1", 0.3), ("all", 0.2)):
        own = row(table, recipe="ppo", start=5, seed=seed)
        assert own["healing"] == pytest.approx(healing)
        assert own["low"] < own["healing"] < own["high"]
        assert own["id_change"] == pytest.approx(healing)
        assert own["ood_after"] == pytest.approx(0.5)
        assert own["id_after"] == pytest.approx(0.7)
    assert row(table, recipe="sft_more", seed="all")["healing"] == pytest.approx(-0.1)
    assert row(table, recipe="average", seed="all")["healing"] == 0
    assert row(table, recipe="ppo", start=5, seed="all")["seeds"] == 2


def test_a_failed_run_stays_in_the_table_and_counts_for_nothing(files):
    table = made("recipes", files)
    for seed in ("0", "1", "all"):
        lost = row(table, recipe="grpo", seed=seed)
        assert "grpo-from-5: loss is nan" in lost["failed"]
        assert lost["seeds"] == 0
        assert lost[["healing", "low", "high", "ood_after", "id_change"]].isna().all()
        assert lost["generated_tokens"] == 21
    assert row(table, recipe="grpo", seed="all")["failed"].startswith("seed 0: grpo")
    half = row(table, recipe="ppo", start=0, seed="all")
    assert half["seeds"] == 1
    assert half["healing"] == 0
    assert half["failed"] == "seed 1: ppo-from-0: loss is nan"
    assert half["generated_tokens"] == 2000  # of the run that came to its end
    assert row(table, recipe="ppo", start=0, seed="0")["failed"] == ""


def test_costs_are_those_of_the_whole_run(files):
    table = made("recipes", files)
    ppo = row(table, recipe="ppo", start=5, seed="0")
    assert ppo["generated_tokens"] == 2000
    assert ppo["trained_tokens"] == 4000
    assert ppo["seconds"] == 80
    assert ppo["generated_per_second"] == pytest.approx(2000 / 60)
    assert ppo["trained_per_second"] == pytest.approx(4000 / 20)
    assert ppo["sampling_share"] == 0.75
    assert ppo["reward_last"] == pytest.approx(0.1 * np.mean(range(11, 21)))
    assert ppo["kl_from_start_nats"] == pytest.approx(0.2)
    assert ppo["hacking"]
    more = row(table, recipe="sft_more", seed="all")
    assert np.isnan(more["generated_tokens"])
    assert np.isnan(more["generated_per_second"])
    assert more["trained_per_second"] == 100
    assert more["sampling_share"] == 0
    assert not more["hacking"]
    free = row(table, recipe="average", seed="all")
    assert (
        free[["generated_tokens", "trained_tokens", "seconds", "trained_per_second"]].isna().all()
    )


def test_the_window_table_has_the_state_of_the_first_iterations(files):
    main = {
        kind: [f for f in names if "/ppo" in f or "/sft-" in f] for kind, names in files.items()
    }
    table = made("window", main)
    assert len(table) == 2 * 3
    five = row(table, start=5, seed="all")
    assert five["healing"] == pytest.approx(0.2)
    assert five["before"] == pytest.approx(0.3)
    assert five["after"] == pytest.approx(0.5)
    assert five["positive_share"] == pytest.approx(0.6)
    assert five["entropy_nats"] == pytest.approx(np.mean([1 / i for i in range(1, 11)]))
    assert five["entropy_end_nats"] == pytest.approx(1 / 20)
    assert five["kl_from_start_nats"] == pytest.approx(0.2)
    assert np.isnan(five["zero_variance_share"])
    lost = row(table, start=0, seed="1")
    assert lost["failed"] == "seed 1: ppo-from-0: loss is nan"
    assert lost["before"] == pytest.approx(0.1)
    assert lost[["healing", "low", "high", "after"]].isna().all()
    assert lost["positive_share"] == pytest.approx(0.5)  # what it logged before it failed
    both = row(table, start=0, seed="all")
    assert both["after"] - both["before"] == pytest.approx(both["healing"])


def test_tables_average_over_the_window_that_training_watches():
    assert WINDOW == health.WINDOW


def test_facts_of_recipes(study):
    rl = study.rl.model_dump(mode="json")
    rl["recipes"] |= {
        "taught": {**rl["recipes"]["ppo"], "reward": {"canonical": 1.0}},
        "mixed": {
            **rl["recipes"]["ppo"],
            "reward": {"binary": 1.0, "format": 0.5},
            "temperature": 0.5,
        },
        "fresh": {**rl["recipes"]["sft_more"], "examples": "fresh", "answers": "any"},
        "held": {"algorithm": "sft", "examples": "fresh", "answers": "any", "kl_coefficient": 0.1},
    }
    rl["recipes"]["paced"] = {**rl["recipes"]["sft_matched"], "examples": "fresh"}
    rl["recipes"]["held"] |= {"iterations": 4, "responses": 16}  # as of ppo, at another rate
    rl["recipes"]["held"]["optimizer"] = {"learning_rate": 1e-5}
    starts = ["ppo", "taught", "mixed", "fresh", "held", "average", "paced"]
    rl["branches"] = dict.fromkeys(starts, [8])
    facts = config.RL.model_validate(rl).facts()
    assert list(facts) == starts
    assert [n for n, f in facts.items() if f["main"]] == ["ppo"]
    assert [n for n, f in facts.items() if f["kind"] == "control"] == starts[3:]
    assert [n for n, f in facts.items() if f["reward_alone"]] == ["taught"]
    assert [n for n, f in facts.items() if f["matched"]] == ["taught", "mixed", "fresh", "paced"]
    assert facts["mixed"]["reward"] == "binary + 0.5 format"
    assert facts["average"]["reward"] == ""


def cloud(x, y):
    """Rows of (seeds, starts) arrays."""
    return pd.DataFrame(
        [
            {"seed": s, "start": t, "x": x[s][t], "y": y[s][t]}
            for s in range(len(x))
            for t in range(len(x[0]))
        ]
    )


def correlation(x, y):
    return stats.rank_correlation(cloud(x, y), "x", "y", within="seed", unit="start")


def test_rank_correlation_ignores_what_seeds_differ_by():
    x, y = [[1, 2, 3, 4], [11, 12, 13, 14]], [[4, 3, 2, 1], [104, 103, 102, 101]]
    assert correlation(x, y) == pytest.approx((-1, 2 / 24))  # and its mirror, of all 24 orders


def test_more_seeds_of_the_same_starts_are_no_more_evidence():
    x, y = [[1, 2, 3, 4, 5]], [[1, 2, 3, 5, 4]]
    assert correlation(x * 5, y * 5) == pytest.approx(correlation(x, y))


def test_the_p_of_noise_is_even():
    rng = np.random.default_rng(0)
    p = np.array([correlation(*rng.normal(size=(2, 2, 5)))[1] for _ in range(300)])
    assert 0.02 < (p <= 0.1).mean() < 0.17
    assert p.mean() == pytest.approx(0.5, abs=0.07)


def test_runs_that_failed_do_not_make_the_p_of_noise_small():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 1, 6)) + 0.3 * rng.normal(size=(2, 3, 6))
        for of_seed in y[:2]:
            of_seed[rng.integers(6)] = np.nan
        p.append(correlation(x, y)[1])
    assert 0.01 < np.mean(np.array(p) <= 0.05) < 0.09


def test_what_never_varies_or_is_missing_has_no_rank_correlation():
    assert np.isnan(correlation([[1, 1, 1]], [[1, 2, 3]])).all()
    assert np.isnan(correlation([[np.nan] * 3], [[1, 2, 3]])).all()
    assert np.isnan(correlation([[1]], [[2]])).all()
    known = correlation([[1, 2, 3, np.nan]], [[3, 2, 1, 9]])
    assert known == correlation([[1, 2, 3]], [[3, 2, 1]])


def test_with_many_starts_a_p_is_of_random_orders_and_never_0():
    x = [list(range(9))]
    rho, p = correlation(x, x)
    assert rho == pytest.approx(1)
    assert 0 < p < 0.001
    assert correlation(x, x) == (rho, p)
