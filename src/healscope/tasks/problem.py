"""Problems, verdicts, feedback and options: what tasks exchange with the rest of the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

Side = Literal["id", "ood"]
SIDES: tuple[Side, ...] = ("id", "ood")
Split = Literal["train", "held_out"]
Half = Literal["a", "b"]
Level = Literal["none", "outcome", "full", "leak", "critique"]
"""What is said after a wrong answer: to answer again; that it was wrong; and what is wrong with it.
"leak" shows a right beginning of the answer and says nothing of the error, "critique" shows the
same and says what is wrong behind it."""
Said = Literal[Level, "another"]
"""Levels, and "another": the critique of an answer to another problem, a control."""
LEVELS: tuple[Level, ...] = ("none", "outcome", "full")
"""Those that evaluation and pretraining have by default."""
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
    """An instance posed one way under one rule.

    Attributes:
        instance_id: the unit of hold-out and resampling: a route, a matrix.
        rule: "id" or "ood".
        data: what `render` and `verify` need, as plain JSON values.
        answer: the reference response.
        part: number of the problem within its instance, from 0.
    """

    instance_id: str
    rule: Side
    data: Mapping[str, Any]
    answer: str
    part: int = 0

    @property
    def pair_id(self) -> str:
        """Name of the problem without its rule: the same for both rules."""
        return f"{self.instance_id}/{self.part}"

    @property
    def problem_id(self) -> str:
        return f"{self.pair_id}:{self.rule}"


class Verdict(NamedTuple):
    """The verifier's judgement of one response.

    Attributes:
        outcome: one of the task's `outcomes`; "correct" is one of them.
        reward: the task's reward for the outcome.
        parsed: the response has the answer format.
        follows_rule: the visible working obeys the rule that the prompt states (in the card game
            the number line); None if the task cannot tell.
        uses_numbers: of the card game: the formula uses its own number line's numbers, each once.
        reaches_target: of the card game: the formula is complete and equals the target.
        score: how good the answer is, from 0 to 1, by a verifier that says so beside the outcome.
        logprob: of a passage of a text, which has no verdict: the summed log-probability of its
            tokens in nats.
        tokens: how many tokens these are.
    """

    outcome: str
    reward: float
    parsed: bool
    follows_rule: bool | None = None
    uses_numbers: bool | None = None
    reaches_target: bool | None = None
    score: float | None = None
    logprob: float | None = None
    tokens: int | None = None


class Option(NamedTuple):
    """One of several texts from which a model chooses by probability.

    Attributes:
        prompt: the text before it.
        delimiter: the text between the two, unless a chat template separates them.
        text: the option.
    """

    prompt: str
    delimiter: str
    text: str


class Score(NamedTuple):
    """How probable an option is.

    Attributes:
        logprob: the summed log-probability of its tokens in nats.
        likeliest: whether each of them is the most likely one.
        tokens: how many they are.
    """

    logprob: float
    likeliest: bool
    tokens: int


class Decision(NamedTuple):
    """One word of an answer, as something that the model had to decide.

    Attributes:
        start: where its characters begin in the answer.
        end: where they end; the end of an answer has none.
        kind: "plan" if several words were possible there, "execution" if one was.
        legal: it is one of them.
    """

    start: int
    end: int
    kind: Literal["plan", "execution"]
    legal: bool


OFFERS: Mapping[str, str] = MappingProxyType(
    {
        "unsolvable": "training problems without a solution",
        "less": "training problems with a part less",
        "ood": "training problems under its OOD rule",
        "told": "texts that tell its rules (the card game with rule_shown: name)",
        "steps": "answers in steps (the card game in rendering: compact)",
        "decisions": "answers that are chosen word by word (the card game in rendering: compact)",
        "value": "verdicts that say whether an answer reaches its target",
        "confidence": "answers that say how sure the model is (the card game with confidence: "
        "true)",
    }
)
"""What some recipes need and only some tasks have (`Task.offers`), in words."""

POOLS = ("unsolvable", "less", "ood")
"""Those that the job of a recipe has the task deal: no file of problems has them."""


class Feedback(NamedTuple):
    """One message to the model.

    Attributes:
        message: English sentences, or words of the compact vocabulary.
        leaks: the message tells something that only the unseen rule says.
    """

    message: str
    leaks: bool = False


class Context(NamedTuple):
    """A text before a problem.

    Attributes:
        kind: what it is.
        text: words of the compact vocabulary.
        leaks: it names a number that only the rule, or the answer, gives.
    """

    kind: str
    text: str
    leaks: bool

    @property
    def tokens(self) -> int:
        """How many tokens it adds to a prompt: a word is one."""
        return len(self.text.split())

    def before(self, prompt: str) -> str:
        """Write the text, if there is one, and a prompt after it."""
        return f"{self.text} {prompt}".lstrip()


def at_level(
    level: Level, verdict: Verdict, compact: bool, hint: Callable[[], Feedback]
) -> Feedback:
    """Write a message of one level of `Task.feedback`; `hint` is called where it says more than
    right or wrong."""
    if level not in get_args(Level):
        raise ValueError(f"level must be one of {', '.join(get_args(Level))}, not {level!r}")
    again = "again" if compact else "Answer once more, in the same format."
    if level == "none":
        return Feedback(again)
    if verdict.outcome == "correct":
        raise ValueError(f"a correct answer gets no feedback at level {level}")
    said = hint() if level not in ("none", "outcome") else Feedback("")
    wrong = "wrong" if compact else "Your answer is wrong."
    wrong = "" if level == "leak" else wrong
    return Feedback(" ".join(filter(None, (wrong, said.message, again))), said.leaks)
