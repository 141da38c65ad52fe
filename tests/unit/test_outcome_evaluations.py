"""`healscope compare` on the evaluations of a study."""

import pandas as pd
import pytest

from healscope import artifacts
from healscope.errors import HealscopeError
from healscope.outcomes import evaluations
from healscope.outcomes.comparing import compare
from healscope.outcomes.reading import STUDY, source


def row(problem: str, **given) -> dict:
    return {
        "problem_id": problem, "instance_id": problem.partition("/")[0], "split": "held_out",
        "half": "a", "rule": "id", "group": None, "n_faces": None, "draw": 0, "retried": False,
        "attempt": 1, "sample": 0, "text": "4", "parsed": True, "correct": True, "track": "mine",
        "seed": "0", "checkpoint": "sft-8",
    } | given  # fmt: skip


def passage(n: int) -> dict:
    """Return an answer of a text: measured, neither right nor wrong."""
    return row(f"passage-{n}", correct=False, logprob=-31.5, tokens=9)


def write(root, rows, task="gp", checkpoint="sft-8"):
    file = root / artifacts.path(
        artifacts.EVALUATION,
        protocol="exhaustive", track="mine", seed=0, checkpoint=checkpoint, task=task,
    )  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(file)
    return file


def test_first_answers_to_held_out_problems_count(tmp_path):
    rows = [
        row("1/a"),
        row("1/b", rule="ood", correct=False),
        row("2/b", rule="ood", correct=False, parsed=False, text="?"),
        row("1/a", attempt=2, correct=False),
        row("1/a", sample=1, correct=False),
        row("3/a", split="train"),
        row("4/a", n_faces=0),
    ]
    found = evaluations.read(write(tmp_path, rows))
    assert [(a.benchmark, a.item, a.instance, a.correct, a.unread) for a in found] == [
        ("id", "1/a", "1", 1.0, False),
        ("ood", "1/b", "1", 0.0, False),
        ("ood", "2/b", "2", 0.0, True),
    ]
    assert [a.question for a in found] == ["", "", ""]


def test_sets_and_keepers_have_their_own_names_and_questions(tmp_path):
    sets = [row("1/a", group="id/x"), row("1/b", rule="ood", group="german/x")]
    write(tmp_path, sets)
    folder = write(tmp_path, [row("f/1", group="id/capitals")], task="facts").parent
    file = tmp_path / artifacts.path(artifacts.PROBLEMS, task="facts")
    file.parent.mkdir(parents=True)
    posed = {"problem_id": "f/1", "episode_id": None, "prompt": "Capital?", "response": "Rome"}
    pd.DataFrame([posed]).astype({"episode_id": "str"}).to_parquet(file)  # as a study's tables
    found = source("sft-8", [folder], {})
    assert found.tool == STUDY
    assert {a.benchmark: a.question for a in found.answers} == {
        "facts": "Capital?", "id": "", "german": ""
    }  # fmt: skip


def test_an_episode_is_right_if_all_its_steps_are(tmp_path):
    steps = [
        row(f"{route}/{i}", instance_id=route, episode_id=f"{route}:id", text=f"{i}", correct=right)
        for route, verdicts in (("a", (True, False)), ("b", (True, True)))
        for i, right in enumerate(verdicts)
    ]
    file = write(tmp_path, steps, task="nav")
    problems = tmp_path / artifacts.path(artifacts.PROBLEMS, task="nav")
    problems.parent.mkdir(parents=True)
    asked = [{**{k: s[k] for k in ("problem_id", "episode_id")}, "response": "4"} for s in steps]
    pd.DataFrame([{**a, "prompt": a["problem_id"]} for a in asked]).to_parquet(problems)
    found = evaluations.read(file)
    assert [(a.item, a.correct, a.question, a.text) for a in found] == [
        ("a:id", 0.0, "a/0", "0\n1"),
        ("b:id", 1.0, "b/0", "0\n1"),
    ]


def test_a_text_has_no_right_answers_to_compare(tmp_path):
    given = []
    for name in ("base", "sft-8"):
        folder = write(tmp_path, [row("1/a"), row("2/a")], checkpoint=name).parent
        write(tmp_path, [passage(1), passage(2)], task="manual", checkpoint=name)
        given.append((name, [folder]))
    report = compare(given)
    assert [b["name"] for b in report["benchmarks"]] == ["gp"]
    assert report["benchmarks"][0]["accuracy"] == {"base": 1.0, "sft-8": 1.0}
    assert [note for note in report["notes"] if "manual" in note and "left out" in note]


def test_nothing_but_a_text_is_refused(tmp_path):
    file = write(tmp_path, [passage(1), passage(2)], task="manual")
    with pytest.raises(HealscopeError, match=r"sft-8: .*manual\.parquet is right or wrong"):
        source("sft-8", [file], {})


@pytest.mark.parametrize("broken", [b"no parquet", None])
def test_what_is_no_evaluation_is_refused_in_a_sentence(tmp_path, broken):
    file = write(tmp_path, [{"problem_id": "1"}])
    if broken:
        file.write_bytes(broken)
    with pytest.raises(HealscopeError, match=r"sft-8/gp\.parquet is not a readable"):
        evaluations.read(file)
