"""Read what lm-evaluation-harness writes with `--log_samples`: `samples_TASK_DATE.jsonl`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healscope.errors import HealscopeError
from healscope.outcomes.answers import Answer, field, lines, number, parsed, shown

FILE = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.jsonl")
RESULTS = re.compile(r"results_.+\.json")

METRICS = (
    "exact_match", "acc", "prompt_level_strict_acc", "pass@1", "pass_at_1", "math_verify",
    "acc_norm",
)  # fmt: skip
"""Metrics of single answers that are right or wrong, more being better; the first that a file has
is taken."""

UNREAD = ("[invalid]", "[]", "")
"""What filters of the harness make of an answer in which they find nothing."""


def read(path: Path, wanted: Mapping[str, str]) -> list[Answer]:
    """Read one file. `wanted`: benchmark, or "" for all, -> METRIC or METRIC,FILTER to count.

    Of several filters the first in the file counts. Raises HealscopeError in a sentence.
    """
    task = FILE.fullmatch(path.name)["task"]
    rows = list(lines(path))
    for where, row in rows:
        for key, kind in (("doc_id", (int, str)), ("filter", str), ("metrics", list)):
            field(row, key, kind, where)
    if not rows:
        raise HealscopeError(f"{path} is empty; evaluate {task} again, or leave the file out")
    metric, _, chosen = wanted.get(task, wanted.get("", "")).partition(",")
    filters = list(dict.fromkeys(row["filter"] for _, row in rows))
    chosen = chosen or filters[0]
    if chosen not in filters:
        raise HealscopeError(f"{path} has no filter '{chosen}', but {', '.join(filters)}")
    kept = [(where, row) for where, row in rows if row["filter"] == chosen]
    summary = _summary(path)
    metric = _metric(kept, metric, _entry(summary, "higher_is_better", task), path, task)
    _complete(path, _entry(summary, "n-samples", task), len(kept))
    return [_answer(row, task, metric, where) for where, row in kept]


def _metric(
    rows: list[tuple[str, dict]], metric: str, higher: dict[str, Any], path: Path, task: str
) -> str:
    """Return the metric that counts: the wanted one, the first of METRICS, or the only one of which
    the results say that more is better (`higher`)."""
    there = [str(name) for name in rows[0][1]["metrics"]]
    if metric and metric not in there:
        raise HealscopeError(f"{path} has no metric '{metric}', but {', '.join(there)}")
    found = metric or next((name for name in METRICS if name in there), "")
    if not found and len(there) == 1 and higher.get(there[0]) is not None:
        found = there[0]
    if not found:
        raise HealscopeError(
            f"{path}: it is not clear which of its metrics ({', '.join(there)}) says whether an "
            f"answer is right, more being better; name one: --metric {task}=NAME"
        )
    if higher.get(found) is False:
        raise HealscopeError(
            f"{path}: of {found} less is better, so a gain would read as a loss; name a metric of "
            f"which more is: --metric {task}=NAME"
        )
    return found


def _answer(row: dict[str, Any], task: str, metric: str, where: str) -> Answer:
    text, unread = _said(row)
    correct = number(field(row, metric, object, where), where, f"'{metric}'")
    return Answer(
        benchmark=shown(task),
        item=shown(str(row["doc_id"])),
        correct=correct,
        unread=None if unread is None else unread and correct == 0,
        text=shown(text),
        question=shown(_argument(row, 0, 0)),
        target=shown(row.get("target", "")),
        document=f"{row.get('doc_hash', '')}{row.get('target_hash', '')}",
        prompt=str(row.get("prompt_hash", "")),
        metric=shown(f"{metric},{row['filter']}"),
    )


def _argument(row: dict[str, Any], request: int, place: int) -> Any:
    requests = row.get("arguments")
    if not isinstance(requests, dict):
        return ""
    found = requests.get(f"gen_args_{request}")
    return found.get(f"arg_{place}", "") if isinstance(found, dict) else ""


def _said(row: dict[str, Any]) -> tuple[Any, bool | None]:
    """Return the answer, and whether the filter found nothing in it (None of choices).

    Of a multiple choice, the answer is the continuation with the largest log-probability.
    """
    responses, filtered = row.get("resps") or [], row.get("filtered_resps") or []
    if not isinstance(responses, list) or not isinstance(filtered, list):
        return "", None
    scored = [_log_probability(one) for one in filtered]
    if scored and None not in scored:
        best = max(range(len(scored)), key=lambda i: scored[i])
        return _argument(row, best if len(scored) > 1 else 0, 1), None
    text = responses[0] if responses else ""
    while isinstance(text, list) and len(text) == 1:
        text = text[0]
    read = filtered[0] if filtered else text
    while isinstance(read, list) and len(read) == 1:
        read = read[0]
    return text, str(read).strip() in UNREAD


def _log_probability(response: Any) -> float | None:
    """Return that of a choice, written as [log-probability, greedy]; None if it is none."""
    if isinstance(response, list) and len(response) == 2 and str(response[1]) in ("True", "False"):
        try:
            return float(response[0])
        except (TypeError, ValueError):
            return None
    return None


def _summary(path: Path) -> dict[str, Any]:
    """Return the results of the same run, which the harness writes beside; empty if not there."""
    summary = path.with_name(f"results_{FILE.fullmatch(path.name)['date']}.json")
    return parsed(summary.read_bytes(), str(summary)) if summary.is_file() else {}


def _entry(summary: dict[str, Any], key: str, task: str) -> dict[str, Any]:
    """Return what results say of a task under a key; empty where they do not."""
    found = summary.get(key)
    own = found.get(task) if isinstance(found, dict) else None
    return own if isinstance(own, dict) else {}


def _complete(path: Path, asked: dict[str, Any], rows: int) -> None:
    """Raise HealscopeError if results of the same run say that there were more items."""
    effective = asked.get("effective")
    if isinstance(effective, int) and effective != rows:
        raise HealscopeError(
            f"{path} has {rows} items where results_*.json of its run says {effective}: it is cut "
            "off, or mixed of two runs; evaluate again"
        )
