"""What the sections of a config are made of."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._]*$")]  # no "-": it separates path parts
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
CardValue = Annotated[int, Field(ge=1, le=999)]
Rate = Annotated[float, Field(gt=0, le=1)]


def distinct(items: list) -> list:
    """`items`, which hold nothing twice; raises ValueError."""
    if len(set(items)) < len(items):
        raise ValueError(f"{items} holds the same value twice")
    return items


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


T = TypeVar("T")
Chosen = Annotated[list[T], Field(min_length=1), AfterValidator(distinct)]


def merged(base: dict, over: dict) -> dict:
    """`base` updated by `over`, section by section."""
    both = {k: merged(base[k], v) for k, v in over.items() if _nested(base.get(k), v)}
    return {**base, **over, **both}


def _nested(a: Any, b: Any) -> bool:
    return isinstance(a, dict) and isinstance(b, dict)
