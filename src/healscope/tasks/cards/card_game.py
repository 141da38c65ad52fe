"""The card game as a task: GeneralPoints, its verifier, tables and examples behind the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from healscope.sections import Distinct, Natural, Positive, Section
from healscope.tasks import posing
from healscope.tasks.cards import deals, hands, neighbours, pretraining
from healscope.tasks.cards import feedback as messages
from healscope.tasks.cards.expressions import render, to_tree
from healscope.tasks.cards.generalpoints import (
    RELEASED_REWARDS,
    GeneralPoints,
    Problem,
    Rule,
    compact_vocabulary,
    from_row,
    prompt,
    renderings,
    response,
)
from healscope.tasks.cards.solver import formulas
from healscope.tasks.cards.verifier import read_answer, verify
from healscope.tasks.posing import Protocol
from healscope.tasks.pretraining import Pretraining
from healscope.tasks.problem import EVALUATION_FORMAT, Feedback, Level, Side, Split, Verdict
from healscope.tasks.task import Task, same_start

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


CardValue = Annotated[int, Field(ge=1, le=999)]


class FaceRule(Section):
    """What the face cards are worth."""

    J: CardValue
    Q: CardValue
    K: CardValue


@dataclass(frozen=True, kw_only=True)
class CardGame(Task):
    """The card game (arXiv 2509.12235, section 3.1 and appendix C.1)."""

    family: ClassVar[str] = "generalpoints"

    cards: Annotated[int, Field(ge=2, le=4, description="cards in a deal")] = 4
    targets: Distinct[CardValue] = (24,)
    id_rule: FaceRule = FaceRule(J=10, Q=10, K=10)
    ood_rule: FaceRule = FaceRule(J=11, Q=12, K=13)
    verifier: Annotated[
        Literal["tolerant", "reference"],
        Field(description="reference: answers are read and paid as by the released code"),
    ] = "tolerant"
    grade_number_line: Annotated[
        bool,
        Field(description="false (reference): only the formula counts; true: the number line too"),
    ] = False
    held_out: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="share of deals (by their ID values) kept from SFT and RL",
        ),
    ] = 0.4
    orders: Annotated[Positive, Field(description="card orders evaluated for each deal")] = 2
    seed: Annotated[Natural, Field(description="draws the hold-out and the card orders")] = 0

    mixture: ClassVar[Mapping[str, float]] = MappingProxyType({})
    problems_of: ClassVar[tuple[str, ...]] = ("all", "drawn", "neighbours")
    judging_only: ClassVar[tuple[str, ...]] = (
        *("rewards", "verifier", "grade_number_line", "reasoning"),
    )
    dealing_only: ClassVar[tuple[str, ...]] = ("held_out", "orders", "seed")
    outcomes: ClassVar[Mapping[str, float]] = RELEASED_REWARDS
    rule_kinds: ClassVar[Mapping[str, float]] = dict.fromkeys(pretraining.RULE_KINDS, 1.0)
    wrong: ClassVar[str] = "wrong_value"
    answer_steps: ClassVar[tuple[str, ...]] = ("number", "formula")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.verifier == "reference" and self.grade_number_line:
            raise ValueError(
                f"task {self.name!r}: verifier 'reference' grades the formula alone: set "
                "grade_number_line: false"
            )

    @cached_property
    def game(self) -> GeneralPoints:
        """The rules of the game, without the hold-out."""
        return GeneralPoints(
            name=self.name,
            n_cards=self.cards,
            targets=self.targets,
            id_rule=Rule("id", self.id_rule.model_dump()),
            ood_rule=Rule("ood", self.ood_rule.model_dump()),
            rendering=self.rendering,
            verifier=self.verifier,
            grade_number_line=self.grade_number_line,
            rewards={**RELEASED_REWARDS, **self.rewards},
            reasoning=self.reasoning,
        )

    # What every task says.

    def problems(self, rule: Side) -> Iterable[Problem]:
        """Those of the problem table."""
        table = self.problem_table()
        return [from_row(row) for row in table[table["rule"] == rule].to_dict("records")]

    def render(self, problem: Problem) -> str:
        text = prompt(self.game, problem)
        return text.removesuffix(f" {EVALUATION_FORMAT}") if self.rendering == "compact" else text

    def verify(self, problem: Problem, text: str) -> Verdict:
        return verify(self.game, problem, text)

    # What it says otherwise than most.

    def answer_in(self, text: str) -> str:
        return text if self.game.as_released else super().answer_in(text)

    def splits(self) -> dict[str, Split]:
        return {
            deals.instance_id(self.game, deal): side
            for deal, side in deals.split_deals(self.game, self.held_out, self.seed).items()
        }

    def prompt(self, problem: Problem, format_token: str = EVALUATION_FORMAT) -> str:
        return prompt(self.game, problem, format_token)

    def answers(self, problem: Problem) -> Sequence[str]:
        """One for every formula of `solver.formulas`."""
        found = formulas(problem.values, problem.target)
        return _Texts(len(found), lambda i: response(self.game, problem, found[i]))

    def paraphrases(self, problem: Problem) -> Sequence[str]:
        n = renderings(self.game)
        return _Texts(n, lambda i: prompt(self.game, problem, rendering=i))

    def progress(self, problem: Problem, text: str) -> float:
        """The share of a solution that the formula begins with, for the best one."""
        written = read_answer(self.game, problem, text).words
        shares = [
            same_start(written, spelling) / (len(spelling) + 1)
            for spelling in _solutions(problem.values, problem.target)
        ]
        return max(shares, default=0.0)

    def canonical(self, problem: Problem, text: str) -> bool:
        """Whether the formula is the first of `solver.formulas`, in either spelling."""
        reference = formulas(problem.values, problem.target)[0]
        return read_answer(self.game, problem, text).words in _spellings(reference)

    def feedback(self, problem: Problem, verdict: Verdict, text: str, level: Level) -> Feedback:
        return messages.feedback(self.game, problem, verdict, text, level)

    def follow_up(
        self, problem: Problem, message: str, format_token: str = EVALUATION_FORMAT
    ) -> str:
        return messages.follow_up(self.game, problem, message, format_token)

    def words(self) -> Sequence[str]:
        return compact_vocabulary(self.game)

    def lengths(self) -> tuple[float, float]:
        """Of compact ones by their layout; of JSON the means of four cards."""
        if self.rendering == "compact":
            return 8.0 + self.cards, 4.0 + 6 * self.cards
        return 630.0, 92.0

    def longest(self) -> tuple[str, str]:
        """Of a sample: all are about as long."""
        texts = self.corpus()
        return max(texts[::2], key=self.length), max(texts[1::2], key=self.length)

    def problem_table(self) -> pd.DataFrame:
        return deals.problem_table(self.game, self.held_out, self.seed, self.orders)

    def sft_table(self) -> pd.DataFrame:
        return deals.sft_table(self.game, self.held_out, self.seed)

    def rl_table(self) -> pd.DataFrame:
        return deals.rl_table(self.game, self.held_out, self.seed)

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """Drawn hands and neighbours are of all deals, not of the problem table alone."""
        split = self.held_out, self.seed
        if protocol.problems == "drawn":
            return hands.drawn_hands(self.game, *split, protocol.hands, protocol.seed)
        if protocol.problems == "neighbours":
            return neighbours.posed(self.game, *split, protocol.per_kind, protocol.seed)
        return posing.posed(self, problems, protocol)

    def read(self, row: Mapping[str, Any]) -> Problem:
        return from_row(row)

    def count(self) -> tuple[int, int]:
        """Without writing the problem table out."""
        return deals.count_problems(self.game, self.held_out, self.seed, self.orders)

    @property
    def parts(self) -> int:
        return self.orders

    def draw(self, kind: str, rng: np.random.Generator) -> Problem:
        """A problem as pretraining draws it; of kinds other than "id" and "ood", it has no name."""
        return pretraining.draw_problem(self.game, kind, rng)

    def noisy(self, problem: Problem, rng: np.random.Generator) -> str:
        """The answer under the OOD rule, where the cards have one."""
        values = self.game.ood_rule.values(problem.cards)
        found = formulas(values, problem.target) or formulas(problem.values, problem.target)
        return response(self.game, problem, found[int(rng.integers(len(found)))])

    def examples(
        self, n: int, rng: np.random.Generator, pretraining: Pretraining, talks: bool
    ) -> list[tuple[list[str], str]]:
        return _examples(self, n, rng, pretraining, talks)

    def corpus(self) -> list[str]:
        return pretraining.corpus(self.game)

    def neutral_prompts(self, n: int, seed: int) -> list[str]:
        return pretraining.card_prompts(self.game, n, seed)


class _Texts(Sequence[str]):
    """Texts that are written when they are asked for: a problem may have hundreds of answers."""

    def __init__(self, n: int, write: Callable[[int], str]):
        self._n, self._write = n, write

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < self._n:
            raise IndexError(i)
        return self._write(i)


def _examples(
    task: CardGame, n: int, rng: np.random.Generator, settings: Pretraining, talks: bool
) -> list[tuple[list[str], str]]:
    mixture = {
        "rules": settings.rules.model_dump(),
        "formats": settings.formats.model_dump(),
        "rule_noise": settings.rule_noise,
        "eval_format_share": settings.eval_format_share,
        "eval_format_layouts": settings.eval_format_layouts.model_dump(),
    }
    if talks:
        return pretraining.conversation_examples(task.game, n, rng, **mixture)
    noise = settings.formula_noise
    pairs = pretraining.pretraining_examples(task.game, n, rng, **mixture, formula_noise=noise)
    return [([asked], answer) for asked, answer in pairs]


@lru_cache(maxsize=1 << 14)
def _solutions(values: tuple[int, ...], target: int) -> tuple[tuple[str, ...], ...]:
    return tuple({s for formula in formulas(values, target) for s in _spellings(formula)})


def _spellings(formula: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """With brackets around every step, as compact answers have it, and with the fewest."""
    return tuple(render(to_tree(formula), style) for style in ("bracketed", "minimal"))
