"""Problems as those of MATH: the answer is in the last box of a solution, and rows are chosen by
level and type. config/math-style has some."""

import json
from pathlib import Path

import pytest
import yaml

from healscope.cli import main
from healscope.config import load
from healscope.tasks import build
from healscope.tasks.contract.subject import at_most

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/math-style.example.yaml"
ROWS = {
    row["problem"]: row
    for name in ("train", "test")
    for row in map(json.loads, (ROOT / f"config/math-style/{name}.jsonl").read_text().splitlines())
}
SAID = {
    "Solve $3x": (["$x = 5$", "\\boxed{\\frac{10}{2}}"], ["22", "$3x = 15$"]),
    "What is the sum": (["\\boxed{\\frac34}", "0.75"], ["\\boxed{\\frac{1}{12}}"]),
    "Factor $x^2": (["\\boxed{(5-x)(4-x)}"], ["\\boxed{x^2 - 9x + 20}", "\\boxed{(x-4)}"]),
    "For which $x$": (["$(-\\infty,4]$"], ["$(-\\infty,4)$", "$[4,\\infty)$"]),
    "Find all real $x$": (["\\boxed{5,1}", "$\\{1, 5\\}$"], ["\\boxed{1}", "\\boxed{1, 5, 6}"]),
    "A line has": (["$y = \\frac{x}{2} - 1$", "\\boxed{y=0.5x-1}"], ["$y = 2x - 1$"]),
    "Let $f(t)": (["\\boxed{Monday}", "\\boxed{\\textbf{Monday}}"], ["\\boxed{\\text{Tuesday}}"]),
    "Find the largest": (["$k = 4$", "\\boxed 4"], ["\\boxed{-4}", "\\boxed{x^4 + 4}"]),
    "Solve $5y": (["\\boxed{7}", "\\fbox{7}", "7"], ["\\boxed{7.1}"]),
    "What is $\\frac{7}{10}$": (["\\boxed{21.0}"], ["\\boxed{\\frac{7}{10}}"]),
    "Solve $|x": (["\\boxed{(1, 5)}"], ["\\boxed{[1, 5]}", "\\boxed{|x - 3| < 2}"]),
    "Find all $x$": (["$(-\\infty,-3]\\cup[3,\\infty)$"], ["\\boxed{[-3, 3]}"]),
    "The roots": (["\\boxed{7+\\sqrt{50}}"], ["\\boxed{14.07}", "\\boxed{a^3}"]),
    "How many": (["\\boxed{even}"], ["\\boxed{\\text{odd}}", "\\boxed{6}"]),
    "A right triangle": (["\\boxed{10}"], ["\\boxed{6 \\text{ cm}}"]),
    "A circle": (["$\\frac{25}{4}\\pi$", "\\boxed{6.25\\pi}"], ["\\boxed{\\frac{25}{4}}"]),
    "An angle": (["\\boxed{70}"], ["\\boxed{110^\\circ}"]),
    "Which matrix": (
        ["$\\begin{bmatrix}0&-1\\\\1&0\\end{bmatrix}$"],
        ["$\\begin{pmatrix}0&1\\\\-1&0\\end{pmatrix}$", "\\boxed{90^\\circ}"],
    ),
    "A sphere": (["\\boxed{\\frac{56\\pi}{6}}"], ["\\boxed{\\frac{28}{3}}"]),
    "A regular": (["\\boxed{\\sqrt{24}}"], ["\\boxed{4.9}"]),
    "Two similar": (["$0.75$", "\\boxed{\\frac{6}{8}}"], ["\\boxed{\\sqrt{\\frac{9}{16}}+1}"]),
}
"""How a problem begins -> responses that are right, and some that are wrong."""
HOSTILE = [
    *("", "\\boxed{}", "\\boxed{" * 2000, "\\boxed{" + "{" * 10_000, "}" * 10_000, "\\boxed"),
    *("\\boxed{" + "{" * 5_000 + "5" + "}" * 5_000 + "}", "{" * 8_000 + "}" * 8_000, "\\boxed{\\"),
    *("\\boxed{5^{5^{5^{5^{5}}}}}", "\\boxed{10^{999999999}}", "\\boxed{(10^{999})^{999}}"),
    *("\\boxed{9^{99!}}", "$" * 10_000, "\\boxed{" + "\\frac{1}{" * 100 + "2" + "}" * 101),
    *("\\boxed{\\left(\\left(}", "\\boxed{\\begin{pmatrix}}", "\\boxed{\x00}", "\\boxed{1/0}"),
    *("\\boxed{__import__('os').system('true')}", "\\boxed{\\input{/etc/passwd}}"),
]


