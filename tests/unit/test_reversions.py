"""Tables and claims of edited models, on made worlds where the truth is known."""

import numpy as np
import pandas as pd
import pytest

from healscope import provenance
from healscope.config import Statistics
from healscope.evaluation import landmarks
from healscope.findings import edit_controls, reversions
from healscope.findings.contrasts import Data
from healscope.findings.repair import chosen, repair
from healscope.findings.rows import first_attempts, with_steps
from healscope.schema import check
from healscope.schemas import SCHEMAS

SETTINGS = Statistics(resamples=200)
SEEDS = (0, 1, 2)
DEALS = 100
POINTS = {"target": "end", "parent": "maxood"}

# (ID, OOD) accuracy: SFT forgets 40 points; RL gives back 20 for nothing
CHECKPOINTS = {
    "sft-0": (0, 0),
    "sft-9": (0.3, 0.6),
    "sft-59": (0.5, 0.2),
    "ppo-from-59": (0.5, 0.4),
}
EDITS = {
    "directions-rank-0.2": (0.4, 0.54),  # 85% of the loss for 10 points
    "directions-rank-0.2-as-noise": (0.5, 0.2),
    "directions-rank-0.2-as-interpolation": (0.4, 0.54),
    "directions-rank-1": (0.3, 0.6),
    "orthonormal-rank-0.2": (0.4, 0.3),
    "swap-rank-0.2": (0.35, 0.54),
    "swap-rank-1": (0.3, 0.6),
    "values-rank-0.2": (0.48, 0.42),  # 55% of the loss for 2 points
    "values-rank-1": (0.5, 0.2),
    "directions-layers-1": (0.5, 0.28),
    "directions-layers-2": (0.3, 0.6),
}


def attempts(variant, rule, share, seed, **more):
    deal = np.arange(DEALS)
    return pd.DataFrame(
        {"track": "m", "seed": seed, "checkpoint": variant, "rule": rule,
         "problem_id": [f"{d}:{rule}" for d in deal],
         "instance_id": deal.astype(str), "split": "held_out", "half": np.where(deal % 2, "b", "a"),
         "n_faces": 1, "draw": deal, "retried": True, "sample": 0, "attempt": 1,
         "correct": (37 * deal) % DEALS < share * DEALS, **more}
    )  # fmt: skip


@pytest.fixture
def study(tmp_path):
    """Files of edits, evaluations and landmarks, as the workflow stores them."""
    return make(tmp_path, EDITS)


def make(folder, edits):
    files = {"edits": [], "evaluations": [], "landmarks": []}
    for seed in SEEDS:
        for kind, variants in (("evaluations", CHECKPOINTS), ("edits", edits)):
            for variant, shares in variants.items():
                far = {
                    "from_target": 0.5 + seed / 2,
                    "from_parent": 0.75,
                    "turned_degrees": 2.0 + seed,
                }
                far = far if kind == "edits" else {}
                rows = [
                    attempts(variant, rule, share, seed, stage="sft", **far)
                    for rule, share in zip(("id", "ood"), shares, strict=True)
                ]
                files[kind].append(str(folder / f"{variant}-{seed}.parquet"))
                pd.concat(rows).to_parquet(files[kind][-1])
        steps = with_steps(first_attempts([f for f in files["evaluations"] if "sft" in f]))
        chosen = landmarks.choose(steps[steps["seed"] == seed], "auto", 59, "ppo-from-59")
        files["landmarks"].append(str(folder / f"marks-{seed}.json"))
        content = {"track": "m", "seed": seed, "landmarks": chosen}
        provenance.write_json(files["landmarks"][-1], content)
    return list(files.values())


