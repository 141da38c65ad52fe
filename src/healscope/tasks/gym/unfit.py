"""Data sets and options of reasoning-gym 0.1.25 that cannot be tasks here, with the reason.

Found by reading every scorer, and by trial: each data set made 60 problems in two processes, and
its scorer judged the reference answers, each other's answers, and some 400 hostile texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EXECUTES = "its scorer executes what a model writes"
_OTHERWISE = "its problems differ from process to process, whatever the seed"
_NO_ANSWER = "it has no reference answers"

REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("binary_matrix", "countdown", "intermediate_integration", "n_queens"),
            *("polynomial_multiplication", "puzzle24", "simple_integration", "spiral_matrix"),
            "string_insertion",
        ),
        _EXECUTES,
    ),
    **dict.fromkeys(
        ("codeio", "isomorphic_strings", "list_functions", "ransom_note", "word_ladder"),
        _OTHERWISE,
    ),
    **dict.fromkeys(
        ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"), _NO_ANSWER
    ),
    "coin_flip": "its scorer does not come to an end on some numbers (1e999999999)",
    "complex_arithmetic": "its scorer takes nan for a correct answer",
    "composite": "it is made of other data sets; name those",
    "game_of_life_halting": "its scorer takes any text for True",
    "knight_swap": "it needs more than half a second of computing for each problem",
    "polynomial_equations": "its scorer takes any text for: there is no real solution",
}
"""Data set -> why it is refused."""


def wrong_options(dataset: str, options: Mapping[str, Any]) -> str:
    """Return why options, with defaults filled in, are refused; empty if they are not."""
    if dataset == "basic_arithmetic":
        if not options["allow_parentheses"]:
            return "with allow_parentheses: false many reference answers are wrong; leave it out"
        if "/" in options["operators"]:
            return (
                "where operators has '/', some reference answers are rounded down; give operators: "
                '["+", "-", "*"]'
            )
    return ""
