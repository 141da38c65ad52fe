"""The last line of a compact answer where a task asks how sure the model is: `sure c7` is 70%.

Reference answers state a confidence that is drawn by the words of the problem and the formula, so
SFT teaches the line and nothing about when to be sure (`tasks.*.confidence`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from healscope.tasks.responses import MAX_RESPONSE

LINE = "sure"
WORDS = tuple(f"c{tenths}" for tenths in range(11))
"""Words of confidence, from 0 to 100% in steps of ten."""


def drawn(*words: str) -> tuple[str, str]:
    """Return a confidence line that depends on these words and says nothing about them."""
    return LINE, WORDS[zlib.crc32(" ".join(words).encode()) % len(WORDS)]


def is_line(words: Sequence[str]) -> bool:
    """Return whether words are a confidence line, and nothing else."""
    return len(words) == 2 and words[0] == LINE and words[1] in WORDS


def stated(text: str) -> float | None:
    """Return the confidence at the end of an answer, from 0 to 1; None where it states none."""
    words = text[:MAX_RESPONSE].split()[-2:]
    return WORDS.index(words[1]) / (len(WORDS) - 1) if is_line(words) else None
