"""Navigation by written directions, with absolute (face north) or relative (turn left) actions.

The text task of arXiv 2509.12235, appendix C.2, after the environment of arXiv 2501.17161. A route
is an instance and each of its waypoints a problem; the walker takes the true action whatever was
answered, or goes where he is told (`own`). Routes are drawn in a made-up town, or read from the
published file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from healscope.sections import Fraction, Natural, Positive
from healscope.tasks.navigation import answers, own, texts
from healscope.tasks.navigation import routes as on_foot
from healscope.tasks.navigation.streets import KINDS, Town, draw_town
from healscope.tasks.navigation.walks import World
from healscope.tasks.posing import WALKS
from healscope.tasks.problem import EVALUATION_FORMAT, FORMATS, Feedback, Problem, Side, Verdict
from healscope.tasks.responses import MAX_RESPONSE
from healscope.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from healscope.tasks.posing import Protocol

ActionSpace = Literal["absolute", "relative"]

_IN_VAIN = 200  # routes drawn without a new one: then there are no more


@dataclass(frozen=True, kw_only=True)
class Navigation(Task):
    """Text navigation (arXiv 2509.12235, appendix C.2): absolute or relative turns.

    Rewards are those of the released code. Reward `contradiction` is paid instead for a wrong
    action beside an observation that is wrong too.
    """

    family: ClassVar[str] = "navigation"

    id_rule: Annotated[
        ActionSpace,
        Field(
            description="turns in training: absolute (compass directions) or relative (left, "
            "right); the others are OOD"
        ),
    ] = "absolute"
    routes: Annotated[
        str | None,
        Field(
            description="the published route_infos.json, with rendering json; null: routes are "
            "drawn"
        ),
    ] = None
    routes_sha256: Annotated[
        str | None,
        Field(description="hash of that file; filled in, or given to insist on it"),
    ] = None
    generated: Annotated[
        Positive, Field(description="number of routes drawn, if there is no file")
    ] = 1000
    legs: Annotated[
        tuple[Positive, ...],
        Field(min_length=2, max_length=2, description="fewest and most legs of a drawn route"),
    ] = (3, 9)
    landmarks: Annotated[
        Fraction, Field(description="share of intersections whose landmark the directions mention")
    ] = 0.5
    straight_line_length: Annotated[
        Natural, Field(description="points on a leg, its end included (published: 5)")
    ] = 5
    drop_rate: Annotated[Fraction, Field(description="chance that such a point is left out")] = 0.5
    clearance: Annotated[
        float, Field(ge=0, description="metres; points nearer to an end of the leg are left out")
    ] = 8.0
    heading: Annotated[
        on_foot.Heading,
        Field(description="published: from 350 to 10 degrees is a turn to the left; or corrected"),
    ] = "corrected"
    verifier: Annotated[
        Literal["tolerant", "reference"],
        Field(description="tolerant; reference: an action counts only if it is spelt exactly"),
    ] = "tolerant"
    contradiction: Annotated[
        Literal["corrected", "published"],
        Field(
            description="published: an answer that names a real intersection contradicts; or "
            "corrected"
        ),
    ] = "corrected"
    hints: Annotated[
        Literal["published", "action"],
        Field(description="feedback `full`: as published; action: it also names the right action"),
    ] = "published"
    moved_by: Annotated[
        Literal["right", "own"],
        Field(
            description="what moves the walker: the right action, or his own, of which protocol "
            "`walks` makes whole walks",
            exclude_if=lambda value: value == "right",
        ),
    ] = "right"
    pushed_off: Annotated[
        Fraction,
        Field(
            description="of a walker who goes where he is told: share of pretraining's problems "
            "after a wrong action",
            exclude_if=lambda value: not value,
        ),
    ] = 0.0
    held_out: Annotated[
        float, Field(gt=0, lt=1, description="share of routes that SFT and RL never see")
    ] = 0.4
    seed: Annotated[Natural, Field(description="draws town, routes, points and the hold-out")] = 0

    outcomes: ClassVar[Mapping[str, float]] = MappingProxyType(
        {
            "correct": 1.0,
            "wrong_action": -1.0,
            "other_rule": -1.0,
            "illegal": -1.0,
            "no_answer": -1.0,
        }
    )
    wrong: ClassVar[str] = "wrong_action"
    episodes: ClassVar[bool] = True
    published: ClassVar[tuple[str, ...]] = ("fig9",)
    rule_kinds: ClassVar[Mapping[str, float]] = MappingProxyType({"id": 0.5, "ood": 0.5})
    judging_only: ClassVar[tuple[str, ...]] = (
        *("rewards", "mixture", "verifier", "contradiction", "hints", "reasoning"),
    )
    dealing_only: ClassVar[tuple[str, ...]] = ("held_out",)

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"task {self.name!r}"
        fewest, most = self.legs
        if not 1 <= fewest <= most <= 20:
            raise ValueError(
                f"{where}: legs: {list(self.legs)} must be the fewest and the most legs, at most 20"
            )
        if self.routes is None and self.routes_sha256 is not None:
            raise ValueError(f"{where}: routes_sha256 is the hash of routes, which is not given")
        if self.routes is not None and self.rendering == "compact":
            raise ValueError(
                f"{where}: routes: names in a file are not words of rendering 'compact'; set "
                "rendering: json"
            )
        if self.moved_by == "own" and (
            self.routes is not None or self.drop_rate or self.heading == "published"
        ):
            raise ValueError(
                f"{where}: moved_by: own needs streets with fixed stops: set routes: null, "
                "drop_rate: 0 and heading: corrected"
            )

    @classmethod
    def reward_table(cls) -> Mapping[str, float]:
        return {**cls.outcomes, "contradiction": -1.5}

    @classmethod
    def completed(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Fill in the hash of the route file, on whose content results depend."""
        file, expected = section.get("routes"), section.get("routes_sha256")
        if not isinstance(file, str):
            return section
        found = on_foot.hash_of(file)
        if expected not in (None, found):
            raise ValueError(
                f"routes_sha256: {file} has different contents, {found}; was it changed?"
            )
        return {**section, "routes_sha256": found}

    # The task.

    def problems(self, rule: Side) -> Iterator[Problem]:
        """Yield every waypoint of every route, in order."""
        for route, waypoints in self._walks:
            legs = self._legs(route)
            if self.moved_by == "own":
                yield from own.along(self, route, legs, rule)
                continue
            for part in range(len(waypoints)):
                yield self._problem(route.route_id, legs, waypoints, rule, part)

    def render(self, problem: Problem) -> str:
        return self._prompt(problem, 0, EVALUATION_FORMAT)

    def prompt(self, problem: Problem, format_token: str = EVALUATION_FORMAT) -> str:
        """Write the user's turn, which asks for the answer layout of the format token."""
        said = self._prompt(problem, 0, format_token)
        return f"{said} {format_token}" if self.rendering == "compact" else said

    def answer_in(self, text: str) -> str:
        whole = self.verifier == "reference" and self.rendering == "json"
        return text if whole else super().answer_in(text)

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Judge the action alone; the observation only decides the reward of a wrong one."""
        if len(text) > MAX_RESPONSE:
            return self.verdict("no_answer", follows_rule=False)
        action, seen = self._read(text)
        if action is None:
            outcome = "no_answer"
        elif action in self._actions[problem.rule]:
            outcome = "correct" if action == self.right(problem) else "wrong_action"
        else:
            other: Side = "ood" if problem.rule == "id" else "id"
            outcome = "other_rule" if action in self._actions[other] else "illegal"
        verdict = self.verdict(outcome, follows_rule=action in self._actions[problem.rule])
        if outcome != "correct" and self._contradicts(problem, seen) is not None:
            return verdict._replace(reward=self.reward("contradiction"))
        return verdict

    def layout(self, problem: Problem, answer: str, format_token: str) -> str:  # noqa: ARG002
        """Shorten an answer to the action (fA), with the instruction (fB) or observation (fC)."""
        if self.rendering == "json":
            return texts.plain_answer(answer, format_token)
        words = answer.split(" ")
        said, acts = words.index("instr"), words.index("action")
        parts = {"obs": words[:said], "instr": words[said:acts], "action": words[acts:]}
        return " ".join(w for part in texts.LAYOUTS[format_token] for w in parts[part])

    def paraphrases(self, problem: Problem) -> Sequence[str]:
        """Return prompts that state the same problem, the standard one first."""
        ways = 2 if self.rendering == "compact" else len(texts.WORDINGS)
        said = [self._prompt(problem, way, EVALUATION_FORMAT) for way in range(ways)]
        end = f" {EVALUATION_FORMAT}" if self.rendering == "compact" else ""
        return [text + end for text in said]

    def hint(self, problem: Problem, text: str) -> Feedback:
        """Say whether there is an intersection, if the answer contradicts it; else name the action.

        With `hints` "action" also give the right action, which leaks if only the unseen rule
        has it.
        """
        compact = self.rendering == "compact"
        contradicted = self._contradicts(problem, self._read(text)[1])
        if contradicted is None:
            said = "action" if compact else "The action is not the right one here."
        elif contradicted:
            said = "crossing" if compact else "You are at an intersection."
        else:
            said = "no crossing" if compact else "You are not at an intersection."
        if self.hints == "published":
            return Feedback(said)
        right = self.right(problem)
        told = f"Right is {right}."
        if compact:
            told = texts.compact_action(right)
        return Feedback(
            f"{said} {told}", problem.rule == "ood" and right not in self._actions["id"]
        )

    def words(self) -> Sequence[str]:
        """List every word of the compact rendering, whatever routes are drawn."""
        names = [kind.lower() for kind in KINDS]
        turns = [w.replace(" ", "-") for w in (*on_foot.COMPASS, *on_foot.RELATIVE)]
        sides = [w.replace(" ", "-") for w in on_foot.SIDES]
        rest = ("absolute", "relative", "walk", "street", "crossing", "destination", "obs", "instr")
        acts = ("on", "action", "turn", "forward", "stop", "no", "again", "wrong")
        more = own.WORDS if self.moved_by == "own" else ()
        found = dict.fromkeys((*turns, *sides, *names, *rest, *acts, *more))
        return [*found, *FORMATS]

    def draw(self, kind: str, rng: np.random.Generator) -> Problem:
        """Draw a problem for pretraining: a waypoint of a new route, or of one in the file."""
        if self._town is None:
            return super().draw(kind, rng)
        route = self._draw_route("drawn", rng)
        if self.moved_by == "own":
            return own.drawn(self, route, self._legs(route), kind, rng)
        waypoints = self._rail(route, rng)
        part = int(rng.integers(len(waypoints)))
        return self._problem("drawn", self._legs(route), waypoints, kind, part)

    def noisy(self, problem: Problem, rng: np.random.Generator) -> str:  # noqa: ARG002
        """Return the answer under the OOD rule, whatever rule the prompt states."""
        if self.moved_by == "own":  # wherever he is, other words may lead elsewhere
            return problem.answer
        legs, waypoints = problem.data["legs"], problem.data["rail"]
        return self._problem(problem.instance_id, legs, waypoints, "ood", problem.part).answer

    # A walker who goes where he is told.

    @property
    def problems_of(self) -> tuple[str, ...]:
        """Kinds of problems that a protocol can pose; walks only where the walker can make them."""
        return (*Task.problems_of, WALKS) if self.moved_by == "own" else Task.problems_of

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        if protocol.problems == WALKS and self.moved_by == "own":
            return own.posed(self, problems, protocol)
        return super().posed(problems, protocol)

    def step(self, problem: Problem, text: str) -> tuple[Problem, bool, bool]:
        """Return the problem after the action of a response; see `own.step`."""
        return own.step(self, problem, self._read(self.answer_in(text))[0])

    @cached_property
    def world(self) -> World:
        """The town as a walker finds it who goes where he is told."""
        return World(self._town, self.straight_line_length, self.clearance)

    # Routes.

    @cached_property
    def _town(self) -> Town | None:
        return draw_town(self.stream(100), self.landmarks) if self.routes is None else None

    @cached_property
    def _walks(self) -> list[tuple[on_foot.Route, list[list[Any]]]]:
        """The routes with their waypoints; of equal ones in a file the first, so that none lies on
        both sides of the hold-out. Raises HealscopeError on a bad route file."""
        if self.routes is not None:
            read = on_foot.read_routes(self.routes, self.stream(101))
            different = {self._directions(route): route for route in reversed(read)}
            found = list(different.values())[::-1]  # the first of each
        else:
            found = self._different_routes(self.stream(101))
        return [(route, self._rail(route, self.stream(102, n))) for n, route in enumerate(found)]

    def _different_routes(self, rng: np.random.Generator) -> list[on_foot.Route]:
        """Draw the wanted number of routes, all with different directions."""
        found: dict[str, on_foot.Route] = {}
        known = 0  # draws in a row that were there already
        while known < _IN_VAIN:
            route = self._draw_route(f"r{len(found):04d}", rng)
            known = known + 1 if (said := self._directions(route)) in found else 0
            found.setdefault(said, route)
            if len(found) == self.generated:
                return list(found.values())
        raise ValueError(
            f"task {self.name!r}: no {self.generated} different routes were found; lower "
            "generated, or raise legs"
        )

    def _directions(self, route: on_foot.Route) -> str:
        """Return the prompt's description of a route, by which routes are compared."""
        start = [list(on_foot.rail(route, 0, 0.0, 0.0, self.stream(102))[0])]
        problem = self._problem(route.route_id, self._legs(route), start, "id", 0)
        return self._prompt(problem, 0, EVALUATION_FORMAT)

    def _draw_route(self, route_id: str, rng: np.random.Generator) -> on_foot.Route:
        fewest, most = self.legs
        named = self.moved_by == "own"
        return self._town.draw_route(route_id, int(rng.integers(fewest, most + 1)), rng, named)

    def _rail(self, route: on_foot.Route, rng: np.random.Generator) -> list[list[Any]]:
        """Draw the waypoints of a route as problems hold them: [place, leg]."""
        points = self.straight_line_length, self.drop_rate, self.clearance
        return [list(waypoint) for waypoint in on_foot.rail(route, *points, rng)]

    def _legs(self, route: on_foot.Route) -> list[list[Any]]:
        """List the legs as problems hold them: [turn, compass word, [name, side] or None]."""
        turns = route.turns(self.heading)
        return [
            [turn, leg.face, list(leg.landmark) if leg.landmark else None]
            for turn, leg in zip(turns, route.legs, strict=True)
        ]

    # Problems.

    def _problem(
        self, route_id: str, legs: list, waypoints: list, rule: Side, part: int
    ) -> Problem:
        place, leg = waypoints[part]
        data = {"legs": legs, "rail": waypoints[: part + 1]}
        index = 2 * leg + (place in ("street", "destination"))
        action = self._action(legs, place, leg, rule)
        about = place, texts.landmark_at(legs, place, leg)
        if self.rendering == "compact":
            seen = texts.compact_observation(*about)
            said = texts.compact_instruction(legs, index)
            words = ("obs", *seen, "instr", *said, "action", texts.compact_action(action))
            answer = " ".join(words)
        else:
            answer = texts.answer(texts.observation(*about), texts.instruction(legs, index), action)
        return Problem(route_id, rule, data, answer, part)

    def _action(self, legs: Sequence, place: str, leg: int, rule: Side) -> str:
        """Return the true action at a waypoint."""
        if place == "street":
            return texts.FORWARD
        if place == "destination":
            return texts.STOP
        turn, face, _ = legs[leg]
        return texts.turn_action(face if self._space(rule) == "absolute" else turn)

    def right(self, problem: Problem) -> str:
        """Return the right action, spelt as usual."""
        if self.moved_by == "own":
            return self._read(problem.answer)[0] or ""
        place, leg = problem.data["rail"][-1]
        return self._action(problem.data["legs"], place, leg, problem.rule)

    def _prompt(self, problem: Problem, way: int, format_token: str) -> str:
        legs, rail = problem.data["legs"], problem.data.get("rail", ())
        done = [self._action(legs, place, leg, problem.rule) for place, leg in rail[:-1]]
        return self.written(
            problem, problem.data.get("done", done), way, texts.request(format_token)
        )

    def written(self, problem: Problem, done: Sequence[str], way: int, output: str = "") -> str:
        """Write a prompt with the record of these actions; in JSON `output` asks for an answer."""
        legs, absolute = problem.data["legs"], self._space(problem.rule) == "absolute"
        seen = self._seen(problem)
        if self.rendering == "compact":
            words = [said.split() for said in seen]
            return texts.compact_prompt(legs, words, done, absolute, rule_first=way == 0)
        return texts.prompt(legs, seen, done, absolute, texts.WORDINGS[way], output)

    def _seen(self, problem: Problem) -> list[str]:
        """Return what was seen up to now, as it is written."""
        if "walk" in problem.data:
            return [own.seen(self, problem, state) for state in own.states(self, problem)]
        legs, found = problem.data["legs"], []
        for place, leg in problem.data["rail"]:
            about = place, texts.landmark_at(legs, place, leg)
            words = self.rendering == "compact"
            said = " ".join(texts.compact_observation(*about)) if words else ""
            found.append(said or texts.observation(*about))
        return found

    # Answers.

    def _space(self, rule: Side) -> ActionSpace:
        other = {"absolute": "relative", "relative": "absolute"}
        return self.id_rule if rule == "id" else other[self.id_rule]

    @cached_property
    def _actions(self) -> dict[Side, tuple[str, ...]]:
        words = {"absolute": on_foot.COMPASS, "relative": on_foot.RELATIVE}
        both = (texts.FORWARD, texts.STOP)
        return {
            rule: (*map(texts.turn_action, words[self._space(rule)]), *both)
            for rule in ("id", "ood")
        }

    def actions(self, rule: Side) -> tuple[str, ...]:
        """Return the actions of a rule, turns first."""
        return self._actions[rule]

    @cached_property
    def _every(self) -> frozenset[str]:
        """Actions of either rule."""
        return frozenset(self._actions["id"] + self._actions["ood"])

    def _read(self, text: str) -> tuple[str | None, str]:
        """Read (action, observation) from a response; see `answers`."""
        if self.rendering == "compact":
            return answers.compact(text.split(), self._every)
        if self.verifier == "reference":
            return answers.released(text)
        return answers.tolerant(text, self._every)

    def _here(self, problem: Problem) -> tuple[str, Sequence[str] | None]:
        """Return where the walker is, and the landmark there."""
        if "walk" in problem.data:
            state = own.states(self, problem)[-1]
            return state.place, self.world.landmark(problem.data["walk"][-1], state)
        place, leg = problem.data["rail"][-1]
        return place, texts.landmark_at(problem.data["legs"], place, leg)

    def _contradicts(self, problem: Problem, seen: str) -> bool | None:
        """Return whether there is an intersection if the observation contradicts it, else None."""
        word = "intersection"
        if not seen:
            return None
        place, landmark = self._here(problem)
        if self.contradiction == "corrected":
            there = place == word
        else:
            there = word in texts.landmark_seen(place, landmark)
        said = ("crossing" if self.rendering == "compact" else word) in seen
        return None if said == there else there
