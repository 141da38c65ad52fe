"""Problems at known distances from the ID configuration, in levels of reasoning-gym's curricula.

A curriculum lists levels of a data set's attributes, such as 2, 5, 10, 20 terms of a sum. Each step
of the ladder changes one attribute to a level outside the ID configuration, and nothing else. Its
distance is the number of levels beyond the ID configuration; below it distances are negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from healscope.errors import HealscopeError
from healscope.tasks import tables
from healscope.tasks.gym import generators
from healscope.tasks.problem import SIDES, Problem

if TYPE_CHECKING:
    import pandas as pd

    from healscope.tasks.task import Task

ANCHOR = "training rule"
"""Kind of neighbour at distance 0: held-out problems of the ID configuration."""
MOST_STEPS = 5
"""Steps of one attribute, on each side of the ID configuration; the nearest ones."""

Options = Mapping[str, Any]


class Step(NamedTuple):
    """A configuration that differs from the ID configuration in one attribute.

    Attributes:
        attribute: name of the attribute in the curriculum.
        distance: levels between the two.
        options: all options of the data set.
    """

    attribute: str
    distance: int
    options: dict[str, Any]

    @property
    def group(self) -> str:
        return f"{self.attribute}{self.distance:+d}"


def steps(dataset: str, options: Options) -> list[Step]:
    """Return the steps of all attributes of the curriculum that the configuration has a level of.

    A level that reasoning-gym refuses together with the other options is left out. Raises
    HealscopeError on a data set that is refused.
    """
    curriculum = generators.curriculum(dataset)
    if curriculum is None:
        return []
    whole = {**generators.defaults(dataset), **options}
    found = []
    for name, attribute in curriculum.attributes.items():
        low, high = _fields(attribute)
        below, above = _outside(attribute.levels, whole.get(low), whole.get(high))
        around = [(-n, level) for n, level in enumerate(below[::-1][:MOST_STEPS], 1)]
        around += [(n, level) for n, level in enumerate(above[:MOST_STEPS], 1)]
        for distance, level in sorted(around, key=lambda step: step[0]):
            changed = {**options, low: level, high: level}
            if getattr(attribute, "ensure_interval", False):
                changed |= _interval(attribute.levels, level, (low, high), whole)
            if _possible(dataset, changed):
                found.append(Step(name, distance, changed))
    return found


def distance(one: tuple[str, Options], other: tuple[str, Options]) -> int:
    """Return the distance of two configurations (data set, options), at least 1.

    It is the sum over attributes of the levels between the two. It is 1 where the curriculum has no
    levels for what differs, and for another data set: these distances say "different", no more.
    """
    (dataset, here), (another, there) = one, other
    curriculum = generators.curriculum(dataset) if dataset == another else None
    if curriculum is None:
        return 1
    defaults = generators.defaults(dataset)
    total = 0
    for attribute in curriculum.attributes.values():
        low, high = _fields(attribute)
        ends = []
        for options in (here, there):
            whole = {**defaults, **options}
            ends.append([_level(attribute.levels, whole.get(key)) for key in (low, high)])
        apart = [abs(a - b) for a, b in zip(*ends, strict=True) if None not in (a, b)]
        total += max(apart, default=0)
    return max(1, total)


def posed(task: Task, lists: Sequence[tuple[str, int, Sequence[Problem]]]) -> pd.DataFrame:
    """Make the table of a protocol of kind "neighbours" from (kind, distance, problems).

    Columns are those of `tables.COLUMNS`, and draw, retried, neighbour, distance.
    """
    posed = [problem for _, _, problems in lists for problem in problems]
    splits = task.splits()
    listed = {rule: task.listed(rule) for rule in SIDES}
    sides = {rule: [p for p in posed if p.rule == rule] for rule in SIDES}
    # instances that the task lists stay in their half, where another half picks checkpoints
    halves = tables.halve(task, sides, splits) | tables.halve(task, listed, splits)
    frame = tables.frame(task, posed, splits, halves)
    about = [(kind, far) for kind, far, problems in lists for _ in problems]
    return frame.assign(
        draw=frame.groupby("rule").cumcount(),
        retried=False,
        neighbour=[kind for kind, _ in about],
        distance=[far for _, far in about],
    )


def _fields(attribute: Any) -> tuple[str, str]:
    """Return the options that are the lowest and the highest value of an attribute."""
    if hasattr(attribute, "field_name"):
        return attribute.field_name, attribute.field_name
    return attribute.lower_field_name, attribute.upper_field_name


def _outside(levels: list, low: Any, high: Any) -> tuple[list, list]:
    """Return the levels below and above a configuration, nearest last and first.

    Levels that are no numbers have an order alone; a configuration that is none of them has no
    neighbour.
    """
    if all(map(_number, (*levels, low, high))):
        rising = sorted(levels)
        return [v for v in rising if v < low], [v for v in rising if v > high]
    if low == high and low in levels:
        place = levels.index(low)
        return levels[:place], levels[place + 1 :]
    return [], []


def _interval(levels: list, level: Any, names: tuple[str, str], whole: Options) -> Options:
    """Return options that span from a level towards the ID configuration.

    They end at the next level, or at the end of the ID configuration where that is nearer.
    """
    low, high = names
    if level > whole[high]:
        return {low: max([whole[high], *(v for v in levels if v < level)]), high: level}
    return {low: level, high: min([whole[low], *(v for v in levels if v > level)])}


def _level(levels: list, value: Any) -> int | None:
    """Return which level a value is: of numbers how many levels are below it; None if unknown."""
    if all(map(_number, (*levels, value))):
        return sum(level < value for level in levels)
    return levels.index(value) if value in levels else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _possible(dataset: str, options: dict[str, Any]) -> bool:
    """Return whether reasoning-gym takes these options, and makes a problem."""
    try:
        return bool(generators.generator(dataset, options, 0, 1)[0]["question"])
    except HealscopeError:
        return False
