"""Routes on foot: legs between intersections, the points on the way, and published route files.

Headings are degrees clockwise from north. Nothing here knows a rule or a text.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from healscope.errors import HealscopeError

if TYPE_CHECKING:
    import numpy as np

COMPASS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
RELATIVE = ("left", "right", "slightly left", "slightly right")
SIDES = (
    *("front", "right front", "right", "right behind"),
    *("behind", "left behind", "left", "left front"),
)
"""Where a landmark is, by eighths of the circle around the walker's heading."""

Heading = Literal["published", "corrected"]
Place = Literal["start", "street", "intersection", "destination"]

_EARTH_METRES = 6_371_000.0
_SLIGHT_DEGREES = 45
_LANDMARK = re.compile(r"(?:The destination )?(.{1,200}) is on your ([a-z ]{1,20})")
_HEADING = re.compile(r"\s*(-?\d{1,4})\s*\(([a-z]{1,20})\)\s*")
_NO_LANDMARK = "No landmark nearby"


class Leg(NamedTuple):
    """One straight way: turn, then go on to the next intersection, or to the destination.

    Attributes:
        degrees: heading, 0 to 359.
        face: the compass word of the heading.
        metres: length.
        landmark: (name, side) of what stands at its end, side one of SIDES, or None.
    """

    degrees: int
    face: str
    metres: float
    landmark: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Route:
    """Where the walker faces at first, and the legs; the last one ends at the destination.

    `nodes` are the intersections of a route in a drawn town, its start and its end included.
    """

    route_id: str
    init_heading: int
    legs: tuple[Leg, ...]
    nodes: tuple[int, ...] = ()

    def turns(self, heading: Heading) -> list[str]:
        """Return the turn into each leg, one of RELATIVE."""
        before = [self.init_heading, *(leg.degrees for leg in self.legs)]
        return [turn(a, leg.degrees, heading) for a, leg in zip(before, self.legs, strict=False)]


class Waypoint(NamedTuple):
    """A point where the walker decides.

    Attributes:
        place: what is there.
        leg: the leg to turn into (start, intersection) or to go on along (street); at the
            destination the last one.
    """

    place: Place
    leg: int


def compass(degrees: float) -> str:
    """Return the nearest of the eight directions."""
    return COMPASS[round(degrees / 45) % 8]


def side(heading: float, towards: float) -> str:
    """Return where something in direction `towards` is, seen by a walker with this heading."""
    return SIDES[round((towards - heading) / 45) % 8]


def turn(before: int, after: int, heading: Heading) -> str:
    """Name a turn from one heading to another, both 0 to 359.

    Up to 45 degrees is slight. "corrected" goes the shorter way round, and right for straight
    back. "published" subtracts only, as the released environment does: from 350 to 10 degrees is
    -340, so "left", while it is 20 degrees to the right.
    """
    change = after - before
    if heading == "corrected":
        change = 180 - (180 - change) % 360  # above -180, up to 180
    if abs(change) > _SLIGHT_DEGREES:
        return "left" if change < 0 else "right"
    return "slightly left" if change <= 0 else "slightly right"


def rail(
    route: Route, points: int, drop_rate: float, clearance: float, rng: np.random.Generator
) -> tuple[Waypoint, ...]:
    """Draw the waypoints of a route: its start, points on legs, intersections, destination.

    Args:
        route: whose legs they are on.
        points: evenly spaced points of a leg, the last one its end.
        drop_rate: chance that such a point is left out.
        clearance: metres; points that are not further than this from both ends are left out.
        rng: draws which ones are dropped; a number for every point of every leg.
    """
    found = [Waypoint("start", 0)]
    for number, leg in enumerate(route.legs):
        kept = rng.random(points) >= drop_rate
        for at in range(1, points + 1):
            gone = leg.metres * at / points
            if kept[at - 1] and min(gone, leg.metres - gone) > clearance:
                found.append(Waypoint("street", number))
        last = number + 1 == len(route.legs)
        found.append(
            Waypoint("destination", number) if last else Waypoint("intersection", number + 1)
        )
    return tuple(found)


