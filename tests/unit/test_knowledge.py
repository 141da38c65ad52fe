"""Ways of teaching a rule by a text: planted differences, their null, and where nothing is read."""

import numpy as np
import pandas as pd
import pytest

from healscope.config import Statistics
from healscope.findings import knowledge
from healscope.findings.knowledge import (
    DPO,
    FALSE_RLAG,
    RELEASED,
    RLAG,
    SFT,
    SFT_IN_STEPS,
    START_ARM,
    TEXT,
    TOLD_ARM,
    WAYS,
)  # fmt: skip
from healscope.schema import check

SETTINGS = Statistics(resamples=200)
N = 400  # 200 instances: fewer cannot show that nothing changes


def answers(way, right, rng, rule="ood", coherent=1.0):
    """Greedy answers as `read` returns them, of three seeds, each right with a chance `right`."""
    seed, problem = (a.ravel() for a in np.indices((3, N)))
    correct = rng.random(3 * N) < right
    return pd.DataFrame(
        {
            "track": "reader", "seed": seed, "problem_id": [f"{rule}{p}" for p in problem],
            "instance_id": [f"i{p // 2}" for p in problem], "draw": problem, "sample": 0,
            "half": np.array(["a", "b"])[problem % 2], "retried": True, "rule": rule,
            "checkpoint": "sft-0" if way == START_ARM else "x-from-0", "way": way,
            "correct": correct, "right": 1.0 * correct, "tokens": 1000,
            "coherent": 1.0 * (rng.random(3 * N) < coherent),
        }
    )  # fmt: skip


PLANTED = {
    TOLD_ARM: 0.5, START_ARM: 0.0, RLAG: 0.45, RELEASED: 0.0, SFT: 0.25, SFT_IN_STEPS: 0.1,
    DPO: 0.45, TEXT: 0.0, FALSE_RLAG: 0.0,
}  # fmt: skip


def rows(draw=0, other=0.6, coherent=None, **rights):
    rng = np.random.default_rng(draw)
    rights = PLANTED | rights
    parts = [answers(w, p, rng, coherent=(coherent or {}).get(w, 1.0)) for w, p in rights.items()]
    ones = answers(START_ARM, 0.6, rng, "id")
    parts.append(ones)
    for way in (RLAG, SFT):  # of the same problems: what is right stays, but for a share
        stays = rng.random(3 * N) < other / 0.6
        right = ones["correct"] & stays
        parts.append(ones.assign(way=way, correct=right, right=1.0 * right, checkpoint="x-from-0"))
    return pd.concat(parts, ignore_index=True)


def verdicts(found):
    return {c["claim"]: c["verdict"] for c in knowledge.claims_of(found, SETTINGS)}


def test_planted_differences_are_found():
    said = verdicts(rows(coherent={SFT: 0.6}))
    assert said["rlag-teaches-more-than-sft"] == "held"
    assert said["rlag-teaches-more-than-sft-in-its-steps"] == "held"
    assert said["rlag-teaches-more-than-its-text"] == "held"
    assert said["rlag-teaches-more-than-dpo"] != "held"
    assert said["released-rlag-teaches-more-than-sft"] == "did not hold"
    assert said["rlag-is-more-coherent-than-sft"] == "held"
    assert said["rlag-forgets-no-other-rule"] == "held"
    assert said["rlag-learns-what-it-is-told"] == "held"


def test_what_differs_the_other_way_did_not_hold():
    said = verdicts(rows(other=0.2, coherent={RLAG: 0.6}, **{RLAG: 0.2, SFT: 0.5, FALSE_RLAG: 0.5}))
    for claim in (
        "rlag-teaches-more-than-sft", "rlag-is-more-coherent-than-sft",
        "rlag-forgets-no-other-rule", "rlag-learns-what-it-is-told",
    ):  # fmt: skip
        assert said[claim] == "did not hold", claim


def test_more_tokens_and_more_steps_are_told_apart():
    """SFT may teach more only because it takes more steps for its tokens."""
    said = verdicts(rows(**{RLAG: 0.25, SFT: 0.45, SFT_IN_STEPS: 0.1}))
    assert said["rlag-teaches-more-than-sft"] == "did not hold"
    assert said["rlag-teaches-more-than-sft-in-its-steps"] == "held"


def test_a_false_text_that_teaches_the_true_rule_is_not_what_was_told():
    found = verdicts(rows(**{RLAG: 0.45, FALSE_RLAG: 0.25}))
    assert found["rlag-learns-what-it-is-told"] != "held"


