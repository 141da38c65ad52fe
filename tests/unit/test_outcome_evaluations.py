"""`healscope compare` on the evaluations of a study."""

import pandas as pd
import pytest

from healscope import artifacts
from healscope.errors import HealscopeError
from healscope.outcomes import evaluations
from healscope.outcomes.reading import STUDY, source


def row(problem: str, **given) -> dict:
    return {
        "problem_id": problem, "instance_id": problem.partition("/")[0], "split": "held_out",
        "rule": "id", "group": None, "told_rule": False, "attempt": 1, "sample": 0,
        "text": "4", "outcome": "correct", "correct": True,
    } | given  # fmt: skip


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
        row("1/b", rule="ood", correct=False, outcome="wrong"),
        row("2/b", rule="ood", correct=False, outcome="no_answer", text="?"),
        row("1/a", attempt=2, correct=False),
        row("1/a", sample=1, correct=False),
        row("3/a", split="train"),
        row("1/b", rule="ood", told_rule=True),
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
    pd.DataFrame([{"problem_id": "f/1", "prompt": "Capital?", "response": "Rome"}]).to_parquet(file)
    found = source("sft-8", [folder], {})
    assert found.tool == STUDY
    assert {a.benchmark: a.question for a in found.answers} == {
        "facts": "Capital?", "id": "", "german": ""
    }  # fmt: skip


@pytest.mark.parametrize("broken", [b"no parquet", None])
def test_what_is_no_evaluation_is_refused_in_a_sentence(tmp_path, broken):
    file = write(tmp_path, [{"problem_id": "1"}])
    if broken:
        file.write_bytes(broken)
    with pytest.raises(HealscopeError, match="sft-8/gp.parquet is no evaluation of a study"):
        evaluations.read(file)
