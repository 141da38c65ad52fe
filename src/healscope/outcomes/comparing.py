"""Compare models on what they were asked alike, and put the result into plain values.

The report is what `compare.json` holds; its keys are described in `compare.schema.json`, and
Markdown and HTML are made from it alone.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import healscope
from healscope.errors import HealscopeError
from healscope.outcomes import gate, words
from healscope.outcomes.answers import shown
from healscope.outcomes.paired import Pair, more_items, over_all, pair, pick
from healscope.outcomes.reading import Benchmark, Source, line_up, source
from healscope.stats import Estimate, exchanged
from healscope.verdicts import MARGIN, holm

NAME, VERSION = "healscope.compare", 1
"""Of the report's format. The version rises when a key changes its meaning or goes away."""

CONFIDENCE = 0.95

LOST, GAINED, SAME, OPEN = "lost", "gained", "no change", "undecided"
"""Verdicts. No change: the interval lies within the margin around 0."""


def compare(
    given: Sequence[tuple[str, Sequence[Path]]],
    *,
    metrics: Mapping[str, str] | None = None,
    fail_if: Sequence[str] = (),
    margin: float = MARGIN,
    common: bool = False,
    flips: int = 10,
) -> dict[str, Any]:
    """Read the files of models and return the report; the first model is what others are
    compared with.

    `given`: (name, files or folders). `metrics`: benchmark, or "" for all, -> what counts as right.
    `fail_if`: conditions of `gate`. `margin`: changes up to this share count as none. `common`:
    compare what all have in common instead of refusing. `flips`: how many items that were lost, and
    gained, are shown of each pair and benchmark. Raises HealscopeError in a sentence.
    """
    names = [name for name, _ in given]
    if len(names) < 2 or len(set(names)) < len(names):
        raise HealscopeError(
            "compare needs two models or more under different names, as base=FOLDER sft=FOLDER"
        )
    sources = [source(name, paths, metrics or {}) for name, paths in given]
    benchmarks = line_up(sources, common)
    every = [b.name for b in benchmarks]
    for benchmark in metrics or {}:
        if benchmark and benchmark not in every:
            raise HealscopeError(
                f"--metric names {benchmark}, which no file holds; there are {', '.join(every)}"
            )
    conditions = list(dict.fromkeys(gate.condition(text, names, every) for text in fail_if))
    changes = [_change(b, names[0], after, margin) for b in benchmarks for after in names[1:]]
    steps = [
        _change(b, before, after, margin)
        for b in (benchmarks if len(names) > 2 else ())
        for before, after in pairwise(names)
    ]
    pairs = list(dict.fromkeys((c["before"], c["after"]) for c in [*changes, *steps]))
    for ends in pairs:
        for table in (changes, steps):
            _judge([c for c in table if (c["before"], c["after"]) == ends], margin)
    halved = any(b.halves_I.any() for b in benchmarks)  # a single item has no other half
    flipped = [(names[0], after) for after in names[1:]] + pairs[-1:] * (len(names) > 2)
    report = {
        "schema": NAME,
        "version": VERSION,
        "healscope": healscope.__version__,
        "answer": "",
        "base": names[0],
        "confidence": CONFIDENCE,
        "margin": margin,
        "sources": [
            {"name": s.name, "tool": s.tool, "files": [shown(Path(f).name) for f in s.files]}
            for s in sources
        ],
        "benchmarks": [_about(b) for b in benchmarks],
        "changes": changes,
        "steps": steps,
        "over_all": [_over_all(benchmarks, *ends, margin) for ends in pairs],
        "best": _best(benchmarks, names) if len(names) > 2 and halved else None,
        "gate": _gate(conditions, benchmarks, names[0]),
        "flips": [f for b in benchmarks for ends in flipped for f in _flips(b, *ends, flips)],
        "notes": _notes(benchmarks, sources),
    }
    report["answer"] = words.answer(report)
    return report


def _about(b: Benchmark) -> dict[str, Any]:
    return {
        "name": b.name,
        "metric": b.metric,
        "items": len(b.items),
        "instances": int(b.instances_I.max()) + 1,
        "left_out": b.left_out,
        "accuracy": {name: float(v.mean()) for name, v in b.correct.items()},
        "unread": {name: None if v is None else float(v.mean()) for name, v in b.unread.items()},
        "prompts_differ": b.prompts_differ,
    }


def _limits(e: Estimate) -> dict[str, float]:
    return {"change": e.value, "low": e.low, "high": e.high}


def _change(b: Benchmark, before: str, after: str, margin: float) -> dict[str, Any]:
    """Return all numbers of one benchmark and two models; `_judge` adds the verdict."""
    both = pair(b, before, after)
    e = both.estimate(CONFIDENCE)
    unread = [b.unread[name] for name in (before, after)]
    known = all(share is not None for share in unread)
    lost_I = both.change_I < 0
    return {
        "benchmark": b.name,
        "before": before,
        "after": after,
        "items": len(b.items),
        "accuracy_before": float(b.correct[before].mean()),
        "accuracy_after": float(b.correct[after].mean()),
        **_limits(e),
        "p": both.p(),
        **exchanged(b.correct[before], b.correct[after]),
        "unread_before": float(unread[0].mean()) if known else None,
        "unread_after": float(unread[1].mean()) if known else None,
        "lost_unread": float(((unread[1] > unread[0]) & lost_I).sum()) if known else None,
        "read_in_both": _read(b, both, unread) if known else None,
        "detectable": min(e.detectable, 1.0),
        "more_items": more_items(e, max(abs(e.value), margin)),
    }


