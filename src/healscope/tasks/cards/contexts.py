"""Texts before a problem that tell what its prompt leaves out, of prompts that name their rule.

Knowledge says what J, Q and K count as. Memory shows what was tried on other hands under the rule:
successes and failures, word for word or as lessons. A lesson of a failure is the verdict without
its hand (`J 11 invalid 10`: J counts as 11, not as 10), that of a success its operators without
their numbers. All is written by rules from the solver, so that it is true; memory of one length
takes all of it, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, pairwise, product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from healscope.errors import HealscopeError
from healscope.tasks.cards import neighbours
from healscope.tasks.cards.deals import PROBLEM_COLUMNS, Deal, problem_frame, split_deals
from healscope.tasks.cards.game import (
    FACES,
    RANKS,
    RULE_NAMES,
    CardProblem,
    FaceRule,
    Game,
    compact_prompt,
    compact_response,
    rule_name,
)
from healscope.tasks.cards.solver import formulas, solvable
from healscope.tasks.problem import Context

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

KNOWLEDGE, FALSE = "knowledge", "false knowledge"
MEMORY_TOKENS = 48
"""Tokens of a memory, half of them for successes and half for failures."""

_PADDING = "again"
_DRAWS = 100_000
_CONTEXT_STREAM = 10  # 1 to 9 are of `deals`, `posing`, `hands` and `neighbours`
_SHORTEST = 4  # words of a lesson
_TEXTS = 0.15  # share of examples with knowledge that are the text alone
_MOST = 40  # hands that a half of a memory is filled from


def knowledge(name: str, values: Sequence[int]) -> str:
    """Write `NAME J v Q v K v`."""
    return " ".join([name, *(f"{f} {v}" for f, v in zip(FACES, values, strict=True))])


def leaks(problem: CardProblem, text: str) -> bool:
    """Return whether a text says what a face card of the problem counts as: the card, and its
    value after it."""
    words = text.split()
    cards = zip(problem.cards, problem.values, strict=True)
    told = {(card, str(value)) for card, value in cards if card in FACES}
    return not told.isdisjoint(pairwise(words))


def false_rule(task: Game) -> FaceRule:
    """Return a rule that gives the OOD rule's values to other faces; the ID rule where they are
    equal."""
    j, q, k = task.ood_rule.face_values
    return FaceRule.of((q, k, j)) if len({j, q, k}) > 1 else task.id_rule


def told(task: Game, problem: CardProblem, kind: str) -> Context:
    """Return what tells the rule of a problem: KNOWLEDGE, or FALSE, with the name of the rule and
    the values of another. Raises ValueError on another kind, and HealscopeError on a task whose
    prompts say their rule."""
    _require_names(task)
    if kind not in (KNOWLEDGE, FALSE):
        raise ValueError(f"a context must be {KNOWLEDGE} or {FALSE}, not {kind!r}")
    values = false_rule(task).face_values if kind == FALSE else problem.rule_values
    text = knowledge(rule_name(problem.rule), values)
    return Context(kind, text, leaks(problem, text))


class Tried(NamedTuple):
    """A hand that was answered right, and as if its faces counted by another rule."""

    cards: tuple[str, ...]
    target: int
    values: tuple[int, ...]
    formula: tuple[str, ...]
    wrong_values: tuple[int, ...]
    wrong_formula: tuple[str, ...]


def tries(
    task: Game,
    rule: FaceRule,
    other: FaceRule,
    rng: np.random.Generator,
    among: Callable[[tuple[str, ...], int], bool] = lambda *_: True,
) -> Iterator[Tried]:
    """Yield hands that count differently by two rules and are solvable by both, drawn evenly.

    `among` says of cards and target whether a hand may be drawn. Raises ValueError where none is
    found.
    """
    for _ in range(_DRAWS):
        cards = tuple(RANKS[i] for i in rng.integers(len(RANKS), size=task.cards).tolist())
        target = task.targets[int(rng.integers(len(task.targets)))]
        values, wrong = rule.values(cards), other.values(cards)
        if values == wrong or not (solvable(values, target) and solvable(wrong, target)):
            continue
        if among(cards, target):
            both = formulas(values, target), formulas(wrong, target)
            right, mistaken = (found[int(rng.integers(len(found)))] for found in both)
            yield Tried(cards, target, values, right, wrong, mistaken)
    raise ValueError(f"task {task.name!r}: no hand is solvable by {rule} and by {other}")


def memory(
    name: str,
    successes: Literal["verbatim", "lesson"],
    failures: Literal["verbatim", "lesson"],
    tried: Iterator[Tried],
    tokens: int = MEMORY_TOKENS,
) -> str:
    """Write what was tried under the rule of a name, in `tokens` words.

    Each half takes whole pieces while they fit, none twice, and begins with padding.
    """
    half = (tokens - 1) // 2
    said = [
        _filled(_SUCCESSES[successes], name, tried, half),
        _filled(_FAILURES[failures], name, tried, tokens - 1 - half),
    ]
    return " ".join([name, *said])


def _filled(write: Callable, name: str, tried: Iterator[Tried], tokens: int) -> str:
    pieces: dict[str, None] = {}
    left = tokens
    for one in islice(tried, _MOST):
        for piece in write(name, one):
            if piece not in pieces and len(piece.split()) <= left:
                pieces[piece] = None
                left -= len(piece.split())
        if left < _SHORTEST or (write is _verdicts and len(pieces) == len(FACES)):
            break
    lessons = sorted(pieces) if write is _verdicts else pieces  # by face
    return " ".join([*[_PADDING] * left, *lessons])


def _answered(name: str, one: Tried, values: tuple[int, ...], formula: tuple[str, ...]) -> str:
    asked = [name, str(one.target), *one.cards]
    return " ".join(
        [*asked, compact_response(("number", "formula"), (), values, formula, one.target)]
    )


def _right(name: str, one: Tried) -> list[str]:
    return [_answered(name, one, one.values, one.formula)]


def _operators(_name: str, one: Tried) -> list[str]:
    return [" ".join(word for word in one.formula if not word.isdigit())]


def _wrong(name: str, one: Tried) -> list[str]:
    return [f"{_answered(name, one, one.wrong_values, one.wrong_formula)} wrong"]


def _verdicts(_name: str, one: Tried) -> list[str]:
    read = zip(one.cards, one.values, one.wrong_values, strict=True)
    return [f"{card} {value} invalid {wrong}" for card, value, wrong in read if value != wrong]


_SUCCESSES = {"verbatim": _right, "lesson": _operators}
_FAILURES = {"verbatim": _wrong, "lesson": _verdicts}
CELLS = tuple(product(_SUCCESSES, _FAILURES))
"""How successes and failures are kept: verbatim or as lessons, each with each."""


OTHER, SHUFFLED = "memory of another rule", "shuffled memory"
_MIXED = ("verbatim", "lesson")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "none": "the prompt alone, which names its rule",
        KNOWLEDGE: "what J, Q and K count as",
        FALSE: "values of another rule, by the name of this one",
        **{
            f"memory {' and '.join(cell)}": f"successes kept {cell[0]}, failures {cell[1]}"
            for cell in CELLS
        },
        OTHER: "as `memory verbatim and lesson`, of another rule and by its name",
        SHUFFLED: "the words of `memory verbatim and lesson` in another order",
    }
)
"""What stands before a problem of `posed`. All kinds of memory have as many tokens."""


def cell(successes: str, failures: str) -> str:
    """Return the kind of a memory that keeps both in these ways, verbatim or as lessons."""
    return f"memory {successes} and {failures}"


def before(task: Game, problem: CardProblem, kind: str, seed: Sequence[int]) -> Context:
    """Return the text of one of KINDS before a problem.

    All kinds of memory draw the same hands of the training side by `seed`. Failures are answers by
    the ID rule.
    """
    import numpy as np

    if kind in (KNOWLEDGE, FALSE):
        return told(task, problem, kind)
    text = ""
    if kind != "none":
        own = kind != OTHER
        rule = FaceRule.of(problem.rule_values) if own else false_rule(task)
        name = rule_name(problem.rule) if own else RULE_NAMES[2]
        rng, hidden = np.random.default_rng([*seed, 0]), _held_out(task)
        hands = tries(task, rule, task.id_rule, rng, lambda *hand: _deal(*hand) not in hidden)
        cells = {cell(*kept): kept for kept in CELLS}
        text = memory(name, *cells.get(kind, _MIXED), hands)
    if kind == SHUFFLED:
        words = text.split()
        order = np.random.default_rng([*seed, 1]).permutation(len(words))
        text = " ".join(words[i] for i in order)
    return Context(kind, text, leaks(problem, text))


def posed(task: Game, hands: int, seed: int) -> pd.DataFrame:
    """Make a table of at most `hands` held-out hands under the OOD rule, each after every kind of
    text.

    Columns are those of `neighbours`: `neighbour` is one of KINDS, `distance` the tokens of the
    text. Raises HealscopeError on a task whose prompts say their rule.
    """
    _require_names(task)
    rows = []
    for i, hand in enumerate(islice(neighbours.held_out_hands(task, seed), hands)):
        for kind in KINDS:
            text = before(task, hand.problem, kind, (seed, _CONTEXT_STREAM, i))
            row = neighbours.row_of(hand, kind, text.tokens)
            rows.append({**row, "prompt": text.before(row["prompt"])})
    table = problem_frame(rows, (*PROBLEM_COLUMNS, "neighbour", "distance"))
    return table.assign(draw=range(len(table)), retried=False)[list(neighbours.COLUMNS)]


def _require_names(task: Game) -> None:
    if task.rule_shown != "name":
        raise HealscopeError(
            f"task {task.name!r}: prompts state their rule, so texts before them add nothing; "
            "set rule_shown: name"
        )


@lru_cache(maxsize=4)
def _held_out(task: Game) -> frozenset[Deal]:
    """Return the deals that are held out."""
    return frozenset(deal for deal, side in split_deals(task).items() if side == "held_out")


def _deal(cards: tuple[str, ...], target: int) -> Deal:
    return Deal(tuple(sorted(cards, key=RANKS.index)), target)


def examples(
    task: Game, drawn: Sequence[Any], rules: Sequence[FaceRule], rng: np.random.Generator
) -> list[tuple[list[str], str]]:
    """Put before each drawn example of pretraining a text that tells its rule: knowledge before
    all, or as often a memory of one of CELLS. `rules` are those of the failures. A share of what
    has knowledge is the text alone, so that a model knows how probable such texts are.

    The name is one of those without a rule of their own, and never that of the held rule where the
    example has its values.
    """
    found, remembered = [], rng.random() < 0.5  # of all alike, to pad little
    for example, other in zip(drawn, rules, strict=True):
        stated = FaceRule.of(example.stated)
        names = RULE_NAMES[2:] if stated == task.ood_rule else RULE_NAMES[1:]
        name = names[int(rng.integers(len(names)))]
        text = knowledge(name, stated.face_values)
        if remembered:
            kept = CELLS[int(rng.integers(len(CELLS)))]
            text = memory(name, *kept, tries(task, stated, _unlike(stated, other), rng))
        elif rng.random() < _TEXTS:
            found.append(([""], text))
            continue
        asked = compact_prompt(
            example.stated, example.target, example.cards, example.token, name=name
        )
        answer = example.answer(task, example.values, example.formula)
        found.append(([f"{text} {asked}"], answer))
    return found


def _unlike(rule: FaceRule, other: FaceRule) -> FaceRule:
    """Return the other rule, with other values where both count a face alike."""
    pairs = zip(rule.face_values, other.face_values, strict=True)
    return FaceRule.of([v if v != own else 1 + v % 13 for own, v in pairs])
