"""The page of given checkpoints, where the truth is known: it says no more than that."""

from zlib import crc32

import numpy as np
import pandas as pd
import pytest
from targets import later

from healscope import provenance
from healscope.config import Statistics
from healscope.evaluation import landmarks
from healscope.findings.diagnosis import page
from healscope.findings.diagnosis.measure import measure
from healscope.findings.rows import first_attempts, with_steps
from healscope.schema import check
from healscope.schemas import SCHEMAS

SETTINGS = Statistics(resamples=300)
POINTS = {"sft": {"target": "end", "parent": "maxood"}}
ROLES = ["q", "k", "v", "o", "gate", "up", "down"]

# (ID, OOD) accuracy: 40 points of OOD accuracy are lost from step 9 to 59
FORGETS = {"sft-0": (0.1, 0.1), "sft-9": (0.3, 0.6), "sft-59": (0.5, 0.2)}
HEALS = {**FORGETS, "rl-from-59": (0.5, 0.4)}
EDITS = {
    "values-rank-1": (0.5, 0.2),
    "directions-rank-0.2": (0.4, 0.5),
    "directions-rank-0.2-as-rotation": (0.5, 0.2),
    "orthonormal-rank-0.2": (0.4, 0.5),
    "orthonormal-rank-0.2-as-interpolation": (0.4, 0.5),
    "swap-rank-1": (0.3, 0.6),
    "swap-strength-0.5": (0.45, 0.54),  # 85% of the loss for 5 points
}


class World:
    """Files as the workflow stores them; deals become right in a fixed order, or by `chance`."""

    def __init__(
        self,
        folder,
        checkpoints,
        edits=EDITS,
        deals=300,
        chance=False,
        seeds=(0,),
        sets=None,
        twins=None,
    ):
        self.files = {"evaluations": [], "edits": [], "landmarks": []}
        far = {"from_target": 0.5, "from_parent": 0.6}
        for kind, variants in (("evaluations", checkpoints), ("edits", edits)):
            for variant, shares in variants.items():
                rows = [
                    attempts(
                        variant, rule, share, deals, chance, **(far if kind == "edits" else {})
                    )
                    for rule, share in zip(("id", "ood"), shares, strict=True)
                ]
                rows = [frame.assign(seed=seed) for frame in rows for seed in seeds]
                if sets is not None:  # that each deal is from
                    rows = [frame.assign(group=np.array(sets)[frame["draw"]]) for frame in rows]
                if twins is not None:  # that each deal has in training
                    rows = [frame.assign(twin=np.array(twins)[frame["draw"]]) for frame in rows]
                self.files[kind].append(str(folder / f"{kind}-{variant}.parquet"))
                pd.concat(rows).to_parquet(self.files[kind][-1])
        steps = with_steps(first_attempts(f for f in self.files["evaluations"] if "-sft-" in f))
        last = max(steps["step"])
        healed = "rl-from-59" if "rl-from-59" in checkpoints else None
        for seed in seeds:
            chosen = landmarks.choose(steps[steps["seed"] == seed], "auto", int(last), healed)
            self.files["landmarks"].append(str(folder / f"marks-{seed}.json"))
            content = {"track": "m", "seed": seed, "landmarks": chosen}
            provenance.write_json(self.files["landmarks"][-1], content)
        self.table = measure(*self.files.values(), POINTS, SETTINGS)
        check(self.table, SCHEMAS["diagnosis"])
        given = {"m": {"sft-9": "/models/nine", "sft-0": "/models/base"}}
        study = page.Study({"m": "gp4"}, given, POINTS, ROLES, 0.95)
        record = provenance.record({})
        whole = page.text(self.table, self.files["landmarks"], study, record)
        self.page = " ".join(whole.split())  # where lines break is of no matter here
        self.lines = whole.splitlines()

    def effect(self, part, name, rule="ood"):
        t = self.table
        (row,) = t[(t["part"] == part) & (t["name"] == name) & (t["rule"] == rule)].to_dict(
            "records"
        )
        return row


def attempts(variant, rule, share, deals, chance, **more):
    deal = np.arange(deals)
    order = np.random.default_rng(crc32(variant.encode())).permutation(deals) if chance else deal
    return pd.DataFrame(
        {"track": "m", "checkpoint": variant, "rule": rule,
         "problem_id": [f"{d}:{rule}" for d in deal],
         "instance_id": deal.astype(str), "split": "held_out", "half": np.where(deal % 2, "b", "a"),
         "n_faces": 1, "draw": deal, "retried": True, "sample": 0, "attempt": 1,
         "correct": order < share * deals, **more}
    )  # fmt: skip


