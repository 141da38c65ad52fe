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
