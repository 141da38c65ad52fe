"""What a figure found, in one line, computed from its table.

A change whose interval holds zero is never said to be one. Where a table has accuracies and no
paired changes, the interval of a difference is that of two independent accuracies, which is wider
than the paired one of the claims; where the place with the best value was picked, it is wide enough
to hold for all places at once (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable
from math import hypot, isnan
from statistics import NormalDist
from typing import Any

import pandas as pd

from healscope.artifacts import LANDMARK_NAMES
from healscope.figures.layout import by_seed
from healscope.schema import IN_NATS, IN_SHARES

_UNITS = {IN_SHARES: (100, "points", 1), IN_NATS: (1, "nats per token", 2)}
"""Unit of a table -> factor, unit and digits of a message."""
_MOST = 4  # tracks with a line of their own

Change = tuple[float, float, float]
"""Value, low, high: shares, unless another `unit` is said."""


def by_track(frame: pd.DataFrame, say: Callable[[pd.DataFrame], str]) -> str:
    """Return what `say` says of the rows of each track, each on a line if there are several."""
    said = {track: say(own) for track, own in frame.groupby("track", sort=False)}
    if len(said) == 1:
        (text,) = said.values()
        return text[:1].upper() + text[1:]
    more = len(said) - _MOST
    lines = [f"{track}: {text}" for track, text in list(said.items())[:_MOST]]
    return "\n".join([*lines, *([f"and {more} more in the table"] if more > 0 else [])])


def number(value: float, digits: int = 1) -> str:
    """Format a number with two digits or more."""
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    """Format a number with its sign."""
    return ("+" if value >= 0 else "\N{MINUS SIGN}") + number(abs(value), digits)


def level(row: Any, value: str = "accuracy") -> str:
    """Return a share in percent with its interval, of a row with `value`, low and high."""
    low, high = (number(100 * max(0, row[end])) for end in ("low", "high"))
    return f"{number(100 * row[value])}% [{low}, {high}]"


def of_row(row: Any, value: str = "accuracy") -> Change:
    """Return the change that a row has in `value`, with its interval."""
    return float(row[value]), float(row["low"]), float(row["high"])


def difference(after: Change, before: Change, places: int = 1) -> Change:
    """Return the change between two accuracies as if independent, with an interval that holds at
    so many places at once."""
    value = after[0] - before[0]
    below = hypot(after[0] - after[1], before[2] - before[0])
    above = hypot(after[2] - after[0], before[0] - before[1])
    return widened((value, value - below, value + above), places)


def widened(change: Change, places: int) -> Change:
    """Return a change whose 95% interval holds at so many places at once (Bonferroni)."""
    normal = NormalDist()
    by = normal.inv_cdf(1 - 0.025 / max(1, places)) / normal.inv_cdf(0.975)
    value, low, high = change
    return value, value - by * (value - low), value + by * (high - value)


def established(change: Change) -> bool:
    """Return whether the interval of a change leaves out zero."""
    return change[1] > 0 or change[2] < 0


def effect(what: str, change: Change, where: str = "", unit: str = IN_SHARES) -> str:
    """Return a sentence on a change of shares, in percentage points with its interval.

    "OOD falls by 7.0 points after step 9 [3.0, 11]", or "no change of OOD established after step 9:
    +1.0 points [−3.0, +5.0]" where the interval holds zero.
    """
    by, name, digits = _UNITS[unit]
    value, low, high = (by * part for part in change)
    where = f" {where}" if where else ""
    if isnan(value) or isnan(low):
        return f"{what} was not measured{where}"
    if low <= 0 <= high:
        return f"no change of {what} established{where}: {points(change, unit)}"
    verb = "rises" if low > 0 else "falls"
    ends = sorted((abs(low), abs(high)))
    value, low, high = (number(x, digits) for x in (abs(value), *ends))
    return f"{what} {verb} by {value} {name}{where} [{low}, {high}]"


def points(change: Change, unit: str = IN_SHARES) -> str:
    """Return a change in percentage points with its interval, all signed."""
    by, name, digits = _UNITS[unit]
    value, low, high = (signed(by * part, digits) for part in change)
    return f"{value} {name} [{low}, {high}]"


def after_best(frame: pd.DataFrame, what: str, value: str = "accuracy") -> str:
    """Return how far accuracy changes from its best step to the last, of rows of one curve.

    The interval holds for every step at once, since the best one was picked.
    """
    whole = by_seed(frame)[0].dropna(subset=[value]).sort_values("step")
    if whole.empty:
        return f"{what} was not measured"
    best, last = whole.loc[whole[value].idxmax()], whole.iloc[-1]
    if best["step"] == last["step"]:
        return f"{what} is best at the last step, {last['step']}: {level(last, value)}"
    change = difference(of_row(last, value), of_row(best, value), len(whole) - 1)
    return effect(what, change, f"after step {best['step']}")


def between_landmarks(frame: pd.DataFrame, what: str) -> str:
    """Return how accuracy changes from MaxOOD to End and from there to RL, as far as measured."""
    whole = by_seed(frame)[0].set_index("landmark")
    names = [name for name in LANDMARK_NAMES if name in whole.index]
    said = [
        effect(
            what,
            difference(of_row(whole.loc[after]), of_row(whole.loc[before])),
            f"from {LANDMARK_NAMES[before]} to {LANDMARK_NAMES[after]}",
        )
        for before, after in zip(names, names[1:], strict=False)
    ]
    return "; ".join(said) or f"{what} is {level(whole.iloc[0])} at {LANDMARK_NAMES[names[0]]}"


def over_seeds(values: pd.Series, unit: str = "") -> str:
    """Return the mean over seeds with its unit, and the range of the seeds if they differ.

    Shares are in percent where the unit is "%".
    """
    if unit == "%":
        mean, low, high = (number(100 * x) for x in (values.mean(), values.min(), values.max()))
    else:
        mean, low, high = (f"{x:.2g}" for x in (values.mean(), values.min(), values.max()))
    seeds = f" (seeds {low} to {high})" if low != high else ""
    return f"{mean}{unit}{seeds}".replace("-", "\N{MINUS SIGN}")


def counted(
    what: str, place: str, changes: dict[str, Change], by: str = "", unit: str = IN_SHARES
) -> str:
    """Return at how many places something rises or falls, and where it does most.

    `place` says what the keys of `changes` are. Intervals hold for all of them at once.
    """
    changes = {name: change for name, change in changes.items() if not isnan(change[0])}
    if not changes:
        return f"{what} was not measured"
    scale, name, digits = _UNITS[unit]
    wide = {key: widened(change, len(changes)) for key, change in changes.items()}
    by = f" {by}" if by else ""
    total = f"{len(wide)} {place}{'s' if len(wide) > 1 else ''}"
    said = []
    for verb, sign in (("rises", 1), ("falls", -1)):
        clear = {n: c for n, c in wide.items() if established(c) and sign * c[0] > 0}
        if clear:
            most = max(clear, key=lambda key: sign * clear[key][0])
            value, *ends = (number(abs(scale * part), digits) for part in clear[most])
            low, high = ends[::sign]
            how_many = f"{len(clear)}" if said else f"{len(clear)} of {total}"
            said.append(
                f"{verb}{'' if said else by} for {how_many}, most for {most}: "
                f"{value} {name} [{low}, {high}]"
            )
    if said:
        return f"{what} {', '.join(said)}"
    reach = [signed(scale * pick(c[0] for c in wide.values()), digits) for pick in (min, max)]
    if len(wide) == 1:
        ((only, change),) = wide.items()
        return f"no change of {what} established{by}, for {only}: {points(change, unit)}"
    return f"no change of {what} established{by} for any of {total}: {' to '.join(reach)} {name}"
