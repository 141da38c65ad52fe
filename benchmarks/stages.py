"""Where the time of the last run went: seconds of each rule's jobs, from Snakemake's own records.

python benchmarks/stages.py [folder of the run]
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path


def jobs(folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """(rule, log) -> (start, end) of every job; Snakemake records its files one by one."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for file in (folder / ".snakemake/metadata").rglob("*"):
        if file.is_file():
            record = json.loads(file.read_text())
            found[record["rule"], str(record["log"])] = record["starttime"], record["endtime"]
    return found


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    stages: dict[str, list[float]] = defaultdict(list)
    times = jobs(folder)
    for (rule, _), (start, end) in times.items():
        stage = re.sub(r"fig\w+", "figures", re.sub(r"_\d+$", "", rule))
        stages[stage].append(end - start)
    print(f"{'stage':24} {'jobs':>5} {'seconds':>8} {'longest':>8}")
    for stage, seconds in sorted(stages.items(), key=lambda item: -sum(item[1])):
        print(f"{stage:24} {len(seconds):5} {sum(seconds):8.0f} {max(seconds):8.0f}")
    wall = max(end for _, end in times.values()) - min(start for start, _ in times.values())
    print(f"wall time from the first start to the last end: {wall:.0f} s")


if __name__ == "__main__":
    main()
