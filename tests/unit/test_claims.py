"""Claims and the gate follow their rules on made worlds where the truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from healscope import findings, provenance
from healscope.config import Statistics
from healscope.errors import HealscopeError
from healscope.evaluation import landmarks
from healscope.findings import (
    claims,
    curves,
    errors,
    factorial,
    gate,
    protocols,
    reversions,
    stopping,
)
from healscope.findings import window as starts
from healscope.findings.contrasts import Data
from healscope.findings.recipes import against_controls, of_ones_own
from healscope.findings.rl_window import window_of_starts
from healscope.findings.rows import any_attempt, first_attempts, with_steps
from healscope.schema import check
from healscope.stats import Estimate
from healscope.verdicts import corrected

GRID = [0, 10, 50, 100]
SETTINGS = Statistics(resamples=200)
SEEDS = (0, 1, 2)


def attempts(variant, rule, split, share, seed, deals=200, n_faces=1):
    """First attempts of which `share` are correct, the same deals everywhere."""
    deal = np.arange(deals)
    correct = deal < share * deals
    return pd.DataFrame(
        {"track": "m", "seed": seed, "checkpoint": variant, "rule": rule,
         "problem_id": [f"{d}:{rule}" for d in deal],
         "instance_id": deal.astype(str),
         "half": np.where(deal % 2, "b", "a"), "split": split, "n_faces": n_faces, "draw": deal,
         "retried": True, "sample": 0, "attempt": 1, "correct": correct, "parsed": True,
         "follows_rule": correct, "feedback": "", "protocol": "exhaustive"}
    )  # fmt: skip


def logs(positive=(0.0, 0.5, 0.7, 0.95), entropy=(1.2, 0.9, 0.5, 0.1), recipe="ppo", failure=""):
    """Training logs of one recipe from every step, the same in all seeds."""
    return pd.DataFrame(
        [
            {"track": "m", "seed": seed, "run": f"{recipe}-from-{step}", "recipe": recipe,
             "start": step, "iteration": i, "positive_share": positive[k] if i <= 10 else 0.5,
             "entropy_nats": entropy[k], "failure": failure if i == 12 else ""}
            for seed in SEEDS
            for k, step in enumerate(GRID)
            for i in range(1, 13)
        ]
    )  # fmt: skip


def facts(algorithm="ppo", kind="rl", main=False, **more):
    known = {"algorithm": algorithm, "kind": kind, "main": main, "reward": "verdict"}
    return {**known, "reward_alone": False, "matched": False, **more}


def marks_of(rows):
    sft = rows[rows["stage"] == "sft"]
    return {s: landmarks.choose(sft[sft["seed"] == s], "auto", 50, "ppo-from-50") for s in SEEDS}


def world(ood, rl_ood, id_train=(0.0, 0.4, 0.6, 0.9)):
    """Attempts whose accuracy is as given, on 200 deals, three seeds; RL starts at every step."""
    parts = []
    for seed in SEEDS:
        for i, step in enumerate(GRID):
            parts += [
                attempts(f"sft-{step}", "ood", "held_out", ood[i], seed),
                attempts(f"sft-{step}", "id", "held_out", 0.3, seed),
                attempts(f"sft-{step}", "id", "train", id_train[i], seed),
                attempts(f"ppo-from-{step}", "ood", "held_out", rl_ood[i], seed),
            ]
    rows = with_steps(pd.concat(parts, ignore_index=True))
    marks = marks_of(rows)
    signals = pd.DataFrame(
        {"step": GRID * 3, "seed": np.repeat(SEEDS, 4), "id_test_loss_nats": [4, 3, 2, 1] * 3,
         "id_train_loss_nats": [4, 3, 2, 1] * 3}
    )  # fmt: skip
    held_out = rows[rows["split"] == "held_out"]
    return Data(
        rows=held_out,
        train_rows=rows[rows["split"] == "train"],
        faceless=held_out,
        drawn=[],
        edits=rows.head(0),
        stages={},
        signals=signals,
        logs=logs(),
        recipes={"ppo": facts(main=True)},
        landmarks=marks,
        settings=SETTINGS,
    )


def changed(d, **parts):
    return replace(d, **parts)


def verdict_of(rows, claim):
    return next(r["verdict"] for r in rows if r["claim"] == claim)


def test_the_papers_world_holds():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    forgetting = curves.forgetting(d)
    assert verdict_of(forgetting, "ood-falls-after-its-peak") == "held"
    assert verdict_of(forgetting, "ood-peaks-early") == "held"
    assert verdict_of(forgetting, "id-rises-meanwhile-train") == "held"
    assert verdict_of(forgetting, "id-rises-meanwhile-held-out") == "did not hold"
    assert verdict_of(stopping.loss(d), "test-loss-misses-the-peak") == "held"
    assert verdict_of(factorial.composition(d), "the-gap-is-the-rule") == "held"
    assert verdict_of(errors.steps_of_the_answer(d), "number-step") == "held"
    window = window_of_starts(d)
    assert verdict_of(window, "rl-heals-inside-a-window") == "held"
    assert verdict_of(window, "rl-does-not-exceed-the-peak") == "held"


def test_other_worlds_do_not():
    rising = world(ood=(0, 0.1, 0.3, 0.5), rl_ood=(0.3, 0.4, 0.4, 0.7))
    assert verdict_of(curves.forgetting(rising), "ood-falls-after-its-peak") == "did not hold"
    assert verdict_of(curves.forgetting(rising), "ood-peaks-early") == "did not hold"
    assert verdict_of(stopping.loss(rising), "test-loss-misses-the-peak") != "held"
    assert verdict_of(window_of_starts(rising), "rl-heals-inside-a-window") == "did not hold"
    above = world(ood=(0, 0.3, 0.2, 0.1), rl_ood=(0, 0.3, 0.6, 0.1))
    assert verdict_of(window_of_starts(above), "rl-does-not-exceed-the-peak") == "did not hold"


def test_the_branch_that_ends_highest_is_held_against_the_peak():
    """From 50 RL heals more, from 10 it ends higher."""
    d = world(ood=(0, 0.5, 0.2, 0.1), rl_ood=(0, 0.7, 0.4, 0.1))
    assert verdict_of(window_of_starts(d), "rl-does-not-exceed-the-peak") == "did not hold"


def test_a_late_peak_is_no_early_peak():
    d = world(ood=(0, 0.2, 0.5, 0.2), rl_ood=(0, 0.2, 0.5, 0.2))
    assert verdict_of(curves.forgetting(d), "ood-peaks-early") == "did not hold"
    assert verdict_of(curves.forgetting(d), "ood-falls-after-its-peak") == "held"


def test_one_seeds_late_peak_does_not_refute_the_others():
    """A flat top: the last seed happens to be best late, and all fall alike."""
    d = world(ood=(0, 0.5, 0.5, 0.1), rl_ood=(0, 0.5, 0.5, 0.1))
    rows = d.rows.copy()
    own = (rows["checkpoint"] == "sft-50") & (rows["rule"] == "ood") & (rows["seed"] == 2)
    rows.loc[own, "correct"] = rows.loc[own, "draw"] < 0.52 * 200
    d = replace(d, rows=rows, landmarks=marks_of(rows))
    assert d.peak_steps() == [10, 10, 50]
    assert verdict_of(curves.forgetting(d), "ood-falls-after-its-peak") == "held"


def test_the_fall_between_fixed_steps_picks_nothing():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.5, 0.1))
    assert "ood-falls-between-fixed-steps" not in {r["claim"] for r in curves.forgetting(d)}
    rows = curves.forgetting(replace(d, contrast=(50, 100)))
    (row,) = [r for r in rows if r["claim"] == "ood-falls-between-fixed-steps"]
    assert row["effect"] == pytest.approx(-0.2)
    assert row["verdict"] == "held"


def test_a_peak_by_luck_on_one_half_is_not_reported_there():
    """Half a likes step 10, half b step 50: the honest peak is what either picks for the other."""
    d = world(ood=(0, 0.4, 0.4, 0.4), rl_ood=(0, 0.4, 0.4, 0.4))
    rows = d.rows.copy()
    lucky = {"sft-10": "a", "sft-50": "b"}
    for variant, half in lucky.items():
        own = (rows["checkpoint"] == variant) & (rows["rule"] == "ood")
        rows.loc[own & (rows["half"] == half), "correct"] = True
    d = replace(d, rows=rows, landmarks=marks_of(rows))
    assert landmarks.picked(d.landmarks) == dict.fromkeys(SEEDS, {"a": "sft-50", "b": "sft-10"})
    assert d.at("ood", d.landmark("maxood"))["correct"].mean() == pytest.approx(0.4)
    fall = next(r for r in curves.forgetting(d) if r["claim"] == "ood-falls-after-its-peak")
    assert fall["effect"] == pytest.approx(0)


def test_a_peak_by_luck_of_one_run_is_not_reported_there():
    """One checkpoint of each seed came out well, another one in each: no seed judges its own."""
    d = world(ood=(0.4, 0.4, 0.4, 0.4), rl_ood=(0, 0.4, 0.4, 0.4))
    rows = d.rows.copy()
    for seed, variant in zip(SEEDS, ("sft-0", "sft-10", "sft-50"), strict=True):
        own = (rows["checkpoint"] == variant) & (rows["rule"] == "ood") & (rows["seed"] == seed)
        rows.loc[own, "correct"] = rows.loc[own, "draw"] < 0.6 * 200
    d = replace(d, rows=rows, landmarks=marks_of(rows))
    assert d.fall.value == pytest.approx(0)
    assert "with one run" not in curves.forgetting(d)[0]["detail"]
    first = {name: getattr(d, name).query("seed == 0") for name in ("rows", "train_rows")}
    alone = replace(d, **first, landmarks={0: d.landmarks[0]})
    assert alone.fall.value == pytest.approx(-0.2)  # which one run cannot know better
    assert "luck in training still flatters" in curves.forgetting(alone)[0]["detail"]


def estimates(value, width=0.01):
    limits = dict.fromkeys("012", (value - width, value + width))
    return Estimate(value, value - width, value + width, dict.fromkeys("012", value), limits)


def reverted(kind, change, gap):
    row = reversions._reverted(
        "sft", kind, "ood", estimates(change), estimates(gap), gap > 0, picked=True
    )
    return row["verdict"]


def test_a_reversion_is_judged_only_where_there_is_something_to_revert():
    assert reverted("values", 0.0, gap=0.3) == "held"
    assert reverted("values", 0.3, gap=0.3) == "did not hold"
    assert reverted("directions", 0.3, gap=0.3) == "held"
    assert reverted("directions", 0.0, gap=0.3) == "did not hold"
    assert reverted("values", 0.0, gap=0.0) == "undecided"
    assert reverted("directions", 0.0, gap=0.0) == "undecided"


def lucky(seed, steps=16, hands=145):
    """A study without forgetting: all SFT checkpoints are right as often, by chance."""
    rng, parts = np.random.default_rng(seed), []
    for s in range(5):
        for step in range(10, 10 * steps + 1, 10):
            own = attempts(f"sft-{step}", "ood", "held_out", 0.0, s, hands)
            parts.append(own.assign(correct=rng.random(hands) < 0.4))
    rows = with_steps(pd.concat(parts, ignore_index=True))
    marks = {s: landmarks.choose(own, "auto", 10 * steps, None) for s, own in rows.groupby("seed")}
    stages = {"sft": {"target": "end", "parent": "maxood"}}
    return changed(world(ood=(0.1,) * 4, rl_ood=(0.1,) * 4), rows=rows, landmarks=marks,
                   stages=stages)  # fmt: skip


def test_a_peak_that_its_own_instances_picked_is_nothing_to_explain():
    studies = [lucky(seed) for seed in range(12)]
    flattered = [d.change(*d.ends("sft", "ood")) for d in studies]
    assert np.mean([e.value for e in flattered]) > 0.04  # though nothing was forgotten
    assert sum(d.explains("sft", "ood") for d in studies) <= 1
    true = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    stages = {"sft": {"target": "sft-100", "parent": "maxood"}}
    assert changed(true, stages=stages).explains("sft", "ood")


def test_a_level_at_the_peaks_of_others_knows_nothing_of_the_seed_itself():
    """Checkpoints wander, and the loss falls alike in all seeds: stopping by it gains nothing."""
    steps = np.array([10, 20, 40, 80, 160, 320])
    losses = {str(s): (steps, np.array([2, 1.5, 1.1, 0.8, 0.5, 0.3])) for s in range(3)}
    gained = []
    for study in range(400):
        rng = np.random.default_rng(study)
        true = {s: dict(zip(steps, 0.06 * rng.standard_normal(6), strict=True)) for s in range(3)}
        marks = {
            s: {"maxood": {"ood_by_half": {
                half: {str(k): v + 0.06 * rng.standard_normal() for k, v in own.items()}
                for half in "ab"
            }}}
            for s, own in true.items()
        }  # fmt: skip
        stops = stopping._levels(losses, marks)
        peaks = landmarks.picked(marks)
        gained += [
            true[s][stops[str(s)][h]] - true[s][int(peaks[s][h].split("-")[1])]
            for s in true for h in "ab"
        ]  # fmt: skip
    assert np.mean(gained) == pytest.approx(0, abs=0.006)


def test_what_failed_after_rl_counts_against_recovery():
    """RL from step 50 ends in seeds 0 and 1 only; where it failed there are no answers."""
    whole = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    failed = (whole.rows["checkpoint"] == "ppo-from-50") & (whole.rows["seed"] == 2)
    stages = {"sft": {"target": "end", "parent": "maxood"}}
    d, lacking = (changed(whole, rows=rows, stages=stages)
                  for rows in (whole.rows, whole.rows[~failed]))  # fmt: skip
    found, lost = ({r["claim"]: r for r in gate.phenomena(each)} for each in (d, lacking))
    assert found["gate-recovery"]["verdict"] == "held"
    assert lost["gate-recovery"]["verdict"] == "undecided"
    assert "nothing to compare in seed 2, which counts against" in lost["gate-recovery"]["detail"]
    assert lost["gate-forgetting"]["verdict"] == found["gate-forgetting"]["verdict"] == "held"


def levelled(d, lacking):
    """Starting accuracies differ between seeds; RL from 10 gains nothing, from 50 it does."""
    rows = d.rows.copy()
    base = {0: 0.3, 1: 0.05, 2: 0.6}
    for seed, share in base.items():
        for name in rows["checkpoint"].unique():
            own = (rows["seed"] == seed) & (rows["checkpoint"] == name) & (rows["rule"] == "ood")
            more = 0.15 if name == "ppo-from-50" else 0.0
            deal = rows.loc[own, "draw"]
            rows.loc[own, "correct"] = deal < (share + more) * 200
    return rows[~((rows["checkpoint"] == lacking) & (rows["seed"] == 1))]


def test_a_start_that_failed_in_a_weak_seed_does_not_look_best():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    found = window_of_starts(changed(d, rows=levelled(d, "ppo-from-10")))
    inside = next(r for r in found if r["claim"] == "rl-heals-inside-a-window")
    assert inside["effect"] == pytest.approx(0.15)
    assert "between the ends, 50;" in inside["detail"]


def test_success_in_any_attempt_counts_retries_of_the_same_draw():
    first = attempts("sft-0", "ood", "held_out", 0.0, 0, deals=3)
    second = first.head(1).assign(attempt=2, correct=True, feedback="full")
    sample = first.tail(1).assign(sample=1, correct=True)
    solved = any_attempt(pd.concat([first, second, sample], ignore_index=True))
    assert list(solved.sort_values("draw")["correct"]) == [True, False, False]


def test_two_levels_of_feedback_are_not_taken_together():
    first = attempts("sft-0", "ood", "held_out", 0.0, 0, deals=2)
    helped = first.tail(1).assign(attempt=2, correct=True, feedback="none")
    told = first.head(1).assign(attempt=2, correct=True, feedback="full")
    solved = any_attempt(pd.concat([first, helped, told], ignore_index=True))
    assert list(solved.sort_values("draw")["correct"]) == [True, False]


def test_the_protocol_claim_names_how_many_seeds_would_see_it():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    assert protocols.drawn_hands(d) == []  # a study without such a protocol
    drawn = d.rows.assign(protocol="paper", attempt=1)
    row = protocols.drawn_hands(replace(d, drawn=[drawn]))[0]
    assert row["verdict"] == "held"
    assert "3 of 3 seeds would call the change significant" in row["detail"]


def files_of(d, folder):
    """The world's attempts and landmarks as the workflow stores them."""
    file = folder / "exhaustive.parquet"
    d.rows.to_parquet(file)
    marks = []
    for seed, content in d.landmarks.items():
        marks.append(folder / f"{seed}.json")
        provenance.write_json(marks[-1], {"track": "m", "seed": seed, "landmarks": content})
    return [str(file)], [str(m) for m in marks]


