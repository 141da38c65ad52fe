"""Draw the examples from which a model is trained from scratch.

They state both rules, answer in several layouts, and have some noise. The card game draws its own
(`cards.pretraining`) by the same settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field, model_validator

from healscope.sections import Chosen, Fraction, Mixture, Natural, Positive, Rate, Section
from healscope.tasks.problem import EVALUATION_FORMAT, LEVELS, Level, Problem

if TYPE_CHECKING:
    import numpy as np

    from healscope.tasks.task import Task

_TRIES = 8  # draws of another problem's answer, of which one should be wrong


class RuleMixture(Mixture):
    """Shares of the face-card rules stated in pretraining prompts."""

    random: Fraction = Field(0.45, description="three random values")
    id: Fraction = Field(0.07, description="the ID rule")
    ood: Fraction = Field(0.20, description="the OOD rule")
    same: Fraction = Field(0.13, description="one random value for all three")
    consecutive: Fraction = Field(0.15, description="k, k+1, k+2")


class FormatMixture(Mixture):
    """Shares of the answer layouts in pretraining (fG has the layout of evaluation)."""

    fA: Fraction = 0.10
    fB: Fraction = 0.30
    fC: Fraction = 0.15
    fG: Fraction = 0.45


class Pretraining(Section):
    """The from-scratch base model: many rules, many layouts, next-token loss on the response."""

    steps: Positive = Field(650, description="optimizer steps")
    batch_size: Positive = Field(128, description="sequences per step")
    learning_rate: Rate = Field(2e-3, description="peak; warm-up, then linear decay to 0")
    warmup_steps: Natural = Field(100, description="steps of warm-up")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of AdamW")
    rules: RuleMixture = Field(RuleMixture(), description="shares of the rules stated in prompts")
    rule_noise: Fraction = Field(
        0.15, description="share of examples that ignore their rule and use the OOD rule"
    )
    formula_noise: Fraction = Field(
        0.10, description="share of examples with a random, mostly wrong, formula"
    )
    formats: FormatMixture = Field(
        FormatMixture(), description="shares of answer layouts; fG is like the evaluation's"
    )
    eval_format_share: Fraction = Field(
        0.08, description="share of examples under the evaluation's own format token, ..."
    )
    eval_format_layouts: FormatMixture = Field(
        FormatMixture(fA=0.4, fB=0.3, fC=0.3, fG=0.0),
        description="... in any layout but the evaluation's",
    )
    conversations: Fraction = Field(
        0.0,
        description="share of steps on two-turn conversations: wrong answer, feedback, "
        "right answer",
    )
    contexts: Fraction = Field(
        0.0,
        description="of the card game with `rule_shown: name`: share of steps on rules that a text "
        "before the problem tells; the other steps have the ID rule alone",
        exclude_if=lambda value: not value,
    )
    feedback: Chosen[Level] = Field(
        list(LEVELS),
        description="what is said in them after the wrong answer, drawn evenly",
        exclude_if=lambda value: value == list(LEVELS),
    )
    cards: dict[Annotated[int, Field(ge=2, le=4)], Fraction] | None = Field(
        None,
        description="of the card game: shares of hands by their number of cards, as {2: 0.3, 3: "
        "0.7}; null: the task's own number",
        exclude_if=lambda value: value is None,
    )
    state_every: Positive = Field(50, description="steps between states to resume from")

    @model_validator(mode="after")
    def _some_cards(self):
        if self.cards is not None and sum(self.cards.values()) <= 0:
            raise ValueError("cards: at least one share must be positive")
        return self


def single_turns(
    task: Task, n: int, rng: np.random.Generator, pretraining: Pretraining
) -> list[tuple[list[str], str]]:
    """Draw n examples ([prompt], response).

    The rule is drawn by the task's mixture, the problem by `task.draw`. A share `rule_noise` has
    the answer under the OOD rule, a share `formula_noise` that of another problem of the rule. The
    layout of the answer is drawn by `formats` and asked for by its token; but a share
    `eval_format_share` asks as evaluation does and answers in a layout of `eval_format_layouts`.
    """
    noise = pretraining.formula_noise
    return [
        ([e.prompt(task)], e.written(task, e.answer))
        for e in _drawn(task, n, rng, pretraining, noise)
    ]


def conversations(
    task: Task, n: int, rng: np.random.Generator, pretraining: Pretraining
) -> list[tuple[list[str], str]]:
    """Draw n examples ([prompt, wrong answer, feedback], right answer).

    The level of the feedback is drawn evenly, all else as by `single_turns`, without
    `formula_noise`.
    """
    found = []
    levels = rng.choice(pretraining.feedback, n).tolist()
    drawn = _drawn(task, n, rng, pretraining, formula_noise=0.0)
    for example, level in zip(drawn, levels, strict=True):
        problem, wrong = example.problem, _wrong(task, example, rng)
        said = task.feedback(problem, task.verify(problem, wrong), wrong, level).message
        again = task.follow_up(problem, said, example.token)
        turns = [example.prompt(task), example.written(task, wrong), again]
        found.append((turns, example.written(task, example.answer)))
    return found


def corpus(task: Task, n: int = 2000) -> list[str]:
    """Return texts from which a tokenizer learns the words of the task, the same each time."""
    import numpy as np

    rng = np.random.default_rng(11)  # of no seed of a study: seeds share their words
    even = dict.fromkeys(task.rule_kinds, 1.0)
    pretraining = Pretraining(eval_format_share=0.2)
    drawn = _drawn(task, n, rng, pretraining, pretraining.formula_noise, even)
    texts = [text for e in drawn for text in (e.prompt(task), e.written(task, e.answer))]
    talks = conversations(task, n // 10, rng, pretraining)
    return [*texts, *(turns[-1] for turns, _ in talks)]


class _Example(NamedTuple):
    """One example: `layout` is that of its answer, `token` the format token of its prompt."""

    kind: str
    problem: Problem
    answer: str
    layout: str
    token: str

    def prompt(self, task: Task) -> str:
        return task.prompt(self.problem, self.token)

    def written(self, task: Task, answer: str) -> str:
        return task.layout(self.problem, answer, self.layout)


def _drawn(
    task: Task,
    n: int,
    rng: np.random.Generator,
    pretraining: Pretraining,
    formula_noise: float,
    mixture: Mapping[str, float] | None = None,
) -> Iterator[_Example]:
    names, shares = _shares(mixture or task.mixture or task.rule_kinds)
    kinds = rng.choice(names, n, p=shares).tolist()
    layouts = (pretraining.formats, pretraining.eval_format_layouts)
    ordinary, evaluation = (_layouts(rng, n, m.model_dump()) for m in layouts)
    thresholds = pretraining.rule_noise, formula_noise, pretraining.eval_format_share
    coins = (rng.random((n, 3)) < thresholds).tolist()
    for i, kind in enumerate(kinds):
        other_rule, other_problem, as_evaluated = coins[i]
        problem = task.draw(kind, rng)
        answer = problem.answer
        if other_problem:
            answer = task.draw(kind, rng).answer
        elif other_rule:
            answer = task.noisy(problem, rng)
        layout = evaluation[i] if as_evaluated else ordinary[i]
        yield _Example(kind, problem, answer, layout, EVALUATION_FORMAT if as_evaluated else layout)


def _layouts(rng: np.random.Generator, n: int, mixture: Mapping[str, float]) -> list[str]:
    names, shares = _shares(mixture)
    return rng.choice(names, n, p=shares).tolist()


def _shares(weights: Mapping[str, float]) -> tuple[list[str], list[float]]:
    total = sum(weights.values())
    return list(weights), [weight / total for weight in weights.values()]


def _wrong(task: Task, example: _Example, rng: np.random.Generator) -> str:
    """Find a wrong answer: one by the OOD rule, else one of another problem, else an empty one."""
    problem, right = example.problem, example.written(task, example.answer)
    others = (task.draw(example.kind, rng).answer for _ in range(_TRIES))
    for answer in (task.noisy(problem, rng), *others):
        differs = example.written(task, answer) != right
        if differs and task.verify(problem, answer).outcome != "correct":
            return answer
    return ""
