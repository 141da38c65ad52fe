"""Time of the verifier on random and hostile responses, and whether any makes it raise.

    python benchmarks/hostile.py [--responses 100000] [--seed 1]

One call is `verify` with `first_error`. Two passes over the same responses, the second without
the garbage collector, which other work can make slow; then the slowest once more, to tell slow
responses from interruptions by other processes.
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

from healscope.tasks.verdict import first_error, verify

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from hostile_responses import Case, hostile_responses  # noqa: E402

SLOWEST = 20
REPEATS = 5


def milliseconds(case: Case) -> tuple[float, str]:
    """The time of one call, and the outcome or the name of an exception."""
    task, problem, text = case
    start = perf_counter()
    try:
        verdict = verify(task, problem, text)
        first_error(verdict.parsed, verdict.follows_rule, verdict.uses_numbers, verdict.outcome)
        found = verdict.outcome
    except Exception as error:
        found = f"exception {type(error).__name__}"
    return 1000 * (perf_counter() - start), found


def run(n: int, seed: int) -> tuple[np.ndarray, Counter, list[Case]]:
    """Milliseconds of each response (n,), how often each outcome came, and the slowest cases."""
    times, outcomes, slowest = np.empty(n), Counter(), []
    for i, case in enumerate(hostile_responses(n, seed)):
        times[i], found = milliseconds(case)
        outcomes[found] += 1
        entry = (times[i], i, case)
        if len(slowest) < SLOWEST:
            heappush(slowest, entry)
        else:
            heappushpop(slowest, entry)
    return times, outcomes, [case for _, _, case in slowest]


def main() -> None:
    """Print what was measured; ends with an error if a response made the verifier raise."""
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

    best = [(min(milliseconds(case)[0] for _ in range(REPEATS)), case) for case in slowest + also]
    worst, (task, _, text) = max(best, key=lambda found: found[0])
    print(
        f"slowest once noise is removed (best of {REPEATS} for the slowest {SLOWEST} of each "
        f"pass): {worst:.3f} ms, {task.name}, {len(text):,} characters, {text[:50]!r}..."
    )
    if raised:
        sys.exit("the verifier raised: see the outcomes above")


def report(name: str, times: np.ndarray) -> None:
    """One line: mean, 99.9th percentile and maximum in milliseconds."""
    print(
        f"{name}: mean {times.mean():.4f} ms, p99.9 {np.quantile(times, 0.999):.3f} ms, "
        f"max {times.max():.3f} ms"
    )


if __name__ == "__main__":
    main()
