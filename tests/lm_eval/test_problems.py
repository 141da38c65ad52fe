"""What is asked and what counts as right is what the harness says."""

import functools
import random

import numpy as np
import pytest
from conftest import CAPITALS, SUMS, capitals, sums

from healscope.errors import HealscopeError
from healscope.tasks.benchmarks.lm_eval import NOT_CERTAIN


def asked_by_the_harness(benchmarks, name: str, fewshot: int | None = None, limit=None) -> list:
    """The arguments of the harness's own requests."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(benchmarks.tasks), include_defaults=False)
    task = manager.load([name])["tasks"][name]
    if fewshot is not None:
        task.set_config("num_fewshot", fewshot)
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=limit)
    return [request.args for request in task.instances]


@pytest.mark.parametrize("fewshot", [None, 0, 3])
def test_prompts_are_those_of_the_harness(benchmarks, fewshot):
    """With the same examples, drawn anew for each document."""
    task = benchmarks.task(["sums"], ["capitals"], fewshot=fewshot)
    found = [task.prompt(p) for p in task.problems("id")]
    assert found == [args[0] for args in asked_by_the_harness(benchmarks, "sums", fewshot)]
    assert found[1].count("\n\n") == (2 if fewshot is None else fewshot)
    assert [task.prompt(p) for p in task.problems("id")] == found  # the same each time
    other = benchmarks.task(["sums"], ["capitals"], fewshot=fewshot, seed=7)
    assert ([other.prompt(p) for p in other.problems("id")] == found) == (fewshot == 0)


def test_options_are_those_of_the_harness(benchmarks):
    task = benchmarks.task(["sums"], ["capitals"], limit=7)
    found = [
        (option.prompt, option.delimiter + option.text)
        for problem in task.problems("ood")
        for option in task.options(problem)
    ]
    assert found == asked_by_the_harness(benchmarks, "capitals", limit=7)
    assert len(found) == 21


def test_a_task_that_says_it_has_no_examples_is_given_none(empty):
    empty.add("bare", sums(5), sums(5, 9), num_fewshot=0, **SUMS)
    empty.add("capitals", capitals(5), **CAPITALS)
    task = empty.task(["bare"], ["capitals"], fewshot=4)
    assert {task.prompt(p).count("=") for p in task.problems("id")} == {1}


def test_no_random_numbers_of_others_are_drawn(benchmarks):
    random.seed(5)
    np.random.seed(5)
    list(benchmarks.task(["sums"], ["capitals"]).problems("id"))
    assert random.random() == random.Random(5).random()
    assert np.random.random() == np.random.RandomState(5).random()


def test_nothing_is_trained_and_everything_is_held_out(benchmarks):
    task = benchmarks.task(["sums"], ["capitals"])
    assert not task.trainable
    assert set(task.splits().values()) == {"held_out"}
    ids = [p.problem_id for rule in ("id", "ood") for p in task.problems(rule)]
    assert len(set(ids)) == 80


def verdicts(task, problem, *texts: str) -> list[str]:
    return [task.verify(problem, text).outcome for text in texts]


def test_an_answer_ends_at_the_first_string_that_ends_one(benchmarks):
    task = benchmarks.task(["sums"], ["capitals"])
    problem = list(task.problems("id"))[9]  # 1 + 2
    assert verdicts(task, problem, " 3", " 3.4", "x 3\n4", "3 4", "4\n3", "\n3", "three") == [
        "correct", "correct", "correct", "correct", "wrong", "no_answer", "no_answer",
    ]  # fmt: skip
    assert task.verify(problem, problem.answer).outcome == "correct"
    hostile = ["", "\0", "3" * 10**6, "{{a}}", "%s" * 9, "٣", "\ud800"]
    assert "correct" not in verdicts(task, problem, *hostile)


def test_another_filter_reads_another_answer(benchmarks):
    task = benchmarks.task(["sums"], ["capitals"], filter={"sums": "whole"})
    problem = list(task.problems("id"))[9]
    assert verdicts(task, problem, "3", " 3", "3.") == ["correct", "wrong", "correct"]


def test_what_is_thought_is_no_answer(benchmarks):
    """Also where a string that ends an answer stands in the reasoning."""
    task = benchmarks.task(["sums"], ["capitals"])
    problem = list(task.problems("id"))[9]  # 1 + 2
    right, wrong = "</think> 3", "</think> 4"
    assert verdicts(task, problem, f"<think>4\n5{right}", f"4\n{right}", f"<think>3{wrong}") == [
        "correct", "correct", "wrong",
    ]  # fmt: skip
    assert verdicts(task, problem, "<think> 3", "3 <think>") == ["no_answer", "no_answer"]
    whole = benchmarks.task(["sums"], ["capitals"], reasoning=())
    assert verdicts(whole, problem, "<think> 3", "3 <think>") == ["correct", "correct"]


@pytest.mark.parametrize("metric", ["acc", "acc_norm", "acc_bytes"])
def test_an_empty_choice_is_refused_when_problems_are_listed(empty, metric):
    empty.add("sums", sums(5), **SUMS)
    rows = [{"country": "x", "choices": c, "right": 0} for c in (["Rome", "Łódź"], ["Rome", ""])]
    empty.add("capitals", rows, **CAPITALS)
    task = empty.task(["sums"], ["capitals"], metric={"capitals": metric})
    with pytest.raises(HealscopeError, match="document 1 of capitals has an empty choice"):
        list(task.problems("ood"))
    limited = empty.task(["sums"], ["capitals"], metric={"capitals": metric}, limit=1)
    assert len(list(limited.problems("ood"))) == 1


@pytest.mark.parametrize("right", [0, 1, 2])
def test_a_choice_that_is_there_twice_is_right_if_one_of_them_is(empty, right):
    empty.add("sums", sums(5), **SUMS)
    rows = [{"country": "x", "choices": ["Rome", "Rome", "Łódź"], "right": right}]
    empty.add("capitals", rows, **CAPITALS)
    task = empty.task(["sums"], ["capitals"])
    (problem,) = task.problems("ood")
    assert task.chosen(problem, [(-1.0, True), (-1.0, True), (-4.0, False)]) == "Rome"
    said = ["correct", "wrong"] if right < 2 else ["wrong", "correct"]
    assert verdicts(task, problem, "Rome", "Łódź") == said
    assert problem.answer == rows[0]["choices"][right]


@pytest.mark.parametrize(
    ("metric", "best"), [("acc", "Rome"), ("acc_norm", "Washington"), ("acc_bytes", "Łódź")]
)
def test_what_is_compared_hangs_on_the_metric(empty, metric, best):
    """Sums of log-probabilities, or these by characters, or by bytes."""
    empty.add("sums", sums(5), **SUMS)
    choices = ["Rome", "Washington", "Łódź"]
    rows = [{"country": "x", "choices": choices, "right": choices.index(best)}]
    empty.add("capitals", rows, **CAPITALS)
    task = empty.task(["sums"], ["capitals"], metric={"capitals": metric})
    (problem,) = task.problems("ood")
    scores = [(-4.0, False), (-4.1, False), (-4.05, False)]
    if metric == "acc_bytes":
        scores = [(-4.0, False), (-9.8, False), (-6.4, False)]  # by characters Washington
    assert task.chosen(problem, scores) == best
    assert problem.answer == best
    assert verdicts(task, problem, best, choices[choices.index(best) - 1], "Roma") == [
        "correct", "wrong", "no_answer",
    ]  # fmt: skip


def test_probability_without_the_question_can_be_taken_off(empty):
    empty.add("sums", capitals(3), **CAPITALS)
    empty.add(
        "capitals", capitals(3), **{**CAPITALS, "metric_list": [{"metric": "acc_mutual_info"}]}
    )
    task = empty.task(["sums"], ["capitals"])
    problem = next(iter(task.problems("ood")))
    options = task.options(problem)
    assert [o.prompt for o in options] == ["Capital of land 0 of 0?"] * 3 + [""] * 3
    scores = [(-1.0, False), (-5.0, False), (-9.0, False), (-2.0, False), (-8.0, False), (-9, True)]
    assert task.chosen(problem, scores) == options[1].text
    assert verdicts(task, problem, *(o.text for o in options[:3])) == ["correct", "wrong", "wrong"]


def test_a_continuation_that_must_be_the_likeliest(empty):
    last = {
        "output_type": "loglikelihood",
        "doc_to_text": "{{text.rsplit(' ', 1)[0]}}",
        "doc_to_target": "{{' ' + text.rsplit(' ', 1)[1]}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    }
    empty.add("last", [{"text": "a long way home"}], **last)
    empty.add("sums", sums(3), **SUMS)
    task = empty.task(["last"], ["sums"])
    (problem,) = task.problems("id")
    assert task.options(problem) == [("a long way", "", " home")]
    assert task.chosen(problem, [(-9.0, True)]) == " home" == problem.answer
    assert task.chosen(problem, [(-0.1, False)]) == NOT_CERTAIN
    assert verdicts(task, problem, " home", NOT_CERTAIN) == ["correct", "wrong"]


def test_choices_may_stand_in_the_question(empty):
    """Of such a task the options differ in their prompts."""
    either = {
        "output_type": "multiple_choice",
        "doc_to_text": "right",
        "doc_to_choice": "{{[text.replace('_', a), text.replace('_', b)]}}",
        "doc_to_target": "{{rest}}",
        "metric_list": [{"metric": "acc"}],
    }
    row = {"text": "The cat saw the dog because the _", "a": "cat", "b": "dog", "rest": "was up",
           "right": 1}  # fmt: skip
    empty.add("either", [row], **either)
    empty.add("sums", sums(3), **SUMS)
    task = empty.task(["either"], ["sums"])
    (problem,) = task.problems("id")
    assert [o.prompt.rsplit(" ", 1)[1] for o in task.options(problem)] == ["cat", "dog"]
    assert {o.delimiter + o.text for o in task.options(problem)} == {" was up"}
    assert task.chosen(problem, [(-2.0, False), (-1.0, False)]) == problem.answer
    assert problem.answer.endswith("dog")


PYTHON = """
def right(doc, results):
    text = results[0]
    if "crash" in text:
        raise KeyError(text)
    return {"hit": text.strip() == str(doc["sum"]), "share": len(text) / 9}

