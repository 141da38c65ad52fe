"""GeneralPoints: the card game as a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from healscope.tasks import posing
from healscope.tasks.cards import (
    confidence,
    contexts,
    deals,
    hands,
    interventions,
    neighbours,
    pictures,
    pretraining,
    steps,
    structure,
)
from healscope.tasks.cards import feedback as messages
from healscope.tasks.cards.expressions import render, to_tree
from healscope.tasks.cards.game import (
    CardProblem,
    Game,
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
from healscope.tasks.problem import (
    EVALUATION_FORMAT,
    Context,
    Decision,
    Feedback,
    Level,
    Side,
    Split,
    Verdict,
)
from healscope.tasks.responses import same_start

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class GeneralPoints(Game):
    """The card game (arXiv 2509.12235, section 3.1 and appendix C.1)."""

    family: ClassVar[str] = "generalpoints"

    rule_kinds: ClassVar[Mapping[str, float]] = dict.fromkeys(pretraining.RULE_KINDS, 1.0)
    wrong: ClassVar[str] = "wrong_value"
    fixed_words: ClassVar[bool] = True
    answer_steps: ClassVar[tuple[str, ...]] = ("number", "formula")
    published: ClassVar[tuple[str, ...]] = ("fig1", "fig2a", "fig2b", "fig3a", "fig8")
    interventions: ClassVar[tuple[str, ...]] = tuple(interventions.KINDS)
    problems_of: ClassVar[tuple[str, ...]] = (
        *("all", "drawn", "neighbours", "without_one", "contexts"),
    )
    neighbour_lists: ClassVar[int] = neighbours.MOST_LISTS
    judging_only: ClassVar[tuple[str, ...]] = (
        *("rewards", "verifier", "grade_number_line", "reasoning"),
    )
    dealing_only: ClassVar[tuple[str, ...]] = ("held_out", "orders", "seed")

    @property
    def offers(self) -> tuple[str, ...]:
        """What it has that some recipes need (`problem.OFFERS`)."""
        found = ["unsolvable", "ood", "value"]
        found += ["less"] if self.cards > 2 else []
        found += ["steps", "decisions"] if self.rendering == "compact" else []
        found += ["told"] if self.rule_shown == "name" else []
        return (*found, *(["confidence"] if self.confidence else []))

    # What every task says.

    def problems(self, rule: Side) -> Iterable[CardProblem]:
        """Return the problems of the problem table."""
        table = self.problem_table()
        return [from_row(row) for row in table[table["rule"] == rule].to_dict("records")]

    def render(self, problem: CardProblem) -> str:
        text = prompt(self, problem)
        return text.removesuffix(f" {EVALUATION_FORMAT}") if self.rendering == "compact" else text

    def verify(self, problem: CardProblem, text: str) -> Verdict:
        return verify(self, problem, text)

    # What it says otherwise than most.

    def answer_in(self, text: str) -> str:
        return text if self.as_released else super().answer_in(text)

    def splits(self) -> dict[str, Split]:
        return {
            deals.instance_id(self, deal): side for deal, side in deals.split_deals(self).items()
        }

    def prompt(self, problem: CardProblem, format_token: str = EVALUATION_FORMAT) -> str:
        return prompt(self, problem, format_token)

    def answers(self, problem: CardProblem) -> Sequence[str]:
        """Return a response for every formula of `solver.formulas`."""
        found = formulas(problem.values, problem.target)
        return _Texts(len(found), lambda i: response(self, problem, found[i]))

    def paraphrases(self, problem: CardProblem) -> Sequence[str]:
        n = renderings(self)
        return _Texts(n, lambda i: prompt(self, problem, rendering=i))

    def progress(self, problem: CardProblem, text: str) -> float:
        """Return how much of a solution the formula begins with, for the closest solution."""
        written = read_answer(self, problem, text).words
        shares = [
            same_start(written, spelling) / (len(spelling) + 1)
            for spelling in _solutions(problem.values, problem.target)
        ]
        return max(shares, default=0.0)

    def steps(self, text: str) -> Sequence[str]:
        return steps.steps(text) if self.rendering == "compact" else ()

    def conclusion(self, problem: CardProblem, text: str) -> Sequence[str]:
        return read_answer(self, problem, text).words

    def alive(self, problem: CardProblem, text: str) -> float:
        return steps.alive_share(self, problem, text)

    def can_be_right(self, problem: CardProblem, text: str) -> bool:
        return steps.can_be_right(self, problem, text)

    def canonical(self, problem: CardProblem, text: str) -> bool:
        """Return whether the formula is the first of `solver.formulas`, in either spelling."""
        reference = formulas(problem.values, problem.target)[0]
        return read_answer(self, problem, text).words in _spellings(reference)

    def form(self, problem: CardProblem, text: str) -> str:
        return structure.form(self, problem, text)

    def forms(self) -> Sequence[str]:
        return structure.forms(self)

    def verify_in_form(self, problem: CardProblem, text: str) -> Verdict:
        return structure.verify_in_form(self, problem, text)

    def solution(self, problem: CardProblem, text: str) -> str | None:
        return structure.solution(self, problem, text)

    def decisions(self, problem: CardProblem, text: str) -> Sequence[Decision]:
        return structure.decisions(self, problem, text)

    def first_error(self, problem: CardProblem, text: str) -> str:
        return structure.first_error(self, problem, text)

    def confidence_in(self, problem: CardProblem, text: str) -> float | None:  # noqa: ARG002
        return confidence.stated(text) if self.confidence else None

    def intervene(
        self, problem: CardProblem, text: str, kind: str, rng: np.random.Generator
    ) -> str | None:
        return interventions.intervene(self, problem, text, kind, rng)

    def numbers_used(self, problem: CardProblem, text: str) -> tuple[bool, bool]:
        line = interventions.numbers_of_line(self, problem, text)
        formula = interventions.numbers_of_formula(self, text)
        return bool(line and formula), line == formula

    def feedback(self, problem: CardProblem, verdict: Verdict, text: str, level: Level) -> Feedback:
        return messages.feedback(self, problem, verdict, text, level)

    def words(self) -> Sequence[str]:
        return compact_vocabulary(self)

    def pictures(self) -> Mapping[str, np.ndarray]:
        return pictures.draw() if self.hand_shown == "pictures" else {}

    def lengths(self) -> tuple[float, float]:
        """Return lengths known from the layout (compact) or measured with four cards (JSON)."""
        if self.rendering == "compact":
            return 8.0 + self.cards, 4.0 + 6 * self.cards
        return 630.0, 92.0

    def longest(self) -> tuple[str, str]:
        """Return the longest prompt and answer of a sample: all are about as long."""
        texts = self.corpus()
        return max(texts[::2], key=self.length), max(texts[1::2], key=self.length)

    def problem_table(self) -> pd.DataFrame:
        return deals.problem_table(self)

    def sft_table(self) -> pd.DataFrame:
        return deals.sft_table(self)

    def rl_table(self) -> pd.DataFrame:
        return deals.rl_table(self)

    def unsolvable_table(self) -> pd.DataFrame:
        return deals.unsolvable_table(self)

    def ood_table(self) -> pd.DataFrame:
        return deals.ood_table(self)

    def told(self, problem: CardProblem, kind: str) -> Context:
        return contexts.told(self, problem, kind)

    def less_table(self) -> pd.DataFrame:
        return neighbours.less_table(self)

    def posed(self, problems: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
        """Pose problems. Drawn hands and neighbours come from all deals, not from the table."""
        if protocol.problems == "drawn":
            return hands.drawn_hands(self, protocol.hands, protocol.seed)
        if protocol.problems == "neighbours":
            return neighbours.posed(self, protocol.per_kind, protocol.seed)
        if protocol.problems == "without_one":
            return neighbours.without_one(self, protocol.per_kind, protocol.seed)
        if protocol.problems == "contexts":
            return contexts.posed(self, protocol.per_kind, protocol.seed)
        return posing.posed(self, problems, protocol)

    def read(self, row: Mapping[str, Any]) -> CardProblem:
        return from_row(row)

    def count(self) -> tuple[int, int]:
        """Count problems without making their table."""
        return deals.count_problems(self)

    @property
    def parts(self) -> int:
        return self.orders

    def draw(self, kind: str, rng: np.random.Generator) -> CardProblem:
        """Draw a problem as pretraining does; its ids are empty."""
        return pretraining.draw_problem(self, kind, rng)

    def noisy(self, problem: CardProblem, rng: np.random.Generator) -> str:
        """Return the answer under the OOD rule, or the right one where the cards have none."""
        values = self.ood_rule.values(problem.cards)
        found = formulas(values, problem.target) or formulas(problem.values, problem.target)
        return response(self, problem, found[int(rng.integers(len(found)))])

    def examples(
        self, n: int, rng: np.random.Generator, pretraining: Pretraining, talks: bool
    ) -> list[tuple[list[str], str]]:
        return _examples(self, n, rng, pretraining, talks)

    def corpus(self) -> list[str]:
        return pretraining.corpus(self)

    def neutral_prompts(self, n: int, seed: int) -> list[str]:
        return pretraining.card_prompts(self, n, seed)


class _Texts(Sequence[str]):
    """A sequence of texts that are written on access: a problem may have hundreds of answers."""

    def __init__(self, n: int, write: Callable[[int], str]):
        self._n, self._write = n, write

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < self._n:
            raise IndexError(i)
        return self._write(i)


def _examples(
    task: GeneralPoints, n: int, rng: np.random.Generator, settings: Pretraining, talks: bool
) -> list[tuple[list[str], str]]:
    mixture = {
        "rules": settings.rules.model_dump(),
        "formats": settings.formats.model_dump(),
        "rule_noise": settings.rule_noise,
        "eval_format_share": settings.eval_format_share,
        "eval_format_layouts": settings.eval_format_layouts.model_dump(),
        "cards": settings.cards,
    }
    if task.rule_shown == "name":
        if rng.random() < settings.contexts:
            return pretraining.context_examples(task, n, rng, **mixture)
        mixture["rules"] = {"id": 1.0}
    if talks:
        mixture["feedback_levels"] = settings.feedback
        return pretraining.conversation_examples(task, n, rng, **mixture)
    noise = settings.formula_noise
    pairs = pretraining.pretraining_examples(task, n, rng, **mixture, formula_noise=noise)
    return [([asked], answer) for asked, answer in pairs]


@lru_cache(maxsize=1 << 14)
def _solutions(values: tuple[int, ...], target: int) -> tuple[tuple[str, ...], ...]:
    return tuple({s for formula in formulas(values, target) for s in _spellings(formula)})


def _spellings(formula: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return a formula with brackets around every step, as in compact answers, and with the
    fewest."""
    return tuple(render(to_tree(formula), style) for style in ("bracketed", "minimal"))
