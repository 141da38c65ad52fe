"""Arithmetic expressions over non-negative integers: read exactly, never with `eval`.

What a model writes is hostile input. Length, token count, nesting and literal size are bounded,
values are exact rationals kept as integer pairs, and no string makes `parse` raise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from typing import Literal, NamedTuple, TypeAlias

MAX_CHARACTERS = 256
MAX_TOKENS = 64
MAX_DEPTH = 32
MAX_DIGITS = 6

State = Literal["complete", "unfinished", "illegal", "oversized"]
Mode = Literal["tolerant", "reference"]
Style = Literal["minimal", "bracketed"]
Tree: TypeAlias = "int | tuple[str, Tree, Tree]"
"""A number, or (operator, left, right)."""

PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
_SYMBOLS = frozenset("+-*/()")

_VARIANTS = str.maketrans(
    {
        **dict.fromkeys("×∗⋅·∙✕✖＊", "*"),
        **dict.fromkeys("÷∕⁄／", "/"),
        **dict.fromkeys("−–—‐‑－", "-"),
        "＋": "+",
        "（": "(",
        "）": ")",
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\u3000", " "),
    }
)
# Of LaTeX. A tab, form feed or carriage return is what JSON makes of the first letter of a command.
_COMMAND = re.compile(
    r"(?:\\(?=[a-z])|(?=[\t\r]))(?:[t\t]imes|cdot|ast|div|left|[r\r]ight)(?![A-Za-z])"
)
_COMMANDS = {"imes": "*", "cdot": "*", "ast": "*", "div": "/"}
_FRACTION = re.compile(r"(?:\\[dt]?f|\f)rac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_MATHEMATICS = re.compile(r"\\[()\[\],;:! ]|^\s*\$+|\$+\s*$")
_UNUSUAL = re.compile(r"[\\$\[\]\t\f\r]")
_BRACKETS = str.maketrans("[]", "()")
_TOLERANT = re.compile(r"[0-9+\-*/() \t\r\n]*")
_REFERENCE = re.compile(r"[0-9+\-*/()]*")
# "08" becomes two adjacent numbers, which the grammar refuses.
_TOKEN = re.compile(r"0|[1-9][0-9]*|[-+*/()]")


class Expression(NamedTuple):
    """An arithmetic expression, as it was read from a text.

    Attributes:
        state: "complete"; "unfinished" when legal text could follow and is needed (an open
            bracket, a trailing operator, or nothing at all); "illegal"; "oversized" when a bound
            of this module is exceeded.
        numbers: the literals in the order in which they stand; empty if illegal or oversized.
        numerator, denominator: the exact value in lowest terms, denominator positive. The
            denominator is 0 when there is no value: division by zero, or an operand is missing.
            Of an expression that lacks only closing brackets it is the value once they are closed.
    """

    state: State
    numbers: tuple[int, ...] = ()
    numerator: int = 0
    denominator: int = 0

    @property
    def value(self) -> Fraction | None:
        """The exact value, or None where there is none."""
        return Fraction(self.numerator, self.denominator) if self.denominator else None


_ILLEGAL = Expression("illegal")
_OVERSIZED = Expression("oversized")


def parse(text: str, mode: Mode = "tolerant") -> Expression:
    """Read an expression of integer literals, + - * / and round brackets.

    "tolerant" accepts white space, the usual Unicode spellings of the operators and those of LaTeX
    (`\\times`, `\\cdot`, `\\frac{8}{3}`, `$` around the whole), and square brackets in pairs;
    "reference" accepts ASCII digits and `+-*/()` only. A sign, `//`, `**`, a decimal point and a
    leading zero are illegal in both. Never raises, and does bounded work on a string of any length.
    """
    if len(text) > MAX_CHARACTERS:
        return _OVERSIZED
    if mode == "tolerant":
        text = _usual(text)
        legal = _TOLERANT.fullmatch(text)
    else:
        legal = _REFERENCE.fullmatch(text)
    return evaluate(_TOKEN.findall(text)) if legal else _ILLEGAL


def tokenise(text: str) -> tuple[str, ...]:
    """Return the literals, operators and brackets of a text in order, whatever stands between them.

    Empty where the text is longer than `parse` reads. Never raises.
    """
    if len(text) > MAX_CHARACTERS:
        return ()
    return tuple(_TOKEN.findall(_usual(text)))


def _usual(text: str) -> str:
    """Return a text with the usual spellings of operators and brackets, where it has others.

    Square brackets that do not match stay, and make it illegal.
    """
    if not text.isascii():
        text = text.translate(_VARIANTS)
    if not _UNUSUAL.search(text):
        return text
    text, changed = _MATHEMATICS.sub("", text), 1
    text = _COMMAND.sub(lambda found: _COMMANDS.get(found[0].lstrip("\\t\t"), ""), text)
    while changed:  # from the innermost fraction outwards
        text, changed = _FRACTION.subn(r"((\1)/(\2))", text)
    return text.translate(_BRACKETS) if _matched(text) else text


def _matched(text: str) -> bool:
    """Return whether every bracket is closed by one of its kind, if it is closed."""
    closing = {"(": ")", "[": "]"}
    wanted: list[str] = []
    for letter in text:
        if letter in closing:
            wanted.append(closing[letter])
        elif letter in ")]" and (not wanted or wanted.pop() != letter):
            return False
    return True


def evaluate(tokens: Sequence[str], most: int = MAX_TOKENS, deepest: int = MAX_DEPTH) -> Expression:
    """Read an expression that is already split into tokens; any other token makes it illegal.

    "oversized" if there are more than `most` tokens, or more than `deepest` nested brackets.
    """
    if len(tokens) > most:
        return _OVERSIZED
    numbers: list[int] = []
    outer: list[tuple[int, int, int, int, bool]] = []
    # One bracket level: the sum of its finished terms, and the product of the term being read.
    sum_n, sum_d, term_n, term_d, divides = 0, 1, 1, 1, False
    undefined, operand_next = False, True
    for token in tokens:
        if operand_next:
            if token == "(":
                if len(outer) == deepest:
                    return _OVERSIZED
                outer.append((sum_n, sum_d, term_n, term_d, divides))
                sum_n, sum_d, term_n, term_d, divides = 0, 1, 1, 1, False
                continue
            if not (token.isdigit() and token.isascii()):
                return _ILLEGAL
            if token[0] == "0" and token != "0":
                return _ILLEGAL
            if len(token) > MAX_DIGITS:
                return _OVERSIZED
            n, d = int(token), 1
            numbers.append(n)
            operand_next = False
        elif token == "*" or token == "/":
            divides, operand_next = token == "/", True
            continue
        elif token == "+" or token == "-":
            sum_n, sum_d = sum_n * term_d + term_n * sum_d, sum_d * term_d
            term_n, term_d = (1 if token == "+" else -1), 1
            divides, operand_next = False, True
            continue
        elif token == ")" and outer:
            n, d = sum_n * term_d + term_n * sum_d, sum_d * term_d
            sum_n, sum_d, term_n, term_d, divides = outer.pop()
        else:
            return _ILLEGAL
        # An operand n/d has just ended: multiply it into the term.
        if divides:
            n, d = d, n
        if d:
            term_n, term_d = term_n * n, term_d * d
        else:
            undefined = True  # keep reading: the syntax may still be illegal
    state: State = "unfinished" if operand_next or outer else "complete"
    while outer and not operand_next:
        n, d = sum_n * term_d + term_n * sum_d, sum_d * term_d
        sum_n, sum_d, term_n, term_d, divides = outer.pop()
        if divides:
            n, d = d, n
        undefined |= d == 0
        term_n, term_d = term_n * n, term_d * d
    if operand_next or undefined:
        return Expression(state, tuple(numbers))
    n, d = sum_n * term_d + term_n * sum_d, sum_d * term_d
    if d != 1:
        shared = gcd(n, d) if d > 0 else -gcd(n, d)
        n, d = n // shared, d // shared
    return Expression(state, tuple(numbers), n, d)


def to_tree(tokens: Sequence[str]) -> Tree:
    """Return the tree of a complete expression, operators of equal rank grouping to the left.

    Raises ValueError if the tokens are not a complete expression.
    """
    state = evaluate(tokens).state
    if state != "complete":
        raise ValueError(f"not a complete expression ({state}): {' '.join(tokens)!r}")
    operands: list[Tree] = []
    operators: list[str] = []

    def fold() -> None:
        right, left = operands.pop(), operands.pop()
        operands.append((operators.pop(), left, right))

    for token in tokens:
        if token not in _SYMBOLS:
            operands.append(int(token))
        elif token == "(":
            operators.append(token)
        elif token == ")":
            while operators[-1] != "(":
                fold()
            operators.pop()
        else:
            while operators and PRECEDENCE.get(operators[-1], 0) >= PRECEDENCE[token]:
                fold()
            operators.append(token)
    while operators:
        fold()
    return operands[0]


def render(tree: Tree, style: Style = "minimal") -> tuple[str, ...]:
    """Return the tokens of a tree.

    "minimal" writes the fewest brackets that keep the value, so a + (b - c) becomes a + b - c.
    "bracketed" brackets every operation but the outermost: n >= 2 numbers always give
    2n - 1 + 2(n - 2) tokens.
    """
    if isinstance(tree, int):
        return (str(tree),)
    operator, left, right = tree
    return (
        *_operand(left, operator, style, is_right=False),
        operator,
        *_operand(right, operator, style, is_right=True),
    )


def _operand(child: Tree, parent: str, style: Style, *, is_right: bool) -> tuple[str, ...]:
    tokens = render(child, style)
    if isinstance(child, int):
        return tokens
    inner, outer = PRECEDENCE[child[0]], PRECEDENCE[parent]
    regroups = is_right and parent in "-/" and inner == outer
    if style == "bracketed" or inner < outer or regroups:
        return ("(", *tokens, ")")
    return tokens