@pytest.mark.parametrize(
    ("ood", "rl_ood", "forgetting", "recovery"),
    [
        ((0, 0.5, 0.3, 0.1), (0, 0.5, 0.45, 0.1), "present", "present"),
        ((0, 0.5, 0.5, 0.5), (0, 0.5, 0.3, 0.1), "absent", "absent"),
    ],
)
def test_the_gate_says_whether_there_is_anything_to_explain(
    tmp_path, ood, rl_ood, forgetting, recovery
):
    table = gate.measure(*files_of(world(ood, rl_ood), tmp_path), {}, SETTINGS)
    assert dict(zip(table["phenomenon"], table["answer"], strict=True)) == {
        "forgetting": forgetting,
        "recovery": recovery,
    }
    verdicts = [row["verdict"] for row in gate.phenomena(world(ood, rl_ood))]
    assert [gate.ANSWERS[v] for v in verdicts] == [forgetting, recovery]
    lines = gate.sentences(table, ("rl",))
    assert len(lines) == 1
    assert f"OOD recovery {recovery} (End to RL" in lines[0]
    assert "3 seeds, 200 instances" in lines[0]


def test_the_gate_also_asks_where_edits_are_made(tmp_path):
    """Little is forgotten up to End (step 50), and much up to the step that edits start from."""
    stages = {
        "sft": {"target": "sft-100", "parent": "maxood"},
        "rl": {"target": "rl", "parent": "end"},
        "other": {"target": "sft-100", "parent": "base"},
    }
    d = replace(world(ood=(0, 0.5, 0.5, 0.1), rl_ood=(0, 0.5, 0.5, 0.1)), stages=stages)
    table = gate.measure(*files_of(d, tmp_path), stages, SETTINGS)
    check(table, gate.SCHEMA)
    assert table[["phenomenon", "first", "second", "edited", "answer"]].to_numpy().tolist() == [
        ["forgetting", "maxood", "end", False, "absent"],
        ["forgetting", "maxood", "sft-100", True, "present"],
        ["recovery", "end", "rl", True, "absent"],
    ]
    verdicts = {row["claim"]: row["verdict"] for row in gate.phenomena(d)}
    assert verdicts == {
        "gate-forgetting": "did not hold",
        "gate-forgetting-edited": "held",
        "gate-recovery": "did not hold",
    }
    assert "present (MaxOOD to sft-100 -" in gate.sentences(table, ("sft",))[1]


