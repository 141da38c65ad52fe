"""How responses are read: one table of texts, for every family and rendering."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import Parity

from healscope.models import tokens
from healscope.tasks import build, families, task_settings
from healscope.tasks.cards.game import make_problem
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.matrices.matrix_task import read_integer
from healscope.tasks.problem import Problem
from healscope.tasks.responses import MAX_NESTED, MAX_RESPONSE, REASONING, json_object, read, spoken
from healscope.tasks.rewards import REWARDS, scorer
from healscope.tasks.task import Task

JSON, COMPACT = {"rendering": "json"}, {"rendering": "compact"}
SMALL = {"family": "navigation", "generated": 3}
MATRIX = {"matrices": 20}
SECTIONS = {"generalpoints": {}, "rank": MATRIX, "determinant": MATRIX, "navigation": SMALL}


@dataclass(frozen=True, kw_only=True)
class Echo(Task):
    """A task of one's own, which says nothing of reasoning."""

    def problems(self, rule):
        for n in range(4):
            yield Problem(f"p{n}", rule, {"n": n}, json.dumps({"said": n}))

    def render(self, problem):
        return f'Say {problem.data["n"]} as {{"said": ...}}'

    def verify(self, problem, text):
        said = json_object(text, "said")
        if said is None:
            return self.verdict("no_answer")
        return self.verdict("correct" if said["said"] == problem.data["n"] else "wrong")


def task_of(name: str) -> Task:
    made = {
        "cards": lambda: build("t", {"family": "generalpoints", **JSON}),
        "cards-compact": lambda: build("t", {"cards": 3, "targets": [12], **COMPACT}),
        "rank": lambda: build("t", {"family": "rank", **JSON, **MATRIX}),
        "determinant": lambda: build("t", {"family": "determinant", **JSON, **MATRIX}),
        "determinant-compact": lambda: build("t", {"family": "determinant", **COMPACT, **MATRIX}),
        "navigation": lambda: build("t", {**SMALL, **JSON}),
        "navigation-compact": lambda: build("t", {**SMALL, **COMPACT}),
        "own": lambda: Echo(name="t"),
        "own-compact": lambda: Parity(name="t", rendering="compact"),
    }
    return made[name]()


def posed(task: Task) -> Problem:
    if isinstance(task, GeneralPoints):
        cards = ("3", "3", "8", "8") if task.cards == 4 else ("A", "2", "4")
        return make_problem(task, cards, "id", task.targets[0])
    return task.listed("id")[-1]


def right_and_wrong(task: Task, problem) -> tuple[str, str]:
    right = task.answers(problem)[0]
    if isinstance(task, GeneralPoints) and task.rendering == "json":
        return right, json.dumps({**json.loads(right), "formula": "3+3+8+8=24"})
    if isinstance(task, GeneralPoints):
        return right, "cards A 2 4 number 1 2 4 formula ( 1 + 2 ) + 4 = 12"
    others = (p.answer for p in task.listed("id"))
    return right, next(a for a in others if task.verify(problem, a).outcome != "correct")


IN_JSON = ["cards", "rank", "determinant", "navigation", "own"]
EVERY = [*IN_JSON, "cards-compact", "determinant-compact", "navigation-compact", "own-compact"]


@pytest.fixture(scope="module", params=EVERY)
def every(request):
    task = task_of(request.param)
    problem = posed(task)
    return task, problem, *right_and_wrong(task, problem)


@pytest.fixture(scope="module", params=IN_JSON)
def in_json(request):
    task = task_of(request.param)
    problem = posed(task)
    return task, problem, *right_and_wrong(task, problem)


def test_every_family_is_in_the_table():
    """Of the others, data has tests of its own, to text none answers, and lm_eval and gym need
    other packages."""
    built = {type(task_of(name)) for name in EVERY}
    assert {type(build("t", {"family": f, **m})) for f, m in SECTIONS.items()} <= built
    assert {*SECTIONS, "data", "lm_eval", "gym", "text"} == set(families())


# What is thought.


