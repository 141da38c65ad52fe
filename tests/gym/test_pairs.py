"""The pairs that are shipped: both sides are made, and their reference answers are right.

Each answer is computed again from the question, without reasoning-gym.
"""

import ast
import datetime
import math
import operator
import re
from fractions import Fraction
from itertools import product

import pytest
import yaml
from runner import ROOT

from healscope.tasks import build, task_settings

PAIRS = sorted((ROOT / "config/gym").glob("*.yaml"))
LEGS = {
    **dict.fromkeys(("snake", "sea slug", "jellyfish", "flatworm", "leech"), 0),
    **dict.fromkeys(("chicken", "bird", "human", "duck"), 2),
    **dict.fromkeys(("dog", "cat", "cow", "horse", "lion", "elephant", "giraffe", "tiger"), 4),
    **dict.fromkeys(("deer", "sheep"), 4),
    **dict.fromkeys(("insect", "ant", "butterfly", "beetle", "bee", "wasp", "grasshopper"), 6),
    **dict.fromkeys(("cricket", "cockroach", "praying mantis", "firefly"), 6),
    **dict.fromkeys(("spider", "scorpion"), 8),
    **dict.fromkeys(("crab", "lobster", "shrimp"), 10),
    **{"starfish": 5, "woodlouse": 14},
}  # as reasoning-gym sees them
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
              ast.USub: operator.neg}  # fmt: skip


def task_of(file, **more):
    (section,) = yaml.safe_load(file.read_text())["tasks"].values()
    return build(file.stem, task_settings({**section, "generated": 40, **more}))


def computed(expression: str) -> int:
    def value(node):
        match node:
            case ast.Constant():
                return node.value
            case ast.UnaryOp():
                return _OPERATORS[type(node.op)](value(node.operand))
            case ast.BinOp():
                return _OPERATORS[type(node.op)](value(node.left), value(node.right))

    return value(ast.parse(expression.strip(), mode="eval").body)


def in_base(number: int, base: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (in_base(number // base, base) if number >= base else "") + digits[number % base]


def sum_of(question, metadata):
    return str(computed(re.search(r": (.*) =$", question)[1]))


def converted(question, metadata):
    plain = question.replace("binary", "base-2").replace("hexadecimal", "base-16")
    source, number, target = re.search(r"base-(\d+) number (\w+) to base-(\d+)", plain).groups()
    return in_base(int(number, int(source)), int(target))


def worded(question, metadata):
    expression = re.fullmatch(r"(?:Calculate|What is|Solve|Compute|Evaluate:) (.*?)[.?]", question)[
        1
    ]
    return str(computed(expression))


def backward(question, metadata):
    return question.split(": ")[-1][::-1]


def deciphered(question, metadata):
    text = re.search(r"cipher text: (.*)\. Provide", question)[1]
    back = {chr(65 + (i + metadata["rotation"]) % 26): chr(65 + i) for i in range(26)}
    return "".join(back.get(letter, letter) for letter in text)


def of_numbers(question, metadata):
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    return str((math.gcd if "GCD" in question else math.lcm)(*numbers))


def simplified(question, metadata):
    over = Fraction(*map(int, re.findall(r"\d+", question)))
    latex = "\\frac" in question
    form = r"$\frac{%d}{%d}$" if latex else "%d/%d"
    return form % (over.numerator, over.denominator)


def knights(question, metadata):
    """The only way to assign knights and knaves under which each says what it would."""

    def holds(said, are):
        head, *rest = said
        match head:
            case "telling-truth":
                return are[rest[0]]
            case "lying":
                return not are[rest[0]]
            case "not":
                return not holds(rest[0], are)
            case "and":
                return all(holds(part, are) for part in rest)
            case "or":
                return any(holds(part, are) for part in rest)
            case "->":
                return not holds(rest[0], are) or holds(rest[1], are)
            case "<=>":
                return holds(rest[0], are) == holds(rest[1], are)

    statements = metadata["statements"]
    found = [
        are
        for are in product([True, False], repeat=len(statements))
        if all(holds(said, are) == truth for said, truth in zip(statements, are, strict=True))
    ]
    ((*are,),) = found
    terms = metadata["knight_knave_terms"]
    said = [f"{name} is {terms['a_knight' if truth else 'a_knave']}"
            for name, truth in zip(metadata["names"], are, strict=True)]  # fmt: skip
    return (", ".join(said[:-1]) + f"{',' * (len(said) > 2)} and {said[-1]}.").replace(
        " and ", ", and " if len(said) == 2 else " and "
    )


def legs(question, metadata):
    told = re.search(r"if you have (.*)\?", question)[1]
    found = [re.fullmatch(r"(\d+) (.+)", part).groups() for part in told.split(", ")]
    return str(sum(int(n) * LEGS[name[: None if n == "1" else -1]] for n, name in found))


def dated(question, metadata):
    def day(name):
        return datetime.date.fromisoformat(metadata[name])

    if metadata["task"] == "weekday_of_date":
        return WEEKDAYS[day("target_date").weekday()]
    if metadata["task"] == "weekday_offset":
        return WEEKDAYS[(day("start_date") + datetime.timedelta(metadata["offset_days"])).weekday()]
    first, last = day("start_date"), day("end_date")
    days = (first + datetime.timedelta(n) for n in range((last - first).days + 1))
    wanted = WEEKDAYS.index(re.search(rf"({'|'.join(WEEKDAYS)})(?!,)", question)[1])
    return str(sum(d.weekday() == wanted for d in days))


AGAIN = {
    "more-terms": sum_of,
    "other-base": converted,
    "other-wording": worded,
    "longer-words": backward,
    "other-shift": deciphered,
    "divisors-to-multiples": of_numbers,
    "other-notation": simplified,
    "more-people": knights,
    "more-animals": legs,
    "other-question": dated,
}


def test_there_are_ten_and_each_is_checked():
    assert {file.stem for file in PAIRS} == set(AGAIN)
    assert len(PAIRS) == 10


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_both_sides_are_made_and_reference_answers_are_right(file):
    task = task_of(file, tags=False)
    checked = 0
    for rule in ("id", "ood"):
        for problem in task.listed(rule):
            made = task._generator(problem.data["group"])[problem.data["index"]]
            question = problem.data["question"].strip()
            assert problem.answer == AGAIN[file.stem](question, made["metadata"]), question
            checked += 1
            assert task.verify(problem, problem.answer).outcome == "correct"
    assert checked >= 40


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_the_problem_table_has_enough_and_the_rules_differ(file):
    task = task_of(file)
    table = task.problem_table()
    held_out = table[table["split"] == "held_out"]
    assert (held_out.groupby(["rule", "half"]).size() >= 4).all()
    assert set(held_out["rule"]) == {"id", "ood"}
    assert table["prompt"].is_unique
    groups = {p.data["group"] for p in task.listed("ood")}
    assert groups == set(task.ood)
    trained = {p.data["question"] for p in task.listed("id")
               if task.splits()[p.instance_id] == "train"}  # fmt: skip
    assert not trained & {p.data["question"] for p in task.listed("ood")}
