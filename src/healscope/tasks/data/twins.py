"""Find evaluation problems that have a near twin among the training examples.

Two prompts are near twins if at least SIMILAR of their runs of three words are the same (Jaccard
index) and they have the same numbers: other numbers make another problem. Case, punctuation and
white space do not count. The search is exact, and its work grows with the length of the texts and
the number of runs that they share.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

SIMILAR = 0.8
"""Share of the runs of words that near twins have in common, of all that either has."""
RUN = 3
"""Words of a run."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of scripts without spaces between words; each counts as a word."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_DIGITS = re.compile(r"[0-9]+")


def near_twins(asked: Sequence[str], trained: Iterable[str]) -> list[int | None]:
    """Return for each prompt asked the position of its nearest twin in training, None without.

    Of several that are equally near, the first.
    """
    runs = [_runs(text) for text in asked]
    counted = Counter(run for own in runs for run in own)
    index: dict[str, list[int]] = defaultdict(list)
    for place, own in enumerate(runs):
        rarest = sorted(own, key=lambda run: (counted[run], run))
        # a twin shares at least one of so many: else it lacks too many of them
        for run in rarest[: len(own) - math.ceil(SIMILAR * len(own)) + 1]:
            index[run].append(place)
    best: list[tuple[float, int | None]] = [(0.0, None)] * len(asked)
    numbers = [_numbers(text) for text in asked]
    for position, text in enumerate(trained):
        own = _runs(text)
        for place in {place for run in own for place in index.get(run, ())}:
            shared = len(own & runs[place])
            likeness = shared / (len(own) + len(runs[place]) - shared)
            near = likeness >= SIMILAR and likeness > best[place][0]
            if near and _numbers(text) == numbers[place]:
                best[place] = likeness, position
    return [position for _, position in best]


def _runs(text: str) -> set[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) <= RUN:
        return {" ".join(words)}
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def _numbers(text: str) -> list[str]:
    return sorted(_DIGITS.findall(unicodedata.normalize("NFKC", text)))
