"""Every kind of verdict: what it takes for right, what it refuses, and that nothing holds it up."""

import json
from fractions import Fraction

import pytest
from test_instructions import JUDGED as CONDITIONS

from healscope.tasks.contract import hostile
from healscope.tasks.contract.subject import at_most
from healscope.tasks.data.numbers import last_number
from healscope.tasks.data.patterns import last_match, pattern
from healscope.tasks.data.sources import Asked, Source
from healscope.tasks.data.verdicts import KINDS, Setting

LETTERS = Setting(("A", "B", "C", "D"))
WORDS = Setting(("no", "not sure", "yes"))
SCHEMA = {
    "type": "object",
    "required": ["name", "tags"],
    "properties": {
        "name": {"type": "string", "pattern": "^(a+)+$"},
        "tags": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/tag"}},
    },
    "patternProperties": {"^x-(y+)+$": {"type": "integer"}},
    "$defs": {"tag": {"type": "string"}},
}


def asked(verdict: str, setting: Setting | None = None, **more) -> Asked:
    source = Source(file="x.jsonl", verdict=verdict, **more)
    return Asked("id", source, [], setting or Setting())


JUDGED = [
    ("exact", "a b", "a\n b ", "correct"),
    ("exact", "a b", "A b", "wrong"),
    ("exact", "a b", " ", "no_answer"),
    ("number", "7", "so 3 + 4 = 7.", "correct"),
    ("number", "#### 1,234", "It is $1,234.00", "correct"),
    ("number", "0.75", "3/4", "correct"),
    ("number", "-5", "it is \u22125", "correct"),
    ("number", "5", "10-5", "correct"),
    ("number", "1500", "1.5e3", "correct"),
    ("number", "0.1", "0.10000000000000000001", "wrong"),
    ("number", "7", "7 or 8", "wrong"),
    ("number", "7", "seven", "no_answer"),
    ("number", "7", "7" * 400, "no_answer"),
    ("number", "7", "x7", "no_answer"),
    ("number", "3", "Of 3 coins, the probability is .25", "wrong"),
    ("number", "3", "of 3 coins, 1.5e4000", "no_answer"),
    ("number", "0.25", "$.25", "correct"),
    ("number", "20", "20%.", "correct"),
    ("contains", "Paris", "It is PARIS, I think", "correct"),
    ("contains", "12", "112", "wrong"),
    ("contains", "12", "112 and 12.", "correct"),
    ("contains", "C++", "use C++", "correct"),
    ("regex", "^(yes|ja)\\b", "yes, sir", "correct"),
    ("regex", "^(yes|ja)\\b", "oh yes", "wrong"),
    ("json_schema", SCHEMA, '```json\n{"name": "aa", "tags": ["x"]}\n```', "correct"),
    ("json_schema", SCHEMA, 'Sure: {"name": "aa", "tags": ["x"], "x-yy": 1} there', "correct"),
    ("json_schema", SCHEMA, '{"name": "aa", "tags": ["x"], "x-yy": "z"}', "wrong"),
    ("json_schema", SCHEMA, '{"name": "ab", "tags": []}', "wrong"),
    ("json_schema", SCHEMA, '{"name": "a", "tags": ["x", "x"]}', "wrong"),
    ("json_schema", SCHEMA, "none", "no_answer"),
    ("json_schema", '{"type": "array", "items": {"type": "integer"}}', "[1, 2]", "correct"),
]


@pytest.mark.parametrize(("verdict", "answer", "text", "said"), JUDGED)
def test_verdicts(verdict, answer, text, said):
    assert asked(verdict).judge([answer], {}, text) == said


CHOSEN = [
    (LETTERS, "B", "correct"),
    (LETTERS, "(B)", "correct"),
    (LETTERS, "B. Paris", "correct"),
    (LETTERS, "**B**", "correct"),
    (LETTERS, "A is wrong and C too. The answer is B.", "correct"),
    (LETTERS, "Answer: \\boxed{B}", "correct"),
    (LETTERS, "A or B", "no_answer"),
    (LETTERS, "A B C D", "no_answer"),
    (LETTERS, "a big one", "no_answer"),
    (LETTERS, "C", "wrong"),
    (WORDS, "Yes.", "wrong"),
    (WORDS, "I am NOT  sure", "correct"),
]


@pytest.mark.parametrize(("setting", "text", "said"), CHOSEN)
def test_a_choice_is_named_once_or_as_the_answer(setting, text, said):
    right = "B" if setting is LETTERS else "not sure"
    assert asked("choice", setting).judge([right], {}, text) == said


def test_any_of_several_answers_is_right():
    assert asked("contains").judge(["Rome", "Roma"], {}, "Roma!") == "correct"


def test_what_is_extracted_is_judged():
    own = asked("exact", extract=r"<answer>(.*?)</answer>")
    assert own.judge(["4"], {}, "<answer>3</answer> no, <answer> 4</answer>") == "correct"
    assert own.judge(["4"], {}, "4") == "no_answer"


REFUSED = [
    ("number", "seven", "there is no number"),
    ("number", {"a": 1}, "it is an object"),
    ("regex", "(?=a)", "not a regular expression of RE2 .*perl operator"),
    ("regex", r"(a)\1", "not a regular expression of RE2"),
    ("json_schema", "{", "it is not JSON"),
    ("json_schema", {"type": "nothing"}, "not a JSON schema: 'nothing'"),
    ("json_schema", {"pattern": "(?=a)"}, "not a regular expression of RE2"),
    ("json_schema", {"$ref": "http://localhost:9/x.json"}, "is not in the schema itself"),
    ("json_schema", {"$ref": "#/$defs/none"}, "is not in the schema itself"),
]


