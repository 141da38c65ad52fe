"""Claims and the gate follow their rules on made worlds where the truth is known."""

import numpy as np
import pandas as pd
import pytest

from healscope import claims, gate, provenance
from healscope.claims import paper
from healscope.claims.contrasts import Data
from healscope.config import Statistics
from healscope.evaluation import landmarks
from healscope.stats import Estimate
from healscope.tables.rows import any_attempt, first_attempts, with_steps

GRID = [0, 10, 50, 100]
SETTINGS = Statistics(resamples=200)
SEEDS = (0, 1, 2)


def attempts(variant, rule, split, share, seed, deals=200, n_faces=1):
    """First attempts of which `share` are correct, the same deals everywhere."""
    deal = np.arange(deals)
    correct = deal < share * deals
    return pd.DataFrame(
        {"model": "m", "seed": seed, "variant": variant, "rule": rule,
         "problem_id": [f"{d}:{rule}" for d in deal],
         "deal_id": [f"A-2-{d}>24" for d in deal], "values_id": deal.astype(str),
         "half": np.where(deal % 2, "b", "a"), "split": split, "n_faces": n_faces, "draw": deal,
         "retried": True, "sample": 0, "attempt": 1, "correct": correct, "parsed": True,
         "follows_rule": correct, "feedback": "", "protocol": "exhaustive"}
    )  # fmt: skip


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
    sft = rows[rows["stage"] == "sft"]
    marks = {s: landmarks.choose(sft[sft["seed"] == s], "auto", 50, "ppo-from-50") for s in SEEDS}
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
        signals=signals,
        landmarks=marks,
        settings=SETTINGS,
    )


def verdict_of(rows, claim):
    return next(r["verdict"] for r in rows if r["claim"] == claim)


def test_the_papers_world_holds():
    d = world(ood=(0, 0.5, 0.3, 0.1), rl_ood=(0, 0.5, 0.45, 0.1))
    forgetting = paper.forgetting(d)
    assert verdict_of(forgetting, "ood-peaks-early-then-falls") == "held"
    assert verdict_of(forgetting, "id-rises-meanwhile-train") == "held"
    assert verdict_of(forgetting, "id-rises-meanwhile-held-out") == "did not hold"
    assert verdict_of(paper.loss(d), "test-loss-misses-the-peak") == "held"
    assert verdict_of(paper.composition(d), "the-gap-is-the-rule") == "held"
    assert verdict_of(paper.steps(d), "number-step") == "held"
    window = paper.window(d)
    assert verdict_of(window, "rl-heals-inside-a-window") == "held"
    assert verdict_of(window, "rl-does-not-exceed-the-peak") == "held"


def test_other_worlds_do_not():
    rising = world(ood=(0, 0.1, 0.3, 0.5), rl_ood=(0.3, 0.4, 0.4, 0.7))
    assert verdict_of(paper.forgetting(rising), "ood-peaks-early-then-falls") != "held"
    assert verdict_of(paper.loss(rising), "test-loss-misses-the-peak") != "held"
    assert verdict_of(paper.window(rising), "rl-heals-inside-a-window") == "did not hold"
    above = world(ood=(0, 0.3, 0.2, 0.1), rl_ood=(0, 0.3, 0.6, 0.1))
    assert verdict_of(paper.window(above), "rl-does-not-exceed-the-peak") == "did not hold"


def test_the_branch_that_ends_highest_is_held_against_the_peak():
    """From 50 RL heals more, from 10 it ends higher."""
    d = world(ood=(0, 0.5, 0.2, 0.1), rl_ood=(0, 0.7, 0.4, 0.1))
    assert verdict_of(paper.window(d), "rl-does-not-exceed-the-peak") == "did not hold"


def test_a_late_peak_is_no_early_peak():
    d = world(ood=(0, 0.2, 0.5, 0.2), rl_ood=(0, 0.2, 0.5, 0.2))
    assert verdict_of(paper.forgetting(d), "ood-peaks-early-then-falls") == "did not hold"


