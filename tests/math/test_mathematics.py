"""Verdict `math`: the same mathematics is right however it is written, and nothing holds it up."""

import threading

import pytest

from healscope.tasks.contract import hostile
from healscope.tasks.contract.subject import at_most
from healscope.tasks.data import mathematics
from healscope.tasks.data.sources import Asked, Source
from healscope.tasks.data.verdicts import Setting

SAME = [
    ("1/2", "0.5"),
    ("\\frac{1}{2}", "The answer is $\\frac{2}{4}$."),
    ("x^2+2x+1", "so it is \\boxed{(x+1)^2}"),
    ("\\sqrt{8}", "\\(2\\sqrt{2}\\)"),
    ("42", "There are 42 of them"),
    ("1,234", "The result: 1234"),
    ("(1, 2)", "$(1,2)$"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "$\\begin{pmatrix}1\\\\2\\end{pmatrix}$"),
    ("\\infty", "$\\infty$"),
    ("5!", "120"),
    ("-3", "Answer: \u22123"),
    ("2^{10}", "1024"),
    ("10,\\!000", "10000"),
    ("\\binom{5}{2}", "10"),
]
OTHER = [("1/2", "0.51"), ("x+1", "$x+2$"), ("42", "24"), ("(1, 2)", "$(2,1)$"), ("42", "seven")]


def judged(answer: str, text: str) -> str:
    return Asked("id", Source(file="x.jsonl", verdict="math"), [], Setting()).judge(
        [answer], {}, text
    )


@pytest.mark.parametrize(("answer", "text"), SAME)
def test_the_same_mathematics_is_right(answer, text):
    assert judged(answer, text) == "correct"


@pytest.mark.parametrize(("answer", "text"), OTHER)
def test_other_mathematics_is_not(answer, text):
    assert judged(answer, text) != "correct"


@pytest.mark.parametrize(
    "answer", ["", "some words alone", "so \\boxed{}", "so \\boxed{\\frac{1}{2}"]
)
def test_what_has_no_formula_cannot_be_an_answer(answer):
    with pytest.raises(ValueError, match="there is no formula in it"):
        mathematics.prepare(answer, None)


def test_an_answer_that_is_too_large_is_right_only_as_it_is_written():
    with at_most(5):
        assert judged("so \\boxed{9^{9^{9}}}", "it is $9^{9^ {9}}$") == "correct"
        assert judged("so \\boxed{9^{9^{9}}}", "it is $9^{387420489}$") != "correct"
        assert judged("so \\boxed{9^{9^{9}}}", "it is 7") == "wrong"


LARGE = [
    *("$9^{9^{9^{9}}}$", "$9^9^9^9$", "9**9**9**9", "\\boxed{10^{100000000}}", "$2^{(99999)}$"),
    *("$99999999!$", "$((9!)!)!$", "$10!^{10!}$", "$1000000^{999}^{999}$", "\\boxed{" * 400 + "1"),
    *(
        "$\\sum_{n=1}^{999} n!$",
        "$\\int_0^1 x^{x^{x}} dx$",
        "$\\binom{99999}{5000}$",
        "$e^{9999999}$",
    ),
    *("$" + "(1+" * 90 + "1" + ")" * 90 + "$", "$" + "(x+1)^9" * 40 + "$", "$(x+y+z+w+1)^{999}$"),
    *("$" + "9^" * 100 + "9$", "$\\sqrt{" * 60 + "2" + "}" * 60 + "$", "$x^{99}" * 12 + "$"),
    *(
        "$(9^{99})^{99}$",
        "$\\left(9^{999}\\right)^{999}$",
        "$9^{9\\cdot 10^9}$",
        "$9^{99 \\times 99999}$",
    ),
    *("$9^{(99)(99)(99)(99)}$", "$9^{9 9 9 9 9 9}$", "$9^{0.9e9}$", "$9^{\\frac{99999}{1}}$"),
    *("$9^{99!}$", "$9^{\\binom{30}{15}}$", "\\boxed{" + "{" * 100 + "7" + "}" * 100 + "}"),
]


@pytest.mark.parametrize("text", LARGE, ids=lambda text: text[:24])
def test_no_large_formula_is_computed(text):
    with at_most(5):
        assert judged("42", text) in ("wrong", "no_answer")


def test_no_text_raises_or_holds_it_up():
    for answer in ("42", "x^2+1"):
        for text in (*hostile.texts(seed=4, n=60), *hostile.mutations(answer, ["7", "y"], 5)):
            with at_most(60):
                judged(answer, text)


def test_it_judges_outside_of_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(judged("1/2", "$0.50$")))
    thread.start()
    thread.join()
    assert found == ["correct"]