@pytest.mark.parametrize(("begin", "end"), REASONING)
def test_what_is_thought_is_no_answer(every, begin, end):
    task, problem, right, wrong = every
    outcomes = {
        f"{begin or ''}{wrong}? No.{end}\n{right}": True,
        f"{begin or ''}{right}? No.{end}\n{wrong}": False,
        f"{wrong}? No.{end}\n{right}": True,  # the prompt opened the block
        f"{begin or ''}{right}{end}{wrong}{end}{right}": True,  # the last end counts
        f"{begin or ''}{right}{end}": False,
        f"{begin or ''}{'hm ' * MAX_RESPONSE}{end}{right}": True,  # however long it is
        right: True,
    }
    if begin:
        outcomes |= {
            f"{begin}{right}, or": False,
            f"{begin}{wrong}{end}{right} {begin} or": False,
        }
    for text, correct in outcomes.items():
        assert (task.verify(problem, text).outcome == "correct") == correct, text[:99]
        paid = scorer(task, {"verdict": 1.0})(problem, text)
        assert (paid.verdict.outcome == "correct") == correct
        binary = scorer(task, {"binary": 1.0})(problem, text).reward
        assert binary == float(correct)


def test_every_reader_of_responses_gets_the_answer_alone(every):
    task, problem, right, wrong = every
    thought = f"<think>{right}</think>"
    assert task.canonical(problem, f"<think>{wrong}</think>{right}") == task.canonical(
        problem, right
    )
    for name in REWARDS:
        plain, mixed = (
            scorer(task, {name: 1.0})(problem, t).reward for t in (wrong, thought + wrong)
        )
        assert plain == mixed, name
    verdict = task.verify(problem, wrong)
    assert verdict.outcome != "correct"
    for level in ("outcome", "full"):
        assert task.feedback(problem, verdict, thought + wrong, level) == task.feedback(
            problem, verdict, text=wrong, level=level
        )


def test_the_marks_are_a_value_of_the_config():
    for section in ({"family": "generalpoints"}, {"family": "rank", **MATRIX}, SMALL):
        own = {**section, "reasoning": [[None, "ANSWER:"]], **JSON}
        settings_ = task_settings(own)
        task = build("t", settings_.model_dump(mode="json"))
        assert task == build("t", settings_)
        assert hash(task) is not None
        problem = posed(task)
        right, wrong = right_and_wrong(task, problem)
        assert task.verify(problem, f"{wrong} ANSWER: {right}").outcome == "correct"
        assert task.verify(problem, f"<think>{wrong}</think>{right}").outcome != "correct"
        none = build("t", {**own, "reasoning": []})
        assert none.verify(problem, f"<think>{right}").outcome == "correct"
    with pytest.raises(Exception, match="at least 1 character"):
        task_settings({"family": "generalpoints", "reasoning": [["<a>", ""]]})


def test_text_is_cut_once():
    """A task that finds marks in its own answer does not cut it again."""
    once = spoken("<a>x</a> b </think> c", [("<a>", "</a>")])
    assert once == " b </think> c" == spoken(once)
    assert spoken("no marks") == "no marks"
    assert spoken("<think>" * 5_000) == spoken("<think>x</think><think>") == ""
    assert spoken("</think>" * 5_000 + "x") == "x"


