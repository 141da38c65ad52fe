"""Random and hostile responses, for the tests and benchmarks of the verifier."""

import json
from collections.abc import Callable, Iterator
from random import Random

from healscope.tasks.cards.game import RANKS, CardProblem, make_problem, prompt, response
from healscope.tasks.cards.generalpoints import GeneralPoints
from healscope.tasks.cards.solver import formulas

Case = tuple[GeneralPoints, CardProblem, str]

TARGETS = (8, 12, 16, 18, 20, 24)
TASKS = tuple(
    GeneralPoints(
        name=f"{rendering}-{verifier}-{graded}",
        cards=cards,
        targets=targets,
        rendering=rendering,
        verifier=verifier,
        grade_number_line=graded,
    )
    for rendering, cards, targets in (("json", 4, (24,)), ("compact", 3, TARGETS))
    for verifier, graded in (("tolerant", False), ("tolerant", True), ("reference", False))
)

LETTERS = "{}[]()\"':,.+-*/= \t\n0123456789eE_\\\x00×÷−٨½²ü\u200b\u202e\ud800\U0001f0cf"
WORDS = (
    *("cards", "number", "formula", "=", "(", ")", "+", "-", "*", "/", "again", "wrong"),
    *('"formula":', '"number":', "'formula':", '"cards":', "[", "]", "{", "}", '"', "'", ","),
    *RANKS,
    *("0", "11", "12", "13", "24", "-1", "1e9", "NaN", "Infinity", "true", "null", "٨", "08"),
)
NEEDLES = (
    *("[", "(", "{", "-", " ", "9", "(1+", "((", "()", "1/0*", "\n", "\\", "\\u", "\ud800", "×"),
    *(
        '{"a":',
        '[{"a":',
        '"formula":',
        '"formula": "',
        "'formula': '",
        '"formula":\'',
        "'number':[",
    ),
    *('{"formula":', "formula ", "number ", "cards ", "= ", "1 ", '"number": [1,', '", "'),
    *("<think>", "</think>", "<|end_of_thought|>", "[THINK][/THINK]", "```json\n", "/*", "//", "#"),
    *(
        '{"a":[1 ',
        "{'",
        '{"answer":{',
        "\\frac{",
        "\\frac{1}{",
        "\\ud83d",
        '{"a":1}',
        "[(",
        "$",
        "＝",
    ),
)


def hostile_responses(n: int, seed: int) -> Iterator[Case]:
    """n (task, problem, response) cases, of both renderings and all kinds of verifier."""
    rng = Random(seed)
    for _ in range(n):
        task = rng.choice(TASKS)
        problem = _problem(task, rng)
        yield task, problem, rng.choice(_KINDS)(task, problem, rng)


def _problem(task: GeneralPoints, rng: Random) -> CardProblem:
    cards = [rng.choice(RANKS) for _ in range(task.cards)]
    return make_problem(task, cards, rng.choice(("id", "ood")), rng.choice(task.targets))


def _bytes(task, problem, rng: Random) -> str:
    return rng.randbytes(rng.randrange(400)).decode("utf-8", rng.choice(("replace", "ignore")))


def _unicode(task, problem, rng: Random) -> str:
    return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(200)))


def _letters(task, problem, rng: Random) -> str:
    return "".join(rng.choices(LETTERS, k=rng.randrange(300)))


def _words(task, problem, rng: Random) -> str:
    return rng.choice((" ", "")).join(rng.choices(WORDS, k=rng.randrange(80)))