def row(table, **where):
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_a_sweep_shows_target_parent_edits_controls_and_distances(study):
    table = reversions.reversion(*study, "sft", {"sft": POINTS}, SETTINGS)
    check(table, SCHEMAS["reversion"])
    at = {"rule": "ood", "seed": "all"}
    assert row(table, kind="none", **at)["accuracy"] == pytest.approx(0.2)
    assert row(table, kind="none", **at)["name"] == "end"
    assert row(table, kind="parent", **at)["accuracy"] == pytest.approx(0.6)
    assert row(table, kind="parent", **at)[["from_target", "from_parent"]].tolist() == [1, 0]
    edit = row(table, name="directions-rank-0.2", **at)
    assert edit[["kind", "axis", "amount", "control"]].tolist() == ["directions", "rank", 0.2, ""]
    assert edit["accuracy"] == pytest.approx(0.54)
    assert edit["from_target"] == pytest.approx(1.0)  # the mean of the seeds'
    assert edit["turned_degrees"] == pytest.approx(3.0)
    assert row(table, name="directions-rank-0.2", rule="id", seed="1")["from_target"] == 1.0
    control = row(table, name="directions-rank-0.2-as-noise", **at)
    assert control[["kind", "control", "matched"]].tolist() == ["directions", "noise", "norm"]


def test_any_two_checkpoints_can_be_the_ends(study):
    points = {"target": "ppo-from-59", "parent": "base"}
    table = reversions.reversion(*study, "mine", {"mine": points}, SETTINGS)
    assert row(table, kind="none", rule="ood", seed="0")["accuracy"] == pytest.approx(0.4)
    parent = row(table, kind="parent", rule="ood", seed="0")
    assert (parent["name"], parent["accuracy"]) == ("base", 0)  # evaluated as the start of SFT


def repaired(files):
    edits, evaluations, *landmarks = files
    return repair(edits, evaluations, [], [], *landmarks, {"sft": POINTS}, SETTINGS)


def test_the_front_holds_what_nothing_beats(study):
    table = repaired(study)
    check(table, SCHEMAS["repair"])
    front = set(table.loc[table["front"], "name"])
    # values-rank-1 changes nothing at all, which nothing beats for less
    assert front == {
        "directions-rank-0.2", "directions-rank-1", "directions-layers-2", "swap-rank-1",
        "values-rank-0.2", "directions-layers-1",
    }  # fmt: skip
    edit = row(table, name="directions-rank-0.2")
    assert edit["restored"] == pytest.approx(0.85)
    assert edit["id_change"] == pytest.approx(-0.1)
    healed = row(table, kind="rl")
    assert (healed["ood_change"], healed["id_change"]) == (pytest.approx(0.2), 0)
    assert row(table, kind="parent")["restored"] == pytest.approx(1)


def test_answers_that_are_healed_and_kept_are_counted(study):
    table = repaired(study)
    parent, edit = row(table, kind="parent"), row(table, name="values-rank-0.2")
    assert parent["healed"] == 1
    assert parent["kept"] == pytest.approx(0.6, abs=0.02)  # 30 of 50 points
    assert edit["healed"] == pytest.approx(0.55, abs=0.02)  # 22 of 40 points
    assert edit["kept"] == pytest.approx(0.96, abs=0.02)
    nothing = row(table, name="directions-rank-0.2-as-noise")
    assert (nothing["healed"], nothing["kept"]) == (0, 1)


def test_an_edit_that_goes_further_than_the_parent_is_not_picked(tmp_path):
    files = make(tmp_path, EDITS)
    for file in files[0]:
        if "values-rank-0.2-" in file:
            pd.read_parquet(file).assign(from_target=1.2).to_parquet(file)
    table = repaired(files)
    assert "values" not in row(table, name="cheapest for 50%")["picked"]
    assert chosen(table, 0.5) != "values-rank-0.2" == chosen(repaired(make(tmp_path, EDITS)), 0.5)


def test_the_cheapest_edit_for_a_share_of_the_loss(study):
    table = repaired(study)
    half, most = row(table, name="cheapest for 50%"), row(table, name="cheapest for 80%")
    assert half["picked"] == "values-rank-0.2"
    assert half["id_change"] == pytest.approx(-0.02, abs=0.011)
    assert most["picked"].startswith("directions-rank-0.2")
    assert most["restored"] == pytest.approx(0.85, abs=0.03)


