"""What passes between a task and the rest of the library: problems, verdicts, feedback, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Side = Literal["id", "ood"]
SIDES: tuple[Side, ...] = ("id", "ood")
Split = Literal["train", "held_out"]
Half = Literal["a", "b"]
Level = Literal["none", "outcome", "full"]
Rendering = Literal["json", "compact"]

FORMATS = ("fA", "fB", "fC", "fD", "fG")
"""Words that end a compact prompt and say how to answer; a base model from scratch learns them."""
EVALUATION_FORMAT = "fD"
"""That of SFT, RL and evaluation. "fG" asks for the same layout in pretraining; "fA" to "fC" ask
for shorter ones, so that what SFT aligns first is a format."""
TRAINING_FORMATS = tuple(token for token in FORMATS if token != EVALUATION_FORMAT)
"""Those of pretraining."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to answer under one rule.

    Attributes:
        instance_id: what the hold-out keeps together and statistics resample: a route, a matrix.
        rule: "id" or "ood".
        data: all that `render` and `verify` need, as plain JSON values.
        answer: the reference response.
        part: number of the problem within its instance, where there are several.
    """

    instance_id: str
    rule: Side
    data: Mapping[str, Any]
    answer: str
    part: int = 0

    @property
    def pair_id(self) -> str:
        """The same for the two rules, where the task poses an instance under both."""
        return f"{self.instance_id}/{self.part}"

    @property
    def problem_id(self) -> str:
        return f"{self.pair_id}:{self.rule}"


class Verdict(NamedTuple):
    """What the verifier says of one response.

    Attributes:
        outcome: one of the task's `outcomes`; "correct" is one of them.
        reward: the task's reward for the outcome.
        parsed: the answer format was there.
        follows_rule: what can be seen of the answer obeys the rule that the prompt states (of the
            card game: its number line). None where a task cannot tell.
        uses_numbers: of the card game: the formula uses its own number line's numbers, each once.
        reaches_target: of the card game: the formula is complete and equals the target.
    """

    outcome: str
    reward: float
    parsed: bool
    follows_rule: bool | None = None
    uses_numbers: bool | None = None
    reaches_target: bool | None = None


class Option(NamedTuple):
    """One of several texts among which a model chooses by their probability.

    Attributes:
        prompt: what it follows.
        delimiter: what stands between the two, unless a chat template does.
        text: the option.
    """

    prompt: str
    delimiter: str
    text: str


class Feedback(NamedTuple):
    """One message to the model.

    Attributes:
        message: English sentences, or words of the compact vocabulary.
        leaks: the message gives away what only the unseen rule tells.
    """

    message: str
    leaks: bool = False