def test_a_peak_by_luck_on_one_half_is_not_reported_there():
    """Half a likes step 10, half b step 50: the honest peak is what each gives the other."""
    d = world(ood=(0, 0.4, 0.4, 0.4), rl_ood=(0, 0.4, 0.4, 0.4))
    rows = d.rows.copy()
    lucky = {"sft-10": "a", "sft-50": "b"}
    for variant, half in lucky.items():
        own = (rows["variant"] == variant) & (rows["rule"] == "ood")
        rows.loc[own & (rows["half"] == half), "correct"] = True
    marks = {s: landmarks.choose(rows[rows["seed"] == s], "auto", 50, "ppo-from-50") for s in SEEDS}
    d = Data(**{**d.__dict__, "rows": rows, "landmarks": marks})
    assert marks[0]["maxood"]["by_half"] == {"a": "sft-50", "b": "sft-10"}
    assert d.at("ood", d.landmark("maxood"))["correct"].mean() == pytest.approx(0.4)
    fall = next(r for r in paper.forgetting(d) if r["claim"] == "ood-peaks-early-then-falls")
    assert fall["effect"] == pytest.approx(0)


def estimates(value, width=0.01):
    limits = dict.fromkeys("01", (value - width, value + width))
    return Estimate(value, value - width, value + width, dict.fromkeys("01", value), limits)


def reverted(kind, change, gap):
    row = paper._reverted("sft", kind, "ood", estimates(change), estimates(gap))
    return row["verdict"]


def test_a_reversion_is_judged_only_where_there_is_something_to_revert():
    assert reverted("values", 0.0, gap=0.3) == "held"
    assert reverted("values", 0.3, gap=0.3) == "did not hold"
    assert reverted("directions", 0.3, gap=0.3) == "held"
    assert reverted("directions", 0.0, gap=0.3) == "did not hold"
    assert reverted("values", 0.0, gap=0.0) == "undecided"
    assert reverted("directions", 0.0, gap=0.0) == "undecided"


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
    assert paper.drawn_hands(d) == []  # a study without such a protocol
    drawn = d.rows.assign(protocol="paper", attempt=1)
    row = paper.drawn_hands(Data(**{**d.__dict__, "drawn": [drawn]}))[0]
    assert row["verdict"] == "held"
    assert "3 of 3 seeds would call the change significant" in row["detail"]


def files_of(d, folder):
    """The world's attempts and landmarks as the workflow stores them."""
    file = folder / "exhaustive.parquet"
    d.rows.to_parquet(file)
    marks = []
    for seed, content in d.landmarks.items():
        marks.append(folder / f"{seed}.json")
        provenance.write_json(marks[-1], {"model": "m", "seed": seed, "landmarks": content})
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
    table = gate.measure(*files_of(world(ood, rl_ood), tmp_path), SETTINGS)
    assert dict(zip(table["phenomenon"], table["answer"], strict=True)) == {
        "forgetting": forgetting,
        "recovery": recovery,
    }
    verdicts = [row["verdict"] for row in paper.phenomena(world(ood, rl_ood))]
    assert [gate.ANSWERS[v] for v in verdicts] == [forgetting, recovery]
    lines = gate.sentences(table, ("rl",))
    assert len(lines) == 1
    assert f"OOD recovery {recovery} (End to RL" in lines[0]
    assert "3 seeds, 200 deals" in lines[0]


def test_claims_that_nothing_reaches_say_so(tmp_path):
    """A model that never answers in the format has no number step to judge."""
    d = world(ood=(0, 0, 0, 0), rl_ood=(0, 0, 0, 0))
    rows = d.rows.assign(parsed=False, correct=False, follows_rule=False)
    found = paper.steps(Data(**{**d.__dict__, "rows": rows}))
    assert [r["verdict"] for r in found] == ["undecided", "undecided"]
    table = pd.DataFrame([{"model": "m", **r} for r in found])
    answers = gate.measure(*files_of(d, tmp_path), SETTINGS)
    record = {"code": {"healscope": "0", "commit": None}, "fingerprint": "0" * 16}
    assert "nothing to measure" in claims.text(table, answers, record)


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
