"""What every task has to keep: kept by every family that is built in, and missed where it is not.

A family that is added is covered by itself; one that needs an option has it in OPTIONS.
"""

import re
from pathlib import Path
from typing import get_args

import pytest
from targets import later

from healscope import cli
from healscope.tasks import contract, families
from healscope.tasks.contract.checks import CHECKS
from healscope.tasks.section import section_of

FILES = Path(__file__).parents[2] / "config/your-data"
OPTIONS: dict[str, dict] = {
    "generalpoints": {"cards": 3, "targets": [12, 24], "orders": 1},
    "rank": {  # of numbers that have words
        "id": {"rows": 2, "columns": 4, "low": -1, "high": 1},
        "ood": {"rows": 4, "columns": 2, "low": -1, "high": 1},
        **{"ranks": [0, 1, 2], "matrices": 200},
    },
    "determinant": {"matrices": 200},
    "navigation": {"generated": 40},
    "data": {
        **{key: f"{FILES}/{name}.jsonl" for key, name in (("sft", "train"), ("id", "heldout"))},
        "ood": {name: f"{FILES}/{name}.jsonl" for name in ("german", "long")},
        **{"prompt": "question", "verdict": "number"},
    },
    "text": {"file": str(Path(__file__).parents[2] / "README.md")},
}
"""family -> options with which it is checked, where its own are not what a test wants."""
ELSEWHERE = {
    "lm_eval": "tests/lm_eval/test_contract.py",
    "gym": "tests/gym/test_contract.py",
}
"""Families that need what is not installed here -> the tests that check them so."""


def _renderings():
    for family, cls in families().items():
        if family in ELSEWHERE:
            continue
        section = section_of(cls)
        field = section.model_fields.get("rendering")
        for rendering in get_args(field.annotation) if field else [None]:
            usual = rendering == "compact" and family in ("generalpoints", "determinant")
            name = f"{family}-{rendering or section.rendering}"
            marks = () if usual or not field else pytest.mark.long
            yield pytest.param(family, rendering, id=name, marks=marks)


@pytest.mark.parametrize(("family", "rendering"), _renderings())
def test_a_family_keeps_the_contract(family, rendering):
    checked = contract.opened(contract.section(family, OPTIONS.get(family, {}), rendering))
    wrong = {found.name: found.wrong[:5] for found in contract.findings(checked) if found.wrong}
    assert not wrong


def test_the_released_verifier_keeps_the_contract():
    options = {**OPTIONS["generalpoints"], "verifier": "reference", "grade_number_line": False}
    checked = contract.opened(contract.section("generalpoints", options, "json"))
    some = [check for check in CHECKS if check.__name__ in ("verdicts", "hostile_text")]
    assert not [found.wrong[:5] for found in contract.findings(checked, some) if found.wrong]


def test_families_that_are_checked_elsewhere_are():
    root = Path(__file__).parents[2]
    for family, file in ELSEWHERE.items():
        assert f'"family": "{family}"' in (root / file).read_text()
    assert set(ELSEWHERE) | set(OPTIONS) <= set(families())


GOOD = '''
import math, random, re
from dataclasses import dataclass
from itertools import count

from healscope.tasks.task import MAX_RESPONSE, Feedback, Problem, Task, Verdict


@dataclass(frozen=True, kw_only=True)
class Good(Task):
    """The digits of a number, backwards, or upwards."""

    def problems(self, rule):
        for n in range(100, 160):
            ordered = str(n)[::-1] if rule == "id" else "".join(sorted(str(n)))
            yield Problem(str(n), rule, {"n": n, "rule": rule}, " ".join(ordered))

    def render(self, problem):
        asked = "backwards" if problem.data["rule"] == "id" else "upwards"
        return f"{asked} {' '.join(str(problem.data['n']))}"

    def verify(self, problem, text):
        if len(text) > MAX_RESPONSE or not text.split():
            return self.verdict("no_answer")
        same = text.split() == problem.answer.split()
        return self.verdict("correct" if same else "wrong")

    def hint(self, problem, text):
        return Feedback(problem.answer.split()[0])


'''


def broken(tmp_path, body: str) -> str:
    """A file whose task is the good one but for `body`."""
    file = tmp_path / "broken.py"
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    file.write_text(f"{GOOD}class Broken(Good):\n{lines}\n")
    return str(file)


def found(file: str, check: str, rendering: str = "compact", patience: float = 20.0) -> list[str]:
    checked = contract.opened(contract.section(file, {}, rendering), patience)
    (only,) = contract.findings(checked, [c for c in CHECKS if c.__name__ == check])
    return only.wrong


