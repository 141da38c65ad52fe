"""`healscope compare`: its arguments, and its exit codes."""

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from healscope.errors import HealscopeError  # a comparison loads the rest


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


def with_own_codes(run: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command and return its exit code, which is its answer: Python and argparse end with 1
    and 2 after errors, for which it has a code of its own."""
    from healscope.outcomes.gate import WRONG_INPUT
    from healscope.outcomes.words import printable

    try:
        return run(arguments)
    except HealscopeError as error:
        print(f"healscope: {printable(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    except SystemExit as stop:
        return WRONG_INPUT if stop.code else 0
    except Exception:  # a fault of ours must not look like an answer
        traceback.print_exc()
        return WRONG_INPUT


def _compare(given: argparse.Namespace) -> int:
    from healscope.outcomes import gate, page, words
    from healscope.outcomes.comparing import compare

    models: dict[str, list[Path]] = {}
    for text in given.models:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:  # a path alone is named after its last part
            name, path = Path(text).stem, text
        models.setdefault(name, []).append(Path(path))
    metrics = dict(
        (name if equals else "", metric if equals else text)
        for text in given.metric
        for name, equals, metric in [text.partition("=")]
    )
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
