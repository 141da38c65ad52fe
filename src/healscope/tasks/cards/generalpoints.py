"""GeneralPoints: make a target from cards, when the prompt says what J, Q and K count as.

The task of arXiv 2509.12235, appendix C.1 (four cards, target 24), for any number of cards, any
targets and any two rules. One task, two renderings: "json", for pretrained language models, and
"compact", space-separated words for a small model trained from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from types import MappingProxyType
from typing import Any, Literal

from healscope.tasks.cards import json_texts
from healscope.tasks.cards.expressions import render, to_tree
from healscope.tasks.problem import EVALUATION_FORMAT, Side
from healscope.tasks.responses import REASONING, Marks

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
_PLAIN_VALUES = {rank: index + 1 for index, rank in enumerate(RANKS[:10])}

OUTCOMES = (
    "correct",
    "partial",
    "wrong_value",
    "wrong_number",
    "wrong_line",
    "illegal",
    "no_answer",
)
RELEASED_REWARDS: Mapping[str, float] = MappingProxyType(
    {
        "correct": 5.0,
        "partial": 1.0,
        "wrong_value": -1.0,
        "wrong_number": -2.0,
        "wrong_line": -2.0,
        "illegal": -3.0,
        "no_answer": -3.0,
    }
)

LAYOUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fA": ("formula",),
        "fB": ("number", "formula"),
        "fC": ("cards", "formula"),
        "fD": ("cards", "number", "formula"),
        "fG": ("cards", "number", "formula"),
    }
)
"""Format token of the compact rendering -> the lines that the response must have."""
PLAIN_LAYOUTS = ("fA", "fB", "fC")
"""Format tokens whose answers are no JSON in the JSON rendering: pretraining alone has them."""


@dataclass(frozen=True)
class Rule:
    """What J, Q and K count as; A counts as 1 and 2..10 as themselves under every rule."""

    name: str
    faces: Mapping[str, int] = field(hash=False)

    def __post_init__(self) -> None:
        if set(self.faces) != set(FACES):
            raise ValueError(
                f"rule {self.name!r}: faces must give J, Q and K, not {sorted(self.faces)}"
            )
        for rank, value in self.faces.items():
            if type(value) is not int or not 1 <= value <= 999:
                raise ValueError(
                    f"rule {self.name!r}: {rank} must be an integer from 1 to 999, not {value!r}"
                )

    @property
    def face_values(self) -> tuple[int, int, int]:
        """The values of J, Q and K."""
        return tuple(self.faces[rank] for rank in FACES)

    def values(self, cards: Sequence[str]) -> tuple[int, ...]:
        """The value of every card, in order."""
        return tuple(_PLAIN_VALUES.get(card) or self.faces[card] for card in cards)


FACE_10 = Rule("face10", {"J": 10, "Q": 10, "K": 10})
FACE_11_13 = Rule("face11-13", {"J": 11, "Q": 12, "K": 13})


@dataclass(frozen=True)
class GeneralPoints:
    """One instance of the task.

    Attributes:
        name: the config's name for the instance.
        n_cards: cards in a deal, 2 to 6.
        targets: the targets that are dealt, each with every multiset of cards.
        id_rule, ood_rule: the rule of training and the other one.
        rendering: "json" or "compact".
        verifier: "tolerant" reads what a careful person would; of the JSON rendering "reference"
            reads and pays as the published code does (`tasks.released`).
        grade_number_line: a number line that breaks the rule makes the answer wrong; else only
            the formula counts, as in the published text mode.
        rewards: outcome -> reward, for every one of OUTCOMES.
        reasoning: pairs of marks that begin and end what a model thinks before it answers.
    """

    name: str
    n_cards: int
    targets: tuple[int, ...]
    id_rule: Rule = FACE_10
    ood_rule: Rule = FACE_11_13
    rendering: Literal["json", "compact"] = "json"
    verifier: Literal["tolerant", "reference"] = "tolerant"
    grade_number_line: bool = False
    rewards: Mapping[str, float] = field(default_factory=lambda: dict(RELEASED_REWARDS), hash=False)
    reasoning: tuple[Marks, ...] = REASONING

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        object.__setattr__(self, "targets", tuple(self.targets))
        if not 2 <= self.n_cards <= 6:
            raise ValueError(f"{where}: n_cards must be 2 to 6, not {self.n_cards}")
        if not self.targets or any(type(t) is not int or not 1 <= t <= 999 for t in self.targets):
            raise ValueError(f"{where}: targets must be integers from 1 to 999: {self.targets}")
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"{where}: targets must differ: {self.targets}")
        if self.rendering not in ("json", "compact"):
            raise ValueError(f"{where}: rendering must be json or compact, not {self.rendering!r}")
        if self.verifier not in ("tolerant", "reference"):
            raise ValueError(
                f"{where}: verifier must be tolerant or reference, not {self.verifier!r}"
            )
        if self.verifier == "reference" and self.grade_number_line:
            raise ValueError(f"{where}: the reference verifier cannot grade_number_line")
        if set(self.rewards) != set(OUTCOMES):
            raise ValueError(f"{where}: rewards must name exactly {', '.join(OUTCOMES)}")

    @property
    def as_released(self) -> bool:
        """Whether answers are read and paid as by the released code, which had JSON alone."""
        return self.verifier == "reference" and self.rendering == "json"

    def rule(self, side: Side) -> Rule:
        """The rule of one side. Raises ValueError unless side is "id" or "ood"."""
        if side not in ("id", "ood"):
            raise ValueError(f"rule must be id or ood, not {side!r}")
        return self.id_rule if side == "id" else self.ood_rule


@dataclass(frozen=True, slots=True)
class Problem:
    """A deal in one order under one rule.

    Attributes:
        problem_id: "K-5-A>24:ood".
        pair_id: "K-5-A>24", shared by the ID and the OOD problem.
        cards: ranks in the order dealt.
        rule: "id" or "ood".
        rule_values: what J, Q and K count as.
        target: the number to make.
        values: the cards' values under the rule, in the same order.
    """

    problem_id: str
    pair_id: str
    cards: tuple[str, ...]
    rule: Side
    rule_values: tuple[int, int, int]
    target: int
    values: tuple[int, ...]


def make_problem(task: GeneralPoints, cards: Sequence[str], rule: Side, target: int) -> Problem:
    """The problem of these cards in this order. Raises ValueError on an unknown rank or rule."""
    unknown = [card for card in cards if card not in RANKS]
    if unknown or len(cards) != task.n_cards:
        raise ValueError(f"expected {task.n_cards} cards of {' '.join(RANKS)}, not {list(cards)}")
    stated = task.rule(rule)
    pair_id = f"{'-'.join(cards)}>{target}"
    return Problem(
        problem_id=f"{pair_id}:{rule}",
        pair_id=pair_id,
        cards=tuple(cards),
        rule=rule,
        rule_values=stated.face_values,
        target=target,
        values=stated.values(cards),
    )


def from_row(row: Mapping[str, Any]) -> Problem:
    """The problem in one row of a problem, SFT or RL table."""
    return Problem(
        problem_id=str(row["problem_id"]),
        pair_id=str(row["pair_id"]),
        cards=tuple(row["cards"]),
        rule=row["rule"],
        rule_values=tuple(int(value) for value in row["rule_values"]),
        target=int(row["target"]),
        values=tuple(int(value) for value in row["values"]),
    )


def prompt(
    task: GeneralPoints,
    problem: Problem,
    format_token: str = EVALUATION_FORMAT,
    rendering: int = 0,
) -> str:
    """The text of the user's turn, which asks for the layout of the format token.

    `rendering` chooses one of `renderings(task)` ways to say the same; 0 is the standard one.
    Raises ValueError on another number.
    """
    if not 0 <= rendering < renderings(task):
        raise ValueError(f"rendering must be 0 to {renderings(task) - 1}, not {rendering}")
    if task.rendering == "compact":
        rule_values, target, cards = problem.rule_values, problem.target, problem.cards
        return compact_prompt(rule_values, target, cards, format_token, rendering)
    lines, exact = LAYOUTS[format_token], format_token == EVALUATION_FORMAT
    plain = format_token in PLAIN_LAYOUTS
    request = json_texts.request(len(problem.cards), problem.target, lines, plain, exact)
    return json_texts.prompt(
        problem.rule_values, problem.target, problem.cards, request, json_texts.WORDINGS[rendering]
    )


def renderings(task: GeneralPoints) -> int:
    """How many ways there are to state a problem of this task.

    Compact ones arrange the same words differently; those of a few deals agree (8-8-8>8 says the
    same with the target before or after the cards).
    """
    return len(ARRANGEMENTS if task.rendering == "compact" else json_texts.WORDINGS)


def response(
    task: GeneralPoints,
    problem: Problem,
    formula: Sequence[str],
    format_token: str = EVALUATION_FORMAT,
) -> str:
    """The answer that states this formula (bracketed tokens, as `solver.formulas` gives them).

    JSON writes it with the fewest brackets and no spaces, compact as it is. In the JSON rendering
    PLAIN_LAYOUTS are lines that no verifier reads.
    """
    if task.rendering == "compact":
        lines = LAYOUTS[format_token]
        return compact_response(lines, problem.cards, problem.values, formula, problem.target)
    written = "".join(render(to_tree(formula), "minimal"))
    formula_line = f"{written}={problem.target}"
    if format_token in PLAIN_LAYOUTS:
        lines = LAYOUTS[format_token]
        return json_texts.plain_response(lines, problem.cards, problem.values, formula_line)
    return json_texts.response(problem.cards, problem.values, formula_line)


# The order of the three parts of a compact prompt, and that of J, Q and K in its rule.
ARRANGEMENTS = tuple(product(permutations(("rule", "target", "cards")), permutations(range(3))))


def compact_prompt(
    rule_values: Sequence[int],
    target: int,
    cards: Sequence[str],
    format_token: str,
    rendering: int = 0,
) -> str:
    """`J v Q v K v T c c c FMT`, or with rule, target and cards in another order."""
    order, faces = ARRANGEMENTS[rendering]
    parts = {
        "rule": " ".join(f"{FACES[face]} {rule_values[face]}" for face in faces),
        "target": str(target),
        "cards": " ".join(cards),
    }
    return " ".join([*(parts[name] for name in order), format_token])


def compact_response(
    lines: Sequence[str],
    cards: Sequence[str],
    values: Sequence[int],
    formula: Sequence[str],
    target: int,
) -> str:
    """`cards c c c number n n n formula ( a - b ) * c = T`, with only the lines named."""
    words: list[str] = []
    if "cards" in lines:
        words += "cards", *cards
    if "number" in lines:
        words += "number", *map(str, values)
    return " ".join([*words, "formula", *formula, "=", str(target)])


def compact_vocabulary(task: GeneralPoints) -> list[str]:
    """Every word of the compact rendering, in a fixed order; no bos, eos or padding."""
    numbers = {*range(1, 14), *task.targets, *task.id_rule.face_values, *task.ood_rule.face_values}
    return [
        *(str(number) for number in sorted(numbers)),
        *("A", "J", "Q", "K"),
        *("+", "-", "*", "/", "(", ")", "="),
        *("cards", "number", "formula"),
        *LAYOUTS,
        *("again", "wrong", "unused", "invalid"),
    ]