@pytest.mark.parametrize("rendering", ["compact", later("json")])
def test_a_good_task_keeps_the_contract(tmp_path, rendering):
    file = broken(tmp_path, "pass")
    for check in CHECKS:
        assert not found(file, check.__name__, rendering), check.__name__


RAISING = """
def verify(self, problem, text):
    if len(text) > MAX_RESPONSE:
        return self.verdict("no_answer")
    return self.verdict("correct" if {} else "wrong")
"""

BROKEN = [
    (
        "problems",
        "def problems(self, rule): return [p for p in super().problems(rule) if rule == 'id']",
        'problems("ood") yields none',
    ),
    (
        "problems",
        "def problems(self, rule): return super().problems('id')",
        '100/0:id: problems("ood") yields it, and its rule is another',
    ),
    (
        "problems",
        "def problems(self, rule): return [*super().problems(rule), *super().problems(rule)]",
        "100/0:id: 2 problems have this id; number the problems of an instance",
    ),
    (
        "plain_data",
        "def problems(self, rule):\n"
        "    for p in super().problems(rule):\n"
        "        yield Problem(p.instance_id, rule, {**p.data, 'digits': (1, 2)}, p.answer)",
        "100/0:id: its data comes back as another from JSON",
    ),
    (
        "plain_data",
        "def problems(self, rule):\n"
        "    for p in super().problems(rule):\n"
        "        yield Problem(p.instance_id, rule, {**p.data, 'digits': {1, 2}}, p.answer)",
        "100/0:id: its data is no JSON (Object of type set",
    ),
    (
        "plain_data",
        "def problems(self, rule):\n"
        "    for p in super().problems(rule):\n"
        "        yield Problem(p.instance_id, rule, {**p.data, 'x': math.nan}, p.answer)",
        "100/0:id: its data is no JSON (Out of range float values",
    ),
    (
        "plain_data",
        "def read(self, row):\n"
        "    p = super().read(row)\n"
        "    return Problem(p.instance_id, p.rule, {**p.data, 'n': 100}, p.answer)",
        "read from its row it is another one",
    ),
    (
        "prompts",
        "def render(self, problem): return ' '.join(str(problem.data['n']))",
        "100/0:ood: the same prompt as 100/0:id",
    ),
    (
        "prompts",
        "def prompt(self, problem, format_token='fD'): return ''",
        "100/0:id: its prompt is ''; it must be text",
    ),
    (
        "prompts",
        "def render(self, problem): return super().render(problem).replace(' ', '  ')",
        "100/0:id: compact words stand one space apart",
    ),
    (
        "prompts",
        "def paraphrases(self, problem): return ['say it otherwise']",
        "100/0:id: the first of its paraphrases is not its prompt",
    ),
    (
        "reference_answers",
        "def verify(self, problem, text):\n"
        "    return self.verdict('wrong' if '7' in text else 'correct')",
        "107/0:id: its own answer '7 0 1' is judged wrong",
    ),
    (
        "reference_answers",
        "def answers(self, problem): return [problem.answer, problem.answer + ' 0']",
        "'0 0 1 0' is one of answers() and judged wrong",
    ),
    (
        "reference_answers",
        "def canonical(self, problem, text): return False",
        "100/0:id: canonical() is False of its own answer",
    ),
    (
        "other_answers",
        "def verify(self, problem, text): return self.verdict('correct' if text else 'no_answer')",
        "answers of other problems are judged correct, as ",
    ),
    (
        "other_answers",
        "def verify(self, problem, text):\n"
        "    return super().verify(problem, text or problem.answer)",
        "100/0:id: an empty response is judged correct",
    ),
    (
        "other_answers",
        "def problems(self, rule):\n"
        "    for p in super().problems(rule): yield Problem(p.instance_id, rule, p.data, '1')",
        "all problems have the same answer",
    ),
    (
        "rules",
        "def problems(self, rule):\n"
        "    for p in super().problems('id'):\n"
        "        yield Problem(p.instance_id, rule, {**p.data, 'rule': rule}, p.answer)",
        "the ID answer is right under the OOD rule of all 60 pairs, as of 100/0:ood",
    ),
    (
        "verdicts",
        "def verify(self, problem, text): return Verdict('splendid', 1.0, True)",
        "outcome 'splendid', which is not in its outcomes (correct, wrong, no_answer)",
    ),
    (
        "verdicts",
        "def verify(self, problem, text): return Verdict('wrong', 3.0, True)",
        "wrong with reward 3.0, which should be -0.5",
    ),
    (
        "verdicts",
        "def verify(self, problem, text): return Verdict('correct', -1.0, True)",
        "correct with reward -1.0, which should be 1.0",
    ),
    (
        "verdicts",
        "def verify(self, problem, text): return True",
        "a bool, no Verdict; return self.verdict(outcome)",
    ),
    (
        "verdicts",
        "def verify(self, problem, text): return super().verify(problem, text)._replace(parsed=1)",
        "parsed 1, which must be True or False",
    ),
    (
        "hostile_text",
        RAISING.format("[int(w) for w in text.split()] == [0, 0, 1]"),
        "verify() raised ValueError",
    ),
    (
        "hostile_text",
        "def verify(self, problem, text):\n"
        "    import json\n"
        "    try: said = json.loads(text[:MAX_RESPONSE])\n"
        "    except ValueError: said = None\n"
        "    return self.verdict('wrong')",
        "verify() raised RecursionError",
    ),
    (
        "hostile_text",
        RAISING.format("len(text) > 4000 and text.isdigit()"),
        "…  is judged correct".replace("  ", " "),
    ),
    (
        "hostile_text",
        RAISING.format(r"re.fullmatch('(([0-9]+) ?)+x', text)"),
        "the verifier is still at work after 0.5 s on ",
    ),
    (
        "long_text",
        "def verify(self, problem, text):\n"
        "    return self.verdict('correct' if text.strip() == problem.answer else 'wrong')",
        "100/0:id: correct with 16389 characters; begin verify() with: if len(text) > MAX_RESP",
    ),
    (
        "hold_out",
        "def splits(self):\n"
        "    return {p.instance_id: random.choice(['train', 'held_out'])\n"
        "            for p in self.problems('id')}",
        "splits() of the same task are not the same each time",
    ),
    (
        "hold_out",
        "def splits(self):\n"
        "    return {p.instance_id: 'held_out' if p.instance_id < '110' else 'train'\n"
        "            for p in self.problems('id')}",
        "10 of 60 instances are held out, not the share 0.4",
    ),
    (
        "hold_out",
        "def splits(self):\n"
        "    return {k: v.replace('train', 'seen') for k, v in super().splits().items()}",
        "splits() has seen; a side is train or held_out",
    ),
    (
        "hold_out",
        "def sft_table(self): return self.problem_table()",
        "held out, and in what SFT draws from",
    ),
    (
        "hold_out",
        "def rl_table(self):\n"
        "    table = self.problem_table()\n"
        "    return table[table['split'] == 'train']",
        "RL draws from rule ood; only ID is trained on",
    ),
    (
        "same_everywhere",
        "def problems(self, rule):\n"
        "    there = {p.answer: p for p in super().problems(rule)}\n"
        "    return [there[answer] for answer in set(there)]",
        "not the same in another process; draw by self.stream(...), and sort what comes from a set",
    ),
    (
        "same_everywhere",
        "def __post_init__(self):\n    if self.name == 'elsewhere': raise ValueError('only here')",
        "in a process of its own the task cannot be made: ",
    ),
    (
        "vocabulary",
        "def words(self): return [w for w in super().words() if w != 'upwards']",
        "100/0:ood: 'upwards' is not in words(); add it there",
    ),
    (
        "vocabulary",
        "def words(self): return [*super().words(), 'again']",
        "'again': words() must give each word once, without spaces",
    ),
    (
        "vocabulary",
        "def layout(self, problem, answer, format_token): return f'{format_token}: {answer}'",
        "100/0:id: 'fA:' is not in words(); add it there",
    ),
    (
        "feedback",
        "def hint(self, problem, text): return Feedback(text.split()[0])",
        "after '' feedback of level 'full' raised IndexError",
    ),
    (
        "feedback",
        "def hint(self, problem, text): return Feedback('mind the order')",
        "feedback of level 'full' has 'mind', which is not in words()",
    ),
    (
        "feedback",
        "def feedback(self, problem, verdict, text, level): return 'no'",
        "feedback of level 'none' raised AttributeError",
    ),
    (
        "feedback",
        "def progress(self, problem, text): return len(text)",
        "which must lie between 0 and 1",
    ),
    (
        "pretraining",
        "def draw(self, kind, rng):\n"
        "    p = super().draw(kind, rng)\n"
        "    return Problem(p.instance_id, p.rule, p.data, p.answer[::-1] + ' 0')\n"
        "def verify(self, problem, text):\n"
        "    right = {p.problem_id: p.answer for p in self.problems(problem.rule)}\n"
        "    same = text == right[problem.problem_id]\n"
        "    return self.verdict('correct' if same else 'wrong')",
        "drawn for 'id', its own answer is not correct",
    ),
    (
        "hostile_text",
        "def solution(self, problem, text): return str(int(text[:1] or 0))",
        "solution() raised ValueError",
    ),
    (
        "hostile_text",
        "def alive(self, problem, text):\n    for _ in count(): pass",
        "alive() raised nothing, but did not come to an end",
    ),
    (
        "pretraining",
        "def draw(self, kind, rng): return random.choice(list(self.problems(kind)))",
        "examples() are not the same from the same seed",
    ),
    (
        "pretraining",
        "def draw(self, kind, rng):\n"
        "    p = super().draw(kind, rng)\n"
        "    return Problem(p.instance_id, p.rule, {**p.data, 'n': 'xyz'}, p.answer)",
        "'x' is not in words(); add it there",
    ),
    (
        "pretraining",
        "def neutral_prompts(self, n, seed): return ['what is the capital of Portugal']",
        "'Portugal' is not in words(); add it there",
    ),
]