def test_claims_that_nothing_reaches_say_so(tmp_path):
    """A model that never answers in the format has no number step to judge."""
    d = world(ood=(0, 0, 0, 0), rl_ood=(0, 0, 0, 0))
    rows = d.rows.assign(parsed=False, correct=False, follows_rule=False)
    found = errors.steps_of_the_answer(replace(d, rows=rows))
    assert [r["verdict"] for r in found] == ["undecided", "undecided"]
    table = corrected(pd.DataFrame([{"track": "m", **r} for r in found]), [], 0.95)
    answers = gate.measure(*files_of(d, tmp_path), {}, SETTINGS)
    assert "nothing to measure" in claims.in_words(table, answers, RECORD)


RECORD = {
    "code": {"healscope": "0", "commit": None, "modified": None},
    "fingerprint": "0" * 16,
    "config": {"statistics": {"confidence": 0.95}, "primary": ["gate-recovery"]},
}


def test_the_text_shows_families_and_what_is_assumed_of_seeds(tmp_path):
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    found = pd.DataFrame([{"track": "m", **r} for r in curves.forgetting(d)])
    table = corrected(found, ["ood-falls-after-its-peak"], 0.95)
    answers = gate.measure(*files_of(d, tmp_path), {}, SETTINGS)
    text = " ".join(claims.in_words(table, answers, RECORD).split())
    primary, others = text.split("Other claims")
    assert "OOD accuracy falls from its peak" in primary.split("Primary claims")[1]
    assert "ID accuracy on held-out problems" in others
    assert "up to 63% of runs may not have been drawn" in primary
    assert "nothing to judge: gate-recovery" in others
    assert "had been made before" not in text
    again = " ".join(claims.in_words(table, answers, RECORD, [[0, 1]]).split())
    assert "had been made before, from seeds 0, 1:" in again