def test_marks_that_are_special_tokens_stay_in_the_text():
    tokenizer = tokens.text_tokenizer(['{"answer": 5}'])
    marks = ["[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|im_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    ids = tokenizer.encode('[THINK]{"answer": 5}[/THINK]{"answer": 6}<|im_end|><eos>')
    assert tokens.response_text(tokenizer, ids) == '{"answer": 5}{"answer": 6}'
    said = tokens.response_text(tokenizer, ids, reasoning=REASONING)
    assert said == '[THINK]{"answer": 5}[/THINK]{"answer": 6}'
    assert read_integer(said) == 6
    tokenizer.chat_template = "{{ messages[0]['content'] }}[THINK]\n"
    opened = {"reasoning": REASONING, "prompt": tokenizer.encode("what? [THINK]\n")}
    never = tokenizer.encode('{"answer": 5}, or')
    assert read_integer(tokens.response_text(tokenizer, never)) == 5
    assert read_integer(tokens.response_text(tokenizer, never, **opened)) is None
    assert read_integer(tokens.response_text(tokenizer, ids[1:], **opened)) == 6


# Which object counts.


def test_json_means_the_same_wherever_it_stands(in_json):
    task, problem, right, wrong = in_json
    answers = [right, right.replace("/", "\\/")]
    if isinstance(task, GeneralPoints):
        answers.append("".join(f"\\u{ord(c):04x}" if c in "*/-()" else c for c in right))
    for answer in answers:
        for text in (
            answer,
            f"```json\n{answer}\n```",
            f"```\n{answer}\n```\nDone.",
            f"The answer is:\n{answer}",
            f"{answer}.",
            f"The set {{3, 8}} and \\frac{{8}}{{3}}: {answer}",
            f"{answer}\n{answer}",
            f"{answer} so\n```json\n{answer}\n```",
            f"[{answer}]",
            answer.replace("}", ",}"),
            answer.replace("}", '\n/* done */ // "x\n}'),
        ):
            assert task.verify(problem, text).outcome == "correct", text


def test_two_different_answers_are_none(in_json):
    task, problem, right, wrong = in_json
    for one, other in ((right, wrong), (wrong, right)):
        for text in (
            f"{one}\n{other}",
            f"```json\n{one}\n```\n```json\n{other}\n```",
            f"{one} or\n```\n{other}\n```",
            f"{one[:-1].rstrip()}, {other.lstrip()[1:]}",  # every key twice
        ):
            assert task.verify(problem, text).outcome == "no_answer", text
    # a complete object counts, not one that breaks off behind it
    assert task.verify(problem, f"{right}\n{wrong[:-3]}").outcome == "correct"
    assert (
        task.verify(problem, f'{{"steps": [1, 2]}} {right} {{"sure": true}}').outcome == "correct"
    )


def test_a_template_before_the_answer_does_not_count(in_json):
    task, problem, right, wrong = in_json
    template = task.prompt(problem).rpartition("\n")[2] if "\n" in task.prompt(problem) else ""
    echoed = task.prompt(problem)
    empty = json.dumps(dict.fromkeys(json.loads(right), "..."))
    for before in (template, echoed, empty):
        assert task.verify(problem, f"{before}\n{right}").outcome == "correct", before
        assert task.verify(problem, f"{before}\n{wrong}").outcome != "correct"


F = "8/(3-8/3)"
TOLERATED = [
    ('{"formula": "%s"}', "8/(3-8/3)＝24"),
    ('{"formula": "%s"}', "$8/(3-8/3)=24$"),
    ('{"formula": "%s"}', "$$8/(3-8/3)$$"),
    ('{"formula": "%s"}', "\\\\(8/(3-8/3)=24\\\\)"),
    ('{"formula": "%s"}', "[8/(3-8/3)]=24"),
    ('{"formula": "%s"}', "8/[3-8/3]"),
    ('{"formula": "%s"}', "8 \\\\div (3 - 8 \\\\div 3)"),
    ('{"formula": "%s"}', "8 \\div (3 - 8 \\div 3)"),
    ('{"formula": "%s"}', "\\\\frac{8}{3-\\\\frac{8}{3}}"),
    ('{"formula": "%s"}', "\\frac{8}{3-\\frac{8}{3}} = 24"),
    ('{"formula": "%s"}', "8/\\\\left(3-8/3\\\\right)"),
    ('{"answer": {"formula": "%s"}}', F),
    ('{"Answer": {"number": [3, 3, 8, 8], "formula": "%s"}}', F),
    ("{'formula': '%s'}", F),
    ('{"formula": /* so */ "%s" // it is\n}', F),
    ('{"cards": [3, 3, 8, 8] "formula": "%s"}', F),
    ('{"cards": [J, Q, 8, 8], "formula": "%s",}', F),
    ('"formula": "%s"', F),
]


@pytest.mark.parametrize(("around", "formula"), TOLERATED)
def test_what_a_careful_person_reads(around, formula):
    task = task_of("cards")
    problem = posed(task)
    for text in (around % formula, f"```json\n{around % formula}\n```"):
        assert task.verify(problem, text).outcome == "correct", text
    reference = replace(task, verifier="reference")
    released = around in ('{"formula": "%s"}', '{"answer": {"formula": "%s"}}') and formula == F
    broken = around.startswith('{"cards"') or around.startswith('"formula"') or '"number"' in around
    if not broken:
        said = reference.verify(problem, around % formula).outcome
        assert (said == "correct") == released


@pytest.mark.parametrize(
    ("cards", "formula"),
    [(("4", "6", "A", "A"), f) for f in ("4×6×1×1", "4\\times6\\times1*1", "4 \\\\times 6*1*1")]
    + [(("4", "6", "A", "A"), f) for f in ("4 \\cdot 6 \\cdot 1 \\cdot 1", "4\\u00d76\\u00d71*1")],
)
def test_times(cards, formula):
    task = task_of("cards")
    problem = make_problem(task, cards, "id", 24)
    for text in ('{"formula": "%s=24"}', 'So:\n```json\n{"formula": "%s=24"}\n```'):
        assert task.verify(problem, text % formula).outcome == "correct"


@pytest.mark.parametrize("formula", ["(8/(3-8/3]", "8/(3-8\\\\x3)", "3(8)", "\\\\boxed 3"])
def test_what_no_careful_person_reads(formula):
    task = task_of("cards")
    text = f'{{"formula": "{formula}"}}'
    assert task.verify(posed(task), text).outcome == "illegal"


def test_lines_count_where_they_are_graded():
    task = task_of("cards")
    graded, problem = replace(task, grade_number_line=True), posed(task)
    one, other = (f'{{"number": {n}, "formula": "{F}"}}' for n in ([3, 3, 8, 8], [8, 8, 3, 3]))
    assert task.verify(problem, f"{other}\n{one}").outcome == "correct"
    assert graded.verify(problem, f"{other}\n{one}").outcome == "no_answer"
    assert graded.verify(problem, f"{one}\n{one}").outcome == "correct"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": -8.0}', -8),
        ('{"answer": "-8.0"}', -8),
        ('```json\n{"answer": -8 // minus eight\n}\n```', -8),
        ('{"answer": an integer}\n{"answer": -8}', -8),
        ('{"answer": -8}\n{"answer": an integer}', None),
        ('{"result": {"answer": -8}}', -8),
        ('{"a": {"answer": -8}}', None),
        ('so {"a": {"answer": -8}}', None),
        ('{"answer": 1, "note": "not \\"answer\\": 2"}', 1),
        ('{"answer": -8.5}', None),
    ],
)
def test_integers(text, answer):
    assert read_integer(text) == answer