@pytest.mark.parametrize(
    ("check", "body", "expected"), BROKEN, ids=[f"{c}-{e[:40]}" for c, _, e in BROKEN]
)
def test_a_broken_task_is_found_out(tmp_path, check, body, expected):
    wrong = found(broken(tmp_path, body), check, patience=0.5)
    assert any(expected in sentence for sentence in wrong), wrong
    assert all(len(sentence.splitlines()) == 1 for sentence in wrong)


def test_every_check_is_seen_to_fail():
    assert {check for check, _, _ in BROKEN} == {check.__name__ for check in CHECKS}


def test_problems_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("healscope.tasks.contract.subject.MOST", 500)
    body = "def problems(self, rule): return (Problem(str(i), rule, {}, '1') for i in count())"
    assert found(broken(tmp_path, body), "problems") == [
        'problems("id") yields more than 500 problems'
    ]


def test_the_command_prints_a_report_and_says_by_its_status_whether_all_holds(tmp_path, capsys):
    file = broken(tmp_path, "pass")
    assert cli.main(["check-task", file, "--rendering", "compact"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(
        "broken.py, compact: 60 ID and 60 OOD problems, prompts of 5 words, answers of 3 "
        "(evaluation.max_new_tokens: 4 or more)"
    )
    assert [line[:5] for line in said[1:-1]] == ["ok   "] * len(CHECKS)
    assert said[-1] == f"{len(CHECKS)} checks, all of them hold"

    file = broken(tmp_path, "def words(self): return []")
    assert cli.main(["check-task", file, "--rendering", "compact"]) == 1
    said = capsys.readouterr().out.splitlines()
    at = said.index("FAIL  vocabulary")
    assert said[at + 1] == "        100/0:id: 'backwards' is not in words(); add it there"
    assert said[at + 4].startswith("        and ")
    assert cli.main(["check-task", file]) == 0  # JSON needs no words


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def problems(self, rule): return [int('x')]", "the task raised ValueError ("),
        ("def problems(self, rule): return [{'n': 1}]", "the task raised AttributeError ("),
        ("def render(self, problem): return 1 / 0", "the task raised ZeroDivisionError ("),
        ("def render(self, problem): return None", "its prompt is None; it must be text"),
        ("def verify(self, problem, text): raise SystemExit(0)", "the task raised SystemExit (0)"),
    ],
)
def test_whatever_a_task_raises_is_a_failure(tmp_path, capsys, body, expected):
    assert cli.main(["check-task", broken(tmp_path, body)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert any(expected in line for line in said)
    assert re.fullmatch(r"\d+ checks, \d+ of them failed", said[-1])


def test_a_task_that_ends_the_program_is_no_result(tmp_path, capsys):
    file = broken(tmp_path, "def __post_init__(self): raise SystemExit(0)")
    assert cli.main(["check-task", file]) == 1
    assert "the task ended the program (SystemExit: 0)" in capsys.readouterr().err


def test_the_command_passes_options_on(tmp_path, capsys):
    file = broken(tmp_path, "pass")
    assert cli.main(["check-task", file, "--option", "held_out=0.9", "--option", "seed=3"]) == 0
    assert cli.main(["check-task", file, "--option", "modulus=3"]) == 1
    assert "options.modulus: " in capsys.readouterr().err
    assert cli.main(["check-task", file, "--option", "modulus"]) == 1
    assert "--option modulus: give it as key=value" in capsys.readouterr().err
    assert cli.main(["check-task", "generalpoints", "--option", "cards=9"]) == 1
    assert "cards: Input should be less than or equal to 4" in capsys.readouterr().err
