"""Numbers and tables as Markdown: accuracies in percent, changes in points (100 = all problems).

What a row's `unit` says to be in nats per token stands as it is, with three digits.
"""

from collections.abc import Iterable

import pandas as pd

from healscope.schema import IN_ITERATIONS, IN_NATS, IN_SHARES


def cell(value: float, form: str) -> str:
    """Format a number; a dash where it is missing."""
    return "–" if pd.isna(value) else f"{value:{form}}"


def chance(p: float) -> str:
    """Format a p-value; a dash where it is missing."""
    return "below 0.001" if p < 0.001 else cell(p, ".3f")


def thousands(value: float) -> str:
    return cell(value / 1000, ".0f")


def percent(value: float, unit: str = IN_SHARES) -> str:
    return _number(value, ".1f", unit)


def points(value: float, unit: str = IN_SHARES) -> str:
    return _number(value, "+.1f", unit)


def _number(value: float, form: str, unit: str) -> str:
    """Format a share in hundredths, else a number as it is; a dash where it is missing."""
    if unit == IN_NATS:
        return cell(value, form.replace(".1f", ".3f"))
    if unit == IN_ITERATIONS:
        return cell(value, form)
    return cell(100 * value, form)


def limits(row, form: str = "+.1f", low: str = "low", high: str = "high") -> str:
    """Format an interval of shares, in hundredths; empty where it is missing."""
    if pd.isna(row[low]):
        return ""
    unit = row.get("unit", IN_SHARES)
    return f"[{_number(row[low], form, unit)}, {_number(row[high], form, unit)}]"


def estimate(row, column: str = "effect", form: str = "+.1f", prefix: str = "") -> str:
    """Format a share or a change with its interval, in hundredths.

    The interval is in columns `low` and `high`, with `prefix` before them.
    """
    if pd.isna(row[column]):
        return "–"
    ends = limits(row, form, f"{prefix}low", f"{prefix}high")
    return f"{_number(row[column], form, row.get('unit', IN_SHARES))} {ends}"


def level(row, column: str = "accuracy") -> str:
    """Format an accuracy with its interval, in percent."""
    return estimate(row, column, ".1f")


def at(table: pd.DataFrame, key: tuple, column: str = "accuracy", form: str = ".1f") -> str:
    """Format the estimate in one row of an indexed table; a dash where there is no such row."""
    return estimate(table.loc[key], column, form) if key in table.index else "–"


def crossed(table: pd.DataFrame, rows: str, columns: str, names: Iterable[str], value: str) -> str:
    """Return a grid of estimates in percent, with a row for each of one column and a column for
    each of `names`, in their order, that another column has."""
    there = [name for name in names if name in set(table[columns])]
    placed = table.set_index([rows, columns])
    found = [
        (key, *(at(placed, (key, name), value) for name in there))
        for key in dict.fromkeys(table[rows])
    ]
    return grid([rows, *(f"{name} (%)" for name in there)], found)


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def grid(header: list[str], rows: Iterable[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def padded(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines of a table that is aligned also as plain text, and an empty line."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return [line(head), line(["-" * w for w in widths]), *map(line, rows), ""]
