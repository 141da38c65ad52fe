"""The texts of navigation: prompts and answers in JSON, and in words of the compact vocabulary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from healscope.tasks.navigation.routes import COMPASS, RELATIVE
from healscope.tasks.problem import EVALUATION_FORMAT

# Wordings of what the task is; the first is the standard.
_TASKS = (
    "You guide a walker through a city by written directions. Given are the directions, the "
    "actions that you can take, and what was seen and done so far. Find the direction that applies "
    "at this point, and then choose the next action by it and by what is seen here.",
    "A walker follows directions through a city, and you decide each step. You see the directions, "
    "the possible actions, and a record of observations and actions up to now. Say which direction "
    "has to be carried out now, and which action does so in view of the latest observation.",
    "Lead somebody on foot to a destination. From the record of what was observed and done you can "
    "tell how far along the list of directions you are. Name the direction whose turn it is, and "
    "pick the action for it that fits the last observation.",
)
_KEYS = {"obs": "current observation", "instr": "current instruction", "action": "action"}
_JSON = (
    "Answer with valid JSON of this form and nothing else:\n"
    "{\n"
    '  "current observation": "the latest observation",\n'
    '  "current instruction": "the direction that applies now, as it stands in the list",\n'
    '  "action": "one of the possible actions"\n'
    "}"
)
WORDINGS = tuple((task, actions_first) for actions_first in (False, True) for task in _TASKS)
"""Ways to say the same: (task, whether the actions stand before the directions)."""

FORWARD, STOP = "forward()", "stop()"
LAYOUTS = {
    "fA": ("action",),
    "fB": ("instr", "action"),
    "fC": ("obs", "action"),
    "fD": ("obs", "instr", "action"),
    "fG": ("obs", "instr", "action"),
}
"""Format token -> the parts of the answer."""
_PLAIN = ("fA", "fB", "fC")  # lines, no JSON

Leg = Sequence[Any]
"""[turn, compass word, (name, side) or None], as problems hold it."""


def request(format_token: str) -> str:
    """Return what a JSON prompt asks for; tokens but the evaluation's are of pretraining alone."""
    if format_token == EVALUATION_FORMAT:
        return _JSON
    names = " and ".join(f"'{_KEYS[part]}'" for part in LAYOUTS[format_token])
    if format_token in _PLAIN:
        return f"Answer with a line for each of {names} and nothing else."
    return f"Answer with the keys {names} of a JSON object."


def turn_action(word: str) -> str:
    return f"turn_direction({word})"


def turned_to(action: str) -> str:
    """Return the word of a turn, the inverse of `turn_action`; empty where it is none."""
    return action[len("turn_direction(") : -1] if action.startswith("turn_direction(") else ""


def compact_action(action: str) -> str:
    """Return an action in words of the compact vocabulary: "turn slightly-left", "forward"."""
    if action in (FORWARD, STOP):
        return action[:-2]
    return f"turn {action[len('turn_direction(') : -1].replace(' ', '-')}"


def instruction(legs: Sequence[Leg], index: int) -> str:
    """Sentence `index`, counted from 0: each leg has one to turn and one to go on."""
    number, going = divmod(index, 2)
    turn, face, landmark = legs[number]
    if not going:
        start = "To begin, turn" if number == 0 else "Turn"
        return f"{start} {turn}, so that you face {face}."
    if number + 1 == len(legs):
        return f"Walk on until you are at the destination. {destination(landmark)}."
    there = f", where {standing(landmark)}" if landmark else ""
    return f"Walk on to the next intersection{there}."


def standing(landmark: Sequence[str]) -> str:
    """Return what a landmark is to the walker."""
    name, side = landmark
    if side in ("front", "behind"):
        return f"{name} is {'in front of' if side == 'front' else side} you"
    return f"{name} is on your {side}" if side else name


def destination(landmark: Sequence[str]) -> str:
    return f"The destination {standing(landmark)}" if landmark[1] else standing(landmark)


def landmark_at(legs: Sequence[Leg], place: str, leg: int) -> Sequence[str] | None:
    """Return the landmark (name, side) at a waypoint of the route, or None."""
    if place == "destination":
        return legs[leg][2]
    return legs[leg - 1][2] if place == "intersection" else None


