"""The texts of the JSON rendering: prompts in several wordings, and answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product

# Wordings of the game, of what cards count as, and of the goal; the first of each is the standard.
_GAMES = (
    "You are a skilled player of the {target} points card game. You are dealt {n} cards.",
    "We play a card game whose aim is to make {target} points. There are {n} cards on the table.",
    "Here is a puzzle with {n} playing cards, which together have to give {target}.",
)
_COUNTS = (
    "The card 'A' counts as 1, and {faces}. Every card has to be used exactly once.",
    "Use every card exactly once. An 'A' is worth 1, a 'J' {j}, a 'Q' {q} and a 'K' {k}.",
    "Take 1 for an 'A', {k} for a 'K', {q} for a 'Q' and {j} for a 'J'. No card may be left out or "
    "used twice.",
)
_GOALS = (
    "Find a formula that evaluates to {target}, built from the numbers of the cards and the "
    "operators '+', '-', '*', '/', with brackets where needed, followed by '='.",
    "With the operators '+', '-', '*', '/' and brackets, turn the numbers of the cards into a "
    "formula whose value is {target}, and put '=' after it.",
    "Which formula of the numbers of the cards equals {target}? Its operators may be '+', '-', "
    "'*', '/', it may hold brackets, and '=' follows it.",
)
WORDINGS = tuple(product(_GAMES, _COUNTS, _GOALS))
"""Ways to say the same: (game, what cards count as, goal); the first is the standard."""


def prompt(
    rule_values: Sequence[int],
    target: int,
    cards: Sequence[str],
    request: str,
    wording: tuple[str, str, str],
) -> str:
    """Return the user's turn; `request` says how to answer."""
    game, counts, goal = wording
    j, q, k = rule_values
    if j == q == k:
        faces = f"each of 'J', 'Q' and 'K' counts as {j}"
    else:
        faces = f"'J' counts as {j}, 'Q' as {q} and 'K' as {k}"
    return (
        "[Task Description]\n"
        f"{game.format(target=target, n=len(cards))}\n"
        f"{counts.format(faces=faces, j=j, q=q, k=k)}\n"
        f"{goal.format(target=target)}\n\n"
        "[Input]\n"
        f"Cards: {json.dumps(list(cards))}\n\n"
        "[Output]\n"
        f"{request}"
    )


def request(n: int, target: int, lines: Sequence[str], plain: bool, exact: bool) -> str:
    """Return what a prompt asks for: `plain` lines, or JSON, by its `exact` form as in
    evaluation."""
    if plain:
        names = " and ".join(f"'{name}:'" for name in lines)
        return f"Answer with a line for each of {names} and nothing else."
    if not exact:
        return "Answer with the keys 'cards', 'number' and 'formula' of a JSON object."
    return (
        "Answer with valid JSON of this form and nothing else:\n"
        "{\n"
        f'  "cards": [the {n} cards, in the order given],\n'
        f'  "number": [the {n} numbers they count as, in the same order],\n'
        f'  "formula": "a formula that equals {target}, ending in ={target}"\n'
        "}"
    )


def response(cards: Sequence[str], values: Sequence[int], formula: str) -> str:
    """Return the answer as JSON."""
    return (
        "{\n"
        f'  "cards": {json.dumps(list(cards))},\n'
        f'  "number": {json.dumps(list(values))},\n'
        f'  "formula": "{formula}"\n'
        "}"
    )


def plain_response(
    lines: Sequence[str], cards: Sequence[str], values: Sequence[int], formula: str
) -> str:
    """Return the answer as lines, only those named."""
    parts = {"cards": ", ".join(cards), "number": ", ".join(map(str, values)), "formula": formula}
    return "\n".join(f"{name}: {parts[name]}" for name in lines)