def test_claims_remember_which_seeds_they_were_made_from(tmp_path):
    file = str(tmp_path / "seeds.json")
    assert claims.seeds_before(file, [0, 1]) == []
    assert claims.seeds_before(file, [0, 1]) == []
    assert claims.seeds_before(file, [0, 1, 2]) == [[0, 1]]
    assert claims.seeds_before(file, [0, 1, 2]) == [[0, 1]]


def test_every_claim_has_a_name_that_a_config_can_declare():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    d = beside(replace(d, contrast=(10, 100)), {"sft_more": (0.2, facts("sft", "control"))})
    drawn = replace(d, drawn=[d.rows.assign(protocol="paper", attempt=1)])
    names = {r["claim"] for part in findings.CLAIMS for r in part(drawn)}
    assert len(names) > 15
    for name in names:
        findings.check_primary([name])
    with pytest.raises(HealscopeError, match="no claim is called 'ood-peaks'"):
        findings.check_primary(["ood-peaks"])


def test_rows_count_first_attempts_at_deals_with_a_face(tmp_path):
    rows = pd.concat(
        [
            attempts("sft-0", "id", "held_out", 1.0, 0, deals=2),
            attempts("sft-0", "id", "held_out", 1.0, 0, deals=2).assign(sample=1),
            attempts("sft-0", "id", "held_out", 1.0, 0, deals=2).assign(attempt=2),
            attempts("sft-0", "id", "held_out", 1.0, 0, deals=2, n_faces=0),
        ]
    )
    file = tmp_path / "x.parquet"
    rows.to_parquet(file)
    assert len(first_attempts([str(file)])) == 2
    assert len(first_attempts([str(file)], faceless=True)) == 4


