"""Find numbers in what models write, exactly and in bounded time."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:[0-9]{1,3}(?:,[0-9]{3}){1,30}(?![0-9])|[0-9]{1,300})(?![0-9])"
    r"(?:\.[0-9]{1,300}(?![0-9]))?(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?(?:/[1-9][0-9]{0,30}(?![0-9]))?"
)
_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\uff0b": "+", "\uff0d": "-"})


def last_number(text: str) -> Fraction | None:
    """Return the last number in a text, exactly; None if there is none.

    Commas may separate thousands, and 3/4 and 1.5e3 are numbers. Numbers with more than 300 digits
    are not read.
    """
    found = [None, *_NUMBER.finditer(text.translate(_SIGNS))][-1]
    if found is None:
        return None
    above, _, below = found[0].replace(",", "").partition("/")
    return Fraction(above) / int(below or 1)
