"""A town that is drawn: streets on a bent grid, some of them diagonal, with landmarks.

Routes on it need no download. All eight headings occur, and turns of every sharpness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from healscope.tasks.navigation.routes import COMPASS, Leg, Route, compass, side, turn

if TYPE_CHECKING:
    import numpy as np

OWNERS = (
    *("Alba", "Brook", "Cato", "Dune", "Elm", "Fjord", "Gale", "Hazel", "Iris", "Juno"),
    *("Kite", "Larch", "Mira", "Nova", "Opal", "Pike", "Quill", "Rowan", "Sable", "Tarn"),
)
KINDS = (
    *("Arcade", "Bakery", "Cinema", "Dentist", "Embassy", "Florist", "Garage", "Hotel"),
    *("Institute", "Jeweller", "Kiosk", "Library", "Museum", "Nursery", "Optician", "Pharmacy"),
)
"""A landmark is called by one of each; the compact rendering calls it by its kind alone."""

_WIDTH, _HEIGHT = 14, 14  # intersections
_BLOCK = 90.0  # metres
_BEND = 12.0  # metres, of an intersection off the grid
_CLOSED = 0.04  # share of streets that are not there
_DIAGONAL = 0.45  # share of blocks that a street crosses
_STRAIGHT = 12  # degrees; to go on so straight is no turn, so no route does
_MEANT = {"slightly left": 45, "slightly right": 45}  # degrees; other turns mean 90


@dataclass(frozen=True)
class Town:
    """Intersections with places, streets and landmarks.

    Attributes:
        places: (x, y) of each intersection, metres east and north.
        streets: the intersections that each one is joined with.
        landmarks: (name, direction in degrees) of what stands at each.
        known: whether directions mention it, where it is not the destination.
    """

    places: tuple[tuple[float, float], ...]
    streets: tuple[tuple[int, ...], ...]
    landmarks: tuple[tuple[str, float], ...]
    known: tuple[bool, ...]

    def heading(self, start: int, end: int) -> int:
        """Of the street between two intersections, in whole degrees."""
        (a, b), (c, d) = self.places[start], self.places[end]
        return round(math.degrees(math.atan2(c - a, d - b))) % 360

    def way(self, at: int, heading: int, word: str) -> int | None:
        """Return the intersection that a turn leads towards; None where no street is that way.

        `word` is a compass word, one of RELATIVE, or "" to go straight on. Of several streets that
        a relative turn could mean it is the one nearest to 90 degrees, of a slight turn to 45.
        """
        found = {}
        for end in self.streets[at]:
            towards = self.heading(at, end)
            bend = _bend(heading, towards)
            if word in COMPASS:
                fits, off = compass(towards) == word, _bend(45 * COMPASS.index(word), towards)
            elif word:
                fits = bend > _STRAIGHT and turn(heading, towards, "corrected") == word
                off = abs(bend - _MEANT.get(word, 90))
            else:
                fits, off = bend <= _STRAIGHT, bend
            if fits:
                found[end] = off
        return min(found, key=found.get, default=None)

    def draw_route(
        self, route_id: str, legs: int, rng: np.random.Generator, named: bool = False
    ) -> Route:
        """Return a walk that turns at every intersection and meets none twice.

        `named`: each turn, said in either way, leads to its leg and to no other street (`way`).
        Raises ValueError where the town has none of so many legs.
        """
        for _ in range(1000):
            heading = int(rng.integers(360)) if named else None
            nodes, walk = self._walk(legs, rng, heading)
            if walk:
                return Route(
                    route_id, int(rng.integers(360)) if heading is None else heading, walk, nodes
                )
        raise ValueError(f"the town has no route of {legs} legs")

    def _walk(
        self, legs: int, rng: np.random.Generator, heading: int | None
    ) -> tuple[tuple[int, ...], tuple[Leg, ...]]:
        """Intersections and legs from a random start, or nothing where they cannot go on.

        With a first heading every turn has to name its street.
        """
        at, named = int(rng.integers(len(self.places))), heading is not None
        nodes, found = [at], []
        for number, draw in enumerate(rng.random(legs).tolist(), start=1):
            ways = []
            for end in self.streets[at]:
                towards = self.heading(at, end)
                straight = heading is not None and _bend(heading, towards) <= _STRAIGHT
                if end not in nodes and not straight:
                    words = compass(towards), named and turn(heading, towards, "corrected")
                    if not named or all(self.way(at, heading, word) == end for word in words):
                        ways.append((end, towards))
            if not ways:
                return (), ()
            end, heading = ways[int(draw * len(ways))]
            name, direction = self.landmarks[end]
            told = self.known[end] or number == legs
            landmark = (name, side(heading, direction)) if told else None
            metres = math.dist(self.places[at], self.places[end])
            found.append(Leg(heading, compass(heading), metres, landmark))
            at = end
            nodes.append(at)
        return tuple(nodes), tuple(found)


def draw_town(rng: np.random.Generator, landmarks: float) -> Town:
    """Return a town; `landmarks` is the share of intersections whose landmark directions
    mention."""
    columns, rows = _WIDTH, _HEIGHT
    bends = rng.uniform(-_BEND, _BEND, (columns * rows, 2)).tolist()
    places = tuple(
        (_BLOCK * (n % columns) + dx, _BLOCK * (n // columns) + dy)
        for n, (dx, dy) in enumerate(bends)
    )
    joined: list[list[int]] = [[] for _ in places]
    for n in range(len(places)):
        east, north = n % columns + 1 < columns, n // columns + 1 < rows
        coins = rng.random(4).tolist()
        pairs = [
            (n, n + 1, east and coins[0] >= _CLOSED),
            (n, n + columns, north and coins[1] >= _CLOSED),
        ]
        if east and north and coins[2] < _DIAGONAL:  # one of the block's two diagonals
            rising = coins[3] < 0.5
            pairs.append((n, n + columns + 1, True) if rising else (n + 1, n + columns, True))
        for a, b, there in pairs:
            if there:
                joined[a].append(b)
                joined[b].append(a)
    known = (rng.random(len(places)) < landmarks).tolist()
    names = [f"{owner} {kind}" for owner in OWNERS for kind in KINDS]
    order = rng.permutation(len(names)).tolist()
    towards = rng.uniform(0, 360, len(places)).tolist()
    return Town(
        places,
        tuple(tuple(sorted(ends)) for ends in joined),
        tuple((names[order[n]], towards[n]) for n in range(len(places))),
        tuple(known),
    )


def _bend(before: int, after: int) -> int:
    """Degrees between two headings, 0 to 180."""
    return abs((after - before + 180) % 360 - 180)
