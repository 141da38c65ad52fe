"""Read files of outcomes and line their items up: the same benchmarks and items of every model."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from healscope.errors import HealscopeError
from healscope.outcomes import answers as checks
from healscope.outcomes import evaluations, inspect_logs, lm_eval_samples
from healscope.outcomes.answers import Answer, lines, number, shown

LM_EVAL, INSPECT, OUTCOMES = "lm-evaluation-harness", "inspect", "outcome JSONL"
STUDY = "a study's evaluations"

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz")
"""Endings of files that have to be unpacked first."""

KEYS = {
    "item": (str, int), "group": str, "correct": object, "score": (int, float), "text": str,
    "instance": (str, int), "sample": (str, int), "unread": bool, "question": str, "target": str,
}  # fmt: skip
"""Keys of an outcome file, and their types; the first three are needed."""


@dataclass
class Source:
    """What the files of one model hold. `unscored`: benchmark -> samples without a score; `texts`:
    keepers whose answers are neither right nor wrong; `skipped`: files of its folders that are of
    no known kind."""

    name: str
    tool: str = ""
    answers: list[Answer] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    unscored: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark as all models answered it; arrays have an entry for each item (I).

    `metric`: what judged every answer, "" where files hold one verdict of each; `correct`: source
    -> share of right samples of each item; `unread` likewise, or None where its
    file does not tell; `first`: source -> the first sample of each item; `halves` are 0 or 1, whole
    instances in one half; `prompts_differ`: source -> items that were asked in other words than of
    the first source.
    """

    name: str
    items: list[str]
    instances_I: np.ndarray
    halves_I: np.ndarray
    correct: dict[str, np.ndarray]
    unread: dict[str, np.ndarray | None]
    first: dict[str, list[Answer]]
    prompts_differ: dict[str, int]
    metric: str = ""
    left_out: int = 0


def source(name: str, paths: Iterable[Path], metrics: Mapping[str, str]) -> Source:
    """Read the files and folders of one model. `metrics`: benchmark, or "", -> what counts."""
    found = Source(name)
    where_from: dict[str, Path] = {}
    for path in (file for given in paths for file in _files(given, found.skipped)):
        tool, answers, unscored = _read(path, metrics)
        if found.tool and tool != found.tool:
            raise HealscopeError(
                f"{name}: {path} is of {tool}, the files before it of {found.tool}; give files of "
                "one tool"
            )
        for benchmark in dict.fromkeys(answer.benchmark for answer in answers):
            if benchmark in where_from:
                raise HealscopeError(
                    f"{name}: both {where_from[benchmark]} and {path} hold {benchmark}; name the "
                    "file that you mean instead of the folder"
                )
            where_from[benchmark] = path
            found.unscored[benchmark] = unscored
        if tool == STUDY and not answers:
            found.texts.append(evaluations.task_of(path))
        found.tool = tool
        found.files.append(str(path))
        found.answers += answers
    if not found.answers:
        raise HealscopeError(
            f"{name}: no answer in {', '.join(found.files)} is right or wrong; name another file "
            "(how probable a text is, the study's table keepers says)"
        )
    return found