@pytest.fixture(scope="module")
def study():
    return yaml.safe_load(EXAMPLE.read_text())


@pytest.fixture(scope="module")
def problems(study):
    """Every row as a problem of a task without filters: problem -> (task, problem)."""
    sources = {side: {"file": str(ROOT / f"config/math-style/{name}.jsonl")}
               for side, name in (("id", "train"), ("ood", "test"))}  # fmt: skip
    task = build("all", study["tasks"]["algebra"] | sources | {"sft": None})
    found = [p for rule in ("id", "ood") for p in task.problems(rule)]
    return {p.data["prompt"].partition("\nReason")[0]: (task, p) for p in found}


def test_the_example_is_sound(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert load(yaml.safe_load(EXAMPLE.read_text())).train_on == "algebra"
    assert main(["check-task", "algebra", "--configfile", str(EXAMPLE)]) == 0
    assert "14 checks, all of them hold" in capsys.readouterr().out


def test_level_and_type_choose_what_is_trained_on_and_what_is_asked(monkeypatch, study):
    monkeypatch.chdir(ROOT)
    task = build("algebra", study["tasks"]["algebra"])
    trained = [ROWS[p.partition("\nReason")[0]] for p in task.sft_table()["prompt"]]
    assert {(row["type"], row["level"]) for row in trained} == {
        ("Algebra", f"Level {n}") for n in (1, 2, 3)
    }
    assert [row["solution"] for row in trained] == list(task.sft_table()["response"])
    asked = task.problem_table().query("split == 'held_out' and rule == 'ood'")
    assert asked.groupby("group").size().to_dict() == {
        "harder/Level 5": 3,
        "geometry/Level 1": 1,
        "geometry/Level 2": 2,
        "geometry/Level 3": 1,
        "harder-geometry/Level 5": 3,
    }


def test_every_row_has_responses_below(problems):
    beginnings = [[s for s in SAID if problem.startswith(s)] for problem in problems]
    assert sorted(s for (s,) in beginnings) == sorted(SAID)


@pytest.mark.parametrize("start", SAID)
def test_verdicts_are_those_of_the_last_box(problems, start):
    task, problem = next(found for text, found in problems.items() if text.startswith(start))
    whole = problem.data["prompt"]
    right, wrong = SAID[start]
    solution = ROWS[whole.partition("\nReason")[0]]["solution"]
    for text in (
        solution,
        *right,
        f"{whole}\n{right[0]}",
        f"\\boxed{{3{right[0]}}} no: {solution}",
    ):
        assert task.verify(problem, text).outcome == "correct", text
    for text in wrong:
        assert task.verify(problem, text).outcome == "wrong", text
    two = f"{solution} Or rather \\boxed{{\\text{{none}}}}"
    assert task.verify(problem, two).outcome == "wrong"


def test_the_problem_alone_is_no_answer(problems):
    for text, (task, problem) in problems.items():
        assert task.verify(problem, problem.data["prompt"]).outcome == "no_answer"
        assert task.verify(problem, text).outcome != "correct", text


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_hostile_answers_are_judged_soon(problems, text):
    for task, problem in problems.values():
        with at_most(5):
            assert task.verify(problem, text).outcome in ("wrong", "no_answer")