def test_coherence_counts_hands_that_both_have_right():
    """Luck that is right with a wrong line weighs more where less was learned."""
    found = rows()
    lucky = found["draw"] % 10 == 0  # the same hands, whose lines are wrong in both
    chosen = found["way"].isin([RLAG, SFT]) & lucky & (found["rule"] == "ood")
    found.loc[chosen, ["right", "coherent"]] = [1.0, 0.0]
    found = found[found["rule"] == "ood"]
    alone = found[found["right"] == 1].groupby("way")["coherent"].mean()
    assert alone[RLAG] - alone[SFT] > 0.08
    e = knowledge.coherence(found, RLAG, SFT, SETTINGS)
    assert e.low <= 0 <= e.high


def test_ways_that_are_alike_are_seldom_told_apart():
    alike = dict.fromkeys((RLAG, SFT, SFT_IN_STEPS, DPO, TEXT, FALSE_RLAG), 0.4)
    said = [verdicts(rows(draw, **alike)) for draw in range(6)]
    for claim in said[0]:
        if "forgets" not in claim:
            assert [v[claim] for v in said].count("held") <= 1, claim


@pytest.mark.parametrize("rights", [{TOLD_ARM: 0.05}, {RLAG: 0.04, SFT: 0.02}])
def test_a_text_that_is_not_read_or_not_learned_decides_nothing(rights):
    """Where the start does not read the text, chosen answers are as wrong as any."""
    assert verdicts(rows(**rights))["rlag-teaches-more-than-sft"] == "undecided"


def test_the_null_of_coherence_covers_nothing():
    """Both ways are as coherent, though one is right far more often."""
    inside = 0
    for draw in range(12):
        found = rows(draw, coherent={RLAG: 0.8, SFT: 0.8})
        e = knowledge.coherence(found[found["rule"] == "ood"], RLAG, SFT, SETTINGS)
        inside += e.low <= 0 <= e.high
    assert inside >= 10


def evaluation(folder, checkpoint, protocol, rule, right, kind=None):
    from healscope import artifacts, provenance
    from healscope.evaluation.schemas import EVALUATION

    n = len(right)
    frame = pd.DataFrame(
        {
            "problem_id": [f"{rule}{i}" for i in range(n)], "pair_id": [f"p{i}" for i in range(n)],
            "instance_id": [f"i{i}" for i in range(n)], "split": "held_out", "half": "a",
            "rule": rule, "n_faces": 1, "draw": range(n), "retried": False, "sample": 0,
            "attempt": 1, "feedback": "", "told_rule": False, "text": "x", "outcome": "correct",
            "reward": 0.0, "parsed": True, "follows_rule": True, "correct": right,
            "track": "reader", "seed": 0, "protocol": protocol, "checkpoint": checkpoint,
            "task": "named", "neighbour": kind,
        }
    )  # fmt: skip
    place = {"track": "reader", "seed": 0, "protocol": protocol, "checkpoint": checkpoint}
    file = folder / artifacts.path(artifacts.EVALUATION, **place, task="named")
    provenance.write_table(file, EVALUATION.complete(frame), {}, EVALUATION)
    return str(file)


def test_answers_are_read_by_the_way_that_taught_them(tmp_path, monkeypatch):
    from healscope import artifacts, provenance
    from healscope.training.schemas import RL_LOG

    monkeypatch.chdir(tmp_path)
    files = []
    for name in ("sft-0", "rlag_bare-from-0"):
        files.append(evaluation(tmp_path, name, "exhaustive", "ood", [True, False]))
    told = [evaluation(tmp_path, "sft-0", "told", "ood", [True, True], "knowledge")]
    log = pd.DataFrame({"iteration": [1, 2], "trained_tokens": [10, 20], "track": "reader",
                        "seed": 0, "run": "rlag_bare-from-0", "failure": ""})  # fmt: skip
    place = artifacts.path(artifacts.TRAINING, track="reader", seed=0, run="rlag_bare-from-0")
    provenance.write_table(place, RL_LOG.complete(log), {}, RL_LOG)
    taught = {"rlag_bare": ["rlag", "knowledge", "bare"]}
    found = knowledge.read(files, told, [place], taught)
    assert found.groupby("way")["right"].mean().to_dict() == {
        START_ARM: 0.5,
        RLAG: 0.5,
        TOLD_ARM: 1,
    }
    assert set(found.loc[found["way"] == RLAG, "tokens"]) == {30}
    assert set(found.loc[found["way"] != RLAG, "tokens"]) == {0}
    table = knowledge.measure(files, told, [place], taught, SETTINGS)
    check(table, knowledge.SCHEMA)
    assert list(dict.fromkeys(table["way"])) == [START_ARM, TOLD_ARM, RLAG]
    assert "taught by" in knowledge.section(table)


def test_every_way_has_one_name():
    assert len(set(WAYS.values())) == len(WAYS)
