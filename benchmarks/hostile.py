"""Time of the verifier and of feedback on random and hostile responses, and whether any raises.

    python benchmarks/hostile.py [--responses 100000] [--seed 1]

Two calls are timed: `verify` with `first_error`, and `feedback` at level full where the answer is
not correct. Two passes over the same responses, the second without the garbage collector, which
other work can make slow; then the slowest once more, to tell slow responses from interruptions by
other processes. Ends with an error if a response made a call raise, or if the slowest call takes
more than LIMIT milliseconds even then.
"""

from __future__ import annotations

import argparse
import gc
import platform
import sys
from collections import Counter
from heapq import heappush, heappushpop
from pathlib import Path
from time import perf_counter

import numpy as np
from verdicts import cpu_model

from healscope.tasks.cards.feedback import feedback
from healscope.tasks.cards.verifier import first_error, verify

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from hostile_responses import Case, hostile_responses  # noqa: E402

SLOWEST = 20
REPEATS = 5
CALLS = ("verify", "feedback")
LIMIT = 10.0
"""Milliseconds that no call may take, once noise is removed."""


def milliseconds(case: Case) -> tuple[tuple[float, float], str]:
    """The time of each of CALLS, and the outcome or the name of an exception."""
    task, problem, text = case
    start = between = perf_counter()
    try:
        verdict = verify(task, problem, text)
        first_error(verdict.parsed, verdict.follows_rule, verdict.uses_numbers, verdict.outcome)
        found = verdict.outcome
        between = perf_counter()
        if found != "correct":
            feedback(task, problem, verdict, text, "full")
    except Exception as error:
        found = f"exception {type(error).__name__}"
    end = perf_counter()
    return (1000 * (between - start), 1000 * (end - between)), found


def run(n: int, seed: int) -> tuple[np.ndarray, Counter, list[Case]]:
    """Milliseconds of each call (n, 2), how often each outcome came, and the slowest cases."""
    times, outcomes, slowest = np.empty((n, len(CALLS))), Counter(), []
    for i, case in enumerate(hostile_responses(n, seed)):
        times[i], found = milliseconds(case)
        outcomes[found] += 1
        entry = (times[i].max(), i, case)
        if len(slowest) < SLOWEST:
            heappush(slowest, entry)
        else:
            heappushpop(slowest, entry)
    return times, outcomes, [case for _, _, case in slowest]


def main() -> None:
    """Print what was measured; ends with an error if a response made a call raise or take long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--responses", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"cpu {cpu_model()}, python {platform.python_version()}, one thread")

    times, outcomes, slowest = run(args.responses, args.seed)
    print(f"{args.responses:,} responses: " + ", ".join(f"{k} {v:,}" for k, v in outcomes.items()))
    raised = sum(n for found, n in outcomes.items() if found.startswith("exception"))
    print(f"exceptions: {raised}")
    report("garbage collector on ", times)
    gc.disable()
    times, _, also = run(args.responses, args.seed)
    report("garbage collector off", times)

    print(f"slowest once noise is removed (best of {REPEATS}; the slowest {SLOWEST} of each pass):")
    cases = slowest + also
    best = np.array([[milliseconds(c)[0] for _ in range(REPEATS)] for c in cases]).min(1)
    for name, column in [*zip(CALLS, best.T, strict=True), ("both", best.sum(1))]:
        task, _, text = cases[column.argmax()]
        print(f"  {name}: {column.max():.3f} ms, {task.name}, {len(text):,} characters, ", end="")
        print(f"{text[:40]!r}...")
    if raised:
        sys.exit("a call raised: see the outcomes above")
    if best.max() > LIMIT:
        sys.exit(f"the slowest call took more than {LIMIT:g} ms")


def report(name: str, times: np.ndarray) -> None:
    """One line a call: mean, 99.9th percentile and maximum in milliseconds."""
    for call, column in zip(CALLS, times.T, strict=True):
        print(
            f"{name}, {call}: mean {column.mean():.4f} ms, p99.9 "
            f"{np.quantile(column, 0.999):.3f} ms, max {column.max():.3f} ms"
        )


if __name__ == "__main__":
    main()
