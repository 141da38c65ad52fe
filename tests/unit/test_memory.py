"""Memory before a problem: planted gains and asymmetry, their nulls, and what is never read."""

import numpy as np
import pandas as pd
import pytest

from healscope import provenance
from healscope.config import Statistics
from healscope.findings import memory
from healscope.findings.memory import MIXED
from healscope.schema import check
from healscope.tasks.cards.contexts import CELLS, KINDS, OTHER, SHUFFLED, cell
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.posing import Protocol
from healscope.tasks.schemas import POSED

SETTINGS = Statistics(resamples=200)
N = 200
LOW = {"none": 0.02, OTHER: 0.02, SHUFFLED: 0.05, "false knowledge": 0.02, "knowledge": 0.5}


def rows(draw=0, start=0.2, **rights):
    """Answers as `read` returns them, right after each kind of text with a chance of its own."""
    rng, parts = np.random.default_rng(draw), []
    rights = LOW | {cell(*kept): start for kept in CELLS} | rights
    for kind in KINDS:
        seed, hand = (a.ravel() for a in np.indices((3, N)))
        parts.append(
            pd.DataFrame(
                {
                    "track": "reader", "checkpoint": "sft-0", "seed": seed, "draw": 0, "sample": 0,
                    "problem_id": [f"p{i}" for i in hand], "kind": kind, "retried": False,
                    "instance_id": [f"i{i // 2}" for i in hand], "leaks": 1.0 * (hand % 3 > 0),
                    "half": np.array(["a", "b"])[hand // 2 % 2], "tokens": 48,
                    "correct": rng.random(3 * N) < rights[kind],
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def verdicts(found):
    return {c["claim"]: c["verdict"] for c in memory.claims_of(found, SETTINGS)}


def test_planted_gains_are_found():
    lessons = {MIXED: 0.45, cell("lesson", "lesson"): 0.3}
    said = verdicts(rows(start=0.1, **lessons))
    assert set(said.values()) == {"held"}


@pytest.mark.parametrize("kind", ["none", OTHER])
def test_memory_helps_only_above_none_and_above_that_of_another_rule(kind):
    """Where a memory of another rule gains as much, it is not what the memory says."""
    assert verdicts(rows(**{MIXED: 0.4, kind: 0.4}))["memory-helps"] != "held"


def test_a_symmetric_memory_that_is_as_good_is_not_beaten():
    said = verdicts(rows(**{MIXED: 0.3, cell("lesson", "lesson"): 0.45}))
    assert said["asymmetric-memory-beats-symmetric"] == "did not hold"


def test_kinds_that_are_alike_are_seldom_told_apart():
    """The better of two alike would look better, were it picked on the hands that judge it."""
    alike = dict.fromkeys(("none", OTHER, SHUFFLED), 0.3)
    said = [verdicts(rows(draw, start=0.3, **alike)) for draw in range(6)]
    for claim in said[0]:
        assert [v[claim] for v in said].count("held") <= 1, claim


def test_a_memory_that_is_not_read_decides_nothing():
    said = verdicts(rows(start=0.04))
    assert set(said.values()) == {"undecided"}


def test_what_is_picked_is_picked_by_others():
    found = rows(start=0.1)
    best = (found["half"] == "a") == (found["kind"] == cell("lesson", "lesson"))
    symmetric = found["kind"].isin(memory.SYMMETRIC)
    found.loc[symmetric, "correct"] = best[symmetric]
    for halves in memory.better(found).values():  # lessons are better on half a alone
        assert halves == {"a": cell("verbatim", "verbatim"), "b": cell("lesson", "lesson")}


def test_answers_are_read_with_tokens_and_leaks_of_their_texts(tmp_path, monkeypatch):
    from healscope import artifacts
    from healscope.evaluation.schemas import EVALUATION

    monkeypatch.chdir(tmp_path)
    game = GeneralPoints(
        name="named", cards=3, targets=(6, 10), rendering="compact", rule_shown="name"
    )
    table = game.posed(None, Protocol(problems="contexts", per_kind=6))
    posed = artifacts.path(artifacts.POSED, protocol="told", task="named")
    provenance.write_table(posed, table, {}, POSED)
    kept = ["problem_id", "pair_id", "instance_id", "split", "half", "rule", "n_faces",
            "neighbour", "distance", "draw", "retried"]  # fmt: skip
    answered = table[kept].assign(
        sample=0, attempt=1, feedback="", told_rule=False, text="x", outcome="correct", reward=1.0,
        parsed=True, follows_rule=True, correct=table["neighbour"] == "knowledge", track="reader",
        seed=0, protocol="told", checkpoint="sft-0", task="named",
    )  # fmt: skip
    place = {"track": "reader", "seed": 0, "protocol": "told", "checkpoint": "sft-0"}
    file = artifacts.path(artifacts.EVALUATION, **place, task="named")
    provenance.write_table(file, EVALUATION.complete(answered), {}, EVALUATION)
    found = memory.measure([file], [posed], SETTINGS)
    check(found, memory.SCHEMA)
    whole = found[found["seed"] == "all"].set_index("kind")
    assert list(whole.index) == list(KINDS)
    assert whole["accuracy"].to_dict() == {kind: float(kind == "knowledge") for kind in KINDS}
    assert whole.loc["none", ["tokens", "leaks"]].tolist() == [0, 0]
    assert whole.loc["knowledge", ["tokens", "leaks"]].tolist() == [7, 1]
    assert set(whole.loc[[cell(*k) for k in CELLS], "tokens"]) == {48}
    assert whole.loc[cell("lesson", "verbatim"), "leaks"] < 1  # it says what is wrong, not right
    assert "knowledge" in memory.section(found)