def likeliest(doc, results):
    sums = [total for total, _ in results]
    return {"acc": float(sums.index(max(sums)) == doc["right"])}

def mass(doc, results):
    import math
    sums = [math.exp(total) for total, _ in results]
    return {"acc": sums[doc["right"]] / sum(sums)}

def confident(doc, results):
    return {"acc": float(results[doc["right"]][0] > -3)}

def needs(doc, results):
    import no_such_package
"""
MEAN = {"aggregation": "mean", "higher_is_better": True}


def test_a_tasks_own_python_judges(empty):
    """And the first metric of it that is 0 or 1 counts."""
    (empty.tasks / "own.py").write_text(PYTHON)
    metrics = [{"metric": "share", **MEAN}, {"metric": "hit", **MEAN}]
    empty.add("own", sums(9), **{**SUMS, "filter_list": None, "metric_list": metrics,
                                 "process_results": "python:right"})  # fmt: skip
    chosen = [{"metric": "acc", **MEAN}]
    empty.add("likeliest", capitals(9), **{**CAPITALS, "metric_list": chosen,
                                           "process_results": "python:likeliest"})  # fmt: skip
    task = empty.task(["own"], ["likeliest"])
    problem = list(task.problems("id"))[8]  # 1 + 1
    assert verdicts(task, problem, "2", "3", "crash") == ["correct", "wrong", "no_answer"]
    problem = next(iter(task.problems("ood")))
    assert verdicts(task, problem, *problem.data["choices"]) == ["correct", "wrong", "wrong"]


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({**SUMS, "unsafe_code": True}, "runs code that a model writes"),
        ({"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{a}}"},
         "perplexity, which is never right or wrong"),
        ({**SUMS, "doc_to_image": ["a"]}, "shows images"),
        ({**SUMS, "repeats": 5}, r"several answers to a question \(repeats\)"),
        ({**SUMS, "use_prompt": "promptsource:*"}, "promptsource"),
        ({"class": "python:Task"}, "a Python class, not a YAML file"),
        ({**SUMS, "dataset_path": "pandas"}, "pickles, which can run code"),
        ({**SUMS, "metric_list": [{"metric": "bleu"}]}, "bleu is no mean over answers"),
        ({**SUMS, "metric_list": [{"metric": "no_such_metric"}]}, "fetched from a hub"),
        ({**SUMS, "metric_list": [{"metric": "exact_match", "hf_evaluate": True}]},
         "exact_match is code that would be fetched from a hub"),
        ({**SUMS, "metric_list": [{"metric": "share", **MEAN}], "process_results": "python:right",
          "filter_list": None}, r"share gives [\d.]+, not 0 or 1"),
        ({**CAPITALS, "metric_list": [{"metric": "acc", **MEAN}], "doc_to_text": "{{a}}?",
          "doc_to_choice": ["x", "y"], "doc_to_target": "{{right}}", "process_results":
          "python:mass"}, "acc gives .*, not 0 or 1"),
        ({**CAPITALS, "metric_list": [{"metric": "acc", **MEAN}], "doc_to_text": "{{a}}?",
          "doc_to_choice": ["x", "y"], "doc_to_target": "{{right}}", "process_results":
          "python:confident"}, "hangs on the probabilities themselves"),
        ({**SUMS, "process_results": "python:needs", "metric_list": [{"metric": "hit", **MEAN}]},
         "fails on its first documents .*no_such_package"),
        ({**SUMS, "doc_to_text": "{{absent}}"}, "cannot be loaded .*absent"),
        ({**SUMS, "process_results": "python:no_such_function"}, "cannot be loaded .*no_such_func"),
    ],
    ids=["code", "perplexity", "images", "repeats", "promptsource", "class", "pickles", "bleu",
         "metric-of-a-hub", "hf-evaluate", "shares", "mass", "confident", "package", "column",
         "function"],
)  # fmt: skip
def test_what_cannot_be_a_task_is_refused_by_name(empty, section, reason):
    (empty.tasks / "own.py").write_text(PYTHON)
    rows = [{**row, "right": row["a"] % 2} for row in sums(9)]
    empty.add("wrong", rows, **section)
    empty.add("capitals", capitals(3), **CAPITALS)
    with pytest.raises(HealscopeError, match=rf"^task bench: '?wrong'? .*{reason}"):
        list(empty.task(["capitals"], ["wrong"]).problems("ood"))


def test_data_that_come_as_code_are_refused(empty):
    script = empty.data / "script"
    script.mkdir()
    (script / "script.py").write_text("raise SystemExit('this must not run')\n")
    empty.add("coded", sums(1), **{**SUMS, "dataset_path": str(script), "dataset_kwargs": {
        "trust_remote_code": True}})  # fmt: skip
    empty.add("capitals", capitals(3), **CAPITALS)
    with pytest.raises(
        HealscopeError, match="'coded' cannot be .* code of their own .* is not run"
    ):
        list(empty.task(["coded"], ["capitals"]).problems("id"))


@pytest.fixture
def local(monkeypatch):
    """Without the harness's own thousands of tasks, of which an index takes long."""
    from lm_eval import tasks

    here = functools.partial(tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(tasks, "TaskManager", here)


def test_the_harness_has_tasks_of_its_own(empty):
    """And refuses this one before any data are looked for."""
    empty.add("sums", sums(3), **SUMS)
    with pytest.raises(HealscopeError, match="'wikitext' cannot be a task here: .*perplexity"):
        list(empty.task(["sums"], ["wikitext"]).problems("ood"))


def test_names_that_are_not_there_are_said_with_those_near_them(benchmarks, local):
    with pytest.raises(HealscopeError, match=r"no task, group or tag 'sumz'; near it are .*sums"):
        list(benchmarks.task(["sumz"], ["capitals"]).problems("id"))
    with pytest.raises(HealscopeError, match="'sums' has no filter 'last' but number, whole"):
        list(benchmarks.task(["sums"], ["capitals"], filter="last").problems("id"))
    with pytest.raises(HealscopeError, match="'sums' .* has no metric acc .*, but exact_match"):
        list(benchmarks.task(["sums"], ["capitals"], metric="acc").problems("id"))
    with pytest.raises(
        HealscopeError, match="metric: 'sumz' is not one of the tasks sums, capitals"
    ):
        list(benchmarks.task(["sums"], ["capitals"], metric={"sumz": "acc"}).problems("id"))


def test_groups_and_tags_stand_for_their_tasks(empty):
    for name in ("one", "two", "three"):
        empty.add(name, sums(4), **SUMS, **({"tag": "few"} if name != "three" else {}))
    empty.add("capitals", capitals(3), **CAPITALS)
    empty.write("all.yaml", {"group": "all", "task": ["few", {"task": "three"}]})
    task = empty.task(["all"], ["capitals"])
    assert [p.instance_id for p in task.problems("id")] == [
        f"{name}:{i}" for name in ("one", "two", "three") for i in range(4)
    ]
    with pytest.raises(HealscopeError, match="'two' is named twice"):
        list(empty.task(["all"], ["two"]).problems("id"))
    empty.write("all.yaml", {"group": "all", "task": [{"task": "one", "num_fewshot": 3}]})
    with pytest.raises(HealscopeError, match=r"changes settings of its tasks \(num_fewshot\)"):
        list(empty.task(["all"], ["two"]).problems("id"))


def test_answers_are_not_judged_by_other_documents_than_were_asked(empty):
    empty.add("sums", sums(9), **SUMS)
    empty.add("capitals", capitals(3), **CAPITALS)
    problems = list(empty.task(["sums"], ["capitals"]).problems("id"))
    empty.add("sums", sums(5, 2), **SUMS)
    task = empty.task(["sums"], ["capitals"])
    for problem in (problems[1], problems[8]):
        with pytest.raises(HealscopeError, match="is not what it was .*Delete results/tasks/bench"):
            task.verify(problem, "3")