def landmark_seen(place: str, landmark: Sequence[str] | None) -> str:
    """Return the first half of an observation: the landmark, without whether there is an
    intersection."""
    if landmark is None:
        return "No landmark in sight"
    return destination(landmark) if place == "destination" else standing(landmark)


def observation(place: str, landmark: Sequence[str] | None) -> str:
    """Return what is seen at a place with this landmark."""
    crossing = "you are at an intersection" if place == "intersection" else ""
    return f"{landmark_seen(place, landmark)}; {crossing}".strip()


def prompt(
    legs: Sequence[Leg],
    seen: Sequence[str],
    done: Sequence[str],
    absolute: bool,
    wording: tuple[str, bool],
    output: str,
) -> str:
    """Return the user's turn: `seen` are the observations so far, `done` the actions between them,
    `output` says what to answer (`request`)."""
    task, actions_first = wording
    words = COMPASS if absolute else RELATIVE
    said = [f"{i + 1}. {instruction(legs, i)}" for i in range(2 * len(legs))]
    directions = "[Directions]\n" + "\n".join(said)
    actions = (
        "[Actions]\n"
        "forward(): walk on by one step\n"
        f"turn_direction(x): turn, where x is one of {json.dumps(list(words))}\n"
        "stop(): end the walk, at the destination"
    )
    record = []
    for number, observed in enumerate(seen, start=1):
        action = f" {done[number - 1]}" if number <= len(done) else ""
        record += [f"O_{number}: {observed}", f"A_{number}:{action}"]
    blocks = (actions, directions) if actions_first else (directions, actions)
    return "\n\n".join(
        (
            f"[Task Description]\n{task}",
            *blocks,
            "[Observations and Actions]\n" + "\n".join(record),
            f"[Output]\n{output}",
        )
    )


def answer(seen: str, said: str, action: str, thought: str = "") -> str:
    """Return the answer as JSON, with a `thought` after the observation."""
    parts = dict(zip(_KEYS.values(), (seen, said, action), strict=True))
    if thought:
        parts = {_KEYS["obs"]: parts.pop(_KEYS["obs"]), "thought": thought, **parts}
    return json.dumps(parts, indent=2, ensure_ascii=False)


def plain_answer(answer: str, format_token: str) -> str:
    """Return a JSON answer as a format token asks for it: of the shorter ones, lines."""
    if format_token not in _PLAIN:
        return answer
    said = json.loads(answer)
    return "\n".join(f"{_KEYS[part]}: {said[_KEYS[part]]}" for part in LAYOUTS[format_token])


def compact_prompt(
    legs: Sequence[Leg],
    seen: Sequence[Sequence[str]],
    done: Sequence[str],
    absolute: bool,
    rule_first: bool = True,
) -> str:
    """Return the same in words: rule, directions leg by leg, then what was seen and done."""
    rule = "absolute" if absolute else "relative"
    words = []
    for turn, face, landmark in legs:
        words += [turn.replace(" ", "-"), face, *compact_landmark(landmark)]
    words.append("walk")
    for number, observed in enumerate(seen):
        words += observed
        words += compact_action(done[number]).split() if number < len(done) else []
    return " ".join([rule, *words] if rule_first else [*words, rule])


def compact_landmark(landmark: Sequence[str] | None) -> list[str]:
    """Return the kind of a landmark and its side."""
    if landmark is None:
        return []
    return [landmark[0].split()[-1].lower(), landmark[1].replace(" ", "-")]


def compact_observation(place: str, landmark: Sequence[str] | None) -> list[str]:
    if place in ("intersection", "destination"):
        name = "crossing" if place == "intersection" else place
        return [name, *compact_landmark(landmark)]
    return ["street"]


def compact_instruction(legs: Sequence[Leg], index: int) -> list[str]:
    """Return a sentence in words: its turn and heading, or "on"."""
    number, going = divmod(index, 2)
    turn, face, _ = legs[number]
    return ["on"] if going else [turn.replace(" ", "-"), face]