def _repeats(task, problem, rng: Random) -> str:
    """Deep nesting, and what a careless search rereads again and again."""
    needle = rng.choice(NEEDLES)
    long = needle * (rng.choice((100, 2_000, 16_000, 40_000)) // len(needle))
    return rng.choice(("", '{"formula": "', '{"number": [', '{"formula": ')) + long + _tail(rng)


def _numbers(task, problem, rng: Random) -> str:
    """Huge numbers, zero divisions, and long but legal formulas."""
    digits = rng.choice((1, 2, 6, 7, 100, 4_000, 5_000))
    number = str(rng.randint(0, 9)) * digits
    formula = rng.choice(
        (
            number,
            f"{number}/0",
            f"1/({number}-{number})",
            "*".join([number] * rng.randint(1, 40)),
            "/".join(["999999"] * rng.randint(1, 34)),
            "".join(f"{rng.randrange(10**6)}{rng.choice('+-*/')}" for _ in range(31)) + "7",
            "(" * 31 + "1" + ")" * 31,
            "(" * rng.randint(1, 40) + number,
        )
    )
    line = [rng.choice((number, *map(str, problem.values))) for _ in range(rng.randrange(70))]
    if task.rendering == "json":
        return f'{{"number": [{", ".join(line)}], "formula": "{formula}={problem.target}"}}'
    spaced = " ".join(formula) if digits == 1 else formula
    cards = " ".join(problem.cards)
    words = " ".join(line[: task.cards])
    return f"cards {cards} number {words} formula {spaced} = {problem.target}"


def _odd_json(task, problem, rng: Random) -> str:
    """Repeated keys, wrong types, and JSON that is broken halfway."""
    scalars = (None, True, 1, -1, 1.5, 1e300, "", "24", "8/(3-8/3)", "\ud800", list(problem.values))

    def value(depth: int):
        kind = rng.random()
        if depth == 0 or kind < 0.5:
            return rng.choice(scalars)
        if kind < 0.75:
            return [value(depth - 1) for _ in range(rng.randrange(5))]
        return {rng.choice(("formula", "number", "a")): value(depth - 1) for _ in range(3)}

    keys = rng.choices(("formula", "number", "cards", "Formula", ""), k=rng.randrange(6))
    members = [f"{json.dumps(key)}: {json.dumps(value(4))}" for key in keys]
    text = "{" + ", ".join(members) + "}"
    return text if rng.random() < 0.5 else text[: rng.randrange(len(text) + 1)] + _tail(rng)


def _reference_answer(task: GeneralPoints, problem: CardProblem, rng: Random) -> str:
    """A well-formed answer that mostly is right; the deal may not be solvable."""
    found = formulas(problem.values, problem.target)
    if found:
        return response(task, problem, rng.choice(found))
    values = [str(value) for value in problem.values]
    formula = [values[0]]
    for right in values[1:]:
        formula = ["(", *formula, rng.choice("+-*/"), right, ")"]
    return response(task, problem, formula[1:-1])


def _mutated(task, problem, rng: Random) -> str:
    """A near-correct answer: letters or words replaced, doubled, dropped or swapped; cut off."""
    separator = rng.choice(("", " "))
    text = _reference_answer(task, problem, rng)
    parts = text.split(" ") if separator else list(text)
    for _ in range(rng.randrange(5)):
        at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        change = rng.randrange(5)
        if change == 0:
            parts[at] = rng.choice(WORDS if separator else LETTERS)
        elif change == 1:
            parts.insert(at, parts[other])
        elif change == 2 and len(parts) > 1:
            del parts[at]
        elif change == 3:
            parts[at], parts[other] = parts[other], parts[at]
        else:
            del parts[at + 1 :]
    return separator.join(parts)


def _copied(task, problem, rng: Random) -> str:
    """The prompt, other problems' answers, or many answers in a row."""
    other = _problem(task, rng)
    written = _reference_answer(task, problem, rng)
    return rng.choice(
        (
            prompt(task, problem),
            _reference_answer(task, other, rng),
            f"{written}\n{written}",
            f"```json\n{written}\n```",
            written.replace('"', "'"),
            prompt(task, problem) + written,
            written * rng.choice((3, 30, 1_000)),
            written,
            f"<think>{written}</think>{_reference_answer(task, other, rng)}",
            f"{'<think>' * rng.choice((1, 3_000))}{written}",
            f"{written}{'</think>' * rng.choice((1, 3_000))}{written}",
            f"```json\n{written[: rng.randrange(len(written) + 1)]}\n```json\n{written}",
            written.replace(",", " // <think>,\n").replace(":", ": /* */", 1),
        )
    )


def _tail(rng: Random) -> str:
    return rng.choice(("", '"}', "]}", "}", '", "number": [1, 2', ' = 24"}'))


_KINDS: tuple[Callable[[GeneralPoints, CardProblem, Random], str], ...] = (
    _bytes,
    _unicode,
    _letters,
    _words,
    _repeats,
    _numbers,
    _odd_json,
    _mutated,
    _mutated,
    _copied,
)