@pytest.mark.parametrize(("verdict", "answer", "said"), REFUSED)
def test_answers_that_cannot_be_ones_are_refused(verdict, answer, said):
    with pytest.raises(ValueError, match=said):
        asked(verdict).prepared(answer)


def test_too_many_choices_are_none():
    with pytest.raises(ValueError, match="101 different answers, too many"):
        asked("choice", Setting(tuple(map(str, range(101))))).prepared("1")


HOSTILE = {
    "regex": ("(a+)+$", "(x+x+)+y", r"(.*a){20}", r"^(\s*\w+\s*)*$"),
    "json_schema": (SCHEMA,),
    "number": ("7",),
    "follows": tuple({name: value} for wanted, *_ in CONDITIONS for name, value in wanted.items()),
}


@pytest.mark.parametrize("verdict", [name for name in KINDS if name != "math"])
def test_no_text_raises_or_holds_a_verdict_up(verdict):
    own = asked(verdict, LETTERS)
    long = ["a" * 16_000 + "!", "x" * 16_000, "1," * 8_000, "1,111" * 3_000, "answer " * 2_000]
    long += [
        '{"name": "' + "a" * 16_000 + '!"}',
        json.dumps({"tags": [str(i) for i in range(2_500)]}),
    ]
    for answer in HOSTILE.get(verdict, ("A",)):
        for text in (*hostile.texts(seed=3), *long):
            with at_most(20):
                assert own.judge([answer], {}, text) in ("correct", "wrong", "no_answer")


CENTS = {"type": "array", "items": {"type": "number", "multipleOf": 0.01}}
FIVES = {"type": "array", "items": {"multipleOf": 5, "minimum": -1e308, "maximum": 1e308}}
LIMITS = (
    *({"minimum": 0}, {"exclusiveMaximum": 1e9}, {"multipleOf": 1e-300}, {"enum": [1.5]}),
    *({"const": 1}, {"type": "integer"}, {"multipleOf": 10**4_000}, {"minimum": 10**4_000}),
)


@pytest.mark.parametrize(
    ("schema", "text", "said"),
    [
        *((CENTS, f"[{x}]", "correct") for x in ("19.99", "0.07", "12.34", "-0.29", "1e308", "0")),
        *((CENTS, f"[{x}]", "correct") for x in ("9" * 400, "1e-999999999", "-0.0", "4.35")),
        *((CENTS, f"[{x}]", "wrong") for x in ("0.005", "1e-300", "NaN", "1e400", "-Infinity")),
        *((FIVES, f"[{x}]", "correct") for x in ("10.0", "-5", "1e22", "0", "true")),
        *((FIVES, f"[{x}]", "wrong") for x in ("7", "0.1", "1e400", "NaN", "9" * 400, "4" * 4_000)),
        ({"type": "object", "properties": {"n": {"multipleOf": 0.1}}}, '{"n": 0.3}', "correct"),
        ({"type": "object", "properties": {"n": {"multipleOf": 0.1}}}, '{"n": 1e400}', "wrong"),
    ],
)
def test_multiples_are_exact(schema, text, said):
    assert asked("json_schema").judge([schema], {}, text) == said


@pytest.mark.parametrize("limit", LIMITS)
def test_no_number_raises_or_holds_a_schema_up(limit):
    schema = {"type": "array", "items": limit}
    for text in ("NaN", "Infinity", "1e400", "1e-999999999", "9" * 4_000, "-0", "9" * 5_000):
        for many in (1, 16_000 // (len(text) + 1)):
            with at_most(2):
                assert asked("json_schema").judge([schema], {}, f"[{','.join([text] * many)}]") in (
                    "correct", "wrong", "no_answer",
                )  # fmt: skip


def test_numbers_are_exact():
    assert last_number("1e-300") == Fraction(1, 10**300)
    assert last_number("1/3") == Fraction(1, 3)
    assert last_number("1,234,567") == 1_234_567
    assert last_number("٣") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".5", Fraction(1, 2)), ("-.5.", Fraction(-1, 2)), ("x = +.25", Fraction(1, 4)),
        ("1/2.5", Fraction(2, 5)), (".5/.5", Fraction(1, 2)), ("3/4.", Fraction(3, 4)),
        ("5.", 5), ("1,234.50.", Fraction(2469, 2)), ("1,234,", 1234), ("1, 2", 2),
        ("1,2345", 2345),
        ("10-.5", Fraction(1, 2)), ("3-5", 5), ("1.5e3.", 1500), ("1e-2", Fraction(1, 100)),
        ("1e0005", 100_000), ("1.5e4000", None), ("1/0", None), ("1e400.5", None), ("1.2.3", None),
        ("1,000.000.5", None), ("7 in 1.2.3", 7), ("1.000.000", None), ("1/2e3", None),
        ("1." + "0" * 301 + "5", None), ("1e-" + "9" * 5_000, None), ("1/" + "3" * 400, None),
        ("1" + ",111" * 200, None), ("1..5", 1), ("v.5", None), ("2 and 9" + "9" * 300, None),
    ],
)  # fmt: skip
def test_a_number_is_read_whole_or_not_at_all(text, value):
    assert last_number(text) == value


@pytest.mark.parametrize(
    "part", ["1", "1,", "1,111", ",111", "1.", ".1", "1e1", "1/", "1/1", "-", "-1", "٣", "e-1"]
)
def test_numbers_take_linear_time(part):
    for before in ("", "1", "1,111"):
        with at_most(2):
            last_number(before + part * (400_000 // len(part)))


def test_the_last_match_counts():
    assert last_match(pattern("#### (.*)"), "#### 1\n#### 2") == "2"
    assert last_match(pattern("[0-9]+"), "1 2") == "2"
    assert last_match(pattern("(a)|b"), "b") == "b"
    assert last_match(pattern("a"), "b") is None
