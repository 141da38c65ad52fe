"""The tasks rank and determinant: what is posed, what is asked, and what counts as an answer."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import chisquare

from healscope.config import Pretraining
from healscope.errors import HealscopeError
from healscope.tasks import build, families, task_settings
from healscope.tasks.contract import hostile
from healscope.tasks.matrices.arithmetic import Size, determinant, rank
from healscope.tasks.matrices.determinant import Determinant
from healscope.tasks.matrices.matrix_task import read_integer
from healscope.tasks.matrices.rank import Rank
from healscope.tasks.problem import FORMATS, SIDES, Problem
from healscope.tasks.rewards import scorer
from healscope.tasks.section import section_of

ROOT = Path(__file__).parents[2]


def size(rows, columns, most):
    return Size(rows=rows, columns=columns, low=-most, high=most)


COMPACT = {
    "rank": Rank(
        name="rank",
        rendering="compact",
        id=size(2, 4, 1),
        ood=size(4, 2, 1),
        ranks=(1, 2),
        matrices=120,
        grade_work=True,
    ),
    "determinant": Determinant(
        name="det",
        rendering="compact",
        id=size(2, 2, 3),
        ood=size(3, 3, 1),
        symmetric=0.0,
        matrices=120,
        grade_work=True,
    ),
}
JSON = {"rank": Rank(name="rank", matrices=200), "determinant": Determinant(name="det")}
TASKS = {
    **{f"{k}-json": t for k, t in JSON.items()},
    **{f"{k}-words": t for k, t in COMPACT.items()},
}


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture(params=COMPACT)
def compact(request):
    return COMPACT[request.param]


@pytest.fixture(params=JSON)
def in_json(request):
    return JSON[request.param]


def every(task):
    return [p for rule in SIDES for p in task.problems(rule)]


# Problems.


def test_published_sizes_are_the_defaults():
    ranks, determinants = JSON["rank"], JSON["determinant"]
    assert (ranks.id, ranks.ood) == (size(4, 5, 4), size(5, 4, 5))
    assert (determinants.id, determinants.ood) == (size(2, 2, 4), size(3, 3, 5))
    for task in JSON.values():
        assert task.rendering == "json"
        assert (task.reward("correct"), task.reward("wrong_value")) == (5.0, -1.0)
        assert task.reward("no_answer") == -1.0
        built = build(task.name, {"family": type(task).__name__.lower()})
        same = {"rewards": task.rewards, "mixture": task.mixture, "matrices": task.matrices}
        assert replace(built, **same) == task
        assert all(built.reward(outcome) == task.reward(outcome) for outcome in task.outcomes)
        assert built.mixture == task.rule_kinds


def test_values_are_right_and_shapes_are_those_asked_for(task):
    exact = rank if isinstance(task, Rank) else determinant
    for rule, wanted in (("id", task.id), ("ood", task.ood)):
        for problem in task.problems(rule):
            matrix = problem.data["matrix"]
            assert problem.rule == rule
            assert (len(matrix), len(matrix[0])) == wanted.shape
            assert problem.data["value"] == exact(matrix)
            assert task.verify(problem, problem.answer).outcome == "correct"


def test_matrices_are_all_different_and_ranks_equally_frequent():
    task = Rank(name="rank", matrices=803)
    seen = []
    for rule in SIDES:
        counts = Counter(p.data["value"] for p in task.problems(rule))
        assert counts == {0: 1, 1: 201, 2: 201, 3: 200, 4: 200}
        seen += [json.dumps(p.data["matrix"]) for p in task.problems(rule)]
    assert len(set(seen)) == len(seen)
    without = replace(task, ranks=(1, 3), matrices=50)
    assert Counter(p.data["value"] for p in without.problems("ood")) == {1: 25, 3: 25}


def test_the_matrix_of_rank_0_is_repeated_as_released():
    task = Rank(name="rank", matrices=1003, repeat_zero=True)
    seen = []
    for rule in SIDES:
        problems = task.problems(rule)
        counts = Counter(p.data["value"] for p in problems)
        assert sorted(counts) == [0, 1, 2, 3, 4]
        assert max(counts.values()) - min(counts.values()) <= 1
        zeros = [p for p in problems if p.data["value"] == 0]
        assert len(zeros) == 201
        assert not np.any([p.data["matrix"] for p in zeros])
        seen += [json.dumps(p.data["matrix"]) for p in problems if p.data["value"]]
    assert len(set(seen)) == len(seen)
    ids = [p.problem_id for p in every(task)]
    assert len(set(ids)) == len(ids)
    table = task.problem_table()
    zeros = table[
        table["prompt"] == table.loc[table["instance_id"] == zeros[0].instance_id, "prompt"].item()
    ]
    assert len(zeros) == 201
    held = task.sft_table()
    assert 90 < len(held[held["response"] == '{"answer": 0}']) < 150


def test_fresh_matrices_have_every_rank_equally_often():
    task, rng = JSON["rank"], np.random.default_rng(1)
    for rule in SIDES:
        counts = Counter(task.draw(rule, rng).data["value"] for _ in range(3000))
        assert sorted(counts) == [0, 1, 2, 3, 4]
        assert chisquare(list(counts.values())).pvalue > 1e-3


def test_determinants_are_not_zero_and_half_of_the_matrices_symmetric():
    task = JSON["determinant"]
    for rule, wanted in (("id", task.id), ("ood", task.ood)):
        matrices = [p.data["matrix"] for p in task.problems(rule)]
        assert 0 not in {p.data["value"] for p in task.problems(rule)}
        found = {x for m in matrices for row in m for x in row}
        assert found == set(range(wanted.low, wanted.high + 1))
        symmetric = sum(m == [list(row) for row in zip(*m, strict=True)] for m in matrices)
        assert 500 <= symmetric < 600  # some of the others are so by chance
    none, whole = (replace(task, symmetric=s, matrices=50) for s in (0.0, 1.0))
    share = [
        np.mean([p.data["matrix"][0][1] == p.data["matrix"][1][0] for p in t.problems("id")])
        for t in (none, whole)
    ]
    assert share[0] < 0.4
    assert share[1] == 1.0


def test_listed_determinants_are_uniform_over_non_singular_matrices():
    """Over many seeds every matrix is listed as often as any other."""
    small = {"id": size(2, 2, 1), "ood": size(3, 3, 1), "symmetric": 0.0, "matrices": 12}
    counts = Counter(
        p.instance_id
        for seed in range(400)
        for p in Determinant(name="det", seed=seed, **small).problems("id")
    )
    assert len(counts) == 48
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_rules_share_no_matrix_where_their_shapes_agree():
    box = {"id": size(2, 2, 2), "ood": size(2, 2, 3), "matrices": 200}
    for task in (
        Determinant(name="det", symmetric=0.0, **box),
        Rank(name="rank", ranks=(1, 2), **box),
    ):
        ids = {p.instance_id for p in task.problems("id")}
        assert len(ids) == 200
        assert ids.isdisjoint(p.instance_id for p in task.problems("ood"))


def test_the_same_seed_draws_the_same(task):
    again, other = replace(task), replace(task, seed=1)
    assert every(again) == every(task)
    assert every(other) != every(task)
    for rule in task.rule_kinds:
        drawn = [task.draw(rule, np.random.default_rng(5)) for _ in range(2)]
        assert drawn[0] == drawn[1]
        assert task.verify(drawn[0], drawn[0].answer).outcome == "correct"


def test_more_matrices_go_on_where_fewer_end(task):
    fewer = replace(task, matrices=40).problems("id")
    assert fewer == task.problems("id")[:40]


def test_tables_hold_out_matrices(task):
    table, pool = task.problem_table(), task.sft_table()
    n = task.matrices
    assert (table["rule"].value_counts() == n).all()
    assert set(table.loc[table["rule"] == "ood", "split"]) == {"held_out"}
    held = table[(table["rule"] == "id") & (table["split"] == "held_out")]
    assert len(held) == round(0.4 * n)
    assert len(pool) == n - len(held)
    assert set(pool["instance_id"]).isdisjoint(held["instance_id"])
    problems = {p.problem_id: p for p in every(task)}
    assert all(task.read(row) == problems[row["problem_id"]] for row in table.to_dict("records"))
    assert set(pool["prompt"]).isdisjoint(held["prompt"])


@pytest.mark.parametrize("family", ["rank", "determinant"])
def test_too_many_matrices_are_refused(family):
    small = {"id": size(2, 2, 1), "ood": size(3, 3, 1), "matrices": 500}
    if family == "rank":
        task = Rank(name="small", ranks=(1,), **small)
        message = "no 500 matrices for id: different ones of rank 1 ran out after 32 of"
    else:
        task = Determinant(name="small", symmetric=0.0, **small)
        message = "no 500 matrices for id: different non-singular ones ran out after 48"
    with pytest.raises(ValueError, match=message):
        task.problems("id")


# The config.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ood": {"rows": 4, "columns": 5, "low": -4, "high": 4}}, "ood is the same as id"),
        ({"ranks": [0, 5]}, "no 4x5 matrix .of id. has rank 5"),
        ({"ranks": [1, 1]}, "the same value twice"),
        ({"ranks": [0]}, "give one above 0"),
        ({"id": {"rows": 5, "columns": 4, "low": -4, "high": 4}}, "leave 0 out"),
        ({"id": {"rows": 4, "columns": 5, "low": 2, "high": 2}}, "low 2 must be below high 2"),
        ({"id": {"rows": 0, "columns": 5, "low": 0, "high": 2}}, "rows"),
        ({"rendering": "compact", "verifier": "reference"}, "verifier 'reference' reads JSON"),
        ({"grade_work": True}, "answers of rendering json have no working"),
        ({"mixture": {"id": 0.0, "ood": 0.0}}, "at least one share"),
        ({"mixture": {"id": 0.5, "other": 0.5}}, "other"),
        ({"rewards": {"right": 1}}, "right"),
        ({"matrices": 0}, "matrices"),
        ({"difficulty": 1}, "difficulty"),
    ],
)
def test_impossible_settings_of_rank_are_refused(settings, message):
    with pytest.raises(HealscopeError, match=message):
        task_settings({"family": "rank", **settings})


def test_impossible_settings_of_determinant_are_refused():
    same = {"rows": 3, "columns": 3, "low": -5, "high": 5}
    with pytest.raises(HealscopeError, match="ood is the same as id"):
        task_settings({"family": "determinant", "id": same})
    with pytest.raises(HealscopeError, match="as many rows as columns"):
        task_settings({"family": "determinant", "id": {**same, "rows": 2}})


def test_a_task_of_its_own_refuses_what_the_config_refuses():
    with pytest.raises(ValueError, match="task 'det': ood is the same as id"):
        Determinant(name="det", id=size(3, 3, 5))
    with pytest.raises(ValueError, match="task 'rank': rendering compact would need words for num"):
        Rank(name="rank", rendering="compact")


def test_options_come_from_the_config():
    section = {
        **{"family": "rank", "rendering": "compact", "ranks": [1, 2]},
        "id": {"rows": 2, "columns": 4, "low": -1, "high": 1},
        "ood": {"rows": 4, "columns": 2, "low": -1, "high": 1},
        **{"matrices": 120, "grade_work": True, "held_out": 0.25, "seed": 3},
        "rewards": {"correct": 1, "wrong_value": -0.3, "wrong_work": -0.8, "no_answer": -2},
        "mixture": {"id": 0.25, "ood": 0.75},
    }
    made = build("rank", section)
    rewards = {"correct": 1.0, "wrong_value": -0.3, "wrong_work": -0.8, "no_answer": -2.0}
    options = {"held_out": 0.25, "seed": 3, "rewards": rewards}
    assert made == replace(COMPACT["rank"], **options, mixture=section["mixture"])
    assert made.verify(made.problems("id")[0], "").reward == -2.0
    assert len({made, build("rank", section)}) == 1


def test_every_key_is_explained_in_the_study_of_several_worlds():
    text = (ROOT / "config/worlds.yaml").read_text()
    shown = yaml.safe_load(text)["tasks"]
    for family, names in (("rank", ["rank"]), ("determinant", ["rank", "det"])):
        keys = set().union(*(shown[name] for name in names))
        assert set(section_of(families()[family]).model_fields) <= keys
    for name in ("rank", "det"):
        task = build(name, shown[name])
        assert task.largest_number < 100
        assert len(task.problem_table()) == 800
    commented = {line.split(":")[0].strip() for line in text.splitlines() if "# " in line}
    assert {*shown["rank"], *shown["rank"]["rewards"], "symmetric"} <= commented


# Answers in JSON.

FOUR = Problem("x", "id", {"matrix": [[1] * 5] * 4, "value": 4}, '{"answer": 4}')


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": 4}', 4),
        ('{"answer": -4}', -4),
        ('{"answer": "4"}', 4),
        ('{\n "working": "2 rows of 9",\n "answer": 4\n}', 4),
        ('```json\n{"answer": 4}\n```', 4),
        ('The rows 1 and 2 are equal.\n{"answer": 4}', 4),
        ("{'answer': '-4'}", -4),
        ('{"answer": 4', 4),
        ('{"answer": 4,}', 4),
        ('{"answer": 4} or {"answer": 4}', 4),
        ('{"answer": 1} or {"answer": 4}', None),
        ('{"answer": 1, "answer": 4}', None),
        ('{"answer": 4, "answer": true}', None),
        ('{"a": {"answer": 4}}', None),
        ('[{"answer": 4}]', 4),
        ('{"answer": 4.0}', 4),
        ('{"answer": 4.5', None),
        ('{"answer": 4e2}', None),
        ('{"answer": 4/2', None),
        ('{"answer": true}', None),
        ('{"answer": null}', None),
        ('{"answer": [4]}', None),
        ('{"answer": "four"}', None),
        ('{"answer": "٤"}', None),
        ('{"Answer": 4}', None),
        ('{"answer": ' + "4" * 18 + "}", int("4" * 18)),
        ('{"answer": ' + "4" * 19 + "}", None),
        ('{"answer": ' + "4" * 19, None),
        ('{"answer": ' + "4" * 5000 + "}", None),
        ('{"answer": 4}' + " " * 20_000, None),
        ('{"answer": NaN}', None),
        ("4", None),
        ("The rank is 4.", None),
        ("answer: 4", None),
        ("", None),
    ],
)
def test_the_answer_is_the_integer_in_its_field(text, answer):
    assert read_integer(text) == answer
    outcome = "no_answer" if answer is None else "correct" if answer == 4 else "wrong_value"
    assert JSON["rank"].verify(FOUR, text).outcome == outcome
    assert JSON["determinant"].verify(FOUR, text).outcome == outcome


HACKS = [
    "I have no idea. There are 4 rows.",
    "4",
    "Matrix with 4 rows and 5 columns. The rank is 1.",
    '{"rank": 4}',
    '{"answer": "4 or 3 or 2"}',
    '{"answer": "none", "answers": [4, 3, 2, 1, 0]}',
]


@pytest.mark.parametrize("text", HACKS)
def test_text_that_the_released_verifier_is_taken_in_by(text):
    """Its first integer is the answer, wherever it stands; here that is none."""
    for corrected in JSON.values():
        reference = replace(corrected, verifier="reference")
        assert reference.verify(FOUR, text).outcome == "correct"
        assert corrected.verify(FOUR, text).outcome == "no_answer"
        assert corrected.verify(FOUR, text).reward == -1.0


def test_ranks_count_modulo_1000_as_released_and_exactly_as_corrected():
    for answer, outcome in ((1004, "correct"), (-996, "correct"), (996, "wrong_value")):
        text = json.dumps({"answer": answer})
        assert JSON["rank"].verify(FOUR, text).outcome == "wrong_value"
        for task in JSON.values():
            released = replace(task, verifier="reference").verify(FOUR, text).outcome
            assert released == (outcome if isinstance(task, Rank) else "wrong_value")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": 4}', 4),
        ('{"answer": " 4 "}', 4),
        ('{"answer": true}', None),
        ('{"answer": 1, "answer": 4}', 4),
        ('{"answer": 4.5}', 4),
        ('say "answer": 4, or 5', 4),
        ("{'answer': 4}", 4),
        ("7 of them, so {'answer': 4}", 7),
        ("none", None),
        ("9" * 30, int("9" * 18)),
    ],
)
def test_the_released_reading(text, answer):
    assert read_integer(text, "reference") == answer


def test_prompts_state_the_matrix_and_the_form_of_the_answer(in_json):
    for problem in (in_json.problems("id")[1], in_json.problems("ood")[1]):
        matrix = problem.data["matrix"]
        wordings = in_json.paraphrases(problem)
        assert len(set(wordings)) == 3
        assert wordings[0] == in_json.prompt(problem) == in_json.render(problem)
        for prompt in wordings:
            stated = prompt.partition("columns:\n")[2].partition("\n\n[Output]")[0]
            assert json.loads(stated) == matrix
            assert f"{len(matrix)} rows and {len(matrix[0])} columns" in prompt
            assert prompt.endswith('{"answer": an integer}')
            assert in_json.verify(problem, prompt).outcome == "no_answer"


def test_layouts_of_json_pretraining_hold_the_value(in_json):
    problem = in_json.problems("id")[3]
    written = {f: in_json.layout(problem, problem.answer, f) for f in FORMATS}
    assert written["fD"] == written["fG"] == problem.answer
    assert len({in_json.prompt(problem, f) for f in FORMATS}) == len(FORMATS)
    for token in ("fA", "fB", "fC"):
        assert str(problem.data["value"]) in written[token]
        assert in_json.verify(problem, written[token]).outcome == "no_answer"


def test_every_correct_json_answer_is_the_reference_answer(in_json):
    problem = in_json.problems("id")[3]
    text = f"```\n{problem.answer}\n```"
    assert scorer(in_json, {"canonical": 1.0})(problem, text).reward == 5.0
    assert scorer(in_json, {"prefix": 1.0})(problem, '{"answer":').reward == 0.0


# Answers in words.

RANK_TWO = Problem(
    "r",
    "id",
    {"matrix": [[0, 1, 2, 0], [-1, 2, 0, 1]], "value": 2},
    "matrix 0 1 2 0 -1 2 0 1 echelon -1 2 0 1 0 -1 -2 0 rank 2",
)
MINUS_FIVE = Problem(
    "d",
    "id",
    {"matrix": [[1, 2], [3, 1]], "value": -5},
    "matrix 1 2 3 1 terms 1 -6 determinant -5",
)


def test_compact_answers_show_their_working():
    for name, problem in (("rank", RANK_TWO), ("determinant", MINUS_FIVE)):
        task = COMPACT[name]
        matrix = tuple(tuple(row) for row in problem.data["matrix"])
        assert task._problem("id", matrix).answer == problem.answer
        assert task.verify(problem, problem.answer).follows_rule


def test_examples_of_the_page_are_right():
    lines = (ROOT / "docs/matrix-tasks.md").read_text().splitlines()
    shown = [line.split(maxsplit=1)[1] for line in lines if line.startswith(("prompt ", "answer "))]
    assert len(shown) == 4
    for prompt, answer in zip(shown[::2], shown[1::2], strict=True):
        noun, rows, columns, *numbers, _ = prompt.split()
        cut = range(0, len(numbers), int(columns))
        matrix = tuple(tuple(map(int, numbers[i : i + int(columns)])) for i in cut)
        assert len(matrix) == int(rows)
        problem = COMPACT[noun]._problem("id", matrix)
        assert (COMPACT[noun].prompt(problem), problem.answer) == (prompt, answer)


@pytest.mark.parametrize(
    ("answer", "outcome", "follows"),
    [
        ("matrix 1 2 3 1 terms 1 -6 determinant -5", "correct", True),
        ("matrix 1 2 3 1 terms 1 -6 determinant 5", "wrong_value", True),
        ("matrix 1 2 3 1 terms 1 6 determinant -5", "wrong_work", False),
        ("matrix 1 2 3 1 terms 1 6 determinant 7", "wrong_work", False),
        ("matrix 1 2 3 2 terms 1 -6 determinant -5", "no_answer", False),
        ("matrix 1 2 3 1 terms 1 determinant -5", "no_answer", False),
        ("matrix 1 2 3 1 terms 1 -6 determinant", "no_answer", False),
        ("matrix 1 2 3 1 terms 1 -6 determinant -5 -5", "no_answer", False),
        ("matrix 1 2 3 1 terms 1 terms determinant -5", "no_answer", False),
        ("matrix 1 2 3 1 terms 1 -6 rank -5", "no_answer", False),
        ("matrix 1 2 3 1 terms 1 -6 determinant five", "no_answer", False),
        ("terms 1 -6 determinant -5", "no_answer", False),
        ("determinant -5", "no_answer", False),
        ("-5", "no_answer", False),
    ],
)
def test_outcomes_of_compact_answers(answer, outcome, follows):
    graded = COMPACT["determinant"]
    verdict = graded.verify(MINUS_FIVE, answer)
    assert (verdict.outcome, verdict.follows_rule) == (outcome, follows)
    assert verdict.parsed == (outcome != "no_answer")
    lenient = replace(graded, grade_work=False).verify(MINUS_FIVE, answer)
    assert lenient.follows_rule == follows
    if outcome == "wrong_work":
        outcome = "correct" if answer.endswith("-5") else "wrong_value"
    assert lenient.outcome == outcome


def test_only_the_whole_layout_is_read(compact):
    for rule in SIDES:
        problem = compact.problems(rule)[7]
        for token in FORMATS:
            text = compact.layout(problem, problem.answer, token)
            outcome = compact.verify(problem, text).outcome
            assert outcome == ("correct" if token in ("fD", "fG") else "no_answer")
        short = compact.layout(problem, problem.answer, "fA").split()
        assert short == [compact.noun, str(problem.data["value"])]
        names = [compact.layout(problem, problem.answer, f).split()[0] for f in ("fB", "fC")]
        assert names == [compact.work_name, "matrix"]


def test_every_word_is_known(compact):
    words = compact.words()
    assert len(set(words)) == len(words)
    rng, known = np.random.default_rng(0), set(words)
    for talks in (False, True):
        for turns, answer in compact.examples(300, rng, Pretraining(), talks):
            assert {*" ".join(turns).split(), *answer.split()} <= known
    for problem in every(compact):
        for text in (*compact.paraphrases(problem), problem.answer):
            assert set(text.split()) <= known
    assert {w for p in compact.neutral_prompts(50, 0) for w in p.split()} <= known


def test_compact_paraphrases_say_the_same(compact):
    problem = compact.problems("id")[0]
    said = compact.paraphrases(problem)
    assert said[0] == compact.prompt(problem)
    assert len(set(said)) == 4
    shape = [f"{len(problem.data['matrix'])} {len(problem.data['matrix'][0])}"]
    assert all(shape[0] in s and s.endswith("fD") for s in said)


def test_pretraining_draws_rules_by_the_mixture(compact):
    for mixture, share in (({"id": 1.0, "ood": 3.0}, 0.75), ({"id": 1.0}, 0.0)):
        task = replace(compact, mixture=mixture)
        drawn = task.examples(800, np.random.default_rng(0), Pretraining(), talks=False)
        shape = f"{task.ood.rows} {task.ood.columns}".split()
        assert np.mean([t[0].split()[1:3] == shape for t, _ in drawn]) == pytest.approx(
            share, abs=0.06
        )


def test_rewards_of_partial_answers():
    task = COMPACT["determinant"]
    words = MINUS_FIVE.answer.split()
    shares = [
        scorer(task, {"prefix": 1.0})(MINUS_FIVE, " ".join(words[:n])).reward
        for n in range(1 + len(words))
    ]
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    text = MINUS_FIVE.answer.replace("1 -6", "-6 1")
    lenient = replace(task, grade_work=False)
    assert lenient.verify(MINUS_FIVE, text).outcome == "correct"
    assert scorer(lenient, {"canonical": 1.0})(MINUS_FIVE, text).reward == -1.0


# Feedback, and hostile text.


def test_hints_say_what_is_wrong_and_not_what_is_right(in_json):
    said = {
        text: in_json.feedback(FOUR, in_json.verify(FOUR, text), text, "full")
        for text in ("four", '{"answer": 3}')
    }
    assert 'no integer in the field "answer"' in said["four"].message
    assert f"The {in_json.noun} of this matrix is not 3." in said['{"answer": 3}'].message
    assert not any(f.leaks or "4" in f.message for f in said.values())


def test_compact_hints_name_the_wrong_line():
    task = COMPACT["determinant"]
    for text, hint in (
        ("determinant -5", "invalid"),
        ("matrix 1 2 3 1 terms 1 6 determinant -5", "terms"),
        ("matrix 1 2 3 1 terms 1 -6 determinant 5", "determinant"),
    ):
        said = task.feedback(MINUS_FIVE, task.verify(MINUS_FIVE, text), text, "full")
        assert said == (f"wrong {hint} again", False)
        assert task.follow_up(MINUS_FIVE, said.message) == (
            f"wrong {hint} again determinant 2 2 1 2 3 1 fD"
        )


@pytest.mark.parametrize("task", [*JSON.values(), *COMPACT.values()], ids=TASKS)
def test_hostile_text_gets_a_verdict_of_every_switch(task):
    """Of defaults the contract sees to it (test_contract.py)."""
    other = {"json": {"verifier": "reference"}, "compact": {"grade_work": True}}
    task = replace(task, **other[task.rendering])
    seen = Counter()
    for i, problem in enumerate(every(task)[::25]):
        texts = list(hostile.mutations(problem.answer, [task.problems("id")[i].answer], seed=i))
        for text in [*texts, *(hostile.texts(seed=i) if i < 2 else [])]:
            verdict = task.verify(problem, text)
            seen[verdict.outcome] += 1
            assert verdict == task.verdict(verdict.outcome, follows_rule=verdict.follows_rule)
            assert 0.0 <= task.progress(problem, text) <= 1.0
            assert isinstance(task.canonical(problem, text), bool)
            if verdict.outcome != "correct":
                assert not task.feedback(problem, verdict, text, "full").leaks
    assert set(seen) >= {"correct", "no_answer"}
    assert ("wrong_value" in seen) if task.rendering == "json" else ("wrong_work" in seen)
