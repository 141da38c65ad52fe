"""Numbers and tables as Markdown: accuracies in percent, changes in points."""

from collections.abc import Iterable

import pandas as pd


def thousands(value: float) -> str:
    return "–" if pd.isna(value) else f"{value / 1000:.0f}"


def number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else f"{value:{form}}"


def estimate(row, column: str, form: str = ".1f") -> str:
    if pd.isna(row[column]):
        return "–"
    return f"{100 * row[column]:{form}} {interval(row['low'], row['high'], form)}"


def interval(low: float, high: float, form: str) -> str:
    return "" if pd.isna(low) else f"[{100 * low:{form}}, {100 * high:{form}}]"


def points(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:+.1f}"


def percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f}"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def grid(header: list[str], rows: Iterable[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def padded(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table that a screen shows as one too, and an empty one."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return [line(head), line(["-" * w for w in widths]), *map(line, rows), ""]