def read_routes(file: str | Path, rng: np.random.Generator) -> list[Route]:
    """Read the routes of a published `route_infos.json`, whose element 0 lists them.

    Of each route it reads start_place.relocated_geocode, init_heading (0, or none, means random:
    then it is drawn), milestone_info and route_results.geocode_list. Raises HealscopeError, in one
    sentence, on anything else; a pickle is never opened as one.
    """
    listed, _ = _content(file)
    found = []
    for index, about in enumerate(listed):
        drawn = int(rng.integers(360))  # for every route, so that one file change moves no other
        try:
            found.append(_read_route(f"r{index:04d}", about, drawn))
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise HealscopeError(f"routes: {file}, route {index}: {reason}") from None
    return found


def hash_of(file: str | Path) -> str:
    """Return the SHA-256 of a route file; raises HealscopeError as `read_routes`."""
    return _content(file)[1]


def _content(file: str | Path) -> tuple[list, str]:
    """Return the list of routes in a file, and the file's SHA-256."""
    try:
        content = Path(file).expanduser().read_bytes()
        parsed = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise HealscopeError(
            f"routes: {file} cannot be read as JSON ({type(error).__name__}); give the published "
            "route_infos.json itself, not a pickle or an archive"
        ) from None
    listed = parsed[0] if isinstance(parsed, list) and parsed else None
    if not isinstance(listed, list) or not listed:
        raise HealscopeError(
            f"routes: {file} holds no routes; element 0 of route_infos.json is their list"
        )
    return listed, hashlib.sha256(content).hexdigest()


def _read_route(route_id: str, about: dict[str, Any], drawn_heading: int) -> Route:
    """Read one route; raises ValueError, or whatever a wrong type raises."""
    points = [about["start_place"]["relocated_geocode"], *about["route_results"]["geocode_list"]]
    blocks = _milestones(about["milestone_info"])
    if len(blocks) != len(points) - 1 or not blocks:
        raise ValueError(
            f"milestone_info has {len(blocks)} blocks for {len(points) - 1} points of geocode_list"
        )
    legs = []
    for number, (block, start, end) in enumerate(
        zip(blocks, points[:-1], points[1:], strict=True), start=1
    ):
        towards = _HEADING.fullmatch(block.get("to_next_intersection_heading", ""))
        if not towards or towards[2] not in COMPASS:
            raise ValueError(
                f"milestone_info block {number} has no to_next_intersection_heading like '177 "
                "(south)'"
            )
        landmark = _landmark(block.get("landmarks", _NO_LANDMARK))
        legs.append(Leg(int(towards[1]) % 360, towards[2], _metres(start, end), landmark))
    if legs[-1].landmark is None:
        legs[-1] = legs[-1]._replace(landmark=(str(about["dest_place"]["name"]), "front"))
    return Route(route_id, int(about.get("init_heading") or 0) % 360 or drawn_heading, tuple(legs))


def _milestones(text: str) -> list[dict[str, str]]:
    """Parse the blocks of milestone_info: `"key": "value"` lines in braces, commas optional."""
    blocks = []
    for block in text.split("}"):
        pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
        found = {
            key.strip(" \t\"'{"): value.strip().rstrip(",").strip("\"'") for key, value in pairs
        }
        if found:
            blocks.append(found)
    return blocks


def _landmark(said: str) -> tuple[str, str] | None:
    """Return name and side of "X is on your left"; of other words, the words and no side."""
    if said in ("", _NO_LANDMARK):
        return None
    found = _LANDMARK.fullmatch(said)
    return (found[1], found[2]) if found and found[2] in SIDES else (said, "")


def _metres(start: Sequence[float], end: Sequence[float]) -> float:
    """Return the great-circle distance in metres of two points (latitude, longitude; degrees)."""
    (a, b), (c, d) = ((math.radians(float(x)) for x in point[:2]) for point in (start, end))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * _EARTH_METRES * math.asin(min(1.0, math.sqrt(h)))
