"""Examples for a base model trained from scratch: many rules, many layouts, some noise.

The base of the tiny world must know both rules and all layouts, yet not answer in the evaluation
layout when it sees the evaluation token. The mixture of rules and formats decides this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, NamedTuple

from healscope.tasks.cards import contexts
from healscope.tasks.cards.expressions import Tree, render
from healscope.tasks.cards.feedback import feedback, right_beginning
from healscope.tasks.cards.game import (
    FACES,
    RANKS,
    CardProblem,
    FaceRule,
    Game,
    compact_prompt,
    prompt,
    response,
    shown,
)
from healscope.tasks.cards.solver import Formula, formulas, solvable
from healscope.tasks.cards.verifier import verify
from healscope.tasks.neutral import instructions, stream
from healscope.tasks.problem import EVALUATION_FORMAT, LEVELS, TRAINING_FORMATS, Level

if TYPE_CHECKING:
    import numpy as np

RULE_KINDS = ("random", "id", "ood", "same", "consecutive")

MISTAKES = ("value", "rule", "number")
"""What is wrong in the first answer of a conversation: its formula misses the target, or counts
cards by another rule, or holds a number that no card gives."""

_BATCH = 4096
_MAX_FACE = 13
_OPERATORS = "+-*/"


def pretraining_examples(
    task: Game,
    n: int,
    rng: np.random.Generator,
    rules: Mapping[str, float],
    formats: Mapping[str, float],
    *,
    rule_noise: float = 0.0,
    formula_noise: float = 0.0,
    eval_format_share: float = 0.0,
    eval_format_layouts: Mapping[str, float] | None = None,
    face_probability: float = 0.6,
    cards: Mapping[int, float] | None = None,
) -> list[tuple[str, str]]:
    """Draw n (prompt, response) pairs in the task's rendering.

    Under the example's effective rule a solvable (target, multiset of values) pair is drawn
    uniformly among those that cards can show, then a formula uniformly among all correct ones.

    Args:
        task: its targets, cards, two rules and rendering.
        n: number of examples.
        rng: the only source of randomness.
        rules: weights over RULE_KINDS for the stated rule: three "random" values 1..13, the
            task's "id" or "ood" rule, the "same" random value three times, or "consecutive"
            values k, k+1, k+2.
        formats: weights over the format tokens fA, fB, fC and fG of ordinary examples.
        rule_noise: share of examples that ignore the stated rule: cards, number line and formula
            follow the OOD rule.
        formula_noise: share whose formula is random over the right numbers, so mostly wrong.
        eval_format_share: share that carries the evaluation token fD instead.
        eval_format_layouts: weights over fA, fB, fC, fG, whose layouts answer the token fD;
            `formats` if not given.
        face_probability: chance that a value is shown as a face card, where one counts as it.
        cards: weights over numbers of cards in a hand; the task's number if not given.

    Raises:
        ValueError: on an unknown name, a negative weight, or a share outside [0, 1].
    """
    drawn = _draw_examples(
        task, n, rng, rules, formats, rule_noise, formula_noise,
        eval_format_share, eval_format_layouts, face_probability, cards,
    )  # fmt: skip
    return [(e.prompt(task), e.answer(task, e.values, e.formula)) for e in drawn]


def corpus(task: Game, n: int = 2000) -> list[str]:
    """Return texts from which a tokenizer learns the words of the task, the same each time."""
    import numpy as np

    even = dict.fromkeys(RULE_KINDS, 1.0), dict.fromkeys(TRAINING_FORMATS, 1.0)
    rng = np.random.default_rng(11)  # of no seed of a study: seeds share their words
    pairs = pretraining_examples(task, n, rng, *even, eval_format_share=0.2)
    return [text for pair in pairs for text in pair]


def conversation_examples(
    task: Game,
    n: int,
    rng: np.random.Generator,
    rules: Mapping[str, float],
    formats: Mapping[str, float],
    *,
    rule_noise: float = 0.0,
    eval_format_share: float = 0.0,
    eval_format_layouts: Mapping[str, float] | None = None,
    face_probability: float = 0.6,
    cards: Mapping[int, float] | None = None,
    feedback_levels: Sequence[Level] = LEVELS,
) -> list[tuple[list[str], str]]:
    """Draw n (turns, response): a problem, a wrong answer, feedback on it, and the right answer.

    Problems, answer and layout are drawn as by `pretraining_examples`, which explains all
    arguments; both answers of a conversation have the one layout. The wrong answer makes one of
    MISTAKES, the feedback is of one of `feedback_levels`, both evenly drawn. What is right, and
    what feedback says, follows the example's effective rule. Where feedback shows how a correct
    formula begins, the mistake is another operator, and the right answer begins as is shown.
    Raises ValueError as `pretraining_examples`, and where the rendering is not compact: the
    verifier reads no other layout in JSON.
    """
    if task.rendering != "compact":
        raise ValueError(f"task {task.name!r}: conversations need rendering compact")
    no_formula_noise = 0.0  # the last answer is right
    drawn = _draw_examples(
        task, n, rng, rules, formats, rule_noise, no_formula_noise,
        eval_format_share, eval_format_layouts, face_probability, cards,
    )  # fmt: skip
    others = _other_rules(task, n, rules, rng)
    mistakes = rng.choice(MISTAKES, n).tolist()
    levels = rng.choice(feedback_levels, n).tolist()
    examples = []
    for example, other, mistake, level in zip(drawn, others, mistakes, levels, strict=True):
        problem, layout = example.problem, example.layout  # that is read, whatever the token
        shows = level in ("leak", "critique")  # of a slip there is something to show
        mistake = "slip" if shows else mistake
        wrong = _mistaken(task, example, mistake, other, rng)
        verdict = verify(task, problem, wrong, layout)
        if verdict.outcome == "correct":  # by chance; another number never is
            wrong = _mistaken(task, example, "number", other, rng)
            verdict = verify(task, problem, wrong, layout)
        said = feedback(task, problem, verdict, wrong, level, layout).message
        turns = [example.prompt(task), wrong, task.follow_up(problem, said, example.token)]
        formula = example.formula
        if shows:
            begun = right_beginning(task, problem, wrong, layout)
            found = [
                f for f in formulas(problem.values, problem.target) if f[: len(begun)] == begun
            ]
            formula = found[int(rng.integers(len(found)))] if found else formula
        examples.append((turns, example.answer(task, example.values, formula)))
    return examples


def context_examples(
    task: Game,
    n: int,
    rng: np.random.Generator,
    rules: Mapping[str, float],
    formats: Mapping[str, float],
    *,
    rule_noise: float = 0.0,
    eval_format_share: float = 0.0,
    eval_format_layouts: Mapping[str, float] | None = None,
    face_probability: float = 0.6,
    cards: Mapping[int, float] | None = None,
) -> list[tuple[list[str], str]]:
    """Draw n ([prompt], response): a text that tells a rule, then a problem that only names it.

    Arguments are those of `pretraining_examples`; formulas have no noise. See `contexts.examples`.
    """
    drawn = _draw_examples(
        task, n, rng, rules, formats, rule_noise, 0.0,
        eval_format_share, eval_format_layouts, face_probability, cards,
    )  # fmt: skip
    others = _other_rules(task, n, rules, rng)
    return contexts.examples(task, drawn, [FaceRule.of(values) for values in others], rng)


def draw_problem(task: Game, kind: str, rng: np.random.Generator) -> CardProblem:
    """Draw a problem under a rule of one of RULE_KINDS, as `pretraining_examples` does."""
    plain = {kind: 1.0}, {"fG": 1.0}, 0.0, 0.0, 0.0, None, 0.6
    return _draw_examples(task, 1, rng, *plain)[0].problem


def card_prompts(task: Game, n: int, seed: int) -> list[str]:
    """Draw n different neutral prompts; a longer list begins with a shorter one.

    compact: problems under rules of three random values 1..13, which are neither of the task's
    rules and solve them, under the format tokens of pretraining. json: INSTRUCTIONS in random
    order, all of them where n is larger. Raises ValueError if n < 0.
    """
    if task.rendering == "json":
        return instructions(n, seed)
    rng = stream(n, seed)
    trained = (task.id_rule.face_values, task.ood_rule.face_values)
    found: dict[str, None] = {}
    while len(found) < n:
        stated = tuple(rng.integers(1, 14, size=3).tolist())
        cards = [RANKS[rank] for rank in rng.integers(len(RANKS), size=task.cards)]
        target = task.targets[int(rng.integers(len(task.targets)))]
        token = TRAINING_FORMATS[int(rng.integers(len(TRAINING_FORMATS)))]
        values = FaceRule.of(stated).values(cards)
        if stated not in trained and solvable(values, target):
            found[compact_prompt(stated, target, shown(task, cards), token)] = None
    return list(found)


class _Drawn(NamedTuple):
    """One example: `layout` names that of its answer, `token` is what the prompt shows."""

    stated: tuple[int, int, int]
    target: int
    cards: list[str]
    values: list[int]
    formula: Formula
    layout: str
    token: str

    def prompt(self, task: Game) -> str:
        return prompt(task, self.problem, self.token)

    @property
    def problem(self) -> CardProblem:
        """Without the names and the side that problems of the task have."""
        cards, values = tuple(self.cards), tuple(self.values)
        return CardProblem("", "", cards, "id", self.stated, self.target, values)

    def answer(self, task: Game, line: Sequence[int], formula: Sequence[str]) -> str:
        return response(task, replace(self.problem, values=tuple(line)), formula, self.layout)


def _mistaken(
    task: Game,
    example: _Drawn,
    mistake: str,
    other: tuple[int, int, int],
    rng: np.random.Generator,
) -> str:
    """Write a wrong answer; `other` is what J, Q and K count as in mistake "rule"."""
    if mistake == "number":
        formula = list(example.formula)
        numbers = [at for at, word in enumerate(formula) if word.isdigit()]
        at = numbers[int(rng.integers(len(numbers)))]
        instead = int(rng.integers(1, _MAX_FACE))  # 1 to 13 but for the number that stands there
        formula[at] = str(instead + (instead >= int(formula[at])))
        return example.answer(task, example.values, formula)
    if mistake == "slip":
        formula = list(example.formula)
        operators = [at for at, word in enumerate(formula) if word in _OPERATORS]
        at = operators[int(rng.integers(len(operators)))]
        others = _OPERATORS.replace(formula[at], "")
        formula[at] = others[int(rng.integers(len(others)))]
        return example.answer(task, example.values, formula)
    line, correct = tuple(example.values), ()
    if mistake == "rule":
        line = FaceRule.of(other).values(example.cards)
        # where no card changes by the other rule, only the formula can be wrong
        correct = formulas(line, example.target) if line != tuple(example.values) else ()
    if correct:
        return example.answer(task, line, correct[int(rng.integers(len(correct)))])
    return example.answer(task, line, render(_random_tree(line, rng), "bracketed"))


def _draw_examples(
    task: Game,
    n: int,
    rng: np.random.Generator,
    rules: Mapping[str, float],
    formats: Mapping[str, float],
    rule_noise: float,
    formula_noise: float,
    eval_format_share: float,
    eval_format_layouts: Mapping[str, float] | None,
    face_probability: float,
    cards: Mapping[int, float] | None = None,
) -> list[_Drawn]:
    """Draw what `pretraining_examples` writes down."""
    import numpy as np

    for name, share in {
        "rule_noise": rule_noise,
        "formula_noise": formula_noise,
        "eval_format_share": eval_format_share,
        "face_probability": face_probability,
    }.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be a share from 0 to 1, not {share!r}")
    kinds = _weights("rules", rules, RULE_KINDS)
    tokens = _weights("formats", formats, TRAINING_FORMATS)
    eval_layouts = _weights("eval_format_layouts", eval_format_layouts or formats, TRAINING_FORMATS)

    most = max(cards or [task.cards])

    drawn: list[_Drawn] = []
    while len(drawn) < n:
        size = min(_BATCH, n - len(drawn))
        stated_rules = _draw_rules(task, rng.choice(RULE_KINDS, size, p=kinds), rng)
        ordinary = rng.choice(TRAINING_FORMATS, size, p=tokens).tolist()
        evaluation = rng.choice(TRAINING_FORMATS, size, p=eval_layouts).tolist()
        coins = (rng.random((size, 3)) < (rule_noise, formula_noise, eval_format_share)).tolist()
        picks = rng.random((size, 2)).tolist()
        card_draws = rng.random((size, most, 2)).tolist()
        order_draws = rng.random((size, most))
        counts = _hand_sizes(cards, size, rng) if cards else np.full(size, most)
        order_draws[np.arange(most) >= counts[:, None]] = np.inf  # no card: last in every order
        card_orders, counts = order_draws.argsort(axis=1).tolist(), counts.tolist()
        for index, stated in enumerate(stated_rules):
            wrong_rule, wrong_formula, is_evaluation = coins[index]
            effective = task.ood_rule.face_values if wrong_rule else stated
            count = counts[index]
            pairs, shown_by = _world(count, task.targets, effective)
            pick, formula_pick = picks[index]
            target, values = pairs[int(pick * len(pairs))]
            values = [values[position] for position in card_orders[index][:count]]
            hand = [
                _card(value, shown_by.get(value), draw, face_probability)
                for value, draw in zip(values, card_draws[index][:count], strict=True)
            ]
            if wrong_formula:
                formula = render(_random_tree(values, rng), "bracketed")
            else:
                correct = formulas(values, target)
                formula = correct[int(formula_pick * len(correct))]
            layout = evaluation[index] if is_evaluation else ordinary[index]
            token = EVALUATION_FORMAT if is_evaluation else layout
            drawn.append(_Drawn(stated, target, hand, values, formula, layout, token))
    return drawn


def _hand_sizes(cards: Mapping[int, float], n: int, rng: np.random.Generator) -> np.ndarray:
    shares = [share / sum(cards.values()) for share in cards.values()]
    return rng.choice(list(cards), n, p=shares)


def _other_rules(
    task: Game, n: int, rules: Mapping[str, float], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Draw rules of the kinds that examples have, by which mistakes are made."""
    return _draw_rules(task, rng.choice(RULE_KINDS, n, p=_weights("rules", rules, RULE_KINDS)), rng)