def test_healing_from_balanced_starts_is_held_against_the_others():
    """Shares 0, 0.5, 0.7, 0.95 of positive rewards: two starts inside, two outside."""
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.6, 0.6, 0.15))
    (row,) = starts.balanced_rewards(d)
    assert row["effect"] == pytest.approx((0.1 + 0.3) / 2 - (0 + 0.05) / 2)
    assert row["by_seed"] == pytest.approx([0.175] * 3)
    assert row["verdict"] == "held"
    assert "from 10 0.50 (yes in 3 of 3 seeds)" in row["detail"]
    assert "from 100 0.95 (yes in 0 of 3 seeds)" in row["detail"]
    opposite = changed(d, logs=logs(positive=(0.5, 0.1, 0.9, 0.8)))
    assert starts.balanced_rewards(opposite)[0]["effect"] == pytest.approx(-0.175)
    assert verdict_of(starts.balanced_rewards(opposite), "healing-needs-balanced-rewards") == (
        "did not hold"
    )


def test_a_contrast_is_paired_within_seed_and_problem():
    """Each seed's starts are compared among themselves, whatever seeds differ by."""
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.6, 0.6, 0.15))
    outside = d.logs.assign(positive_share=0.1)
    mixed = pd.concat([d.logs[d.logs["seed"] < 2], outside[outside["seed"] == 2]])
    (row,) = starts.balanced_rewards(changed(d, logs=mixed))
    assert row["seeds"] == 2  # the third has no start inside
    assert row["effect"] == pytest.approx(0.175)
    assert row["instances"] == 200