def test_a_pick_by_luck_on_one_half_is_not_reported_there(tmp_path):
    """One edit shines on half a, another on half b: each is reported where it does not."""
    files = make(tmp_path, {"swap-rank-0.2": (0.5, 0.2), "swap-rank-0.4": (0.5, 0.2)})
    for file in files[0]:
        rows = pd.read_parquet(file)
        lucky = "a" if "0.2" in file else "b"
        rows.loc[(rows["half"] == lucky) & (rows["rule"] == "ood"), "correct"] = True
        rows.to_parquet(file)
    table = repaired(files)
    assert row(table, name="swap-rank-0.2")["ood_change"] == pytest.approx(0.4)
    pick = row(table, name="cheapest for 50%")
    assert pick["picked"] == "swap-rank-0.4 or swap-rank-0.2"
    assert pick["ood_change"] == pytest.approx(0)


def test_where_nothing_was_lost_no_share_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setitem(CHECKPOINTS, "sft-9", (0.3, 0.2))
    table = repaired(make(tmp_path, EDITS))
    assert table["restored"].isna().all()


def data(files, **more):
    edits, evaluations, marks = files
    rows = with_steps(first_attempts(evaluations))
    edited = first_attempts(edits)
    known = {
        "rows": rows, "train_rows": rows, "faceless": rows, "drawn": [],
        "edits": edited.assign(checkpoint="sft:" + edited["checkpoint"]),
        "signals": None, "logs": None,
        "recipes": {}, "stages": {"sft": POINTS}, "settings": SETTINGS,
        "landmarks": {s: provenance.read_json(m)["landmarks"] for s, m in enumerate(marks)},
    }  # fmt: skip
    return Data(**{**known, **more})


def verdicts(rows):
    return {r["claim"]: r["verdict"] for r in rows}


def test_the_sibling_papers_share_is_judged(study):
    found = edit_controls.sibling(data(study))
    assert verdicts(found) == {
        "top-directions-restore-sft": "held",
        "first-layers-restore-sft": "did not hold",  # 20%
    }
    top = found[0]
    assert top["effect"] == pytest.approx(0.34 - 0.7 * 0.4)
    assert "share given back 85% [" in top["detail"]
    assert "(here the first 1)" in found[1]["statement"]


def test_without_a_loss_no_share_is_judged(tmp_path, monkeypatch):
    monkeypatch.setitem(CHECKPOINTS, "sft-9", (0.3, 0.2))
    found = edit_controls.sibling(data(make(tmp_path, EDITS)))
    assert set(verdicts(found).values()) == {"undecided"}
    assert "no clear loss to give back" in found[0]["detail"]


def test_an_edit_is_held_against_its_controls(study):
    found = verdicts(edit_controls.controls(data(study)))
    assert found == {
        "directions-beat-interpolation-sft": "did not hold",
        "directions-beat-noise-sft": "held",
    }
    splices = verdicts(edit_controls.splices(data(study)))
    assert splices == {
        "orthonormal-directions-do-the-same-sft": "did not hold",
        "values-add-nothing-sft": "held",
    }


def test_towards_a_worse_parent_further_is_down(tmp_path, monkeypatch):
    """In the RL stage the parent is worse: an edit that takes more away goes further to it."""
    monkeypatch.setitem(EDITS, "directions-rank-0.2", (0.4, 0.0))
    monkeypatch.setitem(EDITS, "directions-rank-0.2-as-noise", (0.4, 0.4))
    stages = {"sft": {"target": "rl", "parent": "end"}}
    found = edit_controls.controls(data(make(tmp_path, EDITS), stages=stages))
    assert verdicts(found)["directions-beat-noise-sft"] == "held"


def test_rl_is_held_against_the_edit_that_gives_back_most(study, tmp_path):
    (found,) = edit_controls.against_rl(data(study))
    assert found["verdict"] == "undecided"  # these instances picked MaxOOD, which flatters edits
    assert found["effect"] == pytest.approx(-0.2)
    assert "RL minus the edit, directions-rank-1, picked" in found["detail"]
    weak = {name: (0.5, min(shares[1], 0.3)) for name, shares in EDITS.items()}
    (found,) = edit_controls.against_rl(data(make(tmp_path, weak)))
    assert found["verdict"] == "held"
    assert found["effect"] == pytest.approx(0.1, abs=0.02)
    other = {"sft": {"target": "sft-0", "parent": "end"}}
    assert edit_controls.against_rl(data(study, stages=other)) == []  # RL starts elsewhere
