"""The steps of an answer of the card game, and how far it can still become a correct one."""

from __future__ import annotations

from itertools import pairwise

from healscope.tasks.cards import confidence
from healscope.tasks.cards.game import CardProblem, Game
from healscope.tasks.cards.structure import MOST_WORDS, alive_after, alive_words, walk
from healscope.tasks.cards.verifier import read_answer
from healscope.tasks.responses import MAX_RESPONSE

_OPERATORS = frozenset("+-*/")


def steps(text: str) -> tuple[str, ...]:
    """Split a compact answer, or the rest of one after any of its steps, into steps.

    These are the line of cards, that of numbers, and each operation of the formula in the order in
    which it is written. An operation ends with its second operand or, where that is in brackets,
    before it; "= target" belongs to the last one. A line of confidence is no step.
    """
    words = text[:MAX_RESPONSE].split()
    words = words[: words.index(confidence.LINE)] if confidence.LINE in words else words
    cuts = [0]
    for at, word in enumerate(words):
        if at and word in ("number", "formula"):
            cuts.append(at)
        elif word in _OPERATORS:
            end = at + 1
            if words[end : end + 1] != ["("]:
                end += 1
                while words[end : end + 1] == [")"]:
                    end += 1
                if words[end : end + 1] and words[end] not in _OPERATORS:
                    continue
            cuts.append(end)
    cuts = sorted({cut for cut in cuts if cut < len(words)})
    return tuple(" ".join(words[a:b]) for a, b in pairwise([*cuts, len(words)]))


def can_be_right(task: Game, problem: CardProblem, text: str) -> bool:
    """Return whether a correct compact answer begins with these words, exactly."""
    found = list(walk(task, problem, text))
    formulas = [formula for _, formula in found if formula is not None]
    alive = not formulas or alive_after(problem, formulas[-1])
    # the last decision is that to end here; before it stand all words, if each was allowed
    return alive and len(found) == 1 + min(len(text[:MAX_RESPONSE].split()), MOST_WORDS)


def alive_share(task: Game, problem: CardProblem, text: str) -> float:
    """Return the share of a formula's words, and of one that ends it, before no correct formula
    begins so; 0 where a number line that counts breaks the rule."""
    answer = read_answer(task, problem, text)
    if task.grade_number_line and answer.line != problem.values:
        return 0.0
    return alive_words(problem, answer.words) / (1 + len(answer.words))