def test_entropy_is_split_at_the_median_of_each_seed():
    d = world(ood=(0.2, 0.5, 0.3, 0.1), rl_ood=(0.4, 0.6, 0.3, 0.1))
    (row,) = starts.entropy(d)
    assert row["effect"] == pytest.approx((0.2 + 0.1) / 2)
    assert row["verdict"] == "held"
    odd = d.rows[d.rows["checkpoint"] != "ppo-from-10"]  # the median start is on neither side
    (row,) = starts.entropy(changed(d, rows=odd))
    assert row["effect"] == pytest.approx(0.2)


@pytest.mark.parametrize("part", [starts.balanced_rewards, starts.entropy])
def test_starts_that_are_all_alike_leave_nothing_to_contrast(part):
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.6, 0.6, 0.15))
    for same in (0.5, np.nan):
        alike = changed(d, logs=d.logs.assign(positive_share=same, entropy_nats=same))
        (row,) = part(alike)
        assert row["verdict"] == "undecided"
        assert np.isnan(row["effect"])
        assert row["by_seed"] == []
        assert "no seed has starts on both sides" in row["detail"]
    failed = changed(d, rows=d.rows[d.rows["stage"] == "sft"])
    assert part(failed) == []
    assert window_of_starts(failed) == []
    one = d.rows["checkpoint"].str.startswith("sft") | (d.rows["checkpoint"] == "ppo-from-50")
    assert part(changed(d, rows=d.rows[one])) == []  # there is nothing to hold it against