def test_what_is_there_is_established(tmp_path):
    world = World(tmp_path, HEALS)
    assert "OOD accuracy peaked at step 9, and has fallen since." in world.page
    assert "OOD sets" not in world.page  # there is one
    assert "A loss is established from step 9 to step 59" in world.page
    assert "intervals count instances alone: 'established' speaks of these" in world.page
    assert world.effect("lost", "since")["effect"] == pytest.approx(-0.4)
    assert world.effect("lost", "since", "id")["effect"] == pytest.approx(0.2)
    assert "RL gave back OOD accuracy from step 59." in world.page
    assert world.effect("rl", "healed")["effect"] == pytest.approx(0.2)
    assert world.effect("rl", "beside maxood")["effect"] == pytest.approx(-0.2)
    line = "base (step 0) and RL from step 59 are asked and compared with the 12 rows that all"
    assert line not in world.page
    resized = {"m": {"base": 12, "rl-from-59": 12}}
    study = page.Study({"m": "gp4"}, {}, POINTS, ROLES, 0.95, resized=resized)
    said = page.text(world.table, world.files["landmarks"], study, provenance.record({}))
    assert line in " ".join(said.split())


def test_each_set_of_several_has_its_own_row(tmp_path):
    """Deals become right in order: the first set falls by 60 points, the second by 20."""
    world = World(tmp_path, FORGETS, sets=["german"] * 150 + ["long"] * 150)
    assert world.effect("groups", "german")["effect"] == pytest.approx(-0.6)
    assert world.effect("groups", "long")["effect"] == pytest.approx(-0.2)
    assert world.effect("groups", "german: end")["effect"] == pytest.approx(0.4)
    assert "Of 2 OOD sets, a loss since the peak is established for german, long." in world.page
    assert any(line.startswith("| german") for line in world.lines)
    assert "near" not in world.page


def test_near_twins_are_counted(tmp_path):
    world = World(tmp_path, FORGETS, edits={}, twins=["sft:1"] * 30 + [None] * 270)
    assert world.effect("twins", "share")["effect"] == pytest.approx(0.1)
    assert "10.0% of the OOD problems nearly repeat an example of the training file" in world.page


@pytest.mark.parametrize("seeds", [(0,), later((0, 1, 2))], ids=len)
def test_only_one_run_leaves_luck_in_training_in_what_it_picks(tmp_path, seeds):
    world = World(tmp_path, HEALS, seeds=seeds)
    one = len(seeds) == 1
    half = "Each half of the instances is reported at the step that the other half picks (step 9)"
    assert (half in world.page) == one
    luck = (
        "Luck in training does: with one run a checkpoint that happened to come out well is both "
        "picked and judged, which one run cannot tell from a peak."
    )
    assert (luck in world.page) == ("uck in training" in world.page) == one
    runs = (
        "each run and half of the instances is reported at the step that the other runs pick on "
        "the other half (step 9)"
    )
    assert (runs in world.page) != one
    assert ("There is one run, so intervals count instances alone" in world.page) == one
    assert ("Intervals count instances and seeds." in world.page) != one
    assert world.effect("peak", "maxood")["seeds"] == len(seeds)


def test_vectors_that_do_no_better_than_a_straight_step_do_not_tell(tmp_path):
    world = World(tmp_path, FORGETS)
    assert "cannot tell rotation from any small update undone" in world.page
    assert "though more than going as far" in world.page
    assert "Putting singular values back changes nothing" in world.page
    assert "RL give back" not in world.page


def test_vectors_that_beat_both_controls_look_like_rotation(tmp_path):
    edits = {**EDITS, "orthonormal-rank-0.2-as-interpolation": (0.4, 0.25)}
    assert "It looks like rotation" in World(tmp_path, FORGETS, edits).page


def test_a_difference_within_chance_is_undecided(tmp_path):
    edits = {**EDITS, "orthonormal-rank-0.2-as-interpolation": (0.4, 0.42)}
    world = World(tmp_path, FORGETS, edits, deals=100, chance=True)
    assert "Whether the loss is rotation is undecided" in world.page


