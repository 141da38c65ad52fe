"""A walker who goes where he is told: states, steps, and the actions that lead to the destination.

Nothing here knows a rule or a text: an action is any of either rule (`texts`). A street has as many
stops as `routes.rail` keeps of its points where none is dropped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from healscope.tasks.navigation.routes import Place, side
from healscope.tasks.navigation.streets import Town
from healscope.tasks.navigation.texts import FORWARD, STOP, turned_to


class State(NamedTuple):
    """Where a walker is.

    Attributes:
        place: what is there; of an intersection that he began at and has not left, "start".
        at: the intersection, or on a street the one that he comes from.
        heading: which way he faces, 0 to 359 degrees.
        towards: on a street, the intersection at its end.
        gone: on a street, how many of its stops he has reached.
        blocked: his last action led nowhere.
    """

    place: Place
    at: int
    heading: int
    towards: int = -1
    gone: int = 0
    blocked: bool = False


class Step(NamedTuple):
    """What an action leads to; `done`: the walk ends; `success`: at its destination."""

    state: State
    done: bool
    success: bool


@dataclass(frozen=True, eq=False)
class World:
    """A town to walk in; `points` and `clearance` (metres) of streets are as in `routes.rail`."""

    town: Town
    points: int
    clearance: float
    _ways: dict[tuple[int, int, str], int | None] = field(default_factory=dict)

    def step(self, goal: int, state: State, action: str) -> Step:
        """Return what an action leads to, on the way to intersection `goal`.

        A turn faces a street and walks to its first stop; FORWARD walks to the next stop, or from
        an intersection straight on. What no street allows leaves the walker where he is, and so
        does a turn between intersections. STOP ends the walk.
        """
        if action == STOP:
            return Step(state, True, state.place == "destination")
        if state.place == "street":
            gone = state.gone + 1
            end = state.towards if action == FORWARD else None
        else:
            gone, end = 1, self._way(state.at, state.heading, turned_to(action))
        if end is None:
            return Step(state._replace(blocked=True), False, False)
        heading = self.town.heading(state.at, end)
        if gone <= self._stops(state.at, end):
            return Step(State("street", state.at, heading, end, gone), False, False)
        place = "destination" if end == goal else "intersection"
        return Step(State(place, end, heading), False, False)

    def shortest(
        self, goal: int, state: State, actions: Sequence[str], streets: Collection[tuple[int, int]]
    ) -> list[str] | None:
        """Return the fewest actions that end a walk at its destination, along these `streets`
        (start, end) alone; None where none do. Of several ways the first in order of `actions`."""
        begin = state._replace(blocked=False)
        before: dict[State, tuple[State, str] | None] = {begin: None}
        queue = deque([begin])
        while queue:
            here = queue.popleft()
            if here.place == "destination":
                found = [STOP]
                while before[here] is not None:
                    here, action = before[here]
                    found.append(action)
                return found[::-1]
            for action in actions:
                there = self.step(goal, here, action).state
                if there.blocked or there in before:
                    continue
                start, end = (there.at, there.towards) if there.place == "street" else (
                    here.at, there.at
                )  # fmt: skip
                if (start, end) in streets:
                    before[there] = here, action
                    queue.append(there)
        return None

    def landmark(self, goal: int, state: State) -> tuple[str, str] | None:
        """Return (name, side) of what is seen: at an intersection that directions mention, and at
        the destination."""
        if state.place not in ("intersection", "destination"):
            return None
        if not (self.town.known[state.at] or state.at == goal):
            return None
        name, direction = self.town.landmarks[state.at]
        return name, side(state.heading, direction)

    def _way(self, at: int, heading: int, word: str) -> int | None:
        key = at, heading, word
        if key not in self._ways:
            self._ways[key] = self.town.way(*key)
        return self._ways[key]

    def _stops(self, start: int, end: int) -> int:
        metres = math.dist(self.town.places[start], self.town.places[end])
        gone = [metres * at / self.points for at in range(1, self.points + 1)]
        return sum(min(g, metres - g) > self.clearance for g in gone)
