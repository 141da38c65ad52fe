"""Judge conditions such as "gsm8k < -3": by the interval of a change, not by the change."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from healscope.errors import HealscopeError
from healscope.outcomes.paired import over_all, pair
from healscope.outcomes.reading import Benchmark

FINE, WORSE, UNCLEAR, WRONG_INPUT = 0, 1, 2, 3
"""Exit codes: no condition is met; one is; the items are too few to tell; no comparison was made,
since an argument or a file is wrong."""

WORDS = {FINE: "fine", WORSE: "worse", UNCLEAR: "cannot tell"}

ANY, MEAN = "any", "mean"
"""What a condition may name beside a benchmark: each of them; their mean, each weighing alike."""

_CONDITION = re.compile(r"(?P<name>.+?)\s*<\s*(?P<limit>[+-]?\d+(\.\d+)?)")


@dataclass(frozen=True)
class Condition:
    """That the change of `what` is below `limit` (a share), of the model `source`."""

    text: str
    source: str
    what: str
    limit: float


def condition(text: str, sources: Sequence[str], benchmarks: Sequence[str]) -> Condition:
    """Parse "[MODEL:] BENCHMARK < POINTS"; the model is the last one, if none is named."""
    found = _CONDITION.fullmatch(text.strip())
    if not found:
        raise HealscopeError(
            f'--fail-if "{text}": write BENCHMARK < POINTS, as "gsm8k < -3", "any < -3" or '
            f'"{sources[-1]}: mean < -1"'
        )
    what, source = found["name"].strip(), sources[-1]
    head, colon, rest = what.partition(":")
    if colon and head.strip() in sources:
        source, what = head.strip(), rest.strip()
    if source == sources[0]:
        raise HealscopeError(
            f'--fail-if "{text}": {source} is what others are compared with; name another'
        )
    if what not in (*benchmarks, ANY, MEAN):
        raise HealscopeError(
            f'--fail-if "{text}": there is no benchmark {what}, but {", ".join(benchmarks)}; '
            f"or say {ANY} or {MEAN}"
        )
    limit = float(found["limit"]) / 100
    if not -1 <= limit <= 1:
        raise HealscopeError(f'--fail-if "{text}": points are from -100 to 100; correct it')
    return Condition(text.strip(), source, what, limit)


def judge(
    conditions: Sequence[Condition], benchmarks: Sequence[Benchmark], base: str, confidence: float
) -> list[dict]:
    """Return for each condition its changes with their intervals, and code FINE, WORSE or UNCLEAR.

    Fine: the whole interval lies at or above the limit, of each benchmark that the condition names.
    Worse: that of one lies below it, at the level that is corrected for all changes that are judged
    (Bonferroni), since one false alarm fails the whole. Unclear: anything else.
    """
    every = [(c, b) for c in conditions for b in _named(c, benchmarks)]
    strict = 1 - (1 - confidence) / max(len(every), 1)
    found: list[dict] = [
        {"condition": c.text, "source": c.source, "changes": []} for c in conditions
    ]
    for c, parts in every:
        pairs = [pair(b, base, c.source) for b in parts]
        e, wide = (over_all([p.estimate(level) for p in pairs]) for level in (confidence, strict))
        code = FINE if e.low >= c.limit else WORSE if wide.high < c.limit else UNCLEAR
        found[conditions.index(c)]["changes"].append(
            {
                "benchmark": parts[0].name if c.what != MEAN else MEAN,
                "change": e.value, "low": e.low, "high": e.high,
                "high_corrected": wide.high, "code": code,
            }
        )  # fmt: skip
    for one in found:
        one["code"] = together([change["code"] for change in one["changes"]])
        one["verdict"] = WORDS[one["code"]]
    return found


def _named(c: Condition, benchmarks: Sequence[Benchmark]) -> list[list[Benchmark]]:
    """Return the benchmarks behind each change that a condition judges."""
    if c.what == MEAN:
        return [list(benchmarks)]
    return [[b] for b in benchmarks if c.what in (ANY, b.name)]


def together(codes: Sequence[int]) -> int:
    """Return the code of several: worse if any is, else unclear if any is."""
    return next((code for code in (WORSE, UNCLEAR) if code in codes), FINE)