def _draw_rules(
    task: Game, kinds: Sequence[str], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Draw the values of J, Q and K for each kind of rule."""
    free = rng.integers(1, _MAX_FACE + 1, (len(kinds), 3)).tolist()
    first = rng.integers(1, _MAX_FACE - 1, len(kinds)).tolist()
    drawn = []
    for kind, values, k in zip(kinds, free, first, strict=True):
        if kind == "id":
            values = task.id_rule.face_values
        elif kind == "ood":
            values = task.ood_rule.face_values
        elif kind == "same":
            values = (values[0],) * 3
        elif kind == "consecutive":
            values = (k, k + 1, k + 2)
        drawn.append(tuple(values))
    return drawn


@lru_cache(maxsize=4096)
def _world(
    n_cards: int, targets: tuple[int, ...], face_values: tuple[int, int, int]
) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], dict[int, list[str]]]:
    """Return the (target, values) pairs that cards can show under a rule, and faces by value."""
    shown_by: dict[int, list[str]] = {}
    for face, value in zip(FACES, face_values, strict=True):
        shown_by.setdefault(value, []).append(face)
    return _pairs(n_cards, targets, tuple(sorted({*range(1, 11), *face_values}))), shown_by


@lru_cache(maxsize=1024)
def _pairs(
    n_cards: int, targets: tuple[int, ...], universe: tuple[int, ...]
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    return tuple(
        (target, values)
        for target in targets
        for values in combinations_with_replacement(universe, n_cards)
        if solvable(values, target)
    )


def _card(
    value: int, faces: list[str] | None, draw: Sequence[float], face_probability: float
) -> str:
    """Choose a rank that counts as the value; a value above 10 has only its faces."""
    coin, which = draw
    if faces and (value > 10 or coin < face_probability):
        return faces[int(which * len(faces))]
    return "A" if value == 1 else str(value)


def _random_tree(values: Sequence[int], rng: np.random.Generator) -> Tree:
    """Draw a random bracketing and random operators over the values in random order."""
    trees: list[Tree] = [values[position] for position in rng.permutation(len(values)).tolist()]
    while len(trees) > 1:
        at = int(rng.integers(len(trees) - 1))
        trees[at : at + 2] = [(_OPERATORS[int(rng.integers(4))], trees[at], trees[at + 1])]
    return trees[0]


def _weights(name: str, given: Mapping[str, float], allowed: Sequence[str]) -> list[float]:
    """Normalise weights, in the order of `allowed`."""
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    weights = [float(given.get(key, 0.0)) for key in allowed]
    if min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"{name}: weights must be non-negative with a positive sum: {dict(given)}")
    return [weight / sum(weights) for weight in weights]
