"""Judge mathematics with math-verify, within bounds.

math-verify reads LaTeX and compares it by sympy. Sympy computes what it is shown, and Python cannot
be interrupted in the midst of one huge power: so of a response only the last formula is read, and
none that holds large powers or factorials, or brackets many levels deep. A signal ends calls that
are slow all the same (in the main thread only); no process is started. math-verify's parser of
formulas that are not LaTeX is not used, since it evaluates them as Python.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from healscope.tasks.data.numbers import last_number

LONGEST = 300
"""Characters of a formula; a longer one is none."""
SECONDS = 10
"""Of one call. Within the bounds nothing honest takes a tenth of it."""

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ \t]{0,4}")
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_MARKER = re.compile(r"(?:answer|result)(?:\s{1,9}is)?\s{0,9}[:=]?", re.IGNORECASE)
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
_TOO_LARGE = re.compile(
    r"[0-9]{40}|!|[eE]\+?[0-9]{4,}"
    r"|\\(?:binom|Gamma|zeta|sum|prod|int|iint|oint|lim|choose|det|gcd|lcm)"
)
_FACTORIAL = re.compile(
    r"(?<![0-9.}\])])[0-9]{1,2}!(?!\s{0,4}!)|\\[dt]?binom\s?\{[0-9]{1,2}\}\s?\{[0-9]{1,2}\}"
)
_POWER = re.compile(r"\^|\*\*")
_PLAIN = (  # an exponent: a short number, a letter and a little, a fraction
    r"-?\s?(?:[0-9]{1,3}|[0-9]{0,2}[A-Za-z](?:[-+][0-9a-zA-Z]{1,2})?|[0-9]{1,2}/[0-9]|\\circ"
    r"|\\[dt]?frac\{[0-9]{1,2}\}\{[0-9]{1,2}\}|[0-9]?\.[0-9]{1,2})"
)
_EXPONENT = re.compile(
    rf"\s{{0,4}}(?:\{{\s?(?P<a>{_PLAIN})\s?\}}|\(\s?(?P<b>{_PLAIN})\s?\)"
    r"|(?P<c>[0-9]{1,3}(?![0-9])|[A-Za-z]|\\circ))"
)
_MOST_POWERS = 12
_DEEPEST = 20
"""Brackets within brackets; more are slow to parse."""
_NUMBER = re.compile(
    r"(?:^|(?<=[(,=]))-|[0-9]{1,20}/[0-9]{1,20}|\\[dt]?frac(?:\{[0-9]{1,20}\}\{[0-9]{1,20}\}|[0-9]{2})"
)
"""What a number is written with: a sign, and one fraction of whole numbers."""
_OPERATION = re.compile(r"[-+*/^!|]|\\(?:cdot|times|div|[dt]?frac|sqrt|[dt]?binom|cup|cap|log|ln)")
_OF_A_SUM = 12  # a larger power of what stands in brackets has too many terms


def prepare(answer: Any, setting: Any) -> str:  # noqa: ARG001
    """Return the formula of a right answer, as of a solution that ends with \\boxed{...}.

    Raises ValueError where there is none.
    """
    if not isinstance(answer, str):
        raise ValueError("it is an object, not text")
    formula = last_formula(answer)
    if not formula:
        raise ValueError(
            "there is no formula in it, as \\boxed{...}, or that of its last box is empty"
        )
    return formula


def judge(text: str, answer: str, setting: Any) -> str:
    """Compare the last formula of a response with the right one.

    A formula written like the answer is right, and a computation that stands in the problem is not:
    math-verify would find both equal. An answer that is too large to compute is right only as it is
    written.
    """
    from math_verify import verify

    if setting.prompt.strip():
        text = text.replace(setting.prompt.strip(), " ")
    formula = last_formula(text)
    if not formula:
        return "no_answer"
    if _bare(formula) == _bare(answer):
        return "correct"
    if _repeats(formula, setting.prompt):
        return "wrong"
    said, right = _parsed(formula), _parsed(answer)
    if not said:
        return "no_answer"
    try:
        same = bool(right) and verify(list(right), list(said), timeout_seconds=_seconds())
    except Exception:  # of sympy, on what a model wrote
        return "wrong"
    return "correct" if same else "wrong"


def _bare(formula: str) -> str:
    return "".join(formula.split())


def _repeats(formula: str, prompt: str) -> bool:
    """Return whether a formula has something to compute and stands in the prompt."""
    bare = _bare(formula)
    return bool(_OPERATION.search(_NUMBER.sub("", bare))) and bare in _bare(prompt)


@lru_cache(maxsize=20_000)
def _parsed(formula: str) -> tuple[Any, ...]:
    """Parse a formula; an empty tuple is none that can be compared within bounds."""
    from math_verify import LatexExtractionConfig, parse

    formula = formula.replace("\\!", "")  # a space, as in 10,\!000
    if _large(formula):
        return ()
    try:
        return tuple(parse(f"${formula}$", [LatexExtractionConfig()], parsing_timeout=_seconds()))
    except Exception:  # of its parser
        return ()


def _large(formula: str) -> bool:
    """Return whether sympy might compute something huge: powers are plain and few, or it might."""
    if _depth(formula) > _DEEPEST:
        return True
    bare = _FACTORIAL.sub("~", formula)  # 9! is fine, but in no exponent
    powers = list(_POWER.finditer(bare))
    if len(bare) > LONGEST or _TOO_LARGE.search(bare) or len(powers) > _MOST_POWERS:
        return True
    for power in powers:
        exponent = _EXPONENT.match(bare, power.end())
        if not exponent or _POWER.match(bare, exponent.end()):
            return True
        number = exponent["a"] or exponent["b"] or exponent["c"]
        of_a_sum = bare[: power.start()].rstrip()[-1:] in (")", "}", "]", "~")
        if of_a_sum and number.isdecimal() and int(number) > _OF_A_SUM:
            return True
    return False


def _depth(formula: str) -> int:
    deepest = depth = 0
    for letter in formula[:LONGEST]:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _seconds() -> int | None:
    import threading

    return SECONDS if threading.current_thread() is threading.main_thread() else None


def last_formula(text: str) -> str | None:
    """Return the formula that a response ends with, as LaTeX without delimiters.

    That is what the last \\boxed{...} holds; else the last formula between $ $ or the like; else
    all of a response without prose, or what follows the last "answer is"; else its last number.
    """
    for found in [*_BOX.finditer(text)][-1:]:
        return _boxed(text, found.end())
    for opening, closing in _DELIMITERS:
        if (found := _between(text, opening, closing)) is not None:
            return found
    marker = [None, *_MARKER.finditer(text)][-1]
    rest = text[marker.end() if marker else 0 :].strip().strip("*`").rstrip(".").strip()
    if rest and "\n" not in rest and len(rest) <= LONGEST and not _PROSE.search(rest):
        return rest
    number = last_number(text)
    return None if number is None else _written(number)


def _written(number: Any) -> str:
    below = number.denominator
    return str(number.numerator) if below == 1 else f"\\frac{{{number.numerator}}}{{{below}}}"


def _boxed(text: str, start: int) -> str | None:
    """Return what a box holds, from behind its name: a group in braces, or one sign as TeX does."""
    if text[start : start + 1] != "{":
        return (re.match(r"\\?[A-Za-z0-9]+", text[start:]) or [""])[0] or None
    depth, place = 1, start + 1
    while place < len(text) and place <= start + LONGEST:
        if text[place] == "\\":
            place += 2  # \{ is no brace
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start + 1 : place].strip()
        place += 1
    return None


def _between(text: str, opening: str, closing: str) -> str | None:
    """Return what stands between the last pair of delimiters."""
    if opening == closing:
        end = text.rfind(closing)
        start = text.rfind(opening, 0, end) if end > 0 else -1
        return text[start + len(opening) : end].strip() or None if start >= 0 else None
    start = text.rfind(opening)
    if start < 0:
        return None
    start += len(opening)
    end = text.find(closing, start)
    return text[start:end].strip() if end >= 0 else None