def test_a_turn_in_quotes():
    task = task_of("navigation")
    turning = [p for p in task.listed("id") if "turn_direction" in p.answer]
    for problem in turning[:3]:
        action = json.loads(problem.answer)["action"]
        for mark in ('"', "'", '\\"'):
            said = action.replace("(", f"({mark}").replace(")", f"{mark})")
            for text in (f'{{"action": "{said}"}}', f'```json\n{{"action": "{said}"}}\n```'):
                assert task.verify(problem, text).outcome == "correct", text
                strict = replace(task, verifier="reference")
                assert strict.verify(problem, text).outcome != "correct"


# The grammar.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1, max_size=3), st.booleans())
def test_json_is_read_as_the_library_reads_it(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json_object(text) == json.loads(text)
    assert json_object(f"so:\n```json\n{text}\n```", reasoning=()) == json.loads(text)


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text("{}[]\"':,/*#answer0123.-\\u <think></think>", max_size=200))
def test_any_text_is_read(text):
    read(text)
    json_object(text)
    read_integer(text)


def test_what_json_object_gives():
    assert json_object('{"a": 1} {"a": 1, "b": 2}') == {"a": 1, "b": 2}
    assert json_object('{"a": 1} {"a": 2}') is None
    assert json_object('{"a": 1, "a": 2}') is None
    assert json_object('{"a": 1} {"a": true}') is None  # which Python calls equal
    assert json_object('{"a": ["...", "..."]} {"a": ["x"]}') == {"a": ["x"]}
    assert json_object('{"a": 1} {"b": 2}', "a") == {"a": 1}
    assert json_object('{"result": {"a": 1}}', "a") == {"a": 1}
    assert json_object('{"a": one}') is None
    assert json_object("{}" + " " * MAX_RESPONSE) is None
    nested = '{"a":' * MAX_NESTED + "1" + "}" * MAX_NESTED
    assert json_object(nested) is not None
    assert json_object('{"b":' + nested + "}") == {"a": 1}  # of what is nested too deeply, the rest