def beside(d, others, failed=()):
    """The world with recipes beside the main one, each from step 50: name -> (OOD, facts)."""
    parts, more = [], []
    for name, (share, _) in others.items():
        runs = logs(recipe=name, failure="loss is nan" if name in failed else "")
        more.append(runs[runs["start"] == 50])
        if name not in failed:
            answers = [attempts(f"{name}-from-50", "ood", "held_out", share, s) for s in SEEDS]
            parts.append(with_steps(pd.concat(answers)))
    recipes = {**d.recipes, **{name: known for name, (_, known) in others.items()}}
    rows = pd.concat([d.rows, *parts], ignore_index=True)
    return changed(d, rows=rows, logs=pd.concat([d.logs, *more]), recipes=recipes)


def test_rl_is_held_against_its_controls():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.5, 0.1))
    sft, average = facts("sft", "control"), facts("average", "control")
    others = {
        "sft_more": (0.2, sft),
        "average": (0.6, average),
        "fresh": (0.5, sft),
        "taught": (0.3, facts(reward="canonical", reward_alone=True)),
        "clipped": (0.1, facts(reward="canonical")),  # differs in more than the reward
    }
    found = against_controls(beside(d, others))
    assert {r["claim"]: (round(r["effect"], 6), r["verdict"]) for r in found} == {
        "rl-heals-more-than-sft_more": (0.3, "held"),
        "rl-heals-more-than-average": (-0.1, "did not hold"),
        "rl-heals-more-than-fresh": (0.0, "did not hold"),
        "alternative-solutions-heal": (0.2, "held"),
    }
    assert "+20.0 [" in found[0]["detail"]
    assert "-10.0 [" in found[0]["detail"]
    assert window_of_starts(beside(d, others)) == window_of_starts(d)  # of the main recipe alone


