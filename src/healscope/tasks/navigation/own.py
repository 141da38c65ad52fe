"""Problems of a walker who goes where he is told (`moved_by: own`), on and off the route.

Their data are the legs of the route, `walk` (first heading, then the intersections of the route)
and `done`, the actions so far. The right action is that of the shortest walk along the streets of
the route, and back to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from typing import Protocol as Interface

from healscope.tasks.navigation import texts
from healscope.tasks.navigation.walks import State
from healscope.tasks.problem import Problem, Side

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from healscope.tasks.navigation.routes import Route
    from healscope.tasks.navigation.walks import World
    from healscope.tasks.posing import Protocol

ON, OFF = "on route", "off route"
"""Where a walk begins: at the start of the route, or after one wrong action on it."""

PATIENCE = 2
"""A walk may take so many times the actions of its route, wrong ones included."""

WALL, ASTRAY = "wall", "wrong"
"""What a compact answer calls an action that leads nowhere, and a walk that ends elsewhere."""
NEXT, NOT = "next", "not"
"""Ends a prompt that asks what is seen after its last action; begins a reflection."""
WORDS = (WALL, NEXT, NOT)
"""Words of the compact rendering that no other walker has."""

_WALL_SEEN = "There is no way"
_ASTRAY_SEEN = "The walk has ended away from the destination"
_ASKED = "Write what is seen after the last action and nothing else."


class Walked(Interface):
    """What the task is asked here: options of navigation, and how it writes and reads."""

    rendering: str
    pushed_off: float
    world: World

    def actions(self, rule: Side) -> tuple[str, ...]: ...
    def right(self, problem: Problem) -> str: ...
    def prompt(self, problem: Problem) -> str: ...
    def written(self, problem: Problem, done: list[str], way: int, output: str = "") -> str: ...
    def read(self, row: dict) -> Problem: ...
    def stream(self, *purpose: int) -> np.random.Generator: ...


class Outcome(NamedTuple):
    """What an action leads to: its next observation, and whether it is an error, which leads
    nowhere or ends the walk away from the destination."""

    action: str
    seen: str
    error: bool


def along(task: Walked, route: Route, legs: list, rule: Side) -> list[Problem]:
    """Return the problems of a route: a step each, after right actions alone."""
    start = _problem(route, legs, rule)
    actions = expert(task, start)
    return [_asked(task, start, actions, n) for n in range(len(actions))]


def drawn(task: Walked, route: Route, legs: list, rule: Side, rng: np.random.Generator) -> Problem:
    """Draw a step of a route for pretraining, or a share `pushed_off` of them after a wrong action
    and on the way back."""
    start = _problem(route, legs, rule)
    actions = expert(task, start)
    problem = _asked(task, start, actions, int(rng.integers(len(actions))))
    if rng.random() >= task.pushed_off:
        return problem
    ways = [o.action for o in outcomes(task, problem) if o.action != texts.STOP]
    wrong = ways[int(rng.integers(len(ways)))]
    off = _after(problem, [wrong])
    back = expert(task, off)
    if back is None:
        return problem
    more = len(back) - len(actions) + problem.part  # actions until the rest is as it was
    return _asked(task, off, back, int(rng.integers(max(more, 0) + 1)))


def _problem(route: Route, legs: list, rule: Side) -> Problem:
    data = {"legs": legs, "walk": [route.init_heading, *route.nodes], "done": []}
    return Problem(route.route_id, rule, data, "")


def _asked(task: Walked, begun: Problem, actions: list[str], n: int) -> Problem:
    """Return the problem after n of these actions, with the next one in its answer."""
    here = _after(begun, actions[:n])
    return replace(here, answer=answer(task, here, actions[n]))


def _after(problem: Problem, actions: list[str]) -> Problem:
    done = [*problem.data["done"], *actions]
    return replace(problem, data={**problem.data, "done": done}, answer="", part=len(done))


# Where the walker is, and what he sees.


def states(task: Walked, problem: Problem) -> list[State]:
    """Return where the walker was at each of his actions, and is now."""
    heading, start = problem.data["walk"][:2]
    found = [State("start", start, heading)]
    for action in problem.data["done"]:
        found.append(task.world.step(_goal(problem), found[-1], action).state)
    return found


def seen(task: Walked, problem: Problem, state: State) -> str:
    """Return the observation of a state, as it is written."""
    compact = task.rendering == "compact"
    if state.blocked:
        return WALL if compact else _WALL_SEEN
    about = state.place, task.world.landmark(_goal(problem), state)
    return " ".join(texts.compact_observation(*about)) if compact else texts.observation(*about)


def expert(task: Walked, problem: Problem) -> list[str] | None:
    """Return the right actions from here to the destination: off the route, back to where it was
    left, the way he came. None where no action means that way."""
    nodes, walked = problem.data["walk"][1:], states(task, problem)
    here, left = walked[-1], nodes[_leg(problem, walked)]
    pairs = list(zip(nodes, nodes[1:], strict=False))
    streets = {*pairs, *((b, a) for a, b in pairs), (here.at, here.towards)}
    streets |= {(here.at, left), (here.towards, left)}
    return task.world.shortest(_goal(problem), here, task.actions(problem.rule), streets)


def step(task: Walked, problem: Problem, action: str | None) -> tuple[Problem, bool, bool]:
    """Return the problem after an action, whether the walk is over, and whether it succeeds.

    What is no action of the rule ends the walk, and so do too many actions (PATIENCE).
    """
    if action not in task.actions(problem.rule):
        return problem, True, False
    found = task.world.step(_goal(problem), states(task, problem)[-1], action)
    if found.done:
        return problem, True, found.success
    further = _after(problem, [action])
    return further, further.part >= problem.data["limit"], False


def _goal(problem: Problem) -> int:
    return problem.data["walk"][-1]


def _leg(problem: Problem, walked: list[State]) -> int:
    """Return the number of the leg that begins where the route was left, or has not been."""
    nodes = problem.data["walk"][1:]
    return next(nodes.index(state.at) for state in reversed(walked) if state.at in nodes)


def _instruction(problem: Problem, walked: list[State]) -> int:
    """Return the number of the sentence that applies: the first one that is not carried out."""
    nodes, legs, leg = problem.data["walk"][1:], problem.data["legs"], _leg(problem, walked)
    if leg == len(legs):
        return 2 * leg - 1
    here = walked[-1]
    going = here.place == "street" and [here.at, here.towards] == nodes[leg : leg + 2]
    return 2 * leg + going


def answer(task: Walked, problem: Problem, action: str, thought: str = "") -> str:
    """Write the answer with an action, and with a `thought` before it."""
    walked = states(task, problem)
    observed, index = seen(task, problem, walked[-1]), _instruction(problem, walked)
    legs = problem.data["legs"]
    if task.rendering == "json":
        return texts.answer(observed, texts.instruction(legs, index), action, thought)
    said = " ".join(texts.compact_instruction(legs, index))
    parts = ("obs", observed, thought, "instr", said, "action", texts.compact_action(action))
    return " ".join(filter(None, parts))


# What other actions would lead to.


def outcomes(task: Walked, problem: Problem) -> list[Outcome]:
    """Return what each action of the rule leads to that is not right, nor leads to the same."""
    here, goal = states(task, problem)[-1], _goal(problem)
    right = task.world.step(goal, here, task.right(problem))
    found = []
    for action in task.actions(problem.rule):
        there = task.world.step(goal, here, action)
        if there == right:
            continue
        compact = task.rendering == "compact"
        said = (ASTRAY if compact else _ASTRAY_SEEN) if there.done else None
        error = there.state.blocked or (there.done and not there.success)
        found.append(Outcome(action, said or seen(task, problem, there.state), error))
    return found


def prediction(task: Walked, problem: Problem, outcome: Outcome) -> tuple[str, str]:
    """Return a prompt that asks what is seen after an action, and the answer."""
    after = [*problem.data["done"], outcome.action]
    if task.rendering == "json":
        return task.written(problem, after, 0, _ASKED), outcome.seen
    return f"{task.written(problem, after, 0)} {NEXT}", outcome.seen


def reflection(task: Walked, problem: Problem, outcome: Outcome) -> str:
    """Return the right answer with what another action would have led to."""
    if task.rendering == "json":
        thought = f"Not {outcome.action}, for then: {outcome.seen}"
    else:
        thought = f"{NOT} {texts.compact_action(outcome.action)} {outcome.seen}"
    return answer(task, problem, task.right(problem), thought)


# Walks that are evaluated.


def posed(task: Walked, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return the walks of held-out routes, of each rule `per_kind` at most: from the start, and
    after one wrong action that leads off the route, where a way back is known."""
    import json

    import pandas as pd

    first = problems[(problems["split"] == "held_out") & problems["pair_id"].str.endswith("/0")]
    rows = []
    for rule, own in first.groupby("rule", sort=False):
        for number, row in enumerate(own.head(protocol.per_kind).to_dict("records")):
            start = task.read(row)
            actions = expert(task, start)
            data = {**start.data, "limit": PATIENCE * len(actions)}
            start = replace(start, data=data)
            rng = task.stream(103, protocol.seed, number, rule == "ood")
            pushed = _pushed(task, start, actions, rng)
            for part, (name, walk) in enumerate(((ON, start), (OFF, pushed))):
                if walk is None:
                    continue
                pair = f"{row['instance_id']}/{part}"
                rows.append(
                    row
                    | {"pair_id": pair, "problem_id": f"{pair}:{rule}", "episode_id": None}
                    | {"data": json.dumps(dict(walk.data)), "prompt": task.prompt(walk)}
                    | {"neighbour": name, "distance": part, "retried": False}
                )
    found = pd.DataFrame(rows)
    return found.assign(draw=found.groupby("rule").cumcount())


def _pushed(
    task: Walked, start: Problem, actions: list[str], rng: np.random.Generator
) -> Problem | None:
    """Return a walk after right actions and one wrong one that leads to another street."""
    found = []
    for n in range(len(actions)):
        here = _asked(task, start, actions, n)
        for outcome in outcomes(task, here):
            if outcome.error:
                continue
            off = _after(here, [outcome.action])
            back = expert(task, off)
            if back and n + 1 + len(back) <= start.data["limit"]:
                found.append(off)
    return found[int(rng.integers(len(found)))] if found else None
