"""A task of reasoning-gym: groups, hold-out, answers, scores, the ladder, and what is refused."""

import pytest

from healscope.errors import HealscopeError
from healscope.tasks import build, rewards, task_settings
from healscope.tasks.posing import Protocol

SUMS = {"dataset": "chain_sum", "options": {"max_terms": 3, "max_digits": 2}}
OOD = {"more": {"options": {"min_terms": 4, "max_terms": 5}}, "gcd": {"dataset": "gcd"}}


def section(**more) -> dict:
    return {"family": "gym", "id": SUMS, "ood": OOD, "generated": 40, **more}


def task_of(**more):
    return build("sums", task_settings(section(**more)))


@pytest.fixture(scope="module")
def task():
    return task_of()


def test_ood_groups_start_from_the_options_of_id_or_from_none(task):
    assert task._configured("more") == (
        "chain_sum", {"min_terms": 4, "max_terms": 5, "max_digits": 2},
    )  # fmt: skip
    assert task._configured("gcd") == ("gcd", {})
    table = task.problem_table()
    assert table[table["rule"] == "ood"]["group"].value_counts().to_dict() == {
        "more": 40,
        "gcd": 40,
    }
    assert set(table[table["rule"] == "id"]["group"]) == {"id"}


def test_a_question_is_asked_once_and_its_instance_is_on_one_side():
    few = task_of(id={"dataset": "chain_sum", "options": {"max_terms": 2, "max_digits": 1}},
                  ood={"more": {"options": {"min_terms": 1}}}, generated=200)  # fmt: skip
    questions = {rule: [p.data["question"] for p in few.listed(rule)] for rule in ("id", "ood")}
    both = questions["id"] + questions["ood"]
    assert len(set(both)) == len(both)
    assert 60 < len(questions["id"]) < 160  # of 200 drawn, the others were repeats
    table, pool = few.problem_table(), few.sft_table()
    held_out = table[table["split"] == "held_out"]
    assert not set(pool["instance_id"]) & set(held_out["instance_id"])
    assert set(pool["rule"]) == {"id"}
    assert few.notes()[0].endswith(
        f"no repeat: {len(questions['id'])} of id, {len(questions['ood'])} of more"
    )


def test_instances_by_metadata_pair_the_rules():
    fractions = {"dataset": "fraction_simplification", "options": {"styles": ["plain"]}}
    latex = {"latex": {"options": {"styles": ["latex_frac"]}}}
    task = task_of(id=fractions, ood=latex, instance=["numerator", "denominator"])
    table = task.problem_table()
    pairs = table.groupby("pair_id")
    assert (pairs["rule"].nunique() == 2).all()
    assert (pairs["split"].nunique() == 1).all()
    with pytest.raises(HealscopeError, match=r"instance: 'nominator' is not in the metadata of"):
        task_of(id=fractions, ood=latex, instance=["nominator"]).problem_table()


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("<answer>{}</answer>", "correct"),
        ("It is <answer>1</answer>, no, <answer> {}.0 </answer>", "correct"),
        ("<think><answer>1</answer></think><answer>{}</answer>", "correct"),
        ("<answer>{}</answer><answer>12345</answer>", "wrong"),
        ("<think><answer>{}</answer>", "no_answer"),
        ("<answer></answer>", "no_answer"),
        ("<answer>{}", "no_answer"),
        ("{}", "no_answer"),
        ("<answer>nan</answer>", "wrong"),
    ],
)
def test_the_answer_is_between_the_last_tags(task, response, outcome):
    problem = task.listed("id")[0]
    right = problem.answer.removeprefix("<answer>").removesuffix("</answer>")
    assert task.verify(problem, response.format(right)).outcome == outcome


def test_without_tags_the_question_is_all_and_the_answer_alone():
    task = task_of(tags=False)
    problem = task.listed("id")[0]
    assert task.prompt(problem) == problem.data["question"].strip()
    assert task.verify(problem, f"\n{problem.answer}\n").outcome == "correct"
    assert task.verify(problem, f"<answer>{problem.answer}</answer>").outcome == "correct"
    assert task.verify(problem, f"It is {problem.answer}.").outcome == "wrong"