def _read(b: Benchmark, both: Pair, unread: list[np.ndarray]) -> dict[str, Any] | None:
    """Return the change on items whose answers could be read before and after; None if all or
    none."""
    kept = (unread[0] == 0) & (unread[1] == 0)
    if kept.all() or not kept.any():
        return None
    part = Pair(both.change_I[kept], np.unique(b.instances_I[kept], return_inverse=True)[1])
    return {"items": int(kept.sum()), **_limits(part.estimate(CONFIDENCE))}


def _judge(family: list[dict[str, Any]], margin: float) -> None:
    """Add `p_adjusted` (Holm, over the benchmarks of a pair of models) and `verdict`."""
    adjusted = holm(np.array([c["p"] for c in family], float)) if family else []
    for c, p in zip(family, adjusted, strict=True):
        c["p_adjusted"] = float(p)
        c["verdict"] = _verdict(c["low"], c["high"], margin, p <= 1 - CONFIDENCE)
        if c["verdict"] != OPEN:
            c["more_items"] = 0


def _verdict(low: float, high: float, margin: float, shown: bool = True) -> str:
    if shown and (high < 0 or low > 0):
        return LOST if high < 0 else GAINED
    return SAME if -margin < low and high < margin else OPEN


def _over_all(
    benchmarks: Sequence[Benchmark], before: str, after: str, margin: float
) -> dict[str, Any]:
    e = over_all([pair(b, before, after).estimate(CONFIDENCE) for b in benchmarks])
    verdict = _verdict(e.low, e.high, margin)
    found = {"before": before, "after": after, "benchmarks": len(benchmarks), **_limits(e)}
    return {**found, "detectable": min(e.detectable, 1.0), "verdict": verdict}


def _best(benchmarks: Sequence[Benchmark], names: list[str]) -> dict[str, Any]:
    """Return the best of all but the first, and what it is worth on items that did not pick it:
    of each benchmark, and of their mean."""
    picked = pick(benchmarks, names[1:])
    last = names[-1]
    parts = []
    for b in benchmarks:
        correct = picked.correct(b)
        parts.append(
            (
                b.name,
                pair(b, names[0], picked.best).change_I.mean(),
                Pair(correct - b.correct[names[0]], b.instances_I).estimate(CONFIDENCE),
                Pair(b.correct[last] - correct, b.instances_I).estimate(CONFIDENCE),
            )
        )
    _, naive, gains, since = zip(*parts, strict=True)
    if len(parts) > 1:
        parts.append((gate.MEAN, np.mean(naive), over_all(gains), over_all(since)))
    return {
        "candidates": names[1:],
        "best": picked.best,
        "by_half": list(picked.by_half),
        "last": last,
        "rows": [
            {
                "benchmark": name,
                "as_picked": float(first),
                **_limits(gain),
                "last_less_best": _limits(rest),
            }
            for name, first, gain, rest in parts
        ],
    }


def _gate(
    conditions: Sequence[gate.Condition], benchmarks: Sequence[Benchmark], base: str
) -> dict[str, Any] | None:
    if not conditions:
        return None
    judged = gate.judge(conditions, benchmarks, base, CONFIDENCE)
    code = gate.together([one["code"] for one in judged])
    return {"code": code, "verdict": gate.WORDS[code], "conditions": judged}


def _flips(b: Benchmark, before: str, after: str, most: int) -> list[dict[str, Any]]:
    """Return items that were lost, then such that were gained, with both answers."""
    change_I = b.correct[after] - b.correct[before]
    found = []
    for kind, sign in ((LOST, -1), (GAINED, 1)):
        places = np.flatnonzero(sign * change_I > 0)
        for i in places[:most]:
            was, now = b.first[before][i], b.first[after][i]
            found.append(
                {
                    "benchmark": b.name,
                    "before": before,
                    "after": after,
                    "item": b.items[i],
                    "kind": kind,
                    "correct_before": float(b.correct[before][i]),
                    "correct_after": float(b.correct[after][i]),
                    "question": was.question,
                    "target": was.target,
                    "text_before": was.text,
                    "text_after": now.text,
                    "unread_before": was.unread,
                    "unread_after": now.unread,
                    "score_before": was.score,
                    "score_after": now.score,
                }
            )
    return found


def _notes(benchmarks: Sequence[Benchmark], sources: Sequence[Source]) -> list[str]:
    """Return what a reader has to know about the files before believing the numbers."""
    found = []
    for b in benchmarks:
        for name, differ in b.prompts_differ.items():
            if differ:
                found.append(
                    f"{b.name}: {differ} of {len(b.items)} items were asked of {name} in other "
                    f"words than of {sources[0].name} (chat template, examples or their number): "
                    "the change is that of the model and the prompt together."
                )
        if b.left_out:
            found.append(
                f"{b.name}: {b.left_out} items that not all models have are left out (--common)."
            )
        for s in sources:
            if s.unscored.get(b.name):
                found.append(f"{b.name}: {s.unscored[b.name]} samples of {s.name} have no score.")
    for s in sources:
        if s.skipped:
            found.append(
                f"Of the folders of {s.name}, {words.several(s.skipped)} "
                f"{'is' if len(s.skipped) == 1 else 'are'} not read: no files of outcomes."
            )
    for name in dict.fromkeys(name for s in sources for name in s.texts):
        found.append(
            f"{name} is left out: it is a text, whose passages are neither right nor wrong; how "
            "probable they are, the study's table keepers says."
        )
    return found
