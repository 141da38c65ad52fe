"""Early experience: what its arms of SFT read; planted effects on whole walks, and nulls."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from sft_runs import run

from healscope.config import SFT, Architecture, Statistics
from healscope.config.training import METHODS, Early
from healscope.errors import HealscopeError
from healscope.findings import experience
from healscope.models import checkpoints, tokens
from healscope.schema import check
from healscope.tasks.navigation import own
from healscope.tasks.navigation.navigation import Navigation
from healscope.tasks.tables import sft_examples
from healscope.training import early, sft
from healscope.training.base import scratch_model

SETTINGS = Statistics(resamples=500)
N = 120


@pytest.fixture(scope="module")
def task():
    return Navigation(
        name="nav", rendering="compact", generated=60, legs=(2, 4), straight_line_length=1,
        drop_rate=0.0, moved_by="own",
    )  # fmt: skip


@pytest.fixture(scope="module")
def read(task):
    """What each arm reads, with its settings; and what plain SFT reads."""
    pool, settings = task.sft_table(), SFT(steps=60, checkpoints=[0, 60], batch_size=16)
    examples = sft_examples(pool, 15, 40, 0)
    tokenizer = tokens.word_tokenizer(list(task.words()))
    arms = {
        arm: early.steps(Early(**METHODS[arm]), settings, examples, pool, tokenizer, task, seed=0)
        for arm in Early.labels
    }
    return arms, examples, settings, tokenizer, pool


def rows_of(read, arm):
    """The rows that an arm reads before those of the expert, and those after."""
    tables, n = read[0][arm][0], len(read[1])
    rows = pd.concat(tables)
    return rows.iloc[: 3 * n], rows.iloc[3 * n :]


def test_arms_train_on_as_many_tokens_in_as_many_steps(read, task):
    arms, examples, settings, tokenizer, _ = read

    def of(table):
        return sum(len(tokens.response_ids(tokenizer, text)) for text in table["response"])

    n, steps_an_epoch = len(examples), 3  # of 16, 16 and 8 rows
    assert -(-n // settings.batch_size) == steps_an_epoch
    plain = of(examples) * settings.steps / steps_an_epoch
    for arm, (tables, own_settings) in arms.items():
        assert len(tables) == own_settings.steps == settings.steps
        assert {len(table) for table in tables} == {own_settings.batch_size}
        assert sum(map(of, tables)) == pytest.approx(plain, rel=0.04), arm
    given = read[1], read[4], tokenizer, task, 0
    fours = early.steps(Early(method="world_model"), settings, *given, micro=4)[1].batch_size
    assert fours % 4 == 0
    assert abs(fours - arms["world_model"][1].batch_size) <= 2
    sizes = {arm: own_settings.batch_size for arm, (_, own_settings) in arms.items()}
    assert sizes["reflection"] < sizes["more_expert"] < sizes["world_model"]
    assert sizes["world_model"] == sizes["shuffled_world"]


def test_a_world_model_reads_other_actions_first_and_then_all_of_the_expert(read):
    early_rows, later = rows_of(read, "world_model")
    assert early_rows["prompt"].str.endswith(f" {own.NEXT}").all()
    assert len(set(early_rows["prompt"])) > 2 * len(read[1])
    expert = sorted(read[1]["prompt"])
    for first in range(0, len(later) - len(expert) + 1, len(expert)):
        assert sorted(later["prompt"].iloc[first : first + len(expert)]) == expert
    errors = early_rows["response"].isin([own.WALL, own.ASTRAY])
    assert errors.mean() == pytest.approx(0.5, abs=0.1)


def test_shuffled_answers_are_the_same_ones_to_other_questions(read):
    (model, after), (shuffled, also) = (rows_of(read, a) for a in ("world_model", "shuffled_world"))
    assert Counter(model["prompt"]) == Counter(shuffled["prompt"])
    assert Counter(model["response"]) == Counter(shuffled["response"])
    true = set(zip(model["prompt"], model["response"], strict=True))
    kept = [pair in true for pair in zip(shuffled["prompt"], shuffled["response"], strict=True)]
    assert np.mean(kept) < 0.6
    assert after["prompt"].str.endswith(" fD").all()
    assert Counter(after["response"]).keys() == Counter(also["response"]).keys()


def test_more_of_the_expert_is_what_plain_sft_does_not_read(read):
    (rows, later), examples, pool = rows_of(read, "more_expert"), read[1], read[4]
    known = pool.set_index("prompt")["response"]
    assert list(rows["response"]) == [known[prompt] for prompt in rows["prompt"]]
    assert not set(rows["prompt"]) & set(examples["prompt"])
    assert set(later["prompt"]) == set(examples["prompt"])


def test_half_of_the_answers_have_reflections(read, task):
    rows, examples = pd.concat(read[0]["reflection"][0]), read[1]
    told = rows["response"].str.contains(f" {own.NOT} ")
    assert told.mean() == pytest.approx(0.5, abs=0.1)
    known = {row["prompt"]: row for row in examples.to_dict("records")}
    assert set(rows["prompt"]) == set(known)
    for row, reflects in zip(rows.to_dict("records"), told, strict=True):
        example = known[row["prompt"]]
        assert task.verify(task.read(example), row["response"]).outcome == "correct"
        assert reflects or row["response"] == example["response"]
    assert rows.loc[told, "response"].nunique() > 2 * len(examples)


@pytest.fixture(scope="module")
def base(task, tmp_path_factory):
    """Manifest of an untrained model that knows the words."""
    folder = tmp_path_factory.mktemp("base")
    sizes = {"hidden_size": 16, "layers": 1, "heads": 2, "ffn_size": 16}
    tokenizer = tokens.word_tokenizer(list(task.words()))
    model = scratch_model(Architecture(**sizes), tokenizer, seed=0)
    checkpoints.save_weights(folder / "staged", model, tokenizer)
    checkpoints.publish(folder / "staged", folder / "base/checkpoint.json", {})
    return str(folder / "base/checkpoint.json")


def test_an_arm_trains_and_resumes_exactly(task, base, tmp_path, monkeypatch):
    settings = SFT(
        steps=6, checkpoints=[0, 6], batch_size=8, deals=10, examples=12, log_every=2,
        log_problems=4, state_every=2,
    )  # fmt: skip
    tables = task.problem_table(), task.sft_table()
    read = []

    class StopError(Exception):
        pass

    real = sft.SFTTrainer.training_step

    def stopping(self, model, inputs, *rest):
        read.append(inputs["input_ids"].shape[0])
        if len(read) == 4:
            raise StopError
        return real(self, model, inputs, *rest)

    whole = run(settings, base, tables, task, tmp_path / "whole", "world_model")[1][6]
    monkeypatch.setattr(sft.SFTTrainer, "training_step", stopping)
    with pytest.raises(StopError):
        run(settings, base, tables, task, tmp_path / "stopped", "world_model")
    again = run(settings, base, tables, task, tmp_path / "stopped", "world_model")[1][6]
    assert len(set(read)) == 1  # all steps have as many rows
    assert all(torch.equal(again[name], whole[name]) for name in again)


def test_what_cannot_be_tried_is_said():
    plain = Navigation(name="plain", rendering="compact", generated=30, legs=(2, 4))
    pool = plain.sft_table()
    arguments = SFT(), pool, pool, None, plain, 0
    with pytest.raises(HealscopeError, match="could be tried, .*; take navigation"):
        early.steps(Early(method="world_model"), *arguments)


def test_alternatives_keep_their_share_of_errors():
    rng = np.random.default_rng(0)
    found = [own.Outcome(f"a{i}", "wall", i < 4) for i in range(8)]
    for share in (0.0, 0.5, 1.0):
        picked = [o for _ in range(300) for o in early.chosen(found, 3, share, rng)]
        assert np.mean([o.error for o in picked]) == pytest.approx(share, abs=0.05)
    once = early.chosen(found, 3, 0.5, rng)
    assert len(set(once)) == 3
    assert len(early.chosen(found[:2], 3, 0.0, rng)) == 3


# The finding.


def walks(arm, right, rng, begun, seeds=3):
    """Walks of one arm as `read` returns them, each right with a chance `right`."""
    seed, walk = (a.ravel() for a in np.indices((seeds, N)))
    return pd.DataFrame(
        {
            "track": "t", "seed": seed, "arm": arm, "step": 400, "rule": "id", "begun": begun,
            "problem_id": [f"r{w}/{begun}" for w in walk], "draw": walk, "sample": 0,
            "instance_id": [f"r{w}" for w in walk], "half": np.array(["a", "b"])[walk % 2],
            "retried": False, "correct": rng.random(seeds * N) < right,
        }
    )  # fmt: skip


def rows(draw=0, **right):
    """Walks of all arms; `right` gives chances on and off the route, where not .5."""
    rng = np.random.default_rng(draw)
    chances = {**dict.fromkeys(experience.ARMS, (0.5, 0.5)), **right}
    return pd.concat(
        [
            walks(arm, chance, rng, begun)
            for arm, both in chances.items()
            for chance, begun in zip(both, (own.ON, own.OFF), strict=True)
        ],
        ignore_index=True,
    )


def verdicts(found):
    return {c["claim"]: str(c["verdict"]) for c in experience.claims_of(found, SETTINGS)}


def test_planted_learning_is_found_where_it_is():
    said = verdicts(rows(world_model=(0.8, 0.5), more_expert=(0.6, 0.5)))
    assert said["early-experience-teaches"] == "held"
    assert said["early-experience-teaches-recovery"] != "held"
    assert said["more-of-the-expert-does-no-more"] == "held"
    said = verdicts(rows(world_model=(0.5, 0.9), more_expert=(0.8, 0.5), reflection=(0.8, 0.5)))
    assert said["early-experience-teaches"] != "held"
    assert said["early-experience-teaches-recovery"] == "held"
    assert said["more-of-the-expert-does-no-more"] == "did not hold"
    assert said["reflections-teach"] == "held"


def test_what_a_shuffled_world_teaches_too_is_no_model_of_it():
    said = verdicts(rows(world_model=(0.8, 0.8), shuffled_world=(0.8, 0.8)))
    assert said["early-experience-teaches"] != "held"
    assert said["early-experience-teaches-recovery"] != "held"


def test_arms_that_are_alike_are_seldom_told_apart():
    found = [experience.claims_of(rows(draw), SETTINGS) for draw in range(10)]
    for claim, covers in zip(found[0], zip(*found, strict=True), strict=True):
        if claim["claim"] != "more-of-the-expert-does-no-more":
            assert [str(c["verdict"]) for c in covers].count("held") <= 1, claim["claim"]
        assert sum(c["low"] <= 0 <= c["high"] for c in covers) >= 8, claim["claim"]


def test_where_no_walk_succeeds_nothing_is_decided():
    said = verdicts(rows(**dict.fromkeys(experience.ARMS, (0.02, 0.02))))
    assert set(said.values()) == {"undecided"}


def test_the_table_has_levels_and_differences(monkeypatch):
    monkeypatch.setattr(experience, "read", lambda _: rows(world_model=(0.8, 0.5)))
    table = experience.measure([], SETTINGS)
    check(table, experience.SCHEMA)
    whole = table[table["seed"] == "all"].set_index(["arm", "kind", "begun"])["success"]
    assert whole["world_model", "level", own.ON] == pytest.approx(0.8, abs=0.06)
    assert whole["world_model", "difference", own.ON] == pytest.approx(0.3, abs=0.09)
    assert "sft" not in set(table.loc[table["kind"] == "difference", "arm"])
    assert "world_model" in experience.section(table)
