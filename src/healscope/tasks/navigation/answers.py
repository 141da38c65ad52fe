"""Read (action, observation) from a response; None and "" where they are missing.

What is none of the actions of either rule (`known`) stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from healscope.tasks.navigation.own import NOT
from healscope.tasks.navigation.texts import compact_action
from healscope.tasks.responses import agreed, fields, holding, read, released_field

_SEEN, _ACTION = "current observation", "action"
_QUOTED = re.compile(r"""\(\s{0,8}\\?(["'])([a-z ]{1,20})\\?\1\s{0,8}\)""", re.IGNORECASE)
"""A turn in quotes, as in turn_direction("south")."""


def compact(words: list[str], known: Collection[str]) -> tuple[str | None, str]:
    """Read `obs … instr … action …` word for word; anything else is no answer."""
    try:
        said = words.index("instr")
        acts = words.index("action", said)
    except ValueError:
        return None, ""
    if words[0] != "obs" or min(said - 1, acts - said - 1, len(words) - acts - 1) < 1:
        return None, ""
    spelt = {compact_action(action): action for action in known}
    action = " ".join(words[acts + 1 :])
    seen = " ".join(words[1:said]).partition(f" {NOT} ")[0]  # without a reflection
    return spelt.get(action, action), seen


def released(text: str) -> tuple[str | None, str]:
    """Read the JSON fields as the released code does."""
    said = [released_field(text, key) for key in (_ACTION, _SEEN)]
    action, seen = (value if isinstance(value, str) else None for value in said)
    return action, "None" if seen is None else seen


def tolerant(text: str, known: Collection[str]) -> tuple[str | None, str]:
    """Read JSON, also in pieces; actions may differ in case, spaces, quotes and "_"."""
    spelt = {_squeezed(action): action for action in sorted(known)}

    def usual(action: object) -> str | None:
        return spelt.get(_squeezed(action), action) if type(action) is str else None

    objects, rest = read(_QUOTED.sub(r"(\2)", text))
    found = [
        (action, members.of(_SEEN)[-1:])
        for members in holding(objects, _ACTION)
        for action in members.of(_ACTION)
    ]
    if not found:  # broken, or cut off
        found = [(action, fields(rest, _SEEN)[-1:]) for action in fields(rest, _ACTION)]
    found = [(usual(action), seen) for action, seen in found]
    last = agreed(found, lambda said: said[0], lambda said: said[0] not in known)
    action, seen = last or (None, [])
    return action, seen[0] if action and seen and type(seen[0]) is str else ""


def _squeezed(action: str) -> str:
    """Return an action without case, white space and "_"."""
    return re.sub(r"[\s_]+", "", action).casefold()
