"""Keepers: which tasks they become, what is refused, and what is said where the truth is known."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_claims import SEEDS, attempts, files_of, verdict_of, world

from healscope import config, diagnose, files, findings, values
from healscope.config import Statistics
from healscope.errors import HealscopeError
from healscope.findings import keepers, repair
from healscope.schema import check
from healscope.schemas import SCHEMAS
from healscope.tasks import build
from healscope.tasks.data import instructions
from healscope.verdicts import HELD, OPEN, YES

SETTINGS = Statistics(resamples=60)
UNKNOWN = {"unknown": (0.0,) * 3}
UNTOLD = ("I'd rather not, ...", "On The Whole, e-a-o-t-s! " * 20)
"""Answers that follow no instruction, short and long."""


@pytest.fixture
def data(study):
    """The micro study with a pretrained model."""
    found = copy.deepcopy(study.model_dump(mode="json"))
    return {**found, "models": {"mine": {"source": "org/name"}}}


@pytest.fixture
def own_file(tmp_path):
    file = tmp_path / "my set.jsonl"
    rows = [{"prompt": f"What is {n}?", "answer": f"a{n}"} for n in range(6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def asking(data, *keepers, **models):
    data = copy.deepcopy(data)
    data["evaluation"]["keepers"] = list(keepers)
    return config.load(data | ({"models": models} if models else {}))


def test_every_way_to_name_a_keeper_makes_a_task(data, own_file):
    data["tasks"]["twelve"] = {**data["tasks"]["gp3"], "targets": [12]}
    notes = Path(own_file).with_name("notes.txt")
    notes.write_text("word " * 500)
    study = asking(data, "facts", "ifeval_like", own_file, "twelve", f"text:{notes}")
    assert study.evaluation.keepers == ["facts", "ifeval_like", "my-set", "twelve", "notes"]
    assert {study.tasks[name].one_sided for name in ("facts", "my-set", "notes")} == {True}
    assert study.tasks["facts"].id.file == "healscope:facts"  # no path of this machine
    assert list(study.tracks) == ["mine"]  # also a keeper that could be trained on is not
    assert study.evaluated("mine") == ["gp3"]
    assert config.load(study.model_dump(mode="json")) == study
    for name in ("my-set", "notes"):
        table = build(name, study.tasks[name]).problem_table()
        assert set(table["rule"]) == {"id"}
        assert set(table["split"]) == {"held_out"}


def test_conditions_are_on_keepers_whose_answers_are_right_or_wrong(data, tmp_path):
    (notes := tmp_path / "notes.txt").write_text("word " * 500)
    of_checkpoints = {key: data[key] for key in ("study", "tasks", "train_on", "evaluation")}
    given = {"source": "org/name", "sft": {4: "org/sft"}}
    study = asking(of_checkpoints, "facts", f"text:{notes}", mine=given)
    diagnose.check_conditions(study, ["facts < -2"])
    with pytest.raises(HealscopeError, match="notes"):
        diagnose.check_conditions(study, ["notes < -2"])


def test_a_keeper_changes_no_value_of_any_other_job(data):
    without, with_one = config.load(data), asking(data, "facts")
    for ask in (
        lambda study: values.evaluation(study, "exhaustive", ["gp3"]),
        lambda study: values.sft(study, "sft"),
        lambda study: values.recipe(study, study.branches[0]),
    ):
        assert ask(without) == ask(with_one)
    own = values.keepers(with_one)
    assert own["evaluation"]["max_new_tokens"] == 64
    assert own["protocols"]["exhaustive"]["samples"] == 0
    assert own["rules"] == ["id"]


@pytest.mark.parametrize(
    ("keeper", "said"),
    [
        ("fact", "'fact' is no task of `tasks`, none of facts, ifeval_like, and no file"),
        ("gp3", "'gp3' is in train_on, and a keeper is never trained on"),
        ("text:notes.txt", "text:notes.txt: notes.txt is not there, seen from"),
        ("lm_eval:arc_easy", "lm_eval:arc_easy: .*run `make lm-eval`"),
    ],
)
def test_what_is_no_keeper_is_refused_in_a_sentence(data, keeper, said, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HealscopeError, match=said):
        asking(data, keeper)


def test_a_broken_line_of_a_keeper_is_named(data, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "c"}\n')
    with pytest.raises(HealscopeError, match=r"keepers: .*mine.jsonl, line 2: field 'answer'"):
        asking(data, str(file))
    file.write_text('{"prompt": "a", "answer": "b"}\n')
    with pytest.raises(HealscopeError, match="holds the same value twice"):
        asking(data, "facts", "facts")
    data["tasks"]["mine"] = data["tasks"]["gp3"]
    with pytest.raises(HealscopeError, match="would be task 'mine', which there is already"):
        asking(data, str(file))


def test_a_model_from_scratch_cannot_read_keepers(data, study):
    scratch = study.model_dump(mode="json")["models"]
    with pytest.raises(HealscopeError, match="model 'micro' is trained from scratch .* 'facts'"):
        asking(data, "facts", **scratch)
    data["tasks"]["twelve"] = {**data["tasks"]["gp3"], "targets": [12]}
    assert asking(data, "twelve", **scratch).evaluation.keepers == ["twelve"]  # its own words


def test_only_a_keeper_may_lack_ood_problems(data, own_file):
    data["tasks"]["mine"] = {"family": "data", "id": own_file}
    with pytest.raises(HealscopeError, match=r"tasks.mine: ood: Field required; only a keeper"):
        config.load(data)
    assert asking(data, "mine").evaluation.keepers == ["mine"]
    data["tasks"]["ood"] = data["tasks"].pop("mine")
    with pytest.raises(HealscopeError, match="'ood' is the name of a rule"):
        asking(data, "ood")
    del data["tasks"]["ood"]
    data["sft"]["checkpoints"] = [4, 8, 12]
    data["rl"]["branches"] = {"ppo": [8]}
    with pytest.raises(HealscopeError, match="put step 0 into sft.checkpoints"):
        asking(data, "facts")


def test_weights_are_kept_until_keepers_are_asked(data):
    data["checkpoints"] = {"keep": "landmarks"}
    made = files.Files(asking(data, "facts")).made_from("mine", "0", "sft-4")
    assert "results/evals/exhaustive/mine/seed-0/sft-12/facts.parquet" in made
    branch = next(b for b in asking(data).branches if b.startswith("grpo"))
    made = files.Files(asking(data, "facts")).made_from("mine", "0", branch)
    assert f"results/evals/exhaustive/mine/seed-0/{branch}/facts.parquet" in made


def answers(variant, share, seed, task, shift=0):
    """Answers of which `share` are right, the first ones; or from number `shift` on."""
    own = attempts(variant, "id", "held_out", share, seed)
    right = np.roll(own["correct"].to_numpy(), shift)
    return own.assign(task=task, correct=right, n_faces=None, group=None)


def passages(variant, nats, seed):
    """A text of 200 passages, to which a model gives so many nats a token on the whole."""
    own = answers(variant, 0.0, seed, "notes")
    tokens = np.where(own.index % 2, 30, 10)
    luck = np.where(own.index % 4 < 2, 0.1, -0.1)
    return own.assign(tokens=tokens, logprob=-(nats + luck) * tokens)


@pytest.fixture
def kept(tmp_path):
    """OOD falls and is healed. Of keepers "falls" falls to half and comes back after RL, "stays"
    stays, and of "moves" as many problems are right as before, but others. Of the text "notes" each
    token gets 1.5 nats less probable, and after RL 1 more."""
    d = world((0, 0.5, 0.3, 0.1), (0, 0.5, 0.45, 0.4))
    shown = d.rows["checkpoint"].isin(["sft-0", "sft-10", "sft-50", "ppo-from-50"])
    d = replace(d, rows=d.rows[shown])
    parts = []
    for seed in SEEDS:
        for i, step in enumerate((0, 10, 50)):
            for name, levels in {"falls": (0.8, 0.7, 0.4), "stays": (0.6,) * 3, **UNKNOWN}.items():
                parts.append(answers(f"sft-{step}", levels[i], seed, name))
            parts.append(answers(f"sft-{step}", 0.5, seed, "moves", 50 * i))
            parts.append(passages(f"sft-{step}", (2.0, 2.2, 3.5)[i], seed))
        parts.append(passages("ppo-from-50", 2.5, seed))
        for name, level in {"falls": 0.6, "stays": 0.6, "moves": 0.5, "unknown": 0.0}.items():
            parts.append(answers("ppo-from-50", level, seed, name))
    file = tmp_path / "keepers.parquet"
    pd.concat(parts).to_parquet(file)
    evaluations, marks = files_of(d, tmp_path)
    return d, evaluations, [str(file)], marks


def test_forgetting_of_abilities_stands_beside_that_of_the_rule(kept):
    _, evaluations, keeper_files, marks = kept
    table = keepers.keepers(evaluations, keeper_files, marks, SETTINGS)
    check(table, SCHEMAS["keepers"])
    whole = table[(table["seed"] == "all") & (table["at"] == "landmark")]
    at = whole.set_index(["keeper", "checkpoint"])
    assert {"id", "ood", "falls", "stays", "moves", "unknown", "notes"} == set(table["keeper"])
    assert set(table.loc[table["unit"] != "share", "keeper"]) == {"notes"}
    assert at.loc[("ood", "end"), "value"] == pytest.approx(0.3)
    end = at.loc[("falls", "end")]
    assert end["value"] == pytest.approx(0.4)
    assert end["change"] == pytest.approx(-0.4)
    assert end["change_high"] < -0.2
    assert (end["lost"], end["gained"]) == (80, 0)  # of 200; chance: 200 * 0.8 * 0.6 and …
    assert end["chance_lost"] == pytest.approx(96)
    assert end["chance_gained"] == pytest.approx(16)
    same = at.loc[("stays", "end")]
    assert (same["lost"], same["gained"], same["change"]) == (0, 0, 0)
    assert same["chance_lost"] == pytest.approx(200 * 0.6 * 0.4)
    moved = at.loc[("moves", "end")]  # nothing is lost on the whole, and everything is another
    assert moved["change"] == pytest.approx(0)
    assert (moved["lost"], moved["gained"]) == (100, 100)
    assert moved["chance_lost"] == moved["chance_gained"] == pytest.approx(50)
    end = at.loc[("notes", "end")]
    assert (end["value"], end["change"]) == (pytest.approx(-3.5), pytest.approx(-1.5))
    assert end["change_low"] == pytest.approx(-1.5)  # of every passage
    assert end[["lost", "gained", "chance_lost", "chance_gained"]].isna().all()
    assert at.loc[("notes", "rl"), "change"] == pytest.approx(-0.5)
    said = keepers.section(table)
    assert "| notes | End | perplexity 33.12 [" in said
    assert "| -1.500 [-1.500, -1.500] | – (–) | – (–) |" in said
    assert "| falls | End | 40.0 [" in said
    assert "| 80.0 (96.0) | 0.0 (16.0) |" in said


def test_claims_of_keepers_hold_where_they_are_true(kept):
    d, _, keeper_files, _ = kept
    assert keepers.falls_and_healing(d) == []
    found = keepers.falls_and_healing(replace(d, keepers=keepers.answers_to(keeper_files)))
    for claim in found:
        findings.check_primary([claim["claim"]])
    assert verdict_of(found, "keeper-falls-falls") == HELD
    assert verdict_of(found, "keeper-falls-healed-by-rl") == HELD
    assert verdict_of(found, "keeper-stays-falls") not in YES
    assert verdict_of(found, "keeper-stays-healed-by-rl") == OPEN
    assert verdict_of(found, "keeper-unknown-falls") == OPEN  # not: it does not fall
    about = next(r["detail"] for r in found if r["claim"] == "keeper-unknown-falls")
    assert about.endswith("so there is nothing to lose")
    about = next(r["detail"] for r in found if r["claim"] == "keeper-moves-falls")
    assert about.startswith("of its problems 100.0 are lost and 100.0 gained in a seed; chance")
    assert verdict_of(found, "keeper-notes-falls") == HELD
    assert verdict_of(found, "keeper-notes-healed-by-rl") == HELD
    row = next(r for r in found if r["claim"] == "keeper-notes-falls")
    assert (row["unit"], row["effect"]) == ("nats per token", pytest.approx(-1.5))
    assert row["detail"] == "its perplexity goes from 7.389 to 33.12"


def test_an_edit_keeps_or_harms_a_keeper(tmp_path):
    """One edit costs 20 points on the keeper, the other none; both give back OOD accuracy."""
    d = world((0, 0.5, 0.3, 0.1), (0, 0.5, 0.45, 0.4))
    healed = [attempts("ppo-from-50", "id", "held_out", 0.3, seed) for seed in SEEDS]
    d = replace(d, rows=pd.concat([d.rows, *healed]).assign(task="gp3"))
    rows = {"edits": [], "kept": [], "asked": []}
    far = {"from_target": 0.5, "from_parent": 0.5, "turned_degrees": 3.0}
    for seed in SEEDS:
        for name, costs in {"swap-rank-1": 0.0, "values-rank-1": 0.2}.items():
            for rule, share in (("id", 0.3), ("ood", 0.4)):
                own = attempts(name, rule, "held_out", share, seed)
                rows["edits"].append(own.assign(task="gp3", **far))
            own = answers(name, 0.6 - costs, seed, "facts")
            rows["kept"].append(own.assign(**far))
            rows["kept"].append(answers(name, 0.0, seed, "unknown").assign(**far))
            rows["kept"].append(passages(name, 2.0 + costs, seed).assign(**far))
        for name in ("sft-0", "sft-10", "sft-50", "ppo-from-50"):
            rows["asked"].append(answers(name, 0.6, seed, "facts"))
            rows["asked"].append(answers(name, 0.0, seed, "unknown"))
            rows["asked"].append(passages(name, 2.0, seed))
    named = {}
    for kind, parts in rows.items():
        named[kind] = [str(tmp_path / f"{kind}.parquet")]
        pd.concat(parts).to_parquet(named[kind][0])
    evaluations, marks = files_of(d, tmp_path)
    points = {"sft": {"target": "end", "parent": "maxood"}}
    made = repair.repair(
        named["edits"], evaluations, named["kept"], named["asked"], marks, points, SETTINGS
    )
    check(made, SCHEMAS["repair"])
    by_name = made.set_index("name")
    good, bad = by_name.loc["swap-rank-1"], by_name.loc["values-rank-1"]
    assert list(good["keepers"]) == ["facts", "unknown", "notes"]
    assert list(good["keepers_unit"]) == ["share", "share", "nats per token"]
    assert list(good["keepers_change"]) == [0, 0, 0]
    assert list(good["unharmed"]) == ["facts", "notes"]
    assert list(bad["keepers_change"]) == pytest.approx([-0.2, 0, -0.2])
    assert list(bad["unharmed"]) == []
    assert list(by_name.loc["rl", "unharmed"]) == ["facts", "notes"]
    picked = made[made["kind"] == "pick"]
    assert picked["unharmed"].map(list).eq([["facts", "notes"]] * len(picked)).all()
    said = repair.section(made)
    assert said.splitlines()[2].endswith("| facts | unknown | notes |")
    assert "-0.200 [-0.200, -0.200] |" in said
    assert "unharmed |" in said
    without = repair.repair(named["edits"], evaluations, [], [], marks, points, SETTINGS)
    check(without, SCHEMAS["repair"])
    assert not without["keepers"].map(len).any()
    pd.testing.assert_series_equal(without["ood_change"], made["ood_change"])


def test_shipped_sets_can_be_answered(data):
    study = asking(data, "facts", "ifeval_like")
    tasks = {name: build(name, study.tasks[name]) for name in study.evaluation.keepers}
    tables = {name: task.problem_table() for name, task in tasks.items()}
    assert len(tables["facts"]) >= 200
    assert len(tables["ifeval_like"]) >= 100
    for row in tables["facts"].to_dict("records"):
        problem = tasks["facts"].read(row)
        for answer in problem.data["answers"]:
            assert tasks["facts"].verify(problem, f"It is {answer}.").outcome == "correct"
        assert tasks["facts"].verify(problem, row["prompt"]).outcome == "wrong", row["prompt"]
    used = set()
    for row in tables["ifeval_like"].to_dict("records"):
        problem = tasks["ifeval_like"].read(row)
        used |= set(problem.data["answers"][0])
        said = {tasks["ifeval_like"].verify(problem, text).outcome for text in UNTOLD}
        assert "wrong" in said, row["prompt"]
    assert used == set(instructions.CONDITIONS)