def test_scores_stand_beside_verdicts_and_can_be_paid():
    words = {"dataset": "word_sorting", "options": {}}
    task = task_of(id=words, ood={"more": {"options": {"min_words": 11, "max_words": 12}}})
    problem = task.listed("id")[0]
    in_order = problem.answer.removeprefix("<answer>").removesuffix("</answer>").split(", ")
    swapped = f"<answer>{', '.join([*in_order[:-2], in_order[-1], in_order[-2]])}</answer>"
    verdict = task.verify(problem, swapped)
    assert verdict.outcome == "wrong"
    assert verdict.score == pytest.approx(1 - 2 / len(in_order))
    assert task.verify(problem, problem.answer).score == 1
    assert task.verify(problem, "I do not know").score == 0
    score = rewards.scorer(task, {"prefix": 1.0})
    assert score(problem, swapped).reward == verdict.score
    assert score(problem, problem.answer).reward == 1


def test_the_ladder_changes_one_attribute_by_levels_of_the_curriculum(task):
    steps = {step.group: step.options for step in task.steps.values()}
    assert steps["num_terms+1"] == {"min_terms": 4, "max_terms": 4, "max_digits": 2}
    assert steps["num_terms+5"]["max_terms"] == 8
    assert steps["num_digits+1"] == {"max_terms": 3, "min_digits": 3, "max_digits": 3}
    assert len(steps) == 10
    assert (task.distance("more"), task.distance("gcd")) == (2, 1)
    later = task_of(id={"dataset": "chain_sum", "options": {"min_terms": 4, "max_terms": 4}})
    assert later.steps["num_terms-2"].options["max_terms"] == 2


def test_intervals_of_a_curriculum_begin_where_training_ends():
    bases = {"dataset": "base_conversion", "options": {"max_base": 9, "max_value": 500}}
    task = task_of(id=bases, ood={"more": {"options": {"max_base": 16}}})
    steps = {step.group: step.options for step in task.steps.values()}
    assert (steps["value+1"]["min_value"], steps["value+1"]["max_value"]) == (500, 1000)
    assert (steps["base+2"]["min_base"], steps["base+2"]["max_base"]) == (18, 27)


def test_near_problems_are_held_out_in_their_halves_and_a_longer_list_begins_alike(task):
    listed = task.problem_table()
    short, long = (task.posed(listed, Protocol(problems="neighbours", per_kind=n)) for n in (3, 6))
    assert set(long["split"]) == {"held_out"}
    counted = long.groupby(["neighbour", "distance"]).size()
    assert (counted == 6).all()
    assert len(counted) == task.neighbour_lists
    assert counted.index[counted.index.get_level_values("distance") == 0].tolist() == [
        ("training rule", 0)
    ]
    assert long["problem_id"].is_unique
    kept = [rows["problem_id"].tolist()[:3] for _, rows in long.groupby(["neighbour", "distance"])]
    assert kept == [rows["problem_id"].tolist() for _, rows in
                    short.groupby(["neighbour", "distance"])]  # fmt: skip
    halves = listed.set_index("instance_id")["half"].to_dict()
    known = long[long["instance_id"].isin(halves)]
    assert len(known) >= 18
    assert (known["half"] == known["instance_id"].map(halves)).all()
    for row in long.to_dict("records"):
        assert task.verify(task.read(row), row["response"]).outcome == "correct"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": {"options": {}}}, "id.dataset: name a data set of reasoning-gym"),
        (
            {"id": {"dataset": "countdown"}},
            "'countdown' cannot be a task here: its scorer executes",
        ),
        ({"ood": {"far": {"options": {"terms": 9}}}}, "ood.far.options.terms: data set chain_sum"),
        ({"ood": {"same": {"options": {"max_terms": 3}}}}, "ood.same: this is the configuration"),
        ({"ood": {"id": {"dataset": "gcd"}}}, "ood.id: this name is taken"),
        ({"ood": {}}, "ood: "),
        (
            {"code": "reasoning-gym 0.1.1"},
            "code: reasoning-gym 0.1.25 is installed, and the config",
        ),
        ({"rendering": "compact"}, "rendering"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(changes, expected):
    with pytest.raises(HealscopeError) as error:
        task_settings(section(**changes))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_the_version_is_a_part_of_the_section():
    assert task_settings(section()).code == "reasoning-gym 0.1.25"