def test_the_cheapest_edit_and_its_command(tmp_path):
    world = World(tmp_path, FORGETS)
    said = (
        "`swap-strength-0.5` gives it back, and keeps more ID accuracy than step 9 has: OOD +34.0"
    )
    assert said in world.page
    assert world.effect("repair", "cheapest")["effect"] == pytest.approx(0.34)
    assert world.effect("repair", "cheapest", "id")["effect"] == pytest.approx(-0.05)
    assert world.effect("repair", "kept", "id")["effect"] == pytest.approx(0.15)
    assert "going back altogether, to step 9 (/models/nine)" in world.page
    assert "  --target results/checkpoints/m/seed-0/sft-59 \\" in world.lines
    assert "  --edit swap-strength-0.5 \\" in world.lines


def test_repairs_of_the_update_stand_beside_their_controls_with_the_repair(tmp_path):
    """They say nothing of rotation."""
    edits = {**EDITS, "ramp": (0.4, 0.45), "ramp-as-straight": (0.4, 0.4)}
    lines = World(tmp_path, FORGETS, edits).lines
    start = next(i for i, line in enumerate(lines) if line.startswith("## ") and "cheaply" in line)
    (row,) = (i for i, line in enumerate(lines) if line.startswith("| ramp "))
    assert row > start
    assert "as far in all, one straight step" in lines[row]
    assert "+5.0" in lines[row]


def test_an_edit_that_keeps_no_more_than_the_better_checkpoint_is_not_recommended(tmp_path):
    edits = {"swap-rank-1": (0.3, 0.6), "swap-rank-0.2": (0.32, 0.55)}
    world = World(tmp_path, FORGETS, edits, chance=True)
    assert "is not established: use that checkpoint instead." in world.page


def test_where_no_edit_gives_back_enough_that_is_said(tmp_path):
    edits = {name: (0.5, min(ood, 0.4)) for name, (_, ood) in EDITS.items()}
    world = World(tmp_path, FORGETS, edits)
    assert "No edit gives back 80%; `" in world.page
    assert world.effect("repair", "most")["effect"] == pytest.approx(0.2)


def test_nothing_is_claimed_of_a_fall_within_chance(tmp_path):
    checkpoints = {"sft-0": (0.1, 0.1), "sft-9": (0.3, 0.35), "sft-59": (0.5, 0.3)}
    edits = {name: (0.5, 0.3) for name in EDITS}
    world = World(tmp_path, checkpoints, edits, deals=60, chance=True)
    assert "No peak is established: step 9 is the best" in world.page
    assert "No loss is established from step 9" in world.page
    assert "There is no established loss that rotation could explain." in world.page
    for claim in ("has fallen since", "looks like rotation", "A loss is established"):
        assert claim not in world.page


def test_a_best_last_step_has_no_peak_and_needs_no_edit(tmp_path):
    checkpoints = {"sft-0": (0.1, 0.1), "sft-9": (0.3, 0.3), "sft-59": (0.5, 0.6)}
    edits = {name: (0.5, 0.6) for name in EDITS}
    world = World(tmp_path, checkpoints, edits)
    assert "No peak: OOD accuracy is best at step 59, the last step looked at." in world.page
    assert "Nothing was lost: step 59 is the best step." in world.page
    assert "No edit is needed" in world.page
    assert "healscope export" not in world.page


def test_a_base_that_was_best_is_no_peak_of_sft(tmp_path):
    checkpoints = {"sft-0": (0.1, 0.6), "sft-9": (0.3, 0.4), "sft-59": (0.5, 0.2)}
    world = World(tmp_path, checkpoints)
    assert "OOD accuracy was best before SFT, and has fallen since." in world.page


def test_without_edits_the_page_is_about_accuracy_alone(tmp_path):
    world = World(tmp_path, FORGETS, {})
    assert "A loss is established from step 9 to step 59" in world.page
    assert "rotation" not in world.page


def test_vocabularies_of_other_sizes_are_said_to_be_read_alike(tmp_path):
    """From the manifests of checkpoints, as they are taken."""
    found = {"base": {"rows": 12}, "sft-9": {}, "rl-from-59": {"base": "../base", "rows": 12}}
    manifests = {}
    for name, reading in found.items():
        manifests[name] = tmp_path / f"{name}.json"
        content = {"files": {"model.safetensors": {"sha256": "a"}}, "reading": reading}
        provenance.write_json(manifests[name], content)
    resized = page.other_rows(manifests)
    assert resized == {"base": 12, "rl-from-59": 12}
    assert page.same_weights(manifests) == [["base", "sft-9"]]  # one is an adapter on another
