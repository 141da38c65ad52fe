"""The card game: make a target from cards, when the prompt says what J, Q and K count as.

The task of arXiv 2509.12235, appendix C.1 (four cards, target 24), for any number of cards, any
targets and any two rules. One task, two renderings: "json", for pretrained language models, and
"compact", space-separated words for a small model trained from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from healscope.sections import Distinct, Natural, Positive, Section
from healscope.tasks.cards import confidence, json_texts, pictures
from healscope.tasks.cards.expressions import render, to_tree
from healscope.tasks.problem import EVALUATION_FORMAT, SIDES, Side
from healscope.tasks.task import Task

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
_PLAIN_VALUES = {rank: index + 1 for index, rank in enumerate(RANKS[:10])}

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


RULE_NAMES = ("plain", "court", "amber", "coral", "ivory", "olive")
"""Words for rules, of `rule_shown: name`: the ID rule, the OOD rule, and rules that only
pretraining has, with other values each time."""


CardValue = Annotated[int, Field(ge=1, le=999)]


class FaceRule(Section):
    """What J, Q and K count as; A counts as 1 and 2 to 10 as themselves under every rule."""

    J: CardValue
    Q: CardValue
    K: CardValue

    @classmethod
    def of(cls, face_values: Sequence[int]) -> FaceRule:
        """Return the rule with these values of J, Q and K."""
        return cls(**dict(zip(FACES, face_values, strict=True)))

    @property
    def face_values(self) -> tuple[int, int, int]:
        """The values of J, Q and K."""
        return self.J, self.Q, self.K

    def values(self, cards: Sequence[str]) -> tuple[int, ...]:
        """Return the value of every card, in order."""
        return tuple(_PLAIN_VALUES.get(card) or getattr(self, card) for card in cards)


FACE_10 = FaceRule(J=10, Q=10, K=10)
FACE_11_13 = FaceRule(J=11, Q=12, K=13)


@dataclass(frozen=True, kw_only=True)
class Game(Task):
    """The options of the card game. `GeneralPoints` makes a task of it, and is what to build."""

    cards: Annotated[int, Field(ge=2, le=4, description="cards in a deal (the paper: 4)")] = 4
    targets: Annotated[
        Distinct[CardValue], Field(description="numbers to make from every hand (the paper: [24])")
    ] = (24,)
    id_rule: FaceRule = FACE_10
    ood_rule: FaceRule = FACE_11_13
    verifier: Annotated[
        Literal["tolerant", "reference"],
        Field(
            description="tolerant: what a careful person reads; reference: read and paid as in the "
            "released code"
        ),
    ] = "tolerant"
    grade_number_line: Annotated[
        bool,
        Field(
            description="false: only the formula counts, as in the released code; true: the "
            "number line too"
        ),
    ] = False
    confidence: Annotated[
        bool,
        Field(
            description="a compact answer ends with how sure the model is, as in `sure c7`, which "
            "SFT teaches by confidences drawn at random",
            exclude_if=lambda value: not value,
        ),
    ] = False
    held_out: Annotated[
        float,
        Field(
            gt=0, lt=1, description="share of deals, by their ID values, that SFT and RL never see"
        ),
    ] = 0.4
    rule_shown: Annotated[
        Literal["values", "name"],
        Field(
            description="values: prompts say what J, Q and K count as; name: they name the rule "
            "alone, of rendering compact",
            exclude_if=lambda value: value == "values",
        ),
    ] = "values"
    hand_shown: Annotated[
        Literal["words", "pictures"],
        Field(
            description="words: prompts name the cards; pictures: they show them, to a model with "
            "a vision tower (docs/vision.md)",
            exclude_if=lambda value: value == "words",
        ),
    ] = "words"
    orders: Annotated[Positive, Field(description="card orders evaluated for each deal")] = 2
    seed: Annotated[
        Natural,
        Field(
            description="draws the hold-out and the card orders: the same for all seeds of the "
            "study"
        ),
    ] = 0

    mixture: ClassVar[Mapping[str, float]] = MappingProxyType({})
    outcomes: ClassVar[Mapping[str, float]] = RELEASED_REWARDS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.verifier == "reference" and self.grade_number_line:
            raise ValueError(
                f"task {self.name!r}: verifier 'reference' grades the formula alone: set "
                "grade_number_line: false"
            )
        if self.rule_shown == "name" and self.rendering != "compact":
            raise ValueError(f"task {self.name!r}: rule_shown: name needs rendering compact")
        usual = self.rendering == "compact" and self.rule_shown == "values"
        if self.hand_shown == "pictures" and not usual:
            raise ValueError(
                f"task {self.name!r}: hand_shown: pictures needs rendering compact, and "
                "rule_shown: values"
            )
        if self.confidence and self.rendering != "compact":
            raise ValueError(
                f"task {self.name!r}: confidence is a line of compact answers: set rendering: "
                "compact, or confidence: false"
            )

    @property
    def as_released(self) -> bool:
        """Whether answers are read and paid as by the released code, which had JSON alone."""
        return self.verifier == "reference" and self.rendering == "json"

    def rule(self, side: Side) -> FaceRule:
        """Return the rule of one side. Raises ValueError unless side is "id" or "ood"."""
        if side not in ("id", "ood"):
            raise ValueError(f"rule must be id or ood, not {side!r}")
        return self.id_rule if side == "id" else self.ood_rule


@dataclass(frozen=True, slots=True)
class CardProblem:
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


def make_problem(task: Game, cards: Sequence[str], rule: Side, target: int) -> CardProblem:
    """Pose these cards in this order. Raises ValueError on an unknown rank or rule."""
    unknown = [card for card in cards if card not in RANKS]
    if unknown or len(cards) != task.cards:
        raise ValueError(f"expected {task.cards} cards of {' '.join(RANKS)}, not {list(cards)}")
    stated = task.rule(rule)
    pair_id = f"{'-'.join(cards)}>{target}"
    return CardProblem(
        problem_id=f"{pair_id}:{rule}",
        pair_id=pair_id,
        cards=tuple(cards),
        rule=rule,
        rule_values=stated.face_values,
        target=target,
        values=stated.values(cards),
    )


def from_row(row: Mapping[str, Any]) -> CardProblem:
    """Read the problem in one row of a problem, SFT or RL table."""
    return CardProblem(
        problem_id=str(row["problem_id"]),
        pair_id=str(row["pair_id"]),
        cards=tuple(row["cards"]),
        rule=row["rule"],
        rule_values=tuple(int(value) for value in row["rule_values"]),
        target=int(row["target"]),
        values=tuple(int(value) for value in row["values"]),
    )


def prompt(
    task: Game,
    problem: CardProblem,
    format_token: str = EVALUATION_FORMAT,
    rendering: int = 0,
) -> str:
    """Write the user's turn, which asks for the answer layout of the format token.

    `rendering` chooses one of `renderings(task)` ways to say the same; 0 is the standard one.
    Raises ValueError on another number.
    """
    if not 0 <= rendering < renderings(task):
        raise ValueError(f"rendering must be 0 to {renderings(task) - 1}, not {rendering}")
    if task.rendering == "compact":
        rule_values, target, cards = problem.rule_values, problem.target, shown(task, problem.cards)
        name = rule_name(problem.rule) if task.rule_shown == "name" else None
        return compact_prompt(rule_values, target, cards, format_token, rendering, name)
    lines, exact = LAYOUTS[format_token], format_token == EVALUATION_FORMAT
    plain = format_token in PLAIN_LAYOUTS
    request = json_texts.request(len(problem.cards), problem.target, lines, plain, exact)
    return json_texts.prompt(
        problem.rule_values, problem.target, problem.cards, request, json_texts.WORDINGS[rendering]
    )


def shown(task: Game, cards: Sequence[str]) -> Sequence[str]:
    """Return the words that show cards in a compact prompt: their names, or those of pictures."""
    return pictures.words(cards) if task.hand_shown == "pictures" else cards


def rule_name(side: Side) -> str:
    """Return the word for the rule of one side."""
    return RULE_NAMES[SIDES.index(side)]


def renderings(task: Game) -> int:
    """Count the ways to state a problem of this task.

    Compact ones arrange the same words differently; those of a few deals agree (8-8-8>8 says the
    same with the target before or after the cards).
    """
    return len(ARRANGEMENTS if task.rendering == "compact" else json_texts.WORDINGS)


def response(
    task: Game,
    problem: CardProblem,
    formula: Sequence[str],
    format_token: str = EVALUATION_FORMAT,
) -> str:
    """Write the answer that states a formula (bracketed tokens, as `solver.formulas` gives them).

    JSON writes it with the fewest brackets and no spaces, compact as it is. In the JSON rendering
    PLAIN_LAYOUTS are lines that no verifier reads.
    """
    if task.rendering == "compact":
        lines = LAYOUTS[format_token]
        answer = compact_response(lines, problem.cards, problem.values, formula, problem.target)
        sure = confidence.drawn(answer) if asks_confidence(task, lines) else ()
        return " ".join([answer, *sure])
    written = "".join(render(to_tree(formula), "minimal"))
    formula_line = f"{written}={problem.target}"
    if format_token in PLAIN_LAYOUTS:
        lines = LAYOUTS[format_token]
        return json_texts.plain_response(lines, problem.cards, problem.values, formula_line)
    return json_texts.response(problem.cards, problem.values, formula_line)


def asks_confidence(task: Game, lines: Sequence[str]) -> bool:
    """Return whether an answer with these lines has to say how sure the model is: where the task
    asks it, all but the shorter layouts of pretraining do."""
    return task.confidence and tuple(lines) == LAYOUTS[EVALUATION_FORMAT]


# The order of the three parts of a compact prompt, and that of J, Q and K in its rule.
ARRANGEMENTS = tuple(product(permutations(("rule", "target", "cards")), permutations(range(3))))


def compact_prompt(
    rule_values: Sequence[int],
    target: int,
    cards: Sequence[str],
    format_token: str,
    rendering: int = 0,
    name: str | None = None,
) -> str:
    """Write `J v Q v K v T c c c FMT`, or rule, target and cards in another order; of a rule with
    a name `NAME T c c c FMT`."""
    order, faces = ARRANGEMENTS[rendering]
    parts = {
        "rule": name or " ".join(f"{FACES[face]} {rule_values[face]}" for face in faces),
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
    """Write `cards c c c number n n n formula ( a - b ) * c = T`, only the lines named."""
    words: list[str] = []
    if "cards" in lines:
        words += "cards", *cards
    if "number" in lines:
        words += "number", *map(str, values)
    return " ".join([*words, "formula", *formula, "=", str(target)])


def compact_vocabulary(task: Game) -> list[str]:
    """List every word of the compact rendering in a fixed order, without bos, eos, padding."""
    numbers = {*range(1, 14), *task.targets, *task.id_rule.face_values, *task.ood_rule.face_values}
    return [
        *(str(number) for number in sorted(numbers)),
        *("A", "J", "Q", "K"),
        *("+", "-", "*", "/", "(", ")", "="),
        *("cards", "number", "formula"),
        *LAYOUTS,
        *("again", "wrong", "unused", "invalid"),
        *(RULE_NAMES if task.rule_shown == "name" else ()),
        *((confidence.LINE, *confidence.WORDS) if task.confidence else ()),
        *(pictures.WORDS if task.hand_shown == "pictures" else ()),
    ]