def _files(given: Path, skipped: list[str]) -> list[Path]:
    """Return a file, or all files of outcomes in a folder and the folders in it; add the names of
    those that are no outcomes to `skipped`."""
    if given.is_file():
        return [given]
    if not given.exists():
        raise HealscopeError(f"there is no {given}; check the path")
    if not given.is_dir():
        raise HealscopeError(f"{given} is neither a file nor a folder; write it to a file first")
    found = []
    for path in sorted(_inside(given)):
        if _tool(path):
            found.append(path)
        elif not lm_eval_samples.RESULTS.fullmatch(path.name):
            skipped.append(shown(path.name))
    if not found:
        raise HealscopeError(
            f"{given} has no files of outcomes: samples_*.jsonl of lm-evaluation-harness (written "
            "with --log_samples), logs of inspect, evaluations of a study, or JSON lines; name "
            "another folder"
        )
    return found


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and the folders in it, also behind links. Raises OSError."""

    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse, followlinks=True):
        yield from (Path(place, name) for name in names)


def _tool(path: Path) -> str:
    """Return what wrote a file, by its name or beginning; "" if that is unknown."""
    if path.suffix in PACKED:
        raise HealscopeError(
            f"{path} is packed and cannot be read; unpack it, or take it out of the folder"
        )
    if lm_eval_samples.FILE.fullmatch(path.name):
        return LM_EVAL
    if path.suffix == ".eval" or (path.suffix == ".json" and inspect_logs.is_log(path)):
        return INSPECT
    if evaluations.is_evaluation(path):
        return STUDY
    return OUTCOMES if path.suffix == ".jsonl" else ""


def _read(path: Path, metrics: Mapping[str, str]) -> tuple[str, list[Answer], int]:
    tool = _tool(path)
    if tool == LM_EVAL:
        return LM_EVAL, lm_eval_samples.read(path, metrics), 0
    if tool == INSPECT:
        return INSPECT, *inspect_logs.read(path, metrics)
    if path.suffix == ".json":
        raise HealscopeError(
            f"{path} is no log of inspect; of lm-evaluation-harness, give the folder or the "
            "samples_*.jsonl that --log_samples writes, since results_*.json has no items"
        )
    if metrics:
        raise HealscopeError(
            f"--metric names {', '.join(metrics.values())}, but {path} has one verdict of each "
            "item; leave --metric out"
        )
    return (STUDY, evaluations.read(path), 0) if tool == STUDY else (OUTCOMES, _outcomes(path), 0)


def _outcomes(path: Path) -> list[Answer]:
    """Read JSON lines of outcomes (KEYS)."""
    found = []
    for where, row in lines(path):
        if {"doc_id", "filter"} <= set(row):
            raise HealscopeError(
                f"{path} is of lm-evaluation-harness, under another name; call it as the harness "
                "did: samples_TASK_DATE.jsonl, as samples_gsm8k_2026-01-31T12-00-00.jsonl"
            )
        for key, kind in KEYS.items():
            if key in ("item", "group", "correct") or row.get(key) is not None:
                value = checks.field(row, key, kind, where)
                if isinstance(value, bool) and kind not in (bool, object):  # a bool is an int
                    raise HealscopeError(f"{where}: '{key}' is {value}; write a text or a number")
        found.append(_outcome(row, where))
    if not found:
        raise HealscopeError(f"{path} is empty; write a line for each item")
    return found


def _outcome(row: dict[str, Any], where: str) -> Answer:
    if not row["group"]:
        raise HealscopeError(f"{where}: 'group' is empty; name the benchmark")
    text = {key: shown(row.get(key) or "") for key in ("text", "question", "target")}
    score = row.get("score")
    if score is not None and not abs(score) < 1e300:
        raise HealscopeError(f"{where}: 'score' is {str(score)[:60]}, no finite number; correct it")
    correct = number(row["correct"], where, "'correct'")
    unread = row.get("unread")
    return Answer(
        benchmark=shown(row["group"]),
        item=shown(str(row["item"])),
        correct=correct,
        sample=str(row.get("sample", "")),
        instance=str(row.get("instance", "")),
        unread=None if unread is None else unread and correct == 0,
        document=shown([text["question"], text["target"]]) if text["question"] else "",
        score=score,
        **text,
    )


def line_up(sources: list[Source], common: bool) -> list[Benchmark]:
    """Return the benchmarks that all sources answered, in the order of the first source.

    Every source must have the same items of each, or with `common` only those that all have are
    kept. Raises HealscopeError in a sentence: other benchmarks or items, duplicates, the same item
    with another question, nothing in common.
    """
    first = sources[0]
    for other in sources[1:]:
        if other.tool != first.tool:
            raise HealscopeError(
                f"{first.name} is of {first.tool} and {other.name} of {other.tool}, whose items "
                "cannot be lined up; evaluate both with one tool"
            )
    tables = {one.name: _by_benchmark(one) for one in sources}
    found = []
    for name in dict.fromkeys(b for table in tables.values() for b in table):
        absent = [one.name for one in sources if name not in tables[one.name]]
        if absent and not common:
            raise HealscopeError(
                f"{absent[0]} has no {name}, which another source has; evaluate it, or compare "
                "only what all have with --common"
            )
        if not absent:
            found.append(_benchmark(name, {n: table[name] for n, table in tables.items()}, common))
    if not found:
        raise HealscopeError(
            f"{first.name} and {sources[-1].name} have no benchmark in common; compare models "
            "that were asked the same"
        )
    return found


Samples = dict[str, list[Answer]]
"""item -> its answers."""


def _by_benchmark(one: Source) -> dict[str, Samples]:
    found: dict[str, Samples] = defaultdict(lambda: defaultdict(list))
    seen = set()
    for answer in one.answers:
        key = (answer.benchmark, answer.item, answer.sample)
        if key in seen:
            raise HealscopeError(
                f"{one.name}: {answer.benchmark} has item {answer.item} twice; leave one out, or "
                "tell repeated answers apart (key 'sample' of outcome JSONL)"
            )
        seen.add(key)
        found[answer.benchmark][answer.item].append(answer)
    return found


def _benchmark(name: str, tables: dict[str, Samples], common: bool) -> Benchmark:
    base, first = next(iter(tables.items()))
    kept = [item for item in first if all(item in samples for samples in tables.values())]
    every = {item for samples in tables.values() for item in samples}
    for other, samples in tables.items():
        odd = next((i for i in (*first, *samples) if (i in first) != (i in samples)), None)
        if odd is not None and not common:
            has, lacks = (base, other) if odd in first else (other, base)
            raise HealscopeError(
                f"{name}: {has} has item {odd} and {lacks} has not ({len(first)} and "
                f"{len(samples)} items); evaluate both on the same items, or compare only those "
                "that all have with --common"
            )
        for item in kept:
            _same_question(name, item, base, first[item][0], other, samples[item][0])
    if not kept:
        raise HealscopeError(f"{name}: no item is in all sources; evaluate all on the same items")
    instances = [first[item][0].instance or item for item in kept]
    codes = {instance: i for i, instance in enumerate(dict.fromkeys(instances))}
    order = sorted(codes, key=lambda i: hashlib.sha256(f"{name}/{i}".encode()).digest())
    half = {instance: place % 2 for place, instance in enumerate(order)}
    return Benchmark(
        name=name,
        items=kept,
        instances_I=np.array([codes[i] for i in instances]),
        halves_I=np.array([half[i] for i in instances]),
        correct={n: _means(t, kept, "correct") for n, t in tables.items()},
        unread={
            n: None
            if any(a.unread is None for item in kept for a in t[item])
            else _means(t, kept, "unread")
            for n, t in tables.items()
        },
        first={n: [t[item][0] for item in kept] for n, t in tables.items()},
        prompts_differ={
            n: sum(t[item][0].prompt != first[item][0].prompt for item in kept)
            for n, t in tables.items()
        },
        metric=_metric(name, tables),
        left_out=len(every) - len(kept),
    )


def _metric(name: str, tables: dict[str, Samples]) -> str:
    """Return what judged all answers; raises HealscopeError where that is not the same."""
    first: dict[str, str] = {}
    for model, samples in tables.items():
        for metric in dict.fromkeys(a.metric for answers in samples.values() for a in answers):
            first.setdefault(metric, model)
    if len(first) > 1:
        (one, base), (another, other) = list(first.items())[:2]
        raise HealscopeError(
            f"{name}: answers of {base} are judged by {one} and those of {other} by {another}, "
            f"which cannot be compared; name one that all have: --metric {name}=NAME"
        )
    return next(iter(first))


def _means(samples: Samples, items: list[str], what: str) -> np.ndarray:
    return np.array(
        [sum(float(getattr(a, what)) for a in samples[i]) / len(samples[i]) for i in items]
    )


def _same_question(
    name: str, item: str, base: str, one: Answer, other: str, another: Answer
) -> None:
    if one.document and another.document and one.document != another.document:
        raise HealscopeError(
            f"{name}: item {item} of {base} and of {other} are not the same question; evaluate "
            "both on the same version of the benchmark"
        )
