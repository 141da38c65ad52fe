"""`healscope compare`: its arguments, and how it is run."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from healscope.errors import HealscopeError  # a comparison loads the rest

ENDINGS = (".jsonl", ".json", ".eval", ".parquet")
"""Of files of outcomes; the name of a model goes without them."""


def add(commands) -> None:
    """Add the command to those of `healscope`."""
    one = commands.add_parser(
        "compare", help="what models lost and gained, from logs of lm-eval or inspect, or JSONL"
    )
    one.add_argument(
        "models", nargs="+", metavar="NAME=PATH",
        help="a file or folder of outcomes under a name; the first is what others are compared "
        "with; the same name again adds files",
    )  # fmt: skip
    one.add_argument("--out", type=Path, help="folder for compare.html, compare.md, compare.json")
    one.add_argument(
        "--fail-if", action="append", default=[], metavar="CONDITION",
        help='as "gsm8k < -3", "any < -3" or "sft: mean < -1", in points: exit code 1 if the '
        "interval says so, 2 if it cannot tell, 0 if it excludes it, 3 after an error",
    )  # fmt: skip
    one.add_argument(
        "--metric", action="append", default=[], metavar="[BENCHMARK=]METRIC[,FILTER]",
        help="what says that an answer is right, where a file has several",
    )  # fmt: skip
    one.add_argument(
        "--margin", type=float, default=2.0, help="points up to which a change counts as none (2)"
    )
    one.add_argument(
        "--common", action="store_true", help="compare only benchmarks and items that all have"
    )
    one.add_argument(
        "--flips", type=int, default=10, metavar="N",
        help="show N items lost, and gained, of each pair and benchmark (10)",
    )  # fmt: skip
    one.set_defaults(run=_compare)


def _compare(given: argparse.Namespace) -> int:
    from healscope.outcomes import gate, page, words
    from healscope.outcomes.comparing import compare

    models = named(given.models)
    metrics = dict(
        (name if equals else "", metric if equals else text)
        for text in given.metric
        for name, equals, metric in [text.partition("=")]
    )
    if len(metrics) < len(given.metric) or not all(metrics.values()):
        raise HealscopeError("--metric is BENCHMARK=METRIC, once for each benchmark; correct it")
    if not 0 <= given.margin <= 100 or given.flips < 0:
        raise HealscopeError("--margin is from 0 to 100 points, --flips 0 or more; correct it")
    report = compare(
        list(models.items()), metrics=metrics, fail_if=given.fail_if,
        margin=given.margin / 100, common=given.common, flips=given.flips,
    )  # fmt: skip
    written = page.write(report, given.out) if given.out else None
    print(words.markdown(report))
    if written:
        print(f"{written} is the page")
    return report["gate"]["code"] if report["gate"] else gate.FINE


def named(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Return name -> paths of NAME=PATH; a path alone is named after its last part."""
    models: dict[str, list[Path]] = {}
    alone: set[str] = set()
    for text in texts:
        name, equals, path = text.partition("=")
        unnamed = not equals or "/" in name
        if unnamed:
            place = Path(os.path.abspath(text))
            name, path = place.stem if place.suffix in ENDINGS else place.name, text
        if not name.strip() or not path:
            raise HealscopeError(f"'{text}' lacks a name or a path; give it as NAME=PATH")
        if name in models and (unnamed or name in alone):
            raise HealscopeError(
                f"{models[name][0]} and {path} are both called {name}; give them as NAME=PATH"
            )
        if unnamed:
            alone.add(name)
        models.setdefault(name, []).append(Path(path))
    return models
