"""Find numbers in what models write, exactly and in bounded time."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-+]?)"
    r"(?P<above>(?:[0-9]{1,3}(?:,[0-9]{3}(?![0-9]))++|[0-9]++)(?:\.[0-9]++)?+|\.[0-9]++)"
    r"(?:[eE](?P<power>[-+]?[0-9]++))?+(?:/(?P<below>[0-9]++(?:\.[0-9]++)?+))?+"
    r"(?P<more>(?:[eE][-+]?|\.)?\d[\d.]*+)?+"
)
"""Every quantifier is possessive: each character is read once."""
_LONGEST = 300
"""Digits on each side of the decimal point."""
_LONGEST_POWER = 3
_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\uff0b": "+", "\uff0d": "-"})


def last_number(text: str) -> Fraction | None:
    """Return the last number in a text, exactly; None if there is none.

    Commas may separate thousands, and 3/4, .5 and 1.5e3 are numbers. What goes on as no number
    does, as 1.2.3, is none. Where the last number has no value, or more than 300 digits or an
    exponent of more than three, None is returned: an earlier one is not what the text says.
    """
    found = [n for n in _NUMBER.finditer(text.translate(_SIGNS)) if n["more"] is None]
    return _value(found[-1]) if found else None


def _value(found: re.Match) -> Fraction | None:
    above, below = found["above"].replace(",", ""), found["below"] or "1"
    if max(len(part) for number in (above, below) for part in number.split(".")) > _LONGEST:
        return None
    power, divisor = found["power"] or "0", Fraction(below)
    digits = power.lstrip("+-").lstrip("0") or "0"
    if len(digits) > _LONGEST_POWER or not divisor:
        return None
    minus = "-" if power[0] == "-" else ""
    return Fraction(f"{found['sign']}{above}e{minus}{digits}") / divisor
