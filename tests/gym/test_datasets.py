"""Every data set of reasoning-gym is refused, or can be made, scored, and trusted with any text."""

import json
import os
import subprocess
import sys

import pytest
from reasoning_gym.factory import DATASETS
from runner import ROOT

from healscope.errors import HealscopeError
from healscope.tasks.contract import hostile
from healscope.tasks.contract.subject import TooSlow, at_most
from healscope.tasks.gym import generators
from healscope.tasks.gym.unfit import REASONS

USABLE = sorted(set(DATASETS) - set(REASONS))
OPTIONS = {"basic_arithmetic": {"operators": ["+", "-", "*"]}}
MARK = "healscope_was_here"
PROGRAMS = [
    f"__import__('{MARK}')", f"[__import__('{MARK}')]", f"{MARK}()", f"'{MARK}'", f"['{MARK}']",
    f"lambda: {MARK}", f"{{'{MARK}': 1}}", f'["{MARK}"]', f"1 + {MARK}", f"{MARK} = 1",
]  # fmt: skip
"""Texts that are compiled where somebody evaluates them."""
NUMBERS = [
    "9**9**9**9", "1e999999999", "1e-999999999", "nan", "inf", "-inf", "1/0", "9" * 4000,
    "1/" + "9" * 4000, "1 " * 2000, "1," * 2000, "(" * 2000, "[" * 900 + "]" * 900, "A=1," * 1000,
]  # fmt: skip
COMPILED: list[str] = []


def _listen(event: str, arguments: tuple) -> None:
    if event == "compile":
        COMPILED.append(str(arguments[0]))


sys.addaudithook(_listen)


def made(name: str, seed: int = 3):
    return generators.generator(name, OPTIONS.get(name, {}), seed, 20)


def test_every_refusal_is_of_a_data_set_that_there_is():
    assert set(REASONS) <= set(DATASETS)
    assert len(USABLE) == 81


@pytest.mark.parametrize("name", USABLE)
def test_a_reference_answer_is_right_and_that_of_another_problem_mostly_wrong(name):
    own = made(name)
    scores = [own.score(i, own[i]["answer"]) for i in range(6)]
    assert scores == [1.0] * 6
    pairs = [(i, j) for i in range(6) for j in range(12) if own[i]["answer"] != own[j]["answer"]]
    right = [own.score(i, own[j]["answer"]) == 1 for i, j in pairs]
    assert pairs
    assert sum(right) <= len(right) / 4


@pytest.mark.parametrize("name", USABLE)
def test_no_text_is_executed_or_taken_for_an_answer_or_needs_long(name):
    own = made(name)
    COMPILED.clear()
    answers = {own[i]["answer"] for i in range(20)}
    mutated = list(hostile.mutations(own[0]["answer"], sorted(answers), seed=0, n=10))
    for text in [*PROGRAMS, *NUMBERS, *hostile.FIXED, *mutated]:
        try:
            with at_most(2):
                score = own.score(0, text)
        except TooSlow:
            pytest.fail(f"more than two seconds on {text[:40]!r}")
        assert 0 <= score <= 1
        if text in (*PROGRAMS, *NUMBERS, *hostile.RUBBISH):
            assert score < 1, text[:40]
    assert not [source for source in COMPILED if MARK in source]


_THERE = """
import hashlib, json, random, sys
from healscope.tasks.gym import generators
random.seed(int(sys.argv[1]))
found = {}
for name, options in json.load(sys.stdin).items():
    own = generators.generator(name, options, 3, 20)
    told = [[own[i]["question"], own[i]["answer"]] for i in (4, 0, 1)]
    found[name] = hashlib.sha256(json.dumps(told).encode()).hexdigest()
print(json.dumps(found))
"""


def test_the_same_problems_are_made_in_every_process():
    """Whatever the hashes, the state of global random numbers, and what was made before."""
    names = {name: OPTIONS.get(name, {}) for name in USABLE}
    found = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _THERE, seed],
            input=json.dumps(names),
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1]
    assert set(found[0]) == set(USABLE)


def test_seeds_share_no_problems():
    """Problem i of reasoning-gym is drawn by seed + i: seeds one apart would share all but one."""
    one, other = made("chain_sum"), generators.generator("chain_sum", {}, 4, 20)
    questions = [{source[i]["question"] for i in range(20)} for source in (one, other)]
    assert not questions[0] & questions[1]


@pytest.mark.parametrize("name", sorted(REASONS))
def test_a_refused_data_set_says_why(name):
    with pytest.raises(HealscopeError, match=r"cannot be a task here: it"):
        made(name)


@pytest.mark.parametrize(
    ("dataset", "options", "expected"),
    [
        ("chain_sums", {}, "has no data set 'chain_sums'; near it are chain_sum"),
        ("chain_sum", {"terms": 3}, "options.terms: data set chain_sum of reasoning-gym has no"),
        ("chain_sum", {"min_terms": 9}, "refuses the options {'min_terms': 9} (AssertionError: "),
        ("chain_sum", {"seed": 1}, "options.seed: leave it out; the task's keys"),
        ("basic_arithmetic", {}, "where operators has '/', some reference answers"),
        ("basic_arithmetic", {"allow_parentheses": False}, "many reference answers are wrong"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_sentence(dataset, options, expected):
    with pytest.raises(HealscopeError) as error:
        generators.generator(dataset, options, 0, 5)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_reference_answers_are_really_wrong():
    """What `unfit.wrong_options` refuses: 7 * 4 - 0 * 0 - 2 - 10 is not -12."""
    import reasoning_gym

    made = reasoning_gym.create_dataset(
        "basic_arithmetic", operators=["+", "*"], allow_parentheses=False, seed=0, size=60,
        min_terms=3, max_terms=3,
    )  # fmt: skip
    wrong = 0
    for entry in made:
        first, one, second, other, third = entry["metadata"]["expression"].split()
        a, b, c = map(int, (first, second, third))
        right = {"++": a + b + c, "+*": a + b * c, "*+": a * b + c, "**": a * b * c}[one + other]
        wrong += right != int(entry["answer"])
    assert wrong > 5


def test_only_the_reviewed_version_is_used(monkeypatch):
    monkeypatch.setattr(generators, "REVIEWED", "0.1.99")
    with pytest.raises(HealscopeError, match="reviewed in 0.1.99 only"):
        generators.version()
