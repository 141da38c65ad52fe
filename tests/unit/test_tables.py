"""Tables against planted truths: what is compared with what, landmarks, signals, designs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from healscope import artifacts, provenance, stats
from healscope.config import Statistics
from healscope.evaluation import landmarks
from healscope.findings import (
    arms,
    curves,
    errors,
    factorial,
    protocols,
    published,
    rl_window,
    rows,
    stopping,
    weights,
)
from healscope.findings import landmarks as at_landmarks
from healscope.schema import check
from healscope.schemas import SCHEMAS

SETTINGS = Statistics(resamples=100)


def attempts_file(folder, variant, seed, shares, stage=None):
    """An evaluation of 10 deals; `shares`: (rule, split) -> share correct."""
    found = [
        {
            "track": "m", "seed": seed, "checkpoint": variant, "problem_id": f"{d}:{rule}:{split}",
            "instance_id": f"{split}{d}", "split": split, "rule": rule,
            "half": "ab"[d % 2], "n_faces": 1, "draw": d, "retried": True, "sample": 0,
            "attempt": 1, "correct": d < share * 10,
        }
        for (rule, split), share in shares.items()
        for d in range(10)
    ]  # fmt: skip
    file = folder / f"{stage}-{variant}-{seed}.parquet"
    pd.DataFrame(found).assign(stage=stage).to_parquet(file)
    return str(file)


def held_out(id_share, ood_share):
    return {("id", "held_out"): id_share, ("ood", "held_out"): ood_share, ("id", "train"): 1.0}


@pytest.fixture
def world(tmp_path):
    """Two seeds whose best OOD steps differ; RL from 5 adds 20 points OOD in seed 1 only."""
    files, marks = [], []
    for seed, ood in ((0, {0: 0.0, 5: 0.6, 9: 0.2}), (1, {0: 0.0, 5: 0.2, 9: 0.4})):
        for step, share in ood.items():
            files.append(attempts_file(tmp_path, f"sft-{step}", seed, held_out(0.5, share)))
        files.append(
            attempts_file(tmp_path, "ppo-from-5", seed, held_out(0.7, ood[5] + 0.2 * seed))
        )
        steps = rows.with_steps(rows.first_attempts(files[-4:-1]))
        chosen = landmarks.choose(steps, "auto", 5, "ppo-from-5")
        mark = tmp_path / f"marks-{seed}.json"
        provenance.write_json(mark, {"track": "m", "seed": seed, "landmarks": chosen})
        marks.append(str(mark))
    return files, marks


def cell(table, column, **where):
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table[column].item()


@pytest.fixture
def pool(tmp_path):
    """An SFT pool of all training deals of the world but one, and how many are drawn."""
    return pool_of(tmp_path, [f"train{d}" for d in range(9)]), {"deals": 9, "examples": 9}


def pool_of(folder, instances):
    file = folder / artifacts.path(artifacts.SFT_POOL, task="cards")
    file.parent.mkdir(parents=True)
    pd.DataFrame({"instance_id": instances, "n_faces": 0}).to_parquet(file)
    return [str(file)]


def test_curves_keep_splits_and_stages_apart(world, pool):
    table = curves.curves(world[0], *pool, SETTINGS)
    unseen = {"rule": "id", "seed": "0", "stage": "sft", "step": 5, "split": "train"}
    assert cell(table, "n", **unseen) == 9  # the deal that SFT never saw is no training deal
    at = {"rule": "id", "seed": "all", "stage": "sft", "step": 5}
    assert cell(table, "accuracy", split="train", **at) == 1.0
    assert cell(table, "accuracy", split="held_out", **at) == 0.5
    ood = {"rule": "ood", "split": "held_out", "stage": "sft", "step": 5}
    assert cell(table, "accuracy", seed="0", **ood) == 0.6
    assert cell(table, "accuracy", seed="all", **ood) == pytest.approx(0.4)


def test_the_window_pairs_rl_with_its_own_start(world):
    table = rl_window.rl_window(world[0], SETTINGS)
    for seed, before, change in (("0", 0.6, 0.0), ("1", 0.2, 0.2), ("all", 0.4, 0.1)):
        at = {"start": 5, "rule": "ood", "seed": seed}
        assert cell(table, "before", **at) == pytest.approx(before)
        assert cell(table, "change", **at) == pytest.approx(change)
        assert cell(table, "after", **at) == pytest.approx(before + change)


def test_mcnemar_counts_one_problem_of_each_instance(tmp_path):
    """Six instances turn right, each in three orders: they say as much as six problems do."""
    share = {("ood", "held_out"): 0.0}, {("ood", "held_out"): 0.6}
    files = []
    for variant, shares in zip(("sft-5", "ppo-from-5"), share, strict=True):
        files.append(attempts_file(tmp_path, variant, 0, shares))
        orders = [pd.read_parquet(files[-1]).assign(draw=lambda r, i=i: 10 * i + r["draw"])
                  for i in range(3)]  # fmt: skip
        found = pd.concat(orders)
        names = found["problem_id"] + ":" + found["draw"].astype(str)
        found.assign(problem_id=names).to_parquet(files[-1])
    table = rl_window.rl_window(files, SETTINGS)
    assert cell(table, "n", seed="0") == 30
    assert cell(table, "change", seed="0") == pytest.approx(0.6)
    assert cell(table, "mcnemar_p", seed="0") == pytest.approx(2 / 2**6)
    assert np.isnan(cell(table, "mcnemar_p", seed="all"))


def test_maxood_is_reported_where_the_other_seed_picks_it(world):
    table = at_landmarks.landmarks(*world, SETTINGS)
    at = {"landmark": "maxood_uncorrected", "rule": "ood"}
    assert cell(table, "checkpoint", seed="0", **at) == "sft-5"
    assert cell(table, "checkpoint", seed="1", **at) == "sft-9"
    assert cell(table, "accuracy", seed="all", **at) == pytest.approx((0.6 + 0.4) / 2)
    at["landmark"] = "maxood"
    assert cell(table, "checkpoint", seed="0", **at) == "sft-9"
    assert cell(table, "checkpoint", seed="1", **at) == "sft-5"
    assert cell(table, "accuracy", seed="all", **at) == pytest.approx((0.2 + 0.2) / 2)
    alone = at_landmarks.landmarks(world[0][:4], world[1][:1], SETTINGS)  # its own other half picks
    assert cell(alone, "checkpoint", seed="0", **at) == "sft-5"
    assert cell(alone, "accuracy", seed="0", **at) == pytest.approx(0.6)


def test_maxood_takes_the_earliest_of_equals_and_obeys_a_pin(world):
    steps = rows.with_steps(rows.first_attempts(world[0][:3]))
    same = landmarks.choose(steps.assign(correct=True), "auto", 5, "x")
    assert same["maxood"]["step"] == 0
    assert landmarks.picked({0: same}) == {0: {"a": "sft-0", "b": "sft-0"}}
    pinned = landmarks.choose(steps, 9, 5, "x")
    assert pinned["maxood"]["checkpoint"] == "sft-9"
    assert pinned["maxood"]["ood_by_half"] is None
    assert landmarks.picked({0: pinned}) == {0: {"a": "sft-9", "b": "sft-9"}}


def protocol_file(folder):
    """One checkpoint, 4 problems: one right at once, one in a sample, one after feedback, none."""
    common = {
        "track": "m", "seed": 0, "protocol": "exhaustive", "checkpoint": "sft-5", "rule": "ood",
        "split": "held_out", "half": "a", "n_faces": 1, "retried": True, "told_rule": False,
    }  # fmt: skip
    found = []

    def add(d, sample, attempt, feedback, correct):
        found.append(
            {**common, "parsed": feedback != "none", "problem_id": str(d),
             "instance_id": str(d), "draw": d,
             "sample": sample, "attempt": attempt, "feedback": feedback, "correct": correct}
        )  # fmt: skip

    for d in range(4):
        add(d, 0, 1, "", d == 0)
        for sample in (1, 2):
            add(d, sample, 1, "", d == 1 and sample == 2)
        if d:
            for level in ("none", "full"):
                add(d, 0, 2, level, d == 2 and level == "full")
    file = folder / "protocol.parquet"
    pd.DataFrame(found).to_parquet(file)
    return str(file)


def test_first_attempts_samples_and_feedback_are_never_merged(tmp_path):
    table = protocols.protocols([protocol_file(tmp_path)], [], SETTINGS)
    row = table[(table["split"] == "held_out") & (table["seed"] == "all")].iloc[0]
    assert row["first_attempt"] == row["first_attempt_retried"] == 0.25
    assert row["pass_at_1"] == pytest.approx(1 / 8)
    assert row["pass_at_k"] == 0.25
    assert row["k"] == 2
    assert row["after_none"] == 0.25
    assert row["after_full"] == 0.5
    assert row["attempts"] == 2
    assert np.isnan(row["after_outcome"])  # this protocol never said just right or wrong
    assert row["later_parsed"] == 0.5
    assert set(table["split"]) == {"held_out"}  # "any" is for drawn hands


def test_exposure_tells_what_was_trained_on(tmp_path):
    file = protocol_file(tmp_path)
    pool = pool_of(tmp_path, ["0", "1", "other"])
    sft = {"deals": 3, "examples": 3}
    row = protocols.exposure([file], pool, sft, []).iloc[0]
    assert row["problems"] == row["distinct_instances"] == 4
    assert row["trained_on_share"] == 0.5
    assert row["accuracy_trained_on"] == 0.5
    assert row["accuracy_not_trained_on"] == 0.0
    assert row["training_side_share"] == 0.0
    assert row["messages"] == 3
    assert row["told_rule_share"] == 0.0
    assert np.isnan(row["accuracy_after_told"])


def design_file(folder, rule_effect, composition_effect):
    """Hands of two cards; accuracy is .5, less for the OOD rule and for hands with face cards."""
    found = []
    for seed in (0, 1, 2):
        for i in range(300):
            faces = i % 3
            for rule in ("id", "ood"):
                share = 0.5 + rule_effect * (rule == "ood") + composition_effect * (faces > 0)
                found.append(
                    {"track": "m", "seed": seed, "checkpoint": "sft-5",
                     "problem_id": f"A-{'K' * (faces > 0) or 2}{i}>9:{rule}",
                     "instance_id": str(i),
                     "split": "held_out", "half": "a", "rule": rule, "n_faces": faces, "draw": i,
                     "retried": False, "sample": 0, "attempt": 1,
                     "correct": (i // 3 % 100) < 100 * share}
                )  # fmt: skip
    file = folder / "design.parquet"
    pd.DataFrame(found).to_parquet(file)
    return str(file)


def test_rule_and_composition_are_told_apart(tmp_path):
    table = factorial.factorial_design([design_file(tmp_path, -0.2, -0.1)], SETTINGS)
    effect = {r["name"]: r for r in table[table["seed"] == "all"].to_dict("records")}
    assert effect["rule, hands with a face card"]["value"] == pytest.approx(-0.2)
    assert effect["rule, any hand"]["value"] == pytest.approx(-0.2)
    # a third of the deals have no face card: the share of them moves "any hand" away
    assert effect["composition, ID rule"]["value"] == pytest.approx(-0.1 / 3, abs=0.002)
    both = effect["published contrast (both at once)"]["value"]
    assert both == pytest.approx(-0.2 - 0.1 / 3, abs=0.002)
    rule = effect["rule, hands with a face card"]
    assert rule["low"] < rule["value"] < rule["high"] < 0


def test_hands_of_one_instance_keep_their_own_weights():
    """Under the ID rule K and J are both 10: one instance holds them all, in one order or two."""
    answers = {"5-K>15": (1, True), "K-5>15": (1, False), "5-J>15": (1, True), "J-K>20": (2, False)}
    rows = pd.DataFrame(
        {"seed": 0, "rule": "id", "problem_id": f"{hand}:id", "instance_id": "x",
         "n_faces": faces, "correct": correct}
        for hand, (faces, correct) in answers.items()
    )  # fmt: skip
    deals = factorial.design(rows).set_index("hand")
    assert deals["correct"].to_dict() == {("5", "K"): 0.5, ("5", "J"): 1.0, ("J", "K"): 0.0}
    assert deals["id/any"].to_dict() == {("5", "K"): 2, ("5", "J"): 2, ("J", "K"): 2}
    assert deals["id/face"].to_dict() == {("5", "K"): 2, ("5", "J"): 2, ("J", "K"): 4}
    assert not deals[["ood/any", "ood/face"]].any(axis=None)


def test_deals_weigh_as_often_as_they_are_dealt():
    assert factorial.ways_to_deal(factorial.hand_of("K-A-5>24:ood")) == 6
    assert factorial.ways_to_deal(factorial.hand_of("5-K-5>24:id")) == 3
    assert factorial.ways_to_deal(factorial.hand_of("5-5-5-5>24:id")) == 1


def test_a_step_is_judged_among_those_who_reached_it(tmp_path):
    """Ten answers: two without format, three with a wrong line, one with a wrong value."""
    base = pd.read_parquet(attempts_file(tmp_path, "sft-5", 0, {("ood", "held_out"): 0.4}))
    outcome = ["correct"] * 4 + ["wrong_value"] + ["wrong_line"] * 3 + ["no_answer"] * 2
    answers = base.assign(
        outcome=outcome,
        parsed=[o != "no_answer" for o in outcome],
        follows_rule=[o in ("correct", "wrong_value") for o in outcome],
        uses_numbers=[o in ("correct", "wrong_value", "wrong_line") for o in outcome],
    )
    file = tmp_path / "answers.parquet"
    answers.to_parquet(file)
    logged = tmp_path / "signals.parquet"
    losses = {f"{r}_{s}_step_loss_nats": 1.0 for r in ("id", "ood") for s in ("number", "formula")}
    pd.DataFrame([{"track": "m", "seed": 0, "step": 5, **losses}]).to_parquet(logged)
    table = errors.errors([str(file)], [str(logged)], SETTINGS)
    table = table[table["seed"] == "all"]

    def value(kind, name):
        return cell(table, "value", kind=kind, name=name, rule="ood")

    shares = {n: value("first error", n) for n in ("none", "format", "number_line", "arithmetic")}
    assert shares == pytest.approx(
        {"none": 0.4, "format": 0.2, "number_line": 0.3, "arithmetic": 0.1}
    )
    assert value("success", "format") == pytest.approx(0.8)
    assert value("success", "number step") == pytest.approx(5 / 8)
    assert value("success", "formula step") == pytest.approx(4 / 5)
    assert value("loss", "number step") == 1.0


def test_a_knee_is_where_the_curve_bends():
    steps = np.array([0, 1, 4, 9, 16, 25, 36])
    assert stopping.knee(steps, np.array([10.0, 5, 0, 0, 0, 0, 0])) == 4
    assert stopping.knee(steps, np.sqrt(steps)) in steps  # a straight line bends nowhere


def signals_file(folder, train_loss, test_loss):
    """Losses as functions of the seed and the step; everything else just grows."""
    logged = [
        {"track": "m", "seed": seed, "step": step,
         **{name: float(step) for name in stopping.SIGNALS if "accuracy" not in name},
         "id_train_loss_nats": float(train_loss(seed, step)),
         "id_test_loss_nats": float(test_loss(seed, step))}
        for seed in (0, 1)
        for step in (0, 5, 9)
    ]  # fmt: skip
    file = folder / "signals.parquet"
    pd.DataFrame(logged).to_parquet(file)
    return [str(file)]


def test_stopping_rules_are_ranked_by_what_they_lose(world, pool, tmp_path):
    """The test loss is lowest at each seed's OOD peak, the training loss at the end. The peak is
    where the other seed picks it: at 0.2 in both."""
    files, marks = world
    peak = {0: 5, 1: 9}
    logged = signals_file(tmp_path, lambda _, step: 9 - step, lambda s, step: abs(step - peak[s]))
    table = stopping.stopping(files, logged, pool[0], marks, pool[1], SETTINGS)
    check(table, SCHEMAS["stopping"])
    best = table[(table["signal"] == "id_test_loss_nats") & (table["rule"] == "optimum")].iloc[0]
    assert best["by_seed"] == pytest.approx([0.2 - 0.6, 0.2 - 0.4])
    assert best["regret"] == pytest.approx(-0.3)
    assert best["stops_at"] == "5, 9"
    assert best["needs"] == stopping.NO_LABELS
    last = table[table["signal"] == "last checkpoint"].iloc[0]
    assert last["regret"] == pytest.approx(((0.2 - 0.2) + (0.2 - 0.4)) / 2)
    blind = table[table["signal"].str.contains("blindly")].iloc[0]
    assert blind["regret"] == pytest.approx(((0.2 - 0.8 / 3) + (0.2 - 0.6 / 3)) / 2)
    assert best["rank"] < last["rank"]
    assert list(table["rank"]) == sorted(table["rank"])
    assert list(table["regret"]) == sorted(table["regret"])


def test_the_best_stopping_rule_is_picked_on_the_other_seed(world, pool, tmp_path):
    """The test loss always stops at 5, best for seed 0; the training loss at 9, best for seed 1:
    each seed is judged by the rule that suits the other."""
    logged = signals_file(tmp_path, lambda _, step: 9 - step, lambda _, step: abs(step - 5))
    table = stopping.stopping(world[0], logged, pool[0], world[1], pool[1], SETTINGS)
    offered = table[table["rule"].isin(["optimum", "knee"])].set_index(["signal", "rule"])
    assert offered.loc[("id_test_loss_nats", "optimum"), "by_seed"] == pytest.approx([-0.4, 0])
    assert offered.loc[("id_train_loss_nats", "optimum"), "by_seed"] == pytest.approx([0, -0.2])
    found = table[table["signal"] == stopping.BEST].iloc[0]
    assert (found["rule"], found["needs"]) == ("best", stopping.NO_LABELS)
    assert found["by_seed"] == pytest.approx([0, 0])
    assert found["regret"] > offered["regret"].min()


def test_published_values_stand_beside_the_measured(world):
    folder = Path(__file__).parents[2] / "config/published"
    files, marks = world
    for i, file in enumerate(files):
        answers = pd.read_parquet(file).assign(protocol="exhaustive", feedback="")
        answers.to_parquet(file)
        files[i] = file
    drawn = []
    for file in files:  # as drawn hands, with a retry that is right where the first was wrong
        first = pd.read_parquet(file).assign(protocol="paper")
        second = first[~first["correct"] & (first["draw"] == 9)]
        second = second.assign(attempt=2, feedback="full", correct=True)
        drawn.append(file.replace(".parquet", "-paper.parquet"))
        pd.concat([first, second]).to_parquet(drawn[-1])
    values = [str(f) for f in folder.glob("*.csv")]
    table = published.comparison(values, files + drawn, marks, ["paper"], SETTINGS)
    at = {"published_model": "qwen-2.5-7b", "rule": "ood", "kind": "change", "what": "maxood→end"}
    own = table[(table[list(at)] == pd.Series(at)).all(axis=1)].set_index("protocol")
    row = own.loc["exhaustive"]
    assert row["published"] == pytest.approx(-0.0258, abs=1e-3)
    assert not row["published_alone"]
    assert row["measured"] == pytest.approx(((0.6 - 0.2) + (0.2 - 0.2)) / 2)
    assert row["difference"] == pytest.approx(row["measured"] - row["published"])
    levels = table[(table["kind"] == "level") & (table["rule"] == "ood")].set_index("protocol")
    end = levels[(levels["what"] == "end") & (levels["published_model"] == "qwen-2.5-7b")]
    assert end.loc["exhaustive", "measured"] == pytest.approx(0.4)
    assert end.loc["paper", "measured"] == pytest.approx(0.5)  # any of two attempts


@pytest.mark.parametrize(
    ("measured", "half_width", "answer"),
    [(-0.10, 0.02, "yes"), (0.10, 0.02, "no"), (0.0, 0.2, "undecided"), (-0.02, 0.01, "no")],
)
def test_compatible_says_when_it_cannot_tell(measured, half_width, answer):
    value = {"said": -0.10, "low": -0.14, "high": -0.06, "model": "m", "what": "x", "value": 0}
    low, high = measured - half_width, measured + half_width
    e = stats.Estimate(measured, low, high, {"0": measured})
    assert published._beside({**value, "n": 234}, e)["compatible"] == answer


def test_every_arm_is_paired_with_sft(tmp_path):
    files = [
        attempts_file(tmp_path, f"{arm}-5", seed, held_out(0.5, share), arm)
        for arm, share in (("sft", 0.3), ("diverse", 0.7), ("solutions", 0.1))
        for seed in (0, 1)
    ]
    table = arms.arms(files, SETTINGS)
    at = {"rule": "ood", "seed": "all", "step": 5}
    for arm, level, difference in (("diverse", 0.7, 0.4), ("solutions", 0.1, -0.2)):
        assert cell(table, "accuracy", arm=arm, kind="level", **at) == pytest.approx(level)
        gap = cell(table, "accuracy", arm=arm, kind="difference", **at)
        assert gap == pytest.approx(difference)
    assert cell(table, "accuracy", arm="sft", kind="level", **at) == pytest.approx(0.3)
    assert set(table.loc[table["kind"] == "difference", "arm"]) == {"diverse", "solutions"}
    one = arms.arms(files[:4], SETTINGS)  # a study that asks for one control
    assert set(one["arm"]) == {"sft", "diverse"}
    check(table, SCHEMAS["arms"])


def test_a_point_is_a_landmark_or_a_checkpoint(tmp_path):
    file = tmp_path / "seed-0.json"
    provenance.write_json(file, {"landmarks": {"maxood": {"checkpoint": "sft-21"}}})
    found = {p: landmarks.manifest(file, "tiny", 0, p) for p in ("maxood", "sft-9", "ppo-from-9")}
    folders = {point: Path(manifest).parent.name for point, manifest in found.items()}
    assert folders == {"maxood": "sft-21", "sft-9": "sft-9", "ppo-from-9": "ppo-from-9"}


def test_comparisons_become_tables_of_values_angles_and_updates(tmp_path):
    place = {"pair": "base--end", "layer": 0, "role": "q", "index": 0, "track": "tiny", "seed": 0}
    rows = [
        {**place, "control": control, "quantity": quantity, "part": part, "fraction": fraction,
         "a": a, "b": b}
        for control in ("", "noise")
        for quantity, part, fraction, a, b in (
            ("sigma", "", None, 2.0, 2.5),
            ("angle", "left", 0.5, None, 30.0),
            ("chordal", "left", 0.5, 0.7, 0.5),
            ("energy", "head-tail", None, 0.1, 0.3),
            ("effective_rank", "", None, 128.0, 60.0),
            ("drift", "", None, None, 0.05),
        )
    ]  # fmt: skip
    file = str(tmp_path / "seed-0.parquet")
    provenance.write_table(file, pd.DataFrame(rows), {}, SCHEMAS["comparison"])
    for name, make in (
        ("singular-values", weights.singular_values),
        ("principal-angles", weights.principal_angles),
        ("weight-updates", weights.updates),
    ):
        table = make([file])
        check(table, SCHEMAS[name])
        assert set(table["control"]) == {"", "noise"}
    updates = weights.updates([file]).query("control == ''").set_index("quantity")
    assert updates["value"].to_dict() == {
        "chordal": 0.5, "energy": 0.3, "effective_rank": 60.0, "drift": 0.05
    }  # fmt: skip
    assert updates["chance"].dropna().to_dict() == {"chordal": 0.7, "energy": 0.1}
