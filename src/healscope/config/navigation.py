"""The section of a navigation task."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from healscope.config.types import (
    Fraction,
    Natural,
    Positive,
    RuleShares,
    Section,
    TaskSection,
)


class NavigationRewards(Section):
    """Reward of each verdict. The defaults are the table of the released code (reference)."""

    correct: float = 1
    wrong_action: float = -1
    other_rule: float = -1
    illegal: float = -1
    no_answer: float = -1
    contradiction: float = Field(
        -1.5, description="instead, of a wrong action beside an observation that is wrong too"
    )


class NavigationTask(TaskSection):
    """Text navigation (arXiv 2509.12235, appendix C.2): absolute or relative turns."""

    episodes: ClassVar = True  # as of the task
    judging_only: ClassVar = (
        *("rewards", "mixture", "verifier", "contradiction", "hints", "reasoning"),
    )
    dealing_only: ClassVar = ("held_out",)

    family: Literal["navigation"] = "navigation"
    id_rule: Literal["absolute", "relative"] = Field(
        "absolute", description="turns in training; the other ones are OOD"
    )
    rendering: Literal["json", "compact"] = "json"
    routes: str | None = Field(
        None, description="the published route_infos.json; null: routes are drawn"
    )
    routes_sha256: str | None = Field(
        None, description="of that file, filled in; where it is given, the file must have it"
    )
    generated: Positive = Field(1000, description="routes drawn, where there is no file")
    legs: Annotated[list[Positive], Field(min_length=2, max_length=2)] = Field(
        [3, 9], description="fewest and most legs of a drawn route"
    )
    landmarks: Fraction = Field(
        0.5, description="share of drawn intersections whose landmark is mentioned"
    )
    straight_line_length: Natural = Field(5, description="points on a leg, the last one its end")
    drop_rate: Fraction = Field(0.5, description="chance that such a point is left out")
    clearance: Annotated[float, Field(ge=0)] = Field(
        8.0, description="metres; points nearer to an end of the leg are left out"
    )
    heading: Literal["corrected", "published"] = Field(
        "corrected", description="published: from 350 to 10 degrees is a turn to the left"
    )
    verifier: Literal["tolerant", "reference"] = Field(
        "tolerant", description="reference: an action counts only if it is spelt exactly"
    )
    contradiction: Literal["corrected", "published"] = Field(
        "corrected", description="published: naming a real intersection contradicts"
    )
    hints: Literal["published", "action"] = Field(
        "published", description="feedback `full`; action: it names the right action too"
    )
    rewards: NavigationRewards = NavigationRewards()
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="share of routes kept from SFT and RL"
    )
    seed: Natural = Field(0, description="draws town, routes, points and the hold-out")
    mixture: RuleShares = RuleShares()

    @model_validator(mode="before")
    @classmethod
    def _routes_of_this_content(cls, given):
        """What results depend on is the content of the file: its hash becomes a value."""
        if not isinstance(given, dict) or not isinstance(given.get("routes"), str):
            return given
        file, pinned = given["routes"], given.get("routes_sha256")
        try:
            content = Path(file).expanduser().read_bytes()
            listed = json.loads(content)
        except (OSError, ValueError, RecursionError):
            raise ValueError(
                f"routes: {file} cannot be read as JSON; give the published route_infos.json "
                "itself (a pickle or an archive is not opened)"
            ) from None
        if not (isinstance(listed, list) and listed and isinstance(listed[0], list) and listed[0]):
            raise ValueError(
                f"routes: {file} holds no routes; element 0 of route_infos.json is their list"
            )
        found = hashlib.sha256(content).hexdigest()
        if pinned not in (None, found):
            raise ValueError(f"routes_sha256: {file} has another content, {found}; was it changed?")
        return {**given, "routes_sha256": found}

    @model_validator(mode="after")
    def _possible(self):
        if self.legs[0] > self.legs[1] or self.legs[1] > 20:
            raise ValueError(f"legs: {self.legs} must be fewest and most, at most 20")
        if self.routes is None and self.routes_sha256 is not None:
            raise ValueError("routes_sha256 is that of routes, which is not given")
        if self.routes is not None and self.rendering == "compact":
            raise ValueError(
                "routes: names in a file are no words of rendering 'compact'; set rendering: json"
            )
        return self
