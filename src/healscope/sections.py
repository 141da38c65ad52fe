"""The base class and the field types of config sections."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_NAME = r"^[a-z0-9][a-z0-9._]*$"
_FOLDER = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, Field(pattern=_NAME)]
FolderName = Annotated[str, Field(pattern=_FOLDER)]

PATTERNS = {
    _NAME: "a name has lower-case letters, digits, '.' and '_' alone and begins with a letter or "
    "digit, since it is a part of file names such as ppo-from-140",
    _FOLDER: "a name has letters, digits, '.', '_' and '-' alone and begins with a letter or "
    "digit, since it is the name of a folder in results",
}
"""Regular expression of a key or value -> what it asks for, in words."""

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]


def distinct(items: Sequence) -> Sequence:
    """`items`, which hold nothing twice; raises ValueError."""
    if len(set(items)) < len(items):
        raise ValueError(f"{list(items)} holds the same value twice")
    return items


def in_words(error: dict) -> str:
    """Return what one of pydantic's errors says, in the words of YAML, which has lists and no
    tuples."""
    said = error["msg"].removeprefix("Value error, ")
    return re.sub(r"\b([Tt])uple\b", lambda m: "List" if m[1] == "T" else "list", said)


class Section(BaseModel):
    """One section of a config: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Mixture(Section):
    """Shares; only their ratios count."""

    @model_validator(mode="after")
    def _not_empty(self):
        if sum(self.model_dump().values()) <= 0:
            raise ValueError("at least one share must be positive")
        return self


T = TypeVar("T")
Chosen = Annotated[list[T], Field(min_length=1), AfterValidator(distinct)]
Distinct = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(distinct)]


def merged(base: dict, over: dict) -> dict:
    """`base` updated by `over`, section by section."""
    both = {k: merged(base[k], v) for k, v in over.items() if _nested(base.get(k), v)}
    return {**base, **over, **both}


def _nested(a: Any, b: Any) -> bool:
    return isinstance(a, dict) and isinstance(b, dict)


def inherited(
    name: str,
    given: dict,
    built_in: Collection[str],
    start: Callable[[str, dict], dict],
    join: Callable[[dict, dict], dict] = merged,
    seen: tuple[str, ...] = (),
) -> Any:
    """Entry `name` of `given` as a whole: what it is `like`, or starts from, then its own keys.

    `start` (name, own keys) is what an entry without `like` starts from; `built_in` are names that
    need no entry. Raises ValueError where `like` leads nowhere or in a circle. What is no section
    stays as it is.
    """
    own = given.get(name)
    own = {} if own is None else own
    if not isinstance(own, dict):
        return own
    like = own.get("like")
    if like is None:
        return join(start(name, own), own)
    if like in (*seen, name):
        raise ValueError(f"{name}.like: '{like}' comes back to itself")
    if like not in given and like not in built_in:
        raise ValueError(f"{name}.like: there is no '{like}'")
    base = inherited(like, given, built_in, start, join, (*seen, name))
    own = {key: value for key, value in own.items() if key != "like"}
    return join(base, own) if isinstance(base, dict) else own


def without_nulls(data: Any, *places: str) -> Any:
    """Leave out the entries that are null of some sections, as "models" or "evaluation.protocols".

    So a file over another takes entries of that one out. What is no section stays as it is.
    """
    for place in places:
        name, _, below = place.partition(".")
        if not isinstance(data, dict) or not isinstance(data.get(name), dict):
            continue
        inner = data[name]
        kept = {key: value for key, value in inner.items() if value is not None}
        data = {**data, name: without_nulls(inner, below) if below else kept}
    return data
