"""The base class of tasks: problems under an ID and an OOD rule, their prompts and their verifier.

A new task subclasses `Task` and implements three methods: `problems`, `render` and `verify`
(docs/own-task.md). All other methods have defaults that serve most tasks: the hold-out, tables,
feedback, and the examples from which a model is trained from scratch. Nothing here needs torch.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from healscope.errors import HealscopeError
from healscope.sections import Natural
from healscope.tasks import neutral, posing, tables
from healscope.tasks import pretraining as from_scratch
from healscope.tasks.posing import Protocol
from healscope.tasks.pretraining import Pretraining
from healscope.tasks.problem import (
    EVALUATION_FORMAT,
    FORMATS,
    SIDES,
    Context,
    Decision,
    Feedback,
    Level,
    Option,
    Problem,
    Rendering,
    Score,
    Side,
    Split,
    Verdict,
    at_level,
)
from healscope.tasks.responses import (
    MAX_RESPONSE,
    READ_RESPONSES,
    REASONING,
    Marks,
    of_answers,
    same_start,
    spoken,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_REQUESTS = {
    "fA": "Answer with the last word alone.",
    "fB": "Answer with the last two words alone.",
    "fC": "Answer with the last three words alone.",
    "fG": "Answer in full.",
}  # how a JSON prompt of pretraining asks for these layouts


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task of a study. A subclass is a dataclass whose fields are keys of its config section.

    The annotation of a field gives the key's type, limits and description. `__post_init__` checks
    what several options must fulfil together, and raises ValueError. A task without one of the
    common options declares it as a class variable.
    """

    name: str
    """Name of the task in the config."""
    rendering: Annotated[
        Rendering,
        Field(
            description="json: text for pretrained language models; compact: words, for a model "
            "trained from scratch"
        ),
    ] = "json"
    held_out: Annotated[
        float, Field(gt=0, le=1, description="share of instances kept from SFT and RL")
    ] = 0.4
    seed: Annotated[Natural, Field(description="draws the problems and the hold-out")] = 0
    rewards: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Outcome -> reward; outcomes that are left out have the reward in `outcomes`."""
    mixture: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Shares of the rules in the pretraining of a model from scratch; if empty, `rule_kinds`."""
    reasoning: Annotated[
        tuple[Marks, ...],
        Field(
            description="[begin, end] marks of a model's reasoning. Only what follows the last "
            "end is read as the answer, and nothing if reasoning never ends; begin may be null. "
            "verifier reference reads all"
        ),
    ] = REASONING

    family: ClassVar[str]
    """Name of the family, of built-in tasks only."""
    outcomes: ClassVar[Mapping[str, float]] = MappingProxyType(
        {"correct": 1.0, "wrong": -0.5, "no_answer": -1.0}
    )
    """All outcomes that `verify` can return, with their rewards."""
    episodes: ClassVar[bool] = False
    """Whether problems of an instance are steps of an episode, which succeeds if all are right."""
    trainable: ClassVar[bool] = True
    """Whether there are reference answers to train on."""
    one_sided: ClassVar[bool] = False
    """Whether there are no OOD problems: such a task can only be a keeper (docs/keepers.md)."""
    of_files: ClassVar[bool] = False
    """Whether problems are rows of a user's files, which may repeat a prompt and lack answers."""
    split_by_files: ClassVar[bool] = False
    """Whether files, not `held_out`, say which instances are held out."""
    grouped: ClassVar[bool] = False
    """Whether problems have groups (`group_of`), for which accuracy is also reported."""
    keys: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Field -> key of the config, of fields that cannot be called as their keys are."""
    chat_template: ClassVar[bool] = True
    """Whether prompts go through the chat template of the tokenizer, if it has one."""
    rule_kinds: ClassVar[Mapping[str, float]] = MappingProxyType({"id": 0.3, "ood": 0.7})
    """Kinds of rules that pretraining can show, with their default shares."""
    wrong: ClassVar[str] = "wrong"
    """The outcome whose reward `rewards.canonical` pays for correct answers that differ from the
    reference."""
    fixed_words: ClassVar[bool] = False
    """Whether `words` follows from the options alone, without a look at the problems."""
    answer_steps: ClassVar[tuple[str, ...]] = ()
    """Words that begin the steps of an answer, if losses are reported for each step."""
    interventions: ClassVar[tuple[str, ...]] = ()
    """Kinds of interventions on what a response says before its answer (`intervene`)."""
    problems_of: ClassVar[tuple[str, ...]] = ("all", "drawn")
    """Kinds of problems that a protocol can pose (`posing.Protocol.problems`)."""
    neighbour_lists: ClassVar[int] = 0
    """Kinds and distances, at most, that a protocol of kind "neighbours" poses."""
    rl_only: ClassVar[tuple[str, ...]] = ("rewards",)
    """Options that only RL uses: SFT is not rerun when they change."""
    judging_only: ClassVar[tuple[str, ...]] = ("rewards", "mixture", "reasoning")
    """Options that only judge answers: the tables of problems do not depend on them."""
    dealing_only: ClassVar[tuple[str, ...]] = ()
    """Options that only decide which problems there are."""
    offers: ClassVar[tuple[str, ...]] = ()
    """Which of `problem.OFFERS` it has: a recipe that needs another one is refused."""
    published: ClassVar[tuple[str, ...]] = ()
    """Figures of the paper that show this task, and have a file in config/published; first the one
    with accuracies at the landmarks."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap methods that read responses, so that they get the answer without the reasoning."""
        super().__init_subclass__(**options)
        for name, place in READ_RESPONSES.items():
            setattr(cls, name, of_answers(getattr(cls, name), place))

    def __post_init__(self) -> None:
        """Check the options; raises ValueError."""
        where = f"task {self.name!r}"
        object.__setattr__(self, "reasoning", tuple(map(tuple, self.reasoning)))
        if not 0 < self.held_out <= 1:
            raise ValueError(f"{where}: held_out must be a share above 0, not {self.held_out!r}")
        if self.rendering not in ("json", "compact"):
            raise ValueError(f"{where}: rendering must be json or compact, not {self.rendering!r}")
        if lacking := {"correct", self.wrong} - set(self.outcomes):
            raise ValueError(
                f"{where}: outcomes must have {', '.join(sorted(lacking))} (`wrong` names the "
                "outcome of an answer that is simply wrong)"
            )
        for key, given, known in (
            ("rewards", self.rewards, self.reward_table()),
            ("mixture", self.mixture, self.rule_kinds),
        ):
            if unknown := sorted(set(given) - set(known)):
                raise ValueError(
                    f"{where}: {key} has no {', '.join(unknown)}; there are {', '.join(known)}"
                )
        if self.mixture and sum(self.mixture.values()) <= 0:
            raise ValueError(f"{where}: at least one share of mixture must be positive")

    @classmethod
    def reward_table(cls) -> Mapping[str, float]:
        """Return every key of `rewards` with its default."""
        return cls.outcomes

    @classmethod
    def completed(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Fill in values of a config section that follow from files it names, such as hashes.

        Called before the section is validated. Raises ValueError or HealscopeError.
        """
        return section

    # What every task implements.

    @abstractmethod
    def problems(self, rule: Side) -> Iterable[Problem]:
        """Yield every problem of one rule, in the same order each time.

        Problems of rule "id" are evaluated, and trained on unless held out; those of "ood" are
        only evaluated.
        """

    @abstractmethod
    def render(self, problem: Problem) -> str:
        """Write the user's turn; in rendering compact, words without the format token."""

    @abstractmethod
    def verify(self, problem: Problem, text: str) -> Verdict:
        """Judge a response. Must not raise on any `text`, and must not execute any of it."""

    # What a task may override.

    def answer_in(self, text: str) -> str:
        """Return the answer in a response, without the reasoning before it."""
        return spoken(text, self.reasoning)

    def listed(self, rule: str) -> list[Problem]:
        """Return the problems of one rule, which are made once and kept."""
        return self._pools[rule]

    def splits(self) -> dict[str, Split]:
        """Split the instances of the ID rule; instances that are missing here are held out."""
        instances = sorted({p.instance_id for p in self.listed("id")})
        order = self.stream(1).permutation(len(instances))
        hidden = {instances[i] for i in order[: round(self.held_out * len(instances))].tolist()}
        return {i: "held_out" if i in hidden else "train" for i in instances}

    def prompt(self, problem: Problem, format_token: str = EVALUATION_FORMAT) -> str:
        """Write the whole user's turn, which asks for the answer layout of the format token."""
        rendered = self.render(problem)
        if self.rendering == "compact":
            return f"{rendered} {format_token}"
        return f"{rendered}\n{_REQUESTS[format_token]}" if format_token in _REQUESTS else rendered

    def layout(self, problem: Problem, answer: str, format_token: str) -> str:  # noqa: ARG002
        """Shorten an answer to the layout of a format token of pretraining.

        These are the last word ("fA"), the last two or three ("fB", "fC"), or all of it.
        """
        words = answer.split(" ")
        kept = {"fA": 1, "fB": 2, "fC": 3}.get(format_token, len(words))
        return " ".join(words[-kept:])

    def answers(self, problem: Problem) -> Sequence[str]:
        """Return correct responses, the reference answer first."""
        return (problem.answer,)

    def options(self, problem: Problem) -> Sequence[Option]:  # noqa: ARG002
        """Return the answers to choose from, if the model chooses instead of writing."""
        return ()

    def chosen(self, problem: Problem, scores: Sequence[Score]) -> str:  # noqa: ARG002
        """Return the answer of a model that gives `options` these scores."""
        raise NotImplementedError(f"task {self.name} has no options")

    def group_of(self, problem: Problem) -> str | None:  # noqa: ARG002
        """Return the group of a problem, such as the set that it is from; None without groups."""
        return None

    def notes(self) -> Sequence[str]:
        """Return sentences about the problems for `healscope plan` and `check-task`."""
        return ()

    def example(self) -> tuple[str, str] | None:
        """Return a prompt and a response as SFT trains on them, to be shown before it does."""
        return None

    def paraphrases(self, problem: Problem) -> Sequence[str]:
        """Return prompts that state the same problem, the standard one first."""
        return (self.prompt(problem),)

    def form(self, problem: Problem, text: str) -> str:
        """Return which of `forms` a response has."""
        return "answer" if self.verify(problem, text).parsed else "other"

    def forms(self) -> Sequence[str]:
        """Return the forms that responses can have, such as layouts; "other" is the last."""
        return ("answer", "other")

    def verify_in_form(self, problem: Problem, text: str) -> Verdict:
        """Judge a response by the form that it has, also if the prompt asks for another one."""
        return self.verify(problem, text)

    def solution(self, problem: Problem, text: str) -> str | None:
        """Name the solution in a response; those that say the same have one name.

        None where there is no answer. By default the words of the response.
        """
        parsed = self.verify(problem, text).parsed
        return " ".join(text[:MAX_RESPONSE].lower().split()) if parsed else None

    def decisions(self, problem: Problem, text: str) -> Sequence[Decision]:  # noqa: ARG002
        """Return what a model decides word by word; by default nothing is known of that."""
        return ()

    def first_error(self, problem: Problem, text: str) -> str:  # noqa: ARG002
        """Return whether a wrong response errs first in its "plan" or in "execution".

        Empty of a correct one, and where a task cannot tell.
        """
        return ""

    def confidence_in(self, problem: Problem, text: str) -> float | None:  # noqa: ARG002
        """Return how sure a response says that it is right, from 0 to 1; None if it does not."""
        return None

    def intervene(
        self, problem: Problem, text: str, kind: str, rng: np.random.Generator
    ) -> str | None:
        """Return how a response begins after one of `interventions`, or None where it cannot be
        made; what follows is written by the model."""
        raise NotImplementedError(f"task {self.name} has no interventions")

    def numbers_used(self, problem: Problem, text: str) -> tuple[bool, bool]:  # noqa: ARG002
        """Return whether a response has a number line and a formula that can be compared, and
        whether the formula uses its numbers."""
        return False, False

    def hint(self, problem: Problem, text: str) -> Feedback:  # noqa: ARG002
        """Return what feedback of level "full" adds about a wrong answer; by default nothing."""
        return Feedback("")

    def progress(self, problem: Problem, text: str) -> float:
        """Return partial credit, from 0 to 1, for a response that is not correct.

        By default the share of the reference answer's words that the response begins with.
        """
        wanted, written = problem.answer.split(), text[:MAX_RESPONSE].split()
        return same_start(wanted, written) / (len(wanted) + 1)

    def steps(self, text: str) -> Sequence[str]:  # noqa: ARG002
        """Return the steps of an answer, or of the rest of one; none where a task has no steps."""
        return ()

    def conclusion(self, problem: Problem, text: str) -> Sequence[str]:  # noqa: ARG002
        """Return the words of a response that say its answer; by default all of them."""
        return text[:MAX_RESPONSE].split()

    def alive(self, problem: Problem, text: str) -> float:
        """Return the share of a response before no correct answer begins so; by default as far as
        it begins like one."""
        return self.progress(problem, text)

    def can_be_right(self, problem: Problem, text: str) -> bool:
        """Return whether a correct answer begins with these words."""
        words = text[:MAX_RESPONSE].split()
        return any(answer.split()[: len(words)] == words for answer in self.answers(problem))

    def canonical(self, problem: Problem, text: str) -> bool:
        """Return whether a correct response is the reference answer, but for white space."""
        return text.split() == problem.answer.split()

    def feedback(self, problem: Problem, verdict: Verdict, text: str, level: Level) -> Feedback:
        """Write the message after a response with this verdict.

        Level "none" only asks to answer again, "outcome" also says that the answer is wrong, and
        "full" adds the task's hint; a task without others says so at "critique", and nothing at
        "leak". Raises ValueError on a correct answer unless the level is "none".
        """
        none = Feedback("")
        hint = partial(self.hint, problem, text) if level != "leak" else lambda: none
        return at_level(level, verdict, self.rendering == "compact", hint)

    def follow_up(
        self, problem: Problem, message: str, format_token: str = EVALUATION_FORMAT
    ) -> str:
        """Write the next user turn: the message, and in rendering compact the problem once more."""
        if self.rendering == "compact":
            return f"{message} {self.prompt(problem, format_token)}"
        return message

    def words(self) -> Sequence[str]:
        """List every word of the compact rendering, in a fixed order.

        By default the words of all problems. A task whose hints, or problems of further rule
        kinds, use other words must add them.
        """
        return self._words

    @cached_property
    def _words(self) -> tuple[str, ...]:
        found: set[str] = set()
        for pool in self._pools.values():
            for problem in pool:
                for text in (*self.paraphrases(problem), *self.answers(problem)):
                    found.update(text.split())
        own = sorted(found - {*FORMATS, "again", "wrong"})
        return (*own, *FORMATS, "again", "wrong")

    def pictures(self) -> Mapping[str, np.ndarray]:
        """Return word -> picture (height, width, 3), in RGB of 8 bits, of words of the compact
        rendering that a model from scratch sees as a picture; all are as high as wide.

        By default none. `words` has to end with them, in the same order.
        """
        return {}

    def lengths(self) -> tuple[float, float]:
        """Return the mean lengths of prompts and of answers; see `length`."""
        some = self.listed("id")[:500] or self.listed("ood")[:500]
        prompts = sum(self.length(self.prompt(problem)) for problem in some)
        return prompts / len(some), sum(self.length(p.answer) for p in some) / len(some)

    def longest(self) -> tuple[str, str]:
        """Return the longest prompt and the longest answer."""
        every = [problem for pool in self._pools.values() for problem in pool]
        prompt = max(map(self.prompt, every), key=self.length)
        return prompt, max((problem.answer for problem in every), key=self.length)

    def length(self, text: str) -> int:
        """Measure a text in words if the rendering is compact, else in characters."""
        return len(text.split()) if self.rendering == "compact" else len(text)

    # Problems and the tables that hold them.

    def problem_table(self) -> pd.DataFrame:
        """Make the table of evaluated problems; see `tables.problem_table`."""
        return tables.problem_table(self)

    def sft_table(self) -> pd.DataFrame:
        """Make the pool that SFT draws from: ID problems of training instances."""
        return tables.sft_table(self)

    def rl_table(self) -> pd.DataFrame:
        """Make the pool that RL draws from; see `sft_table`."""
        return self.sft_table()

    def unsolvable_table(self) -> pd.DataFrame:
        """Make a pool of training problems that have no solution, in the columns of `rl_table`.

        Raises HealscopeError where a task has none.
        """
        raise HealscopeError(
            f"task {self.name!r} has no problems without a solution; choose other `problems` for "
            "the recipe"
        )

    def ood_table(self) -> pd.DataFrame:
        """Make a pool of training problems under the OOD rule, in the columns of `rl_table`.

        Raises HealscopeError where a task has none.
        """
        raise HealscopeError(f"task {self.name!r} has no training problems under its OOD rule")

    def told(self, problem: Problem, kind: str) -> Context:  # noqa: ARG002
        """Return the text of a kind that can stand before a problem and tells its rule."""
        raise HealscopeError(f"task {self.name!r} has no text that tells its rules")

    def less_table(self) -> pd.DataFrame:
        """Make a pool of training problems with a part less, in the columns of `sft_table`.

        Raises HealscopeError where a task has none.
        """
        raise HealscopeError(
            f"task {self.name!r} has no problems with one part less; choose other `examples` for "
            "the recipe"
        )

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """Return the problems that a protocol poses; see `posing.posed`."""
        return posing.posed(self, problems, protocol)

    def read(self, row: Mapping[str, Any]) -> Problem:
        """Read the problem in one row of these tables."""
        instance_id = str(row["instance_id"])
        part = str(row["pair_id"])[len(instance_id) + 1 :]
        data = json.loads(row["data"])
        return Problem(instance_id, row["rule"], data, str(row["response"]), int(part))

    def count(self) -> tuple[int, int]:
        """Count the rows of the problem table, and those held out where the rules differ."""
        table = self.problem_table()
        return len(table), int((table["split"] == "held_out").sum())

    @property
    def parts(self) -> int:
        """The largest number of problems of one instance under one rule."""
        return 1 + max((p.part for pool in self._pools.values() for p in pool), default=0)

    # What models read outside the tables.

    def draw(self, kind: str, rng: np.random.Generator) -> Problem:
        """Draw a problem for pretraining under one of `rule_kinds`; by default a listed one."""
        pool = self.listed(kind)
        return pool[int(rng.integers(len(pool)))]

    def noisy(self, problem: Problem, rng: np.random.Generator) -> str:  # noqa: ARG002
        """Return the answer under the OOD rule, whatever rule the prompt states."""
        other = self._ood_answers.get(problem.pair_id)
        return problem.answer if other is None else other

    def examples(
        self, n: int, rng: np.random.Generator, pretraining: Pretraining, talks: bool
    ) -> list[tuple[list[str], str]]:
        """Draw n examples (turns, response) for one step of pretraining from scratch.

        With `talks` each has a wrong answer and feedback before the right one. See `pretraining`.
        """
        draw = from_scratch.conversations if talks else from_scratch.single_turns
        return draw(self, n, rng, pretraining)

    def corpus(self) -> list[str]:
        """Return texts from which the tokenizer of a JSON rendering learns, the same each time."""
        return from_scratch.corpus(self)

    def neutral_prompts(self, n: int, seed: int) -> list[str]:
        """Return at most n different prompts that have little to do with the trained rule."""
        return neutral.prompts(self, n, seed)

    @cached_property
    def _pools(self) -> dict[str, list[Problem]]:
        return {rule: list(self.problems(rule)) for rule in SIDES}

    @cached_property
    def _ood_answers(self) -> dict[str, str]:
        return {problem.pair_id: problem.answer for problem in self.listed("ood")}

    # What subclasses build on.

    def verdict(
        self, outcome: str, parsed: bool | None = None, follows_rule: bool | None = None
    ) -> Verdict:
        """Make the verdict of an outcome, with its reward; parsed unless it is "no_answer"."""
        said = outcome != "no_answer" if parsed is None else parsed
        return Verdict(outcome, self.reward(outcome), said, follows_rule)

    def reward(self, outcome: str) -> float:
        """Return the reward of an outcome; raises KeyError on an unknown one."""
        return float(self.rewards.get(outcome, self.reward_table()[outcome]))

    def stream(self, *purpose: int) -> np.random.Generator:
        """Seed a generator for one purpose; numbers from 100 on are free for subclasses."""
        import numpy as np

        return np.random.default_rng([self.seed, *purpose])