def test_the_control_in_rls_own_steps_is_named():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.5, 0.1))
    fresh = facts("sft", "control")
    others = {"longer": (0.6, fresh), "paced": (0.2, {**fresh, "matched": True})}
    found = {r["claim"]: r for r in against_controls(beside(d, others))}
    assert "paced, in RL's own steps" in found["rl-heals-more-than-paced"]["statement"]
    assert "own steps" not in found["rl-heals-more-than-longer"]["statement"]


def test_a_control_that_failed_is_named():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.5, 0.1))
    (row,) = against_controls(beside(d, {"kl": (0, facts("sft", "control"))}, failed=["kl"]))
    assert row["verdict"] == "undecided"
    assert "failed: seed 0: loss is nan; seed 1" in row["detail"]
    assert "nan" not in row["detail"].replace("loss is nan", "")


def test_a_control_from_another_start_is_no_control():
    d = beside(
        world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.5, 0.1)),
        {"sft_more": (0.2, facts("sft", "control"))},
    )
    marks = {s: {**m, "rl": {"checkpoint": "ppo-from-10"}} for s, m in d.landmarks.items()}
    assert against_controls(changed(d, landmarks=marks)) == []
    marks = {s: {**m, "rl": {"checkpoint": "ppo-from-7"}} for s, m in d.landmarks.items()}
    assert against_controls(changed(d, landmarks=marks)) == []


def test_a_claim_of_ones_own_compares_two_branches():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    assert of_ones_own(d) == []
    pairs = (("ppo-from-10", "ppo-from-100"), ("ppo-from-100", "ppo-from-10"))
    found = of_ones_own(changed(d, compare=pairs))
    assert verdict_of(found, "ppo-from-10-above-ppo-from-100-ood") == "held"
    assert verdict_of(found, "ppo-from-100-above-ppo-from-10-ood") == "did not hold"
    first = next(r for r in found if r["claim"].endswith("100-ood"))
    assert first["effect"] == pytest.approx(0.4)
    last = of_ones_own(changed(d, compare=(("ppo-from-10", "sft-100"),)))
    assert verdict_of(last, "ppo-from-10-above-sft-100-ood") == "held"


def test_an_arm_of_sft_is_compared_and_is_no_step_of_sft():
    """Its checkpoints are read because they are named, and move no other claim."""
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    arm = [attempts("rpsft-100", rule, "held_out", 0.4, s) for s in SEEDS for rule in ("id", "ood")]
    both = changed(d, rows=pd.concat([d.rows, with_steps(pd.concat(arm))]))
    compared = changed(both, compare=(("rpsft-100", "sft-100"),))
    assert verdict_of(of_ones_own(compared), "rpsft-100-above-sft-100-ood") == "held"
    for made in (curves.forgetting, gate.phenomena, window_of_starts):
        one, two = (pd.DataFrame(made(x)) for x in (d, both))
        pd.testing.assert_frame_equal(one, two)
    assert both.steps == GRID


def test_a_window_of_starts_is_asked_of_three_starts_or_more():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    asked = {claim["claim"] for claim in window_of_starts(d)}
    assert asked == {"rl-heals-inside-a-window", "rl-does-not-exceed-the-peak"}
    kept = d.rows["checkpoint"].str.startswith("sft") | (d.rows["checkpoint"] == "ppo-from-50")
    one = changed(d, rows=d.rows[kept])
    assert [claim["claim"] for claim in window_of_starts(one)] == ["rl-does-not-exceed-the-peak"]
